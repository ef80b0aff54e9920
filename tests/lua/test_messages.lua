-- Messages of mistakes: the script's line, the cause in the words of the script, the way out.
local orrery = require "orrery"

local HERE = debug.getinfo(1, "S").short_src

-- f raises a message that starts with this script's name and a line, and has all the parts.
local function refused(f, ...)
  local ok, message = pcall(f)
  message = tostring(message)
  assert(not ok, "no error, but: " .. table.concat({ ... }, " ... "))
  assert(message:match "^(.-):%d+: " == HERE, "no line of the script: " .. message)
  for _, part in ipairs { ... } do
    assert(message:find(part, 1, true), ("'%s' lacks '%s'"):format(message, part))
  end
  return message
end

local env = orrery.env "pendulum"
local net = orrery.nn.mlp { inputs = 2, outputs = 1, hidden = { 4 }, seed = 1 }
local batch = { x = orrery.ones(3, 2), y = orrery.zeros(3, 1) }
local function update(loss) return orrery.update { loss = loss, nets = { net } } end
local replay = orrery.replay { env = env }
replay:collect(orrery.policy.random(env), { steps = 300, seed = 1 })

-- ---- updates: a loss that trains nothing; what is no batch, no index, no loss

local blind = "does not depend on any of the 4 trained parameters"
refused(function() update(function() return 1.5 end):step(batch) end, blind)
refused(function() update(function(s) return s.x:sum() end):step(batch) end, blind)
refused(function() update(function(s) return orrery.stop_gradient(net(s.x)):sum() end):step(batch) end, blind)
local before = net:parameters()[1]:copy()
update(function(s) return net(s.x):sum() end):step(batch)
assert(orrery.max(orrery.abs(net:parameters()[1] - before)) > 0)
-- one of two nets may stand still
local other = net:copy()
orrery.update { nets = { net, other }, loss = function(s) return net(s.x):sum() end }:step(batch)

refused(function() update(function(s) return net(s.x) end):step(batch) end, "loss must be one number", "shape [1]")
refused(function() update(function() end):step(batch) end, "loss returns nothing; it must return a number")
refused(function() update(function(s) return net(s.x):sum() end):step() end, "a batch is needed")
refused(function() update(function(s) return net(s.x):sum() end):step { x = 1 } end, "'x' of the batch")
refused(function() return orrery.update { nets = { net } } end, "loss is missing")
refused(function() return orrery.update { los = print } end, "did you mean 'loss'")
local by_list = update(function(s) return net(s.x):sum() end):step(batch, { 1, 2 })
assert(by_list == by_list)

-- ---- a model of one net learns, its variance's bounds too

local single = orrery.model { env = env, members = 1, hidden = { 8 } }
local low = single.low:copy()
single:fit(replay, { epochs = 1 })
assert(orrery.max(orrery.abs(single.low - low)) > 0)

-- ---- audits: no ratio where nothing changes

local still = orrery.space { { "x", low = -1, high = 1 }, { "goal", low = -1, high = 1 } }
local push = orrery.space { { "u", low = -1, high = 1 } }
local model = orrery.model { observation = still, action = push, members = 1, hidden = { 4 },
  probabilistic = false }
local states = orrery.tensor { { { 0, 0.5 }, { 0.3, 0.5 } }, { { 0.1, -0.5 }, { 0.2, -0.5 } } }
local audit = tostring(model:audit({ observation = states, action = orrery.zeros(2, 1, 1) }, { horizons = { 1 } }))
assert(audit:find "\nx .+%d%.%d+\n" and audit:find "\ngoal .+ %-$", audit)

-- ---- models

refused(function() return orrery.model { env = env, membrs = 3 } end, "did you mean 'members'")
refused(function() return orrery.model { env = env, members = 0 } end, "members must be a whole number, 1 or more")
refused(function() return single:fit(replay, { epocs = 1 }) end, "did you mean 'epochs'")
refused(function() single:fit() end, "a replay is needed, as in model:fit(replay)", "not nothing")
refused(function() single.fit(replay) end, "with a colon")
refused(function() single.predict { 1, 2 } end, "with a colon")
refused(function() single:predict({ 0, 0, 0 }) end, "actions are missing")
local cartpole = orrery.env "cartpole"
local elsewhere = orrery.replay { env = cartpole }
elsewhere:collect(orrery.policy.random(cartpole), { steps = 20, seed = 1 })
refused(function() single:fit(elsewhere) end, "another environment", "angular_velocity", "torque")
local path = os.tmpname()
single:save(path)
refused(function() orrery.model { env = cartpole, members = 1, hidden = { 8 } }:load(path) end,
  "model:load:", "stand for something else: action: torque in the file, but force here")
