--- reinforce.lua - REINFORCE (Williams 1992) with the reward to go and a learned baseline (Sutton and Barto 2018,
--- section 13.4): one step up the gradient of
---
---   mean of log pi(a_t | s_t) A_t,   A_t = r_t + gamma r_(t+1) + ... - V(s_t),
---
--- for every rollout, then V is fitted to the returns.
local on_policy = require "orrery.on_policy"
local orrery = require "orrery"

local Reinforce = on_policy.class "reinforce"

function Reinforce:loss(b)
  local d = self:parameters_at(self:seen(b))
  return -self.distribution.log_prob(d, b.action) * b.advantage
    - self.options.entropy * self.distribution.entropy(d)
end

function Reinforce:update(batch)
  self.updates.policy:step(self:fields(batch, "observation", "action", "advantage"))
  local value_loss = self:fit_critic(batch, self.options.value_epochs)
  local found = self:measure(batch)
  found.value_loss = value_loss
  return found
end

--- orrery.reinforce(options): the policy gradient in its plainest form. Options besides those of all learners (tasks,
--- seed ...), or with other defaults:
---   env             the environment; task, or tasks with identifiers z, for other rewards than its own
---   copies          8; hidden { 64, 64 }; activation "tanh"; log_std -0.5
---   rollout         4000: steps from one update to the next
---   gamma           0.99; lambda 1: below 1 generalised advantages take the place of the reward to go
---   baseline        true: the critic's values are subtracted; otherwise it only tells what cut-off episodes are worth
---   learning_rate   1e-2; value_learning_rate 1e-3, value_epochs 80: steps of the critic for each of the policy
---   entropy         0: weight of the policy's entropy
---   normalise       true: advantages of a rollout get mean 0 and deviation 1
--- Diagnostics: kl, clip_fraction, entropy, surrogate (see ppo), value_loss, explained_variance.
return function(options)
  local self = on_policy.new(Reinforce, options, {
    lambda = 1, baseline = true, learning_rate = 1e-2, value_epochs = 80, entropy = 0,
  })
  self.updates.policy = orrery.update {
    nets = { self.actor }, parameters = { self.log_std }, verify = false,
    optimiser = orrery.adam { learning_rate = self.options.learning_rate },
    loss = function(b) return self:loss(b) end,
  }
  return self
end
