-- Derivatives of objectives, and planners that use them.
local orrery = require "orrery"

local function near(a, b, tolerance, what)
  local apart = (a - b):abs():max()
  assert(apart <= tolerance, ("%s: %g apart"):format(what, apart))
end

local env = orrery.env "pendulum"
local replay = orrery.replay { env = env }
orrery.seed(1)
replay:collect(orrery.policy.random(env), { steps = 600 })
local model = orrery.model { env = env, members = 3, hidden = { 16, 16 }, seed = 1 }
model:fit(replay, { epochs = 10 })

local H = 5
local observation = env:reset(3)
local plans = orrery.rand(4, H, 1) * 3 - 1.5
local weight = 0.2
local function reward(s, a, next, t)
  local cost = 0.1 * next.velocity^2 + weight * a.torque^2 * s.cos - 0.01 * t * a.torque
  if s.velocity > 100 then return 0 end
  return next.sin - cost
end

local function objective(options)
  options.horizon = H
  local compiled, o = model:objective(reward, options)
  return orrery.objective.program(compiled:enter(), o)
end

-- ---- gradients of the return

for _, options in ipairs { { sample = false, particles = 5 }, { propagation = "expectation" } } do
  options.gradients = true
  local sloped = objective(options)
  local returns, gradients = sloped:score(observation, plans, { gradients = true, step = 2 })
  near(returns, sloped:score(observation, plans, { step = 2 }), 1e-4, "returns")
  local varied = orrery.objective.fn(function(o, p) return sloped:score(o, p, { step = 2 }) end,
    { env = env, differences = true })
  local _, differences = varied:score(observation, plans, { gradients = true })
  near(gradients, differences, 5e-3, "gradients")
  assert(gradients:size(1) == 4 and gradients:size(2) == H and gradients:size(3) == 1)
end

-- of drawn states: the same seed draws the same
do
  local sloped, h = objective { sample = true, particles = 4, gradients = true }, 1e-2
  local function at(plan) return sloped:score(observation, plan, { gradients = true, seed = 7 }) end
  local _, gradients = at(plans:slice(1, 1):copy())
  for step = 1, H do
    local below, above = plans:slice(1, 1):copy(), plans:slice(1, 1):copy()
    below:slice(step, step, 2):assign(below:slice(step, step, 2) - h)
    above:slice(step, step, 2):assign(above:slice(step, step, 2) + h)
    local difference = (at(above) - at(below)):sum() / (2 * h)
    local slope = gradients:reshape(-1):totable()[step]
    assert(math.abs(slope - difference) < 2e-2 * (1 + math.abs(slope)), slope .. " " .. difference)
  end
end

-- of TS1, whose particles change members between steps, in the same order for a seed; with risk, ends, a value and draws
local ending = { reward = reward, afterwards = -1, value = function(s, given) return 20 * given.goal * s.velocity * s.cos end,
  inputs = { goal = 0.5 }, termination = function(s) return s.velocity > 4 end,
  constraint = { event = function(_, a) return a.torque > 1 end, below = 0.5 } }
for _, options in ipairs { { sample = false, particles = 5 }, { particles = 6, sample = false, risk = "worst" },
    { particles = 6, risk = { "mean_minus_deviations", k = 0.5 } }, { particles = 4, task = ending } } do
  local given, h = options.task or { reward = reward }, 2e-2
  options.task, options.propagation, options.gradients, options.horizon = nil, "ts1", true, H
  local compiled, o = model:objective(given, options)
  local sloped = orrery.objective.program(compiled:enter(), o)
  local starts = orrery.stack({ orrery.tensor { 0.6, 0.8, 0.3 }, orrery.tensor { -0.8, 0.6, -1 } }, 1)
  local returns, gradients = sloped:score(starts, plans, { gradients = true, step = 2, seed = 7 })
  local function at(p) return (sloped:score(starts, p, { step = 2, seed = 7 })) end
  near(returns, at(plans), 0, "returns")
  for step = 1, H do
    local below, above = plans:copy(), plans:copy()
    below:slice(step, step, 2):assign(plans:slice(step, step, 2) - h)
    above:slice(step, step, 2):assign(plans:slice(step, step, 2) + h)
    near(gradients:slice(step, step, 2):reshape(-1), (at(above) - at(below)) / (2 * h), 2e-2, "ts1, step " .. step)
  end
  assert(gradients:abs():max() > 0.05)
  if given == ending then
    local _, _, violations = sloped:score(starts, plans, { gradients = true, violations = true, seed = 7 })
    assert(violations:max() > 0)
    sloped:set_input("goal", -0.5)
    local _, others = sloped:score(starts, plans, { gradients = true, step = 2, seed = 7 })
    assert((others - gradients):abs():max() > 0.1)
  end
  local threads = orrery.threads()
  orrery.threads(threads == 1 and 2 or 1)
  local _, again = objective(options):score(observation, plans, { gradients = true, seed = 7 })
  orrery.threads(threads)
  near(again, select(2, objective(options):score(observation, plans, { gradients = true, seed = 7 })), 0, "threads")
end

local ok, message
ok, message = pcall(function() objective({ particles = 3 }):score(observation, plans, { gradients = true }) end)
assert(not ok and message:find("has no gradients", 1, true), message)

-- of functions of plain Lua
local function cost(_, p, wanted)
  local apart = p - 0.5
  return -orrery.sum(orrery.square(apart):reshape(4, H), 2), wanted and -2 * apart
