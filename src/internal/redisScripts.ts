/**
 * The verbs of the Redis ledger as Lua, one script each. Redis runs a script whole before anything else, and puts what
 * it wrote into its log as one transaction; but it takes nothing back when a script fails half-way. So every script
 * reads and decides first and writes last. `redisRows` has what they share.
 */
import * as Rows from "./redisRows.ts"

const open = String.raw`
local name, parent, limit = ARGV[1], given(ARGV[2]), ARGV[3]
local frame, marks, opener = given(ARGV[4]), ARGV[5], given(ARGV[6])
local a = account(name)
local up = parent and account(parent)
if parent and not up then return '{"_tag":"NoParent"}' end
if a then
  local other = namesOf(a.chain)[2] ~= parent or (limit ~= '' and a.limit ~= tonumber(limit)) or
    (frame and a.frame ~= frame)
  if other then return '{"_tag":"Differs","row":' .. row(a) .. '}' end
  local joins = opener and a.opened and call('SADD', openers, a.born .. ':' .. opener) == 1
  local stays = not opener and a.opened
  if joins then a.opened = a.opened + 1 end
  if stays then a.opened = nil end
  if marks ~= '' then a.marks = marks end
  if joins or stays or marks ~= '' then
    settle(a)
    store({ a })
  end
  return '{"_tag":"Opened"}'
end
a = {
  name = name, spent = 0, reserved = 0, limit = tonumber(limit), paused = false, born = int(following('born')),
  opened = opener and 1 or nil, marks = marks ~= '' and marks or '-', frame = frame,
  chain = name .. '\t' .. (up and up.chain or '')
}
found[name] = a
book('Opened', name, linksOf(namesOf(a.chain)), ',"limit":' .. orNull(a.limit))
if opener then call('SADD', openers, a.born .. ':' .. opener) end
settle(a)
store({ a })
if up and up.opened then
  call('SADD', openers, up.born .. ':below ' .. a.born)
  up.opened = up.opened + 1
  settle(up)
  store({ up })
end
flush()
return '{"_tag":"Opened"}'
`

const close = String.raw`
local name, opener = ARGV[1], given(ARGV[2])
local a = account(name)
if not a then return 'null' end
local answer = '{"now":' .. moment .. ',"row":' .. row(a) .. '}'
while a and a.opened and opener and call('SREM', openers, a.born .. ':' .. opener) == 1 do
  a.opened = a.opened - 1
  if a.opened > 0 then
    settle(a)
    store({ a })
    break
  end
  call('HDEL', accounts, a.name)
  local up = namesOf(a.chain)[2]
  opener = 'below ' .. a.born
  a = up and account(up)
end
flush()
return answer
`

const reserve = String.raw`
local id, fingerprint, name = ARGV[1], ARGV[2], ARGV[3]
local least, upTo, share, period, place =
  tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])

local function granted(r, expiresAt)
  local of = match(r.chain, '^.{"account":"(.-)","window":')
  return '{"_tag":"Granted","held":{"id":"' .. id .. '","account":"' .. of .. '","amount":' .. int(r.amount) ..
    ',"at":' .. int(r.at) .. ',"expiresAt":' .. expiresAt .. '}}'
end

local known = reservation(id)
if known then
  local how = known.state == 'cancelled' and 'cancelled' or known.fingerprint ~= fingerprint and 'another ask'
  if not how and known.state == 'held' then
    return granted(known, int(tonumber(call('ZSCORE', leases, lease(known)))))
  end
  return '{"_tag":"Taken","how":"' .. (how or 'ended') .. '"}'
end
local own = account(name)
if not own then return '{"_tag":"NotOpen"}' end
local names = namesOf(own.chain)
local chain = along(names)

local function refuse(tag, a, rest)
  flush()
  return '{"_tag":"' .. tag .. '","now":' .. moment .. ',"row":' .. row(a) .. (rest or '') .. '}'
end

for _, a in ipairs(chain) do
  if a.frame and (not a.till or a.till <= now) then return refuse('Stale', a) end
end
local mine
if call('HLEN', waiting) > 0 then
  clear()
  mine = placeOf(id)
end
for _, a in ipairs(chain) do
  if least > (a.limit or most) - (a.frame and 0 or a.spent) then
    if mine then
      giveUp(mine)
      tell()
    end
    return refuse('Short', a, ',"hopeless":true')
  end
end

local function ahead(a)
  local first = call('ZRANGE', lines, '[' .. a.born .. ':', '(' .. a.born .. ';', 'BYLEX', 'LIMIT', 0, 1)[1]
  if not first then return false end
  return not mine or tonumber(string.sub(first, #a.born + 2, #a.born + 17)) < mine.ticket
end

local function wait(a)
  if mine then giveUp(mine) end
  stand({ id = id, ticket = mine and mine.ticket or following('ticket'), born = a.born, name = a.name }, now + place)
  if mine and mine.born ~= a.born then tell() end
end

local room = most
for _, a in ipairs(chain) do
  local free = (a.limit or most) - a.spent - a.reserved
  if a.paused or free < least or (place and ahead(a)) then
    if place then wait(a) end
    if a.paused then return refuse('Paused', a) end
    return refuse('Short', a, ',"hopeless":false')
  end
  room = math.min(room, free)
end

local amount = math.max(least, math.min(upTo, math.floor(share * room)))
local limits, born = {}, {}
for i, each in ipairs(names) do
  local a = found[each]
  limits[i], born[i] = orNull(a and a.limit), a and a.born or '0'
end
local links = linksOf(names)
local expiresAt = int(now + period)
book('Reserved', name, links, ',"reservation":"' .. id .. '","reserved":' .. int(amount) .. ',"limits":[' ..
  table.concat(limits, ',') .. '],"expiresAt":' .. expiresAt)
local held = {
  id = id, state = 'held', seq = seq, amount = amount, at = now, born = table.concat(born, ','), last = 0, charged = 0,
  verdict = '-', chain = links, fingerprint = fingerprint
}
for _, a in ipairs(chain) do a.reserved = a.reserved + amount end
store(chain)
keep(held)
call('ZADD', leases, expiresAt, lease(held))
if mine then
  giveUp(mine)
  tell()
end
flush()
return granted(held, expiresAt)
`

