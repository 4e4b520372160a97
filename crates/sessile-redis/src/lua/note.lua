-- KEYS set. ARGV member, ttl.
call('SADD', KEYS[1], ARGV[1])
keep(KEYS[1], ARGV[2])
return 'done'
