-- A warm mpc allocates nothing, whatever plans and whatever scores: every planner on learned models (TS-infinity, TS1,
-- and with the derivatives that it wants) and on the simulator, populations that shrink at every iteration included.
local orrery = require "orrery"

local env = orrery.env "pendulum"
local replay = orrery.replay { env = env }
orrery.seed(1)
replay:collect(orrery.policy.random(env), { steps = 200 })
local model = orrery.model { env = env, members = 3, hidden = { 8 }, seed = 1 }
model:fit(replay, { epochs = 2 })

local function reward(_, a, next) return next.cos - 0.1 * next.velocity^2 - 0.01 * a.torque^2 end
local full = {
  reward = reward,
  value = function(s) return s.cos end,
  constraint = { event = function(_, _, next) return next.velocity > 5 end, below = 0.5 },
}

local function allocations() return select(2, orrery.memory()) end

local function expect_none(what, options)
  options.seed = 1
  local mpc = orrery.mpc(options)
  local observation = env:reset(1)
  for _ = 1, 2 do mpc:act(observation) end
  local before = allocations()
  for _ = 1, 4 do mpc:act(observation) end
  local more = allocations() - before
  mpc:close()
  assert(more == 0, ("%s: %d allocations in 4 calls"):format(what, more))
end

local planners, planner_count = {}, 0
for _, listed in ipairs(orrery.planners()) do
  local options, known = {}, {}
  for _, option in ipairs(listed.options) do known[option.name] = true end
  options.horizon = 4
  if known.iterations then options.iterations = 4 end
  if listed.name ~= "enumerated_shooting" and listed.name ~= "ilqr" then options.population = 20 end
  table.insert(planners, { listed.name, orrery.plan[listed.name](options) })
  planner_count = planner_count + 1
end
-- 20 populations, all different; and elites that climb after populations
local shrinking = { horizon = 4, population = 400, iterations = 20, decay = 1.15, elites = 4 }
table.insert(planners, { "icem of 20 iterations", orrery.plan.icem(shrinking) })
table.insert(planners, { "cem, refined", orrery.plan.cem { horizon = 4, population = 40, iterations = 2, refine = 3 } })

local cases = 0
for _, named in ipairs(planners) do
  local name, planner = named[1], named[2]
  local wants = orrery.planner_wants(planner)
  for _, task in ipairs { { reward = reward }, full } do
    local on = task == full and ", with value and constraint" or ""
    expect_none(name .. " on the simulator" .. on, { env = env, task = task, planner = planner, particles = 2 })
    if not (wants == "linearisation" and task == full) then -- it has no constraints or value of a model's
      expect_none(name .. " on a model" .. on, { model = model, task = task, planner = planner, particles = 6 })
      cases = cases + 1
    end
    if not wants then
      expect_none(name .. " with TS1" .. on,
        { model = model, task = task, planner = planner, particles = 6, propagation = "ts1" })
    end
  end
end
assert(cases >= 2 * planner_count - 1, "every planner was tried")
