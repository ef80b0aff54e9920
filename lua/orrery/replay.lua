--- replay.lua - collecting experience: playing episodes into a replay.
local check = require "orrery.check"
local orrery = require "orrery"

local replay = {}

local Report = { __name = "collect report" }
Report.__index = Report

function Report:__tostring()
  local text = ("%d steps in %d episodes, mean return %.4g")
    :format(self.steps, self.episodes, self.mean)
  if #self.errors > 0 then text = text .. (", %d aborted"):format(#self.errors) end
  return text
end

-- One episode of at most `most` steps; the steps taken and the return. The policy's own errors pass
-- through; those of the environment, and numbers that the replay refuses, go through `try`.
local function play(recorder, env, policy, seed, context, most, try)
  local observation = try(env.reset, env, seed)
  try(recorder.start, recorder, observation)
  orrery.policy.reset(policy, seed)
  local total, space = 0, env.action_space
  for step = 1, most do
    context.step = step
    local action = orrery.policy.action(space, policy:act(observation, context))
    local next_observation, reward, terminated, truncated = try(env.step, env, action)
    try(recorder.step, recorder, action, reward, next_observation)
    total = total + reward
    if terminated or truncated or step == most then
      recorder:finish(terminated, truncated)
      return step, total
    end
    observation = next_observation
  end
end

local Fault = {} -- what `try` raises: an error of the environment, and not of the policy

local function guarded(f, ...)
  local results = table.pack(pcall(f, ...))
  if results[1] then return table.unpack(results, 2, results.n) end
  error(setmetatable({ message = tostring(results[2]) }, Fault), 0)
end

-- Raises what f raises, with the way to go on without episodes that have such numbers.
local function plainly(f, ...)
  local results = table.pack(pcall(f, ...))
  if results[1] then return table.unpack(results, 2, results.n) end
  local message = results[2]
  if type(message) ~= "string" then error(message, 0) end
  if message:find " is NaN" or message:find " is %-?inf" then
    message = message .. "; collect's on_error = \"continue\" goes on without such episodes"
  end
  error(message, 0)
end

-- Steps, return, or nil and the fault's message.
local function play_guarded(...)
  local done, steps, total = pcall(play, ...)
  if done then return steps, total end
  if getmetatable(steps) == Fault then return nil, steps.message end
  error(steps, 0)
end

--- replay:collect(policy, options): plays episodes until `steps` steps are in the replay; the last
--- episode is then cut off, as truncated.
---   steps     1000
---   seed      of the episodes' starts and noise; none: from the engine's random numbers
---   env       none: the one that the replay was made with
---   progress  function(fraction, text), or a run, called after each episode
---   on_error  "stop": an error of the environment is raised; "continue": its episode is dropped, and
---             collecting goes on, unless 10 episodes in a row fail
--- Returns a report: steps, episodes, returns, mean, errors (messages).
function replay:collect(policy, options)
  local given = check.options("collect", options,
    { steps = 1000, seed = "optional number", env = "any", progress = "any", on_error = "stop" })
  local env = given.env or self.env
  if not env then
    check.fail("collect: the replay was made without an environment; give one, as in { env = env }")
  end
  if given.steps ~= math.floor(given.steps) or given.steps < 1 then
    check.fail("collect: steps must be a whole number, 1 or more, got %s", given.steps)
  end
  if given.on_error ~= "stop" and given.on_error ~= "continue" then
    check.fail("collect: on_error is \"stop\" or \"continue\", not \"%s\"", given.on_error)
  end
  policy = orrery.policy.of(policy, "collect")
  local seeds = orrery.stream(given.seed or orrery.random(1 << 53), 0)
  local tell, stop = orrery.policy.teller(given.progress, "collect"), given.on_error == "stop"
  local report = { steps = 0, episodes = 0, returns = {}, mean = 0, errors = {} }
  setmetatable(report, Report)
  local context, failures, sum = { env = env }, 0, 0
  local recorder <close> = self:recorder()
  while report.steps < given.steps do
    context.episode = report.episodes + 1
    local seed, most = seeds:whole(), math.min(given.steps - report.steps, self.capacity)
    local steps, total
    if stop then steps, total = play(recorder, env, policy, seed, context, most, plainly)
    else steps, total = play_guarded(recorder, env, policy, seed, context, most, guarded) end
    if steps then
      report.steps, report.episodes = report.steps + steps, report.episodes + 1
      report.returns[report.episodes] = total
      sum, failures = sum + total, 0
      report.mean = sum / report.episodes
      tell(report.steps / given.steps, ("collecting, %d steps"):format(report.steps))
    else
      failures = failures + 1
      report.errors[#report.errors + 1] = total
      if failures == 10 then
        check.fail("collect: 10 episodes in a row failed, the last: %s", total)
      end
    end
  end
  return report
end

return replay
