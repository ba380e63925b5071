-- Adds entries to the list that is being filled. KEYS: state, pending writes, staged by weight, by time, records.
-- ARGV: lease token, life in ms, types (a,b), then for each entry: rank by weight, rank by time, member, record.
if redis.call('GET', KEYS[1]) ~= 'F' .. ARGV[1] or redis.call('HEXISTS', KEYS[2], '#') == 0 then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local types = redis.call('HGET', KEYS[2], '#t') or ''
for type in string.gmatch(ARGV[3], '[^,]+') do
  if not string.find(',' .. types .. ',', ',' .. type .. ',', 1, true) then types = types .. ',' .. type end
end
redis.call('HSET', KEYS[2], '#t', types)
for i = 4, #ARGV, 4 do
  redis.call('ZADD', KEYS[3], ARGV[i], ARGV[i + 2])
  redis.call('ZADD', KEYS[4], ARGV[i + 1], ARGV[i + 2])
  redis.call('HSET', KEYS[5], ARGV[i + 2], ARGV[i + 3])
end
for i = 3, 5 do redis.call('PEXPIRE', KEYS[i], ARGV[2]) end
return 1
