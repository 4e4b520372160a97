-- The row will not come. KEYS place, ends. ARGV tx, member.
local r = call('HMGET', KEYS[1], 'st', 'tx')
if r[1] ~= 'pend' or r[2] ~= ARGV[1] then return 'away' end
call('HDEL', KEYS[1], 'st', 'key', 'doc', 'rev', 'end', 'by', 'tx', 'src')
call('ZREM', KEYS[2], ARGV[2])
return 'done'
