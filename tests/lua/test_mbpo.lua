-- Model-based policy optimisation: what it refuses, that imagined steps are those of the policy in the model, which
-- steps a batch has, the same bits on any number of threads and after going on from files, and that it learns.
local orrery = require "orrery"
local fails = require "tests.lua.fails"

local pendulum = orrery.env "pendulum"

local function small(more)
  local o = { env = pendulum, task = orrery.tasks.pendulum(), hidden = { 16, 16 }, batch = 40, start = 300, updates = 2,
              rollouts = 60, model = { members = 3, hidden = { 16 } }, fit = { epochs = 2 } }
  for name, value in pairs(more or {}) do o[name] = value ~= "none" and value or nil end
  return orrery.mbpo(o)
end

-- ---- unsuitable options

fails("must be known: give a task, as in task = orrery.tasks.pendulum()", small, { task = "none" })
local function still() return 0 end
fails("one task is learnt at a time", small, { task = "none", tasks = { { reward = still }, { reward = still } } })
fails("mbpo options: alpha must be \"auto\"", small, { alpha = -1 })
fails("real is a share", small, { real = 2 })
fails("rollouts must be a whole number", small, { rollouts = 0.5 })
fails("k must be a whole number", small, { k = 0 })
fails("k must be a whole number", small, { k = 1.5 })
fails("give over = { first, last }", small, { k = { from = 1, to = 5 } })
fails("single steps", small, { n_steps = 3 })
fails("did you mean 'rollouts'", small, { rollout = 3 })
fails("the replay is empty", function() small():train(1) end)

-- ---- the length of branches grows

do
  local growing = small { k = { from = 1, to = 5, over = { 1000, 2000 } } }
  for steps, k in pairs { [0] = 1, [1000] = 1, [1249] = 1, [1250] = 2, [1999] = 4, [2000] = 5, [9000] = 5 } do
    growing.steps = steps
    assert(growing:branch_length() == k, ("%d at %d steps"):format(growing:branch_length(), steps))
  end
end

-- ---- imagined steps

local replay = orrery.replay { env = pendulum }
replay:collect(orrery.policy.random(pendulum), { steps = 400, seed = 1 })

-- Where each row of x is among those of `among`, or nil.
local function find(x, among)
  local known, places = {}, {}
  for i, row in ipairs(among:totable()) do known[table.concat(row, " ")] = i end
  for i, row in ipairs(x:totable()) do places[i] = known[table.concat(row, " ")] end
  return places
end

do -- members differ, none draws: every next state is what some elite predicts, and all elites are used
  local k, n = 3, 60
  local agent = small { replay = replay, k = k, model = { members = 3, hidden = { 8 }, probabilistic = false },
    task = { reward = function(s, a, next, t) return s.velocity + 10 * a.torque + 100 * next.cos + 1000 * t end,
             termination = function(_, _, next) return next.sin > 0.2 end } }
  agent.model:use_elites { 1, 3 }
  local rows = agent:imagine()
  assert(rows.observation:size(1) == k * n and rows.terminated:size(1) == k * n)
  local data = replay:transitions { fields = { "observation", "time" } }
  local starts = find(rows.observation:slice(1, n):copy(), data.observation)
  for i = 1, n do assert(starts[i], "a branch starts in a state of the replay") end
  local predicted = agent.model:predict(rows.observation, rows.action)
  local used = { 0, 0, 0 }
  local times = rows.reward - rows.observation:slice(3, 3, 2):reshape(-1) - 10 * rows.action:reshape(-1)
    - 100 * rows.next_observation:slice(1, 1, 2):reshape(-1)
  for i = 1, k * n do
    local by
    for m = 1, 3 do
      if (predicted[m][i] - rows.next_observation[i]):abs():max() < 1e-5 then by = m end
    end
    assert(by, "a step that no member predicts")
    used[by] = used[by] + 1
    assert(math.abs(rows.action[{ i, 1 }]) <= 2)
    assert((rows.next_observation[{ i, 2 }] > 0.2) == (rows.terminated[i] == 1))
    times[i] = math.floor(times[i] / 1000 + 0.5)
    if i <= n then assert(times[i] == data.time[starts[i]] - 1, "the first step's time") end
  end
  assert(used[1] > 30 and used[2] == 0 and used[3] > 30)
  -- a step follows the one before, or, where that ended the episode, begins anew
  for step = 2, k do
    local function part(name, at) return rows[name]:slice((at - 1) * n + 1, at * n):copy() end
    local now, ended = part("observation", step), part("terminated", step - 1)
    local before, anew = find(now, part("next_observation", step - 1)), find(now, data.observation)
    local went_on = 0
    for i = 1, n do
      assert(before[i] or anew[i])
      if before[i] then
        went_on = went_on + 1
        assert(ended[before[i]] == 0, "a branch goes on after its end")
        assert(times[(step - 1) * n + i] == times[(step - 2) * n + before[i]] + 1)
      else
        assert(times[(step - 1) * n + i] == data.time[anew[i]] - 1)
      end
    end
    assert(went_on == n - orrery.sum(ended) and went_on > 0 and went_on < n)
  end
end

do -- actions are draws of the policy, next states of the model
  local agent = small { replay = replay, rollouts = 3000 }
  agent.model:take_as_fitted()
  local rows = agent:imagine()
  assert(orrery.std(rows.action - agent:decide(rows.observation)) > 0.3)
  local mean, deviation = agent.model:predict(rows.observation, rows.action)
  assert(orrery.std((rows.next_observation - mean[1]) / deviation[1]) > 0.5)
  local again = small { replay = replay, rollouts = 3000 }:imagine()
  assert(again.action:same(rows.action) and not small { replay = replay, rollouts = 3000, seed = 1 }:imagine().action
    :same(rows.action))
