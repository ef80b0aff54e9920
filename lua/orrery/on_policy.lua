--- on_policy.lua - what learners share that improve a policy by what it has just done: REINFORCE, PPO, TRPO. A
--- policy draws actions from a distribution whose parameters a net gives; a second net, the critic, tells what a
--- state is worth. Again and again the copies of the environment act for `rollout` steps, the learner's method
--- update(batch) makes policy and critic better by them, and they are forgotten.
---
---   local agent = orrery.ppo { env = orrery.env "cartpole_balance", copies = 8, rollout = 2048 }
---   agent:learn { steps = 100000, log = function(entry) print(entry.steps, entry.mean, entry.kl) end }
---
--- update answers diagnostics, of which agent:learn tells the means; see orrery.ppo.
local agent = require "orrery.agent"
local check = require "orrery.check"
local distribution = require "orrery.distribution"
local orrery = require "orrery"
local trace = require "orrery.trace"

local on_policy = {}

local OnPolicy = agent.class "on-policy"

--- on_policy.class(name): a class of such learners; see agent.class.
function on_policy.class(name) return agent.class(name, OnPolicy) end

local DEFAULTS = {
  copies = 8, hidden = { 64, 64 }, activation = "tanh", rollout = 4000, lambda = 0.97, log_std = -0.5,
  normalise = true, value_learning_rate = 1e-3,
}

