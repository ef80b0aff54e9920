-- Rewards of time: t is a whole number from 0, so that a reward may look up what is wanted at that time.
local orrery = require "orrery"

local env = orrery.env "point_mass"
local steps = 20
local reference = orrery.zeros(steps, 2)
local task = { reward = function(_, _, next, t)
  local apart = next.achieved_goal - reference[orrery.min(t + 1, steps)]
  return -orrery.sum(apart * apart)
end }

-- one state, plans of no force: the return is the sum over the reference's rows from that step on, and after
-- the last row over that
local function wanted(objective, step)
  env:reset(1)
  env:set_state { position = { 0.5, 0.7 }, velocity = { 0, 0 }, goal = { 0, 0 } }
  local observation = env:set_state(env:state())
  return objective:score(observation, orrery.zeros(1, 3, 2), { step = step }):item()
end
local planner = orrery.plan.cem { horizon = 3, population = 20 }
local replay = orrery.replay { env = env }
orrery.seed(1)
replay:collect(orrery.policy.random(env), { steps = 200 })
local model = orrery.model { env = env, members = 1, hidden = { 8 }, probabilistic = false }
model:fit(replay, { epochs = 1 })
for _, source in ipairs { { env = env }, { model = model } } do
  source.task, source.planner = task, planner
  local objective = orrery.mpc(source):objective()
  local rows = {}
  for i = 1, steps do rows[i] = { 0.5, 0.7 } end
  reference:assign(orrery.tensor(rows))
  local here = wanted(objective, 4)
  assert(here <= 0 and (source.model or here > -1e-9), here)
  local function raised(row, step) -- how much worse it is with that row two metres away
    rows[row][1] = 2.5
    reference:assign(orrery.tensor(rows)) -- swapped, and nothing is compiled again
    local change = here - wanted(objective, step)
    rows[row][1] = 0.5
    reference:assign(orrery.tensor(rows))
    return change
  end
  local near = source.model and 1 or 1e-4
  assert(raised(4, 4) == 0 and raised(8, 4) == 0) -- rows 5, 6 and 7 count
  for row = 5, 7 do assert(math.abs(raised(row, 4) - 4) < near, raised(row, 4)) end
  assert(math.abs(raised(20, 18) - 8) < 2 * near, raised(20, 18)) -- rows 19, 20, 20
end

-- past the end plain Lua raises: such a reward is refused when it is made
local done, message = pcall(orrery.mpc, { env = env, planner = planner, task = function(_, _, next, t)
  return -orrery.sum(next.achieved_goal - reference[t + 1])
end })
assert(not done and message:find "20x2 has no entry %d+", message)

-- probes around numbers in the source are whole as well
local timed = orrery.mpc { env = env, planner = planner, task = function(_, _, next, t)
  if t > 6.5 then return 0 end
  return next.achieved_goal[1] * reference[t + 1][1]
end }
assert(timed:act(env:reset(1)))
