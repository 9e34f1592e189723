-- Puts a dead letter back into the stream. A second call finds the letter gone.
--
-- dead_letters.py declares the names.
-- Arguments: the letter's entry, the lead id (16 bytes) or "". Returns 1, or 0 when there is no such letter.
local found = redis.call('XRANGE', DEAD, letter, letter)
if #found == 0 then return 0 end
local fields = {}
for i = 1, #found[1][2], 2 do
  if found[1][2][i] ~= REASON_FIELD then
    fields[#fields + 1] = found[1][2][i]
    fields[#fields + 1] = found[1][2][i + 1]
  end
end
local entry = redis.call('XADD', STREAM, '*', unpack(fields))
redis.call('XDEL', DEAD, letter)
if lead ~= '' then redis.call('HSET', INDEX, lead, entry) end
return 1
