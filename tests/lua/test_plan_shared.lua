-- Particles of a plan that have a member in common share the first step of the net. Returns must be
-- those of a rollout that evaluates it for each particle.
local orrery = require "orrery"
local trace = require "orrery.trace"

local observation = orrery.space { { "x", low = -0.8, high = 0.8 }, "y", "z" }
local action = orrery.space { { "u", { 2 }, low = -1, high = 1 } }
local start = { x = 0.3, y = -0.5, z = 0.1 }

local function new_model(options)
  options.observation, options.action = observation, action
  options.hidden, options.seed = { 24, 24 }, 3
  local model = orrery.model(options)
  model.target_scale:assign(orrery.tensor { 0.3, 0.2, 0.1 })
  model.input_mean:assign(orrery.tensor { 0.1, 0, -0.1, 0.2, 0 })
  return model
end

local reward = function(s, a, n, t) return n.x - (s.y - 1) ^ 2 * n.z + 0.1 * a.u[1] + 0.01 * t end
local tasks = {
  plain = { reward = reward },
  ending = { reward = reward, termination = function(_, _, n) return n.x > 0.4 end },
  -- after the first step, for every plan
  once = { reward = reward, termination = function(_, _, _, t) return t < 100 end },
}

-- The return by model:sample alone. `peeled`: the first step stands before the loop, where its draws and those
-- of the others are the ones of a rollout that shares the first step; else all is one loop.
local function reference(model, task, horizon, peeled)
  return trace.program {
    name = "reference",
    inputs = { { name = "state", level = "uniform", shape = { 3 } },
               { name = "plan", level = "row", shape = { horizon, 2 } },
               { name = "time", level = "uniform", shape = {} } },
    fn = function(state, plan, time)
      local function body(carry, now, step)
        local s, a = trace.record(observation, carry.s), trace.record(action, now)
        local next = model:sample(carry.s, now)
        local n, t = trace.record(observation, next), time + carry.t
        local after = { s = next, t = carry.t + 1, alive = carry.alive }
        after.total = carry.total + carry.alive * trace.inline { fn = task.reward, arguments = { s, a, n, t } }
        if task.termination then
          local ended = trace.inline { fn = task.termination, arguments = { s, a, n, t } }
          after.alive = orrery.where(ended, 0, carry.alive)
        end
        return after
      end
      local carry = { s = state, t = 0, total = 0, alive = 1 }
      if peeled then carry = body(carry, plan[1]) end
      if peeled and horizon > 1 then plan = plan:slice(2, horizon) end
      if not (peeled and horizon == 1) then carry = orrery.scan(body, carry, plan) end
      return { ["return"] = carry.total }
    end,
  }
end

local function objective(compiled, options, elites)
  local copy = {}
  for name, value in pairs(options) do copy[name] = value end
  copy.elites = elites or copy.elites
  return orrery.objective.program(compiled.program, copy)
end

local function pair(model, task, horizon, particles, peeled)
  local compiled, options = model:objective(task, { horizon = horizon, particles = particles })
  local function shared() return objective(compiled, options, model.elites) end
  local plain = reference(model, task, horizon, peeled ~= false)
  local first = options.first
  local function unshared()
    options.first = nil
    local made = objective(plain, options, model.elites)
    options.first = first
    return made
  end
  return shared, unshared, first ~= nil
end

local function plans_of(n, horizon)
  return 2 * orrery.rand(n, horizon, 2) - 1
end

local function bits(a, b) return (a - b):abs():max() == 0 end

orrery.seed(1)
local ensemble = new_model { members = 5 }
local single = new_model { members = 1 }

-- ---- the same returns, to rounding; and the same bits on 1, 2 and 3 threads

local threads = orrery.threads()
for _, case in ipairs {
  { ensemble, "plain", 6, 20 }, { ensemble, "ending", 6, 7 }, { ensemble, "once", 6, 7 },
  { ensemble, "plain", 1, 12 }, { ensemble, "ending", 2, 12 }, { single, "ending", 6, 20 },
  { ensemble, "ending", 5, 8, elites = { 4, 1, 5 } }, { ensemble, "plain", 4, 9, elites = { 3 } },
} do
  local model, task, horizon, particles = table.unpack(case)
  model:use_elites(case.elites)
  local shared, unshared, shares = pair(model, tasks[task], horizon, particles)
  assert(shares)
  local one, other = shared(), unshared()
  for _, n in ipairs { 70, 33, 1, 70 } do -- populations shrink
    local plans = plans_of(n, horizon)
    local options = { seed = n, step = 3 }
    local wanted = other:score(start, plans, options)
    local given = one:score(start, plans, options)
    assert(given:close_to(wanted, 1e-5), task)
    for count = 1, 3 do
      orrery.threads(count)
      assert(bits(one:score(start, plans, options), given))
    end
    orrery.threads(threads)
    options.seed = n + 1
    assert(not bits(one:score(start, plans, options), given))
  end
  model:use_elites()
