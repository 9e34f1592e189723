-- Makes a stream entry a dead letter. A second call finds the entry gone.
--
-- scripts.py declares the names.
-- Arguments: the group, the entry, the reason, the lead id (16 bytes) or "".
-- Returns 1, or 0 when there is no such entry.
local found = redis.call('XRANGE', STREAM, entry, entry)
if #found == 0 then
  redis.call('XACK', STREAM, group, entry)
  return 0
end
local letter = redis.call('XADD', DEAD, '*', REASON_FIELD, reason, unpack(found[1][2]))
redis.call('XACK', STREAM, group, entry)
redis.call('XDEL', STREAM, entry)
if lead ~= '' then redis.call('HSET', INDEX, lead, DEAD_PREFIX .. letter) end
return 1
