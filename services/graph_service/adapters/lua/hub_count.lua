-- Counts the edges of a hub that lead to some notes. KEYS: pending writes, records. ARGV: the notes.
local types, total = redis.call('HGET', KEYS[1], '#t') or '', 0
for type in string.gmatch(types, '[^,]+') do
  for i = 1, #ARGV do total = total + redis.call('HEXISTS', KEYS[2], ARGV[i] .. '#' .. type) end
end
return total
