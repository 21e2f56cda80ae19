/**
 * The two verbs of each call, `reserve` and `end`, as one Lua script for a batch of one of them or of both. They are
 * decided one after the other, each on what the ones before it left; but a row is read once and written once, however
 * many of them change it, and all is written together at the end, when all that can fail has been done: the entries
 * first, since only they can be refused. So a batch is written whole or not at all, the places in line too: nobody
 * loses a turn, or gets another's, for what was not. Only what time has done to places is written as it is seen, and
 * the numbers that places get.
 *
 * The keys are those of every script. The arguments: how many there are, then for each `r` and eight of `reserve`, or `e`
 * and four of `end`, then what the answer is to. The answer is theirs, which are JSON, in their order, a line each. One
 * that meets a row that nobody here wrote fails all of them, before anything is written: then each is sent by itself
 * (`redisStore`).
 *
 * A script pays for each function that it has at each run, for those too that it does not call, and most for the names
 * around it that they use. So what every call does stands in a row, and what is seldom needed is made where it is.
 */
import * as Rows from "./redisRows.ts"

/**
 * The looks fail where a key holds something else: cheaper than its `guard`. Mostly nobody waits and no account is temporary,
 * and what is not there holds nothing else. Tables are made with room for one, since growing costs more than being made.
 */
const state = String.raw`
local isCrowded, tells, base = false, false, seq
call('ZCARD', leases)
if call('EXISTS', places, lines, waiting, lapsed, openers) > 0 then
  call('ZCARD', places)
  call('ZCARD', lines)
  call('ZCARD', lapsed)
  call('SCARD', openers)
  isCrowded = call('HLEN', waiting) > 0
end
local written, numbers, answers, changed, keeps, rows = {nil}, {nil}, {nil}, {nil, nil}, {nil, nil}, {nil, nil, nil, nil}
local texts = { x = nil }
`

const granted = (id: string, of: string, amount: string, at: string, expiresAt: string): string =>
  `'{"_tag":"Granted","held":{"id":"' .. ${id} .. '","account":"' .. ${of} .. '","amount":' .. ${amount} .. ',"at":' ..
    ${at} .. ',"expiresAt":' .. ${expiresAt} .. '}}'`

/** The text of a reservation, as it is or as the batch left it. */
const reading = String.raw`
  local id = ARGV[from + 1]
  local text = texts[id]
  if text == nil then text = call('HGET', reservations, id) end
`

/** What the batch does to places, by their ids: those that are `gone`, of the ones that were there, and those that `come`. */
const lining = {
  kept: "local placeOf, giveUp, stand, clear, forget, ahead, wait, leave, gone, come",
  written: String.raw`
if gone then
  for _, p in pairs(gone) do giveUp(p) end
  for _, p in pairs(come) do stand(p, p.till) end
end
`
} as const

const withPlaces = String.raw`
  if not placeOf and (isCrowded or ARGV[from + 8] ~= '') then
    call('XLEN', entries)
    ${Rows.placeMaking}
    gone, come = {}, {}
    -- Those at the head of a line who are gone are looked through once.
    function ahead(a, mine)
      local past, first = a.past or 0
      while true do
        first = call('ZRANGE', lines, '[' .. a.born .. ':', '(' .. a.born .. ';', 'BYLEX', 'LIMIT', past, 1)[1]
        if not first or not gone[string.sub(first, #a.born + 19)] then break end
        past = past + 1
      end
      a.past = past
      local least = first and tonumber(string.sub(first, #a.born + 2, #a.born + 17)) or most
      for _, p in pairs(come) do
        if p.born == a.born then least = math.min(least, tonumber(p.ticket)) end
      end
      return least < (mine and tonumber(mine.ticket) or most)
    end
    function leave(mine)
      if come[mine.id] then come[mine.id] = nil else gone[mine.id] = mine end
    end
    function wait(id, a, mine, till)
      ${Rows.counting}
      if mine then leave(mine) end
      come[id] = { id = id, ticket = mine and mine.ticket or following('ticket'), born = a.born, name = a.name, till = till }
      isCrowded = true
      if mine and mine.born ~= a.born then tells = true end
    end
    if isCrowded then clear() end
  end
`

/** Links, caps and ids of the accounts along a chain stay what they are during a batch. */
const chains = String.raw`
    local way = own.way
    if not way then
      local n, links, caps, borns, stale = 0, '', '', '', nil
      way = { nil, nil, links = '', caps = '', borns = '', stale = nil }
      for each in string.gmatch(own.chain, '([^\t]*)\t') do
        local a = account(each)
        if links ~= '' then links, caps, borns = links .. ',', caps .. ',', borns .. ',' end
        links = links .. '{"account":"' .. each .. '","window":' .. (a and a.from or 'null') .. '}'
        caps = caps .. (a and a.cap or 'null')
        borns = borns .. (a and a.born or '0')
        if a then
          n = n + 1
          way[n] = a
          if not stale and a.frame and (not a.till or a.till <= now) then stale = a end
        end
      end
      way.links, way.caps, way.borns, way.stale = links, caps, borns, stale
      own.way = way
    end
`

