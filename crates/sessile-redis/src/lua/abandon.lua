-- It will not come. KEYS home. ARGV handle, tx.
if is_anothers(DEVICE) then return 'away' end
local r = call('HMGET', DEVICE, 'st', 'tx')
if r[1] ~= 'pend' or r[2] ~= ARGV[2] then return 'away' end
call('DEL', DEVICE)
call('ZREM', LIVE, ARGV[1])
call('ZREM', BORN, ARGV[1])
call('ZREM', ENDS, 'd:' .. ARGV[1])
return 'done'