const roll = String.raw`
local a, start, till = account(ARGV[1]), tonumber(ARGV[3]), tonumber(ARGV[4])
if a and a.frame == ARGV[2] and (not a.till or a.till <= now) and start <= now and now < till then
  a.from, a.till, a.spent, a.reserved = start, till, 0, 0
  settle(a)
  store({ a })
  flush()
  tell()
end
return 'null'
`

const leave = String.raw`
local mine = placeOf(ARGV[1])
if mine then
  giveUp(mine)
  tell()
end
return 'null'
`

const stay = String.raw`
local till = now + tonumber(ARGV[1])
for i = 2, #ARGV do
  local mine = placeOf(ARGV[i])
  if mine then stand(mine, till) end
end
flush()
return 'null'
`

const end = String.raw`
local id, amount, verdict, label = ARGV[1], tonumber(ARGV[2]), ARGV[3], given(ARGV[4])
if verdict == 'released' then amount = 0 end
local r = reservation(id)
if not r or r.state == 'cancelled' then return '{"_tag":"Unknown"}' end
if r.state == 'ended' then
  local entry = call('XRANGE', entries, int(r.last) .. '-0', int(r.last) .. '-0')[1][2][2]
  if r.charged == amount and r.verdict == verdict then
    return '{"_tag":"Ended","entry":' .. entry .. ',"crossed":[],"again":true}'
  end
  return '{"_tag":"Differs","entry":' .. entry .. '}'
end

local held = r.state == 'held'
local freed = held and r.amount or 0
local added = held and amount or amount - r.amount
local touched, name = admitted(r)
for _, a in ipairs(touched) do
  local spent = a.spent + added
  if spent > most or spent > most - (a.reserved - freed) then return '{"_tag":"OutOfRange"}' end
end
local tail = ',"amount":' .. int(amount) .. ',"overrun":' .. int(math.max(0, amount - r.amount)) .. ',"verdict":"' ..
  verdict .. '","label":' .. (label and quote(label) or 'null')
if not held then
  tail = ',"charged":' .. int(r.amount) .. ',"difference":' .. int(added) .. tail
end
local tag = not held and 'Corrected' or verdict == 'released' and 'Released' or 'Settled'
charge(r, tag, tag == 'Released' and '' or tail, freed, added, touched, name)
r.state, r.charged, r.verdict = 'ended', amount, verdict
store(touched)
keep(r)
if held then call('ZREM', leases, lease(r)) end
flush()
tell()
return '{"_tag":"Ended","entry":' .. written[1] .. ',"crossed":' .. list(2) .. ',"again":false}'
`

const cancel = String.raw`
local id = ARGV[1]
local r, mine = reservation(id), placeOf(id)
if not r then
  keep({
    id = id, state = 'cancelled', seq = 0, amount = 0, at = now, born = '-', last = 0, charged = 0, verdict = '-',
    chain = '', fingerprint = ''
  })
elseif r.state == 'held' then
  local touched, name = admitted(r)
  charge(r, 'Released', '', r.amount, 0, touched, name)
  r.state, r.charged, r.verdict = 'ended', 0, 'released'
  store(touched)
  keep(r)
  call('ZREM', leases, lease(r))
end
if mine then giveUp(mine) end
flush()
tell()
return 'null'
`

const renew = String.raw`
local expiresAt = int(now + tonumber(ARGV[1]))
local kept = {}
for i = 2, #ARGV do
  local r = reservation(ARGV[i])
  if r and r.state == 'held' then
    call('ZADD', leases, expiresAt, lease(r))
    kept[#kept + 1] = '{"id":"' .. r.id .. '","expiresAt":' .. expiresAt .. '}'
  end
end
flush()
return '[' .. table.concat(kept, ',') .. ']'
`

