-- Counts requests against the rate limit and appends leads to the stream: one flush of the group commit.
--
-- Everything in here happens or nothing does. Redis refuses a script at its first write (out of memory,
-- read-only, disk trouble) before anything is written, and replays it from the append-only file whole.
--
-- KEYS  1 stream   2 index   3 accepted   4 tickets
-- ARGV  1 most leads waiting   2 rate limit   3 its window (ms)   4 life of an idempotency key (s)   5 operations
--       then for each operation:  rate key or ""   idempotency key or ""   SHA-256 of the fields or ""
--                                 1 when the database knows no such key, else 0   leads
--       and for each of its leads:  id (16 bytes)   minute it was created in (s)   payload
-- Returns  1 leads waiting   2 tickets waiting
--          then for each operation:  verdict   requests used in the window   ms left of it   id, if it was used before
local DONE, LIMITED, FULL, REPEATED, CONFLICT, UNSURE = 0, 1, 2, 3, 4, 5
local KEY_PREFIX = #'leads:key:'

local stream, index, accepted, tickets = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local most, limit, window, life = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

local used, before, left = {}, {}, {}
local minutes = {}
local indexed = {}
local waiting = redis.call('XLEN', stream)
local answer = {0, 0}
local at = 6

-- Whether this Redis remembers all keys that are still alive: it has for that long, or it was the first there was.
local sure
local function remembers_all()
  if sure == nil then
    local known = redis.call('HMGET', accepted, 'epoch', 'first')
    sure = known[2] == '1'
      or (known[1] and tonumber(redis.call('TIME')[1]) - tonumber(known[1]) / 1000000 > life) or false
  end
  return sure
end

for _ = 1, tonumber(ARGV[5]) do
  local rate, key, digest, unknown, leads = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], tonumber(ARGV[at + 4])
  at = at + 5
  local verdict, id = DONE, ''

  if rate ~= '' then
    if not used[rate] then
      before[rate] = tonumber(redis.call('GET', rate) or 0)
      used[rate] = before[rate]
      left[rate] = redis.call('PTTL', rate)
      if left[rate] < 0 then left[rate] = window end
    end
    used[rate] = used[rate] + 1
    if used[rate] > limit then verdict = LIMITED end
  end

  if verdict == DONE and leads > 0 then
    local known = key ~= '' and redis.call('GET', key)
    if known then
      id = string.sub(known, 1, 16)
      verdict = string.sub(known, 17) == digest and REPEATED or CONFLICT
      -- A write, so that waiting for the replicas waits for what this key promised, too.
      redis.call('SET', key, known, 'KEEPTTL')
    elseif key ~= '' and unknown ~= '1' and not remembers_all() then
      verdict = UNSURE
    elseif waiting + leads > most then
      verdict = FULL
    else
      for i = at, at + 3 * (leads - 1), 3 do
        local entry
        if key == '' then
          entry = redis.call('XADD', stream, '*', 'lead', ARGV[i + 2])
        else
          local name = string.sub(key, KEY_PREFIX + 1)
          entry = redis.call('XADD', stream, '*', 'lead', ARGV[i + 2], 'key', name, 'digest', digest)
        end
        indexed[#indexed + 1] = ARGV[i]
        indexed[#indexed + 1] = entry
        minutes[ARGV[i + 1]] = (minutes[ARGV[i + 1]] or 0) + 1
      end
      waiting = waiting + leads
      if key ~= '' then redis.call('SET', key, ARGV[at] .. digest, 'EX', life) end
    end
  end

  at = at + 3 * leads
  local n = #answer
  answer[n + 1], answer[n + 2], answer[n + 3], answer[n + 4] = verdict, used[rate] or 0, left[rate] or 0, id
end

-- In a few commands, not one for each lead: every command is a record of its own in the append-only file.
for first = 1, #indexed, 2000 do
  redis.call('HSET', index, unpack(indexed, first, math.min(first + 1999, #indexed)))
end

for rate, number in pairs(used) do
  redis.call('INCRBY', rate, number - before[rate])
  if before[rate] == 0 then redis.call('PEXPIRE', rate, window) end
end

if next(minutes) then
  local time = redis.call('TIME')
  redis.call('HSETNX', accepted, 'epoch', time[1] .. string.format('%06d', time[2]))
  for minute, number in pairs(minutes) do
    for _, width in ipairs({60, 3600, 86400}) do
      redis.call('HINCRBY', accepted, width .. ':' .. string.format('%d', minute - minute % width), number)
    end
  end
end

answer[1], answer[2] = waiting, redis.call('LLEN', tickets)
return answer
