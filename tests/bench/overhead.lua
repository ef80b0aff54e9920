--- What is not arithmetic: the cost of a call, of planning with a tiny model, and of rewards.
---
---   make bench-overhead
local orrery = require "orrery"
package.path = "tests/bench/?.lua;" .. package.path
local timing = require "timing"
local trace = require "orrery.trace"

local options = orrery.options {
  seconds = 0.5,   -- for each figure
}

local function show(what, seconds, f, goal)
  print(("  %-58s %9.2f us %5.1f allocations%s"):format(what, 1e6 * seconds, timing.allocations(f),
    goal and ("   goal %s"):format(goal) or ""))
end

local function measure(what, f, goal)
  local seconds = timing.seconds(f, options.seconds)
  show(what, seconds, f, goal)
  return seconds
end

-- ---- calls of compiled functions, with hardly any arithmetic in them

local function calls()
  print "one call"
  local x, y = orrery.randn(1, 4), orrery.randn(1, 4)
  local program = trace.program {
    name = "add", inputs = { { name = "x", shape = { 4 } }, { name = "y", shape = { 4 } } },
    fn = function(a, b) return a + b end,
  }
  local inputs, rows = { x = x, y = y }, { rows = 1 }
  measure("a program", function() program:run(inputs, rows) end, "2 us")
  local add = orrery.rowwise(function(a, b) return a + b end)
  measure("orrery.rowwise", function() add(x, y) end, "2 us")
  local net = orrery.nn.mlp { inputs = 4, outputs = 1, hidden = { 8 } }
  measure("a net of 4 -> 8 -> 1, one row", function() net(x) end)
  local update = orrery.update {
    nets = { net }, loss = function(b) return orrery.nn.mse(net(b.x), b.y) end,
  }
  local batch = { x = x, y = orrery.randn(1, 1) }
  measure("a training step of it", function() update:step(batch) end)
  measure("tensor arithmetic, for comparison: x + y", function() return x + y end)
end

-- ---- planning with a tiny model

local function tiny_mpc(iterations)
  local model = orrery.model {
    observation = orrery.space { { "x", { 4 } } }, action = orrery.space { { "u", low = -1, high = 1 } },
    members = 1, hidden = { 32 }, probabilistic = false,
  }:take_as_fitted()
  local reward = function(s, a) return -s.x[1]^2 - 0.1 * a.u^2 end
  return orrery.mpc {
    model = model, task = reward,
    planner = orrery.plan.cem { horizon = 10, population = 64, iterations = iterations, minimum_variance = 0 },
  }
end

local function planning()
  local observation = { x = orrery.zeros(4) }
  print "\nmpc:act, one net of 32, 64 plans of 10 steps"
  local one, five = tiny_mpc(1), tiny_mpc(5)
  local act = measure("5 iterations", function() five:act(observation) end)
  local single = measure("1 iteration", function() one:act(observation) end)
  local iteration = (act - single) / 4
  local objective, plans = five:objective(), orrery.randn(64, 10, 1)
  local scoring = measure("objective:score of 64 plans", function() objective:score(observation, plans) end)
  print(("  so an iteration is %.1f us, of which scoring %.1f; what comes once, %.1f us"):format(
    1e6 * iteration, 1e6 * math.min(scoring, iteration), 1e6 * math.max(0, single - iteration)))
end

-- ---- rewards: 150,000 evaluations are one iteration of planning in the case "pets"

local STATES, ACTIONS, EVALUATIONS = 17, 6, 500 * 20 * 15

local function reward(next, action)
  local u = action[1]^2 + action[2]^2 + action[3]^2 + action[4]^2 + action[5]^2 + action[6]^2
  return -(next[1]^2 + 0.1 * next[2]^2 + 0.001 * u)
end

local function pets_iteration()
  local model = orrery.model {
    observation = orrery.space { { "x", { STATES } } },
    action = orrery.space { { "u", { ACTIONS }, low = -1, high = 1 } },
    members = 5, hidden = { 200, 200, 200, 200 },
  }:take_as_fitted()
  local mpc = orrery.mpc {
    model = model, task = function(_, a, next) return reward(next.x, a.u) end, particles = 20,
    planner = orrery.plan.cem { horizon = 15, population = 500, iterations = 1 },
  }
  local observation = { x = orrery.zeros(STATES) }
  return timing.seconds(function() mpc:act(observation) end, 2)
end

-- Seconds of a rollout of some rows whose state only shrinks, with the reward `gain`.
local function rollout(rows, steps, gain)
  local program = trace.program {
    name = "rollout",
    inputs = { { name = "s", shape = { STATES } }, { name = "plan", shape = { steps, ACTIONS } } },
    fn = function(s, plan)
      return (orrery.scan(function(carry, a)
        local next = 0.99 * carry.s
        return { s = next, total = carry.total + gain(next, a) }
      end, { s = s, total = 0 }, plan)).total
    end,
  }
  local inputs = { s = orrery.randn(rows, STATES), plan = orrery.randn(rows, steps, ACTIONS) }
  return timing.seconds(function() program:run(inputs) end, options.seconds)
end

local function rewards()
  print "\nrewards"
  local rows, steps = 1000, 20
  local with = rollout(rows, steps, reward)
  local without = rollout(rows, steps, function(next, a) return next[1] + a[1] end)
  local in_program = (with - without) / (rows * steps)
  local s, a = orrery.randn(STATES):totable(), orrery.randn(ACTIONS):totable()
  local in_lua = timing.seconds(function()
    for _ = 1, 1000 do reward(s, a) end
  end, options.seconds) / 1000
  local step = pets_iteration()
  print(("  traced %.2f ns, plain Lua on kept tables %.1f ns an evaluation: %.0f times   goal 100")
    :format(1e9 * in_program, 1e9 * in_lua, in_lua / in_program))
  print(("  traced: %.2f %% of an iteration of pets, %.1f ms   goal under 2 %%"):format(
    100 * in_program * EVALUATIONS / step, 1e3 * step))
end

local threads = orrery.threads()
for _, n in ipairs(threads > 1 and { 1, threads } or { 1 }) do
  orrery.threads(n)
  print(("==== %d thread%s"):format(n, n > 1 and "s" or ""))
  calls()
  planning()
  rewards()
end
