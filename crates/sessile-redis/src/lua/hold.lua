-- KEYS what has to be there for longer. ARGV ttl, a field and a value to say so, or empty.
keep(KEYS[1], ARGV[1])
if ARGV[2] ~= '' and call('EXISTS', KEYS[1]) == 1 then call('HSET', KEYS[1], ARGV[2], ARGV[3]) end
return 'done'
