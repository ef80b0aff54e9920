-- Many copies stepped together live through what single environments do, bit for bit, on any number of threads.
local orrery = require "orrery"
local fails = require "tests.lua.fails"

local function same(a, b)
  assert(a:count() == b:count())
  local x, y = a:flatten():totable(), b:flatten():totable()
  for i = 1, #x do assert(x[i] == y[i], ("number %d: %.9g and %.9g"):format(i, x[i], y[i])) end
end

-- ---- the same as single environments by hand, auto-reset and replay included

-- Plays `steps` of copy i alone, with the seeds that it is promised; fills the replay.
local function by_hand(env, i, steps, actions, replay, seed, max_steps)
  local seeds, space, recorder = orrery.stream(seed, i - 1), env.observation_space, replay:recorder()
  local rows, last, rewards, ends = {}, {}, {}, {}
  local observation = env:reset(seeds:whole())
  recorder:start(observation)
  rows[1] = space:flatten(observation)
  local length = 0
  for t = 1, steps do
    local action = env.action_space:record(actions[t][i]:copy())
    local next, reward, terminated, truncated = env:step(action)
    length = length + 1
    truncated = not terminated and (truncated or length == max_steps)
    recorder:step(env.action_space:clip(action), reward, next)
    last[t], rewards[t], ends[t] = space:flatten(next), reward, terminated and 1 or truncated and 2 or 0
    if ends[t] > 0 then
      recorder:finish(terminated, truncated)
      next, length = env:reset(seeds:whole()), 0
      recorder:start(next)
    end
    rows[t + 1] = space:flatten(next)
  end
  return rows, last, rewards, ends
end

