-- KEYS place, ends, and of a user's session the set of those that live.
-- ARGV key, now, rev that was read, doc, rev, end, ttl, member, by.
local key, now, read, doc, rev, ends, ttl, member, by = unpack(ARGV)
local r = call('HMGET', KEYS[1], 'st', 'key', 'end', 'rev', 'by')
if r[1] == 'live' and r[2] == key and knows(r[5], by) then return 'done' end
local no = refusal(r, key, now, read)
if no then return no end
call('HSET', KEYS[1], 'doc', doc, 'rev', rev, 'end', ends, 'by', with(r[5], by))
call('ZADD', KEYS[2], ends, member)
keep(KEYS[1], ttl)
among_the_living(KEYS[1], KEYS[3], string.sub(member, 3), ttl)
return 'done'
