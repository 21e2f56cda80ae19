/**
 * The verbs of the Redis ledger as Lua, one script each; but `reserve` and `end`, which are in `redisBatch`. Redis runs
 * a script whole before anything else, and puts what it wrote into its log as one transaction; but it takes nothing
 * back when a script fails half-way. So every script looks at the kinds of its keys first (`guard`), then reads and
 * decides, and writes last, its entries before the rest. `redisRows` has what they share.
 */
import * as Batch from "./redisBatch.ts"
import * as Rows from "./redisRows.ts"

/** Whoever has an account open of books that are gone must not begin new ones in silence, with nothing spent. */
const open = String.raw`
if call('HGET', meta, 'books') ~= ARGV[7] then return redis.error_reply('GONE are the books') end
local name, parent, limit = ARGV[1], given(ARGV[2]), ARGV[3]
local frame, marks, opener = given(ARGV[4]), ARGV[5], given(ARGV[6])
local a = account(name)
local up = parent and account(parent)
if parent and not up then return '{"_tag":"NoParent"}' end
if a then
  local other = match(a.chain, '^[^\t]*\t([^\t]*)\t') ~= parent or (limit ~= '' and a.limit ~= tonumber(limit)) or
    (frame and a.frame ~= frame)
  if other then return '{"_tag":"Differs","row":' .. row(a) .. '}' end
  local isTemporary = a.opened ~= '-'
  local joins = opener and isTemporary and call('SADD', openers, a.born .. ':' .. opener) == 1
  local stays = not opener and isTemporary
  if joins then a.opened = int(a.opened + 1) end
  if stays then a.opened = '-' end
  if marks ~= '' then a.marks = marks end
  if joins or stays or marks ~= '' then
    settle(a)
    store(a)
  end
  return '{"_tag":"Opened"}'
end
limit = tonumber(limit)
a = {
  name = name, spent = 0, reserved = 0, limit = limit, cap = orNull(limit), from = 'null', paused = false,
  born = following('born'), opened = opener and '1' or '-', marks = marks ~= '' and marks or '-', frame = frame,
  chain = name .. '\t' .. (up and up.chain or '')
}
found[name] = a
book('Opened', name, linksOf(a.chain), ',"limit":' .. a.cap)
flush()
if opener then call('SADD', openers, a.born .. ':' .. opener) end
settle(a)
store(a)
if up and up.opened ~= '-' then
  call('SADD', openers, up.born .. ':below ' .. a.born)
  up.opened = int(up.opened + 1)
  settle(up)
  store(up)
end
return '{"_tag":"Opened"}'
`

const close = String.raw`
local name, opener = ARGV[1], given(ARGV[2])
local a = account(name)
if not a then return 'null' end
local answer = '{"now":' .. moment .. ',"row":' .. row(a) .. '}'
while a and a.opened ~= '-' and opener and call('SREM', openers, a.born .. ':' .. opener) == 1 do
  a.opened = int(a.opened - 1)
  if a.opened ~= '0' then
    settle(a)
    store(a)
    break
  end
  call('HDEL', accounts, a.name)
  local up = match(a.chain, '^[^\t]*\t([^\t]*)\t')
  opener = 'below ' .. a.born
  a = up and account(up)
end
flush()
return answer
`

const roll = String.raw`
local a, start, till = account(ARGV[1]), tonumber(ARGV[3]), tonumber(ARGV[4])
if a and a.frame == ARGV[2] and (not a.till or a.till <= now) and start <= now and now < till then
  a.from, a.till, a.spent, a.reserved = int(math.max(start, a.till or start)), till, 0, 0
  flush()
  settle(a)
  store(a)
  tell()
end
return 'null'
`

const leave = String.raw`
withPlaces()
local mine = placeOf(ARGV[1])
if mine then
  giveUp(mine)
  tell()
end
return 'null'
`

const stay = String.raw`
withPlaces()
local till = now + tonumber(ARGV[1])
for i = 2, #ARGV do
  local mine = placeOf(ARGV[i])
  if mine then stand(mine, till) end
end
flush()
return 'null'
`

const cancel = String.raw`
withPlaces()
local id = ARGV[1]
local r, mine = reservation(id), placeOf(id)
if not r then
  flush()
  keep({
    id = id, state = 'cancelled', first = '0 0 ' .. moment .. ' -', last = '0', charged = '0', verdict = '-',
    tail = '\t\t'
  })
elseif r.state == 'held' then
  local touched, name = admitted(r)
  charge(r, 'Released', '', r.amount, 0, touched, name)
  r.state, r.charged, r.verdict = 'ended', '0', 'released'
  flush()
  for _, a in ipairs(touched) do store(a) end
  keep(r)
  call('ZREM', leases, lease(r))
end
if mine then giveUp(mine) end
tell()
return 'null'
`

