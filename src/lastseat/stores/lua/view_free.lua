-- Purpose: give a lease back unused, so that nobody waits for it.
-- Inputs: KEYS = view. ARGV = era, token.
-- Results: 1 when it was ours, 0 when it is void.
-- Invariant: a view that is being refreshed keeps its body; never touches the lease of another.

local held = redis.pcall('GETRANGE', KEYS[1], 0, 47)
if type(held) ~= 'string' or string.sub(held, 1, 35) ~= 'LS1' .. ARGV[1] .. ARGV[2] then
    return 0
end
if string.sub(held, 36, 48) == '0000000000000' then
    redis.call('DEL', KEYS[1])
else
    redis.call('SETRANGE', KEYS[1], 19, '0000000000000000')
end
return 1
