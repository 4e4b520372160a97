-- KEYS device. ARGV at, end, requests.
local r = call('HMGET', KEYS[1], 'st', 'seen')
if r[1] and ARGV[3] ~= '0' then call('HINCRBY', KEYS[1], 'reqs', ARGV[3]) end
if r[1] == 'live' and less(r[2], ARGV[1]) then call('HSET', KEYS[1], 'seen', ARGV[1], 'till', ARGV[2]) end
return 'done'
