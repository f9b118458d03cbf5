-- owner, whether the rest is proven not sent, ttl, places, for each of them whether it was accepted,
-- and what tells of those.
local known = redis.call('HMGET', key, 's', 'o', 'a')
if not known[1] then
  return 0
end
local own = known[2] == ARGV[1]
local states = split(known[1])
local settled = 0
-- Which of the accepted ones are taken over.
local taken = {}
for i, at in ipairs(places(ARGV[4])) do
  local state = states[at]
  local active = is_active(state)
  local accepted = string.sub(ARGV[5], i, i) == '1'
  if accepted then
    taken[#taken + 1] = '0'
  end
  -- Of a run that was taken for dead only what nobody has claimed since.
  if state and state ~= 'A' and (own or not active) then
    if accepted then
      states[at] = 'A'
      taken[#taken] = '1'
    elseif active and ARGV[2] == '1' then
      states[at] = freed(state)
    elseif active then
      states[at] = 'U'
    end
    if active then
      settled = settled + 1
    end
  end
end
local mask = table.concat(taken)
if string.find(mask, '1') then
  local number = redis.call('HINCRBY', key, 'k', 1)
  redis.call('HSET', key, 'p' .. number, struct.pack('>I4', #mask) .. mask .. ARGV[6])
end
write(states, own and tonumber(known[3]) - settled or nil, ARGV[3])
return 1
