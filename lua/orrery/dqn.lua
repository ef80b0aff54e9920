--- dqn.lua - deep Q-learning (Mnih et al. 2015, algorithm 1), with the options of double Q-learning (van Hasselt et
--- al. 2016) and duelling nets (Wang et al. 2016).
---
---   Q:    minimise huber(Q(s, a) - y), y = r + gamma max_a' Q'(s', a')
---         double: y = r + gamma Q'(s', argmax_a' Q(s', a'))
---   Q' becomes Q every so many steps
---
--- It acts greedily but for a share epsilon of its actions, which falls as it learns.
local check = require "orrery.check"
local off_policy = require "orrery.off_policy"
local orrery = require "orrery"
local trace = require "orrery.trace"

local Dqn = off_policy.class "dqn"

-- Values of all choices. A duelling net gives the state's value and the advantages of the choices over their mean.
local function values(self, net, x)
  local y = net(x)
  if not self.options.dueling then return y end
  local advantage = y:slice(1, self.choices)
  return advantage - orrery.mean(advantage) + y[self.choices + 1]
end

local function value_of(list, choice) return orrery.gather(list, choice + 1) end

-- The number of the best choice, from 0.
local function best(list) return orrery.argmax(list) - 1 end

function Dqn:greedy(x) return { action = best(values(self, self.q, x)) } end

function Dqn:behaviour(x, given)
  local anything = orrery.min(orrery.floor(self.choices * trace.uniform()), self.choices - 1)
  local at_random = orrery.less(trace.uniform(), given.epsilon)
  return { action = orrery.select(at_random, anything, best(values(self, self.q, x))) }
end

function Dqn:worth(x) return orrery.max_along(values(self, self.q, x)) end

local function make_update(self, o)
  local q, slow = self.q, self.kept.slow
  self.updates.q = orrery.update {
    nets = { q }, optimiser = orrery.adam { learning_rate = o.learning_rate, clip = o.clip },
    verify = false, per_row = { "error" },
    follow = o.tau > 0 and { { slow, q, o.tau } } or {},
    loss = function(b)
      local next = self:seen_next(b)
      local to_come = values(self, slow, next)
      local choice = best(o.double and values(self, q, next) or to_come)
      local y = self:target(b, value_of(to_come, choice))
      local value = value_of(values(self, q, self:seen(b)), b.action[1])
      return self:weigh(b, orrery.nn.huber(value, y)), { q = value, error = orrery.abs(value - y) }
    end,
  }
end

function Dqn:schedule()
  local o = self.options
  local done = math.min(1, self.steps / o.exploration_steps)
  self.settings.epsilon = o.epsilon + done * (o.final_epsilon - o.epsilon)
  local passed = self.steps + self.trained -- each update of agent:train stands for a step
  if o.tau > 0 or passed - (self.renewed or 0) < o.target_interval then return end
  self.renewed = passed
  local tensors = self.q:parameters()
  for i, tensor in ipairs((self.kept.slow:parameters())) do tensor:assign(tensors[i]) end
end

function Dqn:update(batch)
  local loss, details = self.updates.q:step(batch)
  self:learned(batch, details.error)
  return { loss = loss, q = details.q }
end

--- orrery.dqn(options): deep Q-learning, for one discrete action. Options besides those of all
--- learners, and of those from replay (relabel, replay, tasks, seed, start, n_steps ...):
---   env                the environment; task, or tasks with identifiers z, for other rewards than its own
---   copies             1: of the environment, that act at the same time
---   double             true: the net that learns chooses, the target net tells the value
---   dueling            false: the net tells the value of the state and the advantages of the choices apart
---   hidden             { 256, 256 }; activation "relu"; batch 64
---   gamma              0.99; learning_rate 1e-3; clip 10: of gradients
---   target_interval    500: steps, or updates of agent:train, after which the target net becomes the net
---   tau                0; above: instead of that, the share that it goes towards the net after each update
---   epsilon            1: share of uniform actions at first, and final_epsilon 0.05, after exploration_steps, 10000
---   q_range            none: { low, high }, which targets are clipped to, where returns are known to lie between
--- Diagnostics: loss, q.
return function(options)
  local self = off_policy.new(Dqn, options, {
    double = true, dueling = false, batch = 64, learning_rate = 1e-3, clip = 10, target_interval = 500, tau = 0,
    epsilon = 1, final_epsilon = 0.05, exploration_steps = 10000,
  }, "choices")
  local o = self.options
  if not (o.epsilon >= 0 and o.epsilon <= 1 and o.final_epsilon >= 0 and o.final_epsilon <= 1) then
    check.fail("dqn options: epsilon and final_epsilon are shares, 0 to 1, not %g and %g", o.epsilon, o.final_epsilon)
  end
  self.settings = { epsilon = o.epsilon }
  self.q = self:net(self.choices + (o.dueling and 1 or 0))
  self.kept = { slow = self.q:copy() }
  make_update(self, o)
  return self
end
