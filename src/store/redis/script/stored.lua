-- owner, which file, ttl, what tells of it.
if not run_of(ARGV[1]) then
  return 0
end
redis.call('HSET', key, ARGV[2], ARGV[4])
keep(ARGV[3])
return 1
