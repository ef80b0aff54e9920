-- Planning with a learned model: the tasks were not there when it was trained.
local orrery = require "orrery"

local env = orrery.env "pendulum"
local replay = orrery.replay { env = env }
orrery.seed(1)
replay:collect(orrery.policy.random(env), { steps = 1500 })
local model = orrery.model { env = env, members = 3, hidden = { 32, 32 }, seed = 1 }
model:fit(replay, { epochs = 15 })

local planner = orrery.plan.cem { horizon = 10, population = 60 }
local tasks = {
  { name = "spin", reward = function(s, a, next) return next.velocity end },
  { name = "rest", reward = function(s)
      if math.abs(s.velocity) > 1 then return -1 end
      return -s.cos
    end },
}

local function act(options)
  options.model, options.planner = model, options.planner or planner
  options.particles = options.particles or 6
  local mpc = orrery.mpc(options)
  local observation = env:reset(4)
  mpc:reset(5)
  local actions = {}
  for i = 1, 3 do
    local action = mpc:act(observation)
    actions[i] = action.torque
    observation = env:step(action)
  end
  return actions, mpc
end

-- spinning forward pushes forward; the other way round, backwards
local short = orrery.plan.cem { horizon = 3, population = 60 }
assert(act({ planner = short, task = tasks[1] })[1] > 0.3)
assert(act({ planner = short, task = function(_, _, next) return -next.velocity end })[1] < -0.3)

-- one and two threads, and compiled and plain rewards, choose the same actions bit by bit
local before = orrery.threads and orrery.threads()
local one = act({ task = tasks[2] })
if before then
  orrery.threads(before == 1 and 2 or 1)
  local two = act({ task = tasks[2] })
  orrery.threads(before)
  for i = 1, 3 do assert(one[i] == two[i]) end
end
local plain = act({ task = { reward = orrery.interpret(tasks[2].reward) } })
for i = 1, 3 do assert(math.abs(one[i] - plain[i]) < 1e-3, one[i] .. " " .. plain[i]) end

-- a captured number that changes, without making the mpc anew
local speed = 4
local mpc = orrery.mpc {
  model = model, planner = short, particles = 6,
  task = { reward = function(_, _, next) return -(next.velocity - speed) ^ 2 end },
}
local observation = env:reset(4)
assert(mpc:act(observation).torque > 0.3)
speed = -4
mpc:reset()
assert(mpc:act(observation).torque < -0.3)

-- refitting the model needs no new mpc either: parameters are read when planning
local _, kept = act({ task = tasks[2] })
local allocated = kept:statistics().plans
assert(allocated == 3)
model:fit(replay, { epochs = 1 })
kept:act(observation)
local before_elites = kept:objective()
model:use_elites { 2 }
kept:act(observation)
assert(kept:objective() ~= before_elites)
model:use_elites()

local ok, message = pcall(orrery.mpc, { model = model })
assert(not ok and message:find("needs a task", 1, true))
ok, message = pcall(orrery.mpc, { model = model, task = { reward = function(s) return s.velocty end } })
assert(not ok and message:find("did you mean 'velocity'", 1, true), message)
ok, message = pcall(orrery.mpc, { model = model, task = { reward = function() end } })
assert(not ok and message:find("return", 1, true), message)

-- A state that is not finite ranks a plan last, also where the reward does not look at the state.
do
  local world = orrery.env "pendulum"
  local broken = orrery.model { env = world, members = 2, hidden = { 8 } }:take_as_fitted()
  broken.target_scale:assign(orrery.full(0 / 0, { 3 }))
  local mpc = orrery.mpc { model = broken, task = { reward = function(s, a) return -a.torque ^ 2 end }, particles = 2,
    planner = orrery.plan.cem { horizon = 3, population = 20, elites = 4, iterations = 1 } }
  local action, note = mpc:act(world:reset(1))
  assert(note == "safe action" and action.torque == action.torque, note)
  assert(mpc:statistics().non_finite == 20, mpc:statistics().non_finite)
end
