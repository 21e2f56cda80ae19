/**
 * What the scripts of the Redis ledger share, as Lua: how rows are read and written, how entries are booked, how a
 * reservation is charged. A script is some of these, in this order, and its verb (`redisScripts`).
 *
 * Numbers are doubles in Lua, exact up to 2^53 - 1, the range of all money here; `int` writes them, because `tostring`
 * turns 1e15 into an exponent. Reading them (`tonumber`) is exact.
 *
 * Every name and text comes as the inside of a JSON string. So it is put between quotes as it is, holds no tab, and
 * keeps what UTF-8 cannot hold. Rows are text that `redis-cli` can show: numbers between blanks, `-` for none, then
 * texts between tabs. Each script gets all keys, in the order of `keyNames`: a ledger has these and no others, so that
 * Redis Cluster knows them before it runs a script.
 */

/** The keys of a ledger, below its prefix. */
export const keyNames = [
  // hash: `format`, and the counters `clock` (the newest time seen), `seq`, `ticket`, `born`
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

export const prelude = String.raw`
local call = redis.call
local meta, accounts, reservations, leases, entries = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local places, lines, waiting, lapsed, openers = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local most = 9007199254740991
local format, match = string.format, string.match

local function int(n) return format('%.0f', n) end
local function orDash(n) return n and format('%.0f', n) or '-' end
local function orNull(n) return n and format('%.0f', n) or 'null' end
local function quote(text) return '"' .. text .. '"' end
local function given(arg) if string.sub(arg, 1, 1) == '=' then return string.sub(arg, 2) end end

local counters = call('HMGET', meta, 'clock', 'seq')
local clock, seq = tonumber(counters[1] or 0), tonumber(counters[2] or 0)
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if clock > now then now = clock end
local moment = int(now)

local function following(counter)
  local next = tonumber(call('HGET', meta, counter) or 0) + 1
  call('HSET', meta, counter, int(next))
  return next
end
`

export const accountParts = String.raw`
local found = {}

local function parse(name, text)
  local spent, reserved, rest, from, till, limit, paused, born, opened, marks, frame, chain = match(
    text, '^(%S+) (%S+) ((%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+)\t([^\t]*)\t(.*))$')
  return {
    name = name, spent = tonumber(spent), reserved = tonumber(reserved), rest = rest, from = tonumber(from),
    till = tonumber(till), limit = tonumber(limit), paused = paused == '1', born = born, opened = tonumber(opened),
    marks = marks, frame = frame ~= '' and frame or nil, chain = chain
  }
end

local function load(names)
  local texts = call('HMGET', accounts, unpack(names))
  for i, name in ipairs(names) do
    if found[name] == nil then found[name] = texts[i] and parse(name, texts[i]) end
  end
end

local function account(name)
  if found[name] == nil then load({ name }) end
  return found[name]
end

-- The row without its first two numbers, where more than these has changed.
local function settle(a)
  a.rest = orDash(a.from) .. ' ' .. orDash(a.till) .. ' ' .. orDash(a.limit) .. ' ' .. (a.paused and '1' or '0') ..
    ' ' .. a.born .. ' ' .. orDash(a.opened) .. ' ' .. a.marks .. '\t' .. (a.frame or '') .. '\t' .. a.chain
end

local function store(changed)
  local args, n = {}, 0
  for _, a in pairs(changed) do
    args[n + 1], args[n + 2] = a.name, int(a.spent) .. ' ' .. int(a.reserved) .. ' ' .. a.rest
    n = n + 2
    if n == 1000 then
      call('HSET', accounts, unpack(args))
      args, n = {}, 0
    end
  end
  if n > 0 then call('HSET', accounts, unpack(args)) end
end

-- The names along a chain: each ends with a tab.
local function namesOf(chain)
  local names = {}
  for name in string.gmatch(chain, '([^\t]*)\t') do names[#names + 1] = name end
  return names
end

-- The accounts along a chain, by their place in it. One that was removed since is passed over.
local function along(names)
  if #names > 1 then load(names) end
  local chain = {}
  for _, name in ipairs(names) do
    local a = account(name)
    if a then chain[#chain + 1] = a end
  end
  return chain
end

local function row(a)
  local names = namesOf(a.chain)
  return table.concat({
    '{"account":', quote(a.name), ',"parent":', names[2] and quote(names[2]) or 'null', ',"limit":', orNull(a.limit),
    ',"spent":', int(a.spent), ',"reserved":', int(a.reserved), ',"paused":', tostring(a.paused), ',"frame":',
    a.frame and quote(a.frame) or 'null', ',"windowStart":', orNull(a.from), ',"windowEnd":', orNull(a.till),
    ',"depth":', #names, ',"born":', a.born, '}'
  })
end
`

export const books = String.raw`
local written = {}

-- The chain of an account in the windows that it is in now.
local function linksOf(names)
  load(names)
  local links = {}
  for i, name in ipairs(names) do
    links[i] = '{"account":"' .. name .. '","window":' .. orNull(found[name] and found[name].from) .. '}'
  end
  return '[' .. table.concat(links, ',') .. ']'
end

local function book(tag, name, chain, rest)
  seq = seq + 1
  local text = '{"_tag":"' .. tag .. '","seq":' .. int(seq) .. ',"at":' .. moment .. ',"account":"' .. name ..
    '","chain":' .. chain .. rest .. '}'
  written[#written + 1] = text
  return text
end

-- In steps that stay below 2^53, as in the other engines.
local function reached(limit, spent, mark)
  if not limit then return false end
  local rest = limit % 1000000
  return spent >= (limit - rest) / 1000000 * mark + math.ceil(rest * mark / 1000000)
end

local function cross(a, limit, spent)
  for mark in string.gmatch(a.marks, '%d+') do
    local at = tonumber(mark)
    if reached(a.limit, a.spent, at) and not reached(limit, spent, at) then
      book('ThresholdCrossed', a.name, linksOf(namesOf(a.chain)), ',"threshold":' .. format('%.6f', at / 1000000) ..
        ',"limit":' .. int(a.limit) .. ',"spent":' .. int(a.spent))
    end
  end
end

-- Writes the clock and what was booked. Everything was decided before.
local function flush()
  if #written > 0 then
    for i, text in ipairs(written) do
      call('XADD', entries, int(seq - #written + i) .. '-0', 'e', text)
    end
    call('HSET', meta, 'clock', moment, 'seq', int(seq))
  elseif now > clock then
    call('HSET', meta, 'clock', moment)
  end
end

local function list(from) return '[' .. table.concat(written, ',', from) .. ']' end

-- Whoever waits in another process stands in line; where nobody does, nobody has to be told. What was done is done,
-- also where the user of Redis may not publish: then those who wait find out when they look.
local function tell()
  if call('ZCARD', places) > 0 then redis.pcall('PUBLISH', meta .. ':changes', '1') end
end
`

export const reservationParts = String.raw`
local function reservation(id)
  local text = call('HGET', reservations, id)
  if not text then return end
  local state, first, amount, at, born, last, charged, verdict, fingerprint, chain =
    match(text, '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+)\t([^\t]*)\t(.*)$')
  return {
    id = id, state = state, seq = tonumber(first), amount = tonumber(amount), at = tonumber(at), born = born,
    last = tonumber(last), charged = tonumber(charged), verdict = verdict, chain = chain, fingerprint = fingerprint
  }
end

local function keep(r)
  call('HSET', reservations, r.id, r.state .. ' ' .. int(r.seq) .. ' ' .. int(r.amount) .. ' ' .. int(r.at) .. ' ' ..
    r.born .. ' ' .. int(r.last) .. ' ' .. int(r.charged) .. ' ' .. r.verdict .. '\t' .. r.fingerprint .. '\t' .. r.chain)
end

local function lease(r) return format('%016.0f:', r.seq) .. r.id end
`

export const placeParts = String.raw`
-- A place at an account that was removed is none, whatever has its name now.
local function placeOf(id)
  local text = call('HGET', waiting, id)
  if not text then return end
  local ticket, born, name = match(text, '^(%S+) (%S+) (.*)$')
  local a = account(name)
  if a and a.born == born then return { id = id, ticket = tonumber(ticket), born = born, name = name } end
end

local function member(p) return p.born .. ':' .. format('%016.0f:', p.ticket) .. p.id end

local function giveUp(p)
  call('ZREM', lines, member(p))
  call('ZREM', places, p.id)
  call('ZREM', lapsed, p.id)
  call('HDEL', waiting, p.id)
end

local function stand(p, till)
  call('ZADD', places, int(till), p.id)
  call('ZREM', lapsed, p.id)
  call('HSET', waiting, p.id, int(p.ticket) .. ' ' .. p.born .. ' ' .. p.name)
  call('ZADD', lines, 0, member(p))
end

-- A place whose time has passed counts for nothing, but keeps its ticket for when it is asked for again.
local function clear()
  for _, id in ipairs(call('ZRANGE', places, '-inf', moment, 'BYSCORE')) do
    local ticket, born = match(call('HGET', waiting, id), '^(%S+) (%S+)')
    call('ZREM', lines, member({ id = id, ticket = tonumber(ticket), born = born }))
    call('ZREM', places, id)
    call('ZADD', lapsed, moment, id)
  end
end

-- After a day nobody comes back.
local function forget()
  for _, id in ipairs(call('ZRANGE', lapsed, '-inf', int(now - 86400000), 'BYSCORE', 'LIMIT', 0, 1000)) do
    call('ZREM', lapsed, id)
    call('HDEL', waiting, id)
  end
end
`

export const ending = String.raw`
-- The accounts of a reservation that are still the ones, and in the windows, that admitted it.
local function admitted(r)
  local names, windows = {}, {}
  for name, window in string.gmatch(r.chain, '{"account":"(.-)","window":([^}]*)}') do
    names[#names + 1] = name
    windows[#windows + 1] = tonumber(window) or false
  end
  load(names)
  local touched, i = {}, 0
  for born in string.gmatch(r.born, '%d+') do
    i = i + 1
    local a = found[names[i]]
    if a and a.born == born and (a.from or false) == windows[i] then touched[#touched + 1] = a end
  end
  return touched, names[1]
end

-- Takes back what was held, adds what it cost, and books it, then what it crossed.
local function charge(r, tag, rest, freed, added, touched, name)
  book(tag, name, r.chain, ',"reservation":"' .. r.id .. '","reserved":' .. int(r.amount) .. rest)
  r.last = seq
  for _, a in ipairs(touched) do
    local before = a.spent
    a.reserved, a.spent = a.reserved - freed, a.spent + added
    if a.marks ~= '-' and added ~= 0 then cross(a, a.limit, before) end
  end
end
`
