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
refused(function() orrery.model { env = cartpole, members = 1, hidden = { 8 } }:load(path) end, "another environment")
refused(function() orrery.model { env = env, members = 1, hidden = { 8 }, probabilistic = false }:load(path) end,
  "other options")
os.remove(path)
assert(not tostring(select(2, pcall(function() single:load(path) end))):find "other options")

-- ---- nets, gradients, planning

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
