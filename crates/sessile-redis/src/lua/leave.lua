-- The moment in which a row that is in nobody's name is at its new place and not here. KEYS place, ends, moves.
-- ARGV key, now, rev, tx, member, to, at, owner, handle, claim, ttl: to another key, or the same key in a user's name.
local key, now, rev, tx, member, to, at, owner, handle, claim, ttl = unpack(ARGV)
local r = call('HMGET', KEYS[1], 'st', 'key', 'end', 'rev', 'over', 'out')
if r[6] == tx then return 'done' end
if r[1] == 'live' and r[2] == key and r[5] then return 'gone' end
local no = refusal(r, key, now, rev)
if no then return no end
call('HDEL', KEYS[1], 'st', 'key', 'doc', 'rev', 'end', 'by', 'owner', 'handle', 'claim', 'to', 'at')
call('ZREM', KEYS[2], member)
if to ~= '' then
  call('HSET', KEYS[1], 'out', tx, 'to', to, 'at', at)
  call('ZADD', KEYS[3], at, key)
else
  call('HSET', KEYS[1], 'out', tx, 'owner', owner, 'handle', handle, 'claim', claim)
end
call('PEXPIRE', KEYS[1], ttl)
return 'done'
