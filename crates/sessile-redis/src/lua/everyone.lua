-- KEYS all. ARGV before, how, at, why, whether all that it ended is gone.
local known = call('HGET', KEYS[1], 'before')
if known and not less(known, ARGV[1]) then return 'known' end
call('HSET', KEYS[1], 'before', ARGV[1], 'swept', ARGV[5], 'how', ARGV[2], 'at', ARGV[3], 'why', ARGV[4])
return 'done'
