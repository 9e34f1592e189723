-- Counts requests, leads sent in bulk and leads of sources against their limits, and appends leads to the stream: one
-- flush of the group commit.
-- append.py declares the names.
--
-- Atomic: Redis refuses the script at its first write (out of memory, read-only, disk error), before anything is
-- written, and replays it from the append-only file as a whole.
--
-- Arguments: most leads waiting, rate limit, leads in bulk for each user, the window of both (ms), TTL of an
-- idempotency key (s), number of requests; then, for each request and each of its leads, what next_argument() reads.
-- Returns leads waiting, tickets waiting; then for each request: verdict, what its rate-limit key has used in the
-- window, ms left of the window, the lead id if the key was used before, what its source's limit has used, and the
-- second at which that begins anew.

local most, window, ttl = tonumber(queue_max), tonumber(rate_window), tonumber(key_ttl)

-- By rate-limit key: its limit, what it has used with this flush and before it, and milliseconds left of the window.
local limits, used, used_before, window_left = {}, {}, {}, {}
local accepted_in_minute = {}
local index_updates = {}
-- Leads of sources: accepted in this minute before this flush and by it; by field of SOURCES_ACCEPTED the same.
local rate_before, rate_added, day_before, source_added = {}, {}, {}, {}
local waiting = redis.call('XLEN', STREAM)
local fenced = redis.call('EXISTS', FENCE) == 1
-- A write, so that WAIT and WAITAOF also wait for the fence and for what was appended before it. Redis takes it when it
-- is out of memory, too.
if fenced then redis.call('EXPIRE', FENCE, FENCE_TTL) end
local answer = {0, 0}

local place = FIRST_REST - 1
local function next_argument()
  place = place + 1
  return ARGV[place]
end

-- Whether Redis has every key within its TTL: its data are older than the TTL, or there was no epoch before this one.
local remembers
local function remembers_all_keys()
  if remembers == nil then
    local known = redis.call('HMGET', ACCEPTED, EPOCH_FIELD, FIRST_FIELD)
    remembers = known[2] == '1'
      or (known[1] and tonumber(redis.call('TIME')[1]) - tonumber(known[1]) / 1000000 > ttl) or false
  end
  return remembers
end

