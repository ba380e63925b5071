-- Makes the staged list the hub's list. KEYS: state, pending writes, staged by weight, by time, records, then these three
-- of the hub. ARGV: lease token, life of the state in ms, longer life of the other keys in ms, automatic edges, space,
-- smallest size of a hub. Returns 1, also if the hub is stored already, or 0 if the lease has ended or the hub has shrunk
-- to a list.
if redis.call('GETRANGE', KEYS[1], 0, 10) == 'H' .. ARGV[5] then return 1 end
if redis.call('GET', KEYS[1]) ~= 'F' .. ARGV[1] or redis.call('HEXISTS', KEYS[2], '#') == 0 then return 0 end
if redis.call('ZCARD', KEYS[3]) < tonumber(ARGV[6]) then
  redis.call('UNLINK', KEYS[1])
  return 0
end
for i = 3, 5 do
  if redis.call('EXISTS', KEYS[i]) == 0 then return 0 end
  redis.call('UNLINK', KEYS[i + 3])
  redis.call('RENAME', KEYS[i], KEYS[i + 3])
  redis.call('PEXPIRE', KEYS[i + 3], ARGV[3])
end
redis.call('HSET', KEYS[2], '#', ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
redis.call('SET', KEYS[1], 'H' .. ARGV[5], 'PX', ARGV[2])
return 1
