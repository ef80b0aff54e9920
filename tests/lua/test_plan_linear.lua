-- Derivatives of a learned model along a plan, with all that a task may have: value, named inputs,
-- known and learned ends; and ilqr on them.
local orrery = require "orrery"

local function near(a, b, tolerance, what)
  local apart = (a - b):abs():max()
  assert(apart <= tolerance, ("%s: %g apart"):format(what, apart))
end

local env = orrery.env "pendulum"
local replay = orrery.replay { env = env }
orrery.seed(1)
replay:collect(orrery.policy.random(env), { steps = 600 })
local model = orrery.model { env = env, members = 3, hidden = { 16, 16 }, seed = 1, events_hidden = { 8 },
  events = { fast = function(_, _, next) return orrery.abs(next.velocity) > 2 end } }
model:fit(replay, { epochs = 10 })

local H = 5
local observation = env:reset(3)
local plan = orrery.rand(H, 1) * 3 - 1.5

local function reward(s, a, next, t, given)
  return next.sin - 0.1 * (next.velocity - given.goal)^2 - 0.05 * a.torque^2 * s.cos - 0.01 * t * a.torque
end
local function goal_alone(s, a, next, t) return reward(s, a, next, t, { goal = 1 }) end
local function value(s, given) return 3 * s.cos * s.velocity - (given and given.goal or 1) * s.velocity^2 end

local tasks = {
  value = { reward = goal_alone, value = value },
  inputs = { reward = reward, value = value, inputs = { goal = 2 } },
  ["a learned end"] = { reward = goal_alone, termination = "fast" },
  ["a learned end, and after it"] = { reward = reward, value = value, inputs = { goal = 0.5 }, afterwards = -2,
    termination = { "fast", function(_, _, next) return next.velocity > 30 end },
    constraint = { event = "fast", below = 0.9 } },
  ["a known end"] = { reward = goal_alone, value = value, termination = function(_, _, _, t) return t >= 4 end },
  ["a reward of an event"] = { reward = function(_, a, _, _, given) return -4 * given.fast - a.torque^2 end,
    inputs = { goal = 1 } },
}

local function objective(task, o)
  o.horizon = H
  local compiled, options = model:objective(task, o)
  return orrery.objective.program(compiled:enter(), options)
end

-- ---- the gradient of the return is the sum of the slopes, carried back through the dynamics

local function carried_back(l)
  local v, list = l.value_s, {}
  for t = H, 1, -1 do
    list[t] = (l.reward_a[t] + orrery.matmul(v, l.next_a[t]))[1]
    v = l.reward_s[t] + orrery.matmul(v, l.next_s[t])
  end
  return orrery.tensor(list)
end

for name, task in pairs(tasks) do
  for _, given in ipairs { { members = { 2 } }, { members = { 1, 2, 3 }, propagation = "expectation" } } do
    model:use_elites(given.members)
    local function with(wanted)
      local o = { propagation = given.propagation, [wanted] = true }
      if not given.propagation then o.sample = false end
      return objective(task, o)
    end
    local l = with("linear"):linearise(observation, plan, { step = 2 })
    local _, gradients = with("gradients"):score(observation, plan:reshape(1, H, 1):copy(),
      { gradients = true, step = 2 })
    assert(gradients:abs():max() > 1e-3, name)
    near(carried_back(l), gradients:reshape(-1), 1e-4 * (1 + gradients:abs():max()), name)
    near(l.reward_ss, l.reward_ss:transpose(1, 3, 2):copy(), 1e-4 * (1 + l.reward_ss:abs():max()), "symmetry")
    -- the probability that the episode goes on is a state's last number
    if task.termination then
      local alive = l.states:slice(4, 4, 2):reshape(-1):totable()
      assert(l.states:size(2) == 4 and alive[1] == 1)
      for t = 2, H + 1 do assert(alive[t] <= alive[t - 1]) end
      assert(alive[H + 1] < 1)
    else
      assert(l.states:size(2) == 3)
    end
  end
end
model:use_elites()

-- ---- the second derivatives of the value: those of a quadratic one, through the last step

do
  model:use_elites { 1 }
  local l = objective({ reward = function() return 0 end, value = function(s) return -s.velocity^2 end },
    { sample = false, linear = true }):linearise(observation, plan)
  local slope = l.next_a[H]:totable()[3][1]
  assert(math.abs(l.reward_aa[H]:totable()[1][1] + 2 * slope^2) < 1e-4 * (1 + slope^2))
  assert(l.reward_aa:slice(1, H - 1):abs():max() == 0)
  model:use_elites()
end

-- ---- ilqr finds what a planner that samples finds, and follows the goal without being made anew

local function worth(task, planner, elites)
  model:use_elites(elites)
  local mpc = orrery.mpc { model = model, task = task, planner = planner, sample = false, seed = 2 }
  local start = env:reset(4)
  mpc:act(start)
  local score = objective(task, { sample = false, particles = #elites })
  return score:score(start, mpc:plan():reshape(1, H, 1):copy()):totable()[1]
end

for name, task in pairs(tasks) do
  local sampled = worth(task, orrery.plan.cem { horizon = H, population = 300, iterations = 10 }, { 2 })
  local here = worth(task, orrery.plan.ilqr { horizon = H }, { 2 })
  assert(here > sampled - 0.02 * (1 + math.abs(sampled)), ("%s: %g, cem %g"):format(name, here, sampled))
end
model:use_elites()

local task = { inputs = { goal = 3 }, value = function(s, given) return -(s.velocity - given.goal)^2 end,
  reward = function(_, a) return -0.001 * a.torque^2 end }
local mpc = orrery.mpc { model = model, task = task, planner = orrery.plan.ilqr { horizon = H }, seed = 2 }
local start = env:reset(4)
assert(mpc:act(start).torque > 0)
mpc:reset()
mpc:set_input("goal", -3)
assert(mpc:act(start).torque < 0)
