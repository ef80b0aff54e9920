-- Rewards by a task for transitions that keep their goal, and ends that were recorded.
local orrery = require "orrery"
local fails = require "tests.lua.fails"
local relabel = orrery.relabel

-- A boat on a line; the episode ends, as recorded, where it runs aground at 3. The goal is a place.
local function new_replay(options)
  options = options or {}
  options.observation, options.action = { "achieved_goal", "desired_goal" }, { "row" }
  local replay = orrery.replay(options)
  for start = 0, options.observation_extras and -1 or 2 do
    local e = { observation = {}, action = {}, reward = {}, terminated = true }
    for x = start, 3 do table.insert(e.observation, { x, 1 }) end
    for t = 1, #e.observation - 1 do e.action[t], e.reward[t] = { 1 }, -50 end
    replay:add_episode(e)
  end
  return replay
end
local replay = new_replay()
local fields = { "reward", "terminated", "next_achieved_goal", "next_desired_goal" }
local function drawn(options)
  options.fields, options.stream = fields, orrery.stream(4)
  return replay:sample(400, options)
end
local task = { reward = function(_, _, next) return 10 * next.achieved_goal + next.desired_goal end }
local function check(b, wanted_end)
  for k = 1, 400 do
    local x = b.next_achieved_goal[k]
    assert(b.reward[k] == 10 * x + b.next_desired_goal[k])
    assert(b.terminated[k] == wanted_end(x, b.relabeled and b.relabeled[k] == 1))
  end
end
local function aground(x) return x == 3 and 1 or 0 end

-- a task alone rewards everything, and recorded ends stay beside its own
check(drawn { task = task }, aground)
check(drawn { task = { reward = task.reward, termination = function(_, _, next) return next.achieved_goal == 2 end } },
  function(x) return x >= 2 and 1 or 0 end)
local two = drawn { task = task, steps = 2, gamma = 0.5 } -- of several steps
for k = 1, 400 do
  local x = two.next_achieved_goal[k]
  assert(two.reward[k] == 10 * x + 1 or two.reward[k] == 10 * (x - 1) + 1 + 0.5 * (10 * x + 1))
end
local windows = replay:windows(50, 2, { fields = { "reward", "mask" }, task = task })
for k = 1, 50 do
  for t = 1, 2 do
    if windows.mask[{ k, t }] == 1 then assert(windows.reward[{ k, t }] >= 11) end
  end
end

-- with hindsight the others are as they were, or rewarded too
local half = drawn { relabel = relabel.final { share = 0.5, task = task, keep_ends = false } }
for k = 1, 400 do assert((half.reward[k] == -50) == (half.relabeled[k] == 0)) end
check(drawn { relabel = relabel.final { share = 0.5, task = task, keep_ends = false }, anew = true },
  function(x, other) return other and 0 or aground(x) end)
check(drawn { relabel = relabel.final { share = 0.5, task = task, keep_ends = true }, anew = true }, aground)
check(drawn { relabel = relabel.none { task = task }, anew = true }, aground)
local function plain(_, _, next) return 10 * next.achieved_goal + next.desired_goal end
check(drawn { relabel = relabel.final { share = 0.5, task = orrery.interpret(plain), keep_ends = true }, anew = true },
  aground)

-- what is dropped without a word of the user's is told once
local told = {}
local function hearing(f)
  local own = warn
  warn = function(text) told[#told + 1] = text end
  f()
  warn = own
end
hearing(function()
  local strategy = relabel.future { task = task }
  drawn { relabel = strategy }
  drawn { relabel = strategy }
  drawn { relabel = relabel.future { task = task, keep_ends = false } }
  drawn { relabel = relabel.future { task = { reward = task.reward, termination = function() return false end } } }
end)
assert(#told == 1 and told[1]:find("keep_ends = true keeps it", 1, true))

-- rewards must be finite
fails("of the task 'far' of tests/lua/test_relabel_anew.lua:81 is infinite", function()
  drawn { task = { name = "far", reward = function(_, _, next) return orrery.log(next.desired_goal - 1) end } }
end)
local _, message = pcall(drawn, { relabel = relabel.final { share = 1, keep_ends = false, task = function(_, _, next)
  return orrery.log(next.achieved_goal - 4)
end } })
assert(message:find("is NaN for transition 1 of the batch", 1, true), message)

-- a learner's tasks reward what is in a replay that it is given; a strategy's own task goes first
local room = orrery.env "point_mass"
local function given(more)
  local store = orrery.replay { env = room }
  store:collect(orrery.policy.random(room), { steps = 200, seed = 1 })
  more.env, more.hidden, more.replay = room, { 8 }, store
  return orrery.ddpg(more)
end
local hundred = { reward = function() return 100 end }
local function all_are(agent, reward)
  local r = agent:sample().reward
  return orrery.min_along(r) == reward and orrery.max_along(r) == reward
end
assert(all_are(given { task = hundred }, 100))
assert(all_are(given { task = hundred, relabel = relabel.future { keep_ends = false } }, 100))
assert(all_are(given { task = hundred, relabel = relabel.final { share = 1, task = function() return 5 end } }, 5))
assert(given({}):sample().reward:mean() < 0) -- the room's own
local store = orrery.replay { env = room, observation_extras = { { "z", { 2 } } } }
local rows = { observation = {}, action = { { 0, 0 } }, reward = { 0 }, terminated = false,
               z = { { 0, 0 }, { 0, 0 } } }
for t = 1, 2 do rows.observation[t] = { 0, 0, 0, 0, 0, 0 } end
store:add_episode(rows)
local agent = orrery.ddpg { env = room, hidden = { 8 }, replay = store, tasks = { hundred, function() return 5 end } }
fails("z is that of none of the 2 tasks", agent.sample, agent)

-- ends that are recorded stay where a transition keeps its task, also where another task would end there
do
  local function at_3(_, _, next) return next.achieved_goal == 3 end
  local ending = { name = "ending", reward = plain, termination = at_3 }
  local tasks = { { name = "open", reward = plain }, ending }
  local both = new_replay { observation_extras = { { "z", { 2 } } } }
  local function add(z)
    both:add_episode { observation = { { 2, 1 }, { 3, 1 } }, action = { { 1 } }, reward = { 0 }, terminated = true,
                       z = { z, z } }
  end
  add { 1, 0 }
  add { 0, 1 }
  local function ends_of(options)
    options.fields, options.stream = { "reward", "terminated", "z" }, orrery.stream(3)
    return both:sample(50, options).terminated:mean()
  end
  assert(ends_of { tasks = tasks } == 1)
  assert(ends_of { tasks = tasks, relabel = relabel.tasks { tasks = tasks, share = 0 }, anew = true } == 1)
  -- what became another task's ends as that task says: here one of the two does
  assert(ends_of { relabel = relabel.tasks { tasks = { tasks[1], ending } } } < 1)
end
