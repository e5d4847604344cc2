-- Purpose: read a view, or take the lease to fill it.
-- Inputs: KEYS = view. ARGV = era, token, lease in ms, '1' to drop first what is there.
-- Results: what the view holds: 'LS1', era (16), token (16), filled at in ms (13), body; a placeholder of somebody
--          who fills it has 13 zeros and no body. nil: nothing was there, and the lease is now the caller's.
-- Invariant: one placeholder at a time, in the view's own key, so that any DEL, FLUSHALL or expiry voids the lease.
--            A value of another app, of another era or of another type counts as absent and is replaced.

local held = redis.pcall('GET', KEYS[1])
if type(held) == 'string' and #held >= 48 and string.sub(held, 1, 19) == 'LS1' .. ARGV[1] and ARGV[4] ~= '1' then
    return held
end
redis.call('SET', KEYS[1], 'LS1' .. ARGV[1] .. ARGV[2] .. '0000000000000', 'PX', ARGV[3])
return false
