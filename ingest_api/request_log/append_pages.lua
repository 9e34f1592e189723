-- Appends pages to the request log, and removes those that are no longer needed.
--
-- A page is left out when those after it hold all that is kept; it begins with how many requests it holds.
--
-- Arguments: most requests kept, pages of requests, pages of errors; then for each page how many requests it holds,
-- and the page. Returns how many requests are in pages of requests that could not be kept.
local kept = tonumber(most)
local place = FIRST_REST

local function append(pages, list, held)
  local lost = 0
  for _ = 1, tonumber(pages) do
    local size, page = ARGV[place], ARGV[place + 1]
    place = place + 2
    local length = redis.pcall('RPUSH', list, page)
    if type(length) == 'table' then
      lost = lost + tonumber(size)
    else
      if length == 1 then redis.call('DEL', held) end
      local number = redis.call('INCRBY', held, size)
      while number > kept do
        local first = tonumber(string.match(redis.call('LINDEX', list, 0), '^%d+'))
        if number - first < kept then break end
        redis.call('LPOP', list)
        number = redis.call('DECRBY', held, first)
      end
    end
  end
  return lost
end

local failed = append(request_pages, REQUESTS, REQUESTS_HELD)
append(error_pages, REQUEST_ERRORS, REQUEST_ERRORS_HELD)
return failed
