-- Purpose: the shared budget of HubSpot calls. One string holds the whole window as JSON, so it is lost whole or not
--   at all.
-- Inputs: KEYS[1] that string. ARGV[1] reserve, close, back or look. ARGV[2] JSON, always: seen (newest serial this
--   process knows), limit, headroom, window, hold, search_limit, search_window, recall, quiet (durations in ms; quiet: so long
--   calls that nobody tells of may fill a new window), mine [[id, sent ms ago, free in ms]] (calls that this state may
--   have lost), kind, keep (share left to higher kinds).
--   reserve: id, daily_fresh. close: id, sent_ago, status, max, remaining, interval, daily, daily_left, retry, policy,
--   busy_pause, move_pause, daily_pause. back: id.
-- Results: JSON: ok, wait, serial, born, known, free, own, foreign, size, paused, why, search_paused, daily_left.
-- Invariant: a call occupies its slot until a window after its reply, never only after its send: HubSpot counts
--   arrivals. A state that is new, older than `seen`, or from another server run is not an empty window: until a reply
--   of a call sent since then tells the truth, one call at a time.
local op, args = ARGV[1], cjson.decode(ARGV[2])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function server_run()
  local info = redis.pcall('INFO', 'server')
  return type(info) == 'string' and string.match(info, 'run_id:(%w+)') or ''
end

local function load_state()
  local stored = redis.pcall('GET', KEYS[1])
  local good, state = pcall(cjson.decode, type(stored) == 'string' and stored or '')
  if not good or type(state) ~= 'table' or type(state.slots) ~= 'table' then state = nil end
  local run = server_run()
  local older = state and (state.serial < args.seen or state.run ~= run)
  state = state or { serial = 0, slots = {}, search = {}, foreign = {}, hungry = {} }
  if state.serial == 0 or older then
    state.run, state.born, state.known, state.told, state.probe = run, now, false, false, nil
  end
  state.serial = math.max(state.serial, args.seen) + 1
  return state
end

local state = load_state()
local window = math.max(args.window, state.window or 0)

local function tidy(slots, hold)
  for id, slot in pairs(slots) do
    slot[2] = math.min(slot[2], now + hold) -- a clock that went back must not hold a slot for ever
    if slot[2] <= now then slots[id] = nil end
  end
end

