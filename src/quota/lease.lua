-- One quota of one app, shared by replicas. What a replica was granted and has not reported ended is its lease; what
-- it reported ended stays for a window, by the part of Redis's clock in which it ended.
--
-- KEYS: the state (g generation, h until when nothing is granted, M and C sums of what ended, Mt and Ct the
-- oldest parts in them, r:ID a replica), and the parts (m:N and c:N).
-- ARGV: see `shared.rs`.
local state_key, parts_key = KEYS[1], KEYS[2]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local id, known, proposed = ARGV[1], ARGV[2], ARGV[3]
local n = {}
for i = 4, 17 do
  n[i] = tonumber(ARGV[i])
end
local seq, batch, lives = n[4], n[5], n[6]
local limit = { m = n[7], c = n[9] }
local window = { m = n[8], c = 1000 }
local held = { m = n[10], c = n[11] }
local available = { m = n[12], c = n[13] }
local reserve = { m = n[14], c = n[15] }
local queued, promised = n[16], n[17]
local ended, wanted = ARGV[18], ARGV[19]
local PARTS, SLOTS = 250, 16

local function int(number)
  return string.format('%d', number)
end

local state = {}
local flat = redis.call('HGETALL', state_key)
for i = 1, #flat, 2 do
  state[flat[i]] = flat[i + 1]
end
if not state.g then
  state.g = proposed
  redis.call('HSET', state_key, 'g', proposed)
end
redis.call('PEXPIRE', state_key, int(window.m + lives + 60000))
if known ~= '' and known ~= state.g then
  -- Redis has lost what it knew. Until the replicas have told it again, nothing is granted: each shows itself
  -- once a second as long as anything of it counts.
  if not state.h then
    redis.call('HSET', state_key, 'h', int(now + 1500))
  end
  return { 'lost', state.g }
end

