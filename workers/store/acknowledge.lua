#!lua flags=allow-oom
-- Removes stored leads from the queue, notes how long the first of them took, and that storing goes on.
-- allow-oom: it frees more memory than it takes, so it must run when Redis is out of memory.
--
-- scripts.py declares the names.
-- Arguments: the group, the number of entries, then the entries' names, then lead ids (16 bytes).

-- Names per command: few commands, because each is a record in the append-only file, but Lua's stack is bounded.
local MOST = 1000

local function remove(first, last, ...)
  for at = first, last, MOST do
    local command = {...}
    for i = at, math.min(at + MOST - 1, last) do command[#command + 1] = ARGV[i] end
    redis.call(unpack(command))
  end
end

local last_entry = FIRST_REST - 1 + tonumber(entries)
remove(FIRST_REST, last_entry, 'XACK', STREAM, group)
remove(FIRST_REST, last_entry, 'XDEL', STREAM)
remove(last_entry + 1, #ARGV, 'HDEL', INDEX)

-- An entry's name begins with the time of the append, in milliseconds by this clock.
local seconds, micros = unpack(redis.call('TIME'))
local now = seconds * 1000 + math.floor(micros / 1000)
local delay = math.max(0, now - string.match(ARGV[FIRST_REST], '^%d+'))
redis.call('SET', STORING_DELAY, string.format('%.0f:%.0f', delay, now), 'EX', DELAY_TTL)
redis.call('DEL', STORING_PROBLEM)
