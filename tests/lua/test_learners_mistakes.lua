-- Mistakes in what a learner is made of: goals, tasks, a replay. Each is told when the learner is made, at the script's
-- line, with the way out, and not after its random steps. And several tasks with goals, in hindsight.
local orrery = require "orrery"

-- Calls f straight from this file, whose line the message must tell, and none of the library.
local function fails(words, f, ...)
  local done, message = pcall(f, ...)
  assert(not done, "no error where one was expected: " .. words)
  assert(tostring(message):find(words, 1, true), ("'%s' is not in: %s"):format(words, tostring(message)))
  assert(tostring(message):find("test_learners_mistakes.lua:%d+: "), tostring(message))
  assert(not tostring(message):find "lua/orrery/", tostring(message))
end

local flip, pendulum = orrery.env("bit_flipping", { bits = 4 }), orrery.env "pendulum"
local task = orrery.tasks.bit_flipping()
local future = orrery.relabel.future {}

local function dqn(more)
  local o = { env = flip, hidden = { 16 }, start = 20, batch = 64 }
  for name, value in pairs(more) do o[name] = value end
  return orrery.dqn(o)
end

-- ---- relabeling

fails("relabel must be a strategy, as in relabel = orrery.relabel.final {}, not a string", dqn, { relabel = "final" })
fails("not a function; call it", dqn, { relabel = orrery.relabel.future })
fails("relabel must be a strategy", dqn, { relabel = { k = 4 } })
fails("sample options: gamma must be 0 to 1, not 1.5", function()
  local store = orrery.replay { env = pendulum }
  store:collect(orrery.policy.random(pendulum), { steps = 5 })
  store:sample(2, { gamma = 1.5 })
end)
fails("give the task, as in task = orrery.tasks.bit_flipping()", dqn, { relabel = future })
fails("relabel.tasks is for a learner of several tasks", dqn,
  { relabel = orrery.relabel.tasks { tasks = { { reward = task.reward, z = { 1 } } } } })
fails("the observations of 'pendulum' (cos, sin, velocity) have no 'desired_goal'; its options desired and achieved",
  orrery.sac, { env = pendulum, relabel = future })
local labelled = orrery.replay { env = flip, observation_extras = { { "label", { 4 } } } }
dqn { task = task, replay = labelled, relabel = orrery.relabel.future { desired = "label" } }
fails("have no 'goal'", dqn, { task = task, relabel = orrery.relabel.future { desired = "goal" } })

-- ---- what does not end

local endless = orrery.ddpg { env = orrery.env "point_mass", hidden = { 8 }, task = { reward = function()
  while true do end
  return 0
end } }
fails("the function does not end: 10 million instructions", function() endless:learn { steps = 10 } end)

-- ---- the replay

fails("beta is for a replay with priorities: replay = orrery.replay { env = env, prioritised", dqn, { beta = 0.5 })
fails("replay must be one as orrery.replay makes it, not a table: replay = orrery.replay { env = env, prioritised", dqn, { replay = { prioritised = {} } })
fails("replay must be one as orrery.replay makes it, not a number", dqn, { replay = 1000 })
fails("replay must be one as orrery.replay makes it, not a number", orrery.fqi, { env = flip, replay = 1000 })
fails("of another environment: it has (cos, sin, velocity)", dqn, { replay = orrery.replay { env = pendulum } })
local replay = orrery.replay { env = flip }
fails("capacity is of the learner's own replay", dqn, { replay = replay, capacity = 10 })
fails("made with observation_extras = { { \"z\", { 2 } } }", dqn,
  { replay = replay, tasks = { task, { reward = task.reward } } })

-- ---- tasks

fails("the task 'pendulum' does not fit the environment 'bit_flipping': no field 'sin' in s (achieved_goal, desired_goal)",
  dqn, { task = orrery.tasks.pendulum() })
fails("call it, as in task = orrery.tasks.bit_flipping()", dqn, { task = orrery.tasks.bit_flipping })
fails("call it, as in task = orrery.tasks.ball_game.pass()", orrery.sac,
  { env = orrery.env "ball_game", task = orrery.tasks.ball_game.pass })
fails("must return a number, not values of shape [4]; join them", dqn,
  { task = function(_, _, next) return next.achieved_goal - next.desired_goal end })
fails("does not fit the environment 'bit_flipping': the reward of tests/lua/test_learners_mistakes.lua:", dqn,
  { task = function(_, _, next) local unused = next.achieved_goal end })
