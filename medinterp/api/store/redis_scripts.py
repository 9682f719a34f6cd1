"""What the Redis server does in one step each. Times are its own, in milliseconds since 1970.

    medinterp:3:report:ID      hash: v version, m made at, o owner, p names of parts, b sealed body; with a time to live
    medinterp:3:part:NAME      sealed part, which lives as long as the last report that refers to it
    medinterp:3:refs:NAME      set of those reports' ids
    medinterp:3:reports        sorted set of reports' ids by the time they are forgotten: who makes room
    medinterp:3:record:K:ID    hash: v version, o owner, d sealed data; with a time to live
    medinterp:3:records:K      set of a kind's ids

An owner is "n" (none) or "o" and a name; "a" in a question asks for anybody's. What is forgotten is removed by commands
that a full server allows. Under a full server reading does not reorder `reports`.
"""

from __future__ import annotations

PREFIX = "medinterp:3:"

_COMMON = f"""
local P = '{PREFIX}'
local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
local function names(text)
  local found = {{}}
  for name in string.gmatch(text, '%x+') do found[#found + 1] = name end
  return found
end
local function lives(key, at)
  if redis.call('PTTL', key) < at - now() then redis.call('PEXPIREAT', key, at) end
end
local function refer(name, id, at)
  redis.call('SADD', P .. 'refs:' .. name, id)
  lives(P .. 'refs:' .. name, at)
  lives(P .. 'part:' .. name, at)
end
local function leave(name, id)
  local refs = P .. 'refs:' .. name
  redis.call('SREM', refs, id)
  for _, other in ipairs(redis.call('SMEMBERS', refs)) do
    if redis.call('EXISTS', P .. 'report:' .. other) == 1 then return end
    redis.call('SREM', refs, other)
  end
  redis.call('DEL', refs, P .. 'part:' .. name)
end
local function whose(key, owner)
  local found = redis.call('HGET', key, 'o')
  return found and (owner == 'a' or owner == found)
end
local function forget(id)
  local key = P .. 'report:' .. id
  local parts = redis.call('HGET', key, 'p') or ''
  redis.call('DEL', key)
  redis.call('ZREM', P .. 'reports', id)
  for _, name in ipairs(names(parts)) do leave(name, id) end
end
local function clean()
  local gone = 0
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'reports', '-inf', now())) do
    local left = redis.call('PTTL', P .. 'report:' .. id)
    if left < 0 then
      redis.call('ZREM', P .. 'reports', id)
      gone = gone + 1
    else
      redis.pcall('ZADD', P .. 'reports', now() + left, id)
    end
  end
  return gone
end
"""

PUT = (
    _COMMON
    + """
-- id, owner, version, life, made at ('' for now), names, body, key of an earlier format ('' for none), then names and
-- parts. Returns when it is forgotten.
local id, life = ARGV[1], tonumber(ARGV[4])
local key, at = P .. 'report:' .. id, now() + life
if ARGV[8] ~= '' and redis.call('DEL', ARGV[8]) == 0 then return 0 end
if redis.call('EXISTS', key) == 1 then return redis.call('PTTL', key) + now() end
for n = 9, #ARGV, 2 do
  if redis.call('EXISTS', P .. 'part:' .. ARGV[n]) == 0 then
    redis.call('SET', P .. 'part:' .. ARGV[n], ARGV[n + 1], 'PX', life)
  end
end
local made = ARGV[5]
if made == '' then made = now() end
redis.call('HSET', key, 'v', ARGV[3], 'm', made, 'o', ARGV[2], 'p', ARGV[6], 'b', ARGV[7])
redis.call('PEXPIREAT', key, at)
redis.call('ZADD', P .. 'reports', at, id)
for _, name in ipairs(names(ARGV[6])) do refer(name, id, at) end
return at
"""
)

UPDATE = (
    _COMMON
    + """
-- id, version before, version, names, body, then names and parts that are new. Returns 1, or 0 after another change.
local id = ARGV[1]
local key = P .. 'report:' .. id
if redis.call('HGET', key, 'v') ~= ARGV[2] then return 0 end
local at = now() + redis.call('PTTL', key)
local before = redis.call('HGET', key, 'p')
for n = 6, #ARGV, 2 do
  if redis.call('EXISTS', P .. 'part:' .. ARGV[n]) == 0 then
    redis.call('SET', P .. 'part:' .. ARGV[n], ARGV[n + 1], 'PXAT', at)
  end
end
redis.call('HSET', key, 'v', ARGV[3], 'p', ARGV[4], 'b', ARGV[5])
local kept = {}
for _, name in ipairs(names(ARGV[4])) do
  kept[name] = true
  refer(name, id, at)
end
for _, name in ipairs(names(before)) do
  if not kept[name] then leave(name, id) end
end
return 1
"""
)

