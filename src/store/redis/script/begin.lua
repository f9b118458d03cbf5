-- owner, lease, ttl, recipients, whether to take what is unknown, fingerprints.
local owner, lease, ttl, count = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local known = redis.call('HMGET', key, 'f', 's', 'o', 'c', 'd')
if not known[1] then
  redis.call('HSET', key, 'f', ARGV[6], 's', string.rep('C', count), 'o', owner,
    'c', int(now + lease), 'd', '0', 'a', int(count))
  keep(ttl)
  return { 'new', 0, {} }
end
local fits = false
for i = 6, #ARGV do
  fits = fits or ARGV[i] == known[1]
end
if not fits or #known[2] ~= count then
  return { 'reused', 0, {} }
end
if known[3] then
  local lives_until = math.max(tonumber(known[4]), tonumber(known[5]))
  if lives_until > now then
    return { 'running', lives_until - now, redis.call('HGETALL', key) }
  end
end
local states = split(known[2])
local active = 0
for i = 1, #states do
  local state = states[i]
  if known[3] then
    -- What a run has left behind that died.
    if state == 'C' or state == 'c' then
      state = freed(state)
    elseif state == 'D' or state == 'd' then
      state = 'U'
    end
  end
  if state == 'F' then
    state = 'C'
    active = active + 1
  elseif state == 'U' and ARGV[5] == '1' then
    state = 'c'
    active = active + 1
  end
  states[i] = state
end
redis.call('HSET', key, 's', table.concat(states))
keep(ttl)
if active == 0 then
  redis.call('HDEL', key, 'o', 'c', 'd', 'a')
  return { 'settled', 0, redis.call('HGETALL', key) }
end
redis.call('HSET', key, 'o', owner, 'c', int(now + lease), 'd', '0', 'a', int(active))
return { 'again', 0, redis.call('HGETALL', key) }
