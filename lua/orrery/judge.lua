--- judge.lua - what a task says of many real steps at once: reward, termination and success, computed by one
--- compiled program.
local check = require "orrery.check"
local orrery = require "orrery"
local task_module = require "orrery.task"
local trace = require "orrery.trace"

local judge = {}

-- A function of the task in a trace, or for a row in plain Lua: a number; of an end or a success 1 or 0, as
-- task.holds has it.
local function value_of(who, f, name, arguments, given)
  if trace.is_active() then
    local value = task_module.call(f, name, arguments, given)
    return name == "reward" and value or orrery.less(0.5, value)
  end
  local s, a, next, t = table.unpack(arguments)
  local value = f(s, a, next, t, given)
  if orrery.is_tensor(value) and value:count() == 1 then value = value:item() end
  if type(value) == "boolean" or (value == nil and name ~= "reward") then value = value and 1 or 0 end
  if name ~= "reward" and type(value) == "number" then value = value > 0.5 and 1 or 0 end
  if type(value) ~= "number" then task_module.refuse_value(who, f, name, value) end
  return value
end

--- judge.is_marked(given): whether a task, or one of its functions, is to run in plain Lua: orrery.interpret.
function judge.is_marked(given)
  if type(given) ~= "table" then return false end
  return trace.is_interpreted(given) or trace.is_interpreted(given.reward) or trace.is_interpreted(given.termination)
    or trace.is_interpreted(given.success)
end

--- judge.new(given, observation_space, action_space, who): function(s, a, next, t) of tensors n x S, n x A, n x S
--- and n, which gives { reward, terminated, success } of n numbers each, without what the task has not; its
--- tensors are overwritten by the next call.
function judge.new(given, seen, done, who)
  local task = task_module.functions(given, who)
  local parts = { reward = task.reward, termination = task.termination, success = task.success }
  local names, keys = check.sorted_keys(parts), { reward = "reward", termination = "terminated", success = "success" }
  local function verdict(s, a, next, t, inputs)
    local arguments = { trace.record(seen, s, "s"), trace.record(done, a, "a"), trace.record(seen, next, "next"), t }
    local results = {}
    for _, name in ipairs(names) do results[keys[name]] = value_of(who, parts[name], name, arguments, inputs) end
    return results
  end
  local all = orrery.rowwise(judge.is_marked(given) and orrery.interpret(verdict) or verdict,
    { name = task.name and ("task '%s'"):format(task.name) or "the task", uniform = { 5 }, reuse = true,
      fallback = true })
  return function(s, a, next, t) return task_module.blame(task.name, all, s, a, next, t, task.inputs) end
end

--- judge.of_vector_env(task, many): function(many), called between the halves of a step.
function judge.of_vector_env(task, many)
  local env = many.env
  if type(env) == "table" then env = env[1] end
  local all = judge.new(task, env.observation_space, env.action_space, "vector_env")
  return function(stepped)
    return all(stepped.observation, stepped.action, stepped.final_observation, stepped.time)
  end
end

return judge