end

-- ---- particles without company share nothing

for _, particles in ipairs { 1, 5 } do
  local _, _, shares = pair(ensemble, tasks.plain, 3, particles)
  assert(not shares)
end
local _, options = new_model { members = 2, probabilistic = false }:objective(tasks.plain, { particles = 8 })
assert(not options.first)
assert(not select(2, ensemble:objective(tasks.plain, { sample = false })).first)

-- ---- without a deviation, or where the first step is all, it is the plain loop; else in distribution

local plans = plans_of(40, 4)
local shared, unshared = pair(ensemble, tasks.ending, 1, 20, false)
assert(shared():score(start, plans:slice(1, 1, 2):copy(), { seed = 2 })
  :close_to(unshared():score(start, plans:slice(1, 1, 2):copy(), { seed = 2 }), 1e-5))

local calm = new_model { members = 5 }
calm.low:fill(-1000)
calm.high:fill(-1000)
shared, unshared = pair(calm, tasks.ending, 4, 20, false)
local wanted = unshared():score(start, plans, { seed = 5 })
assert(shared():score(start, plans, { seed = 6 }):close_to(wanted, 1e-5))

shared, unshared = pair(ensemble, tasks.plain, 4, 4000, false)
local one, other = shared():score(start, plans, { seed = 5 }), unshared():score(start, plans, { seed = 6 })
local apart = (one - other):abs():max()
local again = (shared():score(start, plans, { seed = 7 }) - one):abs():max()
assert(apart > 0 and apart < 4 * again, apart .. " " .. again)

-- ---- a refit: parameters, normalisers and elites change under a compiled pair

local learner = new_model { members = 4 }
shared, unshared = pair(learner, tasks.plain, 4, 10)
one, other = shared(), unshared()
for round = 1, 3 do
  for _, tensor in ipairs((learner.net:parameters())) do tensor:assign(tensor + 0.1 * orrery.randn(tensor:shape())) end
  learner.target_mean:assign(0.05 * orrery.randn(3))
  learner.high:assign(learner.high - 0.3)
  local before = one:score(start, plans, { seed = 1 })
  assert(before:close_to(other:score(start, plans, { seed = 1 }), 1e-5))
  learner:use_elites(({ { 2, 4, 1 }, { 3 }, { 1, 2, 3, 4 } })[round])
  one, other = shared(), unshared()
  local given = one:score(start, plans, { seed = 1 })
  assert(given:close_to(other:score(start, plans, { seed = 1 }), 1e-5))
  assert(not bits(given, before))
end

-- ---- a state that is not finite ranks a plan last, also where the reward does not look at it

for _, task in ipairs { { reward = function(_, a) return a.u[1] end },
                        { reward = function() return 1 end, termination = function() return true end } } do
  local broken = new_model { members = 2 }
  broken.target_mean:fill(0 / 0)
  local bad = pair(broken, task, 3, 6)():score(start, plans:slice(1, 3, 2):copy())
  for i = 1, 40 do assert(bad[i] ~= bad[i]) end
end

-- ---- rewards in plain Lua see the same states

ensemble:take_as_fitted()
local function act(task, particles)
  local mpc = orrery.mpc {
    model = ensemble, task = task, particles = particles, seed = 4,
    planner = orrery.plan.cem { horizon = 4, population = 40, iterations = 2 },
  }
  return mpc:act(start).u
end
for _, name in ipairs { "plain", "ending", "once" } do
  local task = tasks[name]
  local marked = { reward = orrery.interpret(task.reward), termination = task.termination }
  local compiled, called = act(task, 8), act(marked, 8)
  for i = 1, 2 do assert(math.abs(compiled[i] - called[i]) < 1e-3, name) end
end

-- ---- what does not fit together is refused

local function fails(message, first)
  local compiled, settings = ensemble:objective(tasks.plain, { horizon = 3, particles = 8 })
  settings.first = trace.program(first).program
  local ok, problem = pcall(objective, compiled, settings)
  assert(not ok and problem:find(message, 1, true), problem)
end
local plan = { name = "plan", level = "row", shape = { 3, 2 } }
fails("output 'mean' of the first program",
  { inputs = { plan }, fn = function(p) return { mean = p[1] } end })
fails("output 'first_mean' of the first program",
  { inputs = { plan }, fn = function(p) return { first_mean = p[1] } end })
plan.shape = { 4, 2 }
fails("other shapes", { inputs = { plan }, fn = function(p) return { first_mean = p[1] } end })
