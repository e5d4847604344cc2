-- Purpose: add what one process counted to the counts of all, and say the sums.
-- Inputs: KEYS = the window's hash. ARGV = time to live in ms, then per caller: field, count.
-- Results: the sums, in the order of the callers.
-- Invariant: a window disappears by itself; nothing in it names a person.

local sums = {}
for i = 2, #ARGV, 2 do
    sums[#sums + 1] = redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1])
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return sums
