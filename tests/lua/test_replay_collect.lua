-- Collecting and evaluating: whole episodes, reproducible, and clear about what goes wrong.
local orrery = require "orrery"
local fails = require "tests.lua.fails"

-- Counts its steps; terminates after `length` steps, fails or gives NaN when told to.
local function counter(settings)
  return orrery.env {
    name = "counter", max_steps = settings.max_steps,
    observation = { "count", "start" }, action = { { "force", low = -1, high = 1 } },
    reset = function(self, random)
      self.count, self.start = 0, random:uniform(0, 1)
      self.resets = (self.resets or 0) + 1
      return { count = 0, start = self.start }
    end,
    step = function(self, action)
      self.count = self.count + 1
      if settings.fault then settings.fault(self) end
      local reward = settings.nan == self.count and 0 / 0 or action.force
      return { count = self.count, start = self.start }, reward, self.count == settings.length
    end,
  }
end

-- ---- whole episodes, and the last one cut

local env = counter { length = 7 }
local replay = orrery.replay { env = env }
local seen = {}
local report = replay:collect(orrery.policy.constant { force = 0.5 }, { steps = 17, seed = 1,
  progress = function(fraction, text) seen[#seen + 1] = fraction end })
assert(report.steps == 17 and report.episodes == 3 and #replay == 17 and replay.episodes == 3)
assert(math.abs(report.returns[1] - 3.5) < 1e-6 and seen[3] == 1)
assert(tostring(report):find "17 steps in 3 episodes")
for i = 1, 3 do
  local e = replay:episode(i)
  assert(e.length == (i < 3 and 7 or 3))
  assert(e.terminated == (i < 3) and e.truncated == (i == 3))
  for t = 1, e.length + 1 do assert(e.observation[{ t, 1 }] == t - 1) end
end

-- truncated by the environment's own limit
local limited = counter { max_steps = 4 }
local short = orrery.replay { env = limited }
short:collect(function() return 5 end, { steps = 8 })
assert(short.episodes == 2 and short:episode(1).truncated and not short:episode(1).terminated)
assert(short:episode(1).action[{ 1, 1 }] == 1) -- moved into its bounds, as the environment saw it
assert(short:counts().transitions == 8)

-- the observation is a record; the context counts
local calls = 0
short:collect(function(observation, context)
  calls = calls + 1
  assert(observation.count == context.step - 1 and context.episode == (calls - 1) // 4 + 1)
  return { force = 0 }
end, { steps = 6 })
assert(calls == 6)

-- ---- the same seed gives the same experience, whatever was drawn in between

local function experience(seed)
  local r = orrery.replay { env = env }
  r:collect(orrery.policy.random(env), { steps = 40, seed = seed })
  orrery.random()
  return r:transitions()
end
local a, b, c = experience(4), experience(4), experience(5)
local differ = 0
for k = 1, 40 do
  assert(a.action[{ k, 1 }] == b.action[{ k, 1 }] and a.observation[{ k, 2 }] == b.observation[{ k, 2 }])
  assert(math.abs(a.action[{ k, 1 }]) <= 1)
  if a.action[{ k, 1 }] ~= c.action[{ k, 1 }] then differ = differ + 1 end
end
assert(differ > 35)
assert(a.action[{ 1, 1 }] ~= a.action[{ 8, 1 }]) -- episodes draw differently

-- ---- faults of the environment

local broken = counter { length = 5, fault = function(self)
  if self.resets == 2 and self.count == 3 then error "the wheel came off" end
end }
local r = orrery.replay { env = broken }
fails("the wheel came off", r.collect, r, function() return 0 end, { steps = 20 })
assert(r.episodes == 1 and #r == 5)

local faults = 0
local sometimes = counter { length = 5, fault = function(self)
  faults = faults + 1
  if faults % 8 == 0 then error "the wheel came off" end
end }
r = orrery.replay { env = sometimes }
local ok = r:collect(function() return 0 end, { steps = 50, on_error = "continue" })
assert(#r == 50 and #ok.errors > 0 and ok.errors[1]:find "the wheel came off")
for i = 1, r.episodes do assert(r:episode(i).length == 5) end

local hopeless = counter { length = 5, fault = function() error "always" end }
r = orrery.replay { env = hopeless }
fails("10 episodes in a row", r.collect, r, function() return 0 end, { steps = 50, on_error = "continue" })
assert(#r == 0)

-- a policy's error is the caller's own, also when faults of the environment are passed over
fails("my mistake", r.collect, orrery.replay { env = env }, function() error "my mistake" end,
  { steps = 5, on_error = "continue" })

-- NaN never enters
local nan = counter { length = 5, nan = 3 }
r = orrery.replay { env = nan }
fails("reward", r.collect, r, function() return 0 end, { steps = 20 })
assert(#r == 0)

-- ---- options

fails("did you mean 'steps'", replay.collect, replay, function() return 0 end, { stepps = 5 })
fails("whole number", replay.collect, replay, function() return 0 end, { steps = 0 })
fails("a policy is needed", replay.collect, replay, 5)
fails("on_error", replay.collect, replay, function() return 0 end, { on_error = "ignore" })
local bare = orrery.replay { observation = { "count", "start" }, action = { "force" } }
fails("without an environment", bare.collect, bare, function() return 0 end)
bare:collect(function() return 0 end, { steps = 5, env = env })
assert(#bare == 5 and bare.env == nil and replay.env == env)

-- ---- saved, and gone on with

local path = os.tmpname()
replay:save(path)
local loaded = orrery.load_replay(path, { env = env })
loaded:collect(function() return 0 end, { steps = 5 })
assert(#loaded == 22 and loaded.env == env and orrery.load_replay(path).env == nil)
fails("is not that of the environment 'pendulum'", orrery.load_replay, path, { env = orrery.env "pendulum" })
os.remove(path)
fails("must be an environment", orrery.replay, { env = {} })

-- ---- evaluating

local result = orrery.evaluate(limited, function() return 0.25 end, { episodes = 3 })
assert(math.abs(result.mean - 1) < 1e-6 and result.std == 0 and #result.returns == 3 and result.lengths[1] == 4)
assert(tostring(result) == "mean 1.0 ± 0.0 over 3 episodes", tostring(result))

local times = {}
local task = { name = "count", reward = function(s, action, next, t)
  times[#times + 1] = t
  assert(next.count == s.count + 1 and action.force == 0.25)
  return next.count
end }
result = orrery.evaluate(limited, function() return 0.25 end, { task = task, episodes = 2 })
assert(result.mean == 1 + 2 + 3 + 4)
assert(table.concat(times, " ") == "0 1 2 3 0 1 2 3")
task.termination = function(_, _, next) return next.count == 2 end
result = orrery.evaluate(limited, function() return 0.25 end, { task = task })
assert(result.mean == 3 and result.lengths[5] == 2 and #result.returns == 5)

-- the same starts for every policy, another seed gives others
local function starts(policy, seed)
  local list = {}
  orrery.evaluate(limited, policy, { seed = seed, task = function(s, _, _, t)
    if t == 0 then list[#list + 1] = s.start end
    return 0
  end })
  return table.concat(list, " ")
end
assert(starts(function() return 0 end, 3) == starts(orrery.policy.random(limited), 3))
assert(starts(function() return 0 end, 3) ~= starts(function() return 0 end, 4))

-- reset(seed) is called for each episode
local resets = {}
local object = { act = function() return 0 end, reset = function(_, seed) resets[#resets + 1] = seed end }
orrery.evaluate(limited, object, { episodes = 3 })
assert(#resets == 3 and resets[1] ~= resets[2])

fails("no field 'cuont' in the observation (count, start); did you mean 'count'?", orrery.evaluate, limited,
  object, { task = { reward = function(s) return s.cuont end } })
fails("no field 'torque' in the action", orrery.evaluate, limited, object,
  { task = { reward = function(s, action) return action.torque end } })
fails("must return a number, not nothing", orrery.evaluate, limited, object, { task = { reward = function() end } })
fails("task 'spin'", orrery.evaluate, limited, object, { task = { name = "spin", reward = function() return "x" end } })
fails("step 1", orrery.evaluate, limited, object, { task = { reward = function() return 0 / 0 end } })
fails("function `reward`", orrery.evaluate, limited, object, { task = { rewards = 1 } })
fails("no limit of steps", orrery.evaluate, env, object)
assert(orrery.evaluate(env, object, { steps = 3 }).lengths[1] == 3)

-- ---- a built-in one, with pictures

local pendulum = orrery.env "pendulum"
local film = orrery.evaluate(pendulum, orrery.policy.random(pendulum), { episodes = 2, steps = 10, film = true })
assert(#film.frames == 11 and film.returns[1] < 0)
film = orrery.evaluate(pendulum, orrery.policy.random(pendulum), { episodes = 1, steps = 2, film = 64 })
assert(#film.frames == 3 and film.frames[3]:tensor():size(1) == 64)