-- A replica: held m, held c, dies, seq, batch, queued, waits since, its first call's m, seen, promised.
local function read(text)
  local fields = {}
  for field in string.gmatch(text, '%S+') do
    fields[#fields + 1] = tonumber(field)
  end
  return { m = fields[1], c = fields[2], dies = fields[3], seq = fields[4], batch = fields[5],
    queued = fields[6], since = fields[7], first = fields[8], seen = fields[9], promised = fields[10] or 0 }
end
local own = state['r:' .. id] and read(state['r:' .. id])
if own and seq <= own.seq then
  return { 'late', state.g }
end

-- What ended.
local sums, part, dropped = {}, {}, {}
for name, upper in pairs({ m = 'M', c = 'C' }) do
  part[name] = math.max(1, math.floor(window[name] / PARTS))
  sums[name] = tonumber(state[upper] or '0')
  dropped[name] = math.floor((now - window[name]) / part[name]) - 1
  local from = tonumber(state[upper .. 't'] or '0')
  if sums[name] > 0 and from <= dropped[name] then
    if dropped[name] - from > 2 * PARTS then
      local parts = redis.call('HKEYS', parts_key)
      for _, field in ipairs(parts) do
        local number = tonumber(string.sub(field, 3))
        if string.sub(field, 1, 1) == name and number <= dropped[name] then
          sums[name] = sums[name] - tonumber(redis.call('HGET', parts_key, field))
          redis.call('HDEL', parts_key, field)
        end
      end
    else
      for number = from, dropped[name] do
        local field = name .. ':' .. int(number)
        local amount = redis.call('HGET', parts_key, field)
        if amount then
          sums[name] = sums[name] - tonumber(amount)
          redis.call('HDEL', parts_key, field)
        end
      end
    end
  end
end
local function add(name, amount, at)
  local number = math.floor(at / part[name])
  if amount > 0 and number > dropped[name] then
    redis.call('HINCRBY', parts_key, name .. ':' .. int(number), int(amount))
    sums[name] = sums[name] + amount
  end
end
if not own or own.batch ~= batch then
  for i = 1, #ended, 12 do
    local age, m, c = struct.unpack('>I4I4I4', ended, i)
    add('m', m, now - age)
    add('c', c, now - age)
  end
end

-- What the others have.
local used = { m = sums.m + held.m, c = sums.c + held.c }
local live, busy, others_queued, protected = 1, 0, 0, 0
local askers, others_promised = 0, 0
local since = own and own.since or 0
local longest = since == 0 and now or since
for field, text in pairs(state) do
  if string.sub(field, 1, 2) == 'r:' and field ~= 'r:' .. id then
    local other = read(text)
    if other.dies <= now then
      -- Its calls have ended by now, whatever became of it.
      add('m', other.m, now)
      add('c', other.c, now)
      used.m = used.m + other.m
      used.c = used.c + other.c
      redis.call('HDEL', state_key, field)
    else
      used.m = used.m + other.m
      used.c = used.c + other.c
      live = live + 1
      local waits = other.since > 0 and now - other.seen < 1500
      if now - other.seen < 3000 and other.queued + other.promised > 0 then
        askers = askers + 1
        others_promised = others_promised + other.promised
      end
      if waits then
        busy = busy + 1
        others_queued = others_queued + other.queued
        -- Who has waited longest is not passed by: for one at a time, since what is kept for it lies idle until it asks.
        if now - other.since > window.m / 20 and other.since < longest then
          longest, protected = other.since, other.first
        end
      end
    end
  end
end
local left = {}
for _, name in ipairs({ 'm', 'c' }) do
  left[name] = limit[name] > 0 and limit[name] - used[name] or 1000000000
end
if state.h and tonumber(state.h) > now then
  left = { m = math.min(left.m, 0), c = math.min(left.c, 0) }
end

-- Whole calls, in their order.
local sizes = {}
for i = 1, #wanted, 4 do
  sizes[#sizes + 1] = struct.unpack('>I4', wanted, i)
end
local first = sizes[1] and math.max(0, sizes[1] - available.m) or 0
local free = left.m - protected
local most = math.max(first, math.ceil(limit.m / 10), 1)
if busy > 0 then
  -- Its share of what there is, or twice that of what has come free since it asked last: replicas do not ask evenly.
  local passed = own and math.min(now - own.seen, window.m) or window.m
  local share = math.max(left.m, 2 * limit.m * passed / window.m) / (busy + 1)
  most = math.max(first, math.floor(share))
end
if limit.m > 0 then
  free = math.min(free, most)
end
local granted, sum, met = { m = 0, c = 0 }, 0, 0
for i, size in ipairs(sizes) do
  sum = sum + size
  local need_m, need_c = math.max(0, sum - available.m), math.max(0, i - available.c)
  if need_m > free or need_c > left.c then
    break
  end
  granted, met = { m = need_m, c = need_c }, i
end
if met == #sizes then
  since = 0
  if protected == 0 then
    for _, name in ipairs({ 'm', 'c' }) do
      local spare = math.floor((left[name] - granted[name]) / (4 * live))
      local kept = math.max(0, available[name] + granted[name] - (name == 'm' and sum or #sizes))
      granted[name] = granted[name] + math.max(0, math.min(reserve[name] - kept, spare))
    end
  end
elseif met > 0 or since == 0 then
  since = now
end
left.m = left.m - granted.m
left.c = left.c - granted.c

redis.call('HSET', state_key,
  'r:' .. id, table.concat({ int(held.m + granted.m), int(held.c + granted.c), int(now + lives),
    int(seq), int(batch), int(queued), int(since), int(first), int(now), int(promised) }, ' '),
  'M', int(sums.m), 'Mt', int(dropped.m + 1), 'C', int(sums.c), 'Ct', int(dropped.c + 1))
redis.call('PEXPIRE', parts_key, int(window.m + 60000))

-- When more comes, where somebody waits for it.
local slots = {}
if met < #sizes or left.m < limit.m / 10 then
  for i = 1, SLOTS do
    slots[i] = 0
  end
  local parts = redis.call('HGETALL', parts_key)
  for i = 1, #parts, 2 do
    if string.sub(parts[i], 1, 1) == 'm' then
      local leaves = (tonumber(string.sub(parts[i], 3)) + 1) * part.m + window.m - now
      local slot = math.min(SLOTS, math.max(1, math.ceil(leaves * SLOTS / window.m)))
      slots[slot] = slots[slot] + tonumber(parts[i + 1])
    end
  end
end
return { 'ok', state.g, granted.m, granted.c, left.m, left.c, live, busy, others_queued, met, slots, askers,
  others_promised }
