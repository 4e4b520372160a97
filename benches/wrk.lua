-- wrk -s wrk.lua URL -- COOKIES METHOD PATH: each request with a session drawn at random from the file of cookies,
-- one a line, or without any for "-". Prints one line of JSON.

local requests = {}

function init(args)
  local cookies, method, path = args[1], args[2], args[3]
  math.randomseed(os.time())
  if cookies == "-" then
    requests[1] = wrk.format(method, path)
    return
  end
  for cookie in io.lines(cookies) do
    requests[#requests + 1] = wrk.format(method, path, { ["Cookie"] = cookie })
  end
end

function request()
  return requests[math.random(#requests)]
end

function done(summary, latency)
  local errors = summary.errors
  print(string.format('{"requests":%d,"microseconds":%d,"p50":%d,"p99":%d,"refused":%d,"broken":%d}',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
