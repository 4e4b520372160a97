-- KEYS home. ARGV handle, ended before. Answers what else speaks of it.
if is_anothers(DEVICE) then return { 'away' } end
local r = call('HMGET', DEVICE, 'st', 'ended', 'key', 'ps')
if r[1] == 'live' or r[1] == 'pend' then return { 'away' } end
if r[1] and not less(r[2], ARGV[2]) then return { 'away' } end
call('DEL', DEVICE)
for _, index in ipairs({ LIVE, PAST, GONE, BORN }) do call('ZREM', index, ARGV[1]) end
return { 'done', r[3] or '', r[4] or '' }
