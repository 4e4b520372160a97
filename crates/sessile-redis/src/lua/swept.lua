-- KEYS all. ARGV before.
if call('HGET', KEYS[1], 'before') == ARGV[1] then call('HSET', KEYS[1], 'swept', '1') end
return 'done'
