-- Of a row that is in nobody's name. KEYS place, ends. ARGV key, member, only what ended before this, only this revision.
local key, member, before, rev = unpack(ARGV)
local r = call('HMGET', KEYS[1], 'st', 'key', 'end', 'rev')
if not r[1] or r[2] ~= key then
  if before ~= '' then call('ZREM', KEYS[2], member) end
  return 'away'
end
if before ~= '' and not less(r[3], before) then return 'alive' end
if r[1] == 'pend' and before == '' then return 'away' end
if rev ~= '' and r[4] ~= rev then return 'stale' end
call('HDEL', KEYS[1], 'st', 'key', 'doc', 'rev', 'end', 'by', 'over', 'tx', 'src')
call('ZREM', KEYS[2], member)
return r[1] == 'pend' and 'away' or 'done'
