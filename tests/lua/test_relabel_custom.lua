-- Strategies of relabeling written in Lua, traced and not; experience shared among tasks.
local orrery = require "orrery"
local trace = require "orrery.trace"
local fails = require "tests.lua.fails"
local relabel = orrery.relabel

orrery.seed(12)

local notices = {}
trace.notice = function(message) notices[#notices + 1] = message end

-- Whether two tables of counts may be of one distribution: chi square of two samples of one size.
local function check_alike(a, b)
  local keys, statistic, n = {}, 0, 0
  for key in pairs(a) do keys[key] = true end
  for key in pairs(b) do keys[key] = true end
  for key in pairs(keys) do
    local x, y = a[key] or 0, b[key] or 0
    statistic, n = statistic + (x - y) ^ 2 / (x + y), n + 1
  end
  local df = n - 1
  assert(statistic <= df + 4 * math.sqrt(2 * df) + 8, ("chi square %.1f of %d"):format(statistic, df))
end

-- Episode e of the replay has observations e * 10 + t, t from 0; old ones have left.
local replay = orrery.replay { observation = { "key", { "achieved_goal", 2 }, { "desired_goal", 2 } },
                               action = { "force" }, capacity = 21 }
local lengths = { 5, 1, 4, 2, 6, 1, 3, 5 }
for e, length in ipairs(lengths) do
  local episode = { observation = {}, action = {}, reward = {}, terminated = e % 2 == 0 }
  for t = 0, length do episode.observation[t + 1] = { e * 10 + t, e * 10 + t, -t, 0, 99 } end
  for t = 1, length do episode.action[t], episode.reward[t] = { 100 + t }, 1000 + t end
  replay:add_episode(episode)
end
assert(replay.episodes == 6 and #replay == 21)

local task = {
  reward = function(_, _, next) return -orrery.square(next.achieved_goal - next.desired_goal):sum() end,
  termination = function(_, _, next) return orrery.square(next.achieved_goal - next.desired_goal):sum() < 0.01 end,
}

local function sample(r, n, options)
  local o = { relabel = r, task = task, stream = orrery.stream(n), fields = { "key", "time", "length", "desired_goal",
              "reward", "terminated", "next_achieved_goal", "observation" } }
  for name, value in pairs(options or {}) do o[name] = value end
  return replay:sample(n, o)
end

local function counts_of(batch)
  local counts = {}
  for k = 1, batch.key:size(1) do
    local key = batch.key[k] .. " " .. batch.desired_goal[{ k, 1 }]
    counts[key] = (counts[key] or 0) + 1
  end
  return counts
end

-- ---- the strategy `future`, in Lua

local function future(episode, t, random)
  return episode:at(random:integer(t + 1, episode.length + 1)).achieved_goal
end

local n = 20000
local built_in = sample(relabel.future { k = 4 }, n)
local traced = sample(relabel.custom(future, { share = 0.8 }), n, { stream = orrery.stream(77) })
assert(#notices == 0, notices[1])
check_alike(counts_of(built_in), counts_of(traced))
for k = 1, n do
  local key, goal = traced.key[k], traced.desired_goal[{ k, 1 }]
  local e, t = key // 10, key % 10
  local reward, ended = 1000 + t + 1, (t + 1 == lengths[e] and e % 2 == 0) and 1 or 0
  if traced.relabeled[k] == 1 then
    local at = goal - e * 10
    assert(at >= t + 1 and at <= lengths[e] and traced.desired_goal[{ k, 2 }] == -at)
    reward, ended = -2 * (goal - key - 1) ^ 2, goal == key + 1 and 1 or 0
  else assert(goal == 0) end
  assert(traced.reward[k] == reward and traced.terminated[k] == ended)
  assert(traced.observation[{ k, 4 }] == goal)
end
local plain = sample(relabel.custom(orrery.interpret(future), { share = 0.8 }), n)
assert(#notices == 0)
check_alike(counts_of(built_in), counts_of(plain))

-- ---- what a strategy may see and return

-- the same parts for every transition
local mixed = relabel.custom(function(episode, t, random)
  if random:uniform() < 0.25 then return episode:at(episode.length + 1).achieved_goal end
  local at = random:integer(1, episode.length)
  return { goal = episode:at(at + 1).achieved_goal + 0 * episode:action(at).force,
           reward = episode:reward(t) + episode:action(t).force, done = at == t, weight = random:uniform() + 1 }
end)
fails("some transitions and not for others", sample, mixed, 50)
-- branches, several draws, actions and rewards; traced
notices = {}
local full = relabel.custom(function(episode, t, random)
  local at = random:integer(1, episode.length)
  if random:uniform() < 0.25 then at = episode.length end
  return { goal = episode:at(at + 1).achieved_goal, reward = episode:reward(t) + episode:action(t).force,
           done = orrery.equal(at, t), weight = random:uniform() + 1 }
end)
local batch = sample(full, 3000, { task = nil })
assert(#notices == 0, notices[1])
local ended = 0
for k = 1, 3000 do
  local t = batch.key[k] % 10 + 1
  assert(batch.reward[k] == 1100 + 2 * t and batch.weight[k] >= 1 and batch.weight[k] < 2)
  assert(batch.terminated[k] == (batch.desired_goal[{ k, 1 }] == batch.next_achieved_goal[{ k, 1 }] and 1 or 0))
  ended = ended + batch.terminated[k]
end
assert(ended > 300)
fails("works for single steps", sample, full, 10, { steps = 2 })

-- nothing: the transition stays as it was. That cannot be traced, which is told once
local some = relabel.custom(function(episode, t, random)
  if random:uniform() < 0.3 then return nil end
  return episode:at(t + 1).achieved_goal
end)
for _ = 1, 3 do
  local b = sample(some, 2000)
  local share = b.relabeled:mean()
  assert(math.abs(share - 0.7) < 0.05)
  for k = 1, 2000 do
    if b.relabeled[k] == 1 then assert(b.terminated[k] == 1 and b.reward[k] == 0)
    else assert(b.desired_goal[{ k, 2 }] == 99 and b.reward[k] > 1000) end
  end
end
assert(#notices == 1 and notices[1]:find "plain Lua")
local never = sample(relabel.custom(function() return nil end), 20)
assert(never.relabeled:sum() == 0)

-- what only plain Lua can do works, too
notices = {}
local table_of_goals = { [1] = { 1, 2 }, [2] = { 3, 4 } }
local keyed = sample(relabel.custom(function(_, t) return table_of_goals[t] or { 5, 6 } end), 100)
assert(#notices == 1)
for k = 1, 100 do
  local t = keyed.time[k]
  assert(keyed.desired_goal[{ k, 1 }] == (t == 1 and 1 or t == 2 and 3 or 5))
end

-- a captured number is looked at again
local offset = 0
local captured = relabel.custom(function(episode, t) return episode:at(t + 1).achieved_goal + offset end)
assert(sample(captured, 100).reward:sum() == 0)
offset = 1
assert(sample(captured, 100).reward:mean() == -2)

-- the same from the same stream; windows have one goal
local r = relabel.custom(future)
assert(sample(r, 100).desired_goal:same(sample(r, 100).desired_goal))
local windows = replay:windows(100, 3, { relabel = r, task = task, partial = true,
  fields = { "key", "desired_goal", "reward", "mask" } })
for k = 1, 100 do
  for j = 1, 3 do
    local goal, key = windows.desired_goal[{ k, j, 1 }], windows.key[{ k, j }]
    assert(goal == windows.desired_goal[{ k, 1, 1 }])
    assert(windows.reward[{ k, j }] == (windows.mask[{ k, j }] == 1 and -2 * (goal - key - 1) ^ 2 or 0))
  end
end

-- errors name the strategy's mistake
fails("there are 1 to", sample, relabel.custom(function(episode, t) return episode:at(t + 2).achieved_goal end), 100)
fails("the function does not end", sample, relabel.custom(function(episode, t)
  while t > 0 do end
  return episode:at(t).achieved_goal
end), 5)
fails("there are 1 to", sample, relabel.custom(function(episode) return episode:at(0).achieved_goal end), 100)
fails("did you mean 'achieved_goal'", sample, relabel.custom(function(e, t) return e:at(t).achived_goal end), 5)
fails("a whole observation", sample, relabel.custom(function(episode, t) return episode:at(t) end), 5)
fails("did you mean 'reward'", sample, relabel.custom(function() return { goal = { 0, 0 }, rewrad = 1 } end), 5)
fails("has no goal", sample, relabel.custom(function() return { reward = 1 } end), 5)
fails("1 number, 'desired_goal' has 2", sample, relabel.custom(function(episode, t) return episode:at(t).key end), 5)
fails("below the lowest", sample, relabel.custom(function(_, _, random) return random:integer(3, 1) end), 5)
fails("a function of (episode, t, random)", relabel.custom, "future")

-- ---- many tasks: what was collected for one is stored for the others

local tasks, corners = {}, { { 1, 1 }, { 1, -1 }, { -1, 1 }, { -1, -1 } }
for i, corner in ipairs(corners) do
  local z = { 0, 0, 0, 0 }
  z[i] = 1
  local place = orrery.tensor(corner)
  tasks[i] = { name = "corner " .. i, z = z, reward = function(_, a, next)
    return 10 * i - orrery.square(next.place - place):sum() + a.force
  end }
end
tasks[2].termination = function(_, _, next) return next.place[1] > 0.5 end

local shared = orrery.replay { observation = { { "place", 2 } }, action = { "force" },
                               observation_extras = { { "z", 4 }, { "image", 4, dtype = "byte" } } }
local recorder = shared:recorder()
for e = 1, 10 do
  local number = e % 2 + 1 -- only tasks 1 and 2
  local function observe() recorder:set("z", tasks[number].z) recorder:set("image", { e, 2, 3, 255 }) end
  recorder:start { 0, 0 }
  observe()
  for t = 1, 6 do
    recorder:step({ t }, -7, { t / 6, number })
    observe()
  end
  recorder:finish(e == 10, e ~= 10)
end
local function task_reward(i, x, y, force) return 10 * i - (x - corners[i][1]) ^ 2 - (y - corners[i][2]) ^ 2 + force end

local function check_tasks(b, chosen)
  local seen = { 0, 0, 0, 0 }
  for k = 1, b.z:size(1) do
    local number, sum = 0, 0
    for i = 1, 4 do
      if b.z[{ k, i }] == 1 then number = i end
      sum = sum + b.z[{ k, i }]
      assert(b.z[{ k, i }] == b.next_z[{ k, i }])
    end
    assert(sum == 1 and b.image[{ k, 4 }] == 255 and b.image:dtype() == "byte")
    if b.relabeled[k] == 1 then
      local x, y = b.next_observation[{ k, 1 }], b.next_observation[{ k, 2 }]
      assert(math.abs(b.reward[k] - task_reward(number, x, y, b.action[{ k, 1 }])) < 1e-4)
      assert(b.terminated[k] == ((number == 2 and x > 0.5) and 1 or 0))
      if chosen then assert(number == chosen(b, k)) end
      seen[number] = seen[number] + 1
    else
      assert(b.reward[k] == -7 and number <= 2)
    end
  end
  return seen
end

local even = shared:sample(4000, { relabel = relabel.tasks { tasks = tasks }, stream = orrery.stream(1) })
local seen = check_tasks(even)
for i = 1, 4 do assert(math.abs(seen[i] - 1000) < 130) end
local half = shared:sample(4000, { relabel = relabel.tasks { tasks = tasks, share = 0.5 }, stream = orrery.stream(1) })
check_tasks(half)
assert(math.abs(half.relabeled:mean() - 0.5) < 0.04)
-- the task whose corner is nearest to where the step led
local nearest = relabel.tasks { tasks = tasks, choose = function(episode, t)
  local place = episode:at(t + 1).place
  return orrery.where(orrery.less(place[1], 0.5), 3, 1)
end }
notices = {}
check_tasks(shared:sample(500, { relabel = nearest }),
  function(b, k) return b.next_observation[{ k, 1 }] < 0.5 and 3 or 1 end)
assert(#notices == 0)
local several = shared:sample(200, { relabel = nearest, steps = 3, gamma = 0.5, fields = { "reward", "time", "z" } })
assert(several.reward:mean() > 10)
notices = {}
local late = shared:sample(300, { relabel = relabel.tasks { tasks = tasks, choose = function(_, t)
  return t > 3 and 4 or nil
end }, fields = { "time", "z", "next_z", "image", "reward", "terminated", "next_observation", "action" } })
check_tasks(late, function() return 4 end)
for k = 1, 300 do assert(late.relabeled[k] == (late.time[k] > 3 and 1 or 0)) end
assert(#notices == 1)
fails("1 to 4", function() shared:sample(5, { relabel = relabel.tasks { tasks = tasks, choose = function() return 5 end } }) end)
assert(relabel.tasks({ tasks = { task, task, task } }).values:same(orrery.tensor { { 1, 0, 0 }, { 0, 1, 0 }, { 0, 0, 1 } }))
fails("2 of 3 tasks have an identifier z", relabel.tasks, { tasks = { { z = 1 }, { z = 2 }, task } })
fails("z of task 2 has 1 numbers", relabel.tasks, { tasks = { { reward = task.reward, z = { 1, 2 } }, { z = 1 } } })
fails("tasks 1 and 2 have the same identifier", relabel.tasks, { tasks = { { z = { 1, 0 } }, { z = { 1, 0 } } } })
fails("z of task 2 is NaN", relabel.tasks, { tasks = { { z = { 1, 0 } }, { z = { 1, 0 / 0 } } } })
fails('not a string; words become numbers by orrery.words', relabel.tasks, { tasks = { { z = { 1, 0 } }, { z = "left" } } })
fails("a list of tasks", relabel.tasks, {})
fails("no field 'zz'", shared.sample, shared, 5, { relabel = relabel.tasks { tasks = tasks, field = "zz" } })

-- comparisons of what is not known while tracing
local equal = sample(relabel.custom(function(episode, t, random)
  local at = random:integer(1, episode.length)
  return { goal = episode:at(at + 1).achieved_goal, done = at == t }
end), 1000)
for k = 1, 1000 do
  assert(equal.terminated[k] == (equal.desired_goal[{ k, 1 }] == equal.key[k] + 1 and 1 or 0))
end
-- a task made anew for each batch is not compiled anew, and neither is a strategy
local function again() return sample(r, 256, { task = { reward = task.reward, termination = task.termination } }) end
again()
local start = os.clock()
for _ = 1, 20 do again() end
assert((os.clock() - start) / 20 < 0.02)

-- ---- fields called as what a replay, or the relabeling itself, has names for

do
  local spaces = { observation = { "task", "relabeled", "time", "achieved_goal", "desired_goal" }, action = { "a" } }
  local replay = orrery.replay(spaces)
  local rows = {}
  for t = 0, 4 do rows[t + 1] = { 70 + t, 80 + t, 90 + t, t, 9 } end
  replay:add_episode { observation = rows, action = { { 0 }, { 0 }, { 0 }, { 0 } }, reward = { 5, 5, 5, 5 } }
  local final = orrery.relabel.final { share = 1, task = { reward = function(s) return s.task + 1000 * s.relabeled end } }
  local batch = replay:sample(8, { relabel = final })
  for k = 1, 8 do
    local t = batch.observation[k][1] - 70
    assert(batch.observation[k][5] == 4 and batch.reward[k] == 70 + t + 1000 * (80 + t))
  end
  local own = orrery.relabel.custom(function(episode, t) return episode:at(t).time end,
    { task = { reward = function() return 0 end } })
  local done, message = pcall(replay.sample, replay, 4, { relabel = own })
  assert(not done and message:find("another meaning for 'time'", 1, true), message)
end

-- ---- a batch of which a strategy leaves every transition as it was

do
  local replay = orrery.replay { observation = { "x" }, action = { "a" } }
  replay:add_episode { observation = { { 1 }, { 2 } }, action = { { 0 } }, reward = { 5 }, terminated = true }
  local wanted = true
  local own = orrery.relabel.custom(orrery.interpret(function(episode, t)
    if wanted then return { goal = episode:at(t + 1).x, reward = 7, weight = 3 } end
  end), { desired = "x" })
  local batch = replay:sample(4, { relabel = own })
  assert(batch.relabeled:sum() == 4 and batch.reward[1] == 7 and batch.weight[1] == 3 and batch.observation[1][1] == 2)
  wanted = false
  assert(replay:sample(4, { relabel = own, into = batch }) == batch and batch.relabeled:sum() == 0)
  assert(batch.reward[1] == 5 and batch.terminated[1] == 1 and batch.weight[1] == 1 and batch.observation[1][1] == 1)
end

-- ---- an end of the environment is one for every task, one of a task's own for nobody else

do
  local replay = orrery.replay { observation = { "x" }, action = { "a" }, observation_extras = { { "z", 2 } } }
  local function add(last) -- for task 1, which ends at 5
    replay:add_episode { observation = { { 0 }, { 1 }, { last } }, action = { { 0 }, { 0 } }, reward = { 0, 0 },
      terminated = true, z = { { 1, 0 }, { 1, 0 }, { 1, 0 } } }
  end
  add(5)
  add(9)
  local function nothing() return 0 end
  local tasks = { { reward = nothing, z = { 1, 0 }, termination = function(_, _, next) return next.x == 5 end },
                  { reward = nothing, z = { 0, 1 } } }
  local marked = { tasks[1], { reward = orrery.interpret(nothing), z = { 0, 1 } } }
  for _, list in ipairs { tasks, marked } do
    for steps = 1, 2 do
      local batch = replay:sample(200, { relabel = relabel.tasks { tasks = list }, steps = steps, gamma = 0.5 })
      for k = 1, 200 do
        local x, first = batch.next_observation[{ k, 1 }], batch.z[{ k, 1 }] == 1
        assert(batch.terminated[k] == ((x == 9 or x == 5 and first) and 1 or 0))
        assert((batch.discount[k] == 0) == (batch.terminated[k] == 1))
      end
    end
  end
end
