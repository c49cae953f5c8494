-- Takes from buckets of rate limits, for many requests at once.
--
-- Each bucket is a number: when it will be full again, in microseconds since 2023-11-14T22:13:20Z
-- (the "theoretical arrival time" of the generic cell rate algorithm, ITU-T I.371; an epoch close to
-- now leaves more digits for fractions of a microsecond). A missing bucket is full.
--
-- KEYS  the buckets of all groups, one group after the other
-- ARGV  for each group: how many buckets it has, how many requests, what each of them takes;
--       then for each of its buckets: microseconds that one unit takes to come back, units it holds
--
-- A request takes from all buckets of its group or from none. Of a group's requests as many pass as
-- all of its buckets have room for.
--
-- Returns for each group: how many passed; microseconds until one more would pass, 0 if all did;
-- then for each of its buckets: units left, microseconds until there is one more than that.

local time = redis.call('TIME')
local now = (tonumber(time[1]) - 1700000000) * 1000000 + tonumber(time[2])
local full_at = {}
local answer = {}
local argument, first = 1, 1

local function room(at, interval, burst)
  return math.floor((now + burst * interval - at) / interval + 1e-6)
end

while argument <= #ARGV do
  local buckets = tonumber(ARGV[argument])
  local requests = tonumber(ARGV[argument + 1])
  local cost = tonumber(ARGV[argument + 2])
  argument = argument + 3
  local passed = requests
  for index = 0, buckets - 1 do
    local key = KEYS[first + index]
    if not full_at[key] then
      full_at[key] = math.max(now, tonumber(redis.call('GET', key) or now))
    end
    local interval = tonumber(ARGV[argument + 2 * index])
    local burst = tonumber(ARGV[argument + 2 * index + 1])
    passed = math.min(passed, math.floor(room(full_at[key], interval, burst) / cost))
  end
  passed = math.max(passed, 0)
  local header = #answer
  answer[header + 1] = passed
  answer[header + 2] = 0
  for index = 0, buckets - 1 do
    local key = KEYS[first + index]
    local interval = tonumber(ARGV[argument + 2 * index])
    local burst = tonumber(ARGV[argument + 2 * index + 1])
    if passed > 0 then
      full_at[key] = full_at[key] + passed * cost * interval
      local lifetime = math.ceil((full_at[key] - now) / 1000) + 1
      redis.call('SET', key, string.format('%.3f', full_at[key]), 'PX', lifetime)
    end
    local at = full_at[key]
    local left = math.max(0, room(at, interval, burst))
    local until_one_more = 0
    if left < burst then
      until_one_more = at - (burst - left - 1) * interval - now
    end
    if passed < requests then
      local until_passing = at - (burst - cost) * interval - now
      answer[header + 2] = math.max(answer[header + 2], math.ceil(until_passing))
    end
    answer[#answer + 1] = left
    answer[#answer + 1] = math.max(0, math.ceil(until_one_more))
  end
  argument = argument + 2 * buckets
  first = first + buckets
end
return answer
