-- KEYS cuts. ARGV owner, before.
local known = call('ZSCORE', KEYS[1], ARGV[1])
if known and not less(known, ARGV[2]) then return 'known' end
call('ZADD', KEYS[1], ARGV[2], ARGV[1])
return 'done'
