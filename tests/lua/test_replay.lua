-- Replay from Lua, against a slow and obvious one: a list of episodes.
local orrery = require "orrery"
local fails = require "tests.lua.fails"

orrery.seed(3)

local function close(a, b) return math.abs(a - b) <= 1e-6 * math.max(1, math.abs(a), math.abs(b)) end

-- ---- the obvious one

local function random_episode(length)
  local e = { observation = {}, action = {}, reward = {}, terminated = orrery.random() < 0.5 }
  for t = 1, length + 1 do e.observation[t] = { orrery.random(), orrery.random(), orrery.random() } end
  for t = 1, length do
    e.action[t] = { orrery.random() }
    e.reward[t] = orrery.random()
  end
  return e
end

local function check_transitions(replay, episodes)
  local data, k = replay:transitions(), 0
  for i, e in ipairs(episodes) do
    for t = 1, #e.reward do
      k = k + 1
      for j = 1, 3 do
        assert(close(data.observation[{ k, j }], e.observation[t][j]))
        assert(close(data.next_observation[{ k, j }], e.observation[t + 1][j]))
      end
      assert(close(data.action[{ k, 1 }], e.action[t][1]) and close(data.reward[k], e.reward[t]))
      assert(data.terminated[k] == ((t == #e.reward and e.terminated) and 1 or 0))
      assert(data.episode[k] == i)
    end
  end
  assert(k == #replay and #episodes == replay.episodes)
  assert(data.observation:size(1) == k and data.reward:axes() == 1)
end

local function check_windows(replay, episodes, length)
  local numbers = {}
  for k = 1, #replay do numbers[k] = k end
  local data = replay:read(numbers, { length = length,
    fields = { "observation", "reward", "mask", "time", "episode" } })
  local k = 0
  for i, e in ipairs(episodes) do
    for t = 1, #e.reward do
      k = k + 1
      for j = 1, length do
        local inside = t + j - 1 <= #e.reward
        assert(close(data.reward[{ k, j }], inside and e.reward[t + j - 1] or 0))
        assert(data.mask[{ k, j }] == (inside and 1 or 0))
        assert(data.time[{ k, j }] == (inside and t + j - 1 or 0))
        assert(data.episode[{ k, j }] == (inside and i or 0))
      end
      for j = 1, length + 1 do
        local seen = e.observation[math.min(t + j - 1, #e.observation)]
        assert(close(data.observation[{ k, j, 2 }], seen[2]))
      end
    end
  end
end

local function check_episodes(replay, episodes)
  local first = 1
  for i, e in ipairs(episodes) do
    local view = replay:episode(i)
    assert(view.length == #e.reward and view.first == first and view.terminated == e.terminated)
    assert(view.truncated == not e.terminated)
    assert(view.observation:size(1) == #e.observation and view.observation:size(2) == 3)
    assert(close(view.observation[{ #e.observation, 3 }], e.observation[#e.observation][3]))
    assert(close(view.action[{ view.length, 1 }], e.action[view.length][1]))
    first = first + view.length
  end
end

local spaces = { observation = { { "position", 2 }, "velocity" }, action = { { "force", low = -1, high = 1 } } }

for _, capacity in ipairs { 25, 7, 1000 } do
  local replay = orrery.replay { observation = spaces.observation, action = spaces.action, capacity = capacity }
  local episodes, total = {}, 0
  for _ = 1, 30 do
    local e = random_episode(orrery.random(math.min(capacity, 7)))
    replay:add_episode(e)
    episodes[#episodes + 1] = e
    total = total + #e.reward
    while total > capacity do total = total - #table.remove(episodes, 1).reward end
  end
  check_transitions(replay, episodes)
  check_episodes(replay, episodes)
  for _, length in ipairs { 1, 2, 9 } do check_windows(replay, episodes, length) end

  local path = os.tmpname()
  replay:save(path)
  local loaded, problem = orrery.load_replay(path)
  os.remove(path)
  assert(not problem and loaded.capacity == capacity)
  check_transitions(loaded, episodes)
  check_windows(loaded, episodes, 3)
end

-- ---- batches

local replay = orrery.replay { observation = spaces.observation, action = spaces.action,
  observation_extras = { { "goal", 2 } }, step_extras = { { "label", dtype = "byte" } } }
local recorder = replay:recorder()
for length = 1, 6 do
  recorder:start { position = { length, 0 }, velocity = 1 }
  recorder:set("goal", { length, -1 })
  for t = 1, length do
    recorder:step({ force = t }, 10 * length + t, { position = { length, t }, velocity = t })
    recorder:set("goal", { length, t })
    recorder:set("label", t)
  end
  recorder:finish(length % 2 == 0, false)
end
assert(#replay == 21 and replay.episodes == 6 and replay:counts().transitions == 21)
local stream = orrery.stream(5)
local batch = replay:sample(200, { stream = stream })
for _, name in ipairs { "observation", "next_observation", "action", "reward", "terminated", "goal",
                        "next_goal", "label" } do
  assert(batch[name]:size(1) == 200, name)
end
assert(batch.label:dtype() == "byte" and batch.goal:size(2) == 2)
for k = 1, 200 do
  local length, t = batch.observation[{ k, 1 }], batch.action[{ k, 1 }]
  assert(batch.reward[k] == 10 * length + t and batch.label[k] == t)
  assert(batch.next_observation[{ k, 2 }] == t and batch.observation[{ k, 2 }] == t - 1)
  assert(batch.next_goal[{ k, 2 }] == t and batch.goal[{ k, 2 }] == (t == 1 and -1 or t - 1))
  assert(batch.terminated[k] == ((t == length and length % 2 == 0) and 1 or 0))
end
local again = replay:sample(200, { stream = orrery.stream(5) })
for k = 1, 200 do assert(again.reward[k] == batch.reward[k]) end
local reward = batch.reward
local same = replay:sample(200, { stream = stream, into = batch })
assert(same == batch and rawequal(batch.reward, reward))
local few = replay:sample(10, { fields = { "velocity", "time", "position" } })
assert(few.observation == nil and few.velocity:axes() == 1 and few.position:size(2) == 2)
for k = 1, 10 do assert(few.time[k] >= 1 and few.time[k] == few.position[{ k, 2 }] + 1) end

local windows = replay:windows(50, 4, { stream = stream })
assert(windows.observation:size(2) == 5 and windows.reward:size(2) == 4 and windows.mask:sum() == 200)
assert(replay:window_count(4) == 1 + 2 + 3 and replay:window_count(6) == 1)
local partial = replay:windows(200, 4, { partial = true })
assert(partial.mask:sum() < 800)
fails("longest", replay.windows, replay, 1, 7)

-- ---- errors name what is wrong

local function new(options)
  options.observation, options.action = options.observation or spaces.observation, spaces.action
  return orrery.replay(options)
end
for _, bad in ipairs { 0, -5, 0 / 0, math.huge, 1e300, 2.5, "many" } do
  fails("capacity", new, { capacity = bad })
end
assert(new({ capacity = 1e6 }).capacity == 1000000)
fails("did you mean 'capacity'", new, { capcity = 5 })
fails("did you mean 'discard'", new, { bad_numbers = "discards" })
fails("an environment is needed", orrery.replay, {})
fails("empty", function() new({}):sample(5) end)
fails("did you mean 'velocity'", function() replay:sample(5, { fields = { "velocty" } }) end)
fails("has no 'sampel'", function() return replay.sampel end)
fails("no episode 7", replay.episode, replay, 7)
fails("no transition", replay.read, replay, { 22 })
fails("3 are expected", recorder.start, recorder, { 1, 2 })
fails("position", recorder.start, recorder, { velocity = 1 })
recorder:start { 1, 2, 3 }
fails("reward", function() recorder:step({ 0 }, 0 / 0, { 1, 2, 3 }) end)
fails("'velocity' is", function() recorder:step({ 0 }, 0, { 1, 2, math.huge }) end)
fails("at least one step", recorder.finish, recorder, true)
fails("'label' has 2", function()
  recorder:step({ 0 }, 0, { 1, 2, 3 })
  recorder:set("label", { 1, 2 })
end)
fails("4 rows", function()
  replay:add_episode { observation = { { 1, 2, 3 } }, action = { { 1 }, { 2 }, { 3 } }, reward = { 1, 2, 3 } }
end)
fails("no 'reward'", function() replay:add_episode { observation = { { 1, 2, 3 } }, action = { { 1 } } } end)
assert(#replay == 21)
fails("nowhere", orrery.load_replay, "/nowhere/at/all")
fails("nowhere", replay.save, replay, "/nowhere/at/all")

-- ---- files with damage

local path = os.tmpname()
replay:save(path)
local file = assert(io.open(path, "rb"))
local bytes = file:read "a"
file:close()
local function write(text)
  local out = assert(io.open(path, "wb"))
  out:write(text)
  out:close()
end
write(bytes:sub(1, -60))
local torn, problem = orrery.load_replay(path)
assert(torn.episodes == 5 and problem:find "end is missing")
local at = #bytes // 2
write(bytes:sub(1, at) .. string.char(bytes:byte(at + 1) ~ 1) .. bytes:sub(at + 2))
fails("salvage", orrery.load_replay, path)
local salvaged, report = orrery.load_replay(path, { salvage = true })
assert(salvaged.episodes == 5 and report:find "1 damaged place")
os.remove(path)
replay:clear()
assert(#replay == 0 and replay.episodes == 0)
