-- A session that ended elsewhere. KEYS home. ARGV handle, how, at, why, kept, created, then fields and values.
local handle, how, at, why, kept, made = unpack(ARGV, 1, 6)
if call('EXISTS', DEVICE) == 1 then return 'known' end
call('HSET', DEVICE, 'made', made, unpack(ARGV, 7))
call('ZADD', BORN, made, handle)
over(DEVICE, handle, how, at, why, kept)
return 'done'
