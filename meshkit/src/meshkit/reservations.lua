-- Reserves the most that a request may use of some accounts, and settles it to what it has used.
--
-- An account is a hash: `open` is the sum of what is reserved in it, the rest what was used. Of
-- tokens that is a bucket, `at`, as in the gateway's gcra.lua; of money a sum, `spent`, and the
-- number of the day or month that it is of, `period`. What is reserved takes room and does not come
-- back with time, so that what is settled never goes beyond what the account has room for.
-- Beside it lies a sorted set of its open reservations, `<id>:<amount>` by when they end, in
-- milliseconds: those of a gateway that died come back by themselves.
--
-- A record says of each reservation what was charged for it. What is settled twice is charged once:
-- the gateway and the service that did the work may both do so, in any order; the larger counts.
--
-- KEYS  the record, then for each account its hash and the set of its reservations; for a bucket of
--       requests (a plain number as in gcra.lua) its name, twice
-- ARGV  `reserve` or `settle`, the id, milliseconds that the record is kept after the lease
--       reserve: milliseconds of the lease, what the record tells whoever settles, then for each
--       account its kind (`requests`, `tokens`, `day`, `month`), the amount, units that it holds,
--       and microseconds that one takes to come back
--       settle: tokens used, money used, then for each account its kind, the amount that was
--       reserved, units that it holds, and microseconds that one takes to come back
--
-- A reservation takes from all accounts or from none. Where its record is there already it was
-- settled before it came, and takes nothing.
--
-- Returns for reserve: whether it passed; then for each account units left, microseconds until it
-- is whole again, microseconds until the amount would fit if all that is open were used, 0 if it
-- does. For settle: 1.

local time = redis.call('TIME')
local seconds = tonumber(time[1])
local micros = tonumber(time[2])
local now = (seconds - 1700000000) * 1000000 + micros
local now_ms = seconds * 1000 + math.floor(micros / 1000)
local DAY_S = 86400

-- The month of a day since 1970-01-01, counted from year 0, and the day on which a month begins.
-- Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
local function month_of(day)
  local shifted = day + 719468
  local era = math.floor(shifted / 146097)
  local of_era = shifted - era * 146097
  local year = math.floor((of_era - math.floor(of_era / 1460) + math.floor(of_era / 36524)
    - math.floor(of_era / 146096)) / 365)
  local of_year = of_era - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local march = math.floor((5 * of_year + 2) / 153)
  return (year + era * 400) * 12 + march + 2
end

local function first_day(month)
  local march_based = month - 2
  local year = math.floor(march_based / 12)
  local era = math.floor(year / 400)
  local year_of_era = year - era * 400
  local of_year = math.floor((153 * (march_based - year * 12) + 2) / 5)
  local of_era = year_of_era * 365 + math.floor(year_of_era / 4) - math.floor(year_of_era / 100)
    + of_year
  return era * 146097 + of_era - 719468
end

-- The number of the day or month, and microseconds until it ends.
local function period(kind)
  local day = math.floor(seconds / DAY_S)
  if kind == 'day' then
    return day, ((day + 1) * DAY_S - seconds) * 1000000 - micros
  end
  local month = month_of(day)
  return month, (first_day(month + 1) * DAY_S - seconds) * 1000000 - micros
end

local function drop_ended(account)
  local ended = redis.call('ZRANGEBYSCORE', account.reserved, '-inf', now_ms)
  if #ended == 0 then
    return
  end
  for _, member in ipairs(ended) do
    account.open = account.open - tonumber(string.match(member, ':(%d+)$'))
  end
  redis.call('ZREMRANGEBYSCORE', account.reserved, '-inf', now_ms)
  account.changed = true
end

local function read(index, argument)
  local account = {
    key = KEYS[2 * index], reserved = KEYS[2 * index + 1], kind = ARGV[argument],
    amount = tonumber(ARGV[argument + 1]), most = tonumber(ARGV[argument + 2]),
    interval = tonumber(ARGV[argument + 3]), open = 0
  }
  if account.kind == 'requests' then
    account.at = math.max(now, tonumber(redis.call('GET', account.key) or now))
    return account
  end
  local found = redis.call('HMGET', account.key, 'open', 'at', 'spent', 'period')
  account.open = tonumber(found[1] or 0)
  if account.kind == 'tokens' then
    account.at = math.max(now, tonumber(found[2] or now))
  else
    account.period, account.whole_in = period(account.kind)
    account.spent = account.period == tonumber(found[4] or 0) and tonumber(found[3]) or 0
  end
  drop_ended(account)
  account.open = math.max(0, account.open)
  return account
