-- Events that a model learns: labels, calibration, and what planning makes of them.
local orrery = require "orrery"
local fails = require "tests.lua.fails"

local function near(a, b, tolerance, what)
  assert(math.abs(a - b) <= tolerance, ("%s: %g, not %g"):format(what or "", a, b))
end

local observation, action = orrery.space { { "x", low = -3, high = 3 } }, orrery.space { { "u", low = -1, high = 1 } }

-- x' = x + 0.5 u; with probability sigmoid(4 (x + u) - 4) the walker falls, to -3.
local function probability(x, u) return 1 / (1 + math.exp(-(4 * (x + u) - 4))) end
local function transitions(n, seed)
  orrery.seed(seed)
  local s, a = 4 * orrery.rand(n, 1) - 2, 2 * orrery.rand(n, 1) - 1
  local chance = orrery.sigmoid(4 * (s + a) - 4)
  local fell = orrery.less(orrery.rand(n, 1), chance)
  return { observation = s, action = a, next_observation = orrery.where(fell, -3, s + 0.5 * a),
           terminated = fell:reshape(n), chance = chance }
end
local data, fresh = transitions(3000, 1), transitions(3000, 2)

local function new_model(events, options)
  local o = { observation = observation, action = action, members = 2, hidden = { 32, 32 }, seed = 1, events = events,
              events_hidden = { 24 } }
  for name, value in pairs(options or {}) do o[name] = value end
  return orrery.model(o)
end
local training = { epochs = 100, batch = 32 }

-- ---- what is learned

