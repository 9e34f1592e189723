-- Removes consumers that have been idle for long and have nothing pending: processes that are gone.
--
-- In one step, since removing a consumer also forgets what it has pending.
--
-- KEYS  1 stream
-- ARGV  1 group   2 idle time (ms)
-- Returns how many were removed.
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local removed = 0
for _, found in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local consumer = {}
  for i = 1, #found, 2 do consumer[found[i]] = found[i + 1] end
  if consumer.pending == 0 and consumer.idle > tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer.name)
    removed = removed + 1
  end
end
return removed
