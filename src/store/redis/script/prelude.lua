-- A record is a hash: f fingerprint, s a state for each recipient, o owner of the run, c and d until when
-- it has its claim and its dispatch, a how many it has, k and p1, p2, … the parts that were accepted,
-- file and thumbnail.
--
-- States: F free, C claimed, D dispatched, U unknown, A accepted; c and d the same as C and D where an
-- earlier attempt may have sent.
local key = KEYS[1]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function int(number)
  return string.format('%d', number)
end

-- The state of each recipient, to be changed by place.
local function split(states)
  local list = {}
  for i = 1, #states do
    list[i] = string.sub(states, i, i)
  end
  return list
end

-- The places of a part, from 1, as they are counted here.
local function places(packed)
  local list = {}
  for i = 1, #packed, 4 do
    list[#list + 1] = struct.unpack('>I4', packed, i) + 1
  end
  return list
end

local function keep(ttl)
  redis.call('PEXPIRE', key, ttl)
end

-- The run of this owner: when its claim and its dispatch end, and how many it has.
local function run_of(owner)
  local run = redis.call('HMGET', key, 'o', 'c', 'd', 'a', 's')
  if run[1] ~= owner or not run[5] then
    return nil
  end
  return { c = tonumber(run[2]), d = tonumber(run[3]), a = tonumber(run[4]), s = run[5] }
end

-- A recipient that nobody has any more, and that nothing more was sent to.
local function freed(state)
  if state == 'c' or state == 'd' then
    return 'U'
  end
  return 'F'
end

local function is_active(state)
  return state == 'C' or state == 'c' or state == 'D' or state == 'd'
end

-- Writes the states back; a run that has none left ends, and a record that tells nothing goes.
local function write(states, active, ttl)
  local joined = table.concat(states)
  if active and active <= 0 then
    redis.call('HDEL', key, 'o', 'c', 'd', 'a')
  elseif active then
    redis.call('HSET', key, 'a', int(active))
  end
  local rest = redis.call('HMGET', key, 'o', 'file', 'thumbnail')
  if not rest[1] and not rest[2] and not rest[3] and not string.find(joined, '[^F]') then
    redis.call('DEL', key)
    return
  end
  redis.call('HSET', key, 's', joined)
  keep(ttl)
end
