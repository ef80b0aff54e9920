--- distribution.lua - what policies draw actions from: functions of one sample, of a flat vector d of the
--- distribution's parameters and an action a, for tensors and in traced functions.
---
---   categorical   d = logits [K];                     a = a whole number from 1
---   gaussian      d = mean [A], then log std [A];     a = [A]; its axes are independent
local check = require "orrery.check"
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

-- ---- actions of a space

-- Middle and half the width of every number's bounds; 0 and 1 where there are none.
local function scale_of(space)
  local middle, half = {}, {}
  for _, name in ipairs(space.names) do
    local field = space:field(name)
    local low, high = orrery.tensor(field.low):flatten(), orrery.tensor(field.high):flatten()
    low, high = low:broadcast(field.count), high:broadcast(field.count)
    for i = 1, field.count do
      local bounded = low[i] > -math.huge and high[i] < math.huge
      middle[#middle + 1] = bounded and (low[i] + high[i]) / 2 or 0
      half[#half + 1] = bounded and (high[i] - low[i]) / 2 or 1
    end
  end
  return orrery.tensor(middle), orrery.tensor(half)
end

--- distribution.of(space): the one for actions of that space, and a function(a) that makes of what was drawn the flat
--- action an environment takes. One discrete field: categorical, the field counting from 0. Real fields: gaussian,
--- where -1 .. 1 stands for the bounds, which the environment moves actions into.
function distribution.of(space)
  local discrete = 0
  for _, name in ipairs(space.names) do
    if space:field(name).n then discrete = discrete + 1 end
  end
  if discrete == 0 then
    local middle, half = scale_of(space)
    return distribution.gaussian(space.size), function(a) return middle + half * a end
  end
  if #space.names > 1 or space.size > 1 then
    check.fail("a policy draws one discrete number or real ones, not both or several; the actions are %s",
      table.concat(space.names, ", "))
  end
  return distribution.categorical(space:field(space.names[1]).n), function(a) return (a - 1):reshape(1) end
end

return distribution
