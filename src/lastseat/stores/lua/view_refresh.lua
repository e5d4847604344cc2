-- Purpose: take the lease of a view that is there and will expire soon; readers go on reading it meanwhile.
-- Inputs: KEYS = view. ARGV = era, token.
-- Results: 1 when the lease is the caller's, 0 when the view is gone or somebody refreshes it already.
-- Invariant: the body and its time to live stay as they are; a DEL voids this lease like any other.

local held = redis.pcall('GETRANGE', KEYS[1], 0, 47)
if type(held) ~= 'string' or string.sub(held, 1, 35) ~= 'LS1' .. ARGV[1] .. '0000000000000000' then
    return 0
end
redis.call('SETRANGE', KEYS[1], 19, ARGV[2])
return 1
