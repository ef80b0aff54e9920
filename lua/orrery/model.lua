--- model.lua - learned dynamics: an ensemble of nets that predict how the state changes (PETS: Chua
--- et al. 2018).
---
---   local model = orrery.model { env = env, members = 5, hidden = { 200, 200, 200 } }
---   model:fit(replay)
---   print(model:audit(held_out))
---
--- Inputs and targets are brought to mean 0 and deviation 1 by numbers that model:fit measures.
--- What never changed in the data is predicted not to change.
local orrery = require "orrery"
local check = require "orrery.check"
local trace = require "orrery.trace"

local FAR = 3e38 -- far out, but finite: files hold no other numbers

local Model = {}
Model.__index = Model

-- For the methods that scripts call most.
local function is_model(self, name)
  if getmetatable(self) ~= Model then
    check.fail("a model's methods are called with a colon, as in model:%s(...)", name)
  end
end

local function space_of(o, name)
  local space = o[name] or o.env and o.env[name .. "_space"]
  if not space then
    if o.env ~= nil then check.env("model options", o.env, "{ env = %s }") end
    check.fail("model options: an environment is needed, as in { env = env }, or the space '%s'",
      name)
  end
  return space
end

-- The bounds of all numbers of a space as a tensor; nil when there are none.
local function bounds_of(space, side, none)
  local list, any = {}, false
  for _, field in ipairs(space.fields) do
    local bounds = field[side]
    for i = 1, field.count do
      local bound = type(bounds) == "table" and bounds[i] or bounds
      list[#list + 1] = type(bound) == "number" and bound or none
      any = any or list[#list] ~= none
    end
  end
  return any and orrery.tensor(list) or nil
end

-- Where the bounds of the log-variance start.
local function variance_bounds_of(o)
  local given = o.log_variance
  if not given then return { -10, 0.5 } end
  if not o.probabilistic then
    check.fail("model options: log_variance is for models with a variance: leave it out, or probabilistic = false")
  end
  for _, bound in ipairs { given[1] or 0 / 0, given[2] or 0 / 0 } do
    if type(bound) ~= "number" or not (math.abs(bound) <= 60) then -- its exponential is a number of 32 bits
      check.fail("model options: log_variance must be two numbers from -60 to 60, as in { -10, 0.5 }, not { %s, %s }",
        given[1], given[2])
    end
  end
  if #given ~= 2 or given[1] >= given[2] then
    check.fail("model options: log_variance must be two numbers, the lower one first, as in { -10, 0.5 }")
  end
  return given
end

--- orrery.model(options): an untrained model.
---   env            whose observations and actions it learns; or the spaces `observation` and
---                  `action`
---   members        5 nets
---   hidden         { 200, 200, 200 }
---   activation     "silu"
---   probabilistic  true: each net predicts a mean and a variance; false: a mean only
---   log_variance   { -10, 0.5 }: where the learned bounds of the log-variance start, low and high, as in PETS;
---                  0 is the log-variance of the changes of state in the data. A lower start suits worlds
---                  with hardly any noise
---   layer_norm     false
---   bounded        true: predicted states stay within the observation's bounds
---   bounded_noise  true: where the mean of a number is in the range that the states of the last fit had, and by 2
---                  deviations of a step's change beyond, draws are, too; elsewhere they are the mean. false: as
---                  published. One Gaussian that has to tell both "on" and "far down" tells "far up" as well, and
---                  plans would be after that; but far outside of the data draws know no risk
---   init           "truncated_normal": how weights start
---   seed           0: of first weights, bootstrap, shuffling
---   events         none; { fallen = function(s, a, next) return next.height < -15 end }: whether each event
---                  happens in a step is learned too, as a probability given s and a. In place of the function
---                  { label = function, ends = true }: it ends the episode, and such steps, whose next state
---                  may be anywhere, are left out of the dynamics; or { terminated = true }: the replay says
---                  which steps ended their episode, with ends = true unless given
---   events_hidden  { 64, 64 }: of the nets that predict events, one for each member
local function new(options)
  local o = check.options("model options", options, {
    env = "any", observation = "any", action = "any", members = 5, hidden = { 200, 200, 200 },
    activation = "silu", probabilistic = true, log_variance = "optional table", layer_norm = false, bounded = true,
    bounded_noise = true, init = "truncated_normal", seed = 0, events = "optional table", events_hidden = { 64, 64 },
  })
  if math.type(o.members) ~= "integer" or o.members < 1 then
    check.fail("model options: members must be a whole number, 1 or more, not %s", o.members)
  end
  local log_variance = variance_bounds_of(o)
  local self = setmetatable({ options = o, members = o.members }, Model)
  self.probabilistic = o.probabilistic
  self.observation, self.action = space_of(o, "observation"), space_of(o, "action")
  local states, actions = self.observation.size, self.action.size
  self.states, self.actions = states, actions
  self.net = orrery.nn.mlp {
    inputs = states + actions, outputs = o.probabilistic and 2 * states or states,
    hidden = o.hidden, activation = o.activation, layer_norm = o.layer_norm,
    members = o.members, init = o.init, seed = o.seed,
  }
  self.input_mean, self.input_scale = orrery.zeros(states + actions), orrery.ones(states + actions)
  self.target_mean, self.target_scale = orrery.zeros(states), orrery.ones(states)
  self.target_inverse = orrery.ones(states)
  self.noise_low, self.noise_high = orrery.full(-FAR, { states }), orrery.full(FAR, { states })
  if o.probabilistic then
    local shape = o.members > 1 and { o.members, states } or { states }
    self.low, self.high = orrery.full(log_variance[1], shape), orrery.full(log_variance[2], shape)
  end
  if o.bounded then
    self.lowest = bounds_of(self.observation, "low", -math.huge)
    self.highest = bounds_of(self.observation, "high", math.huge)
  end
  if o.events then
    self.events = require "orrery.model_events"(self, o)
    self.event_names = self.events.names
  end
  self.lowest_action = bounds_of(self.action, "low", -math.huge)
  self.highest_action = bounds_of(self.action, "high", math.huge)
  self:use_elites()
  self.fitted = false
  return self
end

--- model:take_as_fitted(): says that the parameters were set in another way than by model:fit and model:load. Without
--- any of the three an mpc refuses to plan with the model, since its predictions mean nothing.
function Model:take_as_fitted()
  is_model(self, "take_as_fitted")
  self.fitted = true
  return self
end

-- A planning thread may read what the call would change.
function Model.refuse_while_planning(what)
  if orrery.planning() == 0 then return end
  check.fail("%s: an mpc plans in the background, and may read what this changes: pause it first, as in mpc:pause()",
    what)
end

--- model:use_elites(list): which members plans and predictions use; without a list all of them.
function Model:use_elites(list)
  if not list then
    list = {}
    for m = 1, self.members do list[m] = m end
  end
  for _, m in ipairs(list) do
    if math.type(m) ~= "integer" or m < 1 or m > self.members then
      check.fail("use_elites: %s is not one of the members 1 to %d", tostring(m), self.members)
    end
  end
  if #list == 0 then check.fail("use_elites: an empty list") end
  self.elites = list
  return self
end

-- ---- in traced functions

function Model:within_bounds(s)
  if self.lowest then s = orrery.max(s, self.lowest) end
  if self.highest then s = orrery.min(s, self.highest) end
  return s
end

local function flat(x) return trace.is_symbol(x) and x or trace.vector(x) end

-- The learned bounds of the log-variance. Those of a single net are tensors like any other, so that
-- the loss also works on plain numbers, where it is compared with its program.
function Model:variance_bounds()
  if self.members == 1 then return self.low, self.high end
  return trace.parameter(self.low, "member"), trace.parameter(self.high, "member")
end

--- model:normalised(s, a): in a traced function: mean and log-variance (nil when deterministic) of
--- the change of state in normalised units; s and a are flat symbols or records.
function Model:normalised(s, a)
  local x = (orrery.concat { flat(s), flat(a) } - self.input_mean) * self.input_scale
  local y = self.net(x)
  if not self.probabilistic then return y end
  local low, high = self:variance_bounds()
  local n = self.states
  return y:slice(1, n), orrery.nn.bound(y:slice(n + 1, 2 * n), low, high)
end

-- The net's parameters for rollouts, `of` making a symbol of a tensor of them: the input's scale goes into the
-- first layer, the target's scale and mean into those of the last that give the mean, and the log-variance
-- comes out less `high`. They follow from parameters alone, so a program works them out once per change of a
-- parameter, not once per row. (The input's mean stays outside: where it is many deviations large, b - mean W
-- would round away what x W brings.)
local function folded(self, of, high)
  local weights, names = self.net:parameters()
  local last, n = #weights - 1, self.states
  for i, tensor in ipairs(weights) do weights[i] = of(tensor) end
  assert(names[1] == "linear1.weight" and names[last]:find "^linear%d+%.weight$" and last % 2 == 1)
  weights[1] = trace.parameter(self.input_scale, "uniform"):insert_axis(2) * weights[1]
  local scale = trace.parameter(self.target_scale, "uniform")
  local mean = trace.parameter(self.target_mean, "uniform")
  if self.probabilistic then
    scale = orrery.concat { scale, orrery.ones(n) }
    mean = orrery.concat { mean, -high }
  end
  weights[last] = weights[last] * scale
  weights[last + 1] = weights[last + 1] * scale + mean
  return weights
end

--- model:distribution(s, a): as model:step, before states are kept within bounds.
function Model:distribution(s, a)
  s = flat(s)
  local x = orrery.concat { s, flat(a) }
  if not trace.is_symbol(x) then -- plain numbers, which programs are compared with
    local mean, log_variance = self:normalised(s, a)
    return s + self.target_mean + self.target_scale * mean,
      log_variance and self.target_scale * orrery.exp(0.5 * log_variance)
  end
  local level = self.net:level()
  local function of(tensor) return trace.parameter(tensor, level) end
  if not self.probabilistic then return s + self.net(x - self.input_mean, folded(self, of)) end
  local low, high = of(self.low), of(self.high)
  local y, n = self.net(x - self.input_mean, folded(self, of, high)), self.states
  -- exp(bound(z, low, high) / 2) without its two softplus and the exponential:
  -- exp(bound(z)) = exp(low) + exp(high) sigmoid(z - high)
  local variance = orrery.exp(low) + orrery.exp(high) * orrery.sigmoid(y:slice(n + 1, 2 * n))
  return s + y:slice(1, n), self.target_scale * orrery.sqrt(variance)
end

--- model:step(s, a): in a traced function: mean and deviation of the next state (deviation nil when
--- deterministic). Each row is predicted by its member.
function Model:step(s, a)
  local mean, deviation = self:distribution(s, a)
  return self:within_bounds(mean), deviation
end

--- model:elite_mean(s, a): in a traced function: the mean over elites of the next states that they predict. It
--- is no member's, so that the program has no members; other elites need another trace.
function Model:elite_mean(s, a)
  if self.members == 1 then return (self:step(s, a)) end
  s = flat(s)
  local x, sum = orrery.concat { s, flat(a) } - self.input_mean, nil
  for _, m in ipairs(self.elites) do
    local function of(tensor) return trace.parameter(tensor, "uniform")[m] end
    local weights = folded(self, of, self.probabilistic and of(self.high))
    local y = self.net(x, weights):slice(1, self.states)
    sum = sum and sum + y or y
  end
  return self:within_bounds(s + sum / #self.elites)
end

--- model:drawn(mean, deviation): a draw of the next state, of which model:distribution told.
function Model:drawn(mean, deviation)
  if not deviation then return self:within_bounds(mean) end
  local next = mean + deviation * trace.normal(self.states)
  if self.options.bounded_noise then
    local inside = orrery.less_equal(self.noise_low, mean) * orrery.less_equal(mean, self.noise_high)
    next = orrery.where(inside, orrery.clamp(next, self.noise_low, self.noise_high), mean)
  end
  return self:within_bounds(next)
end

--- model:sample(s, a): in a traced function: a draw of the next state.
function Model:sample(s, a) return self:drawn(self:distribution(s, a)) end

-- ---- on tensors

local function batch_of(x, size, what)
  if x == nil then check.fail("%s are missing: rows of %d numbers", what, size) end
  x = orrery.tensor(x)
  if x:axes() == 1 then x = x:insert_axis(1) end
  if x:axes() ~= 2 or x:size(2) ~= size then
    check.fail("%s must be rows of %d numbers, not %s", what, size,
      table.concat({ x:shape() }, " x "))
  end
  return x
end

-- Runs a compiled program with every row for every member: outputs are [members * rows, ...].
function Model:run_all(compiled, inputs, rows, seed)
  local index = orrery.nn.repeated(rows, self.members)
  local indices = {}
  for name in pairs(inputs) do indices[name] = index end
  return compiled:run(inputs, { rows = rows * self.members, members = self.members,
                                index = indices, seed = seed })
end

local function by_member(x, members, rows)
  local shape = { x:shape() }
  return x:reshape(members, rows, table.unpack(shape, 2)):copy()
end

--- model:predict(s, a): mean and deviation of the next state by every member: tensors of members x
--- n x state for n states and actions. The deviation is nil when the model is deterministic.
function Model:predict(s, a)
  is_model(self, "predict")
  s, a = batch_of(s, self.states, "states"), batch_of(a, self.actions, "actions")
  if s:size(1) ~= a:size(1) then
    check.fail("predict: %d states but %d actions", s:size(1), a:size(1))
  end
  self.predictor = self.predictor or trace.program {
    name = "predict",
    inputs = { { name = "s", level = "row", shape = { self.states } },
               { name = "a", level = "row", shape = { self.actions } } },
    fn = function(state, action)
      local mean, deviation = self:step(state, action)
      return { mean = mean, deviation = deviation }
    end,
  }
  local out = self:run_all(self.predictor, { s = s, a = a }, s:size(1))
  return by_member(out.mean, self.members, s:size(1)),
    out.deviation and by_member(out.deviation, self.members, s:size(1))
end

--- model:rollout(s, plan, { sample = false, seed = 0 }): the states that follow from states s of n
--- x state under plans of n x steps x action, by every member: members x n x steps x state. sample
--- draws each next state instead of taking the mean.
function Model:rollout(s, plan, options)
  is_model(self, "rollout")
  local o = check.options("rollout options", options, { sample = false, seed = 0 })
  if plan == nil then check.fail("rollout: plans are missing: rows x steps x %d numbers", self.actions) end
  s, plan = batch_of(s, self.states, "states"), orrery.tensor(plan)
  if plan:axes() ~= 3 or plan:size(1) ~= s:size(1) or plan:size(3) ~= self.actions then
    check.fail("rollout: plans must be %d x steps x %d, not %s", s:size(1), self.actions,
      table.concat({ plan:shape() }, " x "))
  end
  local steps = plan:size(2)
  local key = steps .. (o.sample and " drawn" or "")
  self.rollouts = self.rollouts or {}
  self.rollouts[key] = self.rollouts[key] or trace.program {
    name = "rollout",
    inputs = { { name = "s", level = "row", shape = { self.states } },
               { name = "plan", level = "row", shape = { steps, self.actions } } },
    fn = function(state, actions)
      local _, states = orrery.scan(function(now, action)
        local next = o.sample and self:sample(now, action) or (self:step(now, action))
        return next, next
      end, state, actions)
      return { states = states }
    end,
  }
  local out = self:run_all(self.rollouts[key], { s = s, plan = plan }, s:size(1), o.seed)
  return by_member(out.states, self.members, s:size(1))
end

-- 1 / deviation that each number of a state had in the data; 0 for what never changed.
function Model:state_scale() return self.input_scale:slice(1, self.states):copy() end

--- model:event_probabilities(s, a, mean): in a traced function: the probability of each event by name; each
--- row's by its member, or with `mean` the mean over elites.
function Model:event_probabilities(s, a, mean)
  return self.events:probabilities(orrery.concat { flat(s), flat(a) }, mean)
end

-- Documented in model_event_audit.lua.
function Model:predict_events(...)
  is_model(self, "predict_events")
  return require "orrery.model_event_audit".predict(self, ...)
end
function Model:audit_events(...)
  is_model(self, "audit_events")
  return require "orrery.model_event_audit".audit(self, ...)
end

-- Documented in model_rollout.lua.
function Model:rollout_program(...) return require "orrery.model_rollout".program(self, ...) end
function Model:objective(...)
  is_model(self, "objective")
  return require "orrery.model_rollout".objective(self, ...)
end

function Model:__tostring()
  return ("model: %d members, %d + %d -> %d numbers; %s")
    :format(self.members, self.states, self.actions, self.states, tostring(self.net))
end

-- Documented in model_fit.lua.
function Model:fit(...)
  is_model(self, "fit")
  return require "orrery.model_fit" (self, ...)
end

-- Documented in model_audit.lua.
function Model:audit(...)
  is_model(self, "audit")
  return require "orrery.model_audit" (self, ...)
end

-- Documented in model_audit_plans.lua.
function Model:audit_plans(...)
  is_model(self, "audit_plans")
  return require "orrery.model_audit_plans" (self, ...)
end

-- Documented in model_audit_variance.lua, as is the next one.
function Model:audit_variance(...)
  is_model(self, "audit_variance")
  return require "orrery.model_audit_variance".variance(self, ...)
end

function Model:audit_spread(...)
  is_model(self, "audit_spread")
  return require "orrery.model_audit_variance".spread(self, ...)
end

require "orrery.model_files" (Model, is_model)

return new