const reserve = String.raw`
  repeat
    local fingerprint, name, least, place = ARGV[from + 2], ARGV[from + 3], ARGV[from + 4], tonumber(ARGV[from + 8])
    if text then
      local state, first, held, at, was, chain =
        match(text, '^(%S+) (%S+) (%S+) (%S+) %S+ %S+ %S+ %S+\t([^\t]*)\t(.*)$')
      held = int(held)
      if state == 'held' and was == fingerprint then
        local expiresAt = tills[id] or int(tonumber(call('ZSCORE', leases, format('%016d:', first) .. id)))
        local of = match(chain, '^.{"account":"(.-)","window":')
        answer = ${granted("id", "of", "held", "at", "expiresAt")}
        break
      end
      local how = state == 'cancelled' and state or was ~= fingerprint and 'another ask' or 'ended'
      answer = '{"_tag":"Taken","how":"' .. how .. '"}'
      break
    end
    local own = account(name)
    if not own then
      answer = '{"_tag":"NotOpen"}'
      break
    end
${chains}
    local sum, obstacle, tag, rest = least + 0, way.stale, 'Stale', ''
    local mine, room = isCrowded and (come[id] or not gone[id] and placeOf(id)), most
    if not obstacle then
      local hopeless
      for i = 1, #way do
        local a = way[i]
        local limit = a.limit or most
        if sum > limit - (a.frame and 0 or a.spent) then
          hopeless = a
          break
        end
        local free = limit - a.spent - a.reserved
        if not obstacle and (a.paused or free < sum or (place and isCrowded and ahead(a, mine))) then obstacle = a end
        if free < room then room = free end
      end
      if hopeless then
        obstacle, tag, rest = hopeless, 'Short', ',"hopeless":true'
      elseif obstacle then
        if place then wait(id, obstacle, mine, now + place) end
        mine = nil
        if obstacle.paused then tag = 'Paused' else tag, rest = 'Short', ',"hopeless":false' end
      end
      if mine then
        leave(mine)
        tells = true
      end
    end
    if obstacle then
${Rows.showing}
      answer = '{"_tag":"' .. tag .. '","now":' .. moment .. ',"row":' .. row(obstacle) .. rest .. '}'
      break
    end
    local held, upTo = least, ARGV[from + 5]
    if upTo ~= least then
      sum = math.max(sum, math.min(tonumber(upTo), math.floor(tonumber(ARGV[from + 6]) * room)))
      held = int(sum)
    end
    local expiresAt = int(math.floor(now + tonumber(ARGV[from + 7])))
    for i = 1, #way do
      local a = way[i]
      a.reserved = a.reserved + sum
      if not a.isTouched then
        a.isTouched = true
        changed[#changed + 1] = a
      end
    end
    seq = seq + 1
    local first = int(seq)
    numbers[#numbers + 1] = first
    written[#written + 1] = '{"_tag":"Reserved","seq":' .. first .. ',"at":' .. moment .. ',"account":"' .. name ..
      '","chain":[' .. way.links .. '],"reservation":"' .. id .. '","reserved":' .. held .. ',"limits":[' .. way.caps ..
      '],"expiresAt":' .. expiresAt .. '}'
    text = 'held ' .. first .. ' ' .. held .. ' ' .. moment .. ' ' .. way.borns .. ' 0 0 -\t' .. fingerprint .. '\t[' ..
      way.links .. ']'
    texts[id], tills[id] = text, expiresAt
    keeps[#keeps + 1] = id
    keeps[#keeps + 1] = text
    leased[#leased + 1] = expiresAt
    leased[#leased + 1] = format('%016d:', first) .. id
    answer = ${granted("id", "name", "held", "moment", "expiresAt")}
  until true
`

/** The accounts that admitted a reservation are the same for all with its chain, unless one was opened anew. */
const admissions = String.raw`
    local way = ways[chain]
    if not way or way.borns ~= borns then
${Rows.admitting}
      ways[chain] = way
    end
`

