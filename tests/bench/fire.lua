-- Posts the bodies of a folder in turn; at the end one line of figures, in microseconds.
local folder = os.getenv("BENCH_BODIES")
local requests, at = {}, 0

init = function(args)
  local headers = { ["Content-Type"] = "application/json" }
  for i = 0, tonumber(os.getenv("BENCH_COUNT")) - 1 do
    local file = assert(io.open(folder .. "/" .. i .. ".json", "rb"))
    requests[#requests + 1] = wrk.format("POST", nil, headers, file:read("*a"))
    file:close()
  end
end

request = function()
  at = at % #requests + 1
  return requests[at]
end

done = function(summary, latency, _)
  local e = summary.errors
  io.write(string.format(
    'FIGURES {"requests":%d,"microseconds":%d,"p50":%d,"p95":%d,"p99":%d,"failed":%d}\n',
    summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(95), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