const renew = String.raw`
local expiresAt = int(math.floor(now + tonumber(ARGV[1])))
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
withPlaces()
local due = call('ZRANGE', leases, '-inf', moment, 'BYSCORE', 'LIMIT', 0, ARGV[1])
local ended, changed = {}, {}
for i, each in ipairs(due) do
  local r = reservation(string.sub(each, 18))
  local touched, name = admitted(r)
  charge(r, 'Expired', ',"amount":' .. r.held, r.amount, r.amount, touched, name)
  r.state, r.charged, r.verdict = 'expired', r.held, 'assumed'
  ended[i] = r
  for _, a in ipairs(touched) do changed[a.name] = a end
end
flush()
for _, a in pairs(changed) do store(a) end
for i, r in ipairs(ended) do
  keep(r)
  call('ZREM', leases, due[i])
end
clear()
forget()
if #due > 0 then tell() end
return list(1)
`

const setLimit = String.raw`
local a, limit = account(ARGV[1]), tonumber(ARGV[2])
if not a then return 'null' end
if a.limit == limit then return '[]' end
local before, from = a.limit, a.cap
a.limit, a.cap = limit, orNull(limit)
book('LimitChanged', a.name, linksOf(a.chain), ',"from":' .. from .. ',"to":' .. a.cap)
cross(a, before, a.spent)
flush()
settle(a)
store(a)
tell()
return list(1)
`

const pause = String.raw`
local a, paused = account(ARGV[1]), ARGV[2] == '1'
if not a then return 'null' end
if a.paused == paused then return '[]' end
a.paused = paused
book(paused and 'Paused' or 'Resumed', a.name, linksOf(a.chain), '')
flush()
settle(a)
store(a)
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
  for i = 1, #all, 2 do rows[#rows + 1] = row(account(all[i], all[i + 1])) end
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
 * rows, `ARGV[2]` what the books are known by, where they are new. Answers both, as they are.
 */
const prepare = String.raw`
if string.format('%d', 9007199254740991) ~= '9007199254740991' then return '32' end
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
redis.call('HSETNX', KEYS[1], 'books', ARGV[2])
return redis.call('HGET', KEYS[1], 'format') .. ' ' .. redis.call('HGET', KEYS[1], 'books')
`

const script = (...parts: ReadonlyArray<string>): string => parts.join("")

const begin = script(Rows.opening, Rows.guard)

const onAccounts = script(
  begin,
  Rows.options,
  Rows.accountReading,
  Rows.showing,
  Rows.changing,
  Rows.books,
  Rows.crossing,
  Rows.alone,
  Rows.telling
)

const onPlaces = script(begin, Rows.accountReading, Rows.showing, Rows.books, Rows.placeParts, Rows.telling)

const onReservations = script(
  begin,
  Rows.accountReading,
  Rows.showing,
  Rows.books,
  Rows.crossing,
  Rows.alone,
  Rows.reservationParts,
  Rows.keeping,
  Rows.reservationAlone
)

const onAll = script(onReservations, Rows.placeParts, Rows.telling, Rows.ending)

/** Says with its answer what that is the answer to, the last argument: so nobody takes another one's for it. */
const verb = (...parts: ReadonlyArray<string>): string => `
local nonce = table.remove(ARGV)
local function verb()
${parts.join("")}
end
local answer = verb()
if type(answer) == 'string' then return answer .. ' ' .. nonce end
return answer
`

/** The Lua source of each verb; `reserves`, `ends` and `calls` are batches of `reserve`, of `end`, and of both. */
export const sources = {
  prepare,
  reserves: Batch.reserves,
  ends: Batch.ends,
  calls: Batch.calls,
  open: verb(onAccounts, Rows.counting, open),
  close: verb(onAccounts, close),
  roll: verb(onAccounts, roll),
  stay: verb(onPlaces, stay),
  leave: verb(onPlaces, leave),
  cancel: verb(onAll, cancel),
  renew: verb(onReservations, renew),
  expire: verb(onAll, expire),
  setLimit: verb(onAccounts, setLimit),
  pause: verb(onAccounts, pause),
  balances: verb(Rows.opening, Rows.options, Rows.accountReading, Rows.showing, balances),
  entries: verb(Rows.opening, Rows.options, page)
} as const
