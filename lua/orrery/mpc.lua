--- mpc.lua - model-predictive control: a planner against a learned model, an environment, or any objective.
---
---   local mpc = orrery.mpc { model = model, task = task, planner = orrery.plan.cem { horizon = 20 } }
---   local action = mpc:act(observation)
---
--- The reward is traced and compiled with the rollout, so that planning runs without Lua; one marked with
--- orrery.interpret is called for each sample in plain Lua.
local check = require "orrery.check"
local orrery = require "orrery"
local objective = require "orrery.mpc_objective"
local core = orrery.mpc_core

local runtime = {
  "seed", "warm_start", "iterations", "seconds", "step_seconds", "safe_action", "background", "batch", "disagreement",
}

-- Options that make the objective, of which some may also stand in the task.
local scoring = { "model", "env", "particles", "propagation", "sample", "risk", "constraint", "value", "policy" }

-- Refuses a policy that nothing would ever ask.
local function check_policy(o, task, planner)
  local has_policy = o.policy ~= nil or type(task) == "table" and task.policy ~= nil
  if not has_policy or (planner.proposals or 0) > 0 then return end
  check.fail("mpc: the policy proposes nothing, because the planner takes no proposals; give it some, as in "
    .. "orrery.plan.%s { horizon = %d, proposals = 20 }, or leave the policy out", planner.planner, planner.horizon)
end

-- What makes the objective for a task and a planner.
local function maker_of(o, task, planner)
  local given = { planner = planner }
  for _, name in ipairs(scoring) do given[name] = o[name] end
  local make, is_due, inputs = objective(task, given)
  check_policy(o, task, planner)
  return make, is_due, inputs
end

-- The functions behind methods that replace parts; what they replace stays when they fail.
local function functions_of(o, make, is_due, inputs)
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
      check_policy(o, task, next)
      core.set_planner(mpc, next)
    else -- the rollout is as long as the horizon
      local new_make, new_is_due, new_inputs = maker_of(o, task, next)
      for name, value in pairs(inputs or {}) do new_inputs[name] = value end
      core.set_planner(mpc, next, new_make())
      make, is_due, inputs = new_make, new_is_due, new_inputs
    end
    planner = next
  end
  if o.objective then return functions end
  -- An objective that is made anew has the inputs as they were set last.
  function functions.set_input(name, value)
    if inputs then inputs[name] = value end
  end
  function functions.set_task(mpc, next)
    local new_make, new_is_due, new_inputs = maker_of(o, next, planner)
    core.set_objective(mpc, new_make())
    make, is_due, inputs, task = new_make, new_is_due, new_inputs, next
  end
  return functions
end

