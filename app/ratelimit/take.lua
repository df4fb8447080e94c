-- Take: many requests draw on many buckets, in order of arrival; each from all of its own or from none.
-- Takes   ARGV[1] JSON, a list of: {b: [[key, units a us, burst, cost]], p: the line, t: ticket, o: only one}
--           (without p nobody's place is kept; with l nothing is drawn, it is a look), or
--           {r: [[key, units a us, units back]]}: a refund, below zero a charge after the fact
--         ARGV[2] microseconds that a kept place waits for its client · ARGV[3] places in a line, at most
-- Gives   JSON, for each: [1 or 0, wait in us, which bucket is waited for, [used, …]]; a refund: [1, 0, 0, []]
-- Keys    are in the JSON: one server, no cluster. A bucket is "used at spare", and gone once it is empty;
--         a line is a sorted set of places by the time they are due, and a hash of what each has drawn.
--
-- Who is refused gets a place: what it waits for is drawn at once, for the moment at which it fits. Whoever
-- comes back from then on, under the same ticket, is served whatever came in between; what it didn't wait
-- for is drawn then, if need be beyond the burst. A place that nobody claims goes back, as `spare`, to
-- whoever asks next: a client that gives up costs the others nothing. Requests without a name of their
-- own can't be told from one that is sent again and again: of each kind only so many get a place.
local UNNAMED = 100
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local grace, most = tonumber(ARGV[2]), tonumber(ARGV[3])
local buckets, lines = {}, {}

local function bucket(draw)
    local key, rate = draw[1], draw[2]
    local b = buckets[key]
    if b == nil then
        b = { used = 0, spare = 0, rate = rate }
        local kept = redis.call('GET', key)
        if kept then
            local used, at, spare = string.match(kept, '(%S+) (%S+) (%S+)')
            b.used = math.max(0, used - math.max(0, now - at) * rate)
            b.spare = math.min(tonumber(spare), b.used)
        end
        buckets[key] = b
    end
    return b
end

-- What a draw needs beyond the room that is left. A cost above the burst wants the bucket full.
local function needing(draw)
    local b = bucket(draw)
    return b, math.min(draw[4], draw[3]) - math.max(0, draw[3] - b.used)
end

local function leave(line, place)
    local drawn = redis.call('HGET', line .. ':drawn', place)
    redis.call('ZREM', line, place)
    redis.call('HDEL', line .. ':drawn', place)
    local kind = string.match(place, '^(.*)#%d+\n%[')
    if kind and redis.call('HINCRBY', line .. ':kinds', kind, -1) <= 0 then
        redis.call('HDEL', line .. ':kinds', kind)
    end
    lines[line] = lines[line] - 1
    return drawn or ''
end

local function waiting_in(line)
    if lines[line] == nil then
        lines[line] = redis.call('ZCARD', line)
        if lines[line] > 0 then
            local late = redis.call('ZRANGEBYSCORE', line, '-inf', now - grace, 'LIMIT', 0, 100)
            for _, place in ipairs(late) do
                local draws = cjson.decode(string.match(place, '\n(.*)$'))
                for n in string.gmatch(leave(line, place), '%d+') do
                    local draw = draws[tonumber(n)]
                    local b = bucket(draw)
                    b.spare = math.min(b.spare + draw[4], b.used)
                    b.dirty = true
                end
            end
        end
    end
    return lines[line]
end

-- A ticket that stands for one request alone has one place. Others of a kind have the first that is due.
local function place_of(item, suffix)
    if item.o then
        local place = item.t .. suffix
        return place, tonumber(redis.call('ZSCORE', item.p, place) or nil)
    end
    local head = item.t .. '#'
    for _, place in ipairs(redis.call('ZRANGEBYSCORE', item.p, '-inf', now, 'LIMIT', 0, 256)) do
        if string.sub(place, 1, #head) == head and string.sub(place, -#suffix) == suffix then
            return place, 0
        end
    end
end

local function keep(item, suffix, wait, drawn)
    local line, place = item.p, item.t .. suffix
    if not item.o then
        redis.call('HINCRBY', line .. ':kinds', item.t, 1)
        place = item.t .. '#' .. redis.call('INCR', line .. ':n') .. suffix
        redis.call('PEXPIRE', line .. ':n', 86400000)
    end
    redis.call('ZADD', line, string.format('%.0f', now + wait), place)
    redis.call('HSET', line .. ':drawn', place, drawn)
    lines[line] = lines[line] + 1
    local life = math.ceil((wait + grace) / 1000) + 1000
    if redis.call('PTTL', line) < life then
        redis.call('PEXPIRE', line, life)
        redis.call('PEXPIRE', line .. ':drawn', life)
        redis.call('PEXPIRE', line .. ':kinds', life)
    end
end

local function draw_all(item, taken)
    for n, draw in ipairs(item.b) do
        if not string.find(taken, ' ' .. n .. ' ', 1, true) then
            local b, needs = needing(draw)
            local from_spare = math.max(0, math.min(b.spare, needs))
            b.spare = b.spare - from_spare
            b.used = b.used + draw[4] - from_spare
            b.dirty = true
        end
    end
end

local function draw_for_later(item)
    local drawn = ' '
    for n, draw in ipairs(item.b) do
        local b, needs = needing(draw)
        if needs > b.spare then
            b.used = b.used + draw[4]
            b.dirty = true
            drawn = drawn .. n .. ' '
        end
    end
    return drawn
end

local function take(item)
    local waiting = item.p and waiting_in(item.p) or 0
    local suffix = nil
    if waiting > 0 then
        suffix = '\n' .. cjson.encode(item.b)
        local place, at = place_of(item, suffix)
        if at and at > now then
            local drawn = redis.call('HGET', item.p .. ':drawn', place)
            return 0, at - now, tonumber(string.match(drawn or ' 1 ', '%d+'))
        elseif at then
            draw_all(item, leave(item.p, place))
            return 1, 0, 0
        end
    end
    local wait, which = 0, 0
    for n, draw in ipairs(item.b) do
        local b, needs = needing(draw)
        local until_room = (b.used + math.min(draw[4], draw[3]) - draw[3]) / draw[2]
        if needs > b.spare and until_room > wait then
            wait, which = until_room, n
        end
    end
    if item.l then
        return wait > 0 and 0 or 1, wait, which
    elseif wait == 0 then
        draw_all(item, '')
        return 1, 0, 0
    end
    local room = item.p and waiting < most
    if room and waiting > 0 and not item.o then
        room = tonumber(redis.call('HGET', item.p .. ':kinds', item.t) or 0) < UNNAMED
    end
    if room then
        keep(item, suffix or '\n' .. cjson.encode(item.b), wait, draw_for_later(item))
    end
    return 0, wait, which
end

local answers = {}
for n, item in ipairs(cjson.decode(ARGV[1])) do
    if item.r then
        for _, back in ipairs(item.r) do
            local b = bucket(back)
            b.used = math.max(0, b.used - back[3])
            b.spare = math.min(b.spare, b.used)
            b.dirty = true
        end
        answers[n] = { 1, 0, 0, {} }
    else
        local allowed, wait, which = take(item)
        local levels = {}
        for place, draw in ipairs(item.b) do
            local b = bucket(draw)
            levels[place] = b.spare > 0 and math.min(b.used, draw[3]) - b.spare or b.used
        end
        answers[n] = { allowed, wait, which, levels }
    end
end

for key, b in pairs(buckets) do
    if b.dirty then
        if b.used <= 0 then
            redis.call('DEL', key)
        else
            local kept = string.format('%.6f %.0f %.6f', b.used, now, b.spare)
            redis.call('SET', key, kept, 'PX', string.format('%.0f', math.ceil(b.used / b.rate / 1000) + 1000))
        end
    end
end
return cjson.encode(answers)
