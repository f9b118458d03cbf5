-- owner, lease, ttl, places.
local run = run_of(ARGV[1])
if not run or run.c <= now then
  return 0
end
local states = split(run.s)
for _, at in ipairs(places(ARGV[4])) do
  if states[at] == 'C' then
    states[at] = 'D'
  elseif states[at] == 'c' then
    states[at] = 'd'
  else
    return 0
  end
end
redis.call('HSET', key, 's', table.concat(states), 'd', int(math.max(run.d, now + tonumber(ARGV[2]))))
keep(ARGV[3])
return 1
