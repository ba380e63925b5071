-- Puts entries as DynamoDB holds them into a hub's list. KEYS: state, pending writes, by weight, by time, records.
-- ARGV: space, and for each entry: member, token, type, rank by weight, rank by time, record ("": the edge doesn't exist).
-- An entry is changed only if its repair has the same token: no write came after DynamoDB was read.
if redis.call('GETRANGE', KEYS[1], 0, 10) ~= 'H' .. ARGV[1] then return 0 end
for i = 2, #ARGV, 6 do
  local member, record = ARGV[i], ARGV[i + 5]
  if redis.call('HGET', KEYS[2], 'R' .. member) == ARGV[i + 1] then
    local old = redis.call('HGET', KEYS[5], member)
    local auto = 0
    if old then auto = auto - tonumber(string.sub(old, 1, 1)) end
    if record == '' then
      redis.call('ZREM', KEYS[3], member)
      redis.call('ZREM', KEYS[4], member)
      redis.call('HDEL', KEYS[5], member)
    else
      auto = auto + tonumber(string.sub(record, 1, 1))
      redis.call('ZADD', KEYS[3], ARGV[i + 3], member)
      redis.call('ZADD', KEYS[4], ARGV[i + 4], member)
      redis.call('HSET', KEYS[5], member, record)
      local types = redis.call('HGET', KEYS[2], '#t') or ''
      if not string.find(',' .. types .. ',', ',' .. ARGV[i + 2] .. ',', 1, true) then
        redis.call('HSET', KEYS[2], '#t', types .. ',' .. ARGV[i + 2])
      end
    end
    if auto ~= 0 then redis.call('HINCRBY', KEYS[2], '#', auto) end
    redis.call('HDEL', KEYS[2], 'R' .. member)
  end
end
return 1
