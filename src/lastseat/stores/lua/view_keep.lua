-- Purpose: store what the holder of a lease has read.
-- Inputs: KEYS = view, its last copy. ARGV = era, token, filled at in ms (13), time to live in ms, the same of the
--         last copy, body.
-- Results: 1 when stored, 0 when the lease is void.
-- Invariant: Race: a reader that read before a write must not store after the write's DEL; the DEL took its token away.

local held = redis.pcall('GETRANGE', KEYS[1], 0, 34)
if held ~= 'LS1' .. ARGV[1] .. ARGV[2] then
    return 0
end
local value = 'LS1' .. ARGV[1] .. '0000000000000000' .. ARGV[3] .. ARGV[6]
redis.call('SET', KEYS[1], value, 'PX', ARGV[4])
redis.call('SET', KEYS[2], value, 'PX', ARGV[5])
return 1
