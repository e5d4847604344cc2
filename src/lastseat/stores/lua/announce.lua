-- Purpose: tell everybody in one trip: store newer gates, drop views, publish the news.
-- Inputs: KEYS = n gates, the n capacities of the same exams, then any number of keys to drop.
--         ARGV = n, time to live in ms, era, channel ('' = publish nothing), message,
--         then per gate: version, seats left, JSON.
-- Results: how many gates were stored.
-- Invariant: a gate of this era is never replaced by one with a lower version; what is dropped is gone before
--            anybody hears of it. A value that is not ours counts as absent.

local n = tonumber(ARGV[1])
local era = ARGV[3]

local function version_of(key)
    local held = redis.pcall('GET', key)
    if type(held) ~= 'string' then return nil end
    local its_era, version = string.match(held, '^(%w+):(%d+):')
    if its_era ~= era then return nil end
    return tonumber(version)
end

local stored = 0
for i = 1, n do
    local at = 6 + (i - 1) * 3
    local known = version_of(KEYS[i])
    -- An equal version is stored again: it lives on, and whether the exam is open may have changed by the clock.
    if known == nil or tonumber(ARGV[at]) >= known then
        redis.call('SET', KEYS[i], era .. ':' .. ARGV[at] .. ':' .. ARGV[at + 2], 'PX', ARGV[2])
        redis.call('SET', KEYS[n + i], ARGV[at + 1])
        stored = stored + 1
    end
end
for i = 2 * n + 1, #KEYS do
    redis.call('DEL', KEYS[i])
end
if ARGV[4] ~= '' then
    redis.call('PUBLISH', ARGV[4], ARGV[5])
end
return stored
