-- Goes before every script. Times are milliseconds, as text; a name lives at least as long as the last who asked wants.
local call = redis.call
local function keep(name, ms)
  if call('PTTL', name) < tonumber(ms) then call('PEXPIRE', name, ms) end
end
-- A user's session is in the set of those that live, which lives at least as long: by that set a revocation finds it. It is
-- the third key of a script on a row, if the row has a user.
local function among_the_living(device, live, handle, ms)
  if not live then return end
  call('ZADD', live, call('HGET', device, 'made') or 0, handle)
  keep(live, ms)
end
local function less(a, b) return tonumber(a) < tonumber(b) end
-- A row keeps the names of its last changes, the latest first. A cluster's client sends one again when it does not hear of
-- it, and others may have come in between.
local function knows(names, by) return names and (' ' .. names .. ' '):find(' ' .. by .. ' ', 1, true) end
local function with(names, by)
  local kept = { by }
  for name in (names or ''):gmatch('%S+') do
    if #kept < 4 then kept[#kept + 1] = name end
  end
  return table.concat(kept, ' ')
end
-- Why a row may not be replaced by one who read this revision of it, if there is a reason.
local function refusal(row, key, now, rev)
  if row[1] ~= 'live' or row[2] ~= key then return 'away' end
  if less(row[3], now) then return 'gone' end
  if row[4] ~= rev then return 'stale' end
end
