/**
 * The two verbs of each call, `reserve` and `end`, as one Lua script for a batch of one of them or of both. They are decided one after the
 * other, each on what the ones before it left; but a row is read once and written once, however many of them change it,
 * and all is written together at the end, when all that can fail has been done: the entries first, since only they can
 * be refused. So the books of a batch are written whole or not at all. Only places in line, which hold no money, are
 * written as they are decided.
 *
 * The keys are those of every script. The arguments: how many there are, then for each `r` and eight of `reserve`, or `e`
 * and four of `end`. The answer is theirs, which are JSON, in their order, a line each: so that one with a row that
 * nobody here wrote spoils no other. One that fails by itself, by such a row, answers `Failed` and leaves the others
 * alone.
 */
import * as Rows from "./redisRows.ts"

/**
 * What is read at once for all, and what is to be written. The looks at what nobody needs fail where a key holds something
 * else: cheaper than its `guard`.
 */
const state = String.raw`
call('HLEN', accounts)
call('XLEN', entries)
call('ZCARD', leases)
call('ZCARD', places)
call('ZCARD', lines)
call('ZCARD', lapsed)
call('SCARD', openers)
local isCrowded = call('HLEN', waiting) > 0
local base, tells, isWriting = seq, false, false

local asks, ids, at = {}, {}, 2
for i = 1, tonumber(ARGV[1]) do
  asks[i], ids[i] = at, ARGV[at + 1]
  at = at + (ARGV[at] == 'r' and 9 or 5)
end
local texts, tills = {}, {}
for i, text in ipairs(call('HMGET', reservations, unpack(ids))) do texts[ids[i]] = text end

local changed, kepts, news, leased, unleased = {}, {}, {}, {}, {}
local function touch(a)
  if not a.isTouched then
    a.isTouched = true
    changed[#changed + 1] = a
  end
end
local function put(id, text)
  texts[id] = text
  if not news[id] then
    news[id] = true
    kepts[#kepts + 1] = id
  end
end
`

/** Links, caps and ids of the accounts along a chain stay what they are during a batch. */
const chains = String.raw`
local function chainOf(own)
  if own.accounts then return own.accounts end
  local chain, n, links, caps, borns = {}, 0, '', '', ''
  for each in string.gmatch(own.chain, '([^\t]*)\t') do
    local a = account(each)
    if links ~= '' then links, caps, borns = links .. ',', caps .. ',', borns .. ',' end
    links = links .. '{"account":"' .. each .. '","window":' .. (a and a.from or 'null') .. '}'
    caps = caps .. (a and a.cap or 'null')
    borns = borns .. (a and a.born or '0')
    if a then
      n = n + 1
      chain[n] = a
      if not own.stale and a.frame and (not a.till or a.till <= now) then own.stale = a end
    end
  end
  own.accounts, own.links, own.caps, own.borns = chain, '[' .. links .. ']', caps, borns
  return chain
end
`

const admissions = String.raw`
local admissions = {}
local function admittedOf(r)
  local key = r.born .. ' ' .. r.chain
  local found = admissions[key]
  if not found then
    local touched, name = admitted(r)
    found = { touched, name }
    admissions[key] = found
  end
  return found[1], found[2]
end
`

