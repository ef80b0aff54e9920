--- relabel_custom.lua - strategies of relabeling that are functions of an episode, a time and random numbers.
---
--- A function that can be traced becomes a program over the batch: each row has its whole episode, padded to
--- a common length, `at` picks from it, and what `random` gives are inputs filled from the stream. Others
--- are called row by row. Both read the same tensors, by the field, and only those fields that they ask for.
local check = require "orrery.check"
local functions = require "orrery.trace_functions"
local orrery = require "orrery"
local record = require "orrery.trace_record"
local rewards = require "orrery.relabel_rewards"
local trace = require "orrery.trace"
local core = orrery.trace_core

local custom = {}

-- ---- the episodes of a batch

-- The fields of observations, extra ones included, and where replay:read finds them.
local function fields_of(replay)
  local list = {}
  for _, space in ipairs { replay.observation_space, replay.observation_extras } do
    for _, field in ipairs(record.fields(space)) do
      list[#list + 1] = { name = field.name, shape = field.shape, low = field.low, high = field.high }
    end
  end
  return record.fields(list)
end

local Batch = {}
Batch.__index = Batch

-- Room for the steps of the longest episode: a power of two, so that few programs are made.
local function batch_of(replay, index)
  local starts, longest = replay:episode_starts(index)
  local room = 1
  while room < longest do room = 2 * room end
  local places = replay:read(index, { fields = { "time", "length" } })
  return setmetatable({ replay = replay, n = #index, starts = starts, room = room, made = {},
                        time = places.time:to "real", length = places.length:to "real" }, Batch)
end

--- [n, room + 1, ...] of observations, [n, room, ...] of steps.
function Batch:read(name)
  if not self.made[name] then
    local x = self.replay:read(self.starts, { length = self.room, fields = { name } })[name]
    self.made[name] = x:dtype() == "real" and x or x:to "real"
  end
  return self.made[name]
end

-- ---- the view of an episode, of numbers or of symbols

local Episode = { __name = "orrery.episode_view" }
local of_episodes = { "action", "at", "length", "reward" }

function Episode:__index(name)
  if Episode[name] then return Episode[name] end
  check.fail("%s", check.unknown("relabeling, an episode", name, of_episodes))
end

local function check_self(self, name)
  if type(self) == "table" and core.metatable(self) == Episode then return end
  check.fail("relabeling: episode.%s needs the episode; with a colon: episode:%s(t)", name, name)
end

--- episode:at(t): observation t, 1 .. length + 1, by field.
function Episode:at(t)
  check_self(self, "at")
  local place = self.place(t, self.length + 1, "at")
  return record.lazy(self.fields, function(field)
    if rewards.is_word(field.name) then
      check.fail("episode:at(t).%s: a replay has another meaning for '%s', so that it cannot be read here; give the "
        .. "environment's field another name", field.name, field.name)
    end
    return self.pick(field.name, place, field.shape, 1)
  end, "episode:at(t)")
end

--- episode:action(t): action t, 1 .. length, by field.
function Episode:action(t)
  check_self(self, "action")
  local place = self.place(t, self.length, "action")
  return record.new(self.actions, self.pick("action", place, { self.actions.size }, 0), "episode:action(t)")
end

--- episode:reward(t): reward t, 1 .. length.
function Episode:reward(t)
  check_self(self, "reward")
  return self.pick("reward", self.place(t, self.length, "reward"), {}, 0)
end

local function view(job, rest)
  rest.fields, rest.actions = job.fields, job.actions
  return setmetatable(rest, Episode)
end

-- Of row k of a batch, in numbers.
local function plain_view(job, batch, k)
  return view(job, {
    length = math.tointeger(batch.length[k]),
    place = function(t, last, what)
      local place = type(t) == "number" and math.tointeger(t)
      if not place or place < 1 or place > last then
        check.fail("episode:%s(%s): there are 1 to %d", what, tostring(t), last)
      end
      return place
    end,
    pick = function(name, place) return batch:read(name)[k][place] end,
  })
end

-- Of all rows, in symbols. A place that is not there gives NaN, which is found after the run.
local function traced_view(job, input, length, room)
  return view(job, {
    length = length,
    place = function(t, last)
      t = trace.number(t)
      local inside = orrery.less_equal(1, t) * orrery.less_equal(t, last) * orrery.equal(t, orrery.floor(t))
      return { at = orrery.where(inside, t, 1), inside = inside }
    end,
    pick = function(name, place, shape, more)
      local all = input(name, { room + more, table.unpack(shape) })
      return orrery.where(place.inside, all[place.at], 0 / 0)
    end,
  })
end

-- ---- random numbers

local Draws = { __name = "orrery.relabeling_draws" }

function Draws:__index(name)
  if Draws[name] then return Draws[name] end
  check.fail("%s", check.unknown("relabeling, random", name, { "integer", "uniform" }))
end

local function check_draws(self, call)
  if type(self) == "table" and core.metatable(self) == Draws then return end
  check.fail("relabeling: with a colon: random:%s", call)
end

-- A source of numbers: next(k) is draw k, floor(u, low, high) the whole number that u stands for. With a stream in
-- their place they come from there.
local function draws_of(next_draw, floor)
  return setmetatable({ count = 0, draw = next_draw, floor = floor }, Draws)
end

function Draws:uniform()
  check_draws(self, "uniform()")
  local stream = rawget(self, "stream")
  if stream then return stream:uniform() end
  self.count = self.count + 1
  return self.draw(self.count)
end

function Draws:integer(low, high)
  check_draws(self, "integer(low, high)")
  if type(low) == "number" and type(high) == "number" and low > high then
    check.fail("random:integer(%s, %s): the highest number is below the lowest", low, high)
  end
  local stream = rawget(self, "stream")
  if stream then return stream:integer(low, high) end
  return self.floor(self:uniform(), low, high)
end

-- In the arithmetic of programs.
local function floor_symbols(u, low, high)
  return orrery.min(low + orrery.floor(u * (high - low + 1)), high)
end
local function floor_numbers(u, low, high)
  local whole = math.tointeger(orrery.floor(orrery.tensor { u } * (high - low + 1))[1])
  return math.min(math.tointeger(low) + whole, math.tointeger(high))
end

-- ---- results

local parts = { "done", "goal", "reward", "weight" }

local function is_list(x) return type(x) == "table" and not record.is(x) and rawget(x, 1) ~= nil end

-- What it is in the words of the script: a strategy's goal, or the choice among so many tasks.
local function check_part(job, name, value)
  if type(value) == "number" or core.is_tensor(value) or core.is_symbol(value) then return end
  if job.choices then
    check.fail("relabel.tasks: choose must give the number of a task, 1 to %d, not a %s", job.choices, type(value))
  end
  check.fail("relabel.custom: %s must be a number, or a tensor or list of them, not a %s", name, type(value))
end

-- What the function returned, as a table of goal and, where given, reward, done, weight; nil: nothing.
local function settle(job, result)
  if result == nil then return nil end
  local plain = record.is_plain(result) and not record.is(result) and not is_list(result)
  local settled = plain and {} or { goal = result }
  for _, name in ipairs(plain and check.sorted_keys(result) or {}) do
    if name ~= "done" and name ~= "goal" and name ~= "reward" and name ~= "weight" then
      check.fail("%s", check.unknown("relabel.custom: a strategy's result", name, parts))
    end
    settled[name] = result[name]
  end
  if settled.goal == nil then check.fail("relabel.custom: the strategy's result has no goal") end
  for name, value in pairs(settled) do
    if record.is(value) then
      check.fail("relabel.custom: %s is a whole observation; a field of it is meant, as in episode:at(t).achieved_goal",
        name)
    end
    if type(value) == "boolean" then settled[name] = value and 1 or 0 end
    if is_list(value) then settled[name] = orrery.stack(value) end
    check_part(job, name, settled[name])
  end
  return settled
end

-- ---- compiled

local function input_maker()
  local made = {}
  return function(name, shape)
    made[name] = made[name] or core.input(name, "row", shape)
    return made[name]
  end
end

local function compile(job, room)
  local used = { draws = 0 }
  local compiled = trace.program {
    name = "relabeling strategy", inputs = { { name = "time" }, { name = "length" } },
    fn = function(t, length)
      local input = input_maker()
      local call = functions.active.session:value(job.fn, nil, "the strategy")
      local function once()
        local random = draws_of(function(k)
          used.draws = math.max(used.draws, k)
          return input("draw " .. k, {})
        end, floor_symbols)
        local settled = settle(job, call(traced_view(job, input, length, room), t, random))
        if not settled then error("the strategy returns nothing for some transitions", 0) end
        for name, value in pairs(settled) do
          if type(value) == "number" then settled[name] = trace.number(value) end
        end
        return settled
      end
      local settled = trace.explore("the strategy", once)
      for name, value in pairs(settled) do settled[name] = trace.number(value) + 0 * t end -- of every row
      return settled
    end,
  }
  return { compiled = compiled, used = used }
end

local function close(a, b) return math.abs(a - b) <= 1e-5 * math.max(1, math.abs(a), math.abs(b)) end

local function flat(x)
  if type(x) == "number" then return { x } end
  return x:reshape(-1):totable()
end

local PROBES = 64 -- rows on which a new program is compared with plain Lua

-- Compares a run with plain Lua on the first rows, for the same draws: nil, or what is wrong.
local function verify(job, batch, draws, out, rows)
  for k = 1, math.min(batch.n, rows) do
    local random = draws_of(function(i) return draws[i][k] end, floor_numbers)
    local plain = settle(job, trace.plainly(job.fn, plain_view(job, batch, k), math.tointeger(batch.time[k]), random))
    for _, name in ipairs(parts) do
      if (plain and plain[name] ~= nil) ~= (out[name] ~= nil) then return name .. " is there only sometimes" end
      local a, b = plain and plain[name] and flat(plain[name]) or {}, out[name] and flat(out[name][k]) or {}
      for i = 1, math.max(#a, #b) do
        if not (a[i] and b[i] and close(a[i], b[i])) then
          return ("for one transition %s is %s in plain Lua and %s compiled"):format(name, a[i], b[i])
        end
      end
    end
  end
end

local function run_compiled(job, batch, stream)
  local program = job.programs[batch.room]
  if not program then
    program = compile(job, batch.room)
    job.programs[batch.room] = program
  end
  local is_new = select(2, program.compiled:enter()) or not program.verified
  local inputs, draws = { time = batch.time, length = batch.length }, {}
  for k = 1, program.used.draws do
    draws[k] = stream:uniforms(batch.n)
    inputs["draw " .. k] = draws[k]
  end
  for name in pairs(program.compiled.program:inputs()) do inputs[name] = inputs[name] or batch:read(name) end
  local out = program.compiled:run(inputs, { rows = batch.n })
  if is_new or not out.goal:all_finite() then -- plain Lua says what is wrong
    local problem = verify(job, batch, draws, out, is_new and out.goal:all_finite() and PROBES or batch.n)
    if problem then error(problem, 0) end
    program.verified = true
  end
  return out
end

-- ---- row by row

local function run_plain(job, batch, stream)
  local lists, kept = { goal = {} }, {}
  local random = setmetatable({ stream = stream }, Draws)
  for k = 1, batch.n do
    local settled = settle(job, job.call(plain_view(job, batch, k), math.tointeger(batch.time[k]), random))
    kept[k] = settled and k or 0
    for name, value in pairs(settled or {}) do
      lists[name] = lists[name] or {}
      lists[name][k] = type(value) == "number" and orrery.full(value) or value
    end
  end
  local _, sample = next(lists.goal)
  local out = { source = orrery.tensor(kept, "int") }
  for _, name in ipairs(check.sorted_keys(lists)) do
    local empty = name == "goal" and sample and sample * 0 or orrery.full(name == "weight" and 1 or 0)
    for k = 1, batch.n do
      if lists[name][k] == nil and kept[k] ~= 0 then
        check.fail("relabel.custom: the strategy gives %s for some transitions and not for others", name)
      end
      lists[name][k] = lists[name][k] or empty
    end
    out[name] = orrery.stack(lists[name])
  end
  if not sample then out.goal = nil end
  return out
end

-- ---- strategies

local Strategy = {}
Strategy.__index = Strategy

local function job_of(self, replay)
  local job = self.jobs[replay]
  if not job then
    local function limited(...) return trace.plainly(self.fn, ...) end
    job = { fn = self.fn, call = self.marked and self.fn or limited, choices = self.choices, fields = fields_of(replay),
            actions = record.fields(replay.action_space), programs = {} }
    self.jobs[replay] = job
  end
  return job
end

--- strategy:place(): where the function was written, as file:line, for messages.
function Strategy:place()
  local _, _, source, line = core.info(self.fn)
  return ("%s:%d"):format(source, line)
end

--- strategy:choose(replay, index, stream): tables of tensors: goal [n, ...], and reward, done, weight [n] where the
--- function gives them; source, an int tensor, where it leaves transitions as they were: 0 for these.
function Strategy:choose(replay, index, stream)
  local job, batch = job_of(self, replay), batch_of(replay, index)
  if not self.plain then
    local done, result = check.try(run_compiled, job, batch, stream)
    if done then return result end
    local answer = run_plain(job, batch, stream) -- what is wrong in plain Lua, too, is raised here
    self.plain = true
    local reason = tostring(result)
    local way = reason:find("math.random", 1, true) and "; better from the strategy's third argument, random:uniform()"
      or ""
    trace.notice("a strategy of relabeling is called for each transition, in plain Lua: " .. reason .. way)
    return answer
  end
  return run_plain(job, batch, stream)
end

--- custom.new(fn, choices): a strategy of a function of (episode, t, random), or of one that orrery.interpret marked.
--- choices: how many tasks it chooses among; nil: it gives goals.
function custom.new(fn, choices)
  local plain = trace.is_interpreted(fn)
  return setmetatable({ fn = plain or fn, choices = choices, marked = plain ~= nil, plain = plain ~= nil,
                        jobs = setmetatable({}, { __mode = "k" }) }, Strategy)
end

return custom