-- Whether the limit was not used up before. What is refused counts too.
local function count(rate_key, cost)
  if not used[rate_key] then
    used_before[rate_key] = tonumber(redis.call('GET', rate_key) or 0)
    used[rate_key] = used_before[rate_key]
    window_left[rate_key] = redis.call('PTTL', rate_key)
    if window_left[rate_key] < 0 then window_left[rate_key] = window end
    local in_bulk = string.sub(rate_key, 1, #BULK_RATE_PREFIX) == BULK_RATE_PREFIX
    limits[rate_key] = tonumber(in_bulk and bulk_limit or rate_limit)
  end
  local before = used[rate_key]
  used[rate_key] = before + cost
  return before < limits[rate_key]
end

local function end_of_minute()
  local now = tonumber(redis.call('TIME')[1])
  return now - now % MINUTE + MINUTE
end

local function source_field(source, width, minute)
  return width .. ':' .. minute - minute % width .. ':' .. source
end

-- Leads of a source accepted on the day of `minute`, also in the queue that was moved here: what that one says and
-- what it has handed on are the same leads.
local function accepted_on_day(source, minute, used_elsewhere)
  local field = source_field(source, DAY, minute)
  if not day_before[field] then
    day_before[field] = redis.call('HMGET', SOURCES_ACCEPTED, field, MOVED_MARK .. field)
  end
  local here, moved = unpack(day_before[field])
  return tonumber(here or 0) + math.max(tonumber(moved or 0), used_elsewhere) + (source_added[field] or 0)
end

-- Whether a source may send the leads that are the next arguments; else the limit that is used up, what it has used,
-- and the second at which it begins anew.
local function check_source(source, rate, cap, used_elsewhere, leads)
  if rate > 0 then
    rate_before[source] = rate_before[source] or tonumber(redis.call('GET', SOURCE_RATE_PREFIX .. source) or 0)
    local before = rate_before[source] + (rate_added[source] or 0)
    if before + leads > rate then return SOURCE_RATE, before, end_of_minute() end
  end
  if cap > 0 then
    -- The leads of one request may be of two days.
    local on_day = {}
    for lead = 0, leads - 1 do
      local minute = ARGV[place + LEAD_ARGUMENTS * lead + 2]
      local day = minute - minute % DAY
      on_day[day] = (on_day[day] or 0) + 1
    end
    for day, number in pairs(on_day) do
      local before = accepted_on_day(source, day, used_elsewhere)
      if before + number > cap then return SOURCE_CAP, before, day + DAY end
    end
  end
  return APPENDED, 0, 0
end

local function append(key, digest, trace, id, minute, payload)
  local entry
  if key == '' and trace == '' then
    entry = redis.call('XADD', STREAM, '*', LEAD_FIELD, payload)
  else
    local fields = {LEAD_FIELD, payload}
    if key ~= '' then
      local name = string.sub(key, #IDEMPOTENCY_PREFIX + 1)
      fields = {LEAD_FIELD, payload, KEY_FIELD, name, DIGEST_FIELD, digest}
    end
    if trace ~= '' then
      fields[#fields + 1] = TRACE_FIELD
      fields[#fields + 1] = trace
    end
    entry = redis.call('XADD', STREAM, '*', unpack(fields))
  end
  index_updates[#index_updates + 1] = id
  index_updates[#index_updates + 1] = entry
  accepted_in_minute[minute] = (accepted_in_minute[minute] or 0) + 1
end

for _ = 1, tonumber(requests) do
  local rate_key, cost, key, digest = next_argument(), next_argument(), next_argument(), next_argument()
  local source, rate, cap = next_argument(), tonumber(next_argument()), tonumber(next_argument())
  local used_elsewhere = tonumber(next_argument())
  local absent_in_database, leads = next_argument() == '1', tonumber(next_argument())
  local trace = next_argument()
  local behind = place + LEAD_ARGUMENTS * leads
  local verdict, known_id, source_used, source_until = APPENDED, '', 0, 0

  if fenced then
    verdict = MOVED
    -- What was accepted here under the key is told as long as the key is remembered.
    local known = key ~= '' and redis.call('GET', key)
    if known then
      known_id = string.sub(known, 1, 16)
      verdict = string.sub(known, 17) == digest and DUPLICATE or CONFLICT
    end
    -- The next queue counts from here on. Leads of two days go by the one that has more.
    if cap > 0 and leads > 0 then
      local last = ARGV[place + LEAD_ARGUMENTS * (leads - 1) + 2]
      source_used = math.max(accepted_on_day(source, ARGV[place + 2], 0), accepted_on_day(source, last, 0))
    end
  elseif rate_key ~= '' and not count(rate_key, tonumber(cost)) then
    verdict = RATE_LIMITED
  end

  if verdict == APPENDED and leads > 0 then
    local known = key ~= '' and redis.call('GET', key)
    if known then
      known_id = string.sub(known, 1, 16)
      verdict = string.sub(known, 17) == digest and DUPLICATE or CONFLICT
      -- A write, so that WAITAOF also waits for the earlier append under this key.
      redis.call('SET', key, known, 'KEEPTTL')
    elseif key ~= '' and not absent_in_database and not remembers_all_keys() then
      verdict = KEY_UNVERIFIED
    elseif waiting + leads > most then
      verdict = FULL
    elseif source ~= '' then
      verdict, source_used, source_until = check_source(source, rate, cap, used_elsewhere, leads)
    end
    if verdict == APPENDED then
      if key ~= '' then redis.call('SET', key, ARGV[place + 1] .. digest, 'EX', ttl) end
      for _ = 1, leads do
        local id, minute, payload = next_argument(), next_argument(), next_argument()
        append(key, digest, trace, id, minute, payload)
        if source ~= '' then
          for _, width in ipairs(SOURCE_WIDTHS) do
            local field = source_field(source, width, minute)
            source_added[field] = (source_added[field] or 0) + 1
          end
        end
      end
      if rate > 0 then rate_added[source] = (rate_added[source] or 0) + leads end
      waiting = waiting + leads
    end
  end

  place = behind
  local n = #answer
  answer[n + 1], answer[n + 2] = verdict, used[rate_key] or 0
  answer[n + 3], answer[n + 4] = window_left[rate_key] or 0, known_id
  answer[n + 5], answer[n + 6] = source_used, source_until
end

-- Few large commands: each command is a record of its own in the append-only file.
for first = 1, #index_updates, 2000 do
  redis.call('HSET', INDEX, unpack(index_updates, first, math.min(first + 1999, #index_updates)))
end

for rate_key, number in pairs(used) do
  if number > used_before[rate_key] then
    redis.call('INCRBY', rate_key, number - used_before[rate_key])
    if used_before[rate_key] == 0 then redis.call('PEXPIRE', rate_key, window) end
  end
end

if next(accepted_in_minute) then
  local time = redis.call('TIME')
  -- The last two digits are the shard's number, so that no two shards have the same epoch.
  redis.call('HSETNX', ACCEPTED, EPOCH_FIELD, time[1] .. string.format('%04d%02d', math.floor(time[2] / 100), SHARD))
  for minute, number in pairs(accepted_in_minute) do
    for _, width in ipairs(ACCEPTED_WIDTHS) do
      redis.call('HINCRBY', ACCEPTED, width .. ':' .. minute - minute % width, number)
    end
  end
  for field, number in pairs(source_added) do redis.call('HINCRBY', SOURCES_ACCEPTED, field, number) end
  for source, number in pairs(rate_added) do
    redis.call('INCRBY', SOURCE_RATE_PREFIX .. source, number)
    redis.call('EXPIREAT', SOURCE_RATE_PREFIX .. source, end_of_minute())
  end
end

answer[1], answer[2] = waiting, redis.call('LLEN', TICKETS)
return answer
