#!lua flags=allow-oom
-- Removes stored leads from the queue. It only makes room, so it runs in a Redis that is out of memory, too.
--
-- KEYS  1 stream   2 index   3 tickets
-- ARGV  1 group   2 entries   then the entries' names, then lead ids (16 bytes)
-- Returns  1 leads waiting   2 tickets waiting
local last = 2 + tonumber(ARGV[2])
for i = 3, last do
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[i])
  redis.call('XDEL', KEYS[1], ARGV[i])
end
for i = last + 1, #ARGV do redis.call('HDEL', KEYS[2], ARGV[i]) end
return {redis.call('XLEN', KEYS[1]), redis.call('LLEN', KEYS[3])}
