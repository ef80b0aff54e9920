--- model_score.lua - what a plan is worth, step by step: reward, end, side constraints and the value at the
--- horizon, as what a rollout carries along.
---
---   return  += survive reward + (1 - survive) afterwards        survive' = survive (1 - p)
---   happens += not_yet p_e                                      not_yet' = not_yet (1 - p_e) (1 - p)
---
--- p is the probability that the episode ends with the step, 0 or 1 for known terminations; p_e that the event
--- of a side constraint happens in it. The step that ends an episode still counts.
local orrery = require "orrery"
local task = require "orrery.task"
local trace = require "orrery.trace"

-- Probability that none of them happens.
local function none_of(probabilities)
  local none = 1
  for i, p in ipairs(probabilities) do none = i == 1 and 1 - p or none * (1 - p) end
  return none
end

-- What functions of a step are called with.
local function context(model, read, values, carry, action, next, t, mean)
  local given = {}
  for _, name in ipairs(read.inputs.names) do given[name] = values[name] end
  local events = model.event_names and model:event_probabilities(carry.s, action, mean) or {}
  for name, p in pairs(events) do given[name] = p end
  local arguments = { trace.record(model.observation, carry.s), trace.record(model.action, action),
                      trace.record(model.observation, next), t }
  return function(event, what)
    if type(event) == "string" then return given[event] end
    return task.call(event, what, arguments, given)
  end
end

local function constrain(read, carry, after, chance, ends)
  for i, constraint in ipairs(read.constraints) do
    local u, h = carry["not_yet" .. i], carry["happens" .. i]
    local p, others = chance(constraint.event, "constraint"), {}
    for k, termination in ipairs(read.terminations) do
      if termination ~= constraint.event then others[#others + 1] = ends[k] end
    end
    after["happens" .. i] = h + orrery.where(u, u * p, 0)
    after["not_yet" .. i] = orrery.where(u, u * (1 - p) * none_of(others), 0)
  end
end

--- score(model, read, mean): library code: start, body and finish of a rollout program (model_rollout.lua)
--- that scores the task; mean: states are means over elites, and so are the probabilities of events. The
--- values of the task's named inputs come with the program's inputs.
local function score(model, read, mean)
  local ending = #read.terminations > 0
  local start = { total = 0, survive = ending and 1 or nil }
  for i in ipairs(read.constraints) do start["not_yet" .. i], start["happens" .. i] = 1, 0 end

  local function body(carry, action, next, t, values)
    local chance = context(model, read, values, carry, action, next, t, mean)
    local reward, after, ends = chance(read.reward, "reward"), {}, {}
    for i, termination in ipairs(read.terminations) do ends[i] = chance(termination, "termination") end
    if not ending then
      after.total = carry.total + reward
    else
      local survive = carry.survive
      reward = reward + 0 * next:sum() -- see below; what comes after the end spoils nothing
      after.total = carry.total + orrery.where(survive, survive * reward, 0)
      if read.afterwards ~= 0 then after.total = after.total + (1 - survive) * read.afterwards end
      after.survive = orrery.where(survive, survive * none_of(ends), 0)
    end
    constrain(read, carry, after, chance, ends)
    return after
  end

  local function finish(last, _, values)
    local total, happens = last.total, {}
    if read.value then
      local value = task.call(read.value, "value", { trace.record(model.observation, last.s) }, values)
      total = total + (ending and orrery.where(last.survive, last.survive * value, 0) or value)
    end
    for i in ipairs(read.constraints) do happens[i] = last["happens" .. i] end
    -- A state that is not finite spoils the return, and ranks last. Without an end such a number never leaves
    -- the state again: the last one tells of all.
    return { ["return"] = ending and total or total + 0 * last.s:sum(),
             events = #happens > 0 and orrery.stack(happens) or nil }
  end
  return { start = start, body = body, finish = finish, inputs = task.describe(read) }
end

return score
