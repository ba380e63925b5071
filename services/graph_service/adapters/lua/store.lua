-- Stores a list if the lease exists. KEYS: state. ARGV: lease token, value, life in ms. Returns 1 or 0.
if redis.call('GET', KEYS[1]) ~= 'L' .. ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
