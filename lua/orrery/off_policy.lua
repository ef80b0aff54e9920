--- off_policy.lua - what learners from replay share: they act at random first, keep whole episodes, and learn from
--- batches drawn from all of them. An episode can be learned from when it is over.
---
---   local agent = orrery.dqn { env = env, task = task,
---     relabel = orrery.relabel.future { k = 4 },                                      -- goals in hindsight
---     replay = orrery.replay { env = env, capacity = 1e5, prioritised = { alpha = 0.6 } } } -- batches by priority
---   local sac = orrery.sac { env = env, tasks = tasks, relabel = orrery.relabel.tasks { tasks = tasks } } -- experience
---                                                                                         -- shared among tasks
---
--- Options of dqn, ddpg, td3 and sac, besides those of all learners:
---   replay       none: one of its own, of `capacity` (1e6) transitions; a given one is learned from, and added to: with a
---                task or tasks of the learner's, these reward all that is in it, and ends that are recorded stay; of one
---                that is prioritised the priorities are the errors of the values. With tasks it needs room for
---                their identifiers: observation_extras = { { "z", { 2 } } }
---   beta         0.4, rising evenly to 1 over beta_steps (1e5): how far, with priorities, weights make up for them
---   relabel      none; how batches are relabeled, as in replay:sample: orrery.relabel.future { k = 4 }. Rewards are
---                those of its own task, or of the agent's; of several tasks, of the one that a transition was
---                collected for. Where only the relabeling has a task, it is the agent's, too
---   batch        256 (dqn 64) transitions for each update
---   start        1000 steps of random actions, before anything is learnt
---   train_every  1: how often it learns, in steps; updates: how many then; none: as many as steps
---   n_steps      1: rewards summed before the bootstrap, the `steps` of replay:sample
---   q_range      none: { low, high }, which targets are clipped to, where returns are known to lie between (HER)
---   normalise    false; true: the nets see observations less their mean, in standard deviations, of all that was
---                observed so far, within -5 .. 5 (HER)
---
--- Besides an agent's methods such a learner has update(batch), which answers a table of diagnostics.
local agent = require "orrery.agent"
local check = require "orrery.check"
local normaliser = require "orrery.normaliser"
local orrery = require "orrery"
local relabel = require "orrery.relabel"
local stores = require "orrery.agent_replay"
local tasks = require "orrery.agent_tasks"

local off_policy = {}

local OffPolicy = agent.class "off-policy"

local COMMON = {
  replay = "any", relabel = "any", capacity = 1e6, batch = 256, start = 1000, train_every = 1,
  updates = "optional number", beta = 0.4, beta_steps = 1e5, n_steps = 1, q_range = "optional table", normalise = false,
}

--- off_policy.class(name): a class of such learners.
function off_policy.class(name) return agent.class(name, OffPolicy) end

-- Options whose task is that of the relabeling, where they have none.
local function with_task(options)
  if type(options) ~= "table" or options.task ~= nil or options.tasks ~= nil then return options end
  if not relabel.is(options.relabel) or options.relabel.task == nil then return options end
  local copy = { task = options.relabel.task }
  for name, value in pairs(options) do copy[name] = value end
  return copy
end

-- What replay:sample would only say after the first, random steps.
local function check_relabel(self, r)
  if r == nil then return end
  if not relabel.is(r) then
    local made = type(r) == "string" and rawget(relabel, r) and ("orrery.relabel.%s {}"):format(r)
      or "orrery.relabel.future { k = 4 }"
    check.fail("%s options: relabel must be a strategy, as in relabel = %s, not a %s%s", self.name, made, type(r),
      type(r) == "function" and "; call it" or "")
  end
  if r.name == "none" then return end
  if r.tasks then
    if self.identifiers > 0 then return end
    check.fail("%s options: relabel.tasks is for a learner of several tasks; give it tasks = { { name =, reward =, z = "
      .. "}, ... }", self.name)
  end
  local known, extras = {}, self.replay.observation_extras
  for _, name in ipairs(self.observation_space.names) do known[name] = true end
  for _, name in ipairs(extras and extras.names or {}) do known[name] = true end
  for _, option in ipairs { "desired", "achieved" } do
    if not known[r[option]] and not (option == "achieved" and r.name == "custom") then
      check.fail("%s options: relabel.%s replaces goals, and the observations of '%s' (%s) have no '%s'; its options "
        .. "desired and achieved name the fields", self.name, r.name, self.env.name,
        table.concat(self.observation_space.names, ", "), r[option])
    end
  end
  if #self.tasks == 0 and r.name ~= "custom" then
    local name = self.env.name
    local usual = rawget(orrery.tasks, name) and ("orrery.tasks.%s()"):format(name)
      or "{ reward = function(s, a, next) ... end }"
    check.fail("%s options: with relabel = %s the rewards of other goals are computed: give the task, as in task = %s",
      self.name, r.name, usual)
  end
end

--- off_policy.new(Class, options, defaults, actions): as agent.new, with the options above.
function off_policy.new(Class, options, defaults, actions)
  for name, value in pairs(COMMON) do
    if defaults[name] == nil then defaults[name] = value end
  end
  local self = agent.new(Class, with_task(options), defaults, actions)
  local o = self.options
  self.replay = stores.of(self, options)
  check_relabel(self, o.relabel)
  if not self.replay.prioritised and (options.beta ~= nil or options.beta_steps ~= nil) then
    check.fail("%s options: beta is for a replay with priorities: replay = orrery.replay { env = env, prioritised = "
      .. "{ alpha = 0.6 } }", self.name)
  end
  if not (o.beta >= 0 and o.beta <= 1 and o.beta_steps >= 1) then
    check.fail("%s options: beta must be 0 to 1, beta_steps 1 or more", self.name)
  end
  self.waiting, self.trained = 0, 0
  self.normaliser = o.normalise and normaliser.new(self.states) or nil
  self.sampling = { stream = self.draws, relabel = o.relabel }
  local low, high = table.unpack(o.q_range or { 0, 0 })
  if not (type(low) == "number" and type(high) == "number" and low <= high) then
    check.fail("%s options: q_range must be { low, high }, two numbers in that order", self.name)
  end
  if o.relabel or o.n_steps > 1 then self.sampling.steps, self.sampling.gamma = o.n_steps, o.gamma end
  local anew = o.replay ~= nil and #self.tasks > 0 -- whoever collected it had perhaps another task
  self.sampling.anew = anew or nil
  if not (o.relabel and o.relabel.task) and (o.relabel or anew) then
    if #self.tasks == 1 then self.sampling.task = self.tasks[1].given end
    if #self.tasks > 1 then self.sampling.tasks = tasks.with_identifiers(self) end
  end
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
  local o = self.options
  if self.replay.prioritised then
    local done = math.min(1, (self.steps + self.trained) / o.beta_steps)
    self.sampling.beta = o.beta + done * (1 - o.beta)
  end
  self.sampling.into = self.batch
  self.batch = self.replay:sample(o.batch, self.sampling)
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
  if self.normaliser then self.normaliser:add(many.observation) end
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
