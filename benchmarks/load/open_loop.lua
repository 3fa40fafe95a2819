-- wrk as an open-loop generator: requests are due at drawn times (Poisson), and a latency counts from the time at
-- which its request was due, however late it could be sent. So a service that stalls is not spared.
--
--   wrk -t1 -c64 -d60s -s open_loop.lua URL -- BODIES RATE
--
-- BODIES: a file with one JSON body a line, each sent once before any is sent again. RATE: requests a second.
-- A request names itself in X-Request-Id; the answer brings the name back, and so the due time. One JSON line at
-- the end, times in milliseconds. One thread: it sends thousands a second.

local ffi = require("ffi")
ffi.cdef [[
  typedef struct { long seconds; long nanoseconds; } moment;
  int clock_gettime(int clock, moment *now);
]]
local moment = ffi.new("moment")
local function now()
  ffi.C.clock_gettime(1, moment)
  return tonumber(moment.seconds) * 1e3 + tonumber(moment.nanoseconds) / 1e6
end

function setup(thread)
  the_thread = thread
end

function init(arguments)
  bodies = {}
  for line in io.lines(arguments[1]) do bodies[#bodies + 1] = line end
  gap = 1e3 / tonumber(arguments[2])
  math.randomseed(1)
  due = now() + 100 -- the connections are made until then
  queue, first, last = {}, 1, 0 -- due times of requests that are not sent yet
  planned, sent = {}, 0
  latencies, failed = {}, 0
end

-- Called when a connection is free: how many milliseconds it waits until the next request is due.
function delay()
  due = due - math.log(1 - math.random()) * gap
  last = last + 1
  queue[last] = due
  return math.max(0, math.ceil(due - now()))
end

function request()
  local headers = { ["Content-Type"] = "application/json" }
  if first > last then -- wrk tries the script once before it begins: nothing is due yet
    return wrk.format("POST", nil, headers, bodies[1])
  end
  sent = sent + 1
  planned[sent] = queue[first]
  queue[first] = nil
  first = first + 1
  headers["X-Request-Id"] = tostring(sent)
  return wrk.format("POST", nil, headers, bodies[(sent - 1) % #bodies + 1])
end

function response(status, headers, body)
  local name = tonumber(headers["x-request-id"])
  if status ~= 200 or not planned[name] then
    failed = failed + 1
  else
    latencies[#latencies + 1] = now() - planned[name]
  end
  if name then planned[name] = nil end
end

local function quantile(sorted, share)
  return sorted[math.max(1, math.ceil(#sorted * share))] or 0
end

function done(summary, latency, requests)
  local sorted = the_thread:get("latencies")
  table.sort(sorted)
  local errors = summary.errors
  print(string.format(
    '{"requests": %d, "seconds": %.3f, "p50": %.3f, "p90": %.3f, "p99": %.3f, "max": %.3f, "errors": %d}',
    #sorted, summary.duration / 1e6, quantile(sorted, 0.5), quantile(sorted, 0.9), quantile(sorted, 0.99),
    quantile(sorted, 1), the_thread:get("failed") + errors.connect + errors.read + errors.write + errors.timeout))
end