end

do -- an end that the model learns, as a probability: here it is a coin
  local agent = small { replay = replay, rollouts = 3000, model = { members = 2, hidden = { 8 },
    events = { fallen = { label = function(s) return s.cos > 2 end } } },
    task = { reward = function() return 0 end, termination = "fallen" } }
  local parameters = agent.model.events.net:parameters()
  for _, tensor in ipairs(parameters) do tensor:fill(0) end
  assert(math.abs(orrery.mean(agent:imagine().terminated) - 0.5) < 0.05)
end

do -- rewards that a net gives, as it is then, and rewards in plain Lua
  local net = orrery.nn.mlp { inputs = 4, outputs = 1, hidden = { 8 }, seed = 1 }
  local function learned(s, a) return net(orrery.concat { s.cos, s.sin, s.velocity, a.torque })[1] end
  local agent = small { replay = replay, task = learned }
  local function check_rewards()
    local rows = agent:imagine()
    local wanted = net(orrery.concat({ rows.observation, rows.action }, 2)):reshape(-1)
    assert(orrery.abs(rows.reward - wanted):max() < 1e-4)
    return wanted
  end
  local before = check_rewards()
  local parameters = net:parameters()
  parameters[#parameters]:fill(7)
  assert(orrery.abs(check_rewards() - before):min() > 1)
  local rows = small { replay = replay, task = orrery.interpret(function(s) return s.velocity end) }:imagine()
  assert(rows.reward:close_to(rows.observation:slice(3, 3, 2):reshape(-1), 1e-6))
end

-- ---- batches

for real, count in pairs { [0] = 0, [0.05] = 2, [0.5] = 20, [1] = 40 } do
  local agent = small { replay = replay, real = real, batch = 40, retain = 2 }
  for _ = 1, 3 do agent:refit() end
  assert(agent.imagined.reward:size(1) == 120)
  local batch = agent:sample()
  local places = find(batch.observation, replay:transitions().observation)
  local follow = find(batch.next_observation, replay:transitions().next_observation)
  local imagined = find(batch.next_observation, agent.imagined.next_observation)
  for i = 1, 40 do
    if i <= count then assert(places[i] == follow[i] and follow[i])
    else assert(imagined[i] and not follow[i]) end
  end
end

-- ---- the same bits on 1 and 2 threads, and when learning goes on from files

local path = os.tmpname()
local function trained(threads, through_files)
  orrery.threads(threads)
  local agent = small { k = { from = 1, to = 2, over = { 300, 700 } }, retain = 2, refit_every = 100 }
  agent:learn { steps = 500, every = 250, episodes = 1 }
  if through_files then
    agent:save(path)
    agent = small { k = { from = 1, to = 2, over = { 300, 700 } }, retain = 2, refit_every = 100 }
    agent:load(path)
  end
  local history = agent:learn { steps = 300, every = 300, episodes = 1 }
  assert(history[1].model_error > 0 and history[1].alpha > 0)
  return agent, history[1].mean
end
local one, mean = trained(1)
for _, other in ipairs { { trained(2) }, { trained(2, true) } } do
  assert(other[2] == mean)
  for i, tensor in ipairs((one.actor:parameters())) do assert(tensor:same((other[1].actor:parameters())[i])) end
  for i, tensor in ipairs((one.model.net:parameters())) do
    assert(tensor:same((other[1].model.net:parameters())[i]))
  end
  assert(one.imagined.next_observation:same(other[1].imagined.next_observation))
end
-- what does not fit changes nothing
local other = small { model = { members = 3, hidden = { 16 }, activation = "relu" }, retain = 2 }
local kept = other.actor:parameters()[1]:copy()
fails("activation: silu in the file, but relu here", function() other:load(path) end)
assert(other.actor:parameters()[1]:same(kept) and #other.replay == 0)
for _, ending in ipairs { "", ".replay", ".model", ".imagined" } do os.remove(path .. ending) end

-- ---- it learns: a cart on rails is brought to the middle and held there

local cart = orrery.env { name = "cart", max_steps = 25,
  observation = { { "x", low = -2, high = 2 }, { "v", low = -2, high = 2 } },
  action = { { "push", low = -1, high = 1 } },
  reset = function(self, random)
    self.x, self.v = 2 * random:uniform() - 1, 0
    return { x = self.x, v = self.v }
  end,
  step = function(self, action)
    self.v = math.max(-2, math.min(2, self.v + 0.2 * action.push))
    self.x = math.max(-2, math.min(2, self.x + 0.2 * self.v))
    return { x = self.x, v = self.v }, -self.x ^ 2, false
  end }
local learner = orrery.mbpo { env = cart, task = function(_, _, next) return -next.x ^ 2 end,
  hidden = { 32, 32 }, batch = 64, start = 100, updates = 5, learning_rate = 3e-3, refit_every = 100, rollouts = 2000, gamma = 0.95, seed = 2,
  model = { members = 3, hidden = { 32 } }, fit = { epochs = 60, learning_rate = 3e-3 } }
local history = learner:learn { steps = 500, every = 100, episodes = 20 }
assert(history[#history].mean > -3, history[#history].mean)
