-- Parts of a task beyond its reward: goals that change, side constraints, a value at the horizon, a policy; in a learned
-- model and on the environment itself.
local orrery = require "orrery"
local fails = require "tests.lua.fails"

local function near(a, b, tolerance, what)
  assert(math.abs(a - b) <= tolerance, ("%s: %g, not %g"):format(what or "", a, b))
end

-- A walker on a line: x' = x + u; at x > 3 the episode is over.
local walker = orrery.env {
  name = "walker", observation = { { "x", low = -10, high = 10 } }, action = { { "u", low = -1, high = 1 } },
  state = { "x" },
  reset = function(self)
    self.x = 0
    return { x = 0 }
  end,
  step = function(self, a)
    self.x = self.x + a.u
    return { x = self.x }, self.x, self.x > 3
  end,
  observe = function(self) return { x = self.x } end,
}
local start = walker:reset(1)
local plans = 2 * orrery.rand(30, 5, 1) - 1
plans:slice(1, 1):fill(1) -- ends with its fourth step
plans:slice(2, 2):assign(orrery.tensor { 1, 1, 0.5, 0.25, 1 }:reshape(1, 5, 1)) -- ... with its last

-- ---- by hand, on the environment

local task = {
  reward = function(_, a, next, t, given) return (next.x - given.goal) ^ 2 - a.u + 0.1 * t end,
  termination = function(_, _, next) return next.x < -1.5 end,
  afterwards = -2, inputs = { goal = 0.5 },
  value = function(s, given) return 3 * s.x + given.goal end,
  constraint = { { event = function(_, _, next) return next.x > 1 end, below = 0.25 },
                 { event = function(_, a) return orrery.where(a.u > 0, 0.125, 0) end, below = 0.1 } },
}
local function by_hand(i, goal)
  local x, sum, over, happened, none, ended = 0, 0, false, 0, 1, false
  for t = 1, 5 do
    local u = plans[{ i, t, 1 }]
    if ended then sum = sum - 2
    else
      x = x + u
      sum = sum + (x - goal) ^ 2 - u + 0.1 * (t + 5)
      if x > 1 then happened = 1 end
      if u > 0 then none = none * 0.875 end
      ended = x > 3 or x < -1.5
    end
  end
  if not ended then sum = sum + 3 * x + goal end
  return sum, math.max(0, happened - 0.25) + math.max(0, 1 - none - 0.1)
end
local mpc = orrery.mpc { env = walker, task = task, planner = orrery.plan.cem { horizon = 5, population = 20 } }
local objective = mpc:objective()
local function compare(goal)
  local returns, violations = objective:score(start, plans, { step = 6, violations = true })
  for i = 1, 30 do
    local wanted, violation = by_hand(i, goal)
    near(returns[i], wanted, 1e-4, "return of plan " .. i)
    near(violations[i], violation, 1e-5, "violation of plan " .. i)
  end
end
compare(0.5)
mpc:set_input("goal", -2)
compare(-2)
-- fewer plans than before
near(objective:score(start, plans:slice(1, 3):copy(), { step = 6 })[3], (by_hand(3, -2)), 1e-4)
-- the environment's own reward, with constraints alone
local own = orrery.mpc { env = walker, constraint = task.constraint[1], planner = orrery.plan.cem { horizon = 5 } }
local returns, violations = own:objective():score(start, plans, { violations = true })
near(returns[1], 1 + 2 + 3 + 4, 1e-5)
near(violations[1], 0.75, 1e-5)
-- an input that is a tensor is that tensor, whoever writes to it
local wanted = orrery.tensor { 0.5 }
local follower = orrery.mpc { env = walker, planner = orrery.plan.cem { horizon = 2 },
  task = { reward = function(_, _, next, _, given) return -(next.x - given.wanted[1]) ^ 2 end, inputs = { wanted = wanted } } }
local there = walker:reset(1)
local function worth() return follower:objective():score(there, orrery.zeros(1, 2, 1))[1] end
local before = worth()
wanted[1] = 40
assert(worth() < before - 1000)

-- where no plan keeps it, the note says so
local hopeless = orrery.mpc { env = walker, constraint = { event = function() return true end, below = 0.01 },
  planner = orrery.plan.cem { horizon = 5 } }
assert(select(2, hopeless:act(walker:reset(1))) == "breaks a constraint" and hopeless:statistics().violations == 1)
assert(select(2, own:act(walker:reset(1))) == nil and own:statistics().violations == 0)

-- a planner keeps to the constraint: the best plan goes no further than 1
local kept = orrery.mpc { env = walker, constraint = { event = function(_, _, next) return next.x > 1 end, below = 0.5 },
  planner = orrery.plan.cem { horizon = 5, population = 200 } }
kept:act(start)
local x = 0
for t = 1, 5 do
  x = x + kept:plan()[{ t, 1 }]
  assert(x < 1.1, x)
