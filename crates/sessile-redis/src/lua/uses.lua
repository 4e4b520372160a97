-- KEYS counts, times. ARGV fingerprint, cookies, last used.
call('HINCRBY', KEYS[1], ARGV[1], ARGV[2])
local known = call('ZSCORE', KEYS[2], ARGV[1])
if not known or less(known, ARGV[3]) then call('ZADD', KEYS[2], ARGV[3], ARGV[1]) end
return 'done'