--- orrery.mpc(options): plans at every step, and gives the action to take.
---   model         a learned model to plan with; or
---   env           an environment, to plan with its true dynamics from the state it is in; or
---   objective     whatever scores plans: see orrery.objective
---   task          { reward = function(s, a, next, t), termination = function(s, a, next, t) }, or the reward
---                 alone; t counts the steps of an episode from 0, so that path[orrery.min(t + 1, n)] is what a
---                 tensor of n rows wants at that time. An environment without a task plans for its own
---                 reward. The task may also have
---                 termination  the name of an event that the model learns ("fallen"), or a list: what follows
---                              counts as far as the episode is likely to go on
---                 afterwards   0: reward of every step after the end
---                 inputs       { goal = 1 }: numbers and tensors that mpc:set_input changes, or who writes to
---                              such a tensor while no thread plans. Functions get them, and the probabilities of learned events, in a table as their last
---                              argument: reward = function(s, a, next, t, given) return -(s.x - given.goal)^2
---                              end
---                 constraint, value, policy, as below, which win where they are given in both places
---   planner       orrery.plan.cem {}
---   particles     of each plan: 20 for a model that predicts a distribution; else one for each elite, or 1
---   propagation   "ts_infinity": each particle keeps an elite of the model for the whole plan; "ts1": it has
---                 another at every step; "expectation": one particle, that takes the mean of what all elites
---                 predict
---   sample        true: next states are drawn; false: they are the means that members predict, as it is without
---                 this option for planners that use derivatives (gradient, ilqr)
---   risk          "mean" over particles; "worst"; "cvar", the mean of the worst share alpha (0.1);
---                 "mean_minus_deviations", less k (1) standard deviations; "optimistic", the mean and k (1)
---                 standard deviations. With parameters: { "cvar", alpha = 0.2, over = "members" }: particles
---                 of one member are averaged first
---   constraint    { event = "fallen", below = 0.05 }, or a list: plans in which the event, a learned one or a
---                 function(s, a, next, t), happens within the horizon with a higher probability rank behind
---                 all others
---   value         function(s): of the state at the horizon, added to the return, in which all rewards count in full,
---                 as far as the plan did not end before; such as agent:value(), of a learner
---   policy        function(s): actions that a planner with the option `proposals`, which it needs, starts from, in the
---                 model or on the environment; such as agent:policy()
---   seed          0: of the planner's own random numbers
---   warm_start    true: starts from the last plan, shifted
---   iterations    limit per plan; none, or 0: the planner's own
---   seconds       limit per plan; none, or 0: no limit. Planning ends before it by a margin that is learned from how
---                 late answers were, on a busy machine up to half of it; where not even one population fits in,
---                 a smaller one takes its place, and `shrunk` of mpc:statistics() counts it
---   step_seconds  seconds of a step of the environment, where time is real: the last plan is brought forward
---                 by the steps whose time has passed; none: by one step for each act. With `background`
---                 orrery.evaluate keeps to it; without it steps go by faster than a thread can plan
---   safe_action   for when planning fails and the last plan is used up; 0, within bounds
---   background    true: a thread plans meanwhile, and act answers at once with the newest plan; the first act
---                 of an episode waits for it, up to `seconds`. For models and built-in environments, and
---                 rewards that compile. Training needs mpc:pause()
---   batch         1: how many states mpc:act_many plans for. Each gets the bits that an mpc of its own with the
---                 same seed would give; where next states are drawn (sample), they are drawn for the whole batch
---   disagreement  true: how far the members are apart is measured for every plan, for mpc:statistics()
return function(options)
  local o = check.options("mpc options", options, {
    model = "any", env = "any", objective = "any", task = "any", planner = "any", particles = "optional number",
    seed = 0, warm_start = true, iterations = "optional number", seconds = "optional number",
    propagation = "optional string", sample = "optional boolean", risk = "any", constraint = "any", value = "any",
    policy = "any", step_seconds = "optional number", safe_action = "any", background = false, batch = 1,
    disagreement = false,
  })
  local sources = (o.model and 1 or 0) + (o.env and 1 or 0) + (o.objective and 1 or 0)
  if sources ~= 1 then
    check.fail("mpc options: one of model, env and objective is needed%s", sources > 1 and ", not several" or "")
  end
  if type(o.env) == "table" and o.env.take_as_fitted then
    check.fail("mpc options: env is a learned model: give it as `model`, as in { model = model, task = task }")
  end
  if o.env ~= nil then check.env("mpc options", o.env, "{ env = %s }") end
  if o.model ~= nil and (type(o.model) ~= "table" or not o.model.objective) then
    check.fail("mpc options: model must be a learned model, as in { model = orrery.model { env = env } }, not a %s; an "
      .. "environment, to plan with its true dynamics, is `env`", type(o.model))
  end
  if o.objective ~= nil and type(o.objective) ~= "userdata" then
    check.fail("mpc options: objective must be one that orrery.objective made, as in orrery.objective.program(...), not a "
      .. "%s", type(o.objective))
  end
  o.planner = o.planner or orrery.plan.cem {}
  if type(o.planner) ~= "table" or not o.planner.horizon then
    check.fail("mpc options: a planner is wanted, as in orrery.plan.cem { horizon = 20 }, not a %s", type(o.planner))
  end
  local make, is_due, inputs
  if not o.objective then
    make, is_due, inputs = maker_of(o, o.task, o.planner)
  else
    for _, name in ipairs { "task", table.unpack(scoring, 3) } do
      if o[name] ~= nil then
        check.fail("mpc options: %s belongs to the objective, which is given already", name)
      end
    end
  end
  local given = {}
  for _, name in ipairs(runtime) do given[name] = o[name] end
  return core.new(make and make() or o.objective, o.planner, given, functions_of(o, make, is_due, inputs))
end
