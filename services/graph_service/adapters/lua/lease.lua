-- Gives a lease to fill a list. KEYS: state. ARGV: lease token, life in ms, prefix of a state to replace ("": none).
-- Returns {state, ""} if the list has a state, {"", stamp} if the lease is given.
local state = redis.call('GET', KEYS[1])
if state and (ARGV[3] == '' or string.sub(state, 1, #ARGV[3]) ~= ARGV[3]) then return {state, ''} end
redis.call('SET', KEYS[1], 'L' .. ARGV[1], 'PX', ARGV[2])
local now = redis.call('TIME')
return {'', string.format('%.0f', now[1] * 1000000 + now[2])}
