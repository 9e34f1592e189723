-- Removes the pages of the request log whose first request is older than the log may be.
--
-- A page begins with its number of requests and the time of the first one, microseconds since 1970.
--
-- sweep.py declares the names.
-- Arguments: the earliest time that is kept.
local function trim(list, held)
  while true do
    local page = redis.call('LINDEX', list, 0)
    local size, time = string.match(page or '', '^(%d+) %[%[(%d+)')
    if not time or tonumber(time) >= tonumber(oldest) then return end
    redis.call('LPOP', list)
    redis.call('DECRBY', held, size)
  end
end

trim(REQUESTS, REQUESTS_HELD)
trim(REQUEST_ERRORS, REQUEST_ERRORS_HELD)
return 0
