-- A user's session begins, or goes on under another key. KEYS home, the user's other devices. ARGV below, then handles.
local mode, handle, owner, auth, now, ends, ttl, kept, key, doc, rev, by, from, read, limit, deny, tx, src, made, proof, ip,
  agent, name, how, provider, seen, till, requests = unpack(ARGV, 1, 28)
limit = tonumber(limit)
if is_anothers(DEVICE) then return { 'gone' } end
local r = call('HMGET', DEVICE, 'st', 'key', 'end', 'rev', 'by', 'made', 'how', 'ps')
if r[1] and knows(r[5], by) then return { 'done' } end
local cut, all = call('ZSCORE', CUTS, owner), call('HGET', ALL, 'before')
if (cut and less(auth, cut)) or (all and less(auth, all)) then return { 'cutoff' } end
if r[1] == 'pend' then return { 'busy' } end
if r[1] and r[1] ~= 'live' then return { 'gone' } end
if mode == 'move' then
  local no = refusal(r, from, now, read)
  if no then return { no } end
elseif r[1] then
  return { 'gone' }
end
local crowd, many = {}, 0
if limit > 0 then
  crowd = others(handle, now, 29)
  if not crowd then return { 'again' } end
  many = #crowd + 1 - limit
  if many > 0 and deny == '1' then return { 'full' } end
end
if mode == 'move' then
  made = r[6]
  if how == '' then how = r[7] or '' end
  if provider == '' then provider = r[8] or '' end
end
call('HSET', DEVICE, 'st', 'live', 'key', key, 'doc', doc, 'rev', rev, 'end', ends, 'by', with(r[5], by), 'owner', owner, 'made', made,
  'auth', auth, 'proof', proof, 'seen', seen, 'till', till, 'since', now, 'ip', ip, 'ua', agent, 'dev', name, 'how', how, 'ps', provider)
if not r[1] and requests ~= '0' then call('HSET', DEVICE, 'reqs', requests) end
if mode == 'move' then call('HSET', DEVICE, 'from', from, 'moved', now) end
if not r[1] then call('HSET', DEVICE, 'kept', string.format('%.0f', tonumber(ends) + tonumber(kept))) end
call('ZADD', BORN, made, handle)
call('ZADD', ENDS, ends, 'd:' .. handle)
keep(DEVICE, ttl)
among_the_living(DEVICE, LIVE, handle, ttl)
if mode == 'pend' then
  call('HSET', DEVICE, 'st', 'pend', 'tx', tx, 'src', src, 'lim', limit)
  return { 'done' }
end
return evict(crowd, many, now, kept, { 'done' })