const expire = String.raw`
local due = call('ZRANGE', leases, '-inf', moment, 'BYSCORE', 'LIMIT', 0, ARGV[1])
local ended, changed = {}, {}
for i, each in ipairs(due) do
  local r = reservation(string.sub(each, 18))
  local touched, name = admitted(r)
  charge(r, 'Expired', ',"amount":' .. int(r.amount), r.amount, r.amount, touched, name)
  r.state, r.charged, r.verdict = 'expired', r.amount, 'assumed'
  ended[i] = r
  for _, a in ipairs(touched) do changed[a.name] = a end
end
store(changed)
for i, r in ipairs(ended) do
  keep(r)
  call('ZREM', leases, due[i])
end
clear()
forget()
flush()
if #due > 0 then tell() end
return list(1)
`

const setLimit = String.raw`
local a, limit = account(ARGV[1]), tonumber(ARGV[2])
if not a then return 'null' end
if a.limit == limit then return '[]' end
local before = a.limit
a.limit = limit
book('LimitChanged', a.name, linksOf(namesOf(a.chain)), ',"from":' .. orNull(before) .. ',"to":' .. orNull(limit))
cross(a, before, a.spent)
settle(a)
store({ a })
flush()
tell()
return list(1)
`

const pause = String.raw`
local a, paused = account(ARGV[1]), ARGV[2] == '1'
if not a then return 'null' end
if a.paused == paused then return '[]' end
a.paused = paused
book(paused and 'Paused' or 'Resumed', a.name, linksOf(namesOf(a.chain)), '')
settle(a)
store({ a })
flush()
tell()
return list(1)
`

/** Only reads: it writes no clock, so that it also works where nothing may be written. */
const balances = String.raw`
local rows, name = {}, given(ARGV[1])
if name then
  local a = account(name)
  if a then rows[1] = row(a) end
else
  local all = call('HGETALL', accounts)
  for i = 1, #all, 2 do rows[#rows + 1] = row(parse(all[i], all[i + 1])) end
end
return '{"now":' .. moment .. ',"rows":[' .. table.concat(rows, ',') .. ']}'
`

/**
 * Looks at no more than `ARGV[6]` entries, so that reading the books of one account holds nobody up; `next` is where
 * to go on. Times never fall along the books, so the first moment is found by halving.
 */
const page = String.raw`
local after, size, name = tonumber(ARGV[1]), tonumber(ARGV[2]), given(ARGV[3])
local from, till, looks = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

local function read(first, last, count)
  return call('XRANGE', entries, int(first) .. '-0', last and int(last) .. '-0' or '+', 'COUNT', int(count))
end
local function momentOf(text) return tonumber(string.match(text, '^{"_tag":"%a+","seq":%d+,"at":(%d+)')) end

if from then
  local low, high = after, seq
  while low < high do
    local middle = math.floor((low + high) / 2) + 1
    if momentOf(read(middle, middle, 1)[1][2][2]) < from then low = middle else high = middle - 1 end
  end
  after = low
end
local needle = name and '{"account":"' .. name .. '","window":'
local picked = {}
local asked = name and looks or math.min(size, looks)
local seen = read(after + 1, nil, asked)
local done = #seen < asked
for _, each in ipairs(seen) do
  local text = each[2][2]
  if #picked == size or (till and momentOf(text) >= till) then
    done = true
    break
  end
  after = after + 1
  if not needle or string.find(text, needle, 1, true) then picked[#picked + 1] = text end
end
return '{"next":' .. int(after) .. ',"done":' .. tostring(done) .. ',"entries":[' .. table.concat(picked, ',') .. ']}'
`

/**
 * Before the first verb: each command that writes is tried on a key of its own (the second one), because a user of
 * Redis who may not run one of them would otherwise stop a script between two writes. `ARGV[1]` is the layout of the
 * rows.
 */
const prepare = String.raw`
local key = KEYS[2]
redis.call('DEL', key)
redis.call('HSET', key, 'a', '1')
redis.call('HDEL', key, 'a')
redis.call('ZADD', key, 1, 'a')
redis.call('ZREM', key, 'a')
redis.call('SADD', key, 'a')
redis.call('SREM', key, 'a')
redis.call('XADD', key, '1-0', 'e', 'a')
redis.call('DEL', key)
redis.call('HSETNX', KEYS[1], 'format', ARGV[1])
return redis.call('HGET', KEYS[1], 'format')
`

const script = (...parts: ReadonlyArray<string>): string => parts.join("")

const onAccounts = script(Rows.prelude, Rows.accountParts, Rows.books)

const onReservations = script(onAccounts, Rows.reservationParts)

const onPlaces = script(onReservations, Rows.placeParts)

/** The Lua source of each verb. */
export const sources = {
  prepare,
  open: script(onAccounts, open),
  close: script(onAccounts, close),
  reserve: script(onPlaces, reserve),
  roll: script(onAccounts, roll),
  stay: script(onPlaces, stay),
  leave: script(onPlaces, leave),
  end: script(onReservations, Rows.ending, end),
  cancel: script(onPlaces, Rows.ending, cancel),
  renew: script(onReservations, renew),
  expire: script(onPlaces, Rows.ending, expire),
  setLimit: script(onAccounts, setLimit),
  pause: script(onAccounts, pause),
  balances: script(onAccounts, balances),
  entries: script(Rows.prelude, page)
} as const
