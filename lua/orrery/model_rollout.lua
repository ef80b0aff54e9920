--- model_rollout.lua - plans rolled out in a learned model: the programs that planners score with.
local orrery = require "orrery"
local check = require "orrery.check"
local trace = require "orrery.trace"

-- All particles of a plan start in one state, so that those of one member share the mean and the
-- deviation of the state after the first action. A small program works them out for each member and
-- plan; the rollout gets them as inputs.
local function first_program(self, horizon)
  return trace.program {
    name = "first step",
    inputs = { { name = "state", level = "uniform", shape = { self.states } },
               { name = "plan", level = "row", shape = { horizon, self.actions } } },
    fn = function(state, plan)
      local mean, deviation = self:distribution(state, plan[1])
      return { first_mean = mean, first_deviation = deviation }
    end,
  }
end

--- model:rollout_program(horizon, options): library code: compiles a rollout for planners. Inputs state
--- (uniform), plan and time, and with options.shares those that the program of the first step gives.
---   name    of the program
---   start   the carry's other entries at first: a table
---   body    body(carry, action, next, t) answers the entries that follow, and what to stack, or nil;
---           carry.s is the state, t the step of the episode
---   finish  finish(carry, stacked) answers the outputs
---   sample  draws each next state instead of taking the mean
---   slope   outputs "gradient" too, of "return" with respect to the plan; not with shares
local function rollout_program(self, horizon, options)
  local o, inputs = options, { { name = "state", level = "uniform", shape = { self.states } },
    { name = "plan", level = "row", shape = { horizon, self.actions } },
    { name = "time", level = "uniform", shape = {} } }
  if o.shares then
    inputs[4] = { name = "first_mean", level = "row", shape = { self.states } }
    inputs[5] = { name = "first_deviation", level = "row", shape = { self.states } }
  end
  local function roll(state, plan, time, mean, deviation)
    local function advance(carry, action, next, t)
      local after, output = o.body(carry, action, next, t)
      after.s = next
      return after, output
    end
    local function step(carry, action, t)
      local next = o.sample and self:sample(carry.s, action) or (self:step(carry.s, action))
      return advance(carry, action, next, time + t)
    end
    local carry = { s = state }
    for name, value in pairs(o.start or {}) do carry[name] = value end
    if not o.shares then
      return orrery.scan(function(now, action, t) return step(now, action, t - 1) end, carry, plan)
    end
    local after, output = advance(carry, plan[1], self:drawn(mean, deviation), time)
    output = output and output:insert_axis(1)
    if horizon == 1 then return after, output end
    local last, rest = orrery.scan(step, after, plan:slice(2, horizon))
    return last, output and orrery.concat({ output, rest }, 1)
  end
  local function run(...) return o.finish(roll(...)) end
  local function run_and_differentiate(state, plan, time)
    local slope, value = orrery.grad(function(actions)
      return run(state, actions, time)["return"]
    end)(plan)
    return { ["return"] = value, gradient = slope }
  end
  return trace.program { name = o.name, inputs = inputs, fn = o.slope and run_and_differentiate or run }
end

-- The program that scores plans: its output "return" is the sum of rewards, none after a termination.
local function return_program(self, task, horizon, sample, shares, slope)
  local function body(carry, action, next, t)
    local s, n = trace.record(self.observation, carry.s), trace.record(self.observation, next)
    local a = trace.record(self.action, action)
    local reward = trace.inline { fn = task.reward, arguments = { s, a, n, t }, name = "reward",
                                  returns = "number", step = 4 }
    if not task.termination then return { total = carry.total + reward } end
    reward = reward + 0 * next:sum() -- see below; what comes after the end spoils nothing
    local ended = trace.inline { fn = task.termination, arguments = { s, a, n, t },
                                 name = "termination", step = 4 }
    return { total = carry.total + orrery.where(carry.alive, reward, 0),
             alive = orrery.where(ended, 0, carry.alive) }
  end
  return rollout_program(self, horizon, {
    name = task.name or "rollout", sample = sample, shares = shares, slope = slope, body = body,
    start = { total = 0, alive = task.termination and 1 or nil },
    finish = function(last)
      -- A state that is not finite spoils the return, and ranks last. Without an end such a number
      -- never leaves the state again: the last one tells of all.
      return { ["return"] = task.termination and last.total or last.total + 0 * last.s:sum() }
    end,
  })
end

-- The programs that are only made for planners that use derivatives.
local function derivatives(self, task, o, sample)
  if o.gradients then return { gradient = return_program(self, task, o.horizon, sample, false, true) } end
  if not o.linear then return {} end
  local path = rollout_program(self, o.horizon, {
    name = "path", body = function(_, _, next) return {}, next end,
    finish = function(_, states) return { states = states } end,
  })
  return { path = path, linear = require "orrery.model_linear"(self, task) }
end

--- model:objective(task, { horizon = 20, particles = 20, sample = true }): scores plans by rolling
--- them out in the model. task: a table with `reward`, a function of (s, a, next, t), and
--- optionally `termination`; or the reward function. Answers the compiled rollout, and options for
--- a planner's objective: every particle keeps one elite member for the whole plan (TS-infinity).
--- Where particles have a member in common, options.first is the program of their first step. With
--- gradients = true the objective also knows gradients, with linear = true derivatives along a plan; their
--- programs are in the options, and compiled in a third result, to be entered like the first.
local function objective(self, task, options)
  local o = check.options("objective options", options,
    { horizon = 20, particles = 20, sample = true, gradients = false, linear = false })
  if type(task) == "function" then task = { reward = task } end
  if type(task) ~= "table" or type(task.reward) ~= "function" then
    check.fail("objective: a task needs a function `reward`")
  end
  local sample = o.sample and self.probabilistic
  local particles = (sample or self.members > 1) and o.particles or 1
  local shares = sample and particles > #self.elites
  local compiled = return_program(self, task, o.horizon, sample, shares)
  local made = {
    members = self.members > 1 and self.members or 0, particles = particles, elites = self.elites,
    observation = self.observation, action = self.action, horizon = o.horizon,
    first = shares and first_program(self, o.horizon).program or nil,
  }
  local others = derivatives(self, task, o, sample)
  for name, other in pairs(others) do made[name] = other.program end
  return compiled, made, others
end

return { program = rollout_program, objective = objective }
