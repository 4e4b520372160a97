-- A session that left its place for this user's home is here. KEYS home, others. ARGV handle, tx, now, kept, then handles.
local handle, tx, now, kept = unpack(ARGV, 1, 4)
if is_anothers(DEVICE) then return { 'away' } end
local r = call('HMGET', DEVICE, 'st', 'tx', 'lim')
if r[1] ~= 'pend' or r[2] ~= tx then return { 'away' } end
local limit, crowd = tonumber(r[3]), {}
if limit > 0 then
  crowd = others(handle, now, 5)
  if not crowd then return { 'again' } end
end
call('HSET', DEVICE, 'st', 'live')
call('HDEL', DEVICE, 'tx', 'src', 'lim')
return evict(crowd, limit > 0 and #crowd + 1 - limit or 0, now, kept, { 'done' })
