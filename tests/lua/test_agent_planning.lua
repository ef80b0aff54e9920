-- A learner's value and policy in a planner: at the end of plans and as proposals, in a learned model and on the true
-- dynamics; as the nets are at the time of the plan.
local orrery = require "orrery"

local env, H = orrery.env "pendulum", 4
local task = orrery.tasks.pendulum()

local replay = orrery.replay { env = env }
replay:collect(orrery.policy.random(env), { steps = 400, seed = 1 })
local model = orrery.model { env = env, members = 1, hidden = { 16 }, probabilistic = false }
model:fit(replay, { epochs = 5 })

local function given(agent, options)
  return { task = { reward = task.reward, value = agent:value(), policy = agent:policy(options) },
           planner = orrery.plan.cem { horizon = H, population = 16, elites = 4, iterations = 1, proposals = 2 } }
end
local function in_model(agent, options)
  local o = given(agent, options)
  o.model, o.particles = model, 1
  return orrery.mpc(o)
end
local function in_env(agent, options)
  local o = given(agent, options)
  o.env = env
  return orrery.mpc(o)
end

local function near(a, b, what)
  assert(math.abs(a - b) < 1e-3 * math.max(1, math.abs(b)), ("%s: %g, not %g"):format(what, a, b))
end

local function reward(x, u) return -(math.atan(x[2], x[1]) ^ 2 + 0.1 * x[3] ^ 2 + 0.001 * u ^ 2) end

local function check_agent(agent)
  local observation = env:reset(3)
  local first = env.observation_space:flatten(observation)
  -- what the policy does, step by step, in a world that goes from state to state by `advance`
  local function by_hand(advance)
    local x, actions, total = first, {}, 0
    for t = 1, H do
      local u = agent:decide(x:reshape(1, 3))[{ 1, 1 }]
      actions[t], total = u, total + reward(x, u)
      x = advance(x, u)
    end
    return actions, total, agent:value(x:reshape(1, 3))[1]
  end
  local world = env:copy()
  local worlds = {
    { in_env(agent), function(_, u) return env.observation_space:flatten((world:step { torque = u })) end },
    { in_model(agent), function(x, u)
      return model:predict(x:reshape(1, 3), orrery.tensor { { u } })[{ 1, 1 }]:copy()
    end },
  }
  for i, one in ipairs(worlds) do
    local mpc, what = one[1], agent.name .. (i == 1 and " on the environment" or " in the model")
    local actions, total, value = by_hand(one[2])
    local plans = mpc:objective():propose(observation, 2, { horizon = H })
    for t, u in ipairs(actions) do near(plans[{ 2, t, 1 }], u, what) end
    assert(orrery.abs(plans[1] - plans[2]):max() < 1e-6, "the best action is no draw")
    near(mpc:objective():score(observation, plans)[1], total + value, what .. ", returns and value")
    -- nets are read at every plan
    local parameters = (agent.q1 or agent.q):parameters()
    local bias = parameters[#parameters]
    bias:assign(bias - 5)
    mpc:act(observation)
    world = env:copy()
    local _, _, less = by_hand(one[2])
    assert(less < value - 1)
    near(mpc:objective():score(observation, plans)[1], total + less, what .. ", after learning")
    bias:assign(bias + 5)
  end
  for _, make in ipairs { in_env, in_model } do
    local drawn = make(agent, { explore = true }):objective():propose(observation, 2, { horizon = H })
    assert(orrery.abs(drawn[1] - drawn[2]):max() > 1e-3, "draws differ")
    assert(orrery.abs(drawn):max() <= 2)
  end
end

for _, make in ipairs { orrery.sac, orrery.td3, orrery.ddpg } do
  check_agent(make { env = env, hidden = { 16, 16 }, replay = replay, batch = 32, seed = 4 })
end

-- ---- of several tasks, the one that was chosen

do
  local several = orrery.sac { env = env, hidden = { 8 }, tasks = { { name = "up", reward = task.reward },
    { name = "still", reward = function(s) return -s.velocity ^ 2 end } } }
  local x = orrery.tensor { { 1, 0, 2 } }
  for i, z in ipairs { { { 1, 0 } }, { { 0, 1 } } } do
    several:set_task(i)
    near(orrery.rowwise(function(rows) return several:value()(rows) end, { verify = false })(x)[1],
      several:value(x, orrery.tensor(z))[1], "value of a task")
  end
end

-- ---- learners on policy, and of choices

do
  local ppo = orrery.ppo { env = env, hidden = { 8 }, seed = 2 }
  local observation = env:reset(3)
  for explore, apart in pairs { [false] = false, [true] = true } do
    local drawn = in_env(ppo, { explore = explore }):objective():propose(observation, 2, { horizon = H })
    assert((orrery.abs(drawn[1] - drawn[2]):max() > 1e-3) == apart)
    if not explore then near(drawn[{ 1, 1, 1 }], ppo:act(observation)[1], "ppo") end
  end
  local balance = orrery.env "cartpole_balance"
  local dqn = orrery.dqn { env = balance, hidden = { 8 } }
  local mpc = orrery.mpc { env = balance, task = { reward = function() return 1 end, value = dqn:value(),
    policy = dqn:policy() }, planner = orrery.plan.random_shooting { horizon = 3, population = 10, proposals = 1 } }
  for seed = 1, 5 do
    local start = balance:reset(seed)
    assert(mpc:objective():propose(start, 1, { horizon = 3 })[{ 1, 1, 1 }] == dqn:act(start))
  end
end
