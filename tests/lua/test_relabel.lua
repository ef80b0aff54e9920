-- Relabeling, against a slow and obvious one: a list of episodes, in which every sampled row is looked up and
-- everything about it computed by hand.
local orrery = require "orrery"
local fails = require "tests.lua.fails"
local relabel = orrery.relabel

orrery.seed(11)

local function close(a, b) return math.abs(a - b) <= 1e-5 * math.max(1, math.abs(a), math.abs(b)) end

-- Counts against what is expected, as chi square; the bound is passed by chance once in some ten thousand times.
local function check_counts(counts, expected)
  local sum, total, statistic, n = 0, 0, 0, 0
  for key, e in pairs(expected) do sum, n = sum + e, n + 1 end
  for key, c in pairs(counts) do
    assert(expected[key], "never to be drawn: " .. tostring(key))
    total = total + c
  end
  for key, e in pairs(expected) do
    local mean = total * e / sum
    statistic = statistic + ((counts[key] or 0) - mean) ^ 2 / mean
  end
  local df = n - 1
  assert(statistic <= df + 4 * math.sqrt(2 * df) + 8, ("chi square %.1f of %d"):format(statistic, df))
end

-- ---- episodes in which every observation is a number of its own

local spaces = {
  observation = { "key", { "achieved_goal", 2 }, "speed", { "desired_goal", 2 }, { "image", 3, dtype = "byte" } },
  action = { "force" },
}
local function new_replay(capacity)
  return orrery.replay { observation = spaces.observation, action = spaces.action, capacity = capacity }
end

local made = 0
local function random_episode(length)
  made = made + 1
  local e = { observation = {}, action = {}, reward = {}, terminated = orrery.random() < 0.5, number = made }
  local goal = { -made, 0.5 }
  for t = 0, length do
    local key = made * 10 + t
    e.observation[t + 1] = { key, key + 0.25, -key, orrery.random(), goal[1], goal[2], t, made % 250, 7 }
  end
  for t = 1, length do
    e.action[t] = { t }
    e.reward[t] = 1000 + made * 10 + t
  end
  e.goal = goal
  return e
end

local function add(replay, e)
  replay:add_episode { observation = e.observation, action = e.action, reward = e.reward, terminated = e.terminated }
end

local function achieved(e, t) return e.observation[t + 1][2], e.observation[t + 1][3] end -- t from 0

-- The reward sees next, the time (from 0) and the action; over where the goal is reached.
local task = {
  reward = function(s, a, next, t)
    return (next.achieved_goal - next.desired_goal):sum() + 0.5 * t + a.force + 0.001 * s.key
  end,
  termination = function(_, _, next) return orrery.square(next.achieved_goal - next.desired_goal):sum() < 0.01 end,
}
local function reward_by_hand(e, t, goal) -- of step t, from 0
  local x, y = achieved(e, t + 1)
  return x + y - goal[1] - goal[2] + 0.5 * t + e.action[t + 1][1] + 0.001 * e.observation[t + 1][1]
end
local function ended_by_hand(e, t, goal)
  local x, y = achieved(e, t + 1)
  return (x - goal[1]) ^ 2 + (y - goal[2]) ^ 2 < 0.01 and 1 or 0
end

local function index_of(episodes)
  local by_key, steps = {}, 0
  for _, e in ipairs(episodes) do
    for t = 0, #e.reward do by_key[e.observation[t + 1][1]] = { e, t } end
    steps = steps + #e.reward
  end
  return by_key, steps
end

-- The observation that a goal was achieved at: episode and time.
local function where_from(by_key, goal)
  local found = by_key[math.floor(goal[1])]
  local x, y = achieved(found[1], found[2])
  assert(close(goal[1], x) and close(goal[2], y))
  return found[1], found[2]
end

-- Whether a strategy may choose observation `at` of episode `from` for step t of episode e.
local allowed = {
  final = function(e, _, from, at) return from == e and at == #e.reward end,
  future = function(e, t, from, at) return from == e and at >= t + 1 and at <= #e.reward end,
  episode = function(e, _, from, at) return from == e and at >= 1 and at <= #e.reward end,
  random = function(_, _, from, at) return at >= 1 and at <= #from.reward end,
}