const end = String.raw`
  repeat
    local state, first, number, held, borns, last, charged, was, tail, chain
    if text then
      state, first, number, held, borns, last, charged, was, tail, chain =
        match(text, '^(%S+) ((%S+) (%S+) %S+ (%S+)) (%S+) (%S+) (%S+)(\t[^\t]*\t(.*))$')
    end
    if not text or state == 'cancelled' then
      answer = '{"_tag":"Unknown"}'
      break
    end
    local verdict, label = ARGV[from + 3], ARGV[from + 4]
    local cost = verdict == 'released' and '0' or ARGV[from + 2]
    if state == 'ended' then
      local same = charged == cost and was == verdict
      local entry = written[last - base] or call('XRANGE', entries, last .. '-0', last .. '-0')[1][2][2]
      answer = '{"_tag":"' .. (same and 'Ended' or 'Differs') .. '","entry":' .. entry ..
        (same and ',"crossed":[],"again":true}' or '}')
      break
    end
${admissions}
    local isHeld, amount, reserved = state == 'held', cost + 0, held + 0
    local freed = isHeld and reserved or 0
    local added = isHeld and amount or amount - reserved
    local fits = true
    for i = 1, #way do
      local a = way[i]
      local spent = a.spent + added
      if spent > most or spent > most - (a.reserved - freed) then fits = false end
    end
    if not fits then
      answer = '{"_tag":"OutOfRange"}'
      break
    end
    local tag, rest = 'Released', '}'
    if not isHeld or verdict ~= 'released' then
      tag = isHeld and 'Settled' or 'Corrected'
      rest = ',"amount":' .. cost .. ',"overrun":' .. (amount > reserved and int(amount - reserved) or '0') ..
        ',"verdict":"' .. verdict .. '","label":' .. (label ~= '-' and '"' .. string.sub(label, 2) .. '"' or 'null') .. '}'
    end
    if not isHeld then rest = ',"charged":' .. held .. ',"difference":' .. int(added) .. rest end
    seq = seq + 1
    last = int(seq)
    local entry = '{"_tag":"' .. tag .. '","seq":' .. last .. ',"at":' .. moment .. ',"account":"' .. way.name ..
      '","chain":' .. chain .. ',"reservation":"' .. id .. '","reserved":' .. held .. rest
    local own = #written + 1
    written[own], numbers[own] = entry, last
    for i = 1, #way do
      local a = way[i]
      local before = a.spent
      a.reserved, a.spent = a.reserved - freed, before + added
      if not a.isTouched then
        a.isTouched = true
        changed[#changed + 1] = a
      end
      if a.marks ~= '-' and added ~= 0 then
${Rows.booking}
${Rows.crossing}
        cross(a, a.limit, before)
      end
    end
    text = 'ended ' .. first .. ' ' .. last .. ' ' .. cost .. ' ' .. verdict .. tail
    texts[id] = text
    keeps[#keeps + 1] = id
    keeps[#keeps + 1] = text
    if isHeld then unleased[#unleased + 1] = format('%016d:', number) .. id end
    tells = true
    answer = '{"_tag":"Ended","entry":' .. entry .. ',"crossed":[' .. table.concat(written, ',', own + 1) ..
      '],"again":false}'
  until true
`

/** How an ask is answered that begins at `from`, of one kind or of either. */
const answering = {
  reserves: `${withPlaces}${reading}${reserve}
  from = from + 9`,
  ends: `${reading}${end}
  from = from + 5`,
  calls: `${reading}
  if ARGV[from] == 'r' then
${withPlaces}
${reserve}
    from = from + 9
  else
${end}
    from = from + 5
  end`
} as const

/** Lua hands over no more than some thousands of values at once. */
const write = (command: string, key: string, values: string): string =>
  `for i = 1, #${values}, 1000 do call('${command}', ${key}, unpack(${values}, i, math.min(i + 999, #${values}))) end`

const leasing = {
  kept: "local leased, tills = {nil, nil}, { x = nil }",
  written: write("ZADD", "leases", "leased")
} as const

const unleasing = {
  kept: "local unleased, ways = {nil}, { x = nil }",
  written: write("ZREM", "leases", "unleased")
} as const

const run = (answered: string, ...written: ReadonlyArray<string>): string => String.raw`
local from = 2
for ask = 1, tonumber(ARGV[1]) do
  local answer
${answered}
  answers[ask] = answer
end

for i = 1, #changed do
  local a = changed[i]
  rows[2 * i - 1], rows[2 * i] = a.name, int(a.spent) .. ' ' .. int(a.reserved) .. ' ' .. a.rest
end
local answer = table.concat(answers, '\n') .. ' ' .. ARGV[from]
${Rows.flushing}
${write("HSET", "accounts", "rows")}
${write("HSET", "reservations", "keeps")}
${written.join("\n")}
if tells and call('ZCARD', places) > 0 then redis.pcall('PUBLISH', meta .. ':changes', '1') end
return answer
`

const begin = [Rows.opening, Rows.accountReading, state]

/** The script for asks of `reserve` alone: a script pays for each function that it has, whether it is called or not. */
export const reserves: string = [
  ...begin,
  leasing.kept,
  lining.kept,
  run(answering.reserves, leasing.written, lining.written)
].join("\n")

/** The script for asks of `end` alone. Nobody's place matters to an end. */
export const ends: string = [...begin, unleasing.kept, run(answering.ends, unleasing.written)].join("\n")

/** The script for both. */
export const calls: string = [
  ...begin,
  leasing.kept,
  unleasing.kept,
  lining.kept,
  run(answering.calls, leasing.written, unleasing.written, lining.written)
].join("\n")
