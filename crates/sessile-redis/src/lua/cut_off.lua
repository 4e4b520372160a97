-- What a user signs in with from before this time is refused from now on. KEYS home (no device). ARGV cut-off.
-- Answers which sessions are there or on their way. Nothing that comes later is older than the cut-off.
local known = call('ZSCORE', CUTS, OWNER)
if not known or less(known, ARGV[1]) then call('ZADD', CUTS, ARGV[1], OWNER) end
local answer = { 'done' }
for _, handle in ipairs(call('ZRANGE', LIVE, 0, -1)) do answer[#answer + 1] = handle end
return answer
