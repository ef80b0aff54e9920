-- Environments from Lua: built in and written as a table; records in and out; what goes wrong is named.
local orrery = require "orrery"
local fails = require "tests.lua.fails"

---- spaces and records

local space = orrery.space { { "cos", low = -1, high = 1 }, { "tip", 2, low = { -1, -2 }, high = 3 },
  { "gear", n = 4 }, "free", { name = "image", shape = { 2, 3 }, dtype = "byte" } }
assert(space.size == 1 + 2 + 1 + 1 + 6)
assert(table.concat(space.names, " ") == "cos tip gear free image")
assert(tostring(space) == "space(cos, tip[2], gear, free, image[2,3])")
local tip = space:field "tip"
assert(tip.low[2] == -2 and tip.high[1] == 3 and tip.shape[1] == 2 and tip.count == 2)
assert(space:field("gear").n == 4 and space:field("image").dtype == "byte")
local flat = space:flatten { cos = 0.5, tip = { 1, 2 }, gear = 3, free = true, image = { { 1, 2, 3 }, { 4, 5, 6 } } }
assert(flat:size(1) == 11 and flat[3] == 2 and flat[5] == 1 and flat[11] == 6)
local record = space:record(flat)
assert(record.cos == 0.5 and record.tip[2] == 2 and record.image[2][3] == 6)
local inside, name = space:contains { cos = 2, tip = { 0, 0 }, gear = 0, free = 0, image = orrery.zeros(2, 3) }
assert(not inside and name == "cos")
assert(space:clip({ cos = 2, tip = { 0, 9 }, gear = 7, free = 1e6, image = orrery.zeros(2, 3) }).tip[2] == 3)
for _ = 1, 20 do assert(space:contains(space:sample())) end
assert(space == orrery.space(space) and space ~= orrery.space { "x" })
fails("did you mean 'cos'", space.flatten, space, { cso = 1 })
fails("field 'tip' is missing", space.flatten, space, { cos = 1 })
fails("field 'tip' has 2 numbers, the list 3", space.flatten, space, { cos = 1, tip = { 1, 2, 3 } })
fails("field 'tip' has 2 numbers, the tensor 5", space.flatten, space, { cos = 1, tip = orrery.zeros(5) })
fails("field 'cos' wants a number, not a string", space.flatten, space, { cos = "1" })
fails("fields 1 and 2 are both called 'x'", orrery.space, { "x", "x" })
fails("list of fields is wanted", orrery.space, {})
fails("a field has name, shape, low, high, n and dtype, not 'hihg'", orrery.space, { { "x", hihg = 1 } })
fails("low bound 2 is above the high bound 1", orrery.space, { { "x", low = 2, high = 1 } })

---- built in

local env = orrery.env "pendulum"
assert(env.name == "pendulum" and env.max_steps == 200 and env.thread_safe and env.definition == nil)
assert(env.observation_space.names[3] == "velocity" and env.action_space:field("torque").high == 2)
local a, b = env:reset(7), env:reset(7)
assert(a.cos == b.cos and a.sin == b.sin and a.velocity == b.velocity and env:reset(8).cos ~= a.cos)
env:reset(7)
local observation, reward, terminated, truncated = env:step { torque = 1 }
assert(type(observation.cos) == "number" and reward < 0 and terminated == false and truncated == false)
assert(env.steps == 1)
env:step(1.5)                        -- a single field: the value itself
env:step { 1.5 }
env:step(orrery.ones(1))
fails("did you mean 'torque'", env.step, env, { torqe = 1 })
fails("environment 'pendulum', step 5: action field 'torque' is NaN", env.step, env, 0 / 0)
fails("wants a number, not nil", env.step, env)
assert(env.steps == 4)

local state = env:state()
local one = { env:step(2) }
assert(env:set_state(state).velocity ~= one[1].velocity and env.steps == 0)
local two = { env:step(2) }
assert(one[1].velocity == two[1].velocity and one[2] == two[2])
local copy = env:copy()
copy:step(-2)
assert(copy:observe().velocity ~= env:observe().velocity)

local short = orrery.env("pendulum", { max_steps = 3, gravity = 0 })
short:reset(1)
local ends = {}
for i = 1, 3 do ends[i] = select(4, short:step(0)) end
assert(not ends[1] and not ends[2] and ends[3] and short.ended)
fails("the episode has ended; call reset first", short.step, short, 0)
fails("no option 'gravty'; did you mean 'gravity'", orrery.env, "pendulum", { gravty = 1 })
fails("did you mean 'pendulum'", orrery.env, "pendulm")
fails("an environment has no 'observations'", function() return env.observations end)

