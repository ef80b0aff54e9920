-- Learners from replay: what they refuse, what an update leaves alone, the same bits on any number of threads and
-- after going on from a file, tasks with identifiers, and that they learn at all. Their mathematics is compared with
-- PyTorch's in test_learners_reference.lua.
local orrery = require "orrery"
local fails = require "tests.lua.fails"

local pendulum, balance = orrery.env "pendulum", orrery.env "cartpole_balance"
local continuous = { ddpg = orrery.ddpg, td3 = orrery.td3, sac = orrery.sac }

local function small(make, more)
  local o = { env = pendulum, hidden = { 16, 16 }, batch = 32, start = 300 }
  for name, value in pairs(more or {}) do o[name] = value end
  return make(o)
end

-- ---- unsuitable spaces and options

fails("dqn: it chooses among discrete actions, and the action of 'pendulum' (torque) is continuous; use orrery.sac",
  orrery.dqn, { env = pendulum })
fails("fqi: it chooses among discrete actions", orrery.fqi, { env = pendulum })
for name, make in pairs(continuous) do
  fails(name .. ": it needs continuous actions, and the action of 'cartpole_balance' (push) is one of 2 choices",
    make, { env = balance })
  fails(name .. " options: an environment is needed", make, {})
end
local function stay() return { x = 0 } end
local function env_of(action)
  return orrery.env { name = "still", observation = { "x" }, action = action, max_steps = 5, reset = stay,
    step = function() return stay(), 0, false end }
end
fails("need bounds", orrery.sac, { env = env_of { { "push" } } })
fails("a discrete field 'b' among others", orrery.dqn, { env = env_of { { "a", low = 0, high = 1 }, { "b", n = 3 } } })
fails("did you mean 'learning_rate'", orrery.sac, { env = pendulum, learning_rat = 1 })
fails("gamma must be 0 to 1, not 2", orrery.td3, { env = pendulum, gamma = 2 })
fails("batch must be a whole number", orrery.td3, { env = pendulum, batch = 0 })
fails("alpha must be \"auto\" or a number above 0", orrery.sac, { env = pendulum, alpha = 0 })
fails("epsilon and final_epsilon are shares", orrery.dqn, { env = balance, epsilon = 2 })
fails("q_range must be { low, high }", orrery.ddpg, { env = pendulum, q_range = { 1 } })
fails("replay must be one as orrery.replay makes it", orrery.sac, { env = pendulum, replay = "mine" })
fails("replay must be one as orrery.replay makes it, not a userdata", orrery.sac, { env = pendulum, replay = pendulum })
fails("relabel must be a strategy", orrery.sac, { env = pendulum, relabel = "future" })
fails("give the task", orrery.sac, { env = orrery.env "reacher", relabel = orrery.relabel.future {} })
fails("a list of at least one", orrery.sac, { env = pendulum, tasks = { first = { reward = print } } })
fails("are both called 'a'", orrery.sac, { env = pendulum, tasks = { { name = "a", reward = print }, { name = "a", reward = print } } })
fails("clip must be above 0", orrery.ppo, { env = pendulum, clip = 0 })
fails("two numbers in that order", orrery.ddpg, { env = pendulum, q_range = { 0, -50 } })
fails("n_steps must be a whole number, 1 or more, not 0", orrery.td3, { env = pendulum, n_steps = 0 })
fails("start must be a whole number, 0 or more, not -1", orrery.td3, { env = pendulum, start = -1 })
fails("epochs must be a whole number", orrery.fqi, { env = balance, epochs = 0 })
fails("tau must be a share, 0 to 1, not -0.1", orrery.dqn, { env = balance, tau = -0.1 })
fails("every must be more than 0", function() small(orrery.sac):learn { every = 0 } end)
fails("not both", orrery.sac, { env = pendulum, task = print, tasks = {} })
fails("hidden is the sizes of the hidden layers, as in { 64, 64 }, each 1 or more; number 2 is 0", orrery.sac,
  { env = pendulum, hidden = { 8, 0 } })
