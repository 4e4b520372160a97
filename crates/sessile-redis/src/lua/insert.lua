-- KEYS place, ends. ARGV key, doc, rev, end, ttl, member, by, the claim that was looked into, whether it left a tombstone.
local key, doc, rev, ends, ttl, member, by, seen, tomb = unpack(ARGV)
local r = call('HMGET', KEYS[1], 'st', 'by', 'handle', 'claim', 'to')
if r[1] then return knows(r[2], by) and 'done' or 'stale' end
if r[3] and not r[5] and r[4] ~= seen then return 'look' end
if r[5] or tomb == '1' then
  call('HSET', KEYS[1], 'over', '1')
elseif r[3] then
  call('HDEL', KEYS[1], 'handle', 'owner', 'claim')
end
call('HSET', KEYS[1], 'st', 'live', 'key', key, 'doc', doc, 'rev', rev, 'end', ends, 'by', by)
call('ZADD', KEYS[2], ends, member)
keep(KEYS[1], ttl)
return 'done'
