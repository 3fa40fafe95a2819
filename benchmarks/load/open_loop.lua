-- wrk as an open-loop generator: requests are due at times drawn beforehand (Poisson), and a latency counts from
-- the time when its request was due, however late it was sent. So a service that stalls is not spared.
--
--   wrk -t1 -c64 -d60s -s open_loop.lua URL -- BODIES RATE
--
-- BODIES: a file with one JSON body a line. RATE: requests a second, of all threads together.
-- A request names itself by X-Request-Id; the answer brings the name back, and so its due time.

local ffi = require("ffi")
ffi.cdef [[
  typedef struct { long seconds; long nanoseconds; } moment;
  int clock_gettime(int clock, moment *now);
]]
local moment = ffi.new("moment")
local function now() -- in microseconds
  ffi.C.clock_gettime(1, moment)
  return tonumber(moment.seconds) * 1e6 + tonumber(moment.nanoseconds) / 1e3
end

local threads = {}
function setup(thread)
  thread:set("number", #threads)
  table.insert(threads, thread)
end

function init(arguments)
  bodies = {}
  for line in io.lines(arguments[1]) do bodies[#bodies + 1] = line end
  gap = 1e6 / tonumber(arguments[2]) * tonumber(arguments[3] or 1)
  math.randomseed(1 + number)
  due = now() + 1e5
  planned, sent, next_body = {}, 0, number
  waiting, first_waiting, last_waiting = {}, 1, 0
  latencies, statuses = {}, {}
end

-- Called when a connection is free: how many milliseconds until the next request is due.
function delay()
  due = due - math.log(1 - math.random()) * gap
  last_waiting = last_waiting + 1
  waiting[last_waiting] = due
  return math.max(0, math.ceil((due - now()) / 1e3))
end

function request()
  -- The first request of a connection comes without a delay: it takes the next due time all the same.
  if first_waiting > last_waiting then
    last_waiting = last_waiting + 1
    due = due - math.log(1 - math.random()) * gap
    waiting[last_waiting] = due
  end
  sent = sent + 1
  planned[sent] = waiting[first_waiting]
  waiting[first_waiting] = nil
  first_waiting = first_waiting + 1
  next_body = next_body % #bodies + 1
  return wrk.format("POST", nil, { ["Content-Type"] = "application/json", ["X-Request-Id"] = tostring(sent) }, bodies[next_body])
end

function response(status, headers, body)
  statuses[status] = (statuses[status] or 0) + 1
  local name = tonumber(headers["x-request-id"])
  if name and planned[name] then
    latencies[#latencies + 1] = now() - planned[name]
    planned[name] = nil
  end
end
