--- mpc_objective.lua - what an mpc plans against: a task in a learned model, or in an environment itself.
local check = require "orrery.check"
local orrery = require "orrery"
local task_module = require "orrery.task"
local trace = require "orrery.trace"

local function task_of(task)
  if type(task) == "function" or trace.is_interpreted(task) then task = { reward = task } end
  if task == nil then return nil end
  if type(task) ~= "table" or not (type(task.reward) == "function" or trace.is_interpreted(task.reward)) then
    check.fail("mpc: a task is a table with a function `reward`, as in { reward = function(s, a) ... end }")
  end
  return task
end

-- The parts of a task that may stand in the mpc's options.
local function with_options(task, o)
  if task == nil and not (o.constraint or o.value or o.policy) then return nil end
  local copy = {}
  for name, value in pairs(task or {}) do copy[name] = value end
  for _, name in ipairs { "constraint", "value", "policy" } do
    if o[name] ~= nil then copy[name] = o[name] end
  end
  return copy
end

local function is_plain(task)
  return trace.is_interpreted(task.reward) or trace.is_interpreted(task.termination)
end

-- The functions themselves, of those that are marked. In plain Lua there is nothing else.
local function plain(task)
  for _, name in ipairs { "constraint", "value", "policy", "inputs", "afterwards" } do
    if task[name] ~= nil then
      check.fail("mpc: with a reward in plain Lua (orrery.interpret) there can be no %s", name)
    end
  end
  local ends = task.termination
  if ends ~= nil and type(ends) ~= "function" and not trace.is_interpreted(ends) then
    check.fail("mpc: with a reward in plain Lua (orrery.interpret) the termination must be a function")
  end
  return trace.is_interpreted(task.reward) or task.reward,
    trace.is_interpreted(task.termination) or task.termination
end

-- Looks again at what the functions of compiled programs captured; whether one was made anew.
local function enter_all(programs)
  local any = false
  for _, compiled in pairs(programs) do
    local _, is_new = compiled:enter()
    any = any or is_new
  end
  return any
end

-- ---- the true dynamics

