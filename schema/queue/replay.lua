-- Puts a dead letter back into the stream, once: whoever comes second finds the letter gone.
--
-- KEYS  1 stream   2 dead letters   3 index
-- ARGV  1 letter   2 lead id (16 bytes) or ""
-- Returns 1, or 0 when there is no such letter.
local found = redis.call('XRANGE', KEYS[2], ARGV[1], ARGV[1])
if #found == 0 then return 0 end
local fields = {}
for i = 1, #found[1][2], 2 do
  if found[1][2][i] ~= 'reason' then
    fields[#fields + 1] = found[1][2][i]
    fields[#fields + 1] = found[1][2][i + 1]
  end
end
local entry = redis.call('XADD', KEYS[1], '*', unpack(fields))
redis.call('XDEL', KEYS[2], ARGV[1])
if ARGV[2] ~= '' then redis.call('HSET', KEYS[3], ARGV[2], entry) end
return 1
