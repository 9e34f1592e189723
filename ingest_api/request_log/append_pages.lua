-- Appends pages to the request log and trims it.
--
-- Every page starts with its number of requests. The oldest page is removed once the later ones hold `most` requests.
--
-- collector.py declares the names.
-- Arguments: most requests kept, number of request pages, number of error pages; then for each page its number of
-- requests and its content. Returns the number of requests in request pages that could not be written.
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