end
assert(x > 0.6, x)

-- ---- a changing goal compiles nothing anew: as an input, as a captured tensor, as a captured number

local model = orrery.model { env = walker, members = 2, hidden = { 16 }, seed = 1, bounded = false }
local replay = orrery.replay { env = walker }
orrery.seed(1)
replay:collect(orrery.policy.random(walker), { steps = 1000, seed = 1 })
model:fit(replay, { epochs = 60, batch = 32 })

local compiles, compile = 0, orrery.trace_core.compile
orrery.trace_core.compile = function(...)
  compiles = compiles + 1
  return compile(...)
end
local tensor_goal, number_goal = orrery.tensor { 1 }, 1
local planner = orrery.plan.cem { horizon = 4, population = 100 }
local ways = {
  input = { { reward = function(_, _, next, _, given) return -(next.x - given.goal) ^ 2 end, inputs = { goal = 1 } },
            function(m, goal) m:set_input("goal", goal) end },
  tensor = { { reward = function(_, _, next) return -(next.x - tensor_goal[1]) ^ 2 end },
             function(_, goal) tensor_goal:fill(goal) end },
  number = { { reward = function(_, _, next) return -(next.x - number_goal) ^ 2 end },
             function(_, goal) number_goal = goal end },
}
for _, name in ipairs { "input", "tensor", "number" } do
  local way = ways[name]
  local m = orrery.mpc { model = model, task = way[1], planner = planner }
  local function first_action(goal)
    way[2](m, goal)
    m:reset(1)
    return m:act(start).u
  end
  assert(first_action(1) > 0.5 and first_action(-1) < -0.5, name)
  local before = compiles -- a number becomes an input when it first changes
  for goal = 1, 5 do assert(first_action(goal) > 0.5 and first_action(-goal) < -0.5, name) end
  assert(compiles == before, name)
  if name == "input" then -- an objective that is made anew keeps it
    local old = m:objective()
    model:use_elites { 1 }
    assert(m:act(start).u < 0 and m:objective() ~= old)
    model:use_elites()
  end
end
orrery.trace_core.compile = compile

-- ---- a policy proposes what it does in the model, within bounds, with draws of its own

local function proposals(policy, inputs)
  local compiled, settings = model:objective({ reward = function() return 0 end, policy = policy, inputs = inputs },
    { horizon = 6 })
  return orrery.objective.program(compiled.program, settings)
end
local proposer = proposals(function(s, given) return { u = -2 * (s.x - given.goal) } end, { goal = 0.75 })
local plan = proposer:propose({ x = 0 }, 3)
near(plan[{ 1, 1, 1 }], 1, 1e-6) -- 1.5, within bounds
near(plan[{ 1, 2, 1 }], -0.5, 0.3) -- from where the model is then
assert((plan:slice(1, 1) - plan:slice(2, 2)):abs():max() == 0)
proposer:set_input("goal", -0.25)
near(proposer:propose({ x = 0 }, 1)[{ 1, 1, 1 }], -0.5, 1e-5)
local drawn = proposals(function() return 0.3 * orrery.randn() end):propose({ x = 0 }, 200, { seed = 4 })
near(drawn:mean(), 0, 0.05)
near(drawn:std(), 0.3, 0.03)
-- of several states
local many = proposals(function(s) return s.x end):propose(orrery.tensor { { 0.25 }, { -0.5 } }, 4)
for i, u in ipairs { 0.25, 0.25, -0.5, -0.5 } do near(many[{ i, 1, 1 }], u, 1e-6) end
fails("no policy", function() mpc:objective():propose(start, 2, { horizon = 5 }) end)

-- ---- a value may call a net

local net = orrery.nn.mlp { inputs = 1, outputs = 1, hidden = { 4 }, seed = 2 }
local with_net = orrery.mpc { model = model, planner = planner, task = { reward = function() return 0 end },
  value = function(s) return net(s:vector())[1] end, sample = false, propagation = "expectation" }
local one = 2 * orrery.rand(1, 4, 1) - 1
local reached = model:rollout({ { 0 } }, one)
local last = (reached[{ 1, 1, 4, 1 }] + reached[{ 2, 1, 4, 1 }]) / 2
near(with_net:objective():score({ x = 0 }, one)[1], net(orrery.tensor { last })[1], 2e-2)

-- ---- mistakes

fails("value must be a function", orrery.mpc, { env = walker, value = 3 })
fails("an input cannot be called 'plan'", orrery.mpc,
  { env = walker, task = { reward = function() return 0 end, inputs = { plan = 1 } } })
fails("no field 'gaol'", orrery.mpc, { env = walker, task = { inputs = { goal = 1 },
  reward = function(_, _, _, _, given) return given.gaol end } })
fails("in plain Lua", orrery.mpc, { model = model, planner = planner,
  task = { reward = orrery.interpret(function() return 0 end), value = function() return 0 end } })
