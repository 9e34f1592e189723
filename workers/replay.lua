-- Puts a dead letter back into the stream, once: whoever comes second finds the letter gone.
--
-- KEYS  1 stream   2 dead letters   3 index
-- ARGV  1 letter   2 payload   3 lead id (16 bytes) or ""
-- Returns 1, or 0 when there is no such letter.
if redis.call('XDEL', KEYS[2], ARGV[1]) == 0 then return 0 end
local entry = redis.call('XADD', KEYS[1], '*', 'lead', ARGV[2])
if ARGV[3] ~= '' then redis.call('HSET', KEYS[3], ARGV[3], entry) end
return 1
