--- model_linear.lua - the derivatives of one step of a learned model, for planners that use them.
local orrery = require "orrery"
local trace = require "orrery.trace"

-- The reward's gradient and second derivatives in v, which holds s, a and the next state.
local function reward_derivatives(self, task, v, t)
  local n, actions = self.states, self.actions
  local function reward(x)
    local s, a = x:slice(1, n), x:slice(n + 1, n + actions)
    local next = x:slice(n + actions + 1, -1)
    return trace.inline { fn = task.reward, name = "reward", returns = "number", step = 4, arguments = {
      trace.record(self.observation, s), trace.record(self.action, a),
      trace.record(self.observation, next), t } }
  end
  local curvature, slope = orrery.jacobian(function(x) return (orrery.grad(reward)(x)) end)(v)
  return slope, curvature
end

--- linear_program(model, task, step): library code: compiles the derivatives of one step, of rows s, a and t: those of
--- the mean next state, next_s and next_a, and of the reward of (s, a, next(s, a), t). With J the derivative
--- of (s, a, next) with respect to (s, a), g the reward's gradient and H its second derivatives, both exact,
---
---   gradient = g J        second derivatives = J' H J
---
--- step(s, a) predicts the mean; the dynamics' own second derivatives are left out, as iLQR does (Tassa et al. 2014).
local function linear_program(self, task, step)
  local n, actions = self.states, self.actions
  local identity = orrery.eye(n + actions)
  return trace.program {
    name = "linear",
    inputs = { { name = "s", shape = { n } }, { name = "a", shape = { actions } }, { name = "t" } },
    fn = function(s, a, t)
      local slope, next = orrery.jacobian(function(x)
        return step(x.s, x.a)
      end)({ s = s, a = a })
      local g, h = reward_derivatives(self, task, orrery.concat { s, a, next }, t)
      local j = orrery.concat({ identity, orrery.concat({ slope.s, slope.a }, 2) }, 1)
      local first, second = g:matmul(j), j:transpose():matmul(h):matmul(j)
      local ended = task.termination and trace.inline { fn = task.termination, name = "termination", step = 4,
        arguments = { trace.record(self.observation, s), trace.record(self.action, a),
                      trace.record(self.observation, next), t } }
      local states, rest = second:slice(1, n, 1), second:slice(n + 1, -1, 1)
      return {
        next_s = slope.s, next_a = slope.a, ended = ended,
        reward_s = first:slice(1, n), reward_a = first:slice(n + 1, -1),
        reward_ss = states:slice(1, n, 2), reward_as = rest:slice(1, n, 2),
        reward_aa = rest:slice(n + 1, -1, 2),
      }
    end,
  }
end

return linear_program