local arm = orrery.env "reacher"
local seen = arm:reset(3)
assert(seen.achieved_goal:size(1) == 2 and seen.desired_goal[1])
local here = arm:state()
assert(#here.angle == 2 and type(here.angle[1]) == "number")
local rewards, steps = arm:rollout(here, { { torque = { 1, -1 } }, { torque = orrery.zeros(2) } })
assert(rewards:size(1) == 2 and steps == 2)
local _, first = arm:step { torque = { 1, -1 } }
assert(first == rewards[1])
local picture = env:draw(64, 48)
assert(picture.width == 64 and picture.height == 48 and picture:tensor():size(3) == 3)
assert(#orrery.environments() >= 4 and orrery.environments()[1].settings[1].doc)

---- written in Lua

local definition = {
  name = "line",
  observation = { { "x", low = -10, high = 10 }, { "pair", 2 } },
  action = { { "push", low = -1, high = 1 } },
  state = { "x", "v" },
  max_steps = 50,
  speed = 2,
  reset = function(self, random)
    self.x, self.v = random:uniform(-1, 1), 0
    return self:observe()
  end,
  step = function(self, action, random)
    self.v = action.push * self.speed + random:normal(0, 0.01)
    self.x = self.x + self.v
    return self:observe(), -math.abs(self.x), math.abs(self.x) > 9
  end,
  observe = function(self) return { x = self.x, pair = { self.x, self.v } } end,
  draw = function(self, canvas) canvas:disc(20, 20, 5, "red") end,
}
local line, other = orrery.env(definition), orrery.env(definition)
assert(not line.thread_safe and line.definition == definition and definition.x == nil)
line:reset(1)
other:reset(2)
assert(line:state().x ~= other:state().x)
local starts = { line:reset(5).x, line:reset(5).x, line:reset(6).x }
assert(starts[1] == starts[2] and starts[1] ~= starts[3])
line:reset(5)
other:reset(5)
for _ = 1, 3 do
  local p, r = line:step(0.3)
  local q, s = other:step { push = 0.3 }
  assert(p.x == q.x and p.pair[2] == q.pair[2] and r == s)
end
local saved, chance = line:state(), line:random_state()
local before = line:step(1).x
assert(line:set_state(saved).pair[1] ~= before)
line:random_state(chance)
assert(line:step(1).x == before)
assert(line:step(100).pair[2] < 2.1, "actions are moved into their bounds")
local finished
for _ = 1, 10 do
  local _, _, over, late = line:step(1)
  finished = over
  assert(not late)
  if over then break end
end
assert(finished and line.ended)
local red = line:draw(40):tensor()
assert(red[21][21][1] > 150 and red[21][21][2] < 100)
line:reset(1)
assert(line:rollout(saved, { 1, 1, 1 }):size(1) == 3)
fails("runs on one thread only", line.copy, line)

local function broken(changes)
  local other_definition = {}
  for key, value in pairs(definition) do other_definition[key] = value end
  for key, value in pairs(changes) do other_definition[key] = value or nil end
  return orrery.env(other_definition)
end

local sick = broken { step = function(self)
  self.x = 99
  error "the motor is hot"
end }
sick:reset(1)
local was = sick:state().x
local message = fails("the motor is hot", sick.step, sick, 0)
assert(message:find "environment 'line', step 1: .*test_env.lua:%d+: the motor is hot.*stack traceback", message)
assert(sick:state().x == was and not sick.ended, "a failed step changes nothing")
assert(math.abs(sick:observe().x - was) < 1e-6)
local function step_of(result)
  local e = broken { step = result }
  e:reset(1)
  return e.step, e, 0
end
fails("no such field 'y'", step_of(function() return { x = 1, pair = { 1, 1 }, y = 1 }, 0 end))
fails("field 'pair' is missing", step_of(function() return { x = 1 }, 0 end))
fails("the reward is NaN", step_of(function(self) return self:observe(), 0 / 0 end))
fails("observation field 'x' is inf", step_of(function() return { x = math.huge, pair = { 0, 0 } }, 0 end))
fails("returned a number as terminated", step_of(function(self) return self:observe(), 0, 0 end))
fails("step returned no observation", step_of(function() return nil, 0 end))
fails("random is only usable inside", step_of(function(self)
  local random
  broken { reset = function(me, r) random = r; me.x, me.v = 0, 0; return me:observe() end }:reset(1)
  return self:observe(), random:uniform()
end))
fails("its functions call the environment they belong to", function()
  local own
  own = broken { step = function() return own:step(0) end }
  own:reset(1)
  own:step(0)
end)
fails("attempt to yield", step_of(function() coroutine.yield() end))
fails("environment 'line': reset must be a function, not nil", broken, { reset = false })
message = fails("environment 'line': action: ", broken, { action = { { "push", low = 1, high = 0 } } })
assert(message:find "environment 'line': action: .*low bound", message)
local stateless = broken { state = false }
stateless:reset(1)
fails("keeps its state to itself", stateless.state, stateless)
-- inside a coroutine, too
local wrapped = coroutine.wrap(function()
  line:reset(3)
  coroutine.yield(line:step(0.1).x)
  coroutine.yield(line:step(0.1).x)
end)
assert(wrapped() ~= wrapped())
collectgarbage()

---- check_env

local function report_of(changes, ...)
  local d = {}
  for key, value in pairs(definition) do d[key] = value end
  for key, value in pairs(changes) do d[key] = value or nil end
  return orrery.check_env(d, ...)
end
local function finds(pattern, level, changes)
  local report = report_of(changes)
  local text = tostring(report)
  assert(text:find(pattern), ("'%s' does not match '%s'"):format(text, pattern))
  assert(report.ok == (level ~= "error") and #report.findings >= 1)
  for _, finding in ipairs(report.findings) do assert(#finding.fix > 5) end
end
for _, built_in in ipairs(orrery.environments()) do
  local report = orrery.check_env(orrery.env(built_in.name), { steps = 300 })
  assert(report.ok and #report.findings == 0, tostring(report))
end
local clean = report_of { step = function(self, action, random)
  self.v = action.push * 0.1 + random:normal(0, 0.01)
  self.x = self.x + self.v
  return self:observe(), -math.abs(self.x), false
end }
assert(clean.ok and #clean.findings == 0 and clean.steps > 100, tostring(clean))
finds("reset is missing", "error", { reset = false })
finds("observation is missing", "error", { observation = false })
finds("step returned nil as the reward", "error", { step = function(self) return self:observe() end })
finds("the reward is NaN", "error", { step = function(self) return self:observe(), 0 / 0 end })
finds("the same seed and actions give other numbers", "error",
  { step = function(self) self.v = math.random() return self:observe(), 0 end })
finds("a second episode with the same seed differs", "error", { state = false, observe = false,
  reset = function(self) self.x, self.v = self.x or 0, 0 return { x = self.x, pair = { 0, 0 } } end,
  step = function(self, a) self.x = self.x + 0.01 * a.push return { x = self.x, pair = { 0, 0 } }, 0 end })
finds("after set_state the world goes on differently", "error", {
  reset = function(self) self.x, self.v, self.n = 0, 0, 0 return self:observe() end,
  step = function(self, a) self.n = self.n + 1; self.x = a.push * self.n / 100 return self:observe(), 0 end })
finds("leaves its bounds", "error", { step = function(self) self.x = self.x + 3 return self:observe(), 0 end })
finds("every episode terminated after exactly 20 steps.*max_steps", "warning", { state = false, observe = false,
  reset = function(self) self.n = 0 return { x = 0, pair = { 0, 0 } } end,
  step = function(self) self.n = self.n + 1 return { x = 0, pair = { 0, 0 } }, 1, self.n >= 20 end })
finds("no max_steps", "warning", { max_steps = false, step = function(self) return self:observe(), 0 end })
finds("action field 'push' has no bounds", "warning", { action = { "push" },
  step = function(self) return self:observe(), 0 end })
finds("'max_step' means nothing.*'max_steps' is missing", "warning", { max_steps = false, max_step = 5,
  step = function(self) return self:observe(), 0 end })
finds("the global 'leaked_name' was assigned", "warning", { step = function(self)
  leaked_name = 1
  return self:observe(), 0
end })
leaked_name = nil
finds("has no 'disk'", "error", { draw = function(_, canvas) canvas:disk(1, 2, 3) end,
  step = function(self) return self:observe(), 0 end })