fails("tasks 1 and 2 are both called 'bit_flipping'", dqn, { tasks = { task, task } })
fails("tasks must be a list", dqn, { tasks = {} })
fails("it has no tasks to choose from", function() dqn {}:set_task(2) end)
local function wordless() return "x" end
local function pendulum_with(more)
  local o = { env = pendulum, hidden = { 8 }, start = 20 }
  for name, value in pairs(more) do o[name] = value end
  return orrery.ddpg(o)
end
fails("ddpg options: the task does not fit the environment 'pendulum': the reward of", pendulum_with,
  { task = wordless })
fails("ddpg options: task 2 does not fit", pendulum_with, { tasks = { function() return 1 end, wordless } })
fails("the termination of tests/lua/test_learners_mistakes.lua:", pendulum_with,
  { task = { reward = function() return 1 end, termination = function() return orrery.zeros(3) end } })
fails("it is called with a colon, agent:learn(...)", function() dqn({}).learn { steps = 10 } end)
fails("it is called with a colon, agent:save(...)", function() dqn({}).save "agent" end)
local path = os.tmpname()
dqn({}):save(path)
fails("agent:load: " .. path, function() dqn({ hidden = { 8 } }):load(path) end)
fails("made with other options, such as hidden", function() dqn({ hidden = { 8 } }):load(path) end)
fails("agent:load: it is of an agent for another environment: the observation of the file (achieved_goal[4]", function()
  orrery.sac({ env = pendulum, hidden = { 8 } }):load(path)
end)
os.remove(path .. ".replay")
fails(("agent:load: there is no file '%s.replay', the experience"):format(path), function() dqn({}):load(path) end)
io.open(path .. ".replay", "w"):write("nothing"):close()
fails("agent:load: ", function() dqn({}):load(path) end)
os.remove(path)
fails(("agent:load: there is no file '%s'; the path is that"):format(path), function() dqn({}):load(path) end)
os.remove(path .. ".replay")

-- ---- an environment, a run and numbers that are none

local boat = {
  name = "boat", observation = { "x" }, action = { { "push", low = -1, high = 1 } },
  reset = function(self)
    self.x = 0
    return { x = 0 }
  end,
  step = function(self, action)
    self.x = self.x + action.push
    return { x = self.x }, -self.x ^ 2, false
  end,
}
fails("sac options: an environment is needed, not the table that defines one; wrap it: { env = orrery.env(t) }",
  orrery.sac, { env = boat })
fails("dqn options: an environment is needed, as in { env = orrery.env \"bit_flipping\" }, not the text 'bit_flipping'",
  orrery.dqn, { env = "bit_flipping" })
fails("as in { env = orrery.env \"pendulum\" }, not the text 'penguin'", orrery.ppo, { env = "penguin" })
fails("an environment is needed, as in { env = orrery.env \"pendulum\" }, not a userdata", orrery.ppo, { env = replay })
fails("model options: an environment is needed, not the table that defines one", orrery.model, { env = boat })
local function learn(options, more) return pendulum_with(more or {}):learn(options) end
fails("run must be one as orrery.run makes it, as in run = orrery.run { name = \"reach\" }, not the text 'x'", learn,
  { steps = 10, run = "x" })
fails("not a table", learn, { steps = 10, run = {} })
fails("steps must be 0 or more, not -5", learn, { steps = -5 })
fails("episodes, of each evaluation, must be a whole number, 0 or more, not -1", learn, { episodes = -1 })
local endless = orrery.env(boat)
fails("learn: 'boat' has no limit of steps", learn, { steps = 10 }, { env = endless })
fails("give the environment max_steps, or learn without evaluations, with episodes = 0", learn, { steps = 10 },
  { env = endless })
