-- Appends events to the audit stream while it holds fewer than `most`. What is there is never pushed out by what comes.
--
-- waiting.py declares the names.
-- Arguments: most events in the stream; then the events. Returns how many were refused.
local room = tonumber(most) - redis.call('XLEN', AUDIT)
local refused = 0
for place = FIRST_REST, #ARGV do
  if room > 0 then
    redis.call('XADD', AUDIT, '*', EVENT_FIELD, ARGV[place])
    room = room - 1
  else
    refused = refused + 1
  end
end
return refused
