-- Begins a write. KEYS: state and pending writes of each list; for a change of visibility, also the pending visibilities.
-- ARGV: writer, life of a pending write in ms, channel, message, then for each list: the number of members, and the
-- members; then the change of visibility.
-- Lists become dirty: nobody may serve or fill them. A hub stays; only its members get pending writes.
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local deadline = string.format('%.0f', now_ms + ARGV[2])
local at = 5
for i = 1, #KEYS - 1, 2 do
  local state, pending = KEYS[i], KEYS[i + 1]
  local kind = redis.call('GETRANGE', state, 0, 0)
  local count = tonumber(ARGV[at])
  for j = at + 1, at + count do
    redis.call('HSET', pending, 'P' .. ARGV[j] .. '\0' .. ARGV[1], deadline)
  end
  at = at + 1 + count
  local hub = kind == 'H' or kind == 'F'
  if not hub then redis.call('SET', state, 'D', 'PX', ARGV[2]) end
  -- The pending writes of a hub live as long as it does, unless they were evicted.
  if not hub or redis.call('PTTL', pending) < tonumber(ARGV[2]) then redis.call('PEXPIRE', pending, ARGV[2]) end
end
if #KEYS % 2 == 1 then
  local visibilities = KEYS[#KEYS]
  -- The writers that died before finish() leave theirs here.
  local fields = redis.call('HGETALL', visibilities)
  for j = 1, #fields, 2 do
    if tonumber(string.match(fields[j + 1], '^%d+')) <= now_ms then redis.call('HDEL', visibilities, fields[j]) end
  end
  redis.call('HSET', visibilities, ARGV[1], deadline .. ' ' .. ARGV[at])
  redis.call('PEXPIRE', visibilities, ARGV[2])
end
redis.call('PUBLISH', ARGV[3], ARGV[4])
return 1
