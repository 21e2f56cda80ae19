/**
 * What the scripts of the Redis ledger share, as Lua: how rows are read and written, how entries are booked, how a
 * reservation is charged. A script is some of these, in this order, and its verb (`redisScripts`).
 *
 * Numbers are doubles in Lua, exact up to 2^53 - 1, the range of all money here; `int` writes them, because `tostring`
 * turns 1e15 into an exponent (`prepare` sees to it that `%d` has 64 bits). Reading them (`tonumber`) is exact.
 *
 * Every name and text comes as the inside of a JSON string. So it is put between quotes as it is, holds no tab, and
 * keeps what UTF-8 cannot hold. Rows are text that `redis-cli` can show: numbers between blanks, `-` for none, then
 * texts between tabs. Each script gets all keys, in the order of `keyNames`: a ledger has these and no others, so that
 * Redis Cluster knows them before it runs a script.
 *
 * While a script runs nobody else is served, so the two verbs of each call, `reserve` and `end`, share one script, by the
 * batch (`redisBatch`), and are cut to what they need. Measured, in microseconds: a command 0.4, one that answers a list
 * 1.4, a number written 0.2 (by `%.0f` 0.6), a function made 0.2 and more with each name around it that it uses, a row
 * taken apart 0.8. So numbers that only pass through stay texts, and what is seldom needed is made when it is.
 */

/** What each key holds, in the order of `keyNames`. */
const kinds = ["hash", "hash", "hash", "zset", "stream", "zset", "zset", "hash", "zset", "set"] as const

/** The keys of a ledger, below its prefix. */
export const keyNames = [
  // hash: `format`, `books` (what they are known by), and the counters `clock` (the newest time seen), `seq`, `ticket`, `born`
  "meta",
  // hash: name -> row; an account that was opened again under its name has another `born`
  "accounts",
  // hash: id -> row
  "reservations",
  // sorted set of what is held: `<seq>:<id>` by when its lease ends
  "leases",
  // stream: the books; the id is `<seq>-0`
  "entries",
  // sorted set of those who stand in line: id by when its place ends
  "places",
  // sorted set, by name: `<born of the account>:<ticket>:<id>`
  "lines",
  // hash: id -> place
  "waiting",
  // sorted set of those who stand in line no more but may come back: id by when that was seen
  "lapsed",
  // set: who opened a temporary account, `<born of the account>:<opener>`
  "openers"
] as const

/** The time, and where the books are. */
export const opening = String.raw`
local call = redis.call
local meta, accounts, reservations, leases, entries = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local places, lines, waiting, lapsed, openers = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local most = 9007199254740991
local format, match = string.format, string.match

local function int(n) return format('%d', n) end
local clock, seq = tonumber(call('HGET', meta, 'clock') or 0), tonumber(call('HGET', meta, 'seq') or 0)
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if clock > now then now = clock end
local moment = int(now)
`

/**
 * Redis takes nothing back of a script that fails half-way: so what can fail comes first. A key that holds something else is
 * found before anything is written, and so is a stream that takes no more entries, since these are written first.
 */
export const guard = `
for i, kind in ipairs({ ${kinds.map((kind) => `'${kind}'`).join(", ")} }) do
  local found = call('TYPE', KEYS[i]).ok
  if found ~= kind and found ~= 'none' then return redis.error_reply('WRONGTYPE of a key of the ledger') end
end
`

/** Arguments that may be missing, and numbers that may be none. */
export const options = String.raw`
local function given(arg) if string.sub(arg, 1, 1) == '=' then return string.sub(arg, 2) end end
local function orDash(n) return n and int(n) or '-' end
local function orNull(n) return n and int(n) or 'null' end
`

export const counting = String.raw`
local function following(counter)
  local next = int((call('HGET', meta, counter) or 0) + 1)
  call('HSET', meta, counter, next)
  return next
end
`

/** An account's `from` and `cap` are JSON. */
export const accountReading = String.raw`
local found = { x = nil, y = nil }

-- With its text, where that is read.
local function account(name, text)
  local a = found[name]
  if a ~= nil then return a end
  text = text or call('HGET', accounts, name)
  if not text then
    found[name] = false
    return false
  end
  local spent, reserved, rest, from, till, limit, paused, born, opened, marks, frame, chain = match(
    text, '^(%S+) (%S+) ((%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+)\t([^\t]*)\t(.*))$')
  a = {
    name = name, spent = spent + 0, reserved = reserved + 0, rest = rest,
    from = from == '-' and 'null' or from, till = tonumber(till),
    cap = limit == '-' and 'null' or limit, limit = tonumber(limit),
    paused = paused == '1', born = born, opened = opened, marks = marks, frame = frame ~= '' and frame or nil,
    chain = chain, way = nil, isTouched = false
  }
  found[name] = a
  return a
end
`