fails("the replay is empty", function() small(orrery.sac):train(1) end)
assert(orrery.ppo({ env = pendulum, copies = 3, hidden = { 4 } }).options.rollout == 3999)

-- ---- the actor's loss goes through the critics and does not train them; targets are left where they are

local function copies(net)
  local list = {}
  for i, tensor in ipairs((net:parameters())) do list[i] = tensor:copy() end
  return list
end
local function moved(net, before)
  for i, tensor in ipairs((net:parameters())) do
    if not tensor:same(before[i]) then return true end
  end
  return false
end

local replay = orrery.replay { env = pendulum }
replay:collect(orrery.policy.random(pendulum), { steps = 600, seed = 1 })
local sac = small(orrery.sac, { replay = replay })
local batch = sac:sample()
local actor, q1, slow1 = copies(sac.actor), copies(sac.q1), copies(sac.kept.slow1)
sac.updates.actor:step(batch)
assert(moved(sac.actor, actor) and not moved(sac.q1, q1) and not moved(sac.kept.slow1, slow1))
actor = copies(sac.actor)
sac.updates.critic:step(batch)
assert(not moved(sac.actor, actor) and moved(sac.q1, q1) and moved(sac.kept.slow1, slow1))

-- ---- a tuned temperature is read at every run: the critic's targets see it

local function critic_loss_at(log_alpha)
  local other = small(orrery.sac, { replay = replay, learning_rate = 1e-12 })
  other.log_alpha:assign(log_alpha)
  local list = {}
  for i = 1, 2 do
    list[i] = other.updates.critic:step(batch)
    other.log_alpha:assign(3)
  end
  return table.unpack(list)
end
local low, high = critic_loss_at(-10)
assert(math.abs(high - low) > 1, "the temperature has no effect")

-- ---- acting

local rows = orrery.zeros(400, 3)
local explored, more = sac:explore(rows)
assert(explored:size(1) == 400 and explored:size(2) == 1 and more.log_probability:size(1) == 400)
assert(orrery.max_along(orrery.abs(explored)) <= 2 and orrery.std(explored) > 0.5)
local first = explored:copy()
assert(not sac:explore(rows):same(first), "every call draws anew")
assert(sac:decide(rows):same(sac:decide(rows)) and orrery.std(sac:decide(rows)) < 1e-6)
local action = sac:act { cos = 1, sin = 0, velocity = 0 }
assert(action:size(1) == 1 and math.abs(action[1]) <= 2)
assert(sac:value(rows):size(1) == 400)
local noisy = small(orrery.td3, { noise = 0, random = 1 })
local anything = noisy:explore(rows)
assert(orrery.std(anything) > 1 and orrery.max_along(anything) > 1.9 and orrery.min_along(anything) < -1.9)
assert(orrery.std((small(orrery.ddpg, { noise = 0 }):explore(rows))) < 1e-6)
local chooser = orrery.dqn { env = balance, hidden = { 8 }, epsilon = 1 }
local choices = chooser:explore(orrery.zeros(1000, 4))
assert(choices:dtype() == "int" and math.abs(orrery.mean(choices:to "real") - 0.5) < 0.06)
local choice = chooser:act { position = 0, velocity = 0, angle = 0, angular_velocity = 0 }
assert(choice == 0 or choice == 1)

-- ---- learning without acting: the target net follows; updates by hand keep to the delay; priorities outlive files

