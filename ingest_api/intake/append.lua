-- Counts requests, leads sent in bulk and leads of sources against their limits, finds duplicates, and appends leads to
-- the stream: one flush of the group commit.
-- append.py declares the names.
--
-- Atomic: Redis refuses the script at its first write (out of memory, read-only, disk error), before anything is
-- written, and replays it from the append-only file as a whole.
--
-- Arguments: most leads waiting, rate limit, leads in bulk for each user, the window of both (ms), TTL of an
-- idempotency key (s), days for which contacts are remembered at all, and in Redis, number of requests; then, for each
-- request and each of its leads, what next_argument() reads.
-- Returns leads waiting, tickets waiting; then for each request: verdict, what its rate-limit key has used in the
-- window, ms left of the window, the lead id if the key was used before, what its source's limit has used, the second
-- at which that begins anew, the first leads of its leads' contacts (ids of 16 bytes, two for each lead, or ''), and
-- whether duplicates among them were refused.

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
local now = tonumber(redis.call('TIME')[1])
local most_days, redis_days = tonumber(duplicate_days), tonumber(duplicate_redis_days)
-- Contacts are remembered in periods of so many days, of which those that are kept reach into three at most.
local period_days = math.ceil(redis_days / 2)
local today = math.floor(now / DAY)

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
      or (known[1] and now - tonumber(known[1]) / 1000000 > ttl) or false
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

-- Whether a source may send leads; else the limit that is used up, what it has used, and the second at which it begins
-- anew.
local function check_source(source, rate, cap, used_elsewhere, leads)
  if rate > 0 then
    rate_before[source] = rate_before[source] or tonumber(redis.call('GET', SOURCE_RATE_PREFIX .. source) or 0)
    local before = rate_before[source] + (rate_added[source] or 0)
    if before + #leads > rate then return SOURCE_RATE, before, end_of_minute() end
  end
  if cap > 0 then
    -- The leads of one request may be of two days.
    local on_day = {}
    for _, lead in ipairs(leads) do
      local day = lead.minute - lead.minute % DAY
      on_day[day] = (on_day[day] or 0) + 1
    end
    for day, number in pairs(on_day) do
      local before = accepted_on_day(source, day, used_elsewhere)
      if before + number > cap then return SOURCE_CAP, before, day + DAY end
    end
  end
  return APPENDED, 0, 0
end

-- Whether the last lead that was appended is remembered by its contacts; nil when none was appended.
local has_written_firsts
local noted_memory

-- Since when contacts are remembered here without a gap (s since 1970), and for how many days each. With another number
-- of days it begins anew, in other hashes.
local function memory()
  if not noted_memory then
    local since, kept = string.match(redis.call('GET', FIRST_LEADS_SINCE) or '', '^(%d+):(%d+)$')
    local is_noted = tonumber(kept) == redis_days
    noted_memory = {since = is_noted and tonumber(since) or now, is_noted = is_noted}
  end
  return noted_memory
end

-- Whether all first leads of these days are in Redis.
local function knows_first_leads(days)
  return days <= redis_days and now - days * DAY >= memory().since
end

local function first_day_of_period(day)
  return day - day % period_days
end

-- What the names of the hashes of a period begin with; its first day is whole periods after 1970.
local function period_prefix(first_day)
  return FIRST_LEADS_PREFIX .. redis_days .. ':' .. first_day .. ':'
end

local this_period = period_prefix(first_day_of_period(today))

-- The contact of a lead by its number, 1 or 2: what the names of its hashes end with, and its field there.
local function contact_of(lead, number)
  local from = CONTACT_SIZE * (number - 1)
  local first, second, third = string.byte(lead.contacts, from + 1, from + 3)
  local bits = math.floor(((first * 256 + second) * 256 + third) / 2 ^ (24 - FIRST_LEADS_BITS))
  return {hash = tostring(bits), field = string.sub(lead.contacts, from + 3, from + CONTACT_SIZE)}
end

-- The second within an id, which begins with the milliseconds since 1970.
local function second_of(id)
  local millis = 0
  for _, byte in ipairs({string.byte(id, 1, 6)}) do millis = millis * 256 + byte end
  return millis / 1000
end

-- The latest first lead of a contact, or nil.
local function first_lead(contact, days)
  local id = redis.call('HGET', this_period .. contact.hash, contact.field)
  local oldest = first_day_of_period(today - math.min(days, redis_days))
  local first_day = first_day_of_period(today) - period_days
  while not id and first_day >= oldest do
    id = redis.call('HGET', period_prefix(first_day) .. contact.hash, contact.field)
    first_day = first_day - period_days
  end
  return id or nil
