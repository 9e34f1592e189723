-- Replaces a page of the request log by one with fewer records, or removes it.
--
-- removal.py declares the names.
-- Arguments: the page as it was read, the new one or "", how many records fewer it holds, and "1" for the errors.
-- Returns 1, or 0 when the page was gone.
local list = is_errors == '1' and REQUEST_ERRORS or REQUESTS
local held = is_errors == '1' and REQUEST_ERRORS_HELD or REQUESTS_HELD
local at = redis.call('LPOS', list, old)
if not at then return 0 end
if new == '' then redis.call('LREM', list, 1, old) else redis.call('LSET', list, at, new) end
redis.call('DECRBY', held, fewer)
return 1