local path = os.tmpname()
do
  local replay = orrery.replay { env = balance, prioritised = { alpha = 0.5 } }
  replay:collect(orrery.policy.random(balance), { steps = 200, seed = 1 })
  local function new() return small(orrery.dqn, { env = balance, target_interval = 10, replay = replay }) end
  local agent = new()
  local before = copies(agent.kept.slow)
  agent:train(9)
  assert(not moved(agent.kept.slow, before))
  agent:train(1)
  assert(moved(agent.kept.slow, before))
  agent:save(path)
  local other = new():load(path)
  assert(other.replay.alpha == 0.5 and other.replay.prioritised)
  fails("was saved with priorities; make the agent with a replay that has them", function()
    small(orrery.dqn, { env = balance, target_interval = 10 }):load(path)
  end)
  local mine, its = agent:sample(), other:sample()
  assert(its.index:same(mine.index) and its.weight:same(mine.weight) and mine.weight:std() > 0)
  assert(other.trained == 10 and other.renewed == 10)
  agent = small(orrery.td3)
  agent.replay:collect(orrery.policy.random(pendulum), { steps = 200, seed = 1 })
  local batch, actor = agent.replay:sample(32), copies(agent.actor)
  agent:update(batch)
  assert(not moved(agent.actor, actor))
  agent:update(batch)
  assert(moved(agent.actor, actor))
end

-- ---- the same bits on 1 and 2 threads, and when learning goes on from files

