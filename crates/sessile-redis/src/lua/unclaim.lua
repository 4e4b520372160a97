-- KEYS place. ARGV claim.
if call('HGET', KEYS[1], 'claim') == ARGV[1] then call('HDEL', KEYS[1], 'owner', 'handle', 'claim') end
return 'done'
