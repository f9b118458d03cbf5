-- owner, unused, ttl.
local run = run_of(ARGV[1])
if not run then
  return 0
end
local states = split(run.s)
local active = run.a
for i, state in ipairs(states) do
  if state == 'C' or state == 'c' then
    states[i] = freed(state)
    active = active - 1
  end
end
write(states, active, ARGV[3])
return 1
