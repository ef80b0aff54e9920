--- td3.lua - twin delayed deep deterministic policy gradient (Fujimoto et al. 2018, algorithm 1): of two critics the
--- lesser is believed, target actions are smoothed by noise, and the actor learns less often.
---
---   Q_i:   minimise (Q_i(s, a) - y)^2, y = r + gamma min_j Q_j'(s', mu'(s') + clip(noise, -c, c))
---   mu:    every d-th time: maximise Q_1(s, mu(s)); Q_i', mu' follow Q_i, mu
---
--- Actions are scaled to -1 .. 1 inside; it explores with Gaussian noise on them.
local deterministic = require "orrery.deterministic"
local off_policy = require "orrery.off_policy"
local orrery = require "orrery"
local trace = require "orrery.trace"

local Td3 = deterministic.class "td3"
local mu, q_of = deterministic.mu, deterministic.q

function Td3:worth(x) return q_of(self.q1, x, mu(self.actor, x)) end

local function make_updates(self, o)
  local q1, q2, actor = self.q1, self.q2, self.actor
  local slow1, slow2, slow_actor = self.kept.slow1, self.kept.slow2, self.kept.slow_actor
  self.updates.critic = orrery.update {
    nets = { q1, q2 }, optimiser = orrery.adam { learning_rate = o.learning_rate, clip = o.clip },
    verify = false, per_row = { "error" }, seed = self:noise_seed(1),
    loss = function(b)
      local next = self:seen_next(b)
      local noise = rawget(b, "next_noise") or trace.normal(self.action_space.size) -- given in comparisons
      noise = orrery.clamp(o.target_noise * noise, -o.noise_clip, o.noise_clip)
      local action = orrery.clamp(mu(slow_actor, next) + noise, -1, 1)
      local y = self:target(b, orrery.min(q_of(slow1, next, action), q_of(slow2, next, action)))
      local x, taken = self:seen(b), self:to_unit(b.action)
      local first, second = q_of(q1, x, taken), q_of(q2, x, taken)
      local loss = orrery.square(first - y) + orrery.square(second - y)
      return self:weigh(b, loss), { q = first, error = orrery.abs(first - y) }
    end,
  }
  self.updates.actor = deterministic.actor_update(self, q1,
    { { slow1, q1, o.tau }, { slow2, q2, o.tau }, { slow_actor, actor, o.tau } })
end

function Td3:update(batch)
  local critic_loss, critic = self.updates.critic:step(batch)
  self:learned(batch, critic.error)
  if self.updates.critic.steps % self.options.delay == 0 then self.updates.actor:step(batch) end
  return { critic_loss = critic_loss, q = critic.q }
end

--- orrery.td3(options): twin delayed deep deterministic policy gradient for continuous actions. Options besides those of all
--- learners, and of those from replay (relabel, replay, tasks, seed, start, n_steps ...):
---   env             the environment; task, or tasks with identifiers z, for other rewards than its own
---   copies          1: of the environment, that act at the same time
---   hidden          { 256, 256 }; activation "relu"
---   gamma           0.99; tau 0.005: the share that target nets go towards the others after each update of the actor
---   learning_rate   1e-3; actor_learning_rate: none: the same; clip 0: of gradients
---   delay           2: updates of the critics for each of the actor
---   target_noise    0.2: of the target's actions, and noise_clip 0.5, its greatest, in halves of the actions' range
---   noise           0.1: standard deviation of the noise in acting, likewise
---   random          0: share of uniform actions in acting
---   action_penalty  0: weight of the mean squared action in the actor's loss
---   q_range         none: { low, high }, which targets are clipped to, where returns are known to lie between
--- Diagnostics: q, critic_loss.
return function(options)
  local self = off_policy.new(Td3, options, {
    tau = 0.005, learning_rate = 1e-3, actor_learning_rate = "optional number", clip = 0, noise = 0.1, random = 0,
    delay = 2, target_noise = 0.2, noise_clip = 0.5, action_penalty = 0,
  }, "numbers")
  local o, actions = self.options, self.action_space.size
  o.actor_learning_rate = o.actor_learning_rate or o.learning_rate
  self.settings = { noise = o.noise, random = o.random }
  self.actor = self:net(actions)
  self.q1, self.q2 = self:net(1, actions), self:net(1, actions)
  self.kept = { slow_actor = self.actor:copy(), slow1 = self.q1:copy(), slow2 = self.q2:copy() }
  make_updates(self, o)
  return self
end