end
local own = orrery.objective.fn(cost, { env = env, gradients = true })
local _, slopes = own:score(observation, plans, { gradients = true })
near(slopes, -2 * (plans - 0.5), 1e-6, "own gradients")
own = orrery.objective.fn(function(o, p) return (cost(o, p)) end, { env = env, gradients = true })
ok, message = pcall(own.score, own, observation, plans, { gradients = true })
assert(not ok and message:find("no gradients", 1, true), message)

-- ---- derivatives along a plan

-- The gradient of the return is the sum of the rewards' slopes, carried back through the dynamics.
local function carried_back(l)
  local v, list = orrery.zeros(3), {}
  for t = H, 1, -1 do
    list[t] = (l.reward_a[t] + orrery.matmul(v, l.next_a[t]))[1]
    v = l.reward_s[t] + orrery.matmul(v, l.next_s[t])
  end
  return orrery.tensor(list)
end

local plan = plans[1]
for _, options in ipairs { { members = { 2 } }, { members = { 1, 2, 3 }, propagation = "expectation" } } do
  model:use_elites(options.members)
  local given = { propagation = options.propagation, particles = not options.propagation and 2 or nil }
  if not options.propagation then given.sample = false end
  local function with(name)
    local o = { [name] = true }
    for key, value in pairs(given) do o[key] = value end
    return objective(o)
  end
  local l = with("linear"):linearise(observation, plan, { step = 2 })
  local _, gradients = with("gradients"):score(observation, plan:reshape(1, H, 1):copy(), { gradients = true, step = 2 })
  near(carried_back(l), gradients:reshape(-1), 1e-4, "carried back")
  assert(l.states:size(1) == H + 1 and l.reward_ss:size(1) == H)
  near(l.reward_ss, l.reward_ss:transpose(1, 3, 2):copy(), 1e-5, "symmetry")
  -- the reward's curvature in the action: -2 weight cos, and -0.2 of the velocity that the action gives
  local s = l.states:totable()[1]
  local slope = l.next_a[1]:totable()
  local expected = -2 * weight * s[1] - 0.2 * slope[3][1]^2
  assert(math.abs(l.reward_aa[1]:totable()[1][1] - expected) < 1e-4)
end
model:use_elites()

-- Rewards end with a known termination, for most members.
do
  local compiled, o = model:objective({ reward = reward, termination = function(_, _, _, t) return t >= 3 end },
    { horizon = H, sample = false, linear = true })
  local l = orrery.objective.program(compiled:enter(), o):linearise(observation, plan, { step = 2 })
  assert(l.reward_s:slice(3, H):abs():max() == 0 and l.reward_s[2]:abs():max() > 0)
end

-- the simulator's own, from the same observation
local true_one = orrery.objective.env(env):linearise(observation, plan)
assert(true_one.next_s:size(2) == 2 and math.abs(true_one.next_s[1]:totable()[2][2] - 1) < 1e-3)

-- ---- planners

assert(orrery.planner_wants(orrery.plan.gradient {}) == "gradients")
assert(orrery.planner_wants(orrery.plan.ilqr {}) == "linearisation")
assert(orrery.planner_wants(orrery.plan.cem {}) == nil)

local target = 3
local function spin(_, a, next) return -(next.velocity - target)^2 - 0.001 * a.torque^2 end

-- What the planner's plan is worth to an objective without draws.
local function reached(planner, options)
  options.horizon, options.sample = H, false
  local compiled, o = model:objective(spin, options)
  local scores = orrery.objective.program(compiled:enter(), o)
  local mpc = orrery.mpc { objective = scores, planner = planner, seed = 2 }
  local start = env:reset(4)
  mpc:act(start)
  return scores:score(start, mpc:plan():reshape(1, H, 1):copy()):totable()[1]
end

local cem = reached(orrery.plan.cem { horizon = H, population = 300, iterations = 10 }, {})
local gradient = orrery.plan.gradient { horizon = H, population = 4 }
for planner, options in pairs { [gradient] = { gradients = true }, [orrery.plan.ilqr { horizon = H }] = { linear = true } } do
  local here = reached(planner, options)
  assert(here > cem - 0.05 * math.abs(cem), ("%s: %g, cem %g"):format(tostring(planner), here, cem))
  -- an mpc asks the model for the derivatives; a captured number changes in their programs too
  target = 3
  local mpc = orrery.mpc { model = model, task = { reward = spin }, planner = planner, particles = 3, seed = 2 }
  local start = env:reset(4)
  assert(mpc:act(start).torque > 0)
  target = -3
  mpc:reset()
  local down = mpc:act(start).torque
  assert(down < 0)
  -- also where particles change members
  if planner == gradient then
    target = 3
    assert(orrery.mpc { model = model, task = { reward = spin }, planner = planner, particles = 3, propagation = "ts1",
      seed = 2 }:act(start).torque > 0)
  end
  -- and with the true dynamics
  target = 3
  local on_env = orrery.mpc { env = env, task = { reward = spin }, planner = planner, seed = 2 }
  assert(on_env:act(start).torque > 0.3)
end

-- what plain Lua computes has no derivatives
for _, planner in ipairs { gradient, orrery.plan.ilqr { horizon = H } } do
  ok, message = pcall(function()
    orrery.mpc { model = model, task = { reward = orrery.interpret(spin) }, planner = planner }
  end)
  assert(not ok and message:find("not known", 1, true), message)
end

ok, message = pcall(function()
  local sampled = model:objective(spin, { horizon = H })
  local o = select(2, model:objective(spin, { horizon = H }))
  local mpc = orrery.mpc { objective = orrery.objective.program(sampled:enter(), o), planner = orrery.plan.ilqr { horizon = H } }
  mpc:act(env:reset(4))
end)
assert(not ok and message:find("derivatives of the dynamics", 1, true), message)
