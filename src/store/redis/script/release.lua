-- owner, lease, ttl, places, whether this attempt may have sent.
local run = run_of(ARGV[1])
if not run or math.max(run.c, run.d) <= now then
  return 0
end
local states = split(run.s)
for _, at in ipairs(places(ARGV[4])) do
  if states[at] == 'd' or (states[at] == 'D' and ARGV[5] == '1') then
    states[at] = 'c'
  elseif states[at] == 'D' then
    states[at] = 'C'
  end
end
redis.call('HSET', key, 's', table.concat(states), 'c', int(math.max(run.c, now + tonumber(ARGV[2]))))
keep(ARGV[3])
return 1
