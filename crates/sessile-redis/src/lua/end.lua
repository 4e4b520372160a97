-- KEYS home. ARGV handle, how, at, why, kept, and what must hold, each or empty: its key, alive at, ended before, provider's
-- session, signed in before. Answers where it was signed in.
local handle, how, at, why, kept, key, alive, before, provider, since = unpack(ARGV)
if is_anothers(DEVICE) then return { 'away' } end
local r = call('HMGET', DEVICE, 'st', 'key', 'end', 'ps', 'ip', 'auth')
if r[1] ~= 'live' then return { 'away' } end
if key ~= '' and r[2] ~= key then return { 'away' } end
if alive ~= '' and less(r[3], alive) then return { 'away' } end
if before ~= '' and not less(r[3], before) then return { 'away' } end
if provider ~= '' and r[4] ~= provider then return { 'away' } end
if since ~= '' and not less(r[6], since) then return { 'away' } end
over(DEVICE, handle, how, at, why, kept)
return { 'done', r[5] or '' }
