-- Begins a write. KEYS: state and pending writes of each list. ARGV: writer, life of a pending write in ms, channel,
-- message, then for each list: the number of members, and the members.
-- Lists become dirty: nobody may serve or fill them. A hub stays; only its members get pending writes.
local now = redis.call('TIME')
local deadline = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000) + ARGV[2])
local at = 5
for i = 1, #KEYS, 2 do
  local state, pending = KEYS[i], KEYS[i + 1]
  local kind = redis.call('GETRANGE', state, 0, 0)
  local count = tonumber(ARGV[at])
  for j = at + 1, at + count do
    redis.call('HSET', pending, 'P' .. ARGV[j] .. '\0' .. ARGV[1], deadline)
  end
  at = at + 1 + count
  if kind ~= 'H' and kind ~= 'F' then
    redis.call('SET', state, 'D', 'PX', ARGV[2])
    redis.call('PEXPIRE', pending, ARGV[2])
  end
end
redis.call('PUBLISH', ARGV[3], ARGV[4])
return 1
