-- The mpc while it runs: parts swapped, real time, statistics.
local orrery = require "orrery"
local fails = require "tests.lua.fails"

local env = orrery.env "pendulum"
local replay = orrery.replay { env = env }
replay:collect(orrery.policy.random(env), { steps = 400 })
local model = orrery.model { env = env, members = 3, hidden = { 16, 16 }, probabilistic = false }
model:fit(replay, { epochs = 3 })

local function pull(direction) return function(_, a) return direction * a.torque end end
local cem = orrery.plan.cem { horizon = 4, population = 60, iterations = 3 }

-- ---- parts are swapped, with a model and with an environment

for _, source in ipairs { "model", "env" } do
  local mpc = orrery.mpc { [source] = source == "model" and model or env, task = pull(1), planner = cem }
  local observation = env:reset(1)
  assert(mpc:act(observation).torque > 1)
  mpc:set_task(pull(-1)):reset()
  assert(mpc:act(observation).torque < -1)

  -- an error in a new reward keeps the last good one
  fails("velocity", mpc.set_task, mpc, { reward = function(s) return s.velocty end })
  fails("function `reward`", mpc.set_task, mpc, { rewrad = 1 })
  mpc:reset()
  assert(mpc:act(observation).torque < -1)

  -- another planner starts with what is left of the plan; the horizon may change
  mpc:act(observation)
  local plan = mpc:plan()
  mpc:set_planner(orrery.plan.random_shooting { horizon = 3, population = 50 })
  assert(mpc:plan():size(1) == 3)
  for t = 1, 3 do assert(mpc:plan()[t][1] == plan[t + 1][1]) end
  assert(mpc:act(observation).torque < 0)
  assert(tostring(mpc):find "random_shooting { horizon = 3")
  fails("a planner is wanted", mpc.set_planner, mpc, 3)
  fails("set_task", mpc.set_objective, mpc, mpc:objective())
  assert(mpc:act(observation).torque < 0)
end

-- a reward that captures a number follows it through a swap
local wanted = 1
local mpc = orrery.mpc { model = model, task = pull(1), planner = cem }
mpc:set_task(function(_, a) return wanted * a.torque end)
assert(mpc:act(env:reset(1)).torque > 1)
wanted = -1
mpc:reset()
assert(mpc:act(env:reset(1)).torque < -1)

-- an objective that was given
local push = orrery.space { { name = "push", low = -1, high = 1 } }
local function towards(x)
  return orrery.objective.fn(function(_, plans) return -(plans - x):square():sum(-1):sum(-1) end, { action = push })
end
local given = orrery.mpc { objective = towards(0.5), planner = orrery.plan.cem { horizon = 2 } }
assert(math.abs(given:act().push - 0.5) < 0.2)
given:set_objective(towards(-0.5)):reset()
assert(math.abs(given:act().push + 0.5) < 0.2)
fails("set_objective", given.set_task, given, pull(1))
given:set_planner(orrery.plan.cem { horizon = 5 })
assert(given:plan():size(1) == 5)

-- ---- real time: an act that comes in no time finds the plan where it was

local timed = orrery.mpc { model = model, task = pull(1), planner = cem, step_seconds = 3600 }
timed:act(env:reset(1))
timed:act(env:reset(1))
assert(timed:objective():horizon() == 4)
fails("step_seconds", orrery.mpc, { model = model, task = pull(1), step_seconds = -1 })

-- ---- what there is to know

fails("no members", orrery.mpc, { env = env, disagreement = true })
local lone = orrery.mpc { env = env, planner = cem }
assert(lone:statistics().disagreement == nil and lone:statistics().planned_return == nil)
fails("no plan yet", lone.disagreement, lone)
lone:act(env:reset(1))
local s = lone:statistics()
assert(s.iterations_per_plan == 3 and s.plans == 1 and s.planned_return < 0 and s.margin == 0)
fails("one state at a time", orrery.mpc, { env = env, batch = 2 })
fails("no members", lone.disagreement, lone)
