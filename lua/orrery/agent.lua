--- agent.lua - what learners of actions share: an agent is a policy that gets better by acting.
---
---   local env = orrery.env "pendulum"
---   local agent = orrery.sac { env = env }
---   for _, entry in ipairs(agent:learn { steps = 20000, every = 2000 }) do print(entry.steps, entry.mean) end
---   print(orrery.evaluate(env, agent))
---
--- Options of all learners (for other defaults see each):
---   env         the environment
---   task        { reward =, termination =, success = }, or the reward alone, functions of (s, a, next, t): its rewards
---               take the place of the environment's, its success is told in reports; none: the environment's own.
---               Termination and success mean yes by true or a number above 0.5; anything less, and NaN, is no
---   tasks       instead: several, { { name =, reward =, success =, z = { 1, 0 } }, ... }; every episode has the next in
---               turn. Nets see the identifier z behind the observation; where no task has one they are one-hot. Names
---               must differ; agent:set_task(name) chooses what agent:act acts for
---   copies      1; on policy 8: of the environment, that act at the same time. One written in Lua is made anew from
---               its definition for each of them, and they are stepped one after the other, while it itself is that of
---               the evaluations; what its functions keep outside of `self` is common to all
---   hidden      { 256, 256 }; on policy { 64, 64 }: sizes of the hidden layers of all nets
---   activation  "relu"; on policy "tanh"
---   gamma       0.99: discount
---   seed        0: of nets, starts, noise and batches; the same seed gives the same bits on any number of threads
---
--- A learner is a class made by agent.class, whose methods tell what is its own. In traced functions, x being what
--- the nets see, the observation with the task's identifier z behind it:
---   greedy(x)            { action = }: the best action, in the environment's units, or the number of a choice from 0
---   behaviour(x, given)  { action =, ... }: one to learn from, with draws; given: the numbers in self.settings
---   worth(x)             the value of acting greedily from here on; optional, for diagnostics
--- and in plain Lua:
---   advance()            lets the copies of the environment act, and learns from that
local check = require "orrery.check"
local checks = require "orrery.agent_check"
local evaluation = require "orrery.agent_evaluation"
local orrery = require "orrery"
local trace = require "orrery.trace"
local tasks = require "orrery.agent_tasks"

local agent = {}

local Agent = {}
Agent.__index = Agent

--- agent.class(name, base): a class of learners, with an agent's methods, or those of a class made from it.
function agent.class(name, base)
  local Class = setmetatable({ name = name, __name = name .. " agent" }, { __index = base or Agent })
  Class.__index = Class
  function Class:__tostring() return ("%s agent for '%s', after %d steps"):format(name, self.env.name, self.steps) end
  return Class
end

-- ---- making

