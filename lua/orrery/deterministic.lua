--- deterministic.lua - what learners of a deterministic actor share (DDPG, TD3): mu(s) between -1 and 1, critics of
--- state and action, and acting with Gaussian noise or, now and then, anywhere.
local off_policy = require "orrery.off_policy"
local orrery = require "orrery"
local trace = require "orrery.trace"

local deterministic = {}

--- deterministic.mu(net, x), deterministic.q(net, x, action): the actor's action; what a critic says of one.
function deterministic.mu(net, x) return orrery.tanh(net(x)) end
function deterministic.q(net, x, action) return net(orrery.concat { x, action })[1] end

--- deterministic.class(name): a class of such learners, which have self.actor.
function deterministic.class(name)
  local Class = off_policy.class(name)

  function Class:greedy(x) return { action = self:from_unit(deterministic.mu(self.actor, x)) } end

  -- Some actions are uniform (HER: Andrychowicz et al. 2017), others what is thought best, and noise.
  function Class:behaviour(x, given)
    local n = self.action_space.size
    local noisy = orrery.clamp(deterministic.mu(self.actor, x) + given.noise * trace.normal(n), -1, 1)
    local anything = 2 * trace.uniform(n) - 1
    local at_random = orrery.less(trace.uniform(), given.random)
    return { action = self:from_unit(orrery.select(at_random, anything, noisy)) }
  end

  return Class
end

--- deterministic.actor_update(self, q, follow): the actor climbs the critic q, with a weight on the size of its
--- actions; `follow`, as in orrery.update, is done with it.
function deterministic.actor_update(self, q, follow)
  local o, actor = self.options, self.actor
  return orrery.update {
    nets = { actor }, optimiser = orrery.adam { learning_rate = o.actor_learning_rate, clip = o.clip },
    verify = false, follow = follow,
    loss = function(b)
      local x = self:seen(b)
      local action = deterministic.mu(actor, x)
      return o.action_penalty * orrery.mean(orrery.square(action)) - deterministic.q(q, x, action)
    end,
  }
end

return deterministic
