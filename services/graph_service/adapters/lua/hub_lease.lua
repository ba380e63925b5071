-- Gives a lease to fill a hub's list. KEYS: state, pending writes. ARGV: lease token, life in ms, life of the hub's keys
-- in ms. Returns {state, ""} if another fill runs or the hub is stored, {"", stamp} if the lease is given.
-- Pending writes stay: while the state is F or H, their finish turns them into repairs.
local kind = redis.call('GETRANGE', KEYS[1], 0, 0)
if kind == 'H' or kind == 'F' then return {kind, ''} end
redis.call('SET', KEYS[1], 'F' .. ARGV[1], 'PX', ARGV[2])
-- The field '#' shows later that this key was not evicted; it also counts the automatic edges.
redis.call('HSET', KEYS[2], '#', 0)
redis.call('PEXPIRE', KEYS[2], ARGV[3])
local now = redis.call('TIME')
return {'', string.format('%.0f', now[1] * 1000000 + now[2])}
