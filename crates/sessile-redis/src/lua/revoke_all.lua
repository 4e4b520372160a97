-- KEYS home (no device), others. ARGV owner, cut-off, handle to keep or empty, how, at, why, kept, then handles.
local owner, cut, kept_one, how, at, why, kept = unpack(ARGV, 1, 7)
local crowd = others('', at, 8)
if not crowd then return { 'again' } end
local known = call('ZSCORE', CUTS, owner)
if not known or less(known, cut) then call('ZADD', CUTS, cut, owner) end
local answer = { 'done' }
for _, one in ipairs(crowd) do
  local in_flight = one.st == 'pend' and less(one.auth, cut)
  if one.handle ~= kept_one and (one.st == 'live' or in_flight) then
    over(one.name, one.handle, how, at, why, kept)
    answer[#answer + 1] = one.handle
    answer[#answer + 1] = one.ip
  end
end
return answer
