-- Goes before the scripts on a user's sessions, after common.lua. Each takes these keys first, and then devices.
local LIVE, PAST, ENDS, GONE, BORN, CUTS, ALL, DEVICE =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8]
-- Whose home it is: the name of LIVE is that of GONE, up to `gone`, then `l:` and the user.
local OWNER = string.sub(LIVE, #GONE - 1)
-- Many users share a partition, and a device's name does not say whose it is: another's is not here.
local function is_anothers(device)
  local owner = call('HGET', device, 'owner')
  return owner and owner ~= OWNER
end
-- The end of a device. There is one, so whoever calls has seen that it lives.
local function over(device, handle, how, at, why, kept)
  call('HDEL', device, 'doc', 'rev', 'tx', 'src')
  call('HSET', device, 'st', how, 'ended', at, 'why', why)
  call('ZREM', ENDS, 'd:' .. handle)
  call('ZREM', LIVE, handle)
  call('ZADD', PAST, at, handle)
  call('ZADD', GONE, at, handle)
  keep(device, kept)
  keep(PAST, kept)
end
-- The user's other sessions that count at this time, the oldest first; nothing when there is one that was not passed in.
-- Their handles begin at this argument, their names after DEVICE.
local function others(handle, now, first)
  local names = {}
  for i = first, #ARGV do names[ARGV[i]] = KEYS[9 + i - first] end
  local found = {}
  for _, other in ipairs(call('ZRANGE', LIVE, 0, -1)) do
    if other ~= handle then
      if not names[other] then return nil end
      local r = call('HMGET', names[other], 'st', 'end', 'ip', 'auth', 'owner')
      if r[5] ~= OWNER then r = {} end
      if r[1] == 'pend' or (r[1] == 'live' and not less(r[2], now)) then
        found[#found + 1] = { handle = other, name = names[other], ip = r[3] or '', auth = r[4], st = r[1], ends = r[2] }
      end
    end
  end
  return found
end
local function evict(list, count, now, kept, answer)
  for _, old in ipairs(list) do
    if count <= 0 then break end
    if old.st == 'live' then
      over(old.name, old.handle, 'evicted', now, '', kept)
      answer[#answer + 1] = old.handle
      answer[#answer + 1] = old.ip
      count = count - 1
    end
  end
  return answer
end