end

local function left(account)
  if account.spent then
    return account.most - account.spent - account.open
  end
  local room = (now + account.most * account.interval - account.at) / account.interval
  return math.floor(room + 1e-6) - account.open
end

-- Until it is whole again, and until an amount fits.
local function waits(account)
  if account.spent then
    return account.whole_in, left(account) < account.amount and account.whole_in or 0
  end
  local used_until = account.at + account.open * account.interval
  local fits_at = used_until - (account.most - account.amount) * account.interval
  return math.max(0, used_until - now), math.max(0, fits_at - now)
end

local function charge(account, amount)
  if account.spent then
    account.spent = account.spent + amount
  else
    account.at = account.at + amount * account.interval
  end
  account.changed = true
end

local function outlive(key, lifetime)
  if redis.call('PTTL', key) < lifetime then
    redis.call('PEXPIRE', key, lifetime)
  end
end

local function write(account, lease)
  if not account.changed then
    return
  end
  local lifetime = math.ceil((account.whole_in or (account.at - now)) / 1000) + 1
  if account.kind == 'requests' then
    redis.call('SET', account.key, string.format('%.3f', account.at), 'PX', lifetime)
    return
  end
  redis.call('HSET', account.key, 'open', string.format('%.0f', math.max(0, account.open)))
  if account.spent then
    redis.call('HSET', account.key, 'spent', string.format('%.0f', account.spent),
      'period', account.period)
  else
    redis.call('HSET', account.key, 'at', string.format('%.3f', account.at))
  end
  outlive(account.key, math.max(lifetime, lease))
end

local function accounts(first)
  local found = {}
  for index = 1, (#KEYS - 1) / 2 do
    found[index] = read(index, first + 4 * (index - 1))
  end
  return found
end

local record, id, kept = KEYS[1], ARGV[2], tonumber(ARGV[3])

local function reserve(lease, told)
  local found = accounts(6)
  local settled = redis.call('EXISTS', record) == 1
  local passed = true
  for _, account in ipairs(found) do
    passed = passed and account.amount <= left(account)
  end
  if passed and not settled then
    for _, account in ipairs(found) do
      if account.kind == 'requests' then
        charge(account, account.amount)
      elseif account.amount > 0 then
        account.open = account.open + account.amount
        account.changed = true
        redis.call('ZADD', account.reserved, now_ms + lease,
          id .. ':' .. string.format('%.0f', account.amount))
        outlive(account.reserved, lease)
      end
    end
    redis.call('HSET', record, 'told', told)
    redis.call('PEXPIRE', record, lease + kept)
  end
  local answer = {(passed or settled) and 1 or 0}
  for _, account in ipairs(found) do
    write(account, lease)
    local whole, fits = waits(account)
    answer[#answer + 1] = math.max(0, left(account))
    answer[#answer + 1] = math.ceil(whole)
    answer[#answer + 1] = answer[1] == 1 and 0 or math.ceil(fits)
  end
  return answer
end

local function settle(tokens, money)
  local before = redis.call('HMGET', record, 'tokens', 'money')
  local charged = {tokens = tonumber(before[1] or 0), money = tonumber(before[2] or 0)}
  for _, account in ipairs(accounts(6)) do
    local member = id .. ':' .. string.format('%.0f', account.amount)
    if redis.call('ZREM', account.reserved, member) == 1 then
      account.open = account.open - account.amount
      account.changed = true
    end
    local used, already = tokens, charged.tokens
    if account.spent then
      used, already = money, charged.money
    end
    if used > already then
      charge(account, used - already)
    end
    write(account, 0)
  end
  redis.call('HSET', record, 'tokens', string.format('%.0f', math.max(tokens, charged.tokens)),
    'money', string.format('%.0f', math.max(money, charged.money)))
  outlive(record, kept)
  return 1
end

if ARGV[1] == 'reserve' then
  return reserve(tonumber(ARGV[4]), ARGV[5])
end
return settle(tonumber(ARGV[4]), tonumber(ARGV[5]))
