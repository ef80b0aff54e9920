--- fqi.lua - fitted Q iteration (Ernst et al. 2005; with nets: Riedmiller 2005): Q-learning as a row of regressions
--- on one set of transitions.
---
---   repeat: y = r + gamma max_a' Q_k(s', a') for every transition; Q_k+1: the least squares fit of y to (s, a)
---
--- The set may be given, and nothing else is then needed (agent:fit); or it grows between the fits by what the agent
--- does (agent:learn).
local agent = require "orrery.agent"
local check = require "orrery.check"
local orrery = require "orrery"
local stores = require "orrery.agent_replay"
local trace = require "orrery.trace"
local training = require "orrery.model_training"

local Fqi = agent.class "fqi"

function Fqi:greedy(x) return { action = orrery.argmax(self.q(x)) - 1 } end

function Fqi:behaviour(x, given)
  local anything = orrery.min(orrery.floor(self.choices * trace.uniform()), self.choices - 1)
  local at_random = orrery.less(trace.uniform(), given.epsilon)
  return { action = orrery.select(at_random, anything, orrery.argmax(self.q(x)) - 1) }
end

function Fqi:worth(x) return orrery.max_along(self.q(x)) end

local function new_targets(self)
  local inputs = { { name = "reward" }, { name = "terminated" }, { name = "next_observation", shape = { self.states } } }
  if self.identifiers > 0 then inputs[4] = { name = "z", shape = { self.identifiers } } end
  return trace.program { name = "fqi, targets", inputs = inputs, fn = function(reward, terminated, observation, z)
    local to_come = self:worth(self:seen_next { next_observation = observation, z = z })
    return { y = reward + self.gamma * (1 - terminated) * to_come }
  end }
end

local function new_update(self, o)
  return orrery.update {
    nets = { self.q }, optimiser = orrery.adam { learning_rate = o.learning_rate }, verify = false,
    loss = function(b)
      return orrery.square(orrery.gather(self.q(self:seen(b)), b.action[1] + 1) - b.y)
    end,
  }
end

--- agent:fit(iterations): fitted Q iterations on all that is in the replay; none: as many as the option says. Returns
--- the root mean square errors of the fits, a list.
function Fqi:fit(iterations)
  local o, errors = self.options, {}
  local count = #self.replay
  if count == 0 then check.fail("fqi: the replay is empty; collect something first, as in replay:collect(policy)") end
  local fields = { "observation", "action", "reward", "next_observation", "terminated" }
  if self.identifiers > 0 then fields[#fields + 1] = "z" end
  local data = self.replay:transitions { fields = fields }
  local batch = { observation = data.observation, action = data.action, z = data.z }
  local index = self.draws:orders(1, count)
  for k = 1, iterations or o.iterations do
    batch.y = self.targets:run(data, { rows = count }).y
    self.updates.q:restart()
    local loss
    for _ = 1, o.epochs do loss = training.run_epoch(self.updates.q, batch, index, o, self.draws)[1] end
    errors[k] = math.sqrt(loss)
    self:note { error = errors[k] }
  end
  return errors
end

-- Whole stretches of `grow` steps, each followed by fits.
function Fqi:advance()
  local o, many = self.options, self.many
  self.settings.epsilon = self.steps < o.grow and 1 or o.epsilon
  self:step((self:explore(many.observation, self.z)))
  self.waiting = self.waiting + self.copies
  if self.waiting < o.grow or #self.replay == 0 then return end
  self.waiting = 0
  self:fit()
end

--- orrery.fqi(options): fitted Q iteration, for one discrete action. Options besides those of all
--- learners (tasks, seed ...):
---   env            the environment; task, or tasks with identifiers z, for other rewards than its own
---   replay         the transitions to learn from; none: one of its own, of `capacity` (1e6)
---   copies         1: of the environment, that act at the same time
---   hidden         { 256, 256 }; activation "relu"; gamma 0.99
---   iterations     10, of each fit; epochs 5, of each iteration, over all transitions, in batches of `batch` (256)
---   learning_rate  1e-3
---   grow           1000: steps that are added before each fit; the first at random
---   epsilon        0.1: share of uniform actions in later ones
--- Diagnostics: error, of the fits (root mean square).
return function(options)
  local self = agent.new(Fqi, options, {
    replay = "any", capacity = 1e6, batch = 256, iterations = 10, epochs = 5, learning_rate = 1e-3, grow = 1000,
    epsilon = 0.1,
  }, "choices")
  local o = self.options
  self.replay = stores.of(self, options)
  self.waiting = 0
  self.settings = { epsilon = o.epsilon }
  self.q = self:net(self.choices)
  self.targets, self.updates.q = new_targets(self), new_update(self, o)
  return self
end
