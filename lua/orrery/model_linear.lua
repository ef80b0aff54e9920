--- model_linear.lua - the derivatives of one step of a learned model, for planners that use them.
---
--- Where an episode can end, the state has one number more than the observation: the probability that it still
--- goes on (`survive` in model_score.lua). What a step is worth, that probability after it, and at the last step
--- the value at the horizon are then functions of (s, survive, a, next) like any other reward, the same as those
--- that plans are scored with.
local orrery = require "orrery"
local trace = require "orrery.trace"

local linear = {}

-- The observation and, where there is one, the probability, as one vector.
local function pack(s, survive) return survive and orrery.concat { s, orrery.stack { survive } } or s end

--- linear.path(scored, roll): library code: the program of the states along a plan, the start first, S numbers
--- each. roll(options) compiles a rollout (model:rollout_program).
function linear.path(scored, roll)
  return roll {
    name = "path", mean = scored.mean, start = scored.start, inputs = scored.inputs,
    body = function(carry, action, next, t, values)
      if not scored.start.survive then return { total = 0 * t }, next end
      local after = scored.body(carry, action, next, t, values)
      return after, pack(next, after.survive)
    end,
    finish = function(_, states, _, start)
      return { states = orrery.concat({ pack(start, scored.start.survive):insert_axis(1), states }, 1) }
    end,
  }
end

--- linear.step(model, scored, compile, step): library code: compiles the derivatives of one step, of rows s (S
--- numbers), a, t and last, 1 at a plan's last step: those of the next state, next_s and next_a, and of what the
--- step is worth, a function of x = (s, a) and the mean next state. With J the derivative of (x, next) with
--- respect to x, g the worth's gradient and H its second derivatives, both exact,
---
---   gradient = g J        second derivatives = J' H J
---
--- scored: start, body and finish, as model_score.lua makes them; compile(name, inputs, others, fn) compiles
--- fn(values, own values of the task); step(s, a) predicts the mean. The dynamics' own second derivatives are left
--- out, as iLQR does (Tassa et al. 2014).
function linear.step(self, scored, compile, step)
  local n, actions = self.states, self.actions
  local size = n + (scored.start.survive or 0)
  local identity = orrery.eye(size + actions)
  local inputs = { { name = "s", shape = { size } }, { name = "a", shape = { actions } }, { name = "t" } }
  if scored.has_value then inputs[4] = { name = "last" } end

  -- What follows the state x after action a has led to `next`, as a carry that began with a return of 0.
  local function advance(x, a, next, t, own)
    local carry = { s = x:slice(1, n), total = 0 * t, survive = scored.start.survive and x[n + 1] }
    local after = scored.body(carry, a, next, t, own)
    after.s = next
    return after
  end

  return compile("linear", inputs, scored.inputs, function(values, own)
    local s, a, t = values.s, values.a, values.t
    local next = step(s:slice(1, n), a)
    local function move(x)
      local reached = step(x.s:slice(1, n), x.a)
      if size == n then return reached end
      return pack(reached, advance(x.s, x.a, reached, t, own).survive)
    end
    local slope = orrery.jacobian(move)({ s = s, a = a })
    local function worth(v)
      local x, reached = v:slice(1, size), v:slice(size + actions + 1, -1)
      local after = advance(x, v:slice(size + 1, size + actions), reached, t, own)
      if not scored.has_value then return after.total end
      return after.total + values.last * (scored.finish(after, nil, own)["return"] - after.total)
    end
    local h, g = orrery.jacobian(function(v) return (orrery.grad(worth)(v)) end)(orrery.concat { s, a, next })
    local j = orrery.concat({ identity, orrery.concat({ slope.s, slope.a }, 2):slice(1, n, 1) }, 1)
    local first, second = g:matmul(j), j:transpose():matmul(h):matmul(j)
    local states, rest = second:slice(1, size, 1), second:slice(size + 1, -1, 1)
    return {
      next_s = slope.s, next_a = slope.a,
      reward_s = first:slice(1, size), reward_a = first:slice(size + 1, -1),
      reward_ss = states:slice(1, size, 2), reward_as = rest:slice(1, size, 2),
      reward_aa = rest:slice(size + 1, -1, 2),
    }
  end)
end

return linear
