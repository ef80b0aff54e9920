--- model_rollout.lua - plans rolled out in a learned model: the programs that planners score with.
local orrery = require "orrery"
local check = require "orrery.check"
local score = require "orrery.model_score"
local task = require "orrery.task"
local trace = require "orrery.trace"

-- All particles of a plan start in one state, so that those of one member share the mean and the
-- deviation of the state after the first action. A small program works them out for each member and
-- plan; the rollout gets them as inputs.
local function first_program(self, horizon)
  return trace.program {
    name = "first step",
    inputs = { { name = "state", level = "row", shape = { self.states } },
               { name = "plan", level = "row", shape = { horizon, self.actions } } },
    fn = function(state, plan)
      local mean, deviation = self:distribution(state, plan[1])
      return { first_mean = mean, first_deviation = deviation }
    end,
  }
end

-- Compiles fn(values), values being the inputs by name, with the task's own among them.
local function program_of(name, inputs, others, fn)
  for _, input in ipairs(others or {}) do inputs[#inputs + 1] = input end
  return trace.program { name = name, inputs = inputs, fn = function(...)
    local given, values = { ... }, {}
    for i, input in ipairs(inputs) do values[input.name] = given[i] end
    return fn(values)
  end }
end

-- The values of the task's own inputs.
local function own(o, values)
  local chosen = {}
  for _, input in ipairs(o.inputs or {}) do chosen[input.name] = values[input.name] end
  return chosen
end

-- The state that follows.
local function next_state(self, o, s, action)
  if o.mean then return (self:elite_mean(s, action)) end
  return o.sample and self:sample(s, action) or (self:step(s, action))
end

--- model:rollout_program(horizon, options): library code: compiles a rollout for planners. Inputs state,
--- plan and time, and with options.shares those that the program of the first step gives.
---   name    of the program
---   start   the carry's other entries at first: a table
---   body    body(carry, action, next, t, values) answers the entries that follow, and what to stack, or nil;
---           carry.s is the state, t the step of the episode, values those of `inputs` by name
---   finish  finish(carry, stacked, values, start) answers the outputs; start is the first state
---   inputs  none: more inputs, uniform
---   sample  draws each next state instead of taking the mean
---   mean    takes the mean over elites of their means (one particle, no members)
---   slope   outputs "gradient" too, of "return" with respect to the plan; not with shares
local function rollout_program(self, horizon, options)
  local o, inputs = options, { { name = "state", level = "row", shape = { self.states } },
    { name = "plan", level = "row", shape = { horizon, self.actions } },
    { name = "time", level = "uniform", shape = {} } }
  if o.shares then
    inputs[4] = { name = "first_mean", level = "row", shape = { self.states } }
    inputs[5] = { name = "first_deviation", level = "row", shape = { self.states } }
  end
  local function roll(values, plan)
    local more = own(o, values)
    local function advance(carry, action, next, t)
      local after, output = o.body(carry, action, next, t, more)
      after.s = next
      return after, output
    end
    local function step(carry, action, t)
      return advance(carry, action, next_state(self, o, carry.s, action), values.time + t)
    end
    local carry = { s = values.state }
    for name, value in pairs(o.start or {}) do carry[name] = value end
    if not o.shares then
      return orrery.scan(function(now, action, t) return step(now, action, t - 1) end, carry, plan)
    end
    local first = self:drawn(values.first_mean, values.first_deviation)
    local after, output = advance(carry, plan[1], first, values.time)
    output = output and output:insert_axis(1)
    if horizon == 1 then return after, output end
    local last, rest = orrery.scan(step, after, plan:slice(2, horizon))
    return last, output and orrery.concat({ output, rest }, 1)
  end
  local function run(values, plan)
    local last, stacked = roll(values, plan or values.plan)
    return o.finish(last, stacked, own(o, values), values.state)
  end
  local function run_and_differentiate(values)
    local slope, value = orrery.grad(function(actions) return run(values, actions)["return"] end)(values.plan)
    return { ["return"] = value, gradient = slope }
  end
  return program_of(o.name, inputs, o.inputs, o.slope and run_and_differentiate or run)
end

-- ---- TS1: a program of one step, and one of the end

-- What is carried as one vector: the state, then numbers in the order of `names`.
local function pack(carry, names)
  local numbers = {}
  for i, name in ipairs(names) do numbers[i] = trace.number(carry[name]) end
  return #names > 0 and orrery.concat { carry.s, orrery.stack(numbers) } or carry.s
end

local function unpack_carry(self, vector, names)
  local carry = { s = vector:slice(1, self.states) }
  for i, name in ipairs(names) do carry[name] = vector[self.states + i] end
  return carry
end

local function step_programs(self, o)
  local names = check.sorted_keys(o.start)
  local width, numbers = self.states + #names, {}
  for i, name in ipairs(names) do numbers[i] = o.start[name] end
  local function inputs(more)
    return { { name = "carry", level = "row", shape = { width } },
             { name = "action", level = "row", shape = { self.actions } },
             { name = "time", level = "uniform", shape = {} }, more }
  end
  local function advance(values, x)
    local carry = unpack_carry(self, x.carry, names)
    local next = next_state(self, o, carry.s, x.action)
    local after = o.body(carry, x.action, next, values.time, own(o, values))
    after.s = next
    return pack(after, names)
  end
  local function finish(values, carry) return o.finish(unpack_carry(self, carry, names), nil, own(o, values)) end
  local of_carry = { { name = "carry", level = "row", shape = { width } } }
  if not o.slope then
    return program_of(o.name .. ", a step", inputs(), o.inputs,
        function(values) return { carry = advance(values, values) } end),
      program_of(o.name .. ", the end", of_carry, o.inputs, function(values) return finish(values, values.carry) end),
      numbers
  end
  -- The step and its pullback are the same trace with other outputs, so that both draw the same.
  local function differentiate(values, after)
    local kept = {}
    local slope = orrery.grad(function(x)
      kept.carry = advance(values, x)
      return (kept.carry * after):sum()
    end)({ carry = values.carry, action = values.action })
    return slope, kept.carry
  end
  local step = program_of(o.name .. ", a step", inputs(), o.inputs, function(values)
    return { carry = select(2, differentiate(values, values.carry)) }
  end)
  local back = program_of(o.name .. ", a step back", inputs { name = "after", level = "row", shape = { width } },
    o.inputs, function(values)
      local slope = differentiate(values, values.after)
      return { carry = slope.carry + 0 * values.carry, action = slope.action + 0 * values.action }
    end)
  local ending = program_of(o.name .. ", the end", of_carry, o.inputs, function(values)
    local kept = {}
    local slope = orrery.grad(function(carry)
      kept.outputs = finish(values, carry)
      return kept.outputs["return"]
    end)(values.carry)
    return { ["return"] = kept.outputs["return"], events = kept.outputs.events, slope = slope + 0 * values.carry }
  end)
  return step, ending, numbers, back
end

-- ---- what a policy would do

local function policy_program(self, read, horizon)
  local o = { inputs = task.describe(read), mean = self.members > 1 }
  local inputs = { { name = "state", level = "row", shape = { self.states } } }
  return program_of("policy", inputs, o.inputs, function(values)
    local _, plan = orrery.scan(function(s)
      local action = task.action(read.policy, trace.record(self.observation, s), own(o, values), self.action)
      if self.lowest_action then action = orrery.max(action, self.lowest_action) end
      if self.highest_action then action = orrery.min(action, self.highest_action) end
      return next_state(self, o, s, action), action
    end, values.state, nil, { length = horizon })
    return { plans = plan }
  end)
end

-- ---- objectives

-- The programs that are only made for planners that use derivatives.
local function derivatives(self, read, o, scored, stepped)
  if o.gradients and not stepped then
    local sloped = { shares = false, slope = true }
    for name, value in pairs(scored) do
      if sloped[name] == nil then sloped[name] = value end
    end
    return { gradient = rollout_program(self, o.horizon, sloped) }
  end
  if not o.linear then return {} end
  local linear, bare = require "orrery.model_linear", {}
  for name, value in pairs(read) do bare[name] = value end
  bare.constraints = {} -- which the planner holds its plans against, not their derivatives
  local worth = score(self, bare, scored.mean)
  worth.mean, worth.has_value = scored.mean, read.value ~= nil
  local function roll(options) return rollout_program(self, o.horizon, options) end
  local function compile(name, inputs, others, fn)
    return program_of(name, inputs, others, function(values) return fn(values, own(worth, values)) end)
  end
  local function step(s, a) return next_state(self, { mean = scored.mean }, s, a) end
  return { path = linear.path(worth, roll), linear = linear.step(self, worth, compile, step) }
end

-- Refuses what says nothing together with the rest, rather than leaving it out without a word.
local function check_together(self, read, o, mean)
  local risky, many = task.weighs_risk(o.risk), (o.particles or 1) > 1
  if mean and o.sample then
    check.fail("objective: propagation = \"expectation\" takes means: leave out sample = true")
  end
  if mean and (many or risky) then
    check.fail("objective: propagation = \"expectation\" follows one particle, the mean, so %s nothing: leave it out, or "
      .. "take propagation = \"ts_infinity\"", many and ("particles = %d says"):format(o.particles) or "risk weighs")
  end
  if o.sample and not self.probabilistic then
    check.fail("objective: sample = true, but the model predicts no distribution to draw from (probabilistic = false): "
      .. "leave sample out")
  end
  if self.members == 1 and (many or risky) and (o.sample == false or not self.probabilistic) then
    check.fail("objective: one member and no draws make all particles alike, so %s nothing: leave it out, or give "
      .. "the model members%s", many and ("particles = %d says"):format(o.particles) or "risk weighs",
      self.probabilistic and ", or the objective sample = true (planners that use derivatives take means without it)"
      or " or a distribution (probabilistic = true)")
  end
  if not many and risky and o.particles and not mean then
    check.fail("objective: risk is over the particles of a plan, and particles = 1: give more of them, or leave risk out")
  end
  if read.afterwards ~= 0 and #read.terminations == 0 then
    check.fail("objective: the task has afterwards = %g, the reward of steps after the end, but no termination: give "
      .. "one, or leave afterwards out", read.afterwards)
  end
end

local ways = { "expectation", "ts1", "ts_infinity" }

local function check_propagation(name)
  for _, known in ipairs(ways) do
    if name == known then return end
  end
  check.fail("%s", check.unknown("propagation", name, ways))
end

-- As many particles as say something: where nothing is drawn, particles of one member are all alike.
local function particles_of(self, o, mean, sample)
  if mean then return 1 end
  if sample then return o.particles or 20 end
  return self.members > 1 and (o.particles or #self.elites) or 1
end

-- The program that tells how far members are apart, and the scale of a state: 1 / deviation in the data.
local function disagreement(self, horizon)
  if self.members == 1 then return nil end
  self.paths = self.paths or {}
  self.paths[horizon] = self.paths[horizon] or rollout_program(self, horizon, {
    name = "states", body = function(_, _, next) return {}, next end,
    finish = function(_, states) return { states = states } end,
  })
  return self.paths[horizon].program, self:state_scale()
end

--- model:objective(task, options): scores plans by rolling them out in the model. task: a table with `reward`,
--- a function of (s, a, next, t), and perhaps termination, afterwards, constraint, value, policy and inputs
--- (see orrery.mpc); or the reward function. Options:
---   horizon      20
---   particles    of each plan: 20 where states are drawn, else one for each elite
---   propagation  "ts_infinity": every particle keeps one elite for the whole plan; "ts1": it gets one anew at
---                every step (both Chua et al. 2018); "expectation": one particle, whose next state is the
---                mean over elites of their means
---   sample       true: states are drawn; false: they are the means that members predict
---   risk         "mean": see orrery.mpc
---   gradients    false; true: the objective knows gradients
---   linear       false; true: it knows derivatives along a plan
--- Answers the compiled rollout, options for orrery.objective.program, and what else was compiled, to be
--- entered like the first. Where particles have a member in common, options.first is the program of their
--- first step.
local function objective(self, given, options)
  local o = check.options("objective options", options, {
    horizon = 20, particles = "optional number", propagation = "ts_infinity", sample = "optional boolean",
    risk = "any", gradients = false, linear = false })
  local read = task.read(given, self.event_names)
  if type(read.reward) ~= "function" then check.fail("objective: a task needs a function `reward`") end
  check_propagation(o.propagation)
  local mean = o.propagation == "expectation"
  check_together(self, read, o, mean)
  local sample = not mean and o.sample ~= false and self.probabilistic
  local stepped = o.propagation == "ts1" and self.members > 1
  local particles = particles_of(self, o, mean, sample)
  local scored = score(self, read, mean)
  scored.name, scored.sample, scored.mean = read.name or "rollout", sample, mean
  scored.shares = sample and particles > #self.elites and not stepped
  local made = {
    members = (self.members > 1 and not mean) and self.members or 0, particles = particles, elites = self.elites,
    observation = self.observation, action = self.action, horizon = o.horizon, risk = o.risk,
    limits = task.limits(read), inputs = read.inputs.values,
  }
  local compiled, others = nil, derivatives(self, read, o, scored, stepped)
  scored.slope = o.gradients and stepped
  if stepped then compiled, others.finish, made.start, others.gradient = step_programs(self, scored)
  else compiled = rollout_program(self, o.horizon, scored) end
  if scored.shares then others.first = first_program(self, o.horizon) end
  if read.policy then others.policy = policy_program(self, read, o.horizon) end
  for name, other in pairs(others) do made[name] = other.program end
  if not mean then made.states, made.scale = disagreement(self, o.horizon) end
  return compiled, made, others
end

return { program = rollout_program, objective = objective }
