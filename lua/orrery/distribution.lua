--- distribution.lua - what policies draw actions from: functions of one sample, of a flat vector d of the
--- distribution's parameters and an action a, for tensors and in traced functions.
---
---   categorical   d = logits [K];                     a = a whole number from 1
---   gaussian      d = mean [A], then log std [A];     a = [A]; its axes are independent
local orrery = require "orrery"
local trace = require "orrery.trace"

local distribution = {}

local LOG_2_PI = math.log(2 * math.pi)

-- ---- categorical

local categorical = { name = "categorical" }

--- distribution.categorical(K): one of K choices, by logits. As distribution.gaussian it has size, the numbers of
--- d, and the functions below. The action is counted from 1.
function distribution.categorical(choices)
  return setmetatable({ size = choices, outputs = choices, action_shape = {} }, { __index = categorical })
end

local function log_softmax(d) return d - orrery.logsumexp(d) end

function categorical.log_prob(d, a) return orrery.gather(d, a) - orrery.logsumexp(d) end

function categorical.entropy(d)
  local log_p = log_softmax(d)
  return -orrery.sum(orrery.exp(log_p) * log_p)
end

function categorical.kl(d, other)
  local log_p = log_softmax(d)
  return orrery.sum(orrery.exp(log_p) * (log_p - log_softmax(other)))
end

-- The greatest of the logits with Gumbel noise is a draw by their softmax.
function categorical:sample(d)
  return orrery.argmax(d - orrery.log(-orrery.log(trace.uniform(self.size))))
end

function categorical.mode(d) return orrery.argmax(d) end

-- ---- Gaussian

local gaussian = { name = "gaussian" }

--- distribution.gaussian(A): A independent normal numbers, by their means and the logarithms of their standard
--- deviations. Functions of both kinds:
---   log_prob(d, a)   logarithm of the probability (density) of an action
---   entropy(d)       in nats
---   kl(d, other)     KL(d || other): how far `other` is from d, in nats
---   mode(d)          the likeliest action
---   x:sample(d)      a draw; only while a trace goes on
function distribution.gaussian(size)
  return setmetatable({ size = 2 * size, outputs = size, action_shape = { size } }, { __index = gaussian })
end

local function halves(d)
  local n = d:size(1) // 2
  return d:slice(1, n), d:slice(n + 1, 2 * n)
end

function gaussian.log_prob(d, a)
  local mean, log_std = halves(d)
  return -orrery.sum(0.5 * orrery.square((a - mean) * orrery.exp(-log_std)) + log_std + 0.5 * LOG_2_PI)
end

function gaussian.entropy(d)
  local _, log_std = halves(d)
  return orrery.sum(log_std + 0.5 * (LOG_2_PI + 1))
end

function gaussian.kl(d, other)
  local mean, log_std = halves(d)
  local other_mean, other_log_std = halves(other)
  local spread = orrery.exp(2 * (log_std - other_log_std))
  local shift = orrery.square((mean - other_mean) * orrery.exp(-other_log_std))
  return orrery.sum(other_log_std - log_std + 0.5 * (spread + shift - 1))
end

function gaussian:sample(d)
  local mean, log_std = halves(d)
  return mean + orrery.exp(log_std) * trace.normal(self.outputs)
end

function gaussian.mode(d) return (halves(d)) end

return distribution
