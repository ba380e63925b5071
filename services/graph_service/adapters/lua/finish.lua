-- Finishes a write. KEYS: state and pending writes of each list, for the hidden set also the pending visibilities, then
-- the change feed. ARGV: writer, channel, message,
-- largest size of the feed, its life in ms, most repairs of a hub, for each list: the number of members, and the members;
-- then new entries of the feed. Returns the time in us.
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local stamp = string.format('%.0f', now[1] * 1000000 + now[2])
local at = 7
for i = 1, #KEYS - 2, 2 do
  local state, pending = KEYS[i], KEYS[i + 1]
  local kind = redis.call('GETRANGE', state, 0, 0)
  -- A hub whose pending writes were evicted can't be repaired: its list goes, as any other.
  local hub = (kind == 'H' or kind == 'F') and redis.call('HEXISTS', pending, '#') == 1
  local count = tonumber(ARGV[at])
  for j = at + 1, at + count do
    redis.call('HDEL', pending, 'P' .. ARGV[j] .. '\0' .. ARGV[1])
    -- The repair's token is of this finish alone, since the journal may repeat it: a reader that read DynamoDB before
    -- can't remove the repair.
    if hub then redis.call('HSET', pending, 'R' .. ARGV[j], ARGV[1] .. ' ' .. stamp) end
  end
  at = at + 1 + count
  if hub then
    -- This many repairs cost more than a new fill.
    if redis.call('HLEN', pending) > tonumber(ARGV[6]) then redis.call('UNLINK', state) end
  else
    local is_pending = false
    local fields = redis.call('HGETALL', pending)
    for j = 1, #fields, 2 do
      local first = string.sub(fields[j], 1, 1)
      if first == 'P' and tonumber(fields[j + 1]) > now_ms then
        is_pending = true
      else
        redis.call('HDEL', pending, fields[j])
      end
    end
    -- The state stays dirty while another write is pending; it is set again if it was evicted.
    if not is_pending then
      redis.call('DEL', state)
    elseif kind ~= 'D' then
      redis.call('SET', state, 'D', 'PX', math.max(redis.call('PTTL', pending), 1000))
    end
  end
end
if #KEYS % 2 == 0 then redis.call('HDEL', KEYS[#KEYS - 1], ARGV[1]) end
for j = at, #ARGV do
  redis.call('XADD', KEYS[#KEYS], 'MAXLEN', '~', ARGV[4], '*', 'e', ARGV[j])
end
if #ARGV >= at then redis.call('PEXPIRE', KEYS[#KEYS], ARGV[5]) end
redis.call('PUBLISH', ARGV[2], ARGV[3])
return stamp
