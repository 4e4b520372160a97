-- KEYS place, ends, and of a user's session the set of those that live. ARGV key, now, end, ttl, member.
local key, now, ends, ttl, member = unpack(ARGV)
local r = call('HMGET', KEYS[1], 'st', 'key', 'end')
if r[1] ~= 'live' or r[2] ~= key then return 'away' end
if less(r[3], now) then return 'gone' end
call('HSET', KEYS[1], 'end', ends)
call('ZADD', KEYS[2], ends, member)
keep(KEYS[1], ttl)
among_the_living(KEYS[1], KEYS[3], string.sub(member, 3), ttl)
return 'done'