local function trained(make, threads, path)
  orrery.threads(threads)
  local agent = make()
  agent:learn { steps = 500, every = 250, episodes = 1 }
  if path then
    agent:save(path)
    agent = make()
    agent:load(path)
    assert(agent.steps >= 500)
  end
  local history = agent:learn { steps = 300, every = 300, episodes = 1 }
  return agent, history[#history].mean
end

local function same_state(a, b, what)
  for key, update in pairs(a.updates) do
    local names, tensors = update:state()
    local _, others = b.updates[key]:state()
    for i, tensor in ipairs(tensors) do
      assert(tensor:same(others[i]), ("%s: %s.%s differs %s"):format(a.name, key, names[i], what))
    end
  end
end

for _, make in ipairs {
  function() return small(orrery.sac, { copies = 2 }) end,
  function() return small(orrery.td3, { copies = 3, train_every = 4, updates = 2 }) end,
  function() return small(orrery.ddpg) end,
  function() return small(orrery.dqn, { env = balance, dueling = true }) end,
  function() return orrery.fqi { env = balance, hidden = { 16 }, grow = 200, epochs = 1, iterations = 3 } end,
} do
  local one, one_mean = trained(make, 1)
  local two, two_mean = trained(make, 2)
  same_state(one, two, "with threads")
  local resumed, resumed_mean = trained(make, 2, path)
  same_state(one, resumed, "after loading")
  assert(one_mean == two_mean and one_mean == resumed_mean, one.name)
end
small(orrery.sac):save(path)
local larger = small(orrery.sac)
larger.replay:add_episode { observation = orrery.zeros(3, 3), action = orrery.zeros(2, 1), reward = { 0, 0 } }
larger.replay:save(path .. ".replay")
fails("the experience beside it has 2 steps; 0 were saved with it", function() small(orrery.sac):load(path) end)
small(orrery.sac):save(path)
fails("activation: relu in the file, but tanh here", function()
  small(orrery.sac, { activation = "tanh" }):load(path)
end)
fails("which is not known here", function() small(orrery.sac, { hidden = { 8 } }):load(path) end)
os.remove(path)
os.remove(path .. ".replay")
orrery.threads(2)

-- ---- several tasks: one-hot identifiers, each episode for the next in turn, their own rewards and ends

local tasks = {
  { name = "up", reward = function(_, _, next) return next.cos end, success = function(_, _, next) return next.cos > 0.9 end },
  { name = "still", reward = function(_, _, next) return -next.velocity^2 end,
    termination = function(_, _, next, t) return t >= 49 end },
}
local many = small(orrery.sac, { tasks = tasks, copies = 3 })
local history = many:learn { steps = 900, every = 450, episodes = 2 }
assert(many.inputs == 5 and many.identifiers == 2)
assert(history[2].tasks.up.mean <= 200 and history[2].tasks.still.mean < 0)
local lengths = { {}, {} }
for i = 1, 6 do
  local episode = many.replay:episode(i)
  local which = episode.z[1][1] == 1 and 1 or 2
  assert(orrery.sum(episode.z:slice(which, which, 2)) == episode.length + 1, "z is the same all along an episode")
  lengths[which][#lengths[which] + 1] = episode.length
  local next = episode.observation[2]
  local wanted = which == 1 and next[1] or -next[3] ^ 2
  assert(math.abs(episode.reward[1] - wanted) < 1e-4, "the task's reward")
  assert(episode.terminated == (which == 2))
end
assert(lengths[1][1] == 200 and lengths[2][1] == 50)
-- a file of the same tasks in another order has the same shapes
many:save(path)
small(orrery.sac, { tasks = tasks, copies = 3 }):load(path)
fails("tasks: up, still in the file, but still, up here", function()
  small(orrery.sac, { tasks = { tasks[2], tasks[1] }, copies = 3 }):load(path)
end)
os.remove(path)
os.remove(path .. ".replay")
many:set_task "still"
many:act { cos = 1, sin = 0, velocity = 0 }
fails("there is no 'stil'; did you mean 'still'", many.set_task, many, "stil")
fails("all of them must have one, or none", small, orrery.sac, { tasks = { { reward = print, z = { 1 } }, { reward = print } } })
fails("z of task 2 has 2 numbers", small, orrery.sac,
  { tasks = { { reward = print, z = { 1 } }, { reward = print, z = { 1, 2 } } } })

-- ---- a time limit is no end: targets of its steps go on, those of terminations do not

local always = orrery.replay { env = balance }
always:add_episode { observation = orrery.zeros(3, 4), action = orrery.zeros(2, 1), reward = { 0, 0 }, truncated = true }
local timed = orrery.dqn { env = balance, replay = always, hidden = { 4 }, batch = 8 }
assert(orrery.sum(timed:sample().terminated) == 0)

-- ---- many episodes played at once are those of orrery.evaluate; learning ends when the log says so

do
  -- The first bit: an agent whose best action is known.
  local flips = orrery.env("bit_flipping", { bits = 3 })
  local agent = orrery.dqn { env = flips, task = orrery.tasks.bit_flipping(), hidden = { 4 }, start = 0 }
  function agent:greedy(x) return { action = 0 * x[1] } end
  local played = agent:play { episodes = 400, seed = 5 }
  assert(#played.returns == 400 and #played.lengths == 400 and played.lengths[400] == 3)
  -- Of 7 goals, one is one flip of the first bit away: reached at steps 1 and 3, so also at the end.
  assert(math.abs(played.success - 1 / 7) < 0.06 and played.success == played.success_at_end, played.success)
  assert(math.abs(played.mean - (-3 + 2 * played.success)) < 1e-6)
  assert(agent:play { episodes = 400, seed = 5 }.success == played.success)
  local twice = agent:play { episodes = 400, seed = 5, steps = 2 }
  assert(twice.success == played.success and twice.success_at_end == 0)
  local never = { reward = function() return 2 end }
  assert(agent:play { episodes = 2, task = never }.mean == 6 and not agent:play { episodes = 2, task = never }.success)
  fails("did you mean 'episodes'", agent.play, agent, { episode = 2 })
  local reports = agent:learn { steps = 1000, every = 100, episodes = 0, log = function(entry) return entry.steps >= 200 end }
  assert(#reports == 2 and agent.steps == 200)
end

-- ---- relabeled batches, n steps and priorities go from the replay into the update

do
  local bits = orrery.env("bit_flipping", { bits = 5 })
  local hindsight = orrery.dqn { env = bits, task = orrery.tasks.bit_flipping(), relabel = orrery.relabel.future { k = 4 },
    hidden = { 64 }, batch = 64, gamma = 0.98, copies = 8, train_every = 40, updates = 20, start = 0, epsilon = 0.2,
    tau = 0.05, q_range = { -50, 0 }, seed = 3 }
  local entries = hindsight:learn { steps = 4000, every = 2000, episodes = 10 }
  local sampled = hindsight:sample()
  assert(sampled.discount and orrery.mean(sampled.relabeled) > 0.6)
  assert(orrery.max_along(sampled.discount) <= 0.9801)
  assert(entries[2].success and entries[2].training_success > 0.8, entries[2].training_success)

  local ranked = orrery.replay { env = pendulum, prioritised = { alpha = 0.6 } }
  local agent = small(orrery.td3, { replay = ranked, n_steps = 3 })
  agent:learn { steps = 500, every = 500, episodes = 0 }
  local again = agent:sample()
  assert(math.abs(orrery.max_along(again.discount) - 0.99 ^ 3) < 1e-5)
  assert(orrery.std(again.weight) > 0, "errors became priorities")
end

-- ---- an environment written in Lua, of which every copy is made anew

do
  local walk = orrery.env { name = "walk", observation = { { "x" } }, action = { { "right", n = 2 } }, max_steps = 20,
    reset = function(self)
      self.x = 0
      return { x = 0 }
    end,
    step = function(self, action)
      self.x = self.x + (action.right == 1 and 1 or -1)
      return { x = self.x }, self.x, self.x >= 5
    end }
  local agent = orrery.dqn { env = walk, copies = 2, hidden = { 16 }, batch = 32, start = 100, target_interval = 50,
    exploration_steps = 400, learning_rate = 3e-3 }
  local entries = agent:learn { steps = 800, every = 400, episodes = 1 }
  assert(entries[2].mean == 15, entries[2].mean) -- 1 + 2 + ... + 5
end

-- ---- they learn

local brief = orrery.dqn { env = balance, seed = 1, hidden = { 64, 64 }, start = 200, exploration_steps = 1500,
  target_interval = 100 }
local reports = brief:learn { steps = 4000, every = 1000, episodes = 3 }
local best = 0
for _, entry in ipairs(reports) do best = math.max(best, entry.mean) end
assert(best > 100, ("DQN balances for %g steps; at random it is 22"):format(best))
assert(reports[4].training and reports[4].q and reports[4].overestimation and reports[4].q_gradient > 0)

-- ---- an environment written in Lua: made anew for every copy and stepped in turn; play plays one after the other

do
  local made = 0
  local line = orrery.env { name = "line", observation = { "x" }, action = { { "push", low = -1, high = 1 } },
    max_steps = 6,
    reset = function(self, random)
      if not self.known then made, self.known = made + 1, true end
      self.x = random:uniform(-1, 1)
      return { x = self.x }
    end,
    step = function(self, action)
      self.x = self.x + action.push
      return { x = self.x }, -self.x ^ 2, self.x > 3
    end }
  local task = { reward = function(_, _, next) return next.x end, success = function(_, _, next) return next.x > 0 end }
  local agent = orrery.ddpg { env = line, hidden = { 8 }, copies = 2, start = 8, batch = 4, task = task }
  local history = agent:learn { steps = 24, every = 12, episodes = 1 }
  assert(made == 3 and #history == 2 and agent.steps == 24 and #agent.replay == 24 and agent.replay.episodes == 4)
  local played = agent:play { episodes = 7, seed = 3 }
  local found = orrery.evaluate(line, agent, { episodes = 7, seed = 3, task = task })
  assert(#played.returns == 7 and played.mean == found.mean and played.success == found.success)
  for i, length in ipairs(played.lengths) do
    assert(length == found.lengths[i] and length <= 6 and played.returns[i] == found.returns[i])
  end
  local own = agent:play { episodes = 2, steps = 3, task = function() return 1 end }
  assert(own.mean == 3 and own.lengths[2] == 3 and own.success == nil and made == 3)
  local keys, copied = {}, {}
  for name in pairs(played) do keys[name] = true end
  local built_in = small(orrery.ddpg, { env = orrery.env "point_mass", task = orrery.tasks.point_mass() })
  for name in pairs(built_in:play { episodes = 2 }) do copied[name] = true end
  for name in pairs(copied) do assert(keys[name], name) end
  for name in pairs(keys) do assert(copied[name], name) end
end
