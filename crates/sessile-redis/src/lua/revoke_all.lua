-- KEYS home (no device), others. ARGV cut-off, handle to keep or empty, how, at, why, kept, then handles.
local cut, kept_one, how, at, why, kept = unpack(ARGV, 1, 6)
local crowd = others('', at, 7)
if not crowd then return { 'again' } end
local known = call('GET', CUT)
if not known or less(known, cut) then call('SET', CUT, cut) end
keep(CUT, kept)
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
