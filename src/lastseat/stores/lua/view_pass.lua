-- Purpose: end the wait of a reader who asked the database itself.
-- Inputs: KEYS = view. ARGV = era, '1' to drop first what is there.
-- Results: what the view holds, when a body came meanwhile; nil: nothing is there now, and nobody's lease is good.
-- Invariant: Race: whoever fills the view may have read before this reader; stored after this, it would take others
--            back in time, so its lease is void.

local held = redis.pcall('GET', KEYS[1])
if type(held) == 'string' and #held >= 48 and string.sub(held, 1, 19) == 'LS1' .. ARGV[1] and ARGV[2] ~= '1'
    and string.sub(held, 36, 48) ~= '0000000000000' then
    return held
end
redis.call('DEL', KEYS[1])
return false
