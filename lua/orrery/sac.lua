--- sac.lua - soft actor-critic (Haarnoja et al. 2018, "Soft Actor-Critic Algorithms and Applications", algorithm 1):
--- a stochastic policy that maximises the return and its own entropy, whose weight, the temperature, is tuned so
--- that the entropy stays at a target.
---
---   Q_i:    minimise (Q_i(s, a) - y)^2, y = r + gamma (min_j Q_j'(s', a') - alpha log pi(a' | s')), a' ~ pi(s')
---   pi:     minimise alpha log pi(a | s) - min_i Q_i(s, a), a = tanh(mean + deviation noise)
---   alpha:  minimise -log alpha (log pi(a | s) + target entropy)
---   Q_i':   follow Q_i
local check = require "orrery.check"
local off_policy = require "orrery.off_policy"
local orrery = require "orrery"
local trace = require "orrery.trace"

local Sac = off_policy.class "sac"

local LOWEST, HIGHEST = -20, 2 -- of the log of the deviation

-- In traced functions: mean and log of the deviation before squashing.
local function distribution(actor, x)
  local y = actor(x)
  local actions = y:size(1) // 2
  return y:slice(1, actions), orrery.clamp(y:slice(actions + 1, 2 * actions), LOWEST, HIGHEST)
end

-- Of the squashed action tanh(u), u being mean + deviation noise: log N(u) - sum log(1 - tanh(u)^2), the latter as
-- 2 (log 2 - u - softplus(-2 u)), which no u makes infinite.
local function log_probability(u, noise, log_deviation)
  local gaussian = -0.5 * orrery.square(noise) - log_deviation - 0.5 * math.log(2 * math.pi)
  return orrery.sum(gaussian - 2 * (math.log(2) - u - orrery.softplus(-2 * u)))
end

-- A draw of the policy in -1 .. 1, and its log-probability. A batch may have the noise in it, for comparisons.
function Sac:sample_policy(x, noise)
  local mean, log_deviation = distribution(self.actor, x)
  noise = noise or trace.normal(self.action_space.size)
  local u = mean + orrery.exp(log_deviation) * noise
  return orrery.tanh(u), log_probability(u, noise, log_deviation)
end

-- In a program, where it is read at every run.
function Sac:log_temperature() return trace.parameter(self.log_alpha, "uniform") end

function Sac:greedy(x) return { action = self:from_unit(orrery.tanh((distribution(self.actor, x)))) } end

function Sac:behaviour(x)
  local action, log_p = self:sample_policy(x)
  return { action = self:from_unit(action), log_probability = log_p }
end

function Sac:worth(x)
  local xa = orrery.concat { x, orrery.tanh((distribution(self.actor, x))) }
  return orrery.min(self.q1(xa), self.q2(xa))[1]
end

local function make_updates(self, o)
  local q1, q2, slow1, slow2 = self.q1, self.q2, self.kept.slow1, self.kept.slow2
  local adam = orrery.adam { learning_rate = o.learning_rate, clip = o.clip }
  self.updates.critic = orrery.update {
    nets = { q1, q2 }, optimiser = adam, seed = self:noise_seed(1),
    verify = false, per_row = { "error" },
    follow = { { slow1, q1, o.tau }, { slow2, q2, o.tau } },
    loss = function(b)
      local next = self:seen_next(b)
      local action, log_p = self:sample_policy(next, rawget(b, "next_noise"))
      local xa = orrery.concat { next, action }
      local value = orrery.min(slow1(xa), slow2(xa))[1] - orrery.exp(self:log_temperature()) * log_p
      local y = self:target(b, value)
      xa = orrery.concat { self:seen(b), self:to_unit(b.action) }
      local first, second = q1(xa)[1], q2(xa)[1]
      local loss = orrery.square(first - y) + orrery.square(second - y)
      return self:weigh(b, loss), { q = first, error = orrery.abs(first - y) }
    end,
  }
  -- The temperature's loss sees the policy as constant and the other way round: one optimiser does for both.
  self.updates.actor = orrery.update {
    nets = { self.actor }, parameters = o.alpha == "auto" and { self.log_alpha } or {}, optimiser = adam,
    seed = self:noise_seed(2), verify = false,
    loss = function(b)
      local x = self:seen(b)
      local action, log_p = self:sample_policy(x, rawget(b, "noise"))
      local xa = orrery.concat { x, action }
      local log_alpha = self:log_temperature()
      local loss = orrery.stop_gradient(orrery.exp(log_alpha)) * log_p - orrery.min(q1(xa), q2(xa))[1]
      if o.alpha == "auto" then
        loss = loss - log_alpha * orrery.stop_gradient(log_p + self.target_entropy)
      end
      return loss, { entropy = -log_p }
    end,
  }
end

function Sac:update(batch)
  local critic_loss, critic = self.updates.critic:step(batch)
  self:learned(batch, critic.error)
  local _, actor = self.updates.actor:step(batch)
  return { critic_loss = critic_loss, q = critic.q, entropy = actor.entropy,
           target_entropy = self.target_entropy, alpha = math.exp(self.log_alpha:item()) }
end

-- An agent of a class that is Sac or made from it, with options of its own besides: defaults.
function Sac.new(Class, options, defaults)
  for name, value in pairs {
    tau = 0.005, learning_rate = 3e-4, clip = 0, alpha = "any", target_entropy = "optional number",
  } do
    defaults[name] = value
  end
  local self = off_policy.new(Class, options, defaults, "numbers")
  local o, actions = self.options, self.action_space.size
  o.alpha = o.alpha or "auto"
  if o.alpha ~= "auto" and not (type(o.alpha) == "number" and o.alpha > 0) then
    check.fail("%s options: alpha must be \"auto\" or a number above 0, not %s", Class.name, tostring(o.alpha))
  end
  self.target_entropy = o.target_entropy or -actions
  self.log_alpha = orrery.full(o.alpha == "auto" and 0 or math.log(o.alpha))
  self.actor = self:net(2 * actions)
  self.q1, self.q2 = self:net(1, actions), self:net(1, actions)
  self.kept = { slow1 = self.q1:copy(), slow2 = self.q2:copy() }
  make_updates(self, o)
  return self
end

--- orrery.sac(options): a soft actor-critic for continuous actions. Options besides those of all
--- learners, and of those from replay (relabel, replay, tasks, seed, start, n_steps ...):
---   env             the environment; task, or tasks with identifiers z, for other rewards than its own
---   copies          1: of the environment, that act at the same time
---   hidden          { 256, 256 }; activation "relu"
---   gamma           0.99; tau 0.005: the share that target nets go towards the critics after each update
---   q_range         none: { low, high }, which targets are clipped to, where returns are known to lie between
---   learning_rate   3e-4, of all nets and the temperature; clip 0: of gradients
---   alpha           "auto": the temperature is tuned; or a number, which it keeps
---   target_entropy  in nats, of actions scaled to -1 .. 1; none: minus the number of actions
--- Diagnostics: q, critic_loss, entropy, target_entropy, alpha.
local function sac(options) return Sac.new(Sac, options, {}) end

return { sac = sac, Sac = Sac }