local function sample_inputs(env, read)
  local seen, done = env.observation_space, env.action_space
  local inputs = { { name = "s", space = seen }, { name = "a", space = done }, { name = "next", space = seen },
                   { name = "t" } }
  return table.move(task_module.describe(read), 1, #read.inputs.names, #inputs + 1, inputs)
end

local function named_values(read, ...)
  local given = {}
  for i, name in ipairs(read.inputs.names) do given[name] = (select(i, ...)) end
  return given
end

-- Reward (if it is not the environment's own), end and events of a step.
local function step_program(env, read)
  return trace.program {
    name = read.name or "reward", inputs = sample_inputs(env, read),
    fn = function(s, a, next, t, ...)
      local arguments, given = { s, a, next, t }, named_values(read, ...)
      local function call(fn, name) return task_module.call(fn, name, arguments, given) + 0 * t end
      local outputs, events, ended = {}, {}, nil
      if read.reward then outputs.reward = call(read.reward, "reward") end
      for _, termination in ipairs(read.terminations) do
        local p = call(termination, "termination")
        ended = ended and orrery.max(ended, p) or p
      end
      for i, constraint in ipairs(read.constraints) do events[i] = call(constraint.event, "constraint") end
      outputs.terminated = ended
      if #events > 0 then outputs.events = orrery.stack(events) end
      return outputs
    end,
  }
end

local function value_program(env, read)
  local inputs = { { name = "s", space = env.observation_space } }
  table.move(task_module.describe(read), 1, #read.inputs.names, 2, inputs)
  return trace.program {
    name = "value", inputs = inputs,
    fn = function(s, ...)
      return { value = task_module.call(read.value, "value", { s }, named_values(read, ...)) + 0 * s:vector()[1] }
    end,
  }
end

local function policy_program(env, read)
  local inputs = { { name = "s", space = env.observation_space } }
  table.move(task_module.describe(read), 1, #read.inputs.names, 2, inputs)
  return trace.program {
    name = "policy", inputs = inputs,
    fn = function(s, ...)
      local action = task_module.action(read.policy, s, named_values(read, ...), env.action_space)
      return { action = action + 0 * s:vector()[1] }
    end,
  }
end

local function of_env(task, o)
  local env = o.env
  if task_module.weighs_risk(o.risk) and (o.particles or 1) == 1 then
    check.fail("mpc options: risk is over the particles of a plan, and there is one: give particles = 20, or another "
      .. "number above 1, where the environment is noisy; or leave risk out")
  end
  if o.propagation or o.sample ~= nil then check.fail("mpc options: propagation and sample are for learned models") end
  local options = { particles = o.particles, risk = o.risk }
  if not task then return function() return orrery.objective.env(env, options) end end
  if is_plain(task) then
    options.reward, options.termination = plain(task)
    return function() return orrery.objective.env(env, options) end
  end
  local read, programs = task_module.read(task), {}
  options.limits, options.afterwards, options.inputs = task_module.limits(read), read.afterwards, read.inputs.values
  if read.reward or #read.terminations > 0 or options.limits then programs.reward = step_program(env, read) end
  if read.value then programs.value = value_program(env, read) end
  if read.policy then programs.policy = policy_program(env, read) end
  local function make()
    enter_all(programs)
    for name, compiled in pairs(programs) do options[name] = compiled.program end
    return orrery.objective.env(env, options)
  end
  return make, function() return enter_all(programs) end, read.inputs.values
end

-- ---- a learned model

-- The states that a plan leads to, for rewards in plain Lua.
local function states_program(model, horizon, sample, shares)
  return model:rollout_program(horizon, {
    name = "states", sample = sample, shares = shares,
    body = function(_, _, next) return {}, next end,
    finish = function(_, states) return { states = states } end,
  })
end

local function of_plain(model, task, settings)
  local reward, termination = plain(task)
  if settings.propagation and settings.propagation ~= "ts_infinity" then
    check.fail("mpc: with a reward in plain Lua (orrery.interpret) propagation is \"ts_infinity\"")
  end
  local _, options, others = model:objective({ reward = function() return 0 end }, settings)
  options.reward, options.termination = reward, termination
  local sample = settings.sample ~= false and model.probabilistic
  return states_program(model, settings.horizon, sample, options.first ~= nil), options, others
end

local function of_model(task, o)
  local model = o.model
  if not task then check.fail("mpc: planning with a model needs a task, as in { reward = function(s, a) ... end }") end
  local settings = { horizon = o.planner.horizon, particles = o.particles, propagation = o.propagation,
                     sample = o.sample, risk = o.risk }
  local wants = orrery.planner_wants(o.planner)
  settings.gradients, settings.linear = wants == "gradients", wants == "linearisation"
  -- derivatives are of means; with draws each of a planner's plans would meet other ones
  if wants and o.sample == nil and o.propagation ~= "expectation" then settings.sample = false end
  local compiled, options, others, fitted, fits
  local function compile()
    if is_plain(task) then compiled, options, others = of_plain(model, task, settings)
    else compiled, options, others = model:objective(task, settings) end
    fitted = model.elites
  end
  compile()
  local values = options.inputs or {}
  -- Means over elites are of the elites there were; the number of particles may follow from theirs.
  local function is_stale()
    if fitted == model.elites then return false end
    return settings.propagation == "expectation" or others.policy
      or (not settings.particles and #fitted ~= #model.elites)
  end
  local function make()
    if is_stale() then compile() end
    fitted, fits = model.elites, model.fits -- the scale of a state follows from the data
    options.elites, options.inputs = fitted, values
    if options.scale then options.scale = model:state_scale() end
    compiled:enter()
    enter_all(others)
    for name, other in pairs(others) do options[name] = other.program end
    return orrery.objective.program(compiled.program, options)
  end
  local function is_due()
    if model.fitted == false then
      check.fail("mpc: the model was never fitted, so that its predictions mean nothing: call model:fit(replay) or "
        .. "model:load(path) first; or model:take_as_fitted(), where its parameters were set in another way")
    end
    local _, is_new = compiled:enter()
    return enter_all(others) or is_new or fitted ~= model.elites or fits ~= model.fits
  end
  return make, is_due, values
end

--- objective(task, o): library code: a function that makes the objective, one that tells whether it is due to
--- be made anew (nil: never), because what the task's functions captured changed or the model has other
--- elites; and the values of the task's named inputs. o: options of orrery.mpc.
return function(task, o)
  task = task_of(task)
  if task ~= nil and not is_plain(task) then task_module.read(task, o.model and o.model.event_names, o) end
  task = with_options(task, o)
  if o.env then return of_env(task, o) end
  return of_model(task, o)
end