end

local function is_over(first, lead, days)
  return second_of(lead.id) - second_of(first) > days * DAY
end

-- Finds which leads of a request are duplicates: of the first lead with the same address or number within `days`.
-- Fills in `firsts`, by number of the contact; `duplicate_of`; and `new_firsts`, those that Redis has not yet.
local function find_duplicates(leads, days, is_refusing)
  local remembered_days = days > 0 and days or most_days
  local here = {}
  for _, lead in ipairs(leads) do
    lead.known_by, lead.firsts, lead.new_firsts = {contact_of(lead, 1), contact_of(lead, 2)}, {}, {}
    for number, contact in ipairs(lead.known_by) do
      local first = here[contact.hash .. contact.field] or first_lead(contact, remembered_days)
      if not first or is_over(first, lead, remembered_days) then
        -- What the queue that was moved here knows stands behind the contacts.
        local from = 2 * CONTACT_SIZE + #NO_LEAD * (number - 1)
        first = string.sub(lead.contacts, from + 1, from + #NO_LEAD)
        if first == '' or first == NO_LEAD or is_over(first, lead, remembered_days) then first = nil end
        lead.new_firsts[number] = first or lead.id
      end
      lead.firsts[number] = first
    end
    local one, other = lead.firsts[1], lead.firsts[2]
    if days > 0 then lead.duplicate_of = one and other and (one < other and one or other) or one or other end
    if not (is_refusing and lead.duplicate_of) then
      for number, first in pairs(lead.new_firsts) do
        here[lead.known_by[number].hash .. lead.known_by[number].field] = first
      end
    end
  end
end

-- Writes the first leads of a lead's contacts that Redis has not yet.
local function write_firsts(lead)
  for number, first in pairs(lead.new_firsts) do
    local contact = lead.known_by[number]
    local key = this_period .. contact.hash
    redis.call('HSET', key, contact.field, first)
    if redis.call('HLEN', key) == 1 then
      redis.call('EXPIREAT', key, (first_day_of_period(today) + period_days + redis_days) * DAY)
    end
  end
end

local function text_of(id)
  local digits = string.gsub(id, '.', function(byte) return string.format('%02x', string.byte(byte)) end)
  return string.sub(digits, 1, 8) .. '-' .. string.sub(digits, 9, 12) .. '-' .. string.sub(digits, 13, 16) .. '-' ..
    string.sub(digits, 17, 20) .. '-' .. string.sub(digits, 21)
end

local function append(lead, key, digest, days, trace)
  local fields = {LEAD_FIELD, lead.payload}
  if lead.duplicate_of then
    fields[2] = string.sub(lead.payload, 1, -2) .. ',"duplicateOf":"' .. text_of(lead.duplicate_of) .. '"}'
  end
  local n = 2
  if key ~= '' then
    fields[3], fields[4] = KEY_FIELD, string.sub(key, #IDEMPOTENCY_PREFIX + 1)
    fields[5], fields[6] = DIGEST_FIELD, digest
    n = 6
  end
  if lead.contacts ~= '' then
    write_firsts(lead)
    local marks = lead.new_firsts[1] == lead.id and EMAIL_MARK or ''
    if lead.new_firsts[2] == lead.id then marks = marks .. PHONE_MARK end
    if marks ~= '' then
      fields[n + 1], fields[n + 2] = FIRST_OF_FIELD, marks
      n = n + 2
    end
    if days > 0 and not knows_first_leads(days) then
      fields[n + 1], fields[n + 2] = LOOK_FIELD, days
      n = n + 2
    end
  end
  if trace ~= '' then fields[n + 1], fields[n + 2] = TRACE_FIELD, trace end
  index_updates[#index_updates + 1] = lead.id
  index_updates[#index_updates + 1] = redis.call('XADD', STREAM, '*', unpack(fields))
  accepted_in_minute[lead.minute] = (accepted_in_minute[lead.minute] or 0) + 1
  has_written_firsts = lead.contacts ~= ''
end

-- What is kept under an idempotency key: the id of its first lead, the digest, and what became of duplicates.
local function key_value(leads, digest, refuses, firsts)
  return leads[1].id .. digest .. (firsts == '' and '' or refuses .. firsts)
end

-- What a request that comes again under its key is answered: verdict, id, first leads, and whether those were refused.
local function known_answer(known, digest)
  local same = string.sub(known, 17, 16 + #digest) == digest
  local refuses, firsts = string.sub(known, 17 + #digest, 17 + #digest), string.sub(known, 18 + #digest)
  return same and DUPLICATE or CONFLICT, string.sub(known, 1, 16), firsts, refuses
end

local function firsts_of(leads)
  local ids = {}
  for _, lead in ipairs(leads) do
    ids[#ids + 1] = lead.firsts[1] or NO_LEAD
    ids[#ids + 1] = lead.firsts[2] or NO_LEAD
  end
  return table.concat(ids)
end

for _ = 1, tonumber(requests) do
  local rate_key, cost, key, digest = next_argument(), next_argument(), next_argument(), next_argument()
  local source, rate, cap = next_argument(), tonumber(next_argument()), tonumber(next_argument())
  local used_elsewhere = tonumber(next_argument())
  local days, refuses = tonumber(next_argument()), next_argument()
  local absent_in_database, trace = next_argument() == '1', next_argument()
  local leads, taken = {}, {}
  for lead = 1, tonumber(next_argument()) do
    leads[lead] = {
      id = next_argument(), minute = next_argument(), payload = next_argument(), contacts = next_argument()
    }
  end
  local verdict, known_id, source_used, source_until, firsts = APPENDED, '', 0, 0, ''
  local has_contacts = #leads > 0 and leads[1].contacts ~= ''

  if fenced then
    verdict = MOVED
    -- What was accepted here under the key is told as long as the key is remembered.
    local known = key ~= '' and redis.call('GET', key)
    if known then verdict, known_id, firsts, refuses = known_answer(known, digest) end
    -- The next queue counts from here on. Leads of two days go by the one that has more.
    if cap > 0 and #leads > 0 then
      local first, last = leads[1].minute, leads[#leads].minute
      source_used = math.max(accepted_on_day(source, first, 0), accepted_on_day(source, last, 0))
    end
    if has_contacts and not known then
      find_duplicates(leads, days, refuses == '1')
      firsts = firsts_of(leads)
    end
  elseif rate_key ~= '' and not count(rate_key, tonumber(cost)) then
    verdict = RATE_LIMITED
  end

  if verdict == APPENDED and #leads > 0 then
    local known = key ~= '' and redis.call('GET', key)
    if known then
      verdict, known_id, firsts, refuses = known_answer(known, digest)
      -- A write, so that WAITAOF also waits for the earlier append under this key.
      redis.call('SET', key, known, 'KEEPTTL')
    elseif key ~= '' and not absent_in_database and not remembers_all_keys() then
      verdict = KEY_UNVERIFIED
    else
      if has_contacts then find_duplicates(leads, days, refuses == '1') end
      local has_duplicates = false
      for _, lead in ipairs(leads) do
        if lead.duplicate_of then has_duplicates = true end
        if not (lead.duplicate_of and refuses == '1') then taken[#taken + 1] = lead end
      end
      if has_duplicates then firsts = firsts_of(leads) end
      if #taken == 0 then
        verdict = SEEN_BEFORE
        -- A write, so that WAIT and WAITAOF also wait for the append of the first lead.
        redis.call('SET', FIRST_LEADS_SINCE, memory().since .. ':' .. redis_days)
      elseif waiting + #taken > most then
        verdict = FULL
      elseif source ~= '' then
        verdict, source_used, source_until = check_source(source, rate, cap, used_elsewhere, taken)
      end
    end
    if verdict == APPENDED then
      if key ~= '' then redis.call('SET', key, key_value(leads, digest, refuses, firsts), 'EX', ttl) end
      for _, lead in ipairs(taken) do
        append(lead, key, digest, days, trace)
        if source ~= '' then
          for _, width in ipairs(SOURCE_WIDTHS) do
            local field = source_field(source, width, lead.minute)
            source_added[field] = (source_added[field] or 0) + 1
          end
        end
      end
      if rate > 0 then rate_added[source] = (rate_added[source] or 0) + #taken end
      waiting = waiting + #taken
    end
  end

  local n = #answer
  answer[n + 1], answer[n + 2] = verdict, used[rate_key] or 0
  answer[n + 3], answer[n + 4] = window_left[rate_key] or 0, known_id
  answer[n + 5], answer[n + 6], answer[n + 7] = source_used, source_until, firsts
  answer[n + 8] = tonumber(refuses) or 0
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

if has_written_firsts and not memory().is_noted then
  redis.call('SET', FIRST_LEADS_SINCE, memory().since .. ':' .. redis_days)
elseif has_written_firsts == false then
  -- What is appended without contacts is a gap.
  redis.call('DEL', FIRST_LEADS_SINCE)
end

answer[1], answer[2] = waiting, redis.call('LLEN', TICKETS)
return answer