READ = (
    _COMMON
    + """
-- id, owner, life ('' to leave it), whether with the body. Returns nothing, or version, made at, owner, forgotten at,
-- names, and with the body that and the parts.
local id = ARGV[1]
local key = P .. 'report:' .. id
if not whose(key, ARGV[2]) then return nil end
local found = redis.call('HMGET', key, 'v', 'm', 'o', 'p')
local at = now() + redis.call('PTTL', key)
if ARGV[3] ~= '' then
  at = now() + tonumber(ARGV[3])
  redis.call('PEXPIREAT', key, at)
  redis.pcall('ZADD', P .. 'reports', at, id)
  for _, name in ipairs(names(found[4])) do
    lives(P .. 'refs:' .. name, at)
    lives(P .. 'part:' .. name, at)
  end
end
local answer = {found[1], found[2], found[3], string.format('%d', at), found[4]}
if ARGV[4] == '1' then
  answer[6] = redis.call('HGET', key, 'b')
  for n, name in ipairs(names(found[4])) do answer[6 + n] = redis.call('GET', P .. 'part:' .. name) end
end
return answer
"""
)

DELETE = (
    _COMMON
    + """
-- id, owner. Returns whether it was there.
if not whose(P .. 'report:' .. ARGV[1], ARGV[2]) then return 0 end
forget(ARGV[1])
return 1
"""
)

EVICT = (
    _COMMON
    + """
-- id that stays. Returns whether a report made room.
clean()
for _, id in ipairs(redis.call('ZRANGE', P .. 'reports', 0, 1)) do
  if id ~= ARGV[1] then
    forget(id)
    return 1
  end
end
return 0
"""
)

CLEAN = _COMMON + "local gone = clean() return {gone, redis.call('ZCARD', P .. 'reports')}"

PUT_RECORD = (
    _COMMON
    + """
-- kind, id, expected version, owner of the store, owner, life, data. Returns the new version, or 0 for a conflict.
local key = P .. 'record:' .. ARGV[1] .. ':' .. ARGV[2]
local version = tonumber(redis.call('HGET', key, 'v') or '0')
if version ~= tonumber(ARGV[3]) then return 0 end
if version > 0 and not whose(key, ARGV[4]) then return 0 end
local at = now() + tonumber(ARGV[6])
redis.call('HSET', key, 'v', version + 1, 'o', ARGV[5], 'd', ARGV[7])
redis.call('PEXPIREAT', key, at)
redis.call('SADD', P .. 'records:' .. ARGV[1], ARGV[2])
lives(P .. 'records:' .. ARGV[1], at)
return version + 1
"""
)

DELETE_RECORD = (
    _COMMON
    + """
-- kind, id, owner, expected version ('' for any). Returns 1; 0 where there is none; -1 for a conflict.
local key = P .. 'record:' .. ARGV[1] .. ':' .. ARGV[2]
if not whose(key, ARGV[3]) then return 0 end
if ARGV[4] ~= '' and redis.call('HGET', key, 'v') ~= ARGV[4] then return -1 end
redis.call('DEL', key)
redis.call('SREM', P .. 'records:' .. ARGV[1], ARGV[2])
return 1
"""
)

LIST_RECORDS = (
    _COMMON
    + """
-- kind, owner, id ('' for all). Returns id, version, owner, forgotten at and data of each.
local ids, found = {ARGV[3]}, {}
if ARGV[3] == '' then ids = redis.call('SMEMBERS', P .. 'records:' .. ARGV[1]) end
table.sort(ids)
for _, id in ipairs(ids) do
  local key = P .. 'record:' .. ARGV[1] .. ':' .. id
  if whose(key, ARGV[2]) then
    local record = redis.call('HMGET', key, 'v', 'o', 'd')
    local at = string.format('%d', now() + redis.call('PTTL', key))
    found[#found + 1] = {id, record[1], record[2], at, record[3]}
  elseif redis.call('EXISTS', key) == 0 then
    redis.call('SREM', P .. 'records:' .. ARGV[1], id)
  end
end
return found
"""
)
