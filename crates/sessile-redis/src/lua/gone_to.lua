-- KEYS place, moves. ARGV key, to, at, ttl.
if call('HEXISTS', KEYS[1], 'st') == 1 then return 'stale' end
call('HSET', KEYS[1], 'to', ARGV[2], 'at', ARGV[3])
call('PEXPIRE', KEYS[1], ARGV[4])
call('ZADD', KEYS[2], ARGV[3], ARGV[1])
return 'done'