refused(function() orrery.model { env = env, members = 1, hidden = { 8 }, probabilistic = false }:load(path) end,
  "other options")
os.remove(path)
assert(not tostring(select(2, pcall(function() single:load(path) end))):find "other options")

for _, name in ipairs { "audit", "audit_variance", "audit_spread" } do
  local many = orrery.model { env = env, members = 2, hidden = { 8 } }
  refused(function() many[name](many) end, name .. ": a replay is needed", "not nothing")
  refused(function() many[name](many, elsewhere, name == "audit_spread" and elsewhere or nil) end, name .. ": the replay is of another environment")
end
refused(function() single:rollout { 1, 0, 0 } end, "rollout: plans are missing: rows x steps x 1 numbers")
local ten = orrery.zeros(10, 3)
refused(function() single:fit { observation = ten, action = orrery.zeros(10, 2), next_observation = ten } end,
  "fit: action must be 10 rows of 1 numbers, not 10 x 2; the model has observation cos, sin, velocity; action torque")
refused(function() single:fit { observation = ten, action = orrery.zeros(9, 1), next_observation = ten } end,
  "fit: action must be 10 rows of 1 numbers, not 9 x 1")
refused(function() single:fit(replay, { epochs = 40, learning_rate = 1e6 }) end, "fit: update", "not finite")

-- ---- nets, gradients, planning

local misspelt = orrery.plan.cem {}
misspelt.horizn = 3
refused(function() return orrery.mpc { env = env, planner = misspelt } end, "no option 'horizn'; did you mean 'horizon'?")
refused(function() return orrery.mpc { env = single } end, "env is a learned model: give it as `model`")
refused(function() return orrery.mpc { model = env, task = function() return 0 end } end, "model must be a learned model")
refused(function() return orrery.mpc { env = "pendulum" } end, "as in { env = orrery.env \"pendulum\" }")
refused(function() return orrery.mpc { objective = function() end } end, "objective must be one that orrery.objective made")
refused(function()
  return orrery.mpc { env = env, task = { reward = function() return 0 end, inputs = { goal = { x = 1 } } } }
end, "the input 'goal' must be a number, a tensor or a list of numbers")
refused(function() return orrery.mpc { env = orrery.env { name = "still", observation = { "x" },
  action = { { "u", low = -1, high = 1 } }, state = { "x" },
  reset = function(self) self.x = 1 return { x = 1 } end, step = function(self) return { x = self.x }, 0, false end,
  observe = function(self) return { x = self.x } end,
  get_state = function(self) return { x = self.x } end, set_state = function(self, s) self.x = s.x end }
}:act { x = 1 } end, "environment 'still', on which plans are tried, has not begun: reset it")

refused(function() return orrery.nn.mlp { inputs = 3, outputs = 2, hiden = {} } end, "did you mean 'hidden'")
refused(function() return net(1) end, "takes 2, or rows of that, not a single number")
refused(function() return net() end, "not nothing")
refused(function() return orrery.mpc { envv = env } end, "did you mean 'env'")
refused(function() return orrery.grad(function(x) return x * 2 end)(orrery.tensor { 1, 2 }) end,
  "one number, not 2 of shape [2]", "orrery.jacobian")

-- ---- policies, collecting, evaluating

refused(function() return orrery.policy.random "pendulum" end, "an environment is needed", "'pendulum'")
local function collect(policy) return replay:collect(policy, { steps = 5 }) end
refused(function() return collect(function() end) end, "the policy gave no action", "{ torque = 0 }")
refused(function() return collect(function() return { tork = 1 } end) end, "the policy's action", "'tork'")
refused(function() return orrery.evaluate(env, function() return { tork = 1 } end) end, "the policy's action")
refused(function() return replay:collect(orrery.policy.random(env), { steps = 0 }) end, "steps must be")
refused(function()
  return orrery.evaluate(env, orrery.policy.random(env), { task = function() return -(0 / 0) end })
end, "reward is NaN at step 1")
local function broken(reward)
  return orrery.env { name = "broken", observation = { "x" }, action = { { "u", low = -1, high = 1 } },
    reset = function() return { x = 0 } end, step = function() return { x = 0 }, reward, false end }