local function tidy_all()
  tidy(state.slots, math.max(args.hold, window))
  tidy(state.search, args.hold)
  local foreign = {}
  for _, some in ipairs(state.foreign) do
    if some[1] > now then foreign[#foreign + 1] = { math.min(some[1], now + window), some[2] } end
  end
  state.foreign = foreign
  for kind, asked in pairs(state.hungry) do
    if asked[2] < now - window then state.hungry[kind] = nil end
  end
  state.told = state.told or #args.mine > 0
  for _, mine in ipairs(args.mine) do
    if not state.slots[mine[1]] then state.slots[mine[1]] = { now - mine[2], now + mine[3] } end
  end
  if now >= state.born + math.max(args.hold, window) then state.known = true end
end

local function count(slots)
  local number = 0
  for _ in pairs(slots) do number = number + 1 end
  return number
end

-- HubSpot: whether a refused call takes a place in the window is not documented (2026). It keeps its slot here, as if
-- it did, and hides no call of others, as if it did not.
local function accepted()
  local number = 0
  for _, slot in pairs(state.slots) do number = number + (slot[4] == 1 and 0 or 1) end
  return number
end

local function foreign_calls()
  local number = 0
  for _, some in ipairs(state.foreign) do number = number + some[2] end
  return number
end

-- Free calls, and how many there are in all: ours within our limit, everybody's within HubSpot's.
local function room()
  local own, size = count(state.slots), math.max(1, args.limit - args.headroom)
  local free = size - own
  if state.max then
    local most = math.max(1, state.max - args.headroom)
    free, size = math.min(free, most - own - foreign_calls()), math.min(size, most)
  end
  return free, size, own
end

local function first_free_in(slots, most)
  local wait = most
  for _, slot in pairs(slots) do wait = math.min(wait, slot[2] - now) end
  return wait
end

local function wait_for_room()
  local wait = first_free_in(state.slots, window)
  for _, some in ipairs(state.foreign) do wait = math.min(wait, some[1] - now) end
  return math.max(10, wait)
end

local function probing()
  local probe = state.probe and state.slots[state.probe]
  return not state.known and probe ~= nil and probe[3] == 1
end

-- Lower kinds leave a share free for higher ones, but a kind that was refused for a whole window goes first once.
local function kept_for_others(size)
  local mine = state.hungry[args.kind]
  if mine and now - mine[1] >= window then return 0 end
  local keep = math.floor(size * args.keep)
  for kind, asked in pairs(state.hungry) do
    if kind ~= args.kind and now - asked[1] >= window then keep = math.max(keep, 1) end
  end
  return keep
end

local function wait_of_pause()
  local wait = math.max(0, (state.paused or 0) - now)
  if args.kind == 'search' then wait = math.max(wait, (state.search_paused or 0) - now) end
  -- HubSpot: the daily limit is the account's. What is left of it belongs to the bookings.
  if wait == 0 and args.keep > 0 and state.daily and now - state.daily_seen < args.daily_fresh
      and state.daily_left <= state.daily * 0.01 then
    wait = args.daily_fresh
  end
  return wait
end

local function reserve()
  local wait = wait_of_pause()
  if wait > 0 then return wait end
  if probing() then return 20 end
  if not state.known then
    -- Crash: the window is new. First, for a moment, whoever made calls tells of them; who made none lets bookings go.
    local patience = (args.keep > 0 and not state.told) and window or args.recall
    local left = math.max(state.born + patience - now, args.quiet)
    if left > 0 then return math.min(left, math.max(args.recall, 200)) end
  end
  if args.kind == 'search' and count(state.search) >= args.search_limit then
    return math.max(10, first_free_in(state.search, args.search_window))
  end
  local free, size = room()
  if free - kept_for_others(size) < 1 then
    local mine = state.hungry[args.kind]
    state.hungry[args.kind] = { mine and mine[1] or now, now }
    return wait_for_room()
  end
  state.hungry[args.kind] = nil
  state.slots[args.id] = { now, now + args.hold, 1 }
  if args.kind == 'search' then state.search[args.id] = { now, now + args.hold } end
  if not state.known then state.probe = args.id end
  if state.daily_left then state.daily_left = state.daily_left - 1 end
  return 0
end

local function pause(for_ms, why)
  if now + for_ms > (state.paused or 0) then state.paused, state.why = now + for_ms, why end
end

-- What HubSpot has counted and we have not was sent by others, or lost with an older state. It is measured anew at
-- every reply, so that steady calls of others are never thought to be over. Race: a call of ours that has not arrived
-- yet hides one of theirs, until its own reply is here.
local function resynchronise(sent)
  state.max = args.max
  local others = math.max(0, args.max - args.remaining - accepted())
  local older = foreign_calls() - others
  local kept = { { now + window, others } }
  for _, some in ipairs(state.foreign) do
    local number = math.min(some[2], older)
    if number > 0 then
      kept[#kept + 1] = { some[1], number }
      older = older - number
    end
  end
  state.foreign = kept
  if sent >= state.born then state.known = true end
end

local function hear_daily()
  local open = 0
  for _, slot in pairs(state.slots) do open = open + (slot[3] or 0) end
  state.daily, state.daily_seen = args.daily or args.daily_left, now
  state.daily_left = math.max(0, args.daily_left - open)
  if args.daily_left <= 0 then pause(args.daily_pause, 'DAILY') end
end

local function hear_status()
  if args.status == 423 then
    pause(math.max(args.busy_pause, args.retry or 0), 'LOCKED')
  elseif args.status == 477 then
    pause(args.retry or args.move_pause, 'MIGRATION')
  elseif args.status ~= 429 then
    return
  elseif args.policy == 'DAILY' then
    pause(args.daily_pause, 'DAILY')
  elseif args.policy == 'SECONDLY' or (args.kind == 'search' and not args.policy) then
    state.search_paused = math.max(state.search_paused or 0, now + (args.retry or args.search_window))
  elseif args.max then
    pause(args.retry or window / 10, 'TEN_SECONDLY_ROLLING')
  else
    pause(args.retry or window, 'TEN_SECONDLY_ROLLING')
    state.born, state.known = now, false
  end
end

local function close()
  local slot = state.slots[args.id] or { now - args.sent_ago }
  local refused = args.status == 429 and args.remaining == 0
  state.slots[args.id] = { slot[1], now + window, 0, refused and 1 or 0 }
  if args.kind == 'search' then state.search[args.id] = { slot[1], now + args.search_window } end
  if state.probe == args.id then state.probe = nil end
  if args.interval then
    window = math.max(args.window, math.min(args.interval, 60000))
    state.window = window
    state.slots[args.id][2] = now + window
  end
  if args.max and args.remaining then resynchronise(slot[1]) end
  if args.daily_left then hear_daily() end
  hear_status()
  return 0
end

local function back()
  if state.slots[args.id] and state.daily_left then state.daily_left = state.daily_left + 1 end
  state.slots[args.id], state.search[args.id] = nil, nil
  if state.probe == args.id then state.probe = nil end
  return 0
end

tidy_all()
local steps = { reserve = reserve, close = close, back = back, look = function() return 0 end }
local wait = steps[op]()
redis.call('SET', KEYS[1], cjson.encode(state))
local free, size, own = room()
if not state.known then free = (probing() or args.quiet > 0) and 0 or math.min(free, 1) end
local paused = math.max(0, (state.paused or 0) - now)
if paused > 0 then free = 0 end
return cjson.encode({
  ok = wait == 0, wait = wait, serial = state.serial, born = state.born, known = state.known,
  free = math.max(0, free), own = own, foreign = foreign_calls(), size = size, paused = paused,
  why = paused > 0 and state.why or '', search_paused = math.max(0, (state.search_paused or 0) - now),
  daily_left = state.daily_left or -1,
})
