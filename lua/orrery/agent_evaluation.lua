--- agent_evaluation.lua - how well a learner does, and how far its value function is off.
local check = require "orrery.check"
local orrery = require "orrery"
local tasks = require "orrery.agent_tasks"

local evaluation = {}

local function mean_of(list)
  local sum = 0
  for _, value in ipairs(list) do sum = sum + value end
  return #list > 0 and sum / #list or nil
end

-- The agent, which keeps the observations of each episode.
local function watched(agent)
  local episodes = {}
  return episodes, {
    reset = function() episodes[#episodes + 1] = {} end,
    act = function(_, observation, context)
      local row = agent.observation_space:flatten(observation)
      table.insert(episodes[#episodes], row)
      return agent:act(row, context)
    end,
  }
end

-- Values and discounted returns of the states of an episode, or of its first half where only time ended it.
local function add_estimates(agent, rows, rewards, timed_out, values, realised)
  local count = timed_out and (#rows + 1) // 2 or #rows
  local z = agent.identifiers > 0 and agent.tasks[agent.task or 1].z:insert_axis(1):broadcast(#rows, agent.identifiers)
    :copy() or nil
  local value = agent:value(orrery.stack(rows), z)
  local to_come, returns = 0, {}
  for t = #rows, 1, -1 do
    to_come = rewards[t] + agent.gamma * to_come
    returns[t] = to_come
  end
  for t = 1, count do
    values[#values + 1], realised[#realised + 1] = value[t], returns[t]
  end
end

local function evaluate(agent, o, given)
  local episodes, policy = watched(agent)
  local result = orrery.evaluate(agent.env, policy, { task = given, episodes = o.episodes })
  local values, realised = {}, {}
  for i, rows in ipairs(agent.worth and episodes or {}) do
    local timed_out = agent.env.max_steps > 0 and #rows >= agent.env.max_steps
    add_estimates(agent, rows, result.rewards[i], timed_out, values, realised)
  end
  local value = mean_of(values)
  return { mean = result.mean, std = result.std, success = result.success,
           success_at_end = result.success_at_end, value = value,
           overestimation = value and value - mean_of(realised) }
end

--- evaluation.add(agent, entry, o): plays o.episodes greedily for every task; what came goes into the entry.
function evaluation.add(agent, entry, o)
  local before = agent.task
  if #agent.tasks < 2 then
    for name, value in pairs(evaluate(agent, o, agent.tasks[1] and agent.tasks[1].given)) do entry[name] = value end
    return
  end
  local lists = {}
  entry.tasks = {}
  for i, one in ipairs(agent.tasks) do
    agent.task = i
    local found = evaluate(agent, o, one.given)
    entry.tasks[one.name] = found
    for name, value in pairs(found) do
      lists[name] = lists[name] or {}
      table.insert(lists[name], value)
    end
  end
  agent.task = before
  for name, list in pairs(lists) do entry[name] = mean_of(list) end
end

-- The first episode of every copy, by copy. A copy that has ended starts anew; what it does then counts for nothing.
local function first_episodes(agent, many, steps, which)
  local z = agent.identifiers > 0 and agent.tasks[which].z:insert_axis(1)
    :broadcast(many.copies, agent.identifiers):copy() or nil
  local first, left = {}, many.copies
  for _ = 1, steps do
    many:step(agent:decide(many.observation, z))
    for _, episode in ipairs(many:finished()) do
      if not first[episode.copy] then first[episode.copy], left = episode, left - 1 end
    end
    if left == 0 then break end
  end
  return first
end

-- One after the other, in the agent's environment itself.
local function play_in_turn(agent, o, given, steps)
  local found = orrery.evaluate(agent.env, agent, { task = given, episodes = o.episodes, seed = o.seed, steps = steps })
  return { returns = found.returns, lengths = found.lengths, mean = found.mean, success = found.success,
           success_at_end = found.success_at_end }
end

--- evaluation.play(agent, options): see agent:play.
function evaluation.play(agent, options)
  local o = check.options("play options", options, { episodes = 100, seed = 1, task = "any", steps = "optional number" })
  local env = agent.env
  if not (o.episodes >= 1 and o.episodes == math.floor(o.episodes)) then
    check.fail("play options: episodes must be a whole number, 1 or more, not %g", o.episodes)
  end
  local steps = o.steps or (env.max_steps > 0 and env.max_steps)
  if not steps then check.fail("play: '%s' has no limit of steps; give one, as in { steps = 200 }", env.name) end
  local which, given = tasks.match(agent, o.task), o.task
  local chosen = agent.tasks[which]
  if given == nil and chosen then given = chosen.given end
  if not env.thread_safe then return play_in_turn(agent, o, given, steps) end
  local many = orrery.vector_env(env, o.episodes, { task = given, max_steps = steps })
  many:reset(o.seed)
  local result = { returns = {}, lengths = {} }
  local ever, at_end = {}, {}
  for i, episode in ipairs(first_episodes(agent, many, steps, which)) do
    result.returns[i], result.lengths[i] = episode["return"], episode.length
    if episode.success ~= nil then
      ever[i], at_end[i] = episode.success and 1 or 0, episode.success_at_end and 1 or 0
    end
  end
  result.mean, result.success, result.success_at_end = mean_of(result.returns), mean_of(ever), mean_of(at_end)
  return result
end

--- evaluation.add_finished(entry, finished): of the episodes that were learnt from.
function evaluation.add_finished(entry, finished)
  local returns, successes = {}, {}
  for i, episode in ipairs(finished) do
    returns[i] = episode["return"]
    if episode.success ~= nil then successes[#successes + 1] = episode.success and 1 or 0 end
  end
  entry.training, entry.training_success = mean_of(returns), mean_of(successes)
end

return evaluation