local model = new_model {
  fallen = { label = function(s, _, next) return next.x < -2.9 and s.x > -2.5 end, ends = true },
  right = function(_, _, next) return next.x > 1 end,
}
assert(#model.event_names == 2 and model.event_names[1] == "fallen")
local history = model:fit(data, training)
assert(#history.events.train >= 1 and history.events.best[1] < 0.5)
local predicted = model:predict_events(fresh.observation, fresh.action).fallen
assert((predicted - fresh.chance:reshape(-1)):abs():mean() < 0.03)
near(model:predict_events({ 0.5 }, { 0.5 }).fallen[1], probability(0.5, 0.5), 0.1)

local audit = model:audit_events(fresh)
assert(audit:plot().width == 960)
local fallen = audit.fallen
near(fallen.rate, fresh.terminated:to("real"):mean(), 1e-5)
assert(fallen.brier < 0.6 * fallen.baseline and fallen.calibration < 0.03, tostring(audit))
local count = 0
for _, bin in ipairs(fallen.bins) do
  count = count + bin.count
  if bin.count > 200 then near(bin.predicted, bin.frequency, 0.12, "bin") end
end
assert(count == 3000 and tostring(audit):find("fallen: rate", 1, true))
-- a model that has learned nothing is found out
local untrained = new_model { fallen = { terminated = true } }
assert(untrained:audit_events(fresh).fallen.calibration > 0.1)

-- the jump at the end stays out of the dynamics, and in them where it is not said to end anything
local blurred = new_model { fallen = { terminated = true, ends = false } }
blurred:fit(data, training)
local function off(m) return math.abs((m:predict({ { 1 } }, { { 0.5 } })):mean() - 1.25) end
assert(off(model) < 0.1, off(model))
assert(off(blurred) > 0.3, off(blurred))
-- but draws may go where it led
assert(orrery.less_equal(model.noise_low, data.next_observation:min_along(1)):min() == 1)
-- both sources of labels are the same here
local flagged = new_model({ fallen = { terminated = true }, right = function(_, _, next) return next.x > 1 end })
flagged:fit(data, training)
assert((flagged:predict_events(fresh.observation, fresh.action).fallen - predicted):abs():max() == 0)
local plain = new_model { fallen = { label = orrery.interpret(function(s, _, next) return next.x < -2.9 and s.x > -2.5 end) },
                          right = function(_, _, next) return next.x > 1 end }
assert((plain.events:labels(data) - model.events:labels(data)):abs():max() == 0)
-- without events everything is as it was, to the bit
local bare, other = new_model(nil), new_model { right = function(_, _, next) return next.x > 1 end }
bare:fit(data, { epochs = 3 })
other:fit(data, { epochs = 3 })
for i, tensor in ipairs((bare.net:parameters())) do
  assert((tensor - other.net:parameters()[i]):abs():max() == 0)
end

-- ---- files

local path = os.tmpname()
model:save(path)
local loaded = new_model { fallen = { terminated = true }, right = function(_, _, next) return next.x > 1 end }
loaded:load(path)
assert((loaded:predict_events(fresh.observation, fresh.action).fallen - predicted):abs():max() == 0)
fails("events: fallen, right in the file, but none here", function() new_model(nil):load(path) end)
os.remove(path)

-- ---- in tasks: by hand, along the mean of the model

model:use_elites { 1 }
local plans = 2 * orrery.rand(12, 4, 1) - 1
local function objective(task, options)
  options = options or { sample = false, horizon = 4 }
  local compiled, settings = model:objective(task, options)
  return orrery.objective.program(compiled.program, settings)
end
local start = { x = 0.4 }
local task = {
  reward = function(_, a, next, _, given) return next.x + 0.1 * a.u - given.right end,
  termination = "fallen", afterwards = -1.5, value = function(s) return 2 * s.x end,
  constraint = { { event = "fallen", below = 0.2 }, { event = "right", below = 0.1 } },
}
local path_of = model:rollout(orrery.tensor { { 0.4 } }:broadcast(12, 1):copy(), plans):slice(1, 1):copy():reshape(12, 4)
for _, propagation in ipairs { "ts_infinity", "expectation" } do
  local returns, violations = objective(task, { horizon = 4, propagation = propagation, sample = false })
    :score(start, plans, { violations = true })
  for i = 1, 12 do
    local x, alive, sum, not_right, went_right = 0.4, 1, 0, 1, 0
    for t = 1, 4 do
      local u, next = plans[{ i, t, 1 }], path_of[{ i, t }]
      local p = model:predict_events({ x }, { u })
      sum = sum + alive * (next + 0.1 * u - p.right[1]) - (1 - alive) * 1.5
      went_right = went_right + not_right * p.right[1]
      not_right = not_right * (1 - p.right[1]) * (1 - p.fallen[1])
      alive, x = alive * (1 - p.fallen[1]), next
    end
    near(returns[i], sum + alive * 2 * x, 2e-3, propagation)
    near(violations[i], math.max(0, 1 - alive - 0.2) + math.max(0, went_right - 0.1), 1e-3, propagation)
  end
end
model:use_elites()
-- a known end and a learned one together; particles that ended spoil nothing
local both = objective({ reward = function() return 1 end, termination = { "fallen", function() return true end } })
for _, value in ipairs(both:score(start, plans):totable()) do near(value, 1, 1e-5) end

-- a planner that is to stay up does not push on towards the edge
local planner = orrery.plan.cem { horizon = 4, population = 100 }
local forward = { reward = function(_, _, next) return next.x end }
local function goes(options)
  options.model, options.planner, options.task = model, planner, options.task or forward
  local mpc = orrery.mpc(options)
  mpc:act { x = 0 }
  return mpc:plan():sum()
end
assert(goes {} > 3)
assert(goes { constraint = { event = "fallen", below = 0.1 } } < 2.5)
assert(goes { task = { reward = function(_, _, next) return next.x end, termination = "fallen", afterwards = -20 } } < 2.5)

-- ---- plans held against the world, which has no learned events, but what they were learned from

local cliff = orrery.env { name = "cliff walk", max_steps = 20, observation = { { "x", low = -3, high = 3 } },
  action = { { "u", low = -1, high = 1 } },
  reset = function(self) self.x = 0.4 return { x = self.x } end,
  step = function(self, a, random)
    local falls = random:uniform() < probability(self.x, a.u)
    self.x = falls and -3 or math.max(-3, math.min(3, self.x + 0.5 * a.u))
    return { x = self.x }, 0, false
  end,
  observe = function(self) return { x = self.x } end,
  get_state = function(self) return { x = self.x } end, set_state = function(self, state) self.x = state.x end,
  state = { "x" } }
local audited = model:audit_plans(cliff, { planner = planner, states = 2, every = 2, noise = 100, particles = 50,
  task = { reward = function(_, _, next, _, given) return next.x - given.gain * given.right end, inputs = { gain = 2 },
    termination = "fallen", afterwards = -20, constraint = { event = "right", below = 0.9 } } })
near(audited.optimised.gap, 0, 1.5, "gap")
assert(audited.optimised.planned > audited.random.planned)

-- ---- mistakes

fails("did you mean 'fallen'", orrery.mpc, { model = model, task = { reward = forward.reward, termination = "falen" } })
fails("did you mean 'fallen'", orrery.mpc, { model = model, task = forward, constraint = { event = "falllen", below = 0.1 } })
fails("an event is learned", orrery.mpc, { model = bare, task = forward, constraint = { event = "fallen", below = 0.1 } })
fails("give a function", new_model, { fallen = {} })
fails("did you mean 'terminated'", new_model, { fallen = { terminatd = true } })
fails("learns no events", function() bare:audit_events(fresh) end)
fails("event 'odd': the label must be true or false, or 1 or 0, not 0.5", function()
  new_model({ odd = function() return 0.5 end }):fit(data, training)
end)
fails("predict_events: actions are missing", function() model:predict_events { 0.4 } end)
fails("audit_events: a replay is needed", function() model:audit_events() end)
fails("needs 'terminated'", function()
  new_model({ fallen = { terminated = true } }):fit({ observation = data.observation, action = data.action,
    next_observation = data.next_observation })
end)
fails("no field 'xx' in s (x)", function() new_model({ odd = function(s) return s.xx > 0 end }):fit(data, training) end)
