#!lua flags=allow-oom
-- Removes stored leads from the queue. It only makes room, so it runs in a Redis that is out of memory, too.
--
-- Arguments: the group, the number of entries, then the entries' names, then lead ids (16 bytes).

-- So many in one command: each command is a record of its own in the append-only file, and Lua's stack is bounded.
local MOST = 1000

local function remove(first, last, ...)
  for at = first, last, MOST do
    local command = {...}
    for i = at, math.min(at + MOST - 1, last) do command[#command + 1] = ARGV[i] end
    redis.call(unpack(command))
  end
end

local last_entry = FIRST_REST - 1 + tonumber(entries)
remove(FIRST_REST, last_entry, 'XACK', STREAM, group)
remove(FIRST_REST, last_entry, 'XDEL', STREAM)
remove(last_entry + 1, #ARGV, 'HDEL', INDEX)
