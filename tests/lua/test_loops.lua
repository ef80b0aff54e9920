-- Learning loops: what is collected, when the model is fitted, what is planned and told; open loop.
local orrery = require "orrery"
local fails = require "tests.lua.fails"

local env = orrery.env("cliff", { max_steps = 12 })
local task = { reward = function(_, _, next) return next.height end }

local function options(more)
  local o = {
    env = env, task = task, rounds = 2, episodes = 3, random_episodes = 4, particles = 3, seed = 5,
    model = orrery.model { env = env, members = 2, hidden = { 16 }, seed = 1 },
    planner = orrery.plan.cem { horizon = 6, population = 20, iterations = 2 }, fit = { epochs = 3 },
  }
  for name, value in pairs(more or {}) do o[name] = value end
  return o
end

-- ---- evaluate: rewards, last observations, and a replay of what was played

local replay = orrery.replay { env = env }
local up = orrery.evaluate(env, orrery.policy.constant { walk = 1 }, { task = function(_, _, next) return 2 * next.height end,
  episodes = 3, replay = replay })
assert(#up.rewards == 3 and #up.rewards[1] == 12 and #up.last == 3)
local sum = 0
for _, reward in ipairs(up.rewards[2]) do sum = sum + reward end
assert(math.abs(sum - up.returns[2]) < 1e-9)
local kept = replay:transitions()
assert(kept.observation:size(1) == 36)
-- the replay has the environment's own reward, and the episodes in order
assert(math.abs(2 * kept.reward[24] - up.rewards[2][12]) < 1e-5)
assert(math.abs(kept.next_observation[{ 36, 1 }] - up.last[3].position) < 1e-6)

-- ---- open loop: one plan, whatever happens; a new one when it is used up, and in the next episode

local acts = 0
local counted = orrery.objective.fn(function(_, plans)
  acts = acts + 1
  return orrery.mean(plans:reshape(plans:size(1), -1), 2)
end, { env = env })
local mpc = orrery.mpc { objective = counted,
  planner = orrery.plan.random_shooting { horizon = 5, population = 10 } }
local open = orrery.policy.open_loop(mpc)
open:reset(3)
env:reset(1)
local first = open:act(env:observe())
local plan = mpc:plan()
assert(acts == 1 and math.abs(first.walk - plan[{ 1, 1 }]) < 1e-7)
for i = 2, 5 do
  assert(open:act(env:observe()):item() == plan[{ i, 1 }] and acts == 1)
end
open:act(env:observe())
assert(acts == 2)
open:reset(3)
assert(open:act(env:observe()).walk == first.walk and acts == 3, "the same seed, the same plan")
fails("an mpc is needed", orrery.policy.open_loop, orrery.policy.random(env))

-- ---- the loop: random experience, then fit, play, append, in every round

for name, loop in pairs { replan = orrery.loop.replan, plan_once = orrery.loop.plan_once } do
  local seen = {}
  local o = options { log = function(round, result)
    seen[#seen + 1] = { round.round, result.replay:transitions().observation:size(1), result.model.fits or 0 }
  end }
  if name == "plan_once" then o.planner = orrery.plan.cem { horizon = 12, population = 20, iterations = 2 } end
  local result = loop(o)
  assert(#result.rounds == 3 and #seen == 3)
  for i, expected in ipairs { { 0, 48, 0 }, { 1, 84, 1 }, { 2, 120, 2 } } do
    for k = 1, 3 do assert(seen[i][k] == expected[k], name) end
    assert(result.rounds[i].steps == expected[2])
  end
  assert(result.mpc:statistics().plans == (name == "plan_once" and 6 or 72), name)
  local round = result.rounds[2]
  assert(#round.returns == 3 and round.error > 0 and round.epochs == 3)
  -- Windows of the plans that are compared fit into the episode; one per episode in open loop.
  assert(round.planned and round.realised)
  if name == "plan_once" then assert(math.abs(round.realised - round.mean) < 1e-6) end
  assert(tostring(result):find "planned.+\n +0 +48 .+\n +1 +84 .+\n +2 +120 ")
  -- the same again, to the bit
  local again = loop(options { planner = o.planner })
  for i = 1, 3 do assert(again.rounds[i].mean == result.rounds[i].mean, name .. " differs from run to run") end
end

-- the error is of predictions on steps that were not learned from yet
local result = orrery.loop.replan(options { rounds = 1 })
local data = result.replay:transitions()
local from = data.observation:size(1) - 36 + 1
local function last(x) return x:slice(from, from + 35):copy() end
local predicted = orrery.mean(result.model:predict(last(data.observation), last(data.action)), 1)
local apart = (predicted - last(data.next_observation)) * result.model.target_inverse
local expected = math.sqrt(orrery.mean(orrery.square(apart)))
assert(math.abs(expected - result.rounds[2].error) < 1e-5 * expected)

-- ---- going on from experience; checkpoints

local folder = os.tmpname()
os.remove(folder)
assert(orrery.system.make_folder(folder))
local saved = orrery.loop.replan(options { rounds = 1, checkpoint = folder .. "/a_" })
local stored = orrery.load_replay(folder .. "/a_replay.orr", { env = env })
assert(stored:transitions().observation:size(1) == 84)
local model = orrery.model { env = env, members = 2, hidden = { 16 }, seed = 9 }
model:load(folder .. "/a_model.safetensors")
local s, a = orrery.tensor { { 1, 1 } }, orrery.tensor { { 0.5 } }
assert(model:predict(s, a):same(saved.model:predict(s, a)))
local more = orrery.loop.replan(options { rounds = 1, replay = stored, model = model })
assert(#more.rounds == 1 and more.rounds[1].round == 1 and more.rounds[1].steps == 120)
os.remove(folder .. "/a_replay.orr")
os.remove(folder .. "/a_model.safetensors")
os.remove(folder)

-- options of the fit by round and steps
local asked = {}
orrery.loop.replan(options { fit = function(round, steps)
  asked[round] = steps
  return { epochs = round }
end, log = function(round) assert(round.epochs == round.round) end })
assert(asked[1] == 48 and asked[2] == 84)

-- a run is told of every round, by name
local told = {}
local run = { progress = function(_, _, text) told[#told + 1] = text end, log = function(_, line) told.line = line end }
orrery.loop.replan(options { rounds = 1, run = run, name = "first" })
assert(told[1]:find "first, round 1 of 1: fitting, epoch 1" and told.line.loop == "first" and told.line.steps == 84)

-- ---- PETS and PDDM: their own models and planners

local pets = orrery.loop.pets(options { rounds = 1, model = orrery.model { env = env, members = 2, hidden = { 8 } } })
assert(#pets.rounds == 2)

local smooth = { population = 20, horizon = 7, filter = 0.6, temperature = 10 }
local pddm = orrery.loop.pddm { env = env, task = task, rounds = 1, seed = 5, fit = { epochs = 2 },
  planner = orrery.plan.pddm(smooth) }
assert(#pddm.rounds == 2 and pddm.model.members == 3 and not pddm.model.probabilistic)

-- with a function of options, too
local asked = 0
local varied = orrery.loop.pddm { env = env, task = task, rounds = 1, seed = 5, planner = orrery.plan.pddm(smooth),
  fit = function() asked = asked + 1; return { epochs = 2 } end }
assert(asked == 1 and varied.rounds[2].mean == pddm.rounds[2].mean)

-- ---- mistakes

fails("an environment is needed", orrery.loop.replan, { task = task })
fails("a task is needed", orrery.loop.replan, { env = env })
fails("did you mean 'episodes'", orrery.loop.replan, { env = env, task = task, episods = 1 })
fails("fit must be a table", orrery.loop.replan, { env = env, task = task, fit = 3 })
fails("rounds must be a whole number", orrery.loop.plan_once, { env = env, task = task, rounds = 0 })
fails("an environment is needed, as in { env = orrery.env \"pendulum\" }", orrery.loop.replan,
  { env = "pendulum", task = task })
fails("run must be one as orrery.run makes it", orrery.loop.replan, { env = env, task = task, run = "x" })
fails("'pendulum' has no limit of steps, and whole episodes are played: give the environment max_steps",
  orrery.loop.replan, { env = orrery.env("pendulum", { max_steps = 0 }), task = task })
