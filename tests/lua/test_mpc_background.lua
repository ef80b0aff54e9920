-- A planning thread: what act answers meanwhile, what the host may do, and how it ends.
local orrery = require "orrery"
local fails = require "tests.lua.fails"
local clock = orrery.clock

local env = orrery.env "pendulum"
local replay = orrery.replay { env = env }
replay:collect(orrery.policy.random(env), { steps = 400 })
local model = orrery.model { env = env, members = 2, hidden = { 16, 16 } }
model:fit(replay, { epochs = 2 })

local goal = orrery.tensor { 1 }
local function reward(s, a) return goal[1] * s.cos - 0.01 * a.torque^2 end
local function open(options)
  options.model, options.task, options.background = model, options.task or reward, true
  options.planner = options.planner or orrery.plan.cem { horizon = 8, population = 40, iterations = 3 }
  return orrery.mpc(options)
end

local function valid(action) return action.torque >= -2 and action.torque <= 2 end

-- the first act waits for a plan; the others take what there is
local mpc = open {}
local observation = env:reset(1)
for i = 1, 60 do
  local action, note = mpc:act(observation)
  assert(valid(action) and note ~= "late", note)
  assert(i > 1 or note == nil, note)
  observation = env:step(action)
end
local s = mpc:statistics()
assert(s.acts == 60 and s.plans >= 1 and s.plans <= 60 and s.scored > 0)

-- training is refused while it plans, and nothing else that reads
assert(orrery.planning() == 1)
fails("pause it first", model.fit, model, replay, { epochs = 1 })
fails("pause it first", model.load, model, "nowhere.safetensors")
fails("background", orrery.threads, orrery.threads() + 1)
mpc:pause()
assert(orrery.planning() == 0)
model:fit(replay, { epochs = 1 })
for _ = 1, 20 do assert(valid((mpc:act(observation)))) end -- the last plan, then the safe action
local _, note = mpc:act(observation)
assert(note == "safe action" or note == nil, note)
mpc:resume()

-- other plans are made at the same time, and are what they would be alone
local function plans()
  local other, list = orrery.mpc { model = model, task = reward, seed = 3,
    planner = orrery.plan.cem { horizon = 8, population = 40, iterations = 2 } }, {}
  local o = env:reset(5)
  for i = 1, 10 do
    local action = other:act(o)
    list[i] = action.torque
    o = env:step(action)
  end
  return list
end
mpc:pause()
local alone = plans()
mpc:resume()
local busy = {}
mpc:act(observation)
busy = plans()
for i = 1, 10 do assert(alone[i] == busy[i]) end

-- parts are swapped while it runs; a reset forgets
for i = 1, 12 do
  mpc:act(env:reset(i))
  if i % 4 == 0 then mpc:set_task { reward = function(s, a) return i * s.sin - a.torque^2 end } end
  if i % 4 == 1 then mpc:set_budget { iterations = 1 + i % 3 } end
  if i % 4 == 2 then mpc:set_planner(orrery.plan.cem { horizon = 6 + i % 3, population = 30, iterations = 2 }) end
  if i % 4 == 3 then mpc:reset(i) end
end
mpc:reset()
assert(mpc:plan() == nil)
assert(select(2, mpc:act(observation)) == nil and mpc:plan():size(2) == 1)

-- with a budget that no plan can keep, the first act gives the safe action in time
local slow = open { seconds = 1e-6, safe_action = { torque = 0.5 } }
local start = clock()
local action, why = slow:act(observation)
assert(clock() - start < 5)
assert(why == nil or (why == "safe action" and math.abs(action.torque - 0.5) < 1e-6), why)

-- evaluation leaves it the time of a step to plan in
local paced = open { step_seconds = 0.02 }
start = clock()
assert(paced:pace() == 0.02 and orrery.mpc { model = model, task = reward, step_seconds = 0.02 }:pace() == 0)
assert(orrery.evaluate(env, paced, { episodes = 1, steps = 20 }).lengths[1] == 20)
assert(clock() - start >= 0.3799 and paced:statistics().plans >= 5, paced:statistics().plans)

-- the simulator plans from the state that the environment had, whatever the host does with it meanwhile
local pushed = orrery.mpc { env = env, background = true, seed = 1,
  planner = orrery.plan.cem { horizon = 15, population = 60, iterations = 3 } }
observation = env:reset(4)
local total = 0
for i = 1, 150 do
  local action = pushed:act(observation)
  assert(valid(action))
  local reward_now
  observation, reward_now = env:step(action)
  if i > 100 then total = total + reward_now end
  if i % 3 == 0 then orrery.zeros(10000):sum() end
end
assert(pushed:statistics().fallbacks < 150 and pushed:statistics().non_finite == 0)
fails("step that environment", pushed.act, pushed, { cos = 0.6, sin = 0.8, velocity = 7 })
pushed:set_task { reward = function(s) return -s.velocity^2 end }
pushed:act(env:reset(5))
pushed:close()

-- what cannot be planned on another thread says so
fails("host's thread only", orrery.mpc, { model = model, background = true, task = orrery.interpret(reward) })
fails("one state", orrery.mpc, { model = model, background = true, batch = 2, task = reward })

-- closing, collecting, and leaving one running when the program ends
slow:close()
slow:close()
do local dropped <close> = open {}; dropped:act(observation) end
for _ = 1, 5 do open {}:act(observation) end
collectgarbage()
local left_running = open {}
left_running:act(observation)
left_running:act(observation)
