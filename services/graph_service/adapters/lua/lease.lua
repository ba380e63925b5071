-- Gives a lease to fill a list. KEYS: state, pending writes. ARGV: lease token, life in ms, space, stamp of a list that is
-- to be replaced ("": none). Returns {state, ""} if the list has a state, {"", stamp} if the lease is given.
local state = redis.call('GET', KEYS[1])
if state then
  local kind = string.sub(state, 1, 1)
  local stored = kind == 'V' or kind == 'H'
  local foreign = stored and string.sub(state, 2, 11) ~= ARGV[3]
  local old = kind == 'V' and string.sub(state, 12, 19) == ARGV[4]
  if not foreign and not old then return {state, ''} end
end
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
-- A write of a hub is pending without the state D; so is one whose state was evicted.
local fields = redis.call('HGETALL', KEYS[2])
for i = 1, #fields, 2 do
  if string.sub(fields[i], 1, 1) == 'P' and tonumber(fields[i + 1]) > now_ms then return {'D', ''} end
end
redis.call('SET', KEYS[1], 'L' .. ARGV[1], 'PX', ARGV[2])
return {'', string.format('%.0f', now[1] * 1000000 + now[2])}
