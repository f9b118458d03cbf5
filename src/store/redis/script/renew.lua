-- owner, lease, ttl.
local run = run_of(ARGV[1])
if not run or math.max(run.c, run.d) <= now then
  return 0
end
redis.call('HSET', key, 'c', int(math.max(run.c, now + tonumber(ARGV[2]))))
keep(ARGV[3])
return 1
