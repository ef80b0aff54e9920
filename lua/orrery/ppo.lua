--- ppo.lua - proximal policy optimisation (Schulman et al. 2017, algorithm 1), clipped: several passes over each
--- rollout, in which the policy climbs
---
---   mean of min(r_t A_t, clip(r_t, 1 - epsilon, 1 + epsilon) A_t),   r_t = pi(a_t | s_t) / pi_old(a_t | s_t),
---
--- so that nothing is gained by moving a probability further than the share epsilon. The advantages A_t are
--- generalised (see orrery.gae). Passes end early where the policy is too far from the old one.
local check = require "orrery.check"
local on_policy = require "orrery.on_policy"
local orrery = require "orrery"

local PPO = on_policy.class "ppo"

function PPO:loss(b)
  local clip, d = self.options.clip, self:parameters_at(self:seen(b))
  local log_ratio = self.distribution.log_prob(d, b.action) - b.old_log_prob
  local ratio = orrery.exp(log_ratio)
  local clipped = orrery.clamp(ratio, 1 - clip, 1 + clip)
  local entropy = self.distribution.entropy(d)
  local loss = -orrery.min(ratio * b.advantage, clipped * b.advantage) - self.options.entropy * entropy
  return loss, { kl = self.distribution.kl(b.old, d) }
end

-- The rows of one pass, as a list of indices of minibatches; false: all rows at once.
local function minibatches(self, rows)
  local size = self.options.batch or rows
  if size >= rows then return { false } end
  local order, list = self.draws:orders(1, rows):reshape(-1), {}
  for first = 1, rows - size + 1, size do list[#list + 1] = order:slice(first, first + size - 1):copy() end
  return list
end

function PPO:update(batch)
  local o, rows = self.options, batch.observation:size(1)
  local fields = self:fields(batch, "observation", "action", "old", "old_log_prob", "advantage")
  local values = self:fields(batch, "observation", "return")
  local stopped, passes, value_loss = false, 0, nil
  for _ = 1, o.epochs do
    for _, index in ipairs(minibatches(self, rows)) do
      if not stopped then
        local _, found = self.updates.policy:step(fields, index or nil)
        stopped = o.target_kl > 0 and found.kl:item() > 1.5 * o.target_kl
      end
      local loss = self.updates.critic:step(values, index or nil)
      value_loss = value_loss or loss
    end
    if not stopped then passes = passes + 1 end
  end
  local found = self:measure(batch)
  found.value_loss, found.passes = value_loss, passes
  return found
end

--- orrery.ppo(options): proximal policy optimisation. Options besides those of all learners (tasks,
--- seed ...), or with other defaults:
---   env             the environment; task, or tasks with identifiers z, for other rewards than its own
---   copies          8; hidden { 64, 64 }; activation "tanh"; log_std -0.5
---   rollout         4000: steps from one update to the next
---   gamma           0.99; lambda 0.97
---   clip            0.2: the epsilon above
---   epochs          80: passes over a rollout; batch, rows of a minibatch; none: all of them
---   target_kl       0.01: the policy stays as it is for the rest of the passes after a step that began more than
---                   1.5 times as far from the old one, in nats; 0: never
---   learning_rate   3e-4, of the policy; value_learning_rate 1e-3; gradient_clip 0: longest gradient of the policy
---   entropy         0: weight of the policy's entropy
---   normalise       true: advantages of a rollout get mean 0 and deviation 1
--- Diagnostics, after a rollout's passes: kl, KL(old || new) in nats; clip_fraction, the share of ratios outside
--- 1 +- clip; entropy, in nats; surrogate, the mean of r_t A_t; passes, those without a stop; value_loss and
--- explained_variance, of the critic before them.
return function(options)
  local self = on_policy.new(PPO, options, {
    clip = 0.2, epochs = 80, batch = "optional number", target_kl = 0.01, learning_rate = 3e-4, gradient_clip = 0,
    entropy = 0,
  })
  local o = self.options
  if not (o.clip > 0) then check.fail("ppo options: clip must be above 0, not %g", o.clip) end
  self.updates.policy = orrery.update {
    nets = { self.actor }, parameters = { self.log_std }, verify = false,
    optimiser = orrery.adam { learning_rate = o.learning_rate, clip = o.gradient_clip },
    loss = function(b) return self:loss(b) end,
  }
  return self
end
