-- KEYS place, ends. ARGV key, now, end, ttl, member.
local key, now, ends, ttl, member = unpack(ARGV)
local r = call('HMGET', KEYS[1], 'st', 'key', 'end')
if r[1] ~= 'live' or r[2] ~= key then return 'away' end
if less(r[3], now) then return 'gone' end
call('HSET', KEYS[1], 'end', ends)
call('ZADD', KEYS[2], ends, member)
keep(KEYS[1], ttl)
return 'done'
