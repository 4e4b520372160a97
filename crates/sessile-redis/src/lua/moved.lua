-- A device has left this key for another. KEYS place, moves. ARGV claim, to, at, ttl, key.
if call('HGET', KEYS[1], 'claim') == ARGV[1] and call('HEXISTS', KEYS[1], 'st') == 0 then
  call('HSET', KEYS[1], 'to', ARGV[2], 'at', ARGV[3])
  call('PEXPIRE', KEYS[1], ARGV[4])
  call('ZADD', KEYS[2], ARGV[3], ARGV[5])
end
return 'done'
