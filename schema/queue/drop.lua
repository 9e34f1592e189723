-- Deletes a dead letter and its lead's entry in the index.
--
-- dead_letters.py declares the names.
-- Arguments: the letter's entry, the lead id (16 bytes) or "". Returns 1, or 0 when the letter was gone.
if redis.call('XDEL', DEAD, letter) == 0 then return 0 end
if lead ~= '' then redis.call('HDEL', INDEX, lead) end
return 1
