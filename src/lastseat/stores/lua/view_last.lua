-- Purpose: put the last body that a process knows where the others find it.
-- Inputs: KEYS = the view's last copy. ARGV = era, filled at in ms (13), time to live in ms, body.
-- Results: 1 when stored, 0 when one as young is there.
-- Invariant: never replaces a younger copy of this era. A value that is not ours counts as absent.

local held = redis.pcall('GETRANGE', KEYS[1], 0, 47)
local filled = type(held) == 'string' and string.match(held, '^%d+$', 36) or ''
if #filled == 13 and string.sub(held, 1, 19) == 'LS1' .. ARGV[1] and filled >= ARGV[2] then
    return 0
end
redis.call('SET', KEYS[1], 'LS1' .. ARGV[1] .. '0000000000000000' .. ARGV[2] .. ARGV[4], 'PX', ARGV[3])
return 1
