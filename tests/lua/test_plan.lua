-- Planners and the mpc in Lua, on environments and functions.
local orrery = require "orrery"
local fails = require "tests.lua.fails"

-- ---- planners are checked when they are written

local cem = orrery.plan.cem { horizon = 10, population = 50 }
assert(cem.horizon == 10 and cem.population == 50 and cem.iterations == 5 and cem.alpha == 0.1)
assert(tostring(cem):find("^cem { horizon = 10"))
fails("did you mean 'horizon'", orrery.plan.cem, { horzon = 10 })
fails("population", orrery.plan.cem, { population = 1 })
fails("population", orrery.plan.cem, { population = 2.5 })
fails("alpha", orrery.plan.cem, { alpha = "much" })
fails("did you mean 'cem'", function() return orrery.plan.cme {} end)
local listed = {}
for _, planner in ipairs(orrery.planners()) do
  listed[planner.name] = true
  local made = orrery.plan[planner.name] {}
  for _, option in ipairs(planner.options) do assert(made[option.name] == option.value) end
end
assert(listed.cem and listed.random_shooting)

-- ---- a function as an objective

local action = orrery.space { { name = "push", shape = { 2 }, low = -1, high = 1 } }
local calls = 0
local objective = orrery.objective.fn(function(observation, plans)
  assert(observation == nil)
  calls = calls + 1
  return -(plans - 0.5):square():sum(-1):sum(-1)
end, { action = action })
local mpc = orrery.mpc { objective = objective, planner = orrery.plan.cem { horizon = 2, minimum_variance = 0 } }
local push = mpc:act().push
assert(math.abs(push[1] - 0.5) < 0.05 and math.abs(push[2] - 0.5) < 0.05)
assert(calls == 5)
assert(mpc:plan():size(1) == 2 and mpc:plan():size(2) == 2)
local returns = objective:score(nil, orrery.full(0.25, 3, 2, 2))
assert(returns:size(1) == 3 and math.abs(returns[2] + 4 * 0.0625) < 1e-6)

-- errors inside come out with the script's line; the mpc is usable afterwards
local broken = true
local brittle = orrery.objective.fn(function(_, plans)
  if broken then error("out of cheese") end
  return plans:sum(-1):sum(-1)
end, { action = action })
mpc = orrery.mpc { objective = brittle, planner = orrery.plan.cem { horizon = 2 } }
local message = fails("out of cheese", mpc.act, mpc)
assert(message:find("test_plan.lua:%d+"))
broken = false
assert(mpc:act().push[1] > 0.8)
fails("20 numbers for 400 plans", function()
  orrery.mpc { objective = orrery.objective.fn(function() return orrery.zeros(20) end, { action = action }) }:act()
end)
fails("returned nothing", function()
  orrery.mpc { objective = orrery.objective.fn(function() end, { action = action }) }:act()
end)
fails("action space", orrery.objective.fn, function() end)
local inner
inner = orrery.mpc { objective = orrery.objective.fn(function(_, plans)
  inner:act()
  return plans:sum(-1):sum(-1)
end, { action = action }) }
fails("scores it", inner.act, inner)
local closing
closing = orrery.mpc { objective = orrery.objective.fn(function(_, plans)
  closing:close()
  return plans:sum(-1):sum(-1)
end, { action = action }) }
fails("closed by a function", closing.act, closing)
fails("closed", closing.act, closing)

-- all plans bad: the safe action, said so
mpc = orrery.mpc {
  objective = orrery.objective.fn(function(_, plans) return orrery.full(0 / 0, plans:size(1)) end, { action = action }),
  safe_action = { push = { 0.1, -0.2 } },
}
local safe, note = mpc:act()
assert(note == "safe action" and math.abs(safe.push[2] + 0.2) < 1e-6)
local statistics = mpc:statistics()
assert(statistics.fallbacks == 1 and statistics.non_finite == 2000 and statistics.scored == 2000)

-- ---- the true dynamics of an environment

local env = orrery.env "pendulum"
local function first_actions(options, seed)
  options.env, options.planner = env, options.planner or orrery.plan.cem { horizon = 10, population = 40 }
  local controller, list = orrery.mpc(options), {}
  local observation = env:reset(3)
  controller:reset(seed)
  for i = 1, 5 do
    local taken = controller:act(observation)
    list[i] = taken.torque
    observation = env:step(taken)
  end
  return list, controller
