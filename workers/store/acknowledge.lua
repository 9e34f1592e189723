#!lua flags=allow-oom
-- Removes stored leads from the queue. It only makes room, so it runs in a Redis that is out of memory, too.
--
-- KEYS  1 stream   2 index   3 tickets
-- ARGV  1 group   2 entries   then the entries' names, then lead ids (16 bytes)
-- Returns  1 leads that nobody has taken   2 tickets waiting

-- So many in one command: each command is a record of its own in the append-only file, and Lua's stack is bounded.
local MOST = 1000

local function remove(first, last, ...)
  for at = first, last, MOST do
    local command = {...}
    for i = at, math.min(at + MOST - 1, last) do command[#command + 1] = ARGV[i] end
    redis.call(unpack(command))
  end
end

local last = 2 + tonumber(ARGV[2])
remove(3, last, 'XACK', KEYS[1], ARGV[1])
remove(3, last, 'XDEL', KEYS[1])
remove(last + 1, #ARGV, 'HDEL', KEYS[2])
local taken = redis.call('XPENDING', KEYS[1], ARGV[1])[1]
return {redis.call('XLEN', KEYS[1]) - taken, redis.call('LLEN', KEYS[3])}
