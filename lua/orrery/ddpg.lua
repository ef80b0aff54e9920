--- ddpg.lua - deep deterministic policy gradient (Lillicrap et al. 2016, algorithm 1).
---
---   Q:    minimise (Q(s, a) - y)^2, y = r + gamma Q'(s', mu'(s'))
---   mu:   maximise Q(s, mu(s))
---   Q', mu' follow Q, mu
---
--- Actions are scaled to -1 .. 1 inside; it explores with Gaussian noise on them.
local deterministic = require "orrery.deterministic"
local off_policy = require "orrery.off_policy"
local orrery = require "orrery"

local Ddpg = deterministic.class "ddpg"
local mu, q_of = deterministic.mu, deterministic.q

function Ddpg:worth(x) return q_of(self.q, x, mu(self.actor, x)) end

local function make_updates(self, o)
  local q, actor, slow_q, slow_actor = self.q, self.actor, self.kept.slow_q, self.kept.slow_actor
  self.updates.critic = orrery.update {
    nets = { q }, optimiser = orrery.adam { learning_rate = o.learning_rate, clip = o.clip },
    verify = false, per_row = { "error" },
    loss = function(b)
      local next = self:seen_next(b)
      local y = self:target(b, q_of(slow_q, next, mu(slow_actor, next)))
      local value = q_of(q, self:seen(b), self:to_unit(b.action))
      return self:weigh(b, orrery.square(value - y)), { q = value, error = orrery.abs(value - y) }
    end,
  }
  self.updates.actor = deterministic.actor_update(self, q,
    { { slow_q, q, o.tau }, { slow_actor, actor, o.tau } })
end

function Ddpg:update(batch)
  local critic_loss, critic = self.updates.critic:step(batch)
  self:learned(batch, critic.error)
  self.updates.actor:step(batch)
  return { critic_loss = critic_loss, q = critic.q }
end

--- orrery.ddpg(options): deep deterministic policy gradient for continuous actions. Options besides those of all
--- learners, and of those from replay (relabel, replay, tasks, seed, start, n_steps ...):
---   env             the environment; task, or tasks with identifiers z, for other rewards than its own
---   copies          1: of the environment, that act at the same time
---   hidden          { 256, 256 }; activation "relu"
---   gamma           0.99; tau 0.005: the share that target nets go towards the others after each update
---   learning_rate   1e-3; actor_learning_rate: none: the same; clip 0: of gradients
---   noise           0.1: standard deviation of the noise in acting, in halves of the actions' range
---   random          0: share of uniform actions in acting
---   action_penalty  0: weight of the mean squared action in the actor's loss
---   q_range         none: { low, high }, which targets are clipped to, where returns are known to lie between
--- Diagnostics: q, critic_loss.
return function(options)
  local self = off_policy.new(Ddpg, options, {
    tau = 0.005, learning_rate = 1e-3, actor_learning_rate = "optional number", clip = 0, noise = 0.1, random = 0,
    action_penalty = 0,
  }, "numbers")
  local o, actions = self.options, self.action_space.size
  o.actor_learning_rate = o.actor_learning_rate or o.learning_rate
  self.settings = { noise = o.noise, random = o.random }
  self.actor, self.q = self:net(actions), self:net(1, actions)
  self.kept = { slow_actor = self.actor:copy(), slow_q = self.q:copy() }
  make_updates(self, o)
  return self
end
