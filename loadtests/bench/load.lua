-- wrk script for all contenders: sends the same lead with a new e-mail address each time, one or many per request.
-- BENCH_TAG makes a run's addresses unique. BENCH_RATE sets the requests per second; without it each connection sends
-- as soon as it is answered. BENCH_STATUS is the one status that an answer may have; without it any 2xx will do.
-- BENCH_KEYS=1 gives each request an Idempotency-Key of its own; BENCH_PHONE, the first four characters of a number,
-- gives each lead its own telephone number. Prints one line of JSON at the end.
local tag, token = os.getenv("BENCH_TAG"), os.getenv("BENCH_TOKEN")
local rate = tonumber(os.getenv("BENCH_RATE") or 0)
local bulk = tonumber(os.getenv("BENCH_BULK") or 0)
local ndjson = os.getenv("BENCH_NDJSON") == "1"
local keys = os.getenv("BENCH_KEYS") == "1"
local wanted = tonumber(os.getenv("BENCH_STATUS") or 0)
local before, after = os.getenv("BENCH_BEFORE"), os.getenv("BENCH_AFTER")
local phone = os.getenv("BENCH_PHONE") or ""

local sent, head = 0, nil
local format, concat = string.format, table.concat

local function lead()
  sent = sent + 1
  local rest = after
  if phone ~= "" then rest = string.gsub(after, "%+%d+", phone .. format("%09d", sent), 1) end
  return before .. format("%s-%09d", tag, sent) .. rest
end

local function body()
  if bulk == 0 then return lead() end
  local leads = {}
  for i = 1, bulk do leads[i] = lead() end
  if ndjson then return concat(leads, "\n") end
  return "[" .. concat(leads, ",") .. "]"
end

function init(_)
  local path = bulk == 0 and "/api/leads" or "/api/leads/bulk"
  local kind = ndjson and "application/x-ndjson" or "application/json"
  -- All bodies of a run have the same length.
  local length = #body()
  sent = 0
  head = format("POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nAuthorization: Bearer %s\r\n"
    .. "Content-Length: %d\r\n", path, wrk.host, kind, token, length)
end

function request()
  local text = body()
  local key = keys and format("Idempotency-Key: %s-%09d\r\n", tag, sent) or ""
  return head .. key .. "\r\n" .. text
end

if rate > 0 then
  local ffi = require("ffi")
  ffi.cdef [[ typedef struct { long s; long ns; } moment; int clock_gettime(int, moment *); ]]
  local now = ffi.new("moment")
  local next_at
  -- All requests share one schedule; a request that is late is sent at once.
  function delay()
    ffi.C.clock_gettime(1, now)
    local at = tonumber(now.s) * 1000 + tonumber(now.ns) / 1e6
    next_at = (next_at or at) + 1000 / rate
    return math.max(0, math.floor(next_at - at))
  end
end

local threads = {}

function setup(thread)
  threads[#threads + 1] = thread
end

-- wrk itself counts those above 399 alone. Without a function of this name it does not parse answers for Lua.
wrong_status = 0
if wanted > 0 then
  function response(status)
    if status ~= wanted then wrong_status = wrong_status + 1 end
  end
end

function done(summary, latency, _)
  local e = summary.errors
  local refused = e.status
  if wanted > 0 then
    refused = 0
    for _, thread in ipairs(threads) do refused = refused + thread:get("wrong_status") end
  end
  io.write(format('{"answers":%d,"seconds":%.6f,"refused":%d,"broken":%d,"p50":%.3f,"p95":%.3f,"p99":%.3f}\n',
    summary.requests, summary.duration / 1e6, refused, e.connect + e.read + e.write + e.timeout,
    latency:percentile(50) / 1000, latency:percentile(95) / 1000, latency:percentile(99) / 1000))
end
