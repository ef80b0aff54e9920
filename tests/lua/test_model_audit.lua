-- Audits of models whose faults are known: calibration, spread, planned against realised return.
local orrery = require "orrery"
local fails = require "tests.lua.fails"

-- A model made of plain functions: what the audits need of one.
local function fake(prediction, options)
  local model = orrery.model { observation = orrery.space { "x", "y" }, action = orrery.space { { "u", low = -1, high = 1 } },
    members = options.members or 2, hidden = { 4 } }
  model.predict = prediction
  for name, value in pairs(options) do model[name] = value end
  return model
end

-- ---- the variance: residuals of deviation 1 and 2 where deviations of 1 and 1 were predicted

orrery.seed(3)
local n = 4000
local noise = orrery.randn(n, 2) * orrery.tensor { 1, 2 }
local data = { observation = orrery.zeros(n, 2), action = orrery.zeros(n, 1), next_observation = noise }
local sure = fake(function() return orrery.zeros(2, n, 2), orrery.ones(2, n, 2) end, {})
local audit = sure:audit_variance(data)
assert(#audit == 2 and audit[1].field == "x")
assert(math.abs(audit[1].variance - 1) < 0.08 and math.abs(audit[2].variance - 4) < 0.3)
assert(math.abs(audit[1].within[50] - 0.5) < 0.03 and math.abs(audit[1].within[90] - 0.9) < 0.02)
assert(audit[2].within[90] < 0.65 and audit[2].within[50] < 0.32)
assert(tostring(audit):find "x +1%.0" or tostring(audit):find "x +0%.9")
assert(audit:plot().width == 960)

-- only the elites count; what never changes is left out
local half = fake(function() return orrery.zeros(2, n, 2), orrery.concat({ orrery.ones(1, n, 2), orrery.full(9, { 1, n, 2 }) }, 1) end,
  { elites = { 1 } })
half.target_scale:assign(orrery.tensor { 1, 0 })
audit = half:audit_variance(data)
assert(#audit == 1 and math.abs(audit[1].variance - 1) < 0.08)
fails("deterministic", function() fake(nil, { probabilistic = false }):audit_variance(data) end)
fails("audit_variance: a replay is needed", function() sure:audit_variance(3) end)

-- ---- the spread: members that agree where x is small

local disagreeing = fake(function(_, s) return orrery.concat({ (s * 1.5):insert_axis(1), (s * 0.5):insert_axis(1) }, 1) end, {})
local near = { observation = orrery.rand(200, 2), action = orrery.zeros(200, 1) }
local far = { observation = orrery.rand(300, 2) + 2, action = orrery.zeros(300, 1) }
local spread = disagreeing:audit_spread(near, far)
assert(spread.auroc == 1 and #spread.seen == 200 and #spread.shifted == 300)
-- half of s apart from the mean, on either side
local mean_square = math.sqrt((2.5 ^ 2 + 2.5 ^ 2) / 2 / 4)
assert(math.abs(spread.shifted[150] - mean_square) < 0.1)
assert(disagreeing:audit_spread(far, near).auroc == 0)
assert(disagreeing:audit_spread(near, near).auroc == 0.5)
assert(tostring(spread):find "AUROC 1.000" and spread:plot().width == 960)
fails("2 members", function() fake(nil, { elites = { 1 } }):audit_spread(near, far) end)

-- ---- plans: a model of the slope alone promises what the cliff does not keep

local env = orrery.env("cliff", { max_steps = 40, wind = 0, edge = 6 })
local task = { reward = function(_, _, next) return next.height end }
local slope = orrery.replay { env = env }
orrery.evaluate(env, orrery.policy.random(env), { episodes = 40, replay = slope })
local model = orrery.model { env = env, members = 2, hidden = { 32 }, activation = "relu", probabilistic = false, seed = 1 }
model:fit(slope, { epochs = 60, batch = 64 })
local planner = orrery.plan.cem { horizon = 30, population = 60, iterations = 12 }
local plans = model:audit_plans(env, { task = task, planner = planner, states = 2, every = 1000, policy = "random", particles = 2 })
assert(#plans.optimised.plans == 2 and #plans.random.plans == 2)
-- up and over
assert(plans.optimised.planned > 80 and plans.optimised.realised < 0, tostring(plans))
assert(plans.optimised.gap > 100 and math.abs(plans.random.gap) < 20, tostring(plans))
local p = plans.optimised.plans[1]
assert(p.step == 1 and p.planned - p.realised > 100)
assert(tostring(plans):find "optimised" and plans:plot().width == 960)
-- as many states as were asked for, at the steps that were asked for
plans = model:audit_plans(env, { task = task, planner = planner, states = 6, every = 10, particles = 2 })
for i, step in ipairs { 1, 11, 21, 31, 1, 11 } do assert(plans.random.plans[i].step == step) end
fails("a task is needed", model.audit_plans, model, env, {})
fails("states must be a whole number", model.audit_plans, model, env, { task = task, states = 0 })
fails("colon", model.audit_plans, env)

-- ---- k-step errors as a picture
assert(model:audit(slope, { horizons = { 1, 5 } }):plot().width == 960)
