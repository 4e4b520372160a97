-- Makes a key point to a user's device, whose home decides whether that means anything.
-- KEYS place. ARGV owner, handle, claim, ttl, the claim that was looked into.
local owner, handle, claim, ttl, seen = unpack(ARGV)
local r = call('HMGET', KEYS[1], 'st', 'handle', 'claim', 'to')
if r[3] == claim then return 'done' end
if r[1] then return 'stale' end
if r[2] and not r[4] and r[3] ~= seen then return 'look' end
call('HSET', KEYS[1], 'owner', owner, 'handle', handle, 'claim', claim)
call('HDEL', KEYS[1], 'to', 'at', 'out')
keep(KEYS[1], ttl)
return 'done'