/** An account as it is told. */
export const showing = String.raw`
local function row(a)
  local parent = match(a.chain, '^[^\t]*\t([^\t]*)\t')
  local _, depth = string.gsub(a.chain, '\t', '')
  return '{"account":"' .. a.name .. '","parent":' .. (parent and '"' .. parent .. '"' or 'null') .. ',"limit":' ..
    a.cap .. ',"spent":' .. int(a.spent) .. ',"reserved":' .. int(a.reserved) .. ',"paused":' .. tostring(a.paused) ..
    ',"frame":' .. (a.frame and '"' .. a.frame .. '"' or 'null') .. ',"windowStart":' .. a.from .. ',"windowEnd":' ..
    (a.till and int(a.till) or 'null') .. ',"depth":' .. depth .. ',"born":' .. a.born .. '}'
end
`

export const changing = String.raw`
-- The row without its first two numbers, where more than these has changed.
local function settle(a)
  a.rest = (a.from == 'null' and '-' or a.from) .. ' ' .. orDash(a.till) .. ' ' .. (a.cap == 'null' and '-' or a.cap) ..
    ' ' .. (a.paused and '1' or '0') .. ' ' .. a.born .. ' ' .. a.opened .. ' ' .. a.marks .. '\t' .. (a.frame or '') ..
    '\t' .. a.chain
end
`

export const booking = String.raw`
-- Answers the number of the entry.
local function book(tag, name, chain, rest)
  seq = seq + 1
  local own, next = int(seq), #written + 1
  numbers[next] = own
  written[next] = '{"_tag":"' .. tag .. '","seq":' .. own .. ',"at":' .. moment .. ',"account":"' .. name ..
    '","chain":' .. chain .. rest .. '}'
  return own
end
`

/** Writes what was booked, then the clock. Everything was decided before, and nothing else is written yet. */
export const flushing = String.raw`
if #written > 0 then
  for i = 1, #written do call('XADD', entries, numbers[i] .. '-0', 'e', written[i]) end
  call('HSET', meta, 'clock', moment, 'seq', numbers[#numbers])
elseif now > clock then
  call('HSET', meta, 'clock', moment)
end
`

export const books: string = `
local written, numbers = {}, {}
${booking}
local function flush()
${flushing}
end
`

export const crossing = String.raw`
-- The chain of an account, as it is kept (each name ends with a tab), in the windows that it is in now.
local function linksOf(chain)
  local links = {}
  for name in string.gmatch(chain, '([^\t]*)\t') do
    local a = account(name)
    links[#links + 1] = '{"account":"' .. name .. '","window":' .. (a and a.from or 'null') .. '}'
  end
  return '[' .. table.concat(links, ',') .. ']'
end

local function cross(a, limit, spent)
  -- In steps that stay below 2^53, as in the other engines.
  local function reached(most, sum, mark)
    if not most then return false end
    local rest = most % 1000000
    return sum >= (most - rest) / 1000000 * mark + math.ceil(rest * mark / 1000000)
  end
  for mark in string.gmatch(a.marks, '%d+') do
    local at = tonumber(mark)
    if reached(a.limit, a.spent, at) and not reached(limit, spent, at) then
      book('ThresholdCrossed', a.name, linksOf(a.chain), ',"threshold":' .. format('%.6f', at / 1000000) ..
        ',"limit":' .. a.cap .. ',"spent":' .. int(a.spent))
    end
  end
end
`

/** What a batch does otherwise. */
export const alone = String.raw`
local function store(a) call('HSET', accounts, a.name, int(a.spent) .. ' ' .. int(a.reserved) .. ' ' .. a.rest) end
local function list(from) return '[' .. table.concat(written, ',', from) .. ']' end
`

export const telling = String.raw`
-- Whoever waits in another process stands in line; where nobody does, nobody has to be told. What was done is done,
-- also where the user of Redis may not publish: then those who wait find out when they look.
local function tell()
  if call('ZCARD', places) > 0 then redis.pcall('PUBLISH', meta .. ':changes', '1') end
end
`

