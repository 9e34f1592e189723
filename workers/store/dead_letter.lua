-- Makes a stream entry a dead letter, once: whoever comes second finds the entry gone.
--
-- KEYS  1 stream   2 dead letters   3 index
-- ARGV  1 group   2 entry   3 reason   4 lead id (16 bytes) or ""
-- Returns 1, or 0 when there is no such entry.
local found = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])
if #found == 0 then
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
  return 0
end
local fields = found[1][2]
local letter = redis.call('XADD', KEYS[2], '*', 'reason', ARGV[3], unpack(fields))
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
redis.call('XDEL', KEYS[1], ARGV[2])
if ARGV[4] ~= '' then redis.call('HSET', KEYS[3], ARGV[4], 'dead:' .. letter) end
return 1
