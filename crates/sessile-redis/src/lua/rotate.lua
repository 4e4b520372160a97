-- KEYS home. ARGV handle, key, now, rev that was read, doc, rev, end, ttl, by, to.
local handle, key, now, read, doc, rev, ends, ttl, by, to = unpack(ARGV)
if is_anothers(DEVICE) then return 'away' end
local r = call('HMGET', DEVICE, 'st', 'key', 'end', 'rev', 'by')
if r[1] == 'live' and r[2] == to and knows(r[5], by) then return 'done' end
local no = refusal(r, key, now, read)
if no then return no end
call('HSET', DEVICE, 'key', to, 'doc', doc, 'rev', rev, 'end', ends, 'by', with(r[5], by), 'from', key, 'moved', now)
call('ZADD', ENDS, ends, 'd:' .. handle)
keep(DEVICE, ttl)
among_the_living(DEVICE, LIVE, handle, ttl)
return 'done'
