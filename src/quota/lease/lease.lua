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
for i = 4, 18 do
  n[i] = tonumber(ARGV[i])
end
local seq, batch, lives = n[4], n[5], n[6]
local limit = { m = n[7], c = n[9] }
local window = { m = n[8], c = 1000 }
local held = { m = n[10], c = n[11] }
local available = { m = n[12], c = n[13] }
local reserve = { m = n[14], c = n[15] }
local queued, patience, answered = n[16], n[17], n[18]
local ended, wanted, promises, hopes = ARGV[19], ARGV[20], ARGV[21], ARGV[22]
-- STEPS are those of a window in which times are told.
local PARTS, SLOTS, STEPS = 250, 16, 64
local AHEAD = 3 * STEPS

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
-- Redis has lost what it knew, or some of it. Until the replicas have told it again, nothing is granted: each shows itself
-- once a second as long as anything of it counts.
local function hold()
  redis.call('HSET', state_key, 'h', int(now + 1500))
end
if known ~= '' and known ~= state.g then
  if not state.h then
    hold()
  end
  return { 'lost', state.g }
end

-- A replica: held m, held c, dies, seq, batch, queued, waits since, its first call's m, seen, until when the last waits; then of
-- whom it told to come back: when, and the m.
local function read(text)
  local fields = {}
  for field in string.gmatch(text, '%S+') do
    fields[#fields + 1] = tonumber(field)
  end
  return { m = fields[1], c = fields[2], dies = fields[3], seq = fields[4], batch = fields[5],
    queued = fields[6], since = fields[7], first = fields[8], seen = fields[9], till = fields[10],
    promises = fields }
end
local own = state['r:' .. id] and read(state['r:' .. id])
if own and seq <= own.seq then
  return { 'late', state.g }
end
if answered > (own and own.seq or 0) then
  if tonumber(state.h or '0') <= now then
    hold()
  end
  return { 'behind', state.g, own and own.batch or 0 }
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
local promised, till = {}, now + patience
local function promise(at, m)
  local step = math.min(AHEAD + 1, math.max(1, math.ceil((at - now) * STEPS / window.m)))
  promised[step] = (promised[step] or 0) + m
end
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
      if now - other.seen < 3000 then
        for i = 11, #other.promises - 1, 2 do
          promise(other.promises[i], other.promises[i + 1])
        end
      end
      if waits then
        busy = busy + 1
        others_queued = others_queued + other.queued
        till = math.max(till, other.till)
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
local granted, sum, count, met = { m = 0, c = 0 }, 0, 0, 0
local function grant(m, c)
  local need_m, need_c = math.max(0, sum + m - available.m), math.max(0, count + c - available.c)
  if need_m > free or need_c > left.c then
    return false
  end
  sum, count = sum + m, count + c
  granted = { m = need_m, c = need_c }
  return true
end
for i, size in ipairs(sizes) do
  if not grant(size, 1) then
    break
  end
  met = i
end
if met == #sizes then
  since = 0
elseif met > 0 or since == 0 then
  since = now
end

-- What leaves when: in steps from now, and for the rest of this replica's time in slots.
local leaves, slots = {}, {}
if met < #sizes or left.m - granted.m < limit.m / 10 or #hopes > 0 then
  for i = 1, SLOTS do
    slots[i] = 0
  end
  local parts = redis.call('HGETALL', parts_key)
  for i = 1, #parts, 2 do
    if string.sub(parts[i], 1, 1) == 'm' then
      local m = tonumber(parts[i + 1])
      local after = ((tonumber(string.sub(parts[i], 3)) + 1) * part.m + window.m - now) / window.m
      local slot = math.min(SLOTS, math.max(1, math.ceil(after * SLOTS)))
      local step = math.min(STEPS, math.max(1, math.ceil(after * STEPS)))
      slots[slot] = slots[slot] + m
      leaves[step] = (leaves[step] or 0) + m
    end
  end
end

-- When those may go who hope to, so that whoever was told a time before them keeps it.
local fields = { 0, 0, int(now + lives), int(seq), int(batch), int(queued), int(since), int(first), int(now),
  int(now + patience) }
local function keep(at, m)
  fields[#fields + 1], fields[#fields + 2] = int(at), int(m)
end
for i = 1, #promises, 8 do
  local due, m = struct.unpack('>I4I4', promises, i)
  keep(now + due, m)
  if #hopes > 0 then
    promise(now + due, m)
  end
end
-- What may go at once, whatever is promised.
local told, open = {}, math.max(0, left.m + available.m - others_queued - queued)
if #hopes == 0 and (#promises > 0 or next(promised)) then
  open = 0
end
if #hopes > 0 then
  local free = left.m + available.m
  local all = math.max(limit.m, free)
  -- What is charged now, of which what is under way leaves after what ended.
  local charged, far = all - free, 0
  local last = charged
  for _, m in pairs(leaves) do
    last = last - m
  end
  leaves[STEPS] = (leaves[STEPS] or 0) + math.max(0, last)
  -- What goes at a step is charged for a window from then.
  local spare, due, in_time = { [0] = free }, { [0] = 0 }, 0
  for step = 1, AHEAD + 1 do
    charged = charged - (leaves[step] or 0)
    due[step] = due[step - 1] + (promised[step] or 0)
    spare[step] = all - math.max(0, charged) - due[step] + due[math.max(0, step - STEPS)]
    if step <= STEPS and (step - 1) * window.m / STEPS < till - now then
      in_time = step
    end
    if step > AHEAD - STEPS then
      far = far + (promised[step] or 0)
    end
  end
  -- Those who wait go as far as there is room in their time, and no further.
  local waits = others_queued + queued
  local go = math.min(waits, math.max(0, spare[in_time]))
  local at_once = math.min(go, math.max(0, free))
  for step = 0, in_time + STEPS - 1 do
    local charge = step <= in_time and waits or go
    spare[step] = spare[step] - (step < STEPS and charge or go - at_once)
  end
  -- Not all of a later window is told: whole calls do not fill it, and it is newcomers that use the rest.
  local margin = math.floor(limit.m / 32)
  for i = 1, #hopes, 12 do
    local c, m, needs = struct.unpack('>I4I4I4', hopes, i)
    -- The first step with enough for a window from then; what is more than a window's goes after it.
    local step, checked, more = 0, 0, math.max(0, needs - all)
    needs = needs - more
    while checked < step + STEPS and step <= AHEAD - STEPS do
      if spare[checked] < math.min(all, needs + (step > 0 and margin or 0)) then
        step = checked + 1
      end
      checked = checked + 1
    end
    local wait = math.ceil(step * window.m / STEPS) + math.ceil(more / all) * window.m
    if step > AHEAD - STEPS then
      wait = wait + math.ceil((needs + far) / all) * window.m
      far = far + m
    end
    for later = step, math.min(step + STEPS - 1, AHEAD) do
      spare[later] = spare[later] - m + more
    end
    for later = step + STEPS, more > 0 and AHEAD or 0 do
      spare[later] = spare[later] - more
    end
    if wait > 0 or met < #sizes or not grant(m, c) then
      keep(now + wait, m)
    end
    told[#told + 1] = wait
  end
  open = all
  for step = 0, STEPS - 1 do
    open = math.max(0, math.min(open, spare[step]))
  end
end

if met == #sizes and protected == 0 then
  for _, name in ipairs({ 'm', 'c' }) do
    local spare = math.floor((left[name] - granted[name]) / (4 * live))
    local kept = math.max(0, available[name] + granted[name] - (name == 'm' and sum or count))
    -- Nothing of what somebody was told to come back for.
    local free = name == 'm' and limit.m > 0 and math.min(spare, math.floor(open / live)) or spare
    granted[name] = granted[name] + math.max(0, math.min(reserve[name] - kept, free))
  end
end
left.m = left.m - granted.m
left.c = left.c - granted.c
fields[1], fields[2] = int(held.m + granted.m), int(held.c + granted.c)
redis.call('HSET', state_key, 'r:' .. id, table.concat(fields, ' '),
  'M', int(sums.m), 'Mt', int(dropped.m + 1), 'C', int(sums.c), 'Ct', int(dropped.c + 1))
redis.call('PEXPIRE', parts_key, int(window.m + 60000))
return { 'ok', state.g, granted.m, granted.c, left.m, left.c, live, busy, met, slots, told, open }
