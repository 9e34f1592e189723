-- Removes consumers of dead processes: idle for long, with nothing pending.
--
-- Atomic, because removing a consumer would also drop its pending entries.
--
-- sweep.py declares the names.
-- Arguments: the group, the idle time (ms). Returns how many were removed.
if redis.call('EXISTS', STREAM) == 0 then return 0 end
local removed = 0
for _, found in ipairs(redis.call('XINFO', 'CONSUMERS', STREAM, group)) do
  local consumer = {}
  for i = 1, #found, 2 do consumer[found[i]] = found[i + 1] end
  if consumer.pending == 0 and consumer.idle > tonumber(idle) then
    redis.call('XGROUP', 'DELCONSUMER', STREAM, group, consumer.name)
    removed = removed + 1
  end
end
return removed