local fields = { "observation", "next_observation", "desired_goal", "next_desired_goal", "achieved_goal",
                 "next_achieved_goal", "image", "next_image", "action", "reward", "terminated", "key", "time" }

local function check_row(batch, k, by_key, may)
  local e, t = table.unpack(by_key[batch.key[k]])
  assert(t < #e.reward and batch.time[k] == t + 1 and batch.action[{ k, 1 }] == t + 1)
  local goal, from, at = e.goal, nil, nil
  if batch.relabeled[k] == 1 then
    goal = batch.desired_goal[k]:totable()
    from, at = where_from(by_key, goal)
    assert(may(e, t, from, at), "the strategy may not choose this goal")
    assert(close(batch.reward[k], reward_by_hand(e, t, goal)))
    assert(batch.terminated[k] == ended_by_hand(e, t, goal))
  else
    assert(batch.reward[k] == e.reward[t + 1])
    assert(batch.terminated[k] == ((t + 1 == #e.reward and e.terminated) and 1 or 0))
  end
  for name, step in pairs { [""] = t, next_ = t + 1 } do
    local seen, flat = e.observation[step + 1], batch[name .. "observation"][k]
    for j = 1, 9 do
      local wanted = (j == 5 or j == 6) and goal[j - 4] or seen[j]
      assert(close(flat[j], wanted))
      if j > 6 then assert(batch[name .. "image"][{ k, j - 6 }] == seen[j]) end
    end
    for j = 1, 2 do
      assert(close(batch[name .. "desired_goal"][{ k, j }], goal[j]))
      assert(close(batch[name .. "achieved_goal"][{ k, j }], seen[j + 1]))
    end
  end
  return e, t, from, at
end

local strategies = {
  final = relabel.final { task = task }, future = relabel.future { task = task },
  episode = relabel.episode { task = task }, random = relabel.random { k = 4, task = task },
}
local shares = { final = 0.5, future = 0.8, episode = 0.8, random = 0.8 }

-- Rows of one strategy: each looked up, the share of relabeled ones, which goals and how often.
local function check_strategy(name, replay, episodes, n)
  local by_key, steps = index_of(episodes)
  local batch = replay:sample(n, { relabel = strategies[name], fields = fields, stream = orrery.stream(n, 3) })
  assert(batch.image:dtype() == "byte" and batch.next_image:dtype() == "byte")
  local counts, relabeled, drawn = {}, 0, {}
  for k = 1, n do
    local e, t, from, at = check_row(batch, k, by_key, allowed[name])
    local key = e.number * 10 + t
    drawn[key] = (drawn[key] or 0) + 1
    if from then
      relabeled = relabeled + 1
      local row = key .. " " .. from.number * 10 + at
      counts[row] = (counts[row] or 0) + 1
    end
  end
  assert(math.abs(relabeled / n - shares[name]) < 4.5 * math.sqrt(shares[name] * (1 - shares[name]) / n))
  -- every goal that may be chosen for a step is, each equally often
  local expected, expected_steps = {}, {}
  for _, e in ipairs(episodes) do
    for t = 0, #e.reward - 1 do
      expected_steps[e.number * 10 + t] = 1
      local goals = {}
      for _, from in ipairs(episodes) do
        for at = 0, #from.reward do
          if allowed[name](e, t, from, at) then goals[#goals + 1] = from.number * 10 + at end
        end
      end
      for _, goal in ipairs(goals) do expected[e.number * 10 + t .. " " .. goal] = 1 / #goals end
    end
  end
  check_counts(drawn, expected_steps)
  check_counts(counts, expected)
  assert(steps == #replay)
end

-- Every capacity makes episodes leave; lengths are 1 to 6. What was saved is as good as what was not.
for _, capacity in ipairs { 6, 13, 20 } do
  local replay, episodes, total = new_replay(capacity), {}, 0
  for _ = 1, 25 do
    local e = random_episode(orrery.random(6))
    add(replay, e)
    episodes[#episodes + 1] = e
    total = total + #e.reward
    while total > capacity do total = total - #table.remove(episodes, 1).reward end
  end
  for name in pairs(strategies) do check_strategy(name, replay, episodes, 4000) end
  local path = os.tmpname()
  replay:save(path)
  local loaded = orrery.load_replay(path)
  os.remove(path)
  for name in pairs(strategies) do check_strategy(name, loaded, episodes, 4000) end
  -- and goes on taking episodes
  local e = random_episode(3)
  add(loaded, e)
  episodes[#episodes + 1] = e
  total = total + 3
  while total > capacity do total = total - #table.remove(episodes, 1).reward end
  for name in pairs(strategies) do check_strategy(name, loaded, episodes, 4000) end
end

-- ---- an episode of 4 steps, as a table: goals (with their rewards, -1 unless reached at s') of each step

local reached = {
  reward = function(_, _, next) return orrery.where(orrery.equal(next.achieved_goal, next.desired_goal), 0, -1) end,
}
local written = { -- strategy -> step -> goal -> reward
  final = { { [40] = -1 }, { [40] = -1 }, { [40] = -1 }, { [40] = 0 } },
  future = { { [10] = 0, [20] = -1, [30] = -1, [40] = -1 }, { [20] = 0, [30] = -1, [40] = -1 },
             { [30] = 0, [40] = -1 }, { [40] = 0 } },
  episode = { { [10] = 0, [20] = -1, [30] = -1, [40] = -1 }, { [10] = -1, [20] = 0, [30] = -1, [40] = -1 },
              { [10] = -1, [20] = -1, [30] = 0, [40] = -1 }, { [10] = -1, [20] = -1, [30] = -1, [40] = 0 } },
}
local small = orrery.replay { observation = { "achieved_goal", "desired_goal" }, action = { "a" } }
small:add_episode { observation = { { 0, 99 }, { 10, 99 }, { 20, 99 }, { 30, 99 }, { 40, 99 } },
                    action = { { 1 }, { 2 }, { 3 }, { 4 } }, reward = { -1, -1, -1, -1 }, terminated = true }
for name, steps in pairs(written) do
  local r = relabel[name] { share = 1, task = reached }
  local batch = small:sample(600, { relabel = r, fields = { "time", "desired_goal", "reward", "terminated" } })
  local seen = { {}, {}, {}, {} }
  for k = 1, 600 do
    local t, goal = batch.time[k], batch.desired_goal[k]
    assert(batch.relabeled[k] == 1 and steps[t][goal] == batch.reward[k], name .. ": not in the table")
    assert(batch.terminated[k] == 0) -- a task without a termination: nobody says that it is over
    seen[t][goal] = true
  end
  for t = 1, 4 do
    for goal in pairs(steps[t]) do assert(seen[t][goal], name .. ": in the table, but never drawn") end
  end
end
-- "final" is the last observation, not the one before; all others keep what was recorded
local kept = small:sample(200, { relabel = relabel.final { share = 0, task = reached } })
assert(kept.relabeled:sum() == 0 and kept.reward:sum() == -200)
for k = 1, 200 do assert(kept.terminated[k] == (kept.observation[{ k, 1 }] == 30 and 1 or 0)) end

-- ---- episodes of one step

local single = orrery.replay { observation = { "achieved_goal", "desired_goal" }, action = { "a" } }
for i = 1, 5 do
  single:add_episode { observation = { { 0, 9 }, { i, 9 } }, action = { { 0 } }, reward = { -1 }, terminated = true }
end
for _, name in ipairs { "final", "future", "episode" } do
  local batch = single:sample(100, { relabel = relabel[name] { share = 1, task = reached } })
  for k = 1, 100 do
    assert(batch.observation[{ k, 2 }] == batch.next_observation[{ k, 1 }] and batch.reward[k] == 0)
  end
end

-- ---- several steps, and windows

do
  local replay, episodes = new_replay(1000), {}
  for i = 1, 12 do
    episodes[i] = random_episode((i - 1) % 6 + 1)
    add(replay, episodes[i])
  end
  local by_key = index_of(episodes)
  local n, steps, gamma = 1500, 3, 0.9
  local r = relabel.future { k = 1, task = task }
  local batch = replay:sample(n, { relabel = r, steps = steps, gamma = gamma, stream = orrery.stream(8),
    fields = { "observation", "next_observation", "key", "next_key", "reward", "terminated", "desired_goal",
               "next_desired_goal", "truncated", "action", "time" } })
  for k = 1, n do
    local e, t = table.unpack(by_key[batch.key[k]])
    local again, goal = batch.relabeled[k] == 1, batch.desired_goal[k]:totable()
    local sum, power, at, ended = 0, 1, t, 0
    while at < math.min(t + steps, #e.reward) and ended == 0 do
      sum = sum + power * (again and reward_by_hand(e, at, goal) or e.reward[at + 1])
      ended = again and ended_by_hand(e, at, goal) or (at + 1 == #e.reward and e.terminated) and 1 or 0
      power, at = power * gamma, at + 1
    end
    assert(close(batch.reward[k], sum) and batch.terminated[k] == ended)
    assert(close(batch.discount[k], ended == 1 and 0 or power))
    assert(batch.next_key[k] == e.observation[at + 1][1] and batch.action[{ k, 1 }] == t + 1)
    assert(batch.truncated[k] == ((at == #e.reward and not e.terminated) and 1 or 0))
    assert(close(batch.next_observation[{ k, 5 }], goal[1]) and close(batch.next_desired_goal[{ k, 1 }], goal[1]))
  end
  local one = replay:sample(50, { gamma = gamma, stream = orrery.stream(8) })
  for k = 1, 50 do assert(close(one.discount[k], gamma * (1 - one.terminated[k]))) end

  local w = replay:windows(400, 4, { relabel = r, partial = true, stream = orrery.stream(9),
    fields = { "observation", "desired_goal", "next_desired_goal", "key", "reward", "terminated", "mask" } })
  local ends = 0
  for k = 1, 400 do
    local e, t = table.unpack(by_key[w.key[{ k, 1 }]])
    local goal = w.desired_goal[{ k, 1 }]:totable()
    for j = 0, 4 do
      local seen = e.observation[math.min(t + j, #e.reward) + 1]
      assert(w.key[{ k, j + 1 }] == seen[1] and close(w.desired_goal[{ k, j + 1, 1 }], goal[1]))
      assert(close(w.observation[{ k, j + 1, 5 }], goal[1]) and close(w.observation[{ k, j + 1, 2 }], seen[2]))
    end
    for j = 0, 3 do
      local inside, reward, ended = t + j < #e.reward, 0, 0
      if inside and w.relabeled[k] == 1 then
        reward, ended = reward_by_hand(e, t + j, goal), ended_by_hand(e, t + j, goal)
      elseif inside then
        reward, ended = e.reward[t + j + 1], (t + j + 1 == #e.reward and e.terminated) and 1 or 0
      end
      ends = ends + ended
      assert(w.mask[{ k, j + 1 }] == (inside and 1 or 0) and w.terminated[{ k, j + 1 }] == ended)
      assert(close(w.reward[{ k, j + 1 }], reward))
    end
  end
  assert(ends > 50)
end

-- ---- the same numbers from the same stream; tensors and programs are used again

do
  local replay = new_replay(1000)
  for _ = 1, 20 do add(replay, random_episode(5)) end
  local r = relabel.future { task = task }
  local a = replay:sample(64, { relabel = r, stream = orrery.stream(5) })
  local b = replay:sample(64, { relabel = r, stream = orrery.stream(5) })
  for name, x in pairs(a) do assert(x:same(b[name]), name) end
  local reward, mask = a.reward, a.relabeled
  local c = replay:sample(64, { relabel = r, stream = orrery.stream(6), into = a })
  assert(c == a and rawequal(c.reward, reward) and rawequal(c.relabeled, mask))
  local d = replay:sample(64, { relabel = r, stream = orrery.stream(6) })
  for name, x in pairs(c) do assert(x:same(d[name]), name) end
  -- a reward in plain Lua is the same
  local plain = { reward = orrery.interpret(task.reward), termination = orrery.interpret(task.termination) }
  local e = replay:sample(64, { relabel = relabel.future {}, task = plain, stream = orrery.stream(6) })
  for name, x in pairs(c) do assert(x:close_to(e[name], 1e-4), name) end
  -- a goal that the reward captured is looked at again
  local bonus = 1
  local changing = { reward = function() return bonus end }
  local function rewards() return replay:sample(64, { relabel = relabel.final { share = 1 }, task = changing }).reward end
  assert(rewards():mean() == 1)
  bonus = 5
  assert(rewards():mean() == 5)
  changing.reward = function() return 7 end
  assert(rewards():mean() == 7)
  -- and so are named inputs
  local named = { reward = function(_, _, _, _, given) return given.bonus end, inputs = { bonus = 2 } }
  local function named_rewards() return replay:sample(8, { relabel = relabel.final { share = 1 }, task = named }).reward end
  assert(named_rewards():mean() == 2)
  named.inputs.bonus = 3
  assert(named_rewards():mean() == 3)
end

-- ---- mixes

do
  local replay, episodes = new_replay(100), {}
  episodes[1] = random_episode(6)
  add(replay, episodes[1])
  local by_key = index_of(episodes)
  local r = relabel.mix { { 3, relabel.final { share = 1 } }, { 1, relabel.episode { share = 1 } }, task = task,
                          share = 0.9 }
  local n = 5000
  local batch = replay:sample(n, { relabel = r, fields = fields, stream = orrery.stream(2) })
  local counts = {}
  for k = 1, n do
    local _, _, from, at = check_row(batch, k, by_key, allowed.episode)
    counts[from and at or "kept"] = (counts[from and at or "kept"] or 0) + 1
  end
  local of_episode = 0.9 * 0.25 / 6
  check_counts(counts, { of_episode, of_episode, of_episode, of_episode, of_episode, of_episode + 0.9 * 0.75, kept = 0.1 })
end

-- ---- errors say what to do

do
  local replay = new_replay(100)
  add(replay, random_episode(3))
  fails("give the task", replay.sample, replay, 5, { relabel = relabel.future {} })
  fails("no function `reward`", replay.sample, replay, 5, { relabel = relabel.future { task = {} } })
  fails("must be a strategy", replay.sample, replay, 5, { relabel = "future" })
  fails("did you mean 'steps'", replay.sample, replay, 5, { step = 2, gamma = 0.9 })
  fails("steps must be a whole number", replay.sample, replay, 5, { steps = 1.5 })
  fails("share must be 0 to 1", relabel.final, { share = 2 })
  fails("k must be 0 or more", relabel.future, { k = -1 })
  fails("k = 4 is a share of 0.8; give k or share, not both", relabel.future, { k = 4, share = 0.5 })
  fails("did you mean 'share'", relabel.final, { shar = 1 })
  local function other() return 0 end
  fails("parts with another task each", relabel.mix, { { 1, relabel.final { task = task } }, { 1, relabel.future { task = other } } })
  fails("parts with another desired each", relabel.mix, { { 1, relabel.final { desired = "speed" } }, { 1, relabel.future {} } })
  local kept = relabel.mix { { 1, relabel.none {} }, { 1, relabel.final { desired = "speed", achieved = "key", task = task } } }
  assert(kept.desired == "speed" and kept.achieved == "key" and kept.task == task)
  assert(relabel.mix({ { 1, relabel.final { task = other } }, task = task }).task == task)
  fails("anew = true computes all rewards by a task", function() new_replay():sample(4, { anew = true }) end)
  fails("entry 1", relabel.mix, { { relabel.final {}, 1 } })
  fails("not built in", relabel.mix, { { 1, relabel.custom(function() return 1 end) } })
  fails("did you mean 'achieved_goal'", replay.sample, replay, 5,
    { relabel = relabel.future { task = task, achieved = "achieved_gaol" } })
  fails("of one size and type", replay.sample, replay, 5, { relabel = relabel.future { task = task, achieved = "key" } })
  fails("goals belong to observations", replay.read, replay, { 1 }, { goals = { desired = "force", source = { 1 } } })
  fails("no observation", replay.read, replay, { 1 }, { goals = { source = { 5 } } })
  fails("no sources", replay.read, replay, { 1 }, { goals = {} })
  fails("weight", replay.choose_goals, replay, { 1 }, { "final", -1 })
  fails("no transition", replay.choose_goals, replay, { 4 }, { "final", 1 })
  fails("made with prioritised", replay.sample, replay, 5, { beta = 0.5 })
end