export const reservationParts = String.raw`
local function known(id, text)
  if not text then return end
  local state, first, seq, amount, at, born, last, charged, verdict, tail, fingerprint, chain =
    match(text, '^(%S+) ((%S+) (%S+) (%S+) (%S+)) (%S+) (%S+) (%S+)(\t([^\t]*)\t(.*))$')
  return {
    id = id, state = state, first = first, seq = seq, held = amount, amount = amount + 0, at = at, born = born,
    last = last, charged = charged, verdict = verdict, tail = tail, fingerprint = fingerprint, chain = chain
  }
end

local function lease(r) return format('%016d:', r.seq) .. r.id end
`

/** Of a reservation only these change once it is held. */
export const keeping = String.raw`
local function kept(r)
  return r.state .. ' ' .. r.first .. ' ' .. r.last .. ' ' .. r.charged .. ' ' .. r.verdict .. r.tail
end
`

/** What a batch does otherwise. */
export const reservationAlone = String.raw`
local function reservation(id) return known(id, call('HGET', reservations, id)) end
local function keep(r) call('HSET', reservations, r.id, kept(r)) end
`

/** Made by `withPlaces()`: as long as nobody waits, `reserve` needs none of it. */
export const placeMaking = String.raw`
  local function member(p) return p.born .. ':' .. format('%016d:', p.ticket) .. p.id end

  -- A place at an account that was removed is none, whatever has its name now.
  function placeOf(id)
    local text = call('HGET', waiting, id)
    if not text then return end
    local ticket, born, name = match(text, '^(%S+) (%S+) (.*)$')
    local a = account(name)
    if a and a.born == born then return { id = id, ticket = ticket, born = born, name = name } end
  end

  function giveUp(p)
    call('ZREM', lines, member(p))
    call('ZREM', places, p.id)
    call('ZREM', lapsed, p.id)
    call('HDEL', waiting, p.id)
  end

  function stand(p, till)
    call('ZADD', places, int(math.floor(till)), p.id)
    call('ZREM', lapsed, p.id)
    call('HSET', waiting, p.id, p.ticket .. ' ' .. p.born .. ' ' .. p.name)
    call('ZADD', lines, 0, member(p))
  end

  -- A place whose time has passed counts for nothing, but keeps its ticket for when it is asked for again.
  function clear()
    for _, id in ipairs(call('ZRANGE', places, '-inf', moment, 'BYSCORE')) do
      local ticket, born = match(call('HGET', waiting, id), '^(%S+) (%S+)')
      call('ZREM', lines, member({ id = id, ticket = ticket, born = born }))
      call('ZREM', places, id)
      call('ZADD', lapsed, moment, id)
    end
  end

  -- After a day nobody comes back.
  function forget()
    for _, id in ipairs(call('ZRANGE', lapsed, '-inf', int(now - 86400000), 'BYSCORE', 'LIMIT', 0, 1000)) do
      call('ZREM', lapsed, id)
      call('HDEL', waiting, id)
    end
  end
`

export const placeParts: string = `
local placeOf, giveUp, stand, clear, forget
local function withPlaces()
${placeMaking}
end
`

/** The accounts of a reservation that are still the ones, and in the windows, that admitted it. */
export const admitting = String.raw`
  way = { nil, nil, borns = borns, name = nil }
  local each, n = string.gmatch(borns, '%d+'), 0
  for name, window in string.gmatch(chain, '{"account":"(.-)","window":([^}]*)}') do
    way.name = way.name or name
    local a, born = account(name), each()
    if a and a.born == born and a.from == window then
      n = n + 1
      way[n] = a
    end
  end
`

export const ending: string = `
-- And its own account's name.
local function admitted(r)
  local way, chain, borns = nil, r.chain, r.born
${admitting}
  return way, way.name
end

-- Takes back what was held, adds what it cost, and books it, then what it crossed.
local function charge(r, tag, rest, freed, added, touched, name)
  r.last = book(tag, name, r.chain, ',"reservation":"' .. r.id .. '","reserved":' .. r.held .. rest)
  for _, a in ipairs(touched) do
    local before = a.spent
    a.reserved, a.spent = a.reserved - freed, a.spent + added
    if a.marks ~= '-' and added ~= 0 then cross(a, a.limit, before) end
  end
end
`
