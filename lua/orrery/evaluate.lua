--- evaluate.lua - how well a policy does: returns of whole episodes that start alike for every
--- policy.
local check = require "orrery.check"
local orrery = require "orrery"
local record = require "orrery.record"
local task_module = require "orrery.task"

local Result = { __name = "evaluation" }
Result.__index = Result

local function sum_of(list)
  local sum = 0
  for _, value in ipairs(list) do sum = sum + value end
  return sum
end

function Result:__tostring()
  local text = ("mean %.1f ± %.1f over %d episode%s"):format(self.mean, self.std, #self.returns,
    #self.returns == 1 and "" or "s")
  if self.success then
    text = text .. ("; success %.0f %%, at the end %.0f %%"):format(100 * self.success, 100 * self.success_at_end)
  end
  local unplanned, steps = (self.notes["last plan"] or 0) + (self.notes["safe action"] or 0), sum_of(self.lengths)
  if unplanned == 0 then return text end
  return ("%s; %d of %d actions were not planned (last plan %d, safe action %d)"):format(text, unplanned, steps,
    self.notes["last plan"] or 0, self.notes["safe action"] or 0)
end

local function summarise(result)
  local n, squares = #result.returns, 0
  result.mean = sum_of(result.returns) / n
  for _, value in ipairs(result.returns) do squares = squares + (value - result.mean) ^ 2 end
  result.std = n > 1 and math.sqrt(squares / (n - 1)) or 0
  if #result.successes == 0 then
    result.successes = nil
    return result
  end
  local ever, at_end = 0, 0
  for _, steps in ipairs(result.successes) do
    ever = ever + (steps.first and 1 or 0)
    at_end = at_end + (steps.at_end and 1 or 0)
  end
  result.success, result.success_at_end = ever / n, at_end / n
  return result
end

-- The reward as a plain number; anything else is an error that says which task and step.
local function number_of(reward, task, step)
  if orrery.is_tensor(reward) and reward:count() == 1 then reward = reward:item() end
  if type(reward) == "boolean" then reward = reward and 1 or 0 end
  if type(reward) ~= "number" then
    local whose = task.name and (", task '%s'"):format(task.name) or ""
    task_module.refuse_value(("evaluate, step %d%s"):format(step, whose), task.reward, "reward", reward)
  end
  if reward ~= reward or reward == math.huge or reward == -math.huge then
    local whose = task.name and (" of task '%s'"):format(task.name) or ""
    check.fail("evaluate: the reward%s is %s at step %d; look for a division by 0, or a root or logarithm "
      .. "of a negative number", whose, reward ~= reward and "NaN" or "infinite", step)
  end
  return reward
end

-- A copy, because the policy may keep or change what it was given.
local function guarded(values, names, what)
  local copy = {}
  for _, name in ipairs(names) do copy[name] = values[name] end
  return record.guard(copy, names, what)
end

-- Seconds of a step; 0: as fast as it goes. An mpc that plans in the background says what it needs.
local function pace_of(given, policy)
  if given == false then return 0 end
  if given == nil then return orrery.policy.pace(policy) end
  if type(given) ~= "number" or not (given >= 0 and given < math.huge) then
    check.fail("evaluate: pace is a number of seconds for each step, 0 or more, or false, not %s", given)
  end
  return given
end

-- A function that returns when the next step is due, `pace` seconds after the last was. What came late
-- is not made up for by steps in a row.
local function pacer(pace)
  if pace == 0 then return function() end end
  local due = orrery.clock()
  return function()
    due = math.max(due + pace, orrery.clock())
    orrery.sleep(due - orrery.clock())
  end
end

-- One episode: its rewards, the last observation, its success and, if they are wanted, its pictures; what is
-- seen goes to the recorder, if there is one.
local function play(env, policy, task, context, seed, steps, pace, recorder, frames, width)
  local space = env.action_space
  local seen, done = env.observation_space.names, space.names
  local observation = env:reset(seed)
  orrery.policy.reset(policy, seed)
  if recorder then recorder:start(observation) end
  local s, rewards, success = guarded(observation, seen, "observation"), {}, task.success and { at_end = false }
  if frames then frames[#frames + 1] = env:draw(width) end
  local wait = pacer(pace)
  for step = 1, steps do
    if step > 1 then wait() end
    context.step = step
    local chosen, note = policy:act(observation, context)
    if type(note) == "string" then context.notes[note] = (context.notes[note] or 0) + 1 end
    local action = orrery.policy.action(space, chosen)
    local own, terminated, truncated
    observation, own, terminated, truncated = env:step(action)
    local next, reward = guarded(observation, seen, "observation"), own
    if task.reward then
      local a = guarded(action, done, "action")
      reward = number_of(task_module.blame(task.name, task.reward, s, a, next, step - 1, task.inputs), task, step)
      if success then
        success.at_end = task_module.holds(task.success(s, a, next, step - 1, task.inputs), task.success, "success",
          "evaluate")
        if success.at_end and not success.first then success.first = step end
      end
      local ends = task.termination and task.termination(s, a, next, step - 1, task.inputs)
      if task_module.holds(ends, task.termination, "termination", "evaluate") then terminated = true end
    end
    rewards[step] = reward
    if recorder then recorder:step(action, own, observation) end
    if frames then frames[#frames + 1] = env:draw(width) end
    if terminated or truncated or step == steps then
      if recorder then recorder:finish(terminated, truncated) end
      return rewards, next, success
    end
    s = next
  end
end

local function check_env(env, policy)
  if not check.is_env(env) and check.is_env(policy) then
    check.fail("evaluate: the environment comes first, then the policy: orrery.evaluate(env, policy)")
  end
  check.env("evaluate", env, "orrery.evaluate(%s, policy)")
end

--- orrery.evaluate(env, policy, options): plays whole episodes and adds up the rewards. Starts and
--- noise depend on the seed alone, so that policies can be compared.
---   policy    an mpc, or a policy as orrery.policy has them; its reset(seed) is called for each episode
---   task      { reward = function(s, a, next, t), termination = function(s, a, next, t), success =
---             function(s, a, next, t) }, or the reward alone, t from 0; none: the environment's own reward.
---             Termination and success mean yes by true or a number above 0.5; anything less, and NaN, is no
---   episodes  5
---   seed      1: of starts and noise
---   steps     most steps of an episode; none: the environment's own limit
---   film      true keeps a picture of every step of the first episode, in `frames`; or how many
---             pixels wide they are: 480
---   replay    keeps the episodes, with the environment's own rewards; none: nothing is kept
---   pace      seconds that each step takes at least; false: as fast as it goes; none: the step_seconds of
---             an mpc that plans in the background, which would get no time else
---   progress  function(fraction, text), or a run, called after each episode
--- The result has mean, std, and by episode returns, lengths, rewards (lists) and last, the observation
--- that it ended with; notes, how often an mpc said "late", "last plan" or "safe action" (see mpc:act); and
--- frames. Where the task has success, also success, the share of episodes with a success at any step,
--- success_at_end, at the last, and by episode successes: { first = step or nil, at_end = true or false }.
--- Printed it reads "mean 152.1 ± 3.2 over 5 episodes". A task's inputs are given as the task has them;
--- events that a model learned end no real episode.
return function(env, policy, options)
  local given = check.options("evaluate", options, { task = "any", episodes = 5, seed = 1,
    steps = "optional number", film = "any", replay = "any", progress = "any", pace = "any" })
  check_env(env, policy)
  local task = task_module.functions(given.task, "evaluate")
  local limit = given.steps or (env.max_steps > 0 and env.max_steps)
  if not limit then
    check.fail("evaluate: the environment has no limit of steps; give one, as in { steps = 200 }")
  end
  if given.episodes < 1 or given.episodes ~= math.floor(given.episodes) then
    check.fail("evaluate: episodes must be a whole number, 1 or more, got %s", given.episodes)
  end
  policy = orrery.policy.of(policy, "evaluate")
  local pace = pace_of(given.pace, policy)
  local tell = orrery.policy.teller(given.progress, "evaluate")
  local seeds = orrery.stream(given.seed, 1)
  local result = setmetatable({ returns = {}, lengths = {}, rewards = {}, last = {}, successes = {}, notes = {} }, Result)
  if given.film then result.frames = {} end
  local width = type(given.film) == "number" and math.tointeger(given.film) or nil
  local recorder <close> = given.replay and given.replay:recorder() or nil
  for episode = 1, given.episodes do
    local context = { env = env, episode = episode, notes = result.notes, task = given.task }
    local frames = episode == 1 and result.frames or nil
    local rewards, last, success = play(env, policy, task, context, seeds:whole(), limit, pace, recorder, frames, width)
    result.rewards[episode], result.last[episode] = rewards, last
    if success then result.successes[episode] = success end
    result.returns[episode], result.lengths[episode] = sum_of(rewards), #rewards
    tell(episode / given.episodes, ("evaluating, episode %d of %d"):format(episode, given.episodes))
  end
  return summarise(result)
end