local function compare(name, options, copies, steps, max_steps)
  local env = orrery.env(name, options)
  local replay = orrery.replay { env = env }
  local many = orrery.vector_env(env, copies, { replay = replay, max_steps = max_steps })
  local wide = env.action_space.size
  local actions, hand, replays = 4 * orrery.rand(steps, copies, wide) - 2, {}, {}
  for i = 1, copies do
    replays[i] = orrery.replay { env = env }
    hand[i] = { by_hand(orrery.env(name, options), i, steps, actions, replays[i], 7, max_steps) }
  end
  same(many:reset(7)[1], hand[1][1][1])
  local ended, lengths = 0, {}
  for t = 1, steps do
    local observation, reward, terminated, truncated = many:step(actions[t])
    assert(rawequal(observation, many.observation) and reward:size(1) == copies)
    for i = 1, copies do
      local rows, last, rewards, ends = table.unpack(hand[i])
      same(observation[i], rows[t + 1])
      same(many.final_observation[i], last[t])
      assert(reward[i] == orrery.tensor(rewards)[t])
      assert(terminated[i] == (ends[t] == 1 and 1 or 0) and truncated[i] == (ends[t] == 2 and 1 or 0))
      lengths[i] = ends[t] > 0 and 0 or (lengths[i] or 0) + 1
      assert(many.time[i] == lengths[i])
      if ends[t] > 0 then ended = ended + 1 end
    end
  end
  local finished = many:finished()
  assert(#finished == ended and ended >= copies and #many:finished() == 0 and replay.episodes == ended)
  local seen = {}
  for k, episode in ipairs(finished) do
    seen[episode.copy] = (seen[episode.copy] or 0) + 1
    local ours, theirs = replay:episode(k), replays[episode.copy]:episode(seen[episode.copy])
    assert(ours.length == theirs.length and ours.length == episode.length)
    assert(ours.terminated == theirs.terminated and ours.truncated == theirs.truncated)
    assert(episode.terminated == ours.terminated and episode.success == nil)
    for _, field in ipairs { "observation", "action", "reward" } do same(ours[field], theirs[field]) end
    assert(math.abs(episode["return"] - ours.reward:sum()) < 1e-3 * (1 + math.abs(episode["return"])))
  end
end

for _, threads in ipairs { 1, 2, 5 } do
  orrery.threads(threads)
  compare("pendulum", { max_steps = 17 }, 5, 60)
  compare("cliff", nil, 3, 150, 30)
  compare("cartpole", nil, 1, 45, 20)
end

-- discrete actions: an int tensor that counts from 0
do
  local env = orrery.env("bit_flipping", { bits = 5 })
  local many = orrery.vector_env(env, 3, { task = orrery.tasks.bit_flipping() })
  local before = many:reset(4):copy()
  local after = many:step(orrery.tensor({ 0, 4, 2 }, "int"))
  for i, bit in ipairs { 0, 4, 2 } do
    for k = 1, 5 do assert((after[{ i, k }] ~= before[{ i, k }]) == (k == bit + 1)) end
  end
  fails("it takes whole numbers 0 .. 4", many.step, many, { 0, 5, 0 })
  for _ = 1, 24 do many:step { 0, 1, 2 } end
  assert(#many:finished() == 15)
end

-- One copy lives through what replay:collect collects.
do
  local env = orrery.env("pendulum", { max_steps = 30 })
  local a, b = orrery.replay { env = env }, orrery.replay { env = env }
  a:collect(orrery.policy.constant { torque = 0.5 }, { steps = 90, seed = 3 })
  local many = orrery.vector_env(env, 1, { replay = b })
  many:reset(3)
  for _ = 1, 90 do many:step { 0.5 } end
  same(a:transitions().observation, b:transitions().observation)
end

-- ---- shared out over threads (a step that is slow enough is), the same bits

do
  local function run(threads)
    orrery.threads(threads)
    local env = orrery.env("cliff", { max_steps = 50 })
    local many = orrery.vector_env(env, 1000)
    many:reset(1)
    local actions = orrery.full(1, 1000, env.action_space.size):copy()
    local sums = {}
    for t = 1, 120 do sums[t] = many:step(actions):sum(2):copy() end
    return orrery.stack(sums)
  end
  same(run(1), run(4))
  orrery.threads(2)
end

-- ---- environments written in Lua, as a list

local function counter(settings)
  return orrery.env {
    name = "counter", max_steps = settings.max_steps,
    observation = { "count", "start" }, action = { { "force", low = -1, high = 1 } },
    state = not settings.hidden and { "count", "start" } or nil,
    reset = function(self, random)
      if settings.broken then error "no start" end
      self.count, self.start = 0, random:uniform(0, 1)
      return { count = 0, start = self.start }
    end,
    step = function(self, action)
      self.count = self.count + 1
      if settings.fault and self.count == settings.fault then error "out of order" end
      if settings.inside then settings.inside() end
      return { count = self.count, start = self.start }, action.force, self.count == settings.length
    end,
  }
end

do
  local replay = orrery.replay { env = counter {} }
  local many = orrery.vector_env({ counter { length = 3 }, counter { max_steps = 4 } }, { replay = replay })
  assert(many.copies == 2 and tostring(many) == "vector_env of 2 x counter")
  many:reset(5)
  for _ = 1, 12 do many:step { 5, -0.5 } end
  local finished = many:finished()
  assert(#finished == 7 and replay.episodes == 7)
  local first = finished[1]
  assert(first.copy == 1 and first.length == 3 and first.terminated and first["return"] == 3)
  local second = replay:episode(2)
  assert(second.length == 4 and second.truncated and second.reward[1] == -0.5)
  fails("cannot be copied", orrery.vector_env, counter {}, 2)
  fails("give a list of environments", orrery.vector_env, counter {}, 2)
  local one = counter {}
  fails("environments 1 and 2 of the list are one and the same", orrery.vector_env, { one, one })
  fails("the observation of environment 2 of the list, 'pendulum'", orrery.vector_env, { one, orrery.env "pendulum" })
  fails("3 copies of a list of 1 environments", orrery.vector_env, { one }, 3)
  fails("a list of 1 to", orrery.vector_env, {})
end

-- ---- a step that fails leaves all as they were

do
  local settings = {}
  local envs = { counter {}, counter(settings), counter {} }
  local many = orrery.vector_env(envs)
  many:reset(1)
  many:step { 0, 0, 0 }
  settings.fault = 2
  fails("copy 2: environment 'counter', step 2", many.step, many, { 0, 0, 0 })
  fails("out of order", many.step, many, { 0, 0, 0 })
  assert(envs[1]:state().count == 1 and envs[1].steps == 1 and not many.pending)
  settings.fault = nil
  local observation = many:step { 0, 0, 0 }
  assert(observation[1][1] == 2 and observation[2][1] == 2)

  -- numbers that are not finite, in C: the copies before it go back, noise included
  local env = orrery.env "pendulum"
  local two = orrery.vector_env(env, 3)
  two:reset(1)
  local before = two.observation:copy()
  fails("copy 3: environment 'pendulum', step 1: action field 'torque' is NaN", two.step, two, { 1, 1, 0 / 0 })
  same(before, two.observation)
  local after = two:step({ 1, 1, 1 }):copy()
  two:reset(1)
  same(after, (two:step { 1, 1, 1 }))

  -- where the state is hidden, a reset is due
  local hidden = orrery.vector_env { counter { hidden = true }, counter { fault = 1 } }
  hidden:reset(1)
  fails("out of order", hidden.step, hidden, { 0, 0 })
  fails("a reset is due", hidden.step, hidden, { 0, 0 })

  -- a start that fails: settle again goes on
  local starts = { length = 1 }
  local three = orrery.vector_env { counter { length = 1 }, counter(starts) }
  three:reset(1)
  starts.broken = true
  fails("copy 2: environment 'counter', step 0", three.step, three, { 1, 1 })
  fails("the last step is not settled", three.step, three, { 1, 1 })
  assert(three.pending)
  starts.broken = nil
  three:settle()
  assert(#three:finished() == 2 and not three.pending)
  three:step { 1, 1 }

  -- an environment that steps or closes what it is stepped by
  local inside = {}
  local nested = orrery.vector_env { counter(inside) }
  nested:reset(1)
  inside.inside = function() nested:step { 1 } end
  fails("calls what it is being stepped by", nested.step, nested, { 1 })
  nested:reset(1)
  inside.inside = function() nested:close() end
  pcall(nested.step, nested, { 1 })
  fails("was closed", function() nested:step { 1 } end)
end

-- ---- tasks: reward, termination and success of all copies at once

local function with_task(task)
  local env = orrery.env("point_mass", { wall = 0, max_steps = 25 })
  local replay = orrery.replay { env = env }
  local many = orrery.vector_env(env, 4, { replay = replay, task = task })
  many:reset(2)
  for _ = 1, 60 do
    local observation, t = many.observation:copy(), many.time:copy()
    local _, got, terminated = many:step(2 * orrery.rand(4, 2) - 1)
    for i = 1, 4 do
      local s, a = env.observation_space:record(observation[i]:copy()), env.action_space:record(many.action[i]:copy())
      local next = env.observation_space:record(many.final_observation[i]:copy())
      assert(math.abs(got[i] - task.reward(s, a, next, t[i], task.inputs)) < 1e-5)
      assert(terminated[i] == (task.termination(s, a, next, t[i]) and 1 or 0))
    end
  end
  return many:finished(), replay
end

local function reward(s, a, next, t, given)
  if next.velocity[1] > 0 then return given.high + 0.01 * t end
  return a.force[1] - s.velocity[2]
end
do
  local finished, replay = with_task {
    name = "right", reward = reward, inputs = { high = 1 },
    termination = function(_, _, next, t) return next.velocity[1] > 0 and t >= 3 end,
    success = function(_, _, next) return next.velocity[1] > 0 end,
  }
  assert(#finished > 4)
  for k, episode in ipairs(finished) do
    assert(episode.success ~= nil and (not episode.terminated or episode.success_at_end))
    assert(episode.length <= 25 and replay:episode(k).terminated == episode.terminated)
    assert(math.abs(replay:episode(k).reward:sum() - episode["return"]) < 1e-3)
  end
end

-- by halves, with what is computed elsewhere
do
  local env = orrery.env "pendulum"
  local many = orrery.vector_env(env, 2)
  many:reset(1)
  fails("call advance first", many.settle, many)
  local start = many.observation:copy()
  many:advance(orrery.zeros(2, 1))
  same(many.observation, start)
  fails("the last step is not settled", many.advance, many, orrery.zeros(2, 1))
  fails("copy 1, step 1: the reward of the task is NaN", many.settle, many, { reward = { 0 / 0, 1 } })
  fails("did you mean 'reward'", many.settle, many, { rewards = { 1, 1 } })
  fails("reward must be a tensor of 2, a row for each copy, not 3", many.settle, many, { reward = { 1, 1, 1 } })
  local observation, rewards, terminated = many:settle { reward = { 5, 6 }, terminated = { 0, 1 }, success = { 1, 0 } }
  assert(rewards[2] == 6 and terminated[2] == 1 and terminated[1] == 0)
  assert(observation[1][1] == many.final_observation[1][1] and observation[2][1] ~= many.final_observation[2][1])
  local episode = many:finished()[1]
  assert(episode.copy == 2 and episode["return"] == 6 and episode.success == false and episode.terminated)
  -- above 0.5 is yes
  many:advance(orrery.zeros(2, 1))
  many:settle { terminated = { 0.3, 0 / 0 }, success = { 0.3, 0 / 0 } }
  assert(#many:finished() == 0)
  many:advance(orrery.zeros(2, 1))
  many:settle { terminated = { 0.6, 2 }, success = { 0.6, 0.5 } }
  local two = many:finished()
  assert(#two == 2 and two[1].success and not two[2].success)
end

-- ---- extra fields, and cutting what is under way

do
  local env = orrery.env("pendulum", { max_steps = 4 })
  local replay = orrery.replay { env = env, observation_extras = { { "z", { 2 } } }, step_extras = { "logp" } }
  local many = orrery.vector_env(env, 2, { replay = replay })
  many:reset(1)
  many:set("z", { { 1, 0 }, { 0, 1 } })
  for t = 1, 6 do
    many:set("logp", { t, -t })
    many:step { 0, 0 }
    if t == 4 then many:set("z", { { 3, 4 }, { 0, 1 } }) end
  end
  many:cut()
  fails("a reset is due", many.step, many, { 0, 0 })
  assert(replay.episodes == 4 and #replay == 12)
  local first, third = replay:episode(1), replay:episode(3)
  assert(third.truncated and third.length == 2)
  for t = 1, 5 do assert(first.z[t][1] == 1 and first.z[t][2] == 0) end
  for t = 1, 3 do assert(third.z[t][1] == 3 and third.z[t][2] == 4) end
  for t = 1, 4 do assert(first.logp[t] == t and replay:episode(2).logp[t] == -t) end
  fails("no extra field 'w'; with observations: z[2]; with steps: logp", many.set, many, "w", { 1, 2 })
  fails("copy 2: 'logp' is NaN", many.set, many, "logp", { 1, 0 / 0 })
  fails("'z' must be a tensor of 2 rows", many.set, many, "z", { 1, 2, 3 })
  fails("there is no replay", function() orrery.vector_env(env, 1):set("z", { 1 }) end)
end

-- an episode without a limit is cut at the replay's capacity
do
  local env = orrery.env("pendulum", { max_steps = 0 })
  local replay = orrery.replay { env = env, capacity = 10 }
  local many = orrery.vector_env(env, 1, { replay = replay })
  many:reset(1)
  for _ = 1, 25 do many:step { 0 } end
  assert(replay:counts().episodes == 2 and #replay == 10)
end

-- ---- words for what is wrong

do
  local env = orrery.env "pendulum"
  local many = orrery.vector_env(env, 2)
  fails("a reset is due", many.step, many, { 0, 0 })
  many:reset()
  fails("actions must be a tensor of 2 x 1, a row for each copy, not 3", many.step, many, { 0, 0, 0 })
  fails("not 2 x 2", many.step, many, { { 0, 0 }, { 0, 0 } })
  fails("no option 'replays'", orrery.vector_env, env, 2, { replays = 1 })
  fails("0 copies", orrery.vector_env, env, 0)
  fails("a vector environment has no 'rewards'", function() return many.rewards end)
  fails("the replay's observation", orrery.vector_env, env, 2, { replay = orrery.replay { env = orrery.env "cliff" } })
  fails("vector_env: success must be a function", orrery.vector_env, env, 2,
    { task = { reward = function() return 1 end, success = 3 } })
  many:close()
  fails("was closed", function() many:step { 0, 0 } end)
end

-- ---- a reward that compares goals with == is a mistake, everywhere, and no -1 for ever

do
  local flipping = orrery.env("bit_flipping", { bits = 4 })
  local task = { reward = function(_, _, next) return next.achieved_goal == next.desired_goal and 0 or -1 end }
  fails("orrery.equal(a, b)", function()
    local many = orrery.vector_env(flipping, 8, { task = task })
    many:reset(1)
    many:step(orrery.zeros(8):to "int")
  end)
  fails("orrery.equal(a, b)", function()
    return orrery.evaluate(flipping, orrery.policy.random(flipping), { task = task })
  end)
end
