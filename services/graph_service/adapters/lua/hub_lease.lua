-- Gives a lease to fill a hub's list. KEYS: state, pending writes. ARGV: lease token, life in ms, life of the hub's keys
-- in ms, space. Returns {first byte of the state, ""} if another fill runs or the hub is stored, {"", stamp} if the lease
-- is given.
-- Pending writes stay: while the state is F or H, their finish turns them into repairs. The repairs of before end: the
-- fill reads what they ask for, and a late one must not be put into the new list.
local state = redis.call('GETRANGE', KEYS[1], 0, 10)
local kind = string.sub(state, 1, 1)
if kind == 'F' or state == 'H' .. ARGV[4] then return {kind, ''} end
redis.call('SET', KEYS[1], 'F' .. ARGV[1], 'PX', ARGV[2])
for _, field in ipairs(redis.call('HKEYS', KEYS[2])) do
  if string.sub(field, 1, 1) == 'R' then redis.call('HDEL', KEYS[2], field) end
end
-- The field '#' shows later that this key was not evicted; it also counts the automatic edges.
redis.call('HSET', KEYS[2], '#', 0)
redis.call('PEXPIRE', KEYS[2], ARGV[3])
local now = redis.call('TIME')
return {'', string.format('%.0f', now[1] * 1000000 + now[2])}
