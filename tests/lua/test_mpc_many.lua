-- The mpc with a learned model: many states at a time, and how far members are apart along plans.
local orrery = require "orrery"
local fails = require "tests.lua.fails"

local env = orrery.env "pendulum"
local replay = orrery.replay { env = env }
replay:collect(orrery.policy.random(env), { steps = 400 })
local model = orrery.model { env = env, members = 3, hidden = { 16, 16 }, probabilistic = false }
model:fit(replay, { epochs = 3 })

local cem = orrery.plan.cem { horizon = 4, population = 60, iterations = 3 }

-- ---- many states

local task = function(s, a) return s.cos - 0.1 * s.velocity^2 - 0.01 * a.torque^2 end
local batch = orrery.mpc { model = model, task = task, planner = cem, batch = 3 }
local single = orrery.mpc { model = model, task = task, planner = cem }
local observations = {}
for i = 1, 3 do observations[i] = env:reset(i) end
for _ = 1, 4 do
  local actions, notes = batch:act_many(observations)
  assert(actions:size(1) == 3 and actions:size(2) == 1 and #notes == 3)
  assert(notes[1] == false and notes[2] == false and notes[3] == false)
  local alone = single:act(observations[1]).torque
  assert(math.abs(actions[1][1] - alone) < 1e-3, ("%g, alone %g"):format(actions[1][1], alone))
end
-- observations are a list of records or a tensor, for an mpc and for its objective alike
local rows, plans = orrery.zeros(3, 3), orrery.rand(6, cem.horizon, 1)
for i = 1, 3 do rows:slice(i, i):assign(env.observation_space:flatten(observations[i]):reshape(1, 3)) end
local scorer = batch:objective()
assert(scorer:score(observations, plans):same(scorer:score(rows, plans)))
assert(not scorer:score(observations, plans):same(scorer:score({ observations[1], observations[1], observations[1] }, plans)))

local flat = orrery.zeros(3, 3)
flat:slice(1, 1):assign(orrery.ones(1, 3))
assert(batch:act_many(flat):size(1) == 3)
batch:reset_one(2)
fails("no state 4", batch.reset_one, batch, 4)
fails("3 x 3", batch.act_many, batch, orrery.zeros(2, 3))
fails("list of 3 observations", batch.act_many, batch, { observations[1] })
fails("3 states at a time", batch.act, batch, observations[1])
fails("one state at a time", orrery.mpc, { env = env, batch = 2 })

-- Every state of a batch is planned for as an mpc of its own with the same seed would, to the bit.
local function same_alone(planner, options)
  local o = { model = model, task = task, planner = planner, seed = 5, batch = 3 }
  for name, value in pairs(options or {}) do o[name] = value end
  local together, alone = orrery.mpc(o), {}
  o.batch = nil
  for i = 1, 3 do alone[i] = orrery.mpc(o) end
  for turn = 1, 3 do
    local actions = together:act_many(observations)
    for i = 1, 3 do
      local action = alone[i]:act(observations[i]).torque
      assert(actions[i][1] == action, ("%s, state %d, turn %d: %.9g, alone %.9g"):format(tostring(planner), i, turn,
        actions[i][1], action))
    end
    together:reset_one(2)
    alone[2]:reset()
  end
end
local plan, size = orrery.plan, { horizon = 4, population = 60, iterations = 3 }
for _, name in ipairs { "cem", "icem", "mppi", "pddm", "predictive_sampling" } do same_alone(plan[name](size)) end
same_alone(plan.random_shooting { horizon = 4, population = 60 })
same_alone(plan.gradient { horizon = 4, population = 4, iterations = 5 })
same_alone(plan.ilqr { horizon = 4 })
same_alone(plan.cem(size), { propagation = "ts1", particles = 6 })
-- some are done before others; with a constraint the best plan is executed, not the mean
for _, variance in ipairs { 0.1, 0.03, 0.01 } do
  local early = plan.cem { horizon = 4, population = 60, iterations = 12, minimum_variance = variance }
  same_alone(early)
  same_alone(early, { constraint = { event = function(_, _, next) return next.velocity > 100 end, below = 0.5 } })
end

-- ---- what there is to know

local known = orrery.mpc { model = model, task = task, planner = cem, disagreement = true }
fails("no plan yet", known.disagreement, known)
assert(known:statistics().disagreement == nil and known:statistics().planned_return == nil)
local observation = env:reset(1)
for _ = 1, 3 do observation = env:step((known:act(observation))) end
local apart, s = known:disagreement(), known:statistics()
assert(apart:size(1) == 4 and apart[1] >= 0 and apart[4] > 0)
assert(s.disagreement > 0 and s.max_disagreement >= s.disagreement)
assert(s.iterations_per_plan == 3 and s.plans == 3 and s.planned_return < 4)
