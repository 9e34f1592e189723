-- Appends pages to the request log, and removes those that are no longer needed.
--
-- A page is left out when those after it hold all that is kept; it begins with how many requests it holds.
--
-- KEYS  1 pages of requests   2 pages of errors   3 and 4 how many requests are held in them
-- ARGV  1 most requests kept   2 pages of requests   3 pages of errors
--       then for each page:  how many requests it holds   the page
-- Returns how many requests are in pages of requests that could not be kept
local kept, pages = tonumber(ARGV[1]), {tonumber(ARGV[2]), tonumber(ARGV[3])}
local failed = 0
local at = 4

for which = 1, 2 do
  local list, held = KEYS[which], KEYS[2 + which]
  for _ = 1, pages[which] do
    local size, page = ARGV[at], ARGV[at + 1]
    local length = redis.pcall('RPUSH', list, page)
    if type(length) == 'table' then
      if which == 1 then failed = failed + tonumber(size) end
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
    at = at + 2
  end
end
return failed