assert(#learn({ steps = 10, episodes = 0 }, { env = endless }) == 1)
for name, value in pairs { noise = -1, learning_rate = -1, actor_learning_rate = 0 / 0 } do
  fails(("ddpg options: %s must be 0 or more, not "):format(name), pendulum_with, { [name] = value })
end
fails("ddpg options: random must be a share, 0 to 1, not 2", pendulum_with, { random = 2 })
fails("ppo options: value_learning_rate must be 0 or more, not -1", orrery.ppo,
  { env = pendulum, value_learning_rate = -1 })
fails("play options: episodes must be a whole number, 1 or more, not 0", function()
  pendulum_with({}):play { episodes = 0 }
end)

-- ---- observations of another environment, and identifiers that are missing

do
  local agent = pendulum_with {}
  local whose = "the agent is of 'pendulum', whose observations (cos, sin, velocity) have 3 numbers"
  local point = orrery.env "point_mass"
  local function zero() return 0 end
  local function plan(options)
    options.env, options.planner = point, orrery.plan.cem { horizon = 2, proposals = 2 }
    return orrery.mpc(options)
  end
  local size = point.observation_space.size
  local given = ("the state given (%s) has %d numbers"):format(table.concat(point.observation_space.names, ", "), size)
  fails(("agent:value(): %s; %s"):format(whose, given), plan, { task = zero, value = agent:value() })
  fails(("agent:policy(): %s; %s"):format(whose, given), plan, { task = zero, policy = agent:policy() })
  fails("the state given has 2 numbers", function() return agent:value()(orrery.zeros(2)) end)
  -- as many numbers, of other names
  local other = { name = "other", observation = { "a", "b", "c" }, action = boat.action, max_steps = 5,
    reset = function() return { a = 0, b = 0, c = 0 } end,
    step = function() return { a = 0, b = 0, c = 0 }, 0, false end }
  local model = orrery.model { env = orrery.env(other), members = 1, hidden = { 4 } }
  fails("the state given (a, b, c) has 3 numbers", orrery.mpc,
    { model = model, task = zero, value = agent:value(), planner = orrery.plan.cem { horizon = 2 } })
  fails(("agent:act: %s; of the observation given it is said: no such field"):format(whose), orrery.evaluate, point,
    agent)
  fails("agent:act: the agent is of 'pendulum'", agent.act, agent, orrery.zeros(2))
  fails("agent:decide: observations must be a tensor of n x 3: " .. whose .. "; not one of 2 x 4", agent.decide, agent,
    orrery.zeros(2, 4))
  fails("not a table", agent.value, agent, { 1, 2, 3 })
  fails("agent:explore: z tells tasks apart", agent.explore, agent, orrery.zeros(2, 3), orrery.zeros(2, 2))
  local several = pendulum_with { tasks = { zero, function() return 1 end } }
  fails("agent:decide: z is needed, as in agent:decide(observations, z)", several.decide, several, orrery.zeros(2, 3))
  fails("a tensor of 2 x 2, not one of 1 x 2", several.decide, several, orrery.zeros(2, 3), orrery.zeros(1, 2))
  assert(several:decide(orrery.zeros(2, 3), orrery.zeros(2, 2)):size(1) == 2)
end

-- ---- a task that only the relabeling has is the agent's: its success is told

local history = dqn { relabel = orrery.relabel.future { task = task } }:learn { steps = 80, every = 40, episodes = 2 }
assert(history[2].success)
local lines = {}
for line in (tostring(history) .. "\n"):gmatch "(.-)\n" do lines[#lines + 1] = line end
assert(#lines == 3 and lines[1]:find "^%s+steps%s+mean%s+success%s+training%s+seconds$", lines[1])
assert(lines[3]:find "^%s+80 ", lines[3])

-- ---- several tasks with goals: a relabeled transition is rewarded by the task that it was collected for

local function ones(_, _, next) return next.achieved_goal:sum() end
local two = { { name = "flip", reward = task.reward, success = task.success }, { name = "ones", reward = ones } }
for _, steps in ipairs { 1, 2 } do
  local agent = dqn { tasks = two, relabel = future, n_steps = steps, gamma = 1 }
  agent:learn { steps = 200, every = 200, episodes = 1 }
  local batch, seen = agent:sample(), { 0, 0 }
  for i = 1, #batch.reward do
    local which = batch.z[i][1] == 1 and 1 or 2
    local bits, goal = batch.next_observation[i]:slice(1, 4), batch.next_observation[i]:slice(5, 8)
    local reached = orrery.sum(orrery.abs(bits - goal)) == 0
    if steps == 1 then assert(batch.reward[i] == (which == 2 and orrery.sum(bits) or reached and 0 or -1), i)
    else assert(which == 1 and batch.reward[i] <= 0 or which == 2 and batch.reward[i] >= 0) end
    if batch.relabeled[i] == 1 then seen[which] = seen[which] + 1 end
  end
  assert(seen[1] > 0 and seen[2] > 0)
  if steps == 1 then
    -- evaluated by one of its tasks, it acts for that one
    agent.decide = function(_, _, z)
      seen.z = z:totable()[1]
      return orrery.tensor({ 0 }, "int")
    end
    for i, one in ipairs { two[1], two[2], { name = "ones", reward = function() return 0 end }, ones } do
      orrery.evaluate(flip, agent, { task = one, episodes = 1 })
      assert(seen.z[i == 1 and 1 or 2] == 1, i)
    end
    fails("is none of its own (flip, ones)", orrery.evaluate, flip, agent, { task = { reward = function() return 1 end } })
    agent:set_task "ones"
    orrery.evaluate(flip, agent, { task = { reward = function() return 1 end }, episodes = 1 })
    assert(seen.z[2] == 1)
  end
end
