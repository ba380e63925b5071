-- Reads part of a hub's list. KEYS: state, pending writes, the list by weight or by time, the other one, records. ARGV:
-- limit, rank and member to start after (or "", ""), highest rank (or "+inf"), smallest size of a hub, space.
-- Returns false if the hub isn't stored completely, else {stamp, count, automatic, clean, repairs, records}.
if redis.call('GETRANGE', KEYS[1], 0, 10) ~= 'H' .. ARGV[6] then return false end
local count = redis.call('ZCARD', KEYS[3])
local auto = redis.call('HGET', KEYS[2], '#')
-- A key was evicted, or the hub has shrunk to a list: remove it, so that it is filled again. Its pending writes stay.
if not auto or count < tonumber(ARGV[5]) or redis.call('ZCARD', KEYS[4]) ~= count
    or redis.call('HLEN', KEYS[5]) ~= count then
  redis.call('UNLINK', KEYS[1], KEYS[3], KEYS[4], KEYS[5])
  return false
end
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local stamp = string.format('%.0f', now[1] * 1000000 + now[2])
local repairs, clean = {}, 1
if redis.call('HLEN', KEYS[2]) > 2 then
  local fields = redis.call('HGETALL', KEYS[2])
  for i = 1, #fields, 2 do
    local first = string.sub(fields[i], 1, 1)
    if first == 'P' then
      clean = 0
      if tonumber(fields[i + 1]) <= now_ms then
        -- Its writer has died. DynamoDB shows whether it had committed, so this becomes a repair.
        local cut = string.find(fields[i], '\0', 1, true)
        local member = string.sub(fields[i], 2, cut - 1)
        local token = string.sub(fields[i], cut + 1)
        redis.call('HDEL', KEYS[2], fields[i])
        redis.call('HSET', KEYS[2], 'R' .. member, token)
        repairs[#repairs + 1] = member
        repairs[#repairs + 1] = token
      end
    elseif first == 'R' then
      clean = 0
      repairs[#repairs + 1] = string.sub(fields[i], 2)
      repairs[#repairs + 1] = fields[i + 1]
    end
  end
end
-- Redis sorts members by their bytes; Lua's <= depends on the server's locale.
local function not_after(a, b)
  local shorter = math.min(#a, #b)
  for i = 1, shorter do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x < y end
  end
  return #a <= #b
end
-- A binary search for the first position after (rank, member); that entry may have been deleted.
local from = 0
if ARGV[2] ~= '' then
  local wanted, low, high = tonumber(ARGV[2]), 0, count
  while low < high do
    local middle = math.floor((low + high) / 2)
    local at = redis.call('ZRANGE', KEYS[3], middle, middle, 'WITHSCORES')
    local score = tonumber(at[2])
    if score < wanted or (score == wanted and not_after(at[1], ARGV[3])) then low = middle + 1 else high = middle end
  end
  from = low
end
local upto = from + tonumber(ARGV[1]) - 1
if ARGV[4] ~= '+inf' then upto = math.min(upto, redis.call('ZCOUNT', KEYS[3], '-inf', ARGV[4]) - 1) end
local records = {}
if upto >= from then
  local members = redis.call('ZRANGE', KEYS[3], from, upto)
  if #members > 0 then records = redis.call('HMGET', KEYS[5], unpack(members)) end
end
return {stamp, count, auto, clean, repairs, records}
