--- off_policy.lua - what learners from replay share: they act at random first, keep whole episodes, and learn from
--- batches drawn from all of them. An episode can be learned from when it is over.
---
--- Besides an agent's methods such a learner has update(batch), which answers a table of diagnostics.
local agent = require "orrery.agent"
local check = require "orrery.check"
local orrery = require "orrery"
local relabel = require "orrery.relabel"

local off_policy = {}

local OffPolicy = agent.class "off-policy"

local COMMON = {
  replay = "any", relabel = "any", capacity = 1e6, batch = 256, start = 1000, train_every = 1,
  updates = "optional number", n_steps = 1, q_range = "optional table",
}

--- off_policy.class(name): a class of such learners.
function off_policy.class(name) return agent.class(name, OffPolicy) end

-- What would otherwise be found out when the first batch is drawn.
local function check_experience(self, o)
  local known, prioritised = pcall(function() return o.replay.prioritised end)
  if o.replay ~= nil and not (type(o.replay) == "userdata" and known and prioritised ~= nil) then
    check.fail("%s options: replay must be one as orrery.replay makes it, not a %s", self.name, type(o.replay))
  end
  if o.relabel == nil then return end
  if not relabel.is(o.relabel) then
    check.fail("%s options: relabel must be a strategy, as orrery.relabel.future {} makes it, not a %s", self.name,
      type(o.relabel))
  end
  if o.relabel.parts and o.relabel.name ~= "none" and not o.relabel.task and #self.tasks ~= 1 then
    check.fail("%s options: with another goal the reward is another one, too: give the task, to the agent or to the "
      .. "strategy, as in orrery.relabel.future { task = orrery.tasks.reacher() }", self.name)
  end
end

--- off_policy.new(Class, options, defaults, actions): as agent.new. Options of all of them:
---   replay       none: one of its own, of `capacity` (1e6) transitions; a given one is learned from, and added to; of
---                one that is prioritised the priorities are the errors of the values
---   relabel      how batches are relabeled, as in replay:sample: orrery.relabel.future { k = 4 }; its rewards are
---                those of its own task, or of the agent's
---   batch        256 transitions for each update
---   start        1000 steps of random actions, before anything is learnt
---   train_every  1: how often it learns, in steps; updates: how many then; none: as many as steps
---   n_steps      1: rewards summed before the bootstrap
---   q_range      none: { low, high }, which targets are clipped to, where returns are known to lie between (HER)
function off_policy.new(Class, options, defaults, actions)
  for name, value in pairs(COMMON) do
    if defaults[name] == nil then defaults[name] = value end
  end
  local self = agent.new(Class, options, defaults, actions)
  local o = self.options
  check_experience(self, o)
  local extras = self.identifiers > 0 and { { "z", { self.identifiers } } } or nil
  self.replay = o.replay or orrery.replay { env = self.env, capacity = o.capacity, observation_extras = extras }
  self.waiting, self.trained = 0, 0
  self.sampling = { stream = self.draws, relabel = o.relabel }
  local low, high = table.unpack(o.q_range or { 0, 0 })
  if not (type(low) == "number" and type(high) == "number" and low <= high) then
    check.fail("%s options: q_range must be { low, high }, two numbers in that order", self.name)
  end
  if o.relabel or o.n_steps > 1 then self.sampling.steps, self.sampling.gamma = o.n_steps, o.gamma end
  if o.relabel and #self.tasks == 1 then self.sampling.task = self.tasks[1].given end
  return self
end

--- self:target(b, value): in a traced function: what is learned for a row of a batch: its reward, and the value of
--- the state after it, discounted; nothing follows where the episode terminated (a time limit is no end: Pardo et
--- al. 2018). Gradients see a constant.
function OffPolicy:target(b, value)
  local discount, range = rawget(b, "discount") or self.gamma * (1 - b.terminated), self.options.q_range
  local y = b.reward + discount * value
  if range then y = orrery.clamp(y, range[1], range[2]) end
  return orrery.stop_gradient(y)
end

--- self:weigh(b, loss): in a traced function: a row's loss, with the weight that the batch gives it, where it does.
function OffPolicy:weigh(b, loss)
  local weight = rawget(b, "weight")
  return weight and weight * loss or loss
end

--- agent:sample(): a batch of the replay, relabeled where that was asked for. The next call writes it again.
function OffPolicy:sample()
  self.sampling.into = self.batch
  self.batch = self.replay:sample(self.options.batch, self.sampling)
  return self.batch
end

--- self:learned(batch, errors): tells a prioritised replay how far off the values of the batch's rows were.
function OffPolicy:learned(batch, errors)
  if batch.index then self.replay:set_priorities(batch.index, errors) end
end

-- Uniform actions for all copies.
local function random_actions(self)
  if self.choices then return (self.choosing:draws(1, self.copies) - 1):reshape(self.copies):to("int") end
  local rows = {}
  for i = 1, self.copies do rows[i] = self.action_space:flatten(self.action_space:sample(self.choosing)) end
  return orrery.stack(rows)
end

function OffPolicy:advance()
  local o, many = self.options, self.many
  local warm = self.steps >= o.start
  self:schedule()
  self:step(warm and self:explore(many.observation, self.z) or random_actions(self))
  if not warm or #self.replay == 0 then return end
  self.waiting = self.waiting + self.copies
  if self.waiting < o.train_every then return end
  local updates = o.updates or self.waiting
  self.waiting = 0
  for _ = 1, updates do self:note(self:update(self:sample())) end
end

--- self:schedule(): called before each step, and each update of agent:train; for what changes with the steps.
function OffPolicy:schedule() end

--- agent:train(updates): learns from what is in the replay, without acting.
function OffPolicy:train(updates)
  if #self.replay == 0 then check.fail("%s: the replay is empty; nothing to learn from", self.name) end
  for _ = 1, updates do
    self.trained = self.trained + 1
    self:schedule()
    self:note(self:update(self:sample()))
  end
  return self
end

off_policy.OffPolicy = OffPolicy

return off_policy