end
local function collect_in(world)
  return orrery.replay { env = world }:collect(orrery.policy.random(world), { steps = 5 })
end
refused(function() return collect_in(broken(0 / 0)) end, "reward is NaN", 'on_error = "continue"')
local store = orrery.replay { env = env }
refused(function()
  local recorder <close> = store:recorder()
  recorder:start { cos = 1, sin = 0, velocity = -(0 / 0) }
end, "is NaN")

-- ---- relabeling, and tasks that are none

local flipping = orrery.env("bit_flipping", { bits = 4 })
local flips = orrery.replay { env = flipping, prioritised = { alpha = 0.6 },
  observation_extras = { { "z", shape = { 2 } } } }
do
  local many = orrery.vector_env(flipping, 2, { replay = flips })
  many:reset(1)
  many:set("z", orrery.zeros(2, 2))
  for _ = 1, 20 do many:step(orrery.zeros(2):to "int") end
end
local relabel, task = orrery.relabel, orrery.tasks.bit_flipping()
local notices, tell = {}, require "orrery.trace".notice
require "orrery.trace".notice = function(message) notices[#notices + 1] = message end
local function strategy(f) return flips:sample(8, { relabel = relabel.custom(f), task = task }) end

refused(function() return relabel.futur {} end, "orrery.relabel", "did you mean 'future'")
refused(function() flips:sample(8, { step = 3 }) end, "sample options", "did you mean 'steps'")
refused(function() flips:sample(8, { partial = true }) end, "sample options", "'partial'", "relabel")
refused(function() flips:windows(2, 2, { steps = 3 }) end, "windows options", "'steps'", "partial")
refused(function() flips:transitions { stream = orrery.stream(1) } end, "transitions options", "'stream'")
refused(function() flips:sample(8, { relabel = relabel.future { desired = "goal" }, task = task }) end,
  "relabel.future: there is no 'goal'", "achieved_goal, desired_goal", "options desired and achieved")
refused(function() flips:sample(8, { relabel = relabel.final { achieved = "goal" }, task = task }) end, "relabel.final")
refused(function() replay:sample(8, { relabel = relabel.future {}, task = task }) end, "no 'desired_goal'")
refused(function() strategy(function() return orrery.zeros(3) end) end, HERE, "has 3 numbers", "'desired_goal' has 4")
refused(function() strategy(function() return "b" end) end, "relabel.custom: goal must be a number", "not a string")
refused(function() strategy(function(e) return e:at(1).achieved_goal * (0 / 0) end) end, "NaN", HERE)
local function weighted(weight)
  return function(e) return { goal = e:at(1).achieved_goal, weight = weight } end
end
refused(function() strategy(weighted(-1)) end, "weight that is below 0", HERE)
assert(strategy(weighted(0.5)).weight:count() == 8)
refused(function() strategy(function(e, t) return e.at(t).achieved_goal end) end, "with a colon: episode:at(t)")
refused(function() strategy(function(e) return e:at(e.lenght).achieved_goal end) end, "did you mean 'length'")
for _, kind in ipairs { function(f) return f end, orrery.interpret } do
  refused(function()
    strategy(kind(function(e, _, r) return e:at(r.integer(1, 2)).achieved_goal end))
  end, "with a colon: random:integer")
  refused(function()
    strategy(kind(function(e, _, r) return e:at(r:unifrm()).achieved_goal end))
  end, "did you mean 'uniform'")
end
notices = {}
strategy(function(e) return e:at(math.random(e.length)).achieved_goal end)
assert(#notices == 1 and notices[1]:find("random:uniform()", 1, true), notices[1])
require "orrery.trace".notice = tell
local named = { { name = "a", reward = function() return 0 end, z = { 1, 0 } },
  { name = "b", reward = function() return 1 end, z = { 0, 1 } } }
local function among(choose, field)
  return flips:sample(8, { relabel = relabel.tasks { tasks = named, choose = choose, field = field } })
end
refused(function() among(function() return "b" end) end, "number of a task, 1 to 2, not a string")
refused(function() among(nil, "zz") end, "relabel.tasks", "no field 'zz'", "observation_extras", "shape = { 2 }")
assert(among(function() return 2 end).reward:same(orrery.ones(8)))
refused(function()
  local batch = flips:sample(4)
  flips:set_priorities(batch.index, orrery.tensor { 1, 2, 3, -1 })
end, "number 4 of the priorities is -1")

local function judged(given)
  local many = orrery.vector_env(flipping, 3, { task = given })
  many:reset(1)
  return many:step(orrery.zeros(3):to "int")
end
local function evaluated(given) return orrery.evaluate(flipping, orrery.policy.random(flipping), { task = given }) end
local function relabeled(given) return flips:sample(8, { relabel = relabel.future {}, task = given }) end
for _, ask in ipairs { judged, evaluated, relabeled } do
  refused(function() return ask(orrery.tasks.bit_flipping) end, "call it, as in task = orrery.tasks.bit_flipping()")
  refused(function() return ask(orrery.tasks.pendulum()) end, "no field 'sin'", "task 'pendulum'")
  refused(function()
    return ask { reward = function(_, _, next) return next.achieved_goal - next.desired_goal end }
  end, HERE, "must return a number, not values of shape [4]", ":sum()")
end
refused(function() return judged { reward = function() end } end, HERE, "must return a number, not nothing")
refused(function()
  return relabeled { reward = orrery.interpret(function(_, _, next) return next.achieved_goal end) }
end, "relabel: the reward of " .. HERE, "shape [4]")

-- ---- an environment's own error has no more than the line where it happened

local failing = orrery.env { name = "failing", observation = { "x" }, action = { { "u", low = -1, high = 1 } },
  reset = function() return { x = 0 } end, step = function(self) return self.nothing.x end }
failing:reset(1)
assert(not refused(function() failing:step { u = 0 } end, "environment 'failing', step 1", HERE):find "traceback")

-- ---- options of planners, nets' layers, optimisers; numbers as a person writes them

refused(function() return env.step() end, "not nothing", "with a colon")
refused(function() return env.step { torque = 1 } end, "not a table", "with a colon")
refused(function() return orrery.plan.cem { population = 10, elites = 50 } end, "50 elites", "population of 10")
assert(orrery.plan.cem { population = 10, elites = 5 }.elites == 5)
local function activated(name) return orrery.nn.mlp { inputs = 1, outputs = 1, activation = name } end
refused(function() return activated "swish" end, "'silu'")
refused(function() return activated "rleu" end, "did you mean 'relu'")
refused(function() return activated "banana" end, "relu, tanh, silu, gelu")
assert(not refused(function() return orrery.adam { lr = 1 } end, "adam options", "learning_rate"):find "momentum")
refused(function() return orrery.adam { momentum = 1 } end, "'momentum'", "beta1")
refused(function() return orrery.sgd { beta1 = 1 } end, "'beta1'", "momentum")
refused(function() return orrery.env("pendulum", { gravity = 1e9 }) end, "1000000000, outside -1000 to 1000")
refused(function() return orrery.adam { learning_rate = -(0 / 0) } end, "is NaN")

-- ---- check_env: the way out fits the cause; an environment without a name is called by its file

local function world(step, low, high)
  return { observation = { "x" }, action = { { "u", low = low or -1, high = high or 1 } }, max_steps = 5,
    reset = function() return { x = 0 } end, step = step or function() return { x = 0 }, 0, false end }
end
local function advice(definition, cause)
  for _, finding in ipairs(orrery.check_env(definition).findings) do
    if finding.what:find(cause, 1, true) then return finding.fix end
  end
  error("no finding has: " .. cause)
end
assert(advice(world(nil, 1, -1), "low bound 1 is above"):find "swap low and high")
assert(advice(world(function(self) return { x = self.q + 1 }, 0, false end), "field 'q'"):find "set in reset")
assert(advice(world(function() return { x = 0 }, 0 / 0, false end), "is NaN"):find "division by 0")
local report = tostring(orrery.check_env(world(function() return { y = 0 }, 0, false end), { name = "my_world" }))
assert(report:find("environment 'my_world', step 1", 1, true) and not report:find "'lua'", report)
