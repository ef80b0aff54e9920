-- A Q-function as an objective: its best action by any planner, from one state and from many.
local orrery = require "orrery"

local env = orrery.env "reacher"
-- the torques should be the first two numbers of the goal, halved
local function q(s, a) return -orrery.square(a.torque - 0.5 * s.desired_goal):sum() end
local objective = orrery.q_objective(q, { env = env })
local observation = env:reset(4)
local wanted = (0.5 * observation.desired_goal):totable()
for _, planner in ipairs { orrery.plan.cem { horizon = 1, minimum_variance = 1e-6 },
                           orrery.plan.gradient { horizon = 1 } } do
  local torque = orrery.mpc { objective = objective, planner = planner }:act(observation).torque
  for i = 1, 2 do
    assert(math.abs(torque[i] - wanted[i]) < 0.03, ("%s: %g, not %g"):format(planner, torque[i], wanted[i]))
  end
end

-- a net is read live
local critic = orrery.nn.mlp { inputs = 2, outputs = 1, hidden = {}, seed = 1 }
local space = orrery.space { { name = "u", low = -1, high = 1 } }
local learned = orrery.q_objective(function(s, a) return critic(orrery.concat { s.u, a.u })[1] end,
  { observation = space, action = space })
local plans = orrery.tensor { { { 0.5 } }, { { -1 } } }
for _, weight in ipairs { 3, -2 } do
  critic:parameters()[1]:assign(orrery.tensor { { 1 }, { weight } })
  local scores = learned:score({ u = 0.25 }, plans)
  assert(math.abs(scores[1] - scores[2] - 1.5 * weight) < 1e-5)
end

-- many states at once
local batch = orrery.mpc { objective = learned, planner = orrery.plan.cem { horizon = 1 }, batch = 3 }
local actions = batch:act_many(orrery.tensor { { 0 }, { 1 }, { -1 } })
for i = 1, 3 do assert(actions[i][1] < -0.9) end

local ok, message = pcall(orrery.q_objective, q, {})
assert(not ok and message:find "env = env")
ok, message = pcall(orrery.q_objective, nil, { env = env })
assert(not ok and message:find "not nothing")
