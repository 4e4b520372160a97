-- The moment in which a session is not this user's any more. KEYS home.
-- ARGV handle, key, now, rev or empty, tx, at, kept, the key it goes on under, or empty where it keeps its own.
local handle, key, now, rev, tx, at, kept, to = unpack(ARGV)
if is_anothers(DEVICE) then return 'away' end
local r = call('HMGET', DEVICE, 'st', 'key', 'end', 'rev', 'out')
if r[5] == tx then return 'done' end
local no = refusal(r, key, now, rev)
if no then return no end
over(DEVICE, handle, 'logged_out', at, '', kept)
call('HSET', DEVICE, 'out', tx)
if to == '' then call('HDEL', DEVICE, 'key') else call('HSET', DEVICE, 'to', to) end
return 'done'
