-- For wrk: each request adds a reader of its own. Arguments: API key, a word that no other run has.
local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(arguments)
  wrk.method = "POST"
  wrk.headers["Authorization"] = "Bearer " .. arguments[1]
  wrk.headers["Content-Type"] = "application/json"
  word, count = arguments[2], 0
end

function request()
  count = count + 1
  local address = string.format("%s-%d-%d@example.org", word, number, count)
  return wrk.format(nil, nil, nil, '{"address":"' .. address .. '","name":"Ada","consent_source":"paper form"}')
end
