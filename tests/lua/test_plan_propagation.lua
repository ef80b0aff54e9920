-- How particles are carried along a plan: TS-infinity, TS1 and expectation; risk over them; disagreement of members.
local orrery = require "orrery"
local fails = require "tests.lua.fails"

local observation, action = orrery.space { "x" }, orrery.space { { "u", low = -1, high = 1 } }
local MEMBERS, HORIZON = 5, 8

-- Members predict x + drift of the member + noise, whatever is done: only the last layer's bias speaks.
local drifts = { -2, -1, 0, 1, 2 } -- variance over members: 2
local function new_model(deviation, members)
  local model = orrery.model {
    observation = observation, action = action, members = members or MEMBERS, hidden = { 8 }, bounded = false, seed = 1,
    probabilistic = deviation ~= nil,
  }
  local parameters, names = model.net:parameters()
  for i, tensor in ipairs(parameters) do
    if names[i]:find "weight" then tensor:fill(0) end
  end
  local bias = parameters[#parameters]
  for m = 1, members or MEMBERS do
    local drift = drifts[m]
    if (members or MEMBERS) > 1 then bias:slice(m, m):slice(1, 1, 2):fill(drift) else bias:slice(1, 1):fill(drift) end
  end
  if deviation then -- exp(low / 2), whatever the net says
    model.low:fill(2 * math.log(deviation))
    model.high:fill(2 * math.log(deviation) - 50)
  end
  return model
end

local function objective(model, task, options)
  options.horizon = options.horizon or HORIZON
  local compiled, settings = model:objective(task, options)
  return orrery.objective.program(compiled.program, settings)
end

local plans = orrery.zeros(400, HORIZON, 1)
local function near(a, b, tolerance, what)
  assert(math.abs(a - b) <= tolerance, ("%s: %g, not %g"):format(what or "", a, b))
end

-- ---- the variance of where particles end is H^2 that of one step for TS-infinity, and H times it for TS1

-- Of the last state over particles and plans, out of returns: its mean, and the mean of its square, are returns.
local function ends(model, options)
  local squares = objective(model, { reward = function() return 0 end, value = function(s) return s.x ^ 2 end }, options)
  local means = objective(model, { reward = function() return 0 end, value = function(s) return s.x end }, options)
  local start = { x = 0 }
  local mean = means:score(start, plans, { seed = 3 }):mean()
  return squares:score(start, plans, { seed = 3 }):mean() - mean ^ 2, mean
end

local still = new_model()
local variance, mean = ends(still, { propagation = "ts_infinity", particles = 20 })
near(variance, 2 * HORIZON ^ 2, 1e-2, "ts_infinity")
near(mean, 0, 1e-4)
variance, mean = ends(still, { propagation = "ts1", particles = 20 })
-- 8,000 particles: the standard error of the variance is 2 H sqrt(2 / 8000) = 0.25
near(variance, 2 * HORIZON, 1.2, "ts1")
near(mean, 0, 1e-4) -- balanced: at each step each member moves as many particles of a plan
variance, mean = ends(still, { propagation = "expectation" })
near(variance, 0, 1e-4, "expectation")
near(mean, 0, 1e-4)
-- with as many particles as members all five ways of going are taken at every step, in 5! orders
variance = ends(still, { propagation = "ts1", particles = 5 })
near(variance, 2 * HORIZON, 2.5, "ts1, 5 particles")

-- noise adds its own, and sample = false leaves it out
local noisy = new_model(0.5)
near(ends(noisy, { propagation = "ts1", particles = 20 }), 2 * HORIZON + 0.25 * HORIZON, 1.5, "ts1, noise")
near(ends(noisy, { particles = 20 }), 2 * HORIZON ^ 2 + 0.25 * HORIZON, 2.5, "ts_infinity, noise")
near(ends(noisy, { particles = 20, sample = false }), 2 * HORIZON ^ 2, 1e-2, "means")

-- elites only
still:use_elites { 2, 5 } -- -1 and 2
near(select(2, ends(still, { propagation = "ts1", particles = 4 })), 0.5 * HORIZON, 1e-3, "elites")
near(select(2, ends(still, { propagation = "expectation" })), 0.5 * HORIZON, 1e-3, "elites")
still:use_elites()

-- ---- TS1: same seed, same bits on any number of threads; several states; the task's other parts

local task = {
  reward = function(s, a, next, t, given) return next.x - given.goal + 0.1 * a.u + 0.01 * t end,
  termination = function(_, _, next) return next.x > 5 end, afterwards = -0.5, inputs = { goal = 1 },
  constraint = { event = function(_, _, next) return next.x < -4 end, below = 0.1 },
  value = function(s) return 0.5 * s.x end,
}
local random_plans = 2 * orrery.rand(40, HORIZON, 1) - 1
local ts1 = objective(noisy, task, { propagation = "ts1", particles = 10 })
local threads, first = orrery.threads(), nil
for count = 1, 3 do
  orrery.threads(count)
  local returns, violations = ts1:score({ x = 0.5 }, random_plans, { seed = 1, step = 2, violations = true })
  first = first or returns
  assert((returns - first):abs():max() == 0)
  assert(violations:max() > 0)
end
orrery.threads(threads)
assert((ts1:score({ x = 0.5 }, random_plans, { seed = 2, step = 2 }) - first):abs():max() > 0)
-- one member: TS1 is TS-infinity
local single = new_model(nil, 1)
local a = objective(single, task, { propagation = "ts1" }):score({ x = 0.5 }, random_plans, { step = 3 })
local b = objective(single, task, {}):score({ x = 0.5 }, random_plans, { step = 3 })
assert((a - b):abs():max() == 0)
-- without noise and with members that agree it is TS-infinity too, by hand
local agreeing = new_model()
agreeing.net:parameters()[4]:fill(0.75)
for _, propagation in ipairs { "ts1", "ts_infinity", "expectation" } do
  local returns = objective(agreeing, task, { propagation = propagation }):score({ x = 0.5 }, random_plans, { step = 3 })
  for i = 1, 40 do
    local x, wanted, alive = 0.5, 0, true
    for t = 1, HORIZON do
      x = x + 0.75
      wanted = wanted + (alive and x - 1 + 0.1 * random_plans[{ i, t, 1 }] + 0.01 * (t + 2) or -0.5)
      if x > 5 then alive = false end
    end
    near(returns[i], wanted + (alive and 0.5 * x or 0), 1e-4, propagation)
  end
end

-- ---- several states in one batch score as one by one, to the bit where nothing is drawn

for _, options in ipairs { {}, { propagation = "expectation" } } do
  local scorer = objective(still, task, options)
  local starts = orrery.tensor { { 0.5 }, { -1 }, { 3 }, { 0 } }
  local together = scorer:score(starts, random_plans, { step = 1 })
  for i = 1, 4 do
    local alone = scorer:score(starts[i], random_plans:slice(10 * i - 9, 10 * i):copy(), { step = 1 })
    assert((alone - together:slice(10 * i - 9, 10 * i)):abs():max() == 0)
  end
end

-- ---- risk: over particles, or over members whose particles are averaged first

local function by(risk, particles)
  local scorer = objective(still, { reward = function(_, _, next) return next.x end },
    { risk = risk, particles = particles or 5, horizon = 1 })
  return scorer:score({ x = 0 }, orrery.zeros(1, 1, 1))[1]
end
near(by "mean", 0, 1e-5)
near(by "worst", -2, 1e-5)
near(by { "cvar", alpha = 0.3 }, (-2 - 0.5) / 1.5, 1e-5)
near(by "cvar", -2, 1e-5)
near(by { "mean_minus_deviations", k = 0.5 }, -0.5 * math.sqrt(2), 1e-5)
near(by "optimistic", math.sqrt(2), 1e-5)
near(by({ "mean", over = "members" }, 7), 0, 1e-5) -- members 1 and 2 have two particles each
near(by("mean", 7), (-2 - 1) / 7, 1e-5)

-- ---- disagreement: in units of the deviation that states had in the data

still.input_scale:assign(orrery.tensor { 0.25, 1 })
local apart = objective(still, task, {}):disagree({ x = 0 }, orrery.zeros(HORIZON, 1))
for t = 1, HORIZON do near(apart[t], t * math.sqrt(2) * 0.25, 1e-4) end

-- ---- what does not fit is refused

fails("did you mean 'ts_infinity'", objective, still, task, { propagation = "ts_infinty" })
fails("did you mean 'worst'", objective, still, task, { risk = "wurst" })
fails("it has alpha and over", objective, still, task, { risk = { "cvar", k = 2 } })
fails("within 1e-06 .. 1", objective, still, task, { risk = { "cvar", alpha = 2 } })
fails("no member of their own", objective, still, task, { propagation = "ts1", risk = { "worst", over = "members" } })
fails("leave out sample", objective, still, task, { propagation = "expectation", sample = true })
fails("below must be a probability", objective, still,
  { reward = function() return 0 end, constraint = { event = function() return true end } }, {})
fails("an event is learned", orrery.mpc, { env = orrery.env "pendulum", constraint = { event = "fallen", below = 0.1 } })
