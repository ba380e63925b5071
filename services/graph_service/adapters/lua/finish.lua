-- A write is over. KEYS: state and marks of each note, then the change feed. ARGV: writer, channel, message, most entries
-- of the feed, life of the feed in ms, most repairs of a hub, for each note: how many members, and the members; then the
-- feed's entries. Returns the time in us.
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local stamp = string.format('%.0f', now[1] * 1000000 + now[2])
local at = 7
for i = 1, #KEYS - 1, 2 do
  local state, marks = KEYS[i], KEYS[i + 1]
  local kind = redis.call('GETRANGE', state, 0, 0)
  local hub = kind == 'H' or kind == 'F'
  local count = tonumber(ARGV[at])
  for j = at + 1, at + count do
    redis.call('HDEL', marks, 'P' .. ARGV[j] .. '\0' .. ARGV[1])
    -- The writer's id makes the mark's token unique: a repair that read before this write can't take it away.
    if hub then redis.call('HSET', marks, 'R' .. ARGV[j], ARGV[1]) end
  end
  at = at + 1 + count
  if hub then
    -- So many repairs cost more than filling it anew.
    if redis.call('HLEN', marks) > tonumber(ARGV[6]) then redis.call('UNLINK', state) end
  else
    local pending = false
    local fields = redis.call('HGETALL', marks)
    for j = 1, #fields, 2 do
      local first = string.sub(fields[j], 1, 1)
      if first == 'P' and tonumber(fields[j + 1]) > now_ms then
        pending = true
      else
        redis.call('HDEL', marks, fields[j])
      end
    end
    -- With another write under way the state stays dirty; if its mark was lost (evicted), it is set again.
    if not pending then
      redis.call('DEL', state)
    elseif kind ~= 'D' then
      redis.call('SET', state, 'D', 'PX', math.max(redis.call('PTTL', marks), 1000))
    end
  end
end
for j = at, #ARGV do
  redis.call('XADD', KEYS[#KEYS], 'MAXLEN', '~', ARGV[4], '*', 'e', ARGV[j])
end
if #ARGV >= at then redis.call('PEXPIRE', KEYS[#KEYS], ARGV[5]) end
redis.call('PUBLISH', ARGV[2], ARGV[3])
return stamp
