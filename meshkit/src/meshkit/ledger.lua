-- Adds usage to the ledger of one tenant, once, however often it is sent.
--
-- The ledger of a day is a hash of rows: their names say whose they are, their values are whole
-- numbers with blanks between. Beside the days lies a hash for each process that writes: the number
-- of the last batch that came from it, and its own totals, of which the sum of all rows is made.
-- Days have no end of their own, so that no Redis that is full takes them for what may go; the index
-- of days says which there are to be taken out.
--
-- KEYS  the hash of the process, the index of days, then the hashes of the days
-- ARGV  the number of the batch, seconds that the process is known, most rows of a day, what begins a row
--       that stands for all that had no room; then for each row which day it is of (1 for the
--       first), its name, what follows its beginning, the name of the total that it is a part of,
--       how many numbers it has, and those
--
-- Returns 1 if it was added, 0 if that batch was there already.

local writer, index = KEYS[1], KEYS[2]
local batch = tonumber(ARGV[1])
local kept, most, rest = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]

if tonumber(redis.call('HGET', writer, 'batch') or 0) >= batch then
  return 0
end

local function add(key, name, first, count)
  local sums = {}
  for number in string.gmatch(redis.call('HGET', key, name) or '', '%S+') do
    sums[#sums + 1] = tonumber(number)
  end
  for index = 1, count do
    local sum = (sums[index] or 0) + tonumber(ARGV[first + index - 1])
    sums[index] = string.format('%.0f', sum)
  end
  redis.call('HSET', key, name, table.concat(sums, ' '))
end

local argument = 5
while argument <= #ARGV do
  local day = KEYS[2 + tonumber(ARGV[argument])]
  local name, of_rest = ARGV[argument + 1], rest .. ARGV[argument + 2]
  local total, count = ARGV[argument + 3], tonumber(ARGV[argument + 4])
  if redis.call('HEXISTS', day, name) == 0 and redis.call('HLEN', day) >= most then
    name = of_rest
  end
  add(day, name, argument + 5, count)
  add(writer, total, argument + 5, count)
  argument = argument + 5 + count
end
for number = 3, #KEYS do
  redis.call('ZADD', index, 0, string.match(KEYS[number], '[^:]+$'))
end
redis.call('HSET', writer, 'batch', batch)
redis.call('EXPIRE', writer, kept)
return 1
