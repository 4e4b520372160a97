-- KEYS home (no device), devices. ARGV cut-off, handle to keep or empty, how, at, why, kept, then the devices' handles.
local cut, kept_one, how, at, why, kept = unpack(ARGV, 1, 6)
local answer = { 'done' }
for i = 7, #ARGV do
  local handle, device = ARGV[i], KEYS[2 + i]
  local r = call('HMGET', device, 'st', 'end', 'ip', 'auth', 'owner')
  local lives = r[1] == 'live' and not less(r[2], at)
  local in_flight = r[1] == 'pend' and less(r[4], cut)
  if handle ~= kept_one and r[5] == OWNER and (lives or in_flight) then
    over(device, handle, how, at, why, kept)
    answer[#answer + 1] = handle
    answer[#answer + 1] = r[3] or ''
  end
end
return answer
