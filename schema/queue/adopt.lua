-- Takes over a dead letter of another queue. A second call finds its lead in the index.
--
-- moving.py declares the names.
-- Arguments: the lead id (16 bytes) or "", the idempotency key's name or "", its digest, its TTL (s), then the entry's
-- fields and values. Returns the letter's entry, or "" when the lead was there.
if lead ~= '' and redis.call('HEXISTS', INDEX, lead) == 1 then return '' end
local fields = {}
for place = FIRST_REST, #ARGV do fields[#fields + 1] = ARGV[place] end
local letter = redis.call('XADD', DEAD, '*', unpack(fields))
if lead ~= '' then redis.call('HSET', INDEX, lead, DEAD_PREFIX .. letter) end
if key ~= '' then redis.call('SET', key, lead .. digest, 'EX', ttl, 'NX') end
return letter