const reserve = String.raw`
local function refuse(tag, a, rest)
  return '{"_tag":"' .. tag .. '","now":' .. moment .. ',"row":' .. row(a) .. (rest or '') .. '}'
end

local function granted(id, of, amount, at, expiresAt)
  return '{"_tag":"Granted","held":{"id":"' .. id .. '","account":"' .. of .. '","amount":' .. amount .. ',"at":' ..
    at .. ',"expiresAt":' .. expiresAt .. '}}'
end

local function again(r, fingerprint)
  local how = r.state == 'cancelled' and 'cancelled' or r.fingerprint ~= fingerprint and 'another ask'
  if how or r.state ~= 'held' then return '{"_tag":"Taken","how":"' .. (how or 'ended') .. '"}' end
  local expiresAt = tills[r.id] or int(tonumber(call('ZSCORE', leases, lease(r))))
  return granted(r.id, match(r.chain, '^.{"account":"(.-)","window":'), r.held, r.at, expiresAt)
end

local function ahead(a, mine)
  local first = call('ZRANGE', lines, '[' .. a.born .. ':', '(' .. a.born .. ';', 'BYLEX', 'LIMIT', 0, 1)[1]
  if not first then return false end
  return not mine or tonumber(string.sub(first, #a.born + 2, #a.born + 17)) < tonumber(mine.ticket)
end

local function wait(id, a, mine, till)
  if mine then giveUp(mine) end
  stand({ id = id, ticket = mine and mine.ticket or following('ticket'), born = a.born, name = a.name }, till)
  isCrowded = true
  if mine and mine.born ~= a.born then tells = true end
end

local function hold(own, chain, amount, id, fingerprint, till)
  isWriting = true
  local held, expiresAt = int(amount), int(math.floor(till))
  for _, a in ipairs(chain) do
    a.reserved = a.reserved + amount
    touch(a)
  end
  local first = book('Reserved', own.name, own.links, ',"reservation":"' .. id .. '","reserved":' .. held .. ',"limits":[' ..
    own.caps .. '],"expiresAt":' .. expiresAt)
  put(id, 'held ' .. first .. ' ' .. held .. ' ' .. moment .. ' ' .. own.borns .. ' 0 0 -\t' .. fingerprint .. '\t' ..
    own.links)
  tills[id] = expiresAt
  leased[#leased + 1] = expiresAt
  leased[#leased + 1] = format('%016d:', first) .. id
  isWriting = false
  return granted(id, own.name, held, moment, expiresAt)
end

local function reserve(id, fingerprint, name, least, upTo, share, lasts, place)
  local r = known(id, texts[id])
  if r then return again(r, fingerprint) end
  local own = account(name)
  if not own then return '{"_tag":"NotOpen"}' end
  local chain = chainOf(own)
  if own.stale then return refuse('Stale', own.stale) end
  least, place = tonumber(least), tonumber(place)
  local mine = isCrowded and placeOf(id)
  for _, a in ipairs(chain) do
    if least > (a.limit or most) - (a.frame and 0 or a.spent) then
      if mine then
        giveUp(mine)
        tells = true
      end
      return refuse('Short', a, ',"hopeless":true')
    end
  end
  local room = most
  for _, a in ipairs(chain) do
    local free = (a.limit or most) - a.spent - a.reserved
    if a.paused or free < least or (place and isCrowded and ahead(a, mine)) then
      if place then wait(id, a, mine, now + place) end
      if a.paused then return refuse('Paused', a) end
      return refuse('Short', a, ',"hopeless":false')
    end
    if free < room then room = free end
  end
  if mine then
    giveUp(mine)
    tells = true
  end
  local amount = math.max(least, math.min(tonumber(upTo), math.floor(tonumber(share) * room)))
  return hold(own, chain, amount, id, fingerprint, now + tonumber(lasts))
end
`

