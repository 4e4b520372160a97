-- Whose device a handle is. KEYS pointer. ARGV owner, ttl, the owner that was looked into and has none of this name.
local known = call('GET', KEYS[1])
if known and known ~= ARGV[1] and known ~= ARGV[3] then return { 'look', known } end
if known ~= ARGV[1] then call('SET', KEYS[1], ARGV[1]) end
keep(KEYS[1], ARGV[2])
return { known == ARGV[1] and 'known' or 'done' }
