--- mpc.lua - model-predictive control: a planner against a learned model, an environment, or any objective.
---
---   local mpc = orrery.mpc { model = model, task = task, planner = orrery.plan.cem { horizon = 20 } }
---   local action = mpc:act(observation)
---
--- The reward is traced and compiled with the rollout, so that planning runs without Lua; one marked with
--- orrery.interpret is called for each sample in plain Lua.
local check = require "orrery.check"
local orrery = require "orrery"
local trace = require "orrery.trace"
local core = orrery.mpc_core

local function task_of(task)
  if type(task) == "function" or trace.is_interpreted(task) then task = { reward = task } end
  if task == nil then return nil end
  if type(task) ~= "table" or not (type(task.reward) == "function" or trace.is_interpreted(task.reward)) then
    check.fail("mpc: a task is a table with a function `reward`, as in { reward = function(s, a) ... end }")
  end
  return task
end

local function is_plain(task)
  return trace.is_interpreted(task.reward) or trace.is_interpreted(task.termination)
end

-- The functions themselves, of those that are marked.
local function plain(task)
  return trace.is_interpreted(task.reward) or task.reward,
    trace.is_interpreted(task.termination) or task.termination
end

-- What makes an objective, and whether it is due to be made anew (nil: it never is): numbers that the
-- reward captured are looked at again by compiled:enter; `version` tells of other changes. others: what
-- else was compiled, by name, which `make` is given as programs.
local function maker(compiled, make, version, others)
  local made_of
  local function remake()
    made_of = version and version()
    local programs = {}
    for name, other in pairs(others or {}) do programs[name] = other:enter() end
    return make(compiled and compiled:enter(), programs)
  end
  local function is_due()
    local _, is_new = compiled:enter()
    for _, other in pairs(others or {}) do
      local _, is_other = other:enter()
      is_new = is_new or is_other
    end
    return is_new or (version and version() ~= made_of)
  end
  return remake, compiled and is_due
end

-- ---- the true dynamics

local function reward_program(env, task)
  local seen, done = env.observation_space, env.action_space
  return trace.program {
    name = task.name or "reward",
    inputs = { { name = "s", space = seen }, { name = "a", space = done }, { name = "next", space = seen },
               { name = "t" } },
    fn = function(...)
      local given = table.pack(...)
      local outputs = {
        reward = trace.inline { fn = task.reward, arguments = given, name = "reward", returns = "number", step = 4 }
          + 0 * given[4],
      }
      if task.termination then
        outputs.terminated = trace.inline { fn = task.termination, arguments = given, name = "termination", step = 4 }
      end
      return outputs
    end,
  }
end

local function of_env(env, task, o)
  if not task then
    return maker(nil, function() return orrery.objective.env(env, { particles = o.particles }) end)
  elseif is_plain(task) then
    local reward, termination = plain(task)
    return maker(nil, function()
      return orrery.objective.env(env, { particles = o.particles, reward = reward, termination = termination })
    end)
  end
  return maker(reward_program(env, task), function(program)
    return orrery.objective.env(env, { particles = o.particles, reward = program })
  end)
end

-- ---- a learned model

-- The states that a plan leads to, for rewards in plain Lua.
local function states_program(model, horizon, shares)
  return model:rollout_program(horizon, {
    name = "states", sample = true, shares = shares,
    body = function(_, _, next) return {}, next end,
    finish = function(_, states) return { states = states } end,
  })
end

-- A fit may choose other elites.
local function elites_of(model) return function() return model.elites end end

local function objective_of(model, options)
  return function(program, others)
    options.elites = model.elites
    for name, other in pairs(others) do options[name] = other end
    return orrery.objective.program(program, options)
  end
end

local function of_model(model, task, o)
  if not task then check.fail("mpc: planning with a model needs a task, as in { reward = function(s, a) ... end }") end
  local horizon = o.planner.horizon
  if is_plain(task) then
    local reward, termination = plain(task)
    local _, options = model:objective({ reward = function() return 0 end }, { horizon = horizon, particles = o.particles })
    options.reward, options.termination = reward, termination
    return maker(states_program(model, horizon, options.first ~= nil), objective_of(model, options), elites_of(model))
  end
  local wants = orrery.planner_wants(o.planner)
  local compiled, options, others = model:objective(task, {
    horizon = horizon, particles = o.particles, gradients = wants == "gradients", linear = wants == "linearisation" })
  return maker(compiled, objective_of(model, options), elites_of(model), others)