const end = String.raw`
local function entryAt(number)
  local own = tonumber(number) - base
  return written[own] or call('XRANGE', entries, number .. '-0', number .. '-0')[1][2][2]
end

local function finish(id, amount, verdict, label)
  amount = verdict == 'released' and 0 or tonumber(amount)
  local r = known(id, texts[id])
  if not r or r.state == 'cancelled' then return '{"_tag":"Unknown"}' end
  local cost = int(amount)
  if r.state == 'ended' then
    local same = r.charged == cost and r.verdict == verdict
    return '{"_tag":"' .. (same and 'Ended' or 'Differs') .. '","entry":' .. entryAt(r.last) ..
      (same and ',"crossed":[],"again":true}' or '}')
  end
  local held = r.state == 'held'
  local freed = held and r.amount or 0
  local added = held and amount or amount - r.amount
  local touched, name = admittedOf(r)
  for _, a in ipairs(touched) do
    local spent = a.spent + added
    if spent > most or spent > most - (a.reserved - freed) then return '{"_tag":"OutOfRange"}' end
  end
  local tag = not held and 'Corrected' or verdict == 'released' and 'Released' or 'Settled'
  local tail = ''
  if tag ~= 'Released' then
    tail = ',"amount":' .. cost .. ',"overrun":' .. (amount > r.amount and int(amount - r.amount) or '0') ..
      ',"verdict":"' .. verdict .. '","label":' .. (label ~= '-' and '"' .. string.sub(label, 2) .. '"' or 'null')
  end
  if not held then tail = ',"charged":' .. r.held .. ',"difference":' .. int(added) .. tail end
  isWriting = true
  local before = #written
  charge(r, tag, tail, freed, added, touched, name)
  r.state, r.charged, r.verdict = 'ended', cost, verdict
  for _, a in ipairs(touched) do touch(a) end
  put(id, kept(r))
  if held then unleased[#unleased + 1] = lease(r) end
  tells, isWriting = true, false
  return '{"_tag":"Ended","entry":' .. written[before + 1] .. ',"crossed":[' ..
    table.concat(written, ',', before + 2) .. '],"again":false}'
end
`

const served = String.raw`
if isCrowded then
  withPlaces()
  clear()
end
`

/** How an ask is answered that begins at `from`, of one kind or of either. */
const answering = {
  reserves: String.raw`
  if not placeOf and ARGV[from + 8] ~= '' then withPlaces() end
  local ok, answer = pcall(reserve, unpack(ARGV, from + 1, from + 8))`,
  ends: String.raw`
  local ok, answer = pcall(finish, unpack(ARGV, from + 1, from + 4))`,
  calls: String.raw`
  local isAsk = ARGV[from] == 'r'
  if isAsk and not placeOf and ARGV[from + 8] ~= '' then withPlaces() end
  local ok, answer = pcall(isAsk and reserve or finish, unpack(ARGV, from + 1, from + (isAsk and 8 or 4)))`
} as const

const run = (answered: string): string => String.raw`
local answers = {}
for i, from in ipairs(asks) do${answered}
  if not ok then
    if isWriting then error(answer) end
    local why = type(answer) == 'table' and answer.err or answer
    answer = '{"_tag":"Failed","why":"' .. string.gsub(tostring(why), '[^%w%s:_.,-]', '') .. '"}'
  end
  if string.find(answer, '\n', 1, true) then answer = '{"_tag":"Failed","why":"a row has more than one line."}' end
  answers[i] = answer
end

local rows, keeps = {}, {}
for _, a in ipairs(changed) do
  rows[#rows + 1] = a.name
  rows[#rows + 1] = numbered(a)
end
for _, id in ipairs(kepts) do
  keeps[#keeps + 1] = id
  keeps[#keeps + 1] = texts[id]
end
local answer = table.concat(answers, '\n')

-- Lua hands over no more than some thousands of values at once.
local function inPieces(command, key, values)
  for from = 1, #values, 1000 do call(command, key, unpack(values, from, math.min(from + 999, #values))) end
end
flush()
inPieces('HSET', accounts, rows)
inPieces('HSET', reservations, keeps)
inPieces('ZADD', leases, leased)
inPieces('ZREM', leases, unleased)
if tells then tell() end
return answer
`

const begin = [Rows.prelude, Rows.accountParts, Rows.books, Rows.reservationParts, Rows.telling, state]

const reserving = [Rows.counting, Rows.placeParts, chains, reserve, served]

const finishing = [Rows.keeping, Rows.crossing, Rows.ending, admissions, end]

/** The script for asks of `reserve` alone: a script pays for each function that it has, whether it is called or not. */
export const reserves: string = [...begin, ...reserving, run(answering.reserves)].join("")

/** The script for asks of `end` alone. Nobody's place matters to an end. */
export const ends: string = [...begin, ...finishing, run(answering.ends)].join("")

/** The script for both. */
export const calls: string = [...begin, ...reserving, ...finishing, run(answering.calls)].join("")
