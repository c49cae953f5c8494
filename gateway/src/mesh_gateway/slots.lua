-- Takes a slot of a caller that may only have so many requests in flight.
--
-- A slot is a member of a sorted set whose score says until when it is leased, in milliseconds, so
-- that those of a gateway that died come back by themselves.
--
-- KEYS  the set
-- ARGV  how many there are, milliseconds of the lease, a name for the slot
--
-- Returns 1 if there was one, else 0.

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then
  return 0
end
local lease = tonumber(ARGV[2])
redis.call('ZADD', KEYS[1], now + lease, ARGV[3])
if redis.call('PTTL', KEYS[1]) < lease then
  redis.call('PEXPIRE', KEYS[1], lease)
end
return 1
