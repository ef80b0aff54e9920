--- agent_check.lua - what learners refuse: actions, options and observations that do not fit, told before anything is
--- learned from them.
local check = require "orrery.check"
local orrery = require "orrery"
local record = require "orrery.trace_record"
local trace = require "orrery.trace"

local checks = {}

--- checks.actions(self, kind): refuses actions that the learner cannot give. kind: "choices", "numbers", or "any" of
--- the two.
function checks.actions(self, kind)
  local env, space = self.env.name, self.action_space
  local names = table.concat(space.names, ", ")
  if self.discrete and not self.choices then
    check.fail("%s: the actions of '%s' (%s) have a discrete field '%s' among others; a single one, or none, can be "
      .. "learnt", self.name, env, names, self.discrete.name)
  end
  if kind == "choices" and not self.choices then
    check.fail("%s: it chooses among discrete actions, and the action of '%s' (%s) is continuous; use orrery.sac, td3, "
      .. "ddpg or ppo", self.name, env, names)
  end
  if self.choices then
    if kind ~= "numbers" then return end
    check.fail("%s: it needs continuous actions, and the action of '%s' (%s) is one of %d choices; use orrery.dqn or "
      .. "ppo", self.name, env, names, self.choices)
  end
  for i = 1, space.size do
    if not (self.reach[i] < math.huge) then
      check.fail("%s: the actions of '%s' (%s) need bounds; give their fields low and high", self.name, env, names)
    end
  end
end

-- ---- options

-- Options that are whole numbers, and the least that each can be.
local WHOLE = { copies = 1, batch = 1, train_every = 1, updates = 1, start = 0, delay = 1, target_interval = 1,
  n_steps = 1, epochs = 1, iterations = 1, grow = 1 }

-- Options that are 0 or more: rates, deviations and lengths.
local SIZES = { learning_rate = true, actor_learning_rate = true, value_learning_rate = true, noise = true,
  target_noise = true, noise_clip = true }

local SHARES = { tau = true, random = true }

--- checks.options(self, o): refuses numbers out of range.
function checks.options(self, o)
  for i, size in ipairs(o.hidden) do
    if not (math.type(size) and size == math.floor(size) and size >= 1) then
      check.fail("%s options: hidden is the sizes of the hidden layers, as in { 64, 64 }, each 1 or more; number %d is "
        .. "%s", self.name, i, tostring(size))
    end
  end
  for _, name in ipairs(check.sorted_keys(o)) do
    local value = o[name]
    if name == "gamma" and not (value >= 0 and value <= 1) then
      check.fail("%s options: gamma must be 0 to 1, not %g", self.name, value)
    end
    if SHARES[name] and not (value >= 0 and value <= 1) then
      check.fail("%s options: %s must be a share, 0 to 1, not %g", self.name, name, value)
    end
    if SIZES[name] and not (value >= 0 and value < math.huge) then
      check.fail("%s options: %s must be 0 or more, not %g", self.name, name, value)
    end
    local least = WHOLE[name]
    if least and (value ~= math.floor(value) or value < least) then
      check.fail("%s options: %s must be a whole number, %d or more, not %g", self.name, name, least, value)
    end
  end
end

--- checks.learning(self, o): refuses options of agent:learn that cannot be.
function checks.learning(self, o)
  if not (o.every > 0) then check.fail("learn options: every must be more than 0, not %g", o.every) end
  if not (o.steps >= 0) then check.fail("learn options: steps must be 0 or more, not %g", o.steps) end
  if not (o.episodes >= 0 and o.episodes == math.floor(o.episodes)) then
    check.fail("learn options: episodes, of each evaluation, must be a whole number, 0 or more, not %g", o.episodes)
  end
  check.run("learn options", o.run)
  if o.episodes > 0 and self.env.max_steps == 0 then
    check.fail("learn: '%s' has no limit of steps, so that an evaluation might never end: give the environment "
      .. "max_steps, or learn without evaluations, with episodes = 0", self.env.name)
  end
end

-- ---- observations

local function numbers(n) return n == 1 and "1 number" or ("%d numbers"):format(n) end

local function of_agent(self)
  local space = self.observation_space
  return ("the agent is of '%s', whose observations (%s) have %s"):format(self.env.name,
    table.concat(space.names, ", "), numbers(space.size))
end

local function names_of(s)
  local names = {}
  for i, field in ipairs(record.space(s)) do names[i] = field.name end
  return table.concat(names, ", ")
end

--- checks.state_reader(self, who): a function of a state, a record, vector or symbol, that gives it as a flat vector
--- and refuses one of another environment.
function checks.state_reader(self, who)
  local expected = table.concat(self.observation_space.names, ", ")
  return function(s)
    local names = record.is(s) and names_of(s) or nil
    local x = trace.vector(s)
    if not trace.is_symbol(x) then x = orrery.tensor(x) end
    local size = x:axes() == 0 and 1 or x:size(-1)
    if size ~= self.states or names and names ~= expected then
      check.fail("%s: %s; the state given%s has %s", who, of_agent(self), names and (" (%s)"):format(names) or "",
        numbers(size))
    end
    return x
  end
end

--- checks.observation(self, observation): an observation, a record or a flat tensor, as a flat tensor; refuses one of
--- another environment.
function checks.observation(self, observation)
  if orrery.is_tensor(observation) then
    if observation:count() == self.states then return observation end
    check.fail("agent:act: %s; the observation given has %s", of_agent(self), numbers(observation:count()))
  end
  local space = self.observation_space
  local fits, row = pcall(space.flatten, space, observation)
  if fits then return row end
  check.fail("agent:act: %s; of the observation given it is said: %s", of_agent(self),
    (tostring(row):gsub("^.-flatten: ", "", 1)))
end

local function described(x)
  if orrery.is_tensor(x) then return "one of " .. table.concat({ x:shape() }, " x ") end
  return x == nil and "nothing" or "a " .. type(x)
end

--- checks.batch(self, who, observations, z): refuses what is no batch of the agent's observations, and identifiers that
--- are missing or not wanted.
function checks.batch(self, who, observations, z)
  local call = ("agent:%s"):format(who)
  if not orrery.is_tensor(observations) or observations:axes() ~= 2 or observations:size(2) ~= self.states then
    check.fail("%s: observations must be a tensor of n x %d: %s; not %s", call, self.states, of_agent(self),
      described(observations))
  end
  local rows, size = observations:size(1), self.identifiers
  if size == 0 and z ~= nil then
    check.fail("%s: z tells tasks apart, and this agent has none with identifiers; leave it out", call)
  end
  if size == 0 or orrery.is_tensor(z) and z:axes() == 2 and z:size(1) == rows and z:size(2) == size then return end
  check.fail("%s: z is needed, as in agent:%s(observations, z): the identifiers of the tasks that the %s of "
    .. "observations are for, a tensor of %d x %d, not %s", call, who, rows == 1 and "row" or ("%d rows"):format(rows),
    rows, size, described(z))
end

return checks
