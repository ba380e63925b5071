-- The pending visibilities whose life has not ended. KEYS: the pending visibilities of a user.
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local live = {}
for _, each in ipairs(redis.call('HVALS', KEYS[1])) do
  if tonumber(string.match(each, '^%d+')) > now_ms then live[#live + 1] = each end
end
return live
