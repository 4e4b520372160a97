-- A row that will live here once it has left the other place. KEYS place, ends.
-- ARGV key, doc, rev, end, ttl, member, by, tx, source, the claim that was looked into, whether it comes back from there.
local key, doc, rev, ends, ttl, member, by, tx, src, seen, back = unpack(ARGV)
local r = call('HMGET', KEYS[1], 'st', 'handle', 'claim', 'to', 'tx')
if r[1] then return r[5] == tx and 'done' or 'stale' end
if back == '' and r[2] and not r[4] and r[3] ~= seen then return 'look' end
call('HSET', KEYS[1], 'st', 'pend', 'key', key, 'doc', doc, 'rev', rev, 'end', ends, 'by', by, 'tx', tx, 'src', src)
call('ZADD', KEYS[2], ends, member)
keep(KEYS[1], ttl)
return 'done'
