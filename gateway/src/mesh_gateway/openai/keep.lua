-- Keeps one answer of a tenant, and lets its oldest ones go where it has too many.
--
-- KEYS: the answer, the index of the tenant's answers by the time that they were kept.
-- ARGV: the answer's name, seconds that it is kept, most answers of a tenant, the answer.

local now = redis.call('TIME')
local prefix = KEYS[2] .. ':'
redis.call('SET', KEYS[1], ARGV[4], 'EX', ARGV[2])
redis.call('ZADD', KEYS[2], now[1] + now[2] / 1000000, ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now[1] - ARGV[2])
local over = redis.call('ZCARD', KEYS[2]) - ARGV[3]
if over > 0 then
    for _, name in ipairs(redis.call('ZRANGE', KEYS[2], 0, over - 1)) do
        redis.call('DEL', prefix .. name)
    end
    redis.call('ZREMRANGEBYRANK', KEYS[2], 0, over - 1)
end
return over
