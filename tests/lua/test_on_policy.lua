-- REINFORCE, PPO and TRPO: what is collected, time limits, the trust region, stops, learning, threads, files.
local orrery = require "orrery"
local fails = require "tests.lua.fails"

-- Counts its steps; every reward is 1. After `length` steps the episode terminates, or time is up.
local function counter(options)
  return orrery.env {
    name = "counter", observation = { "count" }, action = { { "force", low = -1, high = 3 } },
    max_steps = options.limit or 0,
    reset = function(self) self.count = 0 return { count = 0 } end,
    step = function(self)
      self.count = self.count + 1
      return { count = self.count }, 1, self.count == options.length
    end,
  }
end

-- One step: the nearer the force to `goal`, the better.
local function bandit(goal)
  return orrery.env {
    name = "bandit", observation = { "zero" }, action = { { "force", low = -1, high = 3 } },
    reset = function() return { zero = 0 } end,
    step = function(_, action) return { zero = 0 }, -(action.force - goal) ^ 2, true end,
  }
end

-- A critic that says the same of every state.
local function set_worth(agent, worth)
  local parameters = agent.critic:parameters()
  for _, tensor in ipairs(parameters) do tensor:fill(0) end
  parameters[#parameters]:fill(worth)
end

local learners = { "reinforce", "ppo", "trpo" }

-- ---- what is collected

local seen -- the last batch
local function collected(env, options)
  options.env, options.copies, options.rollout = env, 1, 12
  options.normalise = false
  local agent = orrery.reinforce(options)
  set_worth(agent, options.gamma and 1 / (1 - options.gamma) or 0)
  agent.update = function(_, batch) seen = batch return {} end
  agent:learn { steps = 12, every = 12, episodes = 0 }
  return seen
end

do
  local batch = collected(counter { length = 5 }, {})
  local first = { 0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1 }
  for t = 1, 12 do
    assert(batch.observation[t][1] == first[t] and batch.next_observation[t][1] == first[t] + 1)
    assert(batch.terminated[t] == (first[t] == 4 and 1 or 0) and batch.truncated[t] == 0)
  end
  -- the reward to go, cut at the end of the rollout, where the critic says 0
  local to_go = 0
  for t = 12, 1, -1 do
    to_go = 1 + (batch.terminated[t] == 1 and 0 or 0.99 * to_go)
    assert(math.abs(batch["return"][t] - to_go) < 1e-5 and math.abs(batch.advantage[t] - to_go) < 1e-5)
  end
  -- An episode that time ended is worth what would have come: 1 / (1 - gamma), at every step, for any lambda.
  for _, lambda in ipairs { 0, 0.5, 1 } do
    local limited = collected(counter { limit = 5 }, { gamma = 0.9, lambda = lambda })
    assert(limited.truncated:sum() == 2 and limited.terminated:sum() == 0)
    assert(orrery.abs(limited["return"] - 10):max() < 1e-5 and orrery.abs(limited.advantage):max() < 1e-5)
  end
  local ended = collected(counter { length = 5 }, { gamma = 0.9, lambda = 1 })
  assert(math.abs(ended["return"][5] - 1) < 1e-6 and math.abs(ended["return"][1] - (1 - 0.9 ^ 5) * 10) < 1e-5)
  assert(math.abs(ended.advantage[5] + 9) < 1e-5)
  local bare = collected(counter { length = 5 }, { gamma = 0.9, baseline = false })
  assert(bare.advantage:same(bare["return"]))
end

-- ---- actions: within bounds where -1 .. 1 stands for them; draws follow the probabilities

do
  local agent = orrery.ppo { env = bandit(0), log_std = -1, hidden = { 8 } }
  local x = orrery.zeros(20000, 1)
  local action, outputs = agent:explore(x)
  assert(math.abs(outputs.drawn:std() - math.exp(-1)) < 0.01 and math.abs(outputs.drawn:mean()) < 0.05)
  assert(orrery.abs(action - (1 + 2 * outputs.drawn)):max() < 1e-5)
  local before = action:copy()
  assert(not before:same(agent:explore(x)), "draws anew")
  local choice = orrery.ppo { env = orrery.env "cartpole_balance", hidden = { 8 } }
  local parameters = choice.actor:parameters()
  parameters[#parameters]:assign { 1, 0 }
  action = choice:explore(orrery.zeros(20000, 4))
  assert(action:dtype() == "int" and action:min() == 0 and action:max() == 1)
  assert(math.abs(action:to "real":mean() - 1 / (1 + math.exp(1))) < 0.015)
  assert(choice:act { position = 0, velocity = 0, angle = 0, angular_velocity = 0 } == 0)
end

-- ---- TRPO's steps: the KL within bounds, a surrogate that grows

do
  local env = orrery.env "cartpole_balance"
  local agent = orrery.trpo { env = env, rollout = 2000, seed = 1 }
  local accepted, history = 0, agent:learn { steps = 24000, every = 2000, episodes = 0 }
  assert(#history == 12)
  for _, entry in ipairs(history) do
    assert(entry.kl <= 1.5 * 0.01, entry.kl)
    assert(entry.accepted == 0 and entry.kl == 0 or entry.kl > 0.001 and entry.improvement > 0)
    accepted = accepted + entry.accepted
  end
  assert(accepted >= 11, accepted)
  local result = orrery.evaluate(env, agent, { episodes = 5 })
  assert(result.mean > 150, tostring(result))
end

-- A direction that makes things worse is refused at any length, and the policy stays as it was.
do
  local agent = orrery.trpo { env = orrery.env "cartpole_balance", rollout = 400, copies = 4 }
  local uphill = agent.gradient
  agent.gradient = function(self, batch) return -uphill(self, batch) end
  local before = {}
  for i, tensor in ipairs((agent:policy_parameters())) do before[i] = tensor:copy() end
  local entry = agent:learn { steps = 400, every = 400, episodes = 0 }[1]
  assert(entry.accepted == 0 and entry.improvement == 0 and entry.kl == 0)
  for i, tensor in ipairs((agent:policy_parameters())) do assert(tensor:same(before[i])) end
end

-- ---- PPO: stops at the KL; clipped; a batch is gone through in parts that cover it

do
  local function kl_after(options)
    options.env, options.rollout, options.learning_rate, options.epochs = orrery.env "cartpole_balance", 800, 0.01, 30
    return orrery.ppo(options):learn { steps = 800, every = 800, episodes = 0 }[1]
  end
  local free, stopped = kl_after { target_kl = 0, clip = 10 }, kl_after { target_kl = 0.01, clip = 10 }
  assert(free.passes == 30 and stopped.passes < 10, stopped.passes)
  assert(free.kl > 1 and stopped.kl < 0.3, ("%g %g"):format(free.kl, stopped.kl))
  local clipped, tight = kl_after { target_kl = 0 }, kl_after { target_kl = 0, clip = 0.05 }
  assert(clipped.kl < 0.1 and tight.kl < clipped.kl, ("%g %g"):format(clipped.kl, tight.kl))
  assert(clipped.clip_fraction > 0.05 and clipped.clip_fraction < 0.5)

  local agent = orrery.ppo { env = bandit(0), rollout = 64, copies = 1, batch = 24, epochs = 2 }
  local rows = {}
  local step = agent.updates.policy.step
  agent.updates.policy.step = function(self, batch, index)
    assert(index:size(1) == 24)
    for _, row in ipairs(index:totable()) do rows[row] = (rows[row] or 0) + 1 end
    return step(self, batch, index)
  end
  agent:learn { steps = 64, every = 64, episodes = 0 }
  local taken = 0
  for _, count in pairs(rows) do
    assert(count <= 2)
    taken = taken + count
  end
  assert(taken == 2 * 48)
end

-- ---- all of them learn: choices, real numbers, tasks told apart by z

local settings = {
  reinforce = { learning_rate = 0.02 },
  ppo = { batch = 64, epochs = 10, target_kl = 0.05, learning_rate = 1e-3 },
  trpo = {},
}
local function options_of(name, more)
  for key, value in pairs(settings[name]) do more[key] = value end
  return more
end

for _, name in ipairs(learners) do
  local env = orrery.env "cartpole_balance"
  local agent = orrery[name](options_of(name, { env = env, rollout = 1000, seed = 2 }))
  agent:learn { steps = 16000, every = 16000, episodes = 0 }
  local result = orrery.evaluate(env, agent, { episodes = 5 })
  assert(result.mean > 100, name .. ": " .. tostring(result))

  local real = orrery[name](options_of(name, { env = bandit(2), rollout = 200, copies = 1, hidden = { 8 } }))
  real:learn { steps = 4000, every = 4000, episodes = 0 }
  local action = real:act { zero = 0 }
  assert(math.abs(action[1] - 2) < 0.5, ("%s: %g"):format(name, action[1]))
  assert(real.log_std:item() < -0.5, "less noise where it only costs")
end

do
  local function toward(goal) return { reward = function(_, a) return -(a.force - goal) ^ 2 end } end
  local agent = orrery.ppo { env = bandit(0), tasks = { toward(2), toward(0) }, rollout = 200, copies = 1,
    hidden = { 16 }, batch = 50, epochs = 10, learning_rate = 3e-3, target_kl = 0 }
  agent:learn { steps = 6000, every = 6000, episodes = 0 }
  for which, goal in ipairs { 2, 0 } do
    agent:set_task(which)
    local action = agent:act { zero = 0 }
    assert(math.abs(action[1] - goal) < 0.5, ("task %d: %g"):format(which, action[1]))
  end
end

-- ---- the same bits on 1 and 2 threads; saved, loaded and gone on with

local function numbers(agent)
  local parts = {}
  for i, tensor in ipairs((agent:policy_parameters())) do parts[i] = tensor:flatten() end
  for _, tensor in ipairs((agent.critic:parameters())) do parts[#parts + 1] = tensor:flatten() end
  return orrery.concat(parts)
end

for _, name in ipairs(learners) do
  for _, env in ipairs { "cartpole_balance", "pendulum" } do
    local function make(threads)
      orrery.threads(threads)
      return orrery[name](options_of(name, { env = orrery.env(env), rollout = 600, seed = 3 }))
    end
    local one, two = make(1), make(2)
    orrery.threads(1)
    one:learn { steps = 1200, every = 1200, episodes = 0 }
    orrery.threads(2)
    two:learn { steps = 1200, every = 1200, episodes = 0 }
    assert(numbers(one):same(numbers(two)), name .. ": 1 and 2 threads")
    local path = os.tmpname()
    one:save(path)
    one:learn { steps = 1200, every = 1200, episodes = 0 }
    assert(not numbers(one):same(numbers(two)))
    local loaded = make(2)
    loaded:load(path)
    assert(numbers(loaded):same(numbers(two)))
    loaded:learn { steps = 1200, every = 1200, episodes = 0 }
    assert(loaded.steps == 2400 and numbers(loaded):same(numbers(one)), name .. ": not as the one that went on")
    os.remove(path)
  end
end

-- ---- words for what is wrong

fails("rollout, the steps of all 8 copies together, must be a multiple of 8, not 100", orrery.ppo,
  { env = orrery.env "pendulum", rollout = 100 })
fails("lambda must be 0 to 1", orrery.trpo, { env = orrery.env "pendulum", lambda = 2 })
fails("delta must be above 0", orrery.trpo, { env = orrery.env "pendulum", delta = 0 })
fails("there is no 'clips'; did you mean 'clip'", orrery.ppo, { env = orrery.env "pendulum", clips = 1 })
fails("an environment is needed", orrery.reinforce, {})
fails("gae: value must be a tensor of steps x copies as the reward is, 4 x 2, not of shape [4, 1]", orrery.gae,
  { reward = orrery.zeros(4, 2), value = orrery.zeros(4, 1) })
