-- What says nothing is not planned with without a word: options that do not go together, models that know nothing.
local orrery = require "orrery"
local trace = require "orrery.trace"
local fails = require "tests.lua.fails"

local env = orrery.env "pendulum"
local replay = orrery.replay { env = env }
orrery.seed(1)
replay:collect(orrery.policy.random(env), { steps = 200 })

local notices = {}
trace.notice = function(message) notices[#notices + 1] = message end

local function new_model(options)
  local o = { env = env, members = 2, hidden = { 8 }, seed = 1 }
  for name, value in pairs(options or {}) do o[name] = value end
  return orrery.model(o)
end
local function fitted(options) return new_model(options):take_as_fitted() end

local cem = orrery.plan.cem { horizon = 3, population = 20, iterations = 1 }
local task = { reward = function(s) return s.cos end }
local observation = env:reset(1)
local function mpc(options)
  local o = { task = task, planner = cem }
  for name, value in pairs(options) do o[name] = value end
  return orrery.mpc(o)
end

-- ---- options that do not go together

local model = fitted()
for _, risk in ipairs { "worst", "cvar", { "cvar", alpha = 0.5 }, { "mean", over = "members" } } do
  fails("risk weighs nothing", mpc, { model = model, propagation = "expectation", risk = risk })
end
fails("particles = 5 says nothing", mpc, { model = model, propagation = "expectation", particles = 5 })
fails("take propagation = \"ts_infinity\"", mpc, { model = model, propagation = "expectation", particles = 5 })
assert(mpc { model = model, propagation = "expectation", particles = 1, risk = "mean" }:act(observation))

local means = fitted { probabilistic = false }
fails("probabilistic = false", mpc, { model = means, sample = true })
assert(mpc { model = means, particles = 4, risk = "worst" }:act(observation)) -- members differ

local one = fitted { probabilistic = false, members = 1 }
fails("particles = 4 says nothing", mpc, { model = one, particles = 4 })
fails("risk weighs nothing", mpc, { model = one, risk = "worst" })
local drawn = fitted { members = 1 }
assert(mpc { model = drawn, risk = "worst" }:act(observation))
fails("sample = true", mpc, { model = drawn, risk = "worst", sample = false })
fails("sample = true", mpc, { model = drawn, particles = 4, planner = orrery.plan.gradient { horizon = 3 } })
fails("particles = 1", mpc, { model = drawn, particles = 1, risk = "worst" })

local late = { reward = task.reward, afterwards = -3 }
fails("no termination", mpc, { model = model, task = late })
assert(mpc { env = env, task = late }:act(observation)) -- the environment may end episodes itself

fails("give particles = 20", mpc, { env = env, risk = "worst" })
assert(mpc { env = env, risk = "worst", particles = 2 }:act(observation))

-- ---- a model that was never fitted

local new = new_model()
local controller = mpc { model = new }
fails("never fitted", controller.act, controller, observation)
fails("model:fit(replay)", controller.act, controller, observation)
local many = mpc { model = new, batch = 2 }
fails("never fitted", many.act_many, many, { observation, observation })
new:fit(replay, { epochs = 1 })
assert(controller:act(observation).torque) -- the mpc was there before the data
local path = os.tmpname()
new:save(path)
assert(mpc { model = new_model():load(path) }:act(observation).torque)
os.remove(path)
-- a fit that fails leaves it unfitted
local failed = new_model()
fails("no 'action'", failed.fit, failed, { observation = orrery.zeros(4, 3) })
controller = mpc { model = failed }
fails("never fitted", controller.act, controller, observation)

-- ---- events that never happened

local events = { never = function(_, _, next) return next.velocity > 1000 end,
                 often = function(_, _, next) return next.velocity > 0 end }
assert(#notices == 0, notices[1])
local learner = new_model { events = events, events_hidden = { 4 } }
learner:fit(replay, { epochs = 1 })
assert(#notices == 1 and notices[1]:find("event 'never' never happened in the 200 transitions", 1, true), notices[1])
learner:fit(replay, { epochs = 1 })
assert(#notices == 1) -- told once