-- Nets of a small last layer: at first all actions are alike (Andrychowicz et al. 2021), and states worth 0.
local function make_net(self, outputs)
  local net = orrery.nn.mlp { inputs = self.inputs, outputs = outputs, hidden = self.options.hidden,
    activation = self.options.activation, last_gain = 0.01, seed = self.choosing:whole() >> 12 }
  local parameters = net:parameters()
  parameters[#parameters]:fill(0)
  return net
end

local function check_options(self, o)
  if o.rollout < o.copies or o.rollout % o.copies ~= 0 then
    check.fail("%s options: rollout, the steps of all %d copies together, must be a multiple of %d, not %g", self.name,
      o.copies, o.copies, o.rollout)
  end
  if o.lambda < 0 or o.lambda > 1 then
    check.fail("%s options: lambda must be 0 to 1, not %g", self.name, o.lambda)
  end
end

--- on_policy.new(Class, options, defaults): an agent of the class. Besides those of all learners they
--- have the options
---   copies     8: of the environment, that act at the same time
---   hidden     { 64, 64 }, activation "tanh": of policy and critic
---   rollout    4000, or the next multiple of copies below it: steps of all together from one update to the next
---   lambda     0.97: of generalised advantage estimation; see orrery.gae
---   log_std    -0.5: of real actions, where -1 .. 1 stands for their bounds: log of the deviation at first
---   normalise  true: advantages of a rollout get mean 0 and deviation 1
---   value_learning_rate   1e-3
function on_policy.new(Class, options, defaults)
  for name, value in pairs(DEFAULTS) do
    if defaults[name] == nil then defaults[name] = value end
  end
  local self = agent.new(Class, options, defaults, "any")
  if type(options) == "table" and options.rollout == nil then -- the default, for as many copies as there are
    self.options.rollout = math.max(1, self.options.rollout // self.copies) * self.copies
  end
  local o = self.options
  check_options(self, o)
  self.distribution = self.choices and distribution.categorical(self.choices)
    or distribution.gaussian(self.action_space.size)
  self.actor, self.critic = make_net(self, self.distribution.outputs), make_net(self, 1)
  self.log_std = not self.choices and orrery.full(o.log_std, self.distribution.outputs) or nil
  self.updates.critic = orrery.update {
    nets = { self.critic }, optimiser = orrery.adam { learning_rate = o.value_learning_rate }, verify = false,
    loss = function(b) return orrery.square(self:worth(self:seen(b)) - b["return"]) end,
  }
  return self
end

--- self:policy_parameters(): tensors that the policy is made of, and their names.
function OnPolicy:policy_parameters()
  local tensors, names = self.actor:parameters()
  if self.log_std then tensors[#tensors + 1], names[#names + 1] = self.log_std, "log_std" end
  return tensors, names
end

-- ---- in traced functions, x being what the nets see

--- self:parameters_at(x): the parameters of the distribution of actions, flat.
function OnPolicy:parameters_at(x)
  local y = self.actor(x)
  return self.log_std and orrery.concat { y, self.log_std } or y
end

function OnPolicy:worth(x) return self.critic(x)[1] end

-- What was drawn, as the environment takes it.
local function command(self, drawn)
  return self.choices and drawn - 1 or self:from_unit(drawn)
end

function OnPolicy:greedy(x) return { action = command(self, self.distribution.mode(self:parameters_at(x))) } end

function OnPolicy:behaviour(x)
  local drawn = self.distribution:sample(self:parameters_at(x))
  return { action = command(self, drawn), drawn = drawn }
end

-- ---- programs over a batch

--- self:program(name, inputs, fn): one of the agent's programs, made when first asked for. inputs: the names of
--- fields of the batch, or descriptions as trace.program takes them.
function OnPolicy:program(name, inputs, fn)
  if self.programs[name] then return self.programs[name] end
  local shapes = { observation = { self.states }, next_observation = { self.states }, z = { self.identifiers },
    action = self.distribution.action_shape, old = { self.distribution.size } }
  local described, names = {}, {}
  for _, input in ipairs(inputs) do
    if type(input) == "string" then input = { name = input, shape = shapes[input] or {} } end
    described[#described + 1] = input
  end
  if self.identifiers > 0 then described[#described + 1] = { name = "z", shape = shapes.z } end
  for i, input in ipairs(described) do names[i] = input.name end
  self.programs[name] = trace.program { name = self.name .. ", " .. name, inputs = described, fn = function(...)
    local b = {}
    for i, input in ipairs(names) do b[input] = (select(i, ...)) end
    return fn(b)
  end }
  return self.programs[name]
end

--- self:run(program, batch): runs one of them for all rows of the batch.
function OnPolicy:run(program, batch)
  return program:run(batch, { rows = batch.observation:size(1) })
end

-- Distribution and value at every step, as they were when it acted.
local function look(self, batch)
  local program = self:program("look", { "observation", "next_observation", "action" }, function(b)
    local d = self:parameters_at(self:seen(b))
    return { old = d, old_log_prob = self.distribution.log_prob(d, b.action), value = self:worth(self:seen(b)),
      next_value = self:worth(self:seen_next(b)) }
  end)
  for name, x in pairs(self:run(program, batch)) do batch[name] = x:copy() end
end

--- self:measure(batch): how far the policy has gone from the one that acted, and what for: the mean over the batch of
--- kl, KL(old || new) in nats; surrogate, the advantage weighed by new over old probability; clip_fraction, how often
--- that ratio is off 1 by more than the option clip (0.2); entropy, in nats.
function OnPolicy:measure(batch)
  local clip, inputs = self.options.clip or 0.2, { "observation", "action", "old", "old_log_prob", "advantage" }
  local program = self:program("measure", inputs, function(b)
    local d = self:parameters_at(self:seen(b))
    local ratio = orrery.exp(self.distribution.log_prob(d, b.action) - b.old_log_prob)
    local outputs = { kl = self.distribution.kl(b.old, d), surrogate = ratio * b.advantage,
      clip_fraction = orrery.less(clip, orrery.abs(ratio - 1)), entropy = self.distribution.entropy(d) }
    for name, x in pairs(outputs) do outputs[name] = x:level() == "row" and x:row_mean "uniform" or x end
    return outputs
  end)
  local found = {}
  for name, x in pairs(self:run(program, batch)) do found[name] = x:item() end
  return found
end

-- ---- acting

-- Room for T steps of N copies, [T, N, ...].
local function make_room(self)
  local n, t = self.copies, self.options.rollout // self.copies
  local drawn = table.move(self.distribution.action_shape, 1, 1, 3, { t, n })
  self.room = { observation = orrery.zeros(t, n, self.states), next_observation = orrery.zeros(t, n, self.states),
    action = orrery.zeros(drawn), z = self.identifiers > 0 and orrery.zeros(t, n, self.identifiers) or nil }
  for _, name in ipairs { "reward", "terminated", "truncated" } do self.room[name] = orrery.zeros(t, n) end
  return self.room
end

local function act(self, room, t)
  local many = self.many
  room.observation[t]:assign(many.observation)
  if self.z then room.z[t]:assign(self.z) end
  local action, outputs = self:explore(many.observation, self.z)
  room.action[t]:assign(outputs.drawn)
  self:step(action)
  room.next_observation[t]:assign(many.final_observation)
  for _, name in ipairs { "reward", "terminated", "truncated" } do room[name][t]:assign(many[name]) end
end

local function standardised(x)
  local deviation = x:std()
  return (x - x:mean()) / (deviation > 1e-8 and deviation or 1)
end

--- self:collect(): acts for one rollout. The batch, a table of tensors of T N rows (step by step, the copies of each
--- in order): observation, next_observation and z; action, as it was drawn (see distribution.lua); reward,
--- terminated, truncated; old, old_log_prob, value and next_value, as the nets gave them; advantage and return.
function OnPolicy:collect()
  local room, steps, copies = self.room or make_room(self), self.options.rollout // self.copies, self.copies
  for t = 1, steps do act(self, room, t) end
  local batch = {}
  for name, x in pairs(room) do batch[name] = x:reshape(steps * copies, table.unpack({ x:shape() }, 3)) end
  look(self, batch)
  local by_copy = { reward = room.reward, terminated = room.terminated, truncated = room.truncated,
    value = batch.value:reshape(steps, copies), next_value = batch.next_value:reshape(steps, copies) }
  for name, x in pairs(orrery.gae(by_copy, { gamma = self.gamma, lambda = self.options.lambda })) do
    batch[name] = x:flatten()
  end
  if self.options.baseline == false then batch.advantage = batch["return"]:copy() end
  if self.options.normalise then batch.advantage = standardised(batch.advantage) end
  return batch
end

--- self:explained_variance(batch): how much of the variance of the returns the critic had foreseen: 1 all, 0 no more
--- than their mean would.
function OnPolicy:explained_variance(batch)
  local of_returns = batch["return"]:variance()
  return of_returns > 0 and 1 - (batch["return"] - batch.value):variance() / of_returns or 0
end

--- self:fields(batch, ...): a table of those fields of the batch alone, and z, as updates take it.
function OnPolicy:fields(batch, ...)
  local chosen = { z = batch.z }
  for _, name in ipairs { ... } do chosen[name] = batch[name] end
  return chosen
end

--- self:fit_critic(batch, passes): steps of the critic's update on the whole batch; the first loss.
function OnPolicy:fit_critic(batch, passes)
  local fields, first = self:fields(batch, "observation", "return"), nil
  for _ = 1, passes do
    local loss = self.updates.critic:step(fields)
    first = first or loss
  end
  return first
end

function OnPolicy:advance()
  local batch = self:collect()
  local found = self:update(batch)
  found.explained_variance = self:explained_variance(batch)
  self:note(found)
end

return on_policy
