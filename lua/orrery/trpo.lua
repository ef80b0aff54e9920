--- trpo.lua - trust region policy optimisation (Schulman et al. 2015, section 6 and appendix C): for every rollout the
--- step x that solves
---
---   maximise g x   where   x F x / 2 <= delta,
---
--- g being the gradient of the surrogate, the mean of A_t pi(a_t | s_t) / pi_old(a_t | s_t), and F the Fisher matrix,
--- the second derivatives of the mean KL(pi_old || pi). F is never made: conjugate gradients only need its products
--- with vectors. The step is shortened until the surrogate has grown and the KL is at most delta indeed.
local check = require "orrery.check"
local on_policy = require "orrery.on_policy"
local orrery = require "orrery"
local trace = require "orrery.trace"

local TRPO = on_policy.class "trpo"

-- ---- parameters as one vector

local function read_parameters(self)
  local parts = {}
  for i, tensor in ipairs(self:policy_parameters()) do parts[i] = tensor:flatten() end
  return orrery.concat(parts)
end

local function write_parameters(self, flat)
  local at = 0
  for _, tensor in ipairs(self:policy_parameters()) do
    tensor:assign(flat:slice(at + 1, at + tensor:count()):reshape(tensor:shape()))
    at = at + tensor:count()
  end
end

-- In a trace: y's gradient by all of the policy's parameters, as one vector.
local function flat_gradient(self, y)
  local parameters, parts = {}, {}
  for i, tensor in ipairs(self:policy_parameters()) do parameters[i] = trace.parameter(tensor, "uniform") end
  for i, part in ipairs(orrery.trace_core.gradient(y, parameters)) do parts[i] = part:reshape(part:count()) end
  return orrery.concat(parts)
end

--- trpo:gradient(batch): that of the surrogate, flat.
function TRPO:gradient(batch)
  local program = self:program("gradient", { "observation", "action", "old_log_prob", "advantage" }, function(b)
    local log_prob = self.distribution.log_prob(self:parameters_at(self:seen(b)), b.action)
    return flat_gradient(self, (orrery.exp(log_prob - b.old_log_prob) * b.advantage):row_mean "uniform")
  end)
  return self:run(program, batch):copy()
end

--- trpo:fisher_product(batch, v): F v + damping v, the gradient of v times the gradient of the mean KL: one program
--- over the whole batch.
function TRPO:fisher_product(batch, v)
  local inputs = { "observation", { name = "v", level = "uniform", shape = { v:size(1) } } }
  local program = self:program("fisher_product", inputs, function(b)
    local d = self:parameters_at(self:seen(b))
    local kl = self.distribution.kl(d:stop_gradient(), d):row_mean "uniform"
    local slope = (flat_gradient(self, kl) * b.v):sum()
    return flat_gradient(self, slope) + self.options.damping * b.v
  end)
  return self:run(program, { observation = batch.observation, z = batch.z, v = v }):copy()
end

-- ---- the step

--- x of A x = b for a symmetric positive definite A, known by product(x) = A x (Hestenes and Stiefel 1952).
local function conjugate_gradients(product, b, iterations)
  local x, residual, direction = orrery.zeros(b:size(1)), b:copy(), b:copy()
  local length = orrery.dot(residual, residual)
  for _ = 1, iterations do
    if length < 1e-10 then break end
    local along = product(direction)
    local step = length / orrery.dot(direction, along)
    x, residual = x + step * direction, residual - step * along
    local new_length = orrery.dot(residual, residual)
    direction = residual + new_length / length * direction
    length = new_length
  end
  return x
end

-- Goes back from the full step until the surrogate grows and the KL is small enough; what was measured there.
local function line_search(self, batch, step)
  local o, before, start = self.options, self:measure(batch), read_parameters(self)
  for i = 0, o.backtracks do
    write_parameters(self, start + o.backtrack ^ i * step)
    local found = self:measure(batch)
    if found.kl <= o.delta and found.surrogate > before.surrogate then
      found.improvement, found.accepted = found.surrogate - before.surrogate, 1
      return found
    end
  end
  write_parameters(self, start)
  before.improvement, before.accepted = 0, 0
  return before
end

function TRPO:update(batch)
  local o = self.options
  local g = self:gradient(batch)
  local function product(v) return self:fisher_product(batch, v) end
  local direction = conjugate_gradients(product, g, o.iterations)
  local curvature = orrery.dot(direction, product(direction))
  local length = curvature > 0 and math.sqrt(2 * o.delta / curvature) or 0
  local found = line_search(self, batch, length * direction)
  found.value_loss = self:fit_critic(batch, o.value_epochs)
  return found
end

--- orrery.trpo(options): trust region policy optimisation. Options besides those of all learners (tasks,
--- seed ...), or with other defaults:
---   env          the environment; task, or tasks with identifiers z, for other rewards than its own
---   copies       8; hidden { 64, 64 }; activation "tanh"; log_std -0.5
---   rollout      4000: steps from one update to the next
---   gamma        0.99; lambda 0.97
---   delta        0.01: the greatest mean KL(old || new) of a step, in nats
---   iterations   10, of conjugate gradients; damping 0.1: added to the diagonal of F
---   backtrack    0.8: factor on a step that is refused, at most `backtracks` (10) times
---   value_learning_rate   1e-3; value_epochs 80: steps of the critic for each of the policy
---   normalise    true: advantages of a rollout get mean 0 and deviation 1
--- Diagnostics: kl; improvement, of the surrogate; accepted, 1 or 0 where the whole search failed and the policy
--- stayed as it was; clip_fraction, entropy, value_loss, explained_variance as of ppo.
return function(options)
  local self = on_policy.new(TRPO, options, {
    delta = 0.01, iterations = 10, damping = 0.1, backtrack = 0.8, backtracks = 10, value_epochs = 80,
  })
  if self.options.delta <= 0 then check.fail("trpo options: delta must be above 0, not %g", self.options.delta) end
  self.kept = { policy = { parameters = function() return self:policy_parameters() end } }
  return self
end
