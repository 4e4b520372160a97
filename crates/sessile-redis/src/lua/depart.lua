-- The moment in which a session is not this user's any more. KEYS home.
-- ARGV handle, key, now, rev or empty, tx, at, kept, whether its key lives on.
local handle, key, now, rev, tx, at, kept, lives_on = unpack(ARGV)
local r = call('HMGET', DEVICE, 'st', 'key', 'end', 'rev', 'out')
if r[5] == tx then return 'done' end
local no = refusal(r, key, now, rev)
if no then return no end
over(DEVICE, handle, 'logged_out', at, '', kept)
call('HSET', DEVICE, 'out', tx)
if lives_on == '1' then call('HDEL', DEVICE, 'key') end
return 'done'