end

local function same(a, b, within)
  for i = 1, #a do
    if math.abs(a[i] - b[i]) > (within or 0) then return false end
  end
  return true
end

local own, controller = first_actions({}, 7)
assert(same(own, (first_actions({}, 7))) and not same(own, (first_actions({}, 8))))
statistics = controller:statistics()
assert(statistics.acts == 5 and statistics.iterations <= 25 and statistics.max >= statistics.p50)

-- the environment's own reward, written as a task: compiled, and in plain Lua
local function reward(s, a)
  local angle = math.atan(s.sin, s.cos)
  return -(angle ^ 2 + 0.1 * s.velocity ^ 2 + 0.001 * a.torque ^ 2)
end
local compiled = first_actions({ task = { reward = reward } }, 7)
local plain = first_actions({ task = { reward = orrery.interpret(reward) } }, 7)
assert(same(own, compiled, 1e-2) and same(own, plain, 1e-2))

-- t counts steps from 0, next is what follows, and a termination ends what counts
local seen = {}
local function watched(s, a, next, t)
  seen[t] = true
  return next.velocity - s.velocity
end
first_actions({ task = { reward = orrery.interpret(watched) },
                planner = orrery.plan.random_shooting { horizon = 2, population = 3 } }, 1)
for t = 0, 5 do assert(seen[t]) end
assert(not seen[6])
for _, mark in ipairs { function(f) return f end, orrery.interpret } do
  local ended = orrery.mpc {
    env = env, planner = orrery.plan.random_shooting { horizon = 4, population = 3 },
    task = { reward = mark(function() return 1 end), termination = mark(function(_, _, _, t) return t >= 1 end) },
  }
  local scored = ended:objective():score(env:reset(1), orrery.zeros(1, 4, 1))
  assert(scored[1] == 2, tostring(scored))
end

-- numbers that a reward captured are looked at again at every act
local wanted = 1
local turn = orrery.mpc { env = env, task = { reward = function(_, a) return wanted * a.torque end },
                          planner = orrery.plan.cem { horizon = 2 } }
local observation = env:reset(1)
assert(turn:act(observation).torque > 1.5)
wanted = -1
turn:reset() -- a mean at its bound takes several plans to leave it
assert(turn:act(observation).torque < -1.5)

-- stepping another environment than the one that plans are tried on does not go unnoticed
fails("step that environment", orrery.evaluate, orrery.env "pendulum", orrery.mpc { env = env })
local lax = orrery.mpc { objective = orrery.objective.env(env, { any_observation = true }),
                         planner = orrery.plan.cem { horizon = 2 } }
lax:act { cos = 0.5, sin = 0.5, velocity = 3 }

-- an environment written in Lua
local walk = orrery.env {
  name = "walk", observation = { { name = "x" } }, state = { { name = "x" } },
  action = { { name = "push", low = -1, high = 1 } }, max_steps = 20,
  reset = function(self) self.x = 0; return { x = 0 } end,
  step = function(self, a) self.x = self.x + a.push; return { x = self.x }, -(self.x - 3) ^ 2, false end,
  observe = function(self) return { x = self.x } end,
}
local walker = orrery.mpc { env = walk, planner = orrery.plan.cem { horizon = 4, population = 40 } }
local walked = orrery.evaluate(walk, walker, { episodes = 1 })
assert(walked.mean > -8, tostring(walked))

-- ---- what is refused

fails("one of model, env and objective", orrery.mpc, {})
fails("one of model, env and objective", orrery.mpc, { env = env, objective = objective })
fails("did you mean 'planner'", orrery.mpc, { env = env, planer = cem })
fails("a planner is wanted", orrery.mpc, { env = env, planner = env })
fails("function `reward`", orrery.mpc, { env = env, task = { rewrad = 1 } })
fails("velocity", orrery.mpc, { env = env, task = { reward = function(s) return s.velocty end } })
fails("velocity", function() orrery.mpc { env = env }:act { cos = 1, sin = 0 } end)
fails("3 numbers are wanted", function() orrery.mpc { env = env }:act(orrery.zeros(4)) end)
fails("population", orrery.mpc, { env = env, planner = setmetatable({ population = 0 }, { __index = cem }) })