end

-- ---- the mpc

local runtime = {
  "seed", "warm_start", "iterations", "seconds", "step_seconds", "safe_action", "background", "batch", "disagreement",
}

-- What makes the objective for a task and a planner.
local function maker_of(o, task, planner)
  local given = { particles = o.particles, planner = planner }
  if o.env then return of_env(o.env, task_of(task), given) end
  return of_model(o.model, task_of(task), given)
end

-- The functions behind methods that replace parts; what they replace stays when they fail.
local function functions_of(o, make, is_due)
  local task, planner = o.task, o.planner
  local functions = {}
  function functions.enter(mpc)
    if is_due and is_due() then core.set_objective(mpc, make()) end
  end
  function functions.set_objective(mpc, objective)
    if not o.objective then check.fail("set_objective: this mpc makes its own objective: see set_task") end
    core.set_objective(mpc, objective)
  end
  function functions.set_planner(mpc, next)
    if type(next) ~= "table" or not next.horizon then
      check.fail("set_planner: a planner is wanted, as in orrery.plan.cem { horizon = 20 }, not a %s", type(next))
    end
    if o.objective or o.env then
      core.set_planner(mpc, next)
    else -- the rollout is as long as the horizon
      local new_make, new_is_due = maker_of(o, task, next)
      core.set_planner(mpc, next, new_make())
      make, is_due = new_make, new_is_due
    end
    planner = next
  end
  if o.objective then return functions end
  function functions.set_task(mpc, next)
    local new_make, new_is_due = maker_of(o, next, planner)
    core.set_objective(mpc, new_make())
    make, is_due, task = new_make, new_is_due, next
  end
  return functions
end

--- orrery.mpc(options)
---   model         a learned model to plan with; or
---   env           an environment, to plan with its true dynamics from the state it is in; or
---   objective     whatever scores plans: see orrery.objective
---   task          { reward = function(s, a, next, t), termination = function(s, a, next, t) }, or the reward
---                 alone; t counts the steps of an episode from 0. An environment without a task plans for
---                 its own reward
---   planner       orrery.plan.cem {}
---   particles     samples of each plan: 20 for a model that predicts a distribution, else 1
---   seed          0: of the planner's own random numbers
---   warm_start    true: starts from the last plan, shifted
---   iterations    limit per plan; none: the planner's own
---   seconds       limit per plan; none: no limit
---   step_seconds  seconds of a step of the environment, where time is real: the last plan is brought forward
---                 by the steps whose time has passed; none: by one step for each act
---   safe_action   for when planning fails and the last plan is used up; 0, within bounds
---   background    true: a thread plans meanwhile, and act answers at once with the newest plan; the first act of an
---                 episode waits for it, up to `seconds`. For models with compiled rewards. Training needs mpc:pause()
---   batch         1: how many states mpc:act_many plans for
---   disagreement  true: how far the members are apart is measured for every plan, for mpc:statistics()
return function(options)
  local o = check.options("mpc options", options, {
    model = "any", env = "any", objective = "any", task = "any", planner = "any", particles = "optional number",
    seed = 0, warm_start = true, iterations = "optional number", seconds = "optional number",
    step_seconds = "optional number", safe_action = "any", background = false, batch = 1, disagreement = false,
  })
  local sources = (o.model and 1 or 0) + (o.env and 1 or 0) + (o.objective and 1 or 0)
  if sources ~= 1 then check.fail("mpc options: one of model, env and objective is needed") end
  o.planner = o.planner or orrery.plan.cem {}
  local make, is_due
  if not o.objective then
    make, is_due = maker_of(o, o.task, o.planner)
  elseif o.task or o.particles then
    check.fail("mpc options: task and particles belong to the objective, which is given already")
  end
  local given = {}
  for _, name in ipairs(runtime) do given[name] = o[name] end
  return core.new(make and make() or o.objective, o.planner, given, functions_of(o, make, is_due))
end
