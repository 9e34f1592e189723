-- Removes a person's lead from the queue or from the dead letters, and from the index.
--
-- removal.py declares the names.
-- Arguments: the group, the entry's name, the lead id (16 bytes) or "", and "1" for a dead letter.
-- Returns 1, or 0 when the entry was gone: stored, replayed or dead-lettered meanwhile.
local place = is_dead == '1' and DEAD or STREAM
if redis.call('EXISTS', place) == 0 then return 0 end
if is_dead ~= '1' then redis.pcall('XACK', STREAM, group, entry) end
if redis.call('XDEL', place, entry) == 0 then return 0 end
if lead ~= '' then
  local indexed = redis.call('HGET', INDEX, lead)
  if indexed == entry or indexed == DEAD_PREFIX .. entry then redis.call('HDEL', INDEX, lead) end
end
return 1
