-- The row has arrived. KEYS place. ARGV tx.
local r = call('HMGET', KEYS[1], 'st', 'tx')
if r[1] ~= 'pend' or r[2] ~= ARGV[1] then return 'away' end
call('HSET', KEYS[1], 'st', 'live')
call('HDEL', KEYS[1], 'tx', 'src', 'owner', 'handle', 'claim', 'to', 'at')
return 'done'