-- One choice of n (self.choices), or numbers within bounds: middle +- reach.
local function read_actions(self)
  local space, low, high = self.action_space, {}, {}
  for _, field in ipairs(space.fields) do
    if field.n and field.n > 0 then
      if space.size == 1 then self.choices = field.n end
      self.discrete = field
    end
    for i = 1, field.count do
      for which, list in pairs { low = low, high = high } do
        local bound = field[which]
        list[#list + 1] = type(bound) == "number" and bound or orrery.tensor(bound):flatten()[i]
      end
    end
  end
  self.low, self.high = orrery.tensor(low), orrery.tensor(high)
  self.middle, self.reach = 0.5 * (self.low + self.high), 0.5 * (self.high - self.low)
end

local COMMON = {
  env = "any", task = "any", tasks = "optional table", copies = 1, hidden = { 256, 256 }, activation = "relu",
  gamma = 0.99, seed = 0,
}

--- agent.new(Class, options, defaults, actions): an agent of the class, options checked: those of all learners and the
--- defaults of this one. actions: "choices", "numbers" or "any".
function agent.new(Class, options, defaults, actions)
  for name, value in pairs(COMMON) do
    if defaults[name] == nil then defaults[name] = value end
  end
  local o = check.options(Class.name .. " options", options, defaults)
  check.env(Class.name .. " options", o.env, "{ env = %s }")
  if not math.tointeger(o.seed) then check.fail("%s options: seed must be a whole number, not %g", Class.name, o.seed) end
  local self = setmetatable({ options = o, env = o.env, gamma = o.gamma, seed = math.tointeger(o.seed),
    copies = o.copies, observation_space = o.env.observation_space, action_space = o.env.action_space,
    steps = 0, acts = 0, seconds = 0, settings = {}, programs = {}, sums = {}, updates = {},
    -- apart, so that one more draw of one kind moves none of the others
    seeds = orrery.stream(o.seed, 1), draws = orrery.stream(o.seed, 2), choosing = orrery.stream(o.seed, 3) }, Class)
  checks.options(self, o)
  self.states = self.observation_space.size
  read_actions(self)
  checks.actions(self, actions)
  self.tasks = tasks.read(self, o)
  self.identifiers = self.tasks[1] and self.tasks[1].z and self.tasks[1].z:size(1) or 0
  self.inputs = self.states + self.identifiers
  return self
end

--- self:net(outputs, more): a net of what is seen, and of `more` numbers, by the options hidden and activation; each
--- with a seed of its own.
function Agent:net(outputs, more)
  return orrery.nn.mlp { inputs = self.inputs + (more or 0), outputs = outputs, hidden = self.options.hidden,
    activation = self.options.activation, seed = self.choosing:whole() >> 12 }
end

--- self:noise_seed(use): of the draws in one of the agent's programs: 0 in acting; 1, 2 in its updates.
function Agent:noise_seed(use) return 3 * self.seed + use end

-- ---- in traced functions

-- What the nets see: an observation, standardised where that was asked for, with the task's identifier behind it.
local function view(self, observation, z)
  if self.normaliser then observation = self.normaliser:of(observation) end
  return self.identifiers > 0 and orrery.concat { observation, z } or observation
end

--- self:seen(b), self:seen_next(b): what the nets see of a batch's row, before and after the step.
function Agent:seen(b) return view(self, b.observation, rawget(b, "z")) end
function Agent:seen_next(b) return view(self, b.next_observation, rawget(b, "z")) end

--- self:from_unit(u), self:to_unit(a): actions between -1 .. 1 and the environment's units.
function Agent:from_unit(u) return self.middle + self.reach * u end
function Agent:to_unit(a) return (a - self.middle) / self.reach end

-- ---- acting

-- The program of one of the methods greedy, behaviour, worth.
local function program_of(self, what)
  if self.programs[what] then return self.programs[what] end
  local inputs = { { name = "observation", shape = { self.states } } }
  if self.identifiers > 0 then inputs[2] = { name = "z", shape = { self.identifiers } } end
  local first, names = #inputs, check.sorted_keys(self.settings)
  for _, name in ipairs(names) do inputs[#inputs + 1] = { name = name, level = "uniform" } end
  self.programs[what] = trace.program { name = self.name .. ", " .. what, inputs = inputs, fn = function(...)
    local values, given = { ... }, {}
    for i, name in ipairs(names) do given[name] = values[first + i] end
    return self[what](self, view(self, values[1], values[2]), given)
  end }
  return self.programs[what]
end

local function run(self, what, who, observations, z)
  checks.batch(self, who, observations, z)
  local values = { observation = observations, z = z }
  for name, value in pairs(self.settings) do values[name] = value end
  return program_of(self, what):run(values,
    { rows = observations:size(1), seed = self:noise_seed(0), iteration = self.acts })
end

-- A function of a state, as other programs have it, that gives what the nets see: for the task chosen now.
local function seeing(self, who)
  local z = self.identifiers > 0 and self.tasks[self.task or 1].z or nil
  local read = checks.state_reader(self, who)
  return function(s)
    local x = read(s)
    return z and orrery.concat { x, z } or x
  end
end

--- agent:explore(observations, z): actions to learn from, for a batch of observations [n, size], by one program run:
--- a tensor [n, action size], or an int tensor [n] of choices from 0; and a table of whatever else the learner's
--- program gives. z: [n, size] where there are tasks with identifiers. Every call draws anew.
function Agent:explore(observations, z)
  self.acts = self.acts + 1
  local outputs = run(self, "behaviour", "explore", observations, z)
  return self.choices and outputs.action:to("int") or outputs.action, outputs
end

--- agent:decide(observations, z): as agent:explore, the best actions that it knows. agent:act chooses z by itself.
function Agent:decide(observations, z)
  local action = run(self, "greedy", "decide", observations, z).action
  return self.choices and action:to("int") or action
end

--- agent:value(observations, z): what acting greedily is thought to be worth, discounted: [n]. Without observations: a
--- function of a state, to be traced, for what stands at the end of a plan (TD-MPC: Hansen et al. 2022):
---   orrery.mpc { model = model, task = { reward = reward, value = agent:value() } }
--- Nets are read at every plan, as they are then. Rewards within the horizon count in full; the value of the state
--- after them is discounted from there on, by the agent's gamma, and of sac it has the entropy to come in it. Where
--- there are tasks with identifiers, it is for the one that agent:set_task chose last.
function Agent:value(observations, z)
  if not self.worth then check.fail("%s: it has no value function", self.name) end
  if observations ~= nil then return run(self, "worth", "value", observations, z) end
  local see = seeing(self, "agent:value()")
  return function(s) return self:worth(see(s)) end
end

--- agent:policy { explore = false }: a function of a state, to be traced: the best action known there; with `explore`
--- one to learn from, drawn anew, so that several proposals differ. For the task's policy of an mpc whose planner takes
--- proposals:
---   orrery.mpc { model = model, task = { reward = reward, policy = agent:policy() },
---     planner = orrery.plan.cem { proposals = 20 } }
function Agent:policy(options)
  local o = check.options("policy options", options, { explore = false })
  local see, what = seeing(self, "agent:policy()"), o.explore and self.behaviour or self.greedy
  return function(s) return what(self, see(s), self.settings).action end
end

--- agent:act(observation, context): the best action that it knows, as policies give it. Where there are several tasks,
--- for that by which orrery.evaluate judges, else for the one that agent:set_task chose, else for the first.
function Agent:act(observation, context)
  local row = checks.observation(self, observation)
  local which = self.identifiers > 0 and tasks.match(self, context and context.task)
  local z = which and self.tasks[which].z:insert_axis(1) or nil
  local action = self:decide(row:reshape(1, self.states), z)
  if self.choices then return action[1] end
  return action:reshape(-1):copy()
end

--- agent:reset(seed): an episode starts; nothing is remembered from one to the next.
function Agent:reset() end

--- agent:play { episodes = 100, seed = 1, task = nil, steps = nil }: plays whole episodes with its best actions, all at
--- once, in copies of its environment: for thousands of episodes where orrery.evaluate plays one after the other. In an
--- environment that cannot be copied, such as one written in Lua, play does that, too. task: none: the agent's own;
--- steps: most of an episode, none: the environment's limit. Answers mean, and lists by episode, returns and lengths;
--- where the task tells success also success, the share of episodes with a success at any step, and success_at_end.
function Agent:play(options) return evaluation.play(self, options) end

--- agent:set_task(which): the task, by its place or name, that agent:act acts for.
function Agent:set_task(which) self.task = tasks.find(self, which) end

-- ---- learning

-- Environments to act in, apart from that of the evaluations where that can be.
local function vector_env(self)
  local env = self.env
  local options = { replay = self.replay, task = #self.tasks == 1 and self.tasks[1].given or nil }
  if env.thread_safe then return orrery.vector_env(env, self.copies, options) end
  local list = {}
  for i = 1, self.copies do list[i] = env.definition and orrery.env(env.definition) end
  if #list == 0 and self.copies > 1 then
    check.fail("%s: '%s' cannot be copied; copies must be 1", self.name, env.name)
  end
  self.shares_env = #list == 0
  return orrery.vector_env(#list > 0 and list or { env }, options)
end

local function start(self)
  self.many:reset(self.seeds:whole())
  tasks.start(self)
end

-- What is under way enters the replay, cut off.
local function cut(self)
  if self.replay then self.many:cut() end
end

--- self:step(actions): one step of all copies, with the task's rewards; counts them. Afterwards self.many holds what
--- came (observation, reward, terminated, truncated, final_observation), self.z what the next observations are for.
function Agent:step(actions)
  tasks.step(self, actions)
  self.steps = self.steps + self.copies
end

--- self:note(values): adds numbers by name, or tensors of one, to those of which the next report tells the mean.
function Agent:note(values)
  for name, value in pairs(values) do
    local sum = self.sums[name] or { 0, 0 }
    sum[1], sum[2] = sum[1] + (type(value) == "number" and value or value:item()), sum[2] + 1
    self.sums[name] = sum
  end
end

-- Evaluates, and tells of everything since the last report. Whether that is enough, as o.log has it.
local function report(self, o, history, goal)
  local entry = { steps = self.steps, seconds = self.seconds }
  for name, sum in pairs(self.sums) do entry[name] = sum[1] / sum[2] end
  self.sums = {}
  for name, update in pairs(self.updates) do
    if update.compiled then entry[name .. "_gradient"] = update:gradient_norm() end
  end
  evaluation.add_finished(entry, self.many:finished())
  if o.episodes > 0 then
    if self.shares_env then cut(self) end
    evaluation.add(self, entry, o)
    if self.shares_env then start(self) end
  end
  history[#history + 1] = entry
  if o.run then
    o.run:log(entry)
    o.run:progress(self.steps / goal, ("%s, step %d, return %.4g"):format(self.name, self.steps,
      entry.mean or entry.training or 0))
  end
  return o.log and o.log(entry, self)
end

local History = { __name = "history" }

-- A line for each report, as print shows them.
function History:__tostring()
  local columns, lines = { "steps", "mean", "success", "training", "seconds" }, {}
  for i = 0, #self do
    local line = {}
    for _, name in ipairs(columns) do
      local value, known = i == 0 and name or self[i][name], #self > 0 and self[#self][name] ~= nil
      if type(value) == "number" then value = ("%.4g"):format(value) end
      if name == "steps" and i > 0 then value = ("%d"):format(self[i].steps) end
      if known then line[#line + 1] = ("%10s"):format(value or "") end
    end
    lines[#lines + 1] = table.concat(line)
  end
  return #self > 0 and table.concat(lines, "\n") or "no reports"
end

--- agent:learn(options): acts and learns; called again it goes on, with new episodes.
---   steps     10000, of the environment, of all copies together: how long it learns, not how long an episode is
---   every     1000: a report after so many steps, and at the end
---   episodes  10, of each evaluation, played greedily; 0: none, as an environment without max_steps needs it
---   run       an orrery.run, in which every report is a line of metrics
---   log       function(entry, agent), called with every report; learning ends where it answers true
--- Answers the list of reports, which print shows as lines. Of each:
---   steps             since the agent was made; seconds, of acting and learning
---   mean, std         return of the evaluation; success and success_at_end, shares of its episodes, where the task tells
---                     success; of several tasks the mean over them, by name in `tasks`
---   training          mean return of the episodes that ended in between; training_success, the share with a success
---   value             what agent:value thinks of the states of the evaluation's episodes; overestimation, that less the
---                     discounted return that came; in episodes that only time ended, of those in their first half
---   <name>_gradient   length of the last gradient of each of the learner's updates: actor_gradient, critic_gradient,
---                     policy_gradient, or q_gradient of dqn and fqi
--- and the learner's own diagnostics, means since the last report.
---
--- Ctrl-C ends it with the error "interrupted", as it ends everything. A pcall around it is no way to go on or to save:
--- the error is raised again by what learns, plans, waits or saves a replay after it. But what was learned until then
--- is in the agent, and what run:finally was given is still called:
---
---   local run <close> = orrery.run { name = "reach" }
---   run:finally(function() agent:save(run:path "agent") end)
---   agent:learn { steps = 1e6, run = run }
function Agent:learn(options)
  local o = check.options("learn options", options,
    { steps = 10000, every = 1000, episodes = 10, run = "any", log = "optional function" })
  checks.learning(self, o)
  local history, goal = setmetatable({}, History), self.steps + o.steps
  local due = (self.steps // o.every + 1) * o.every
  self.many = vector_env(self)
  start(self)
  while self.steps < goal do
    local began = orrery.clock()
    self:advance()
    self.seconds = self.seconds + orrery.clock() - began
    if self.steps >= due or self.steps >= goal then
      if report(self, o, history, goal) == true then break end
      due = (self.steps // o.every + 1) * o.every
    end
  end
  cut(self)
  return history
end

require "orrery.agent_files"(Agent)

-- agent.learn { ... } hands the options over as the agent.
for _, name in ipairs { "act", "decide", "explore", "learn", "load", "play", "save", "set_task", "value" } do
  local method = Agent[name]
  Agent[name] = function(self, ...)
    if type(self) == "table" and rawget(self, "seeds") then return method(self, ...) end
    check.fail("agent.%s: it is called with a colon, agent:%s(...)", name, name)
  end
end

return agent
