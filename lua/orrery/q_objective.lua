--- q_objective.lua - a Q-function as what scores plans: the action of highest value by any planner, without
--- a model or a net that acts (QT-Opt: Kalashnikov et al. 2018).
local check = require "orrery.check"
local orrery = require "orrery"
local trace = require "orrery.trace"

--- orrery.q_objective(f, { env = env }): scores plans of one step by f(s, a), the value of an action in a state: a
--- traced function, which may call nets. Instead of env: the spaces `observation` and `action`. Nets and tensors
--- are read at every plan; numbers that f captured stay as they were.
---
---   local critic = orrery.nn.mlp { inputs = 4, outputs = 1 }
---   local function q(s, a) return critic(orrery.concat { s.cos, s.sin, s.velocity, a.torque })[1] end
---   local greedy = orrery.mpc { objective = orrery.q_objective(q, { env = orrery.env "pendulum" }),
---     planner = orrery.plan.cem { horizon = 1 } }
return function(f, options)
  local o = check.options("q_objective", options, { env = "any", observation = "any", action = "any" })
  if type(f) ~= "function" then
    check.fail("q_objective: a function of (s, a) is needed, not %s", f == nil and "nothing" or "a " .. type(f))
  end
  local seen, done = o.observation or o.env and o.env.observation_space, o.action or o.env and o.env.action_space
  if not seen or not done then
    check.fail("q_objective: an environment is needed, as in { env = env }, or the spaces observation and action")
  end
  local function value(state, plan)
    return trace.inline { fn = f, name = "q", returns = "number",
      arguments = { trace.record(seen, state), trace.record(done, plan[1]) } }
  end
  local function compile(name, fn)
    return trace.program { name = name, fn = fn, inputs = {
      { name = "state", level = "row", shape = { seen.size } },
      { name = "plan", level = "row", shape = { 1, done.size } } } }.program
  end
  return orrery.objective.program(compile("q", function(state, plan) return { ["return"] = value(state, plan) } end), {
    observation = seen, action = done,
    gradient = compile("q and its gradient", function(state, plan)
      local slope, worth = orrery.grad(function(actions) return value(state, actions) end)(plan)
      return { ["return"] = worth, gradient = slope }
    end),
  })
end
