--- mbpo.lua - model-based policy optimisation (Janner et al. 2019, "When to Trust Your Model: Model-Based Policy
--- Optimization", algorithm 2): a soft actor-critic that learns from short branches of imagined experience. Branches
--- start in states that were visited, so that the model's errors have k steps to add up, and not an episode.
---
---   every so many steps:   train the model on the real steps, D_env
---                          from many states of D_env: k steps of the policy in the model, into D_model
---   every step:            act; the step enters D_env
---                          several updates of soft actor-critic on D_model, and a little of D_env
---
--- With k = 1 it is what Dyna (Sutton 1990) does, with nets in place of tables.
local agent = require "orrery.agent"
local check = require "orrery.check"
local judge = require "orrery.judge"
local orrery = require "orrery"
local sac = require "orrery.sac"
local task = require "orrery.task"
local trace = require "orrery.trace"

local Mbpo = agent.class("mbpo", sac.Sac)

local FIELDS = { "observation", "action", "reward", "next_observation", "terminated" } -- of batches

-- ---- branches

-- A step of the policy in the model: a row for each branch, each predicted by its member.
local function step_program(self)
  return trace.program { name = "mbpo, a step in the model",
    inputs = { { name = "observation", level = "row", shape = { self.states } } },
    fn = function(s)
      local a, goes_on = self:behaviour(s).action, nil
      local p = #self.learned_ends > 0 and self.model:event_probabilities(s, a)
      for _, name in ipairs(self.learned_ends) do goes_on = (goes_on or 1) * (1 - p[name]) end
      return { action = a, next_observation = self.model:sample(s, a),
               ended = goes_on and orrery.less(goes_on, trace.uniform()) }
    end }
end

-- Rows of a run, of `each` for every member: which branch each one follows, from 0, and which of them are elites'.
local function places(model, order, each)
  local index, kept = orrery.zeros(each * model.members), {}
  for i, m in ipairs(model.elites) do
    local first, last = (m - 1) * each + 1, m * each
    index:slice(first, last):assign(order:slice((i - 1) * each + 1, i * each) - 1)
    kept[i] = orrery.arange(first, last)
  end
  return index:to "int", orrery.concat(kept):to "int"
end

--- mbpo:branch_length(): k, as it is at this step.
function Mbpo:branch_length()
  local k = self.options.k
  if type(k) == "number" then return k end
  local first, last = table.unpack(k.over)
  local share = math.max(0, math.min(1, (self.steps - first) / (last - first)))
  return math.floor(k.from + share * (k.to - k.from))
end

-- Tables of tensors by name, one below the other.
local function joined(list)
  local rows = {}
  for _, name in ipairs(FIELDS) do
    local parts = {}
    for i, part in ipairs(list) do parts[i] = part[name] end
    rows[name] = orrery.concat(parts, 1)
  end
  return rows
end

--- mbpo:imagine(): from states that were visited, k steps of the policy in the model: a table of tensors, as batches
--- are. At every step each branch has another elite of the model, chosen anew. One that has ended begins anew where it
--- started, so that there are as many steps whatever comes.
function Mbpo:imagine()
  local model, steps = self.model, {}
  self.program = self.program or step_program(self)
  local each = math.ceil(self.options.rollouts / #model.elites)
  local n, stream = each * #model.elites, orrery.stream(self.seed, 1000 + (model.fits or 0))
  local begun = self.replay:sample(n, { fields = { "observation", "time" }, stream = stream })
  local now, start = begun.observation, begun.observation
  local time, start_time = begun.time - 1, begun.time - 1
  local options = { rows = each * model.members, members = model.members, seed = stream:whole() >> 12 }
  for k = 1, self:branch_length() do
    local order = stream:orders(1, n):reshape(-1)
    local index, kept = places(model, order, each)
    options.index, options.iteration = { observation = index }, k
    local out = self.program:run({ observation = now }, options)
    now, start, time, start_time = now:gather(order), start:gather(order), time:gather(order), start_time:gather(order)
    local action, next = out.action:gather(kept), out.next_observation:gather(kept)
    local says = self.says(now, action, next, time)
    local ended = says.terminated or orrery.zeros(n)
    if out.ended then ended = orrery.max(ended, out.ended:gather(kept)) end
    steps[k] = { observation = now, action = action, reward = says.reward:copy(), next_observation = next,
                 terminated = ended:copy() }
    now = orrery.where(ended:insert_axis(2), start, next)
    time = orrery.where(ended, start_time, time + 1)
  end
  return joined(steps)
end

-- ---- learning

-- D_model: what was imagined after the last fits.
local function remember(self, rounds)
  self.rounds = table.move(rounds, math.max(1, #rounds - self.options.retain + 1), #rounds, 1, {})
  self.imagined = joined(self.rounds)
end

--- mbpo:refit(): trains the model on all real steps, and imagines new ones.
function Mbpo:refit()
  local fit = self.options.fit
  local history = self.model:fit(self.replay, type(fit) == "function" and fit(self.steps) or fit)
  if history.best[1] < math.huge then self:note { model_error = orrery.mean(orrery.tensor(history.best)) } end
  table.insert(self.rounds, self:imagine())
  remember(self, self.rounds)
  self.refit_at = self.steps + self.options.refit_every
end

function Mbpo:schedule()
  if self.steps >= math.max(self.options.start, self.refit_at) and #self.replay > 0 then self:refit() end
end

-- The first `real` rows of a batch are real.
local function new_batch(self, size)
  local states, actions = self.states, self.action_space.size
  local shapes = { observation = { size, states }, next_observation = { size, states }, action = { size, actions } }
  local batch, real, imagined = {}, {}, {}
  for _, name in ipairs(FIELDS) do
    batch[name] = orrery.zeros(shapes[name] or size)
    if self.real > 0 then real[name] = batch[name]:slice(1, self.real) end
    if self.real < size then imagined[name] = batch[name]:slice(self.real + 1, size) end
  end
  return batch, { real = real, imagined = imagined }
end

--- mbpo:sample(): a batch of imagined steps, and a share of real ones. The next call writes it again.
function Mbpo:sample()
  if not self.imagined then self:refit() end
  if not self.batch then self.batch, self.parts = new_batch(self, self.options.batch) end
  if self.real > 0 then
    local rows = self.replay:sample(self.real, { fields = FIELDS, stream = self.draws })
    for name, part in pairs(self.parts.real) do part:assign(rows[name]) end
  end
  if next(self.parts.imagined) then
    local index = self.draws:integers(1, self.imagined.reward:size(1), self.options.batch - self.real)
    for name, part in pairs(self.parts.imagined) do part:assign(self.imagined[name]:gather(index)) end
  end
  return self.batch
end

-- ---- files

--- mbpo:save(path): as agent:save; the model and what it imagined go into files of their own, path .. ".model" and
--- path .. ".imagined".
function Mbpo:save(path)
  local tensors = { counts = orrery.tensor({ self.model.fits or 0, self.refit_at, #self.rounds }, "int") }
  for i, rows in ipairs(self.rounds) do
    for name, tensor in pairs(rows) do tensors[name .. "." .. i] = tensor end
  end
  self.model:save(path .. ".model")
  orrery.save_tensors(path .. ".imagined", tensors)
  return sac.Sac.save(self, path)
end

--- mbpo:load(path): as agent:load.
function Mbpo:load(path)
  local take_model = self.model:read_file(path .. ".model") -- before anything is changed
  local tensors, count = orrery.load_tensors(path .. ".imagined"), nil
  sac.Sac.load(self, path)
  take_model()
  self.model.fits, self.refit_at, count = table.unpack(tensors.counts:totable())
  local rounds = {}
  for i = 1, count do
    rounds[i] = {}
    for _, name in ipairs(FIELDS) do rounds[i][name] = tensors[name .. "." .. i] end
  end
  if count > 0 then remember(self, rounds) end
  return self
end

-- ---- making

local function check_options(self, o)
  local function need(condition, ...)
    if not condition then check.fail("mbpo options: " .. (...), select(2, ...)) end
  end
  local name = self.env.name
  need(o.tasks == nil, "one task is learnt at a time: give task = ..., not tasks")
  need(o.task ~= nil, "the model predicts states, so that the reward of imagined steps must be known: give a task, as "
    .. "in task = %s", rawget(orrery.tasks, name) and ("orrery.tasks.%s()"):format(name)
    or "{ reward = function(s, a, next) ... end }")
  need(not o.relabel and o.n_steps == 1 and not self.replay.prioritised,
    "it learns from single steps, each equally likely: leave out relabel, n_steps and a prioritised replay")
  need(o.real >= 0 and o.real <= 1, "real is a share, 0 to 1, not %g", o.real)
  for _, whole in ipairs { "refit_every", "rollouts", "retain" } do
    need(math.tointeger(o[whole]) and o[whole] >= 1, "%s must be a whole number, 1 or more, not %g", whole, o[whole])
    o[whole] = math.tointeger(o[whole])
  end
  need(type(o.fit) == "table" or type(o.fit) == "function",
    "fit must be a table of options of model:fit, or a function(steps) that gives one, not a %s", type(o.fit))
  if type(o.k) == "table" then
    o.k = check.options("mbpo options, k", o.k, { from = 1, to = 1, over = "any" })
    if type(o.k.over) == "number" then o.k.over = { 0, o.k.over } end
    local over = type(o.k.over) == "table" and o.k.over or {}
    need(type(over[1]) == "number" and type(over[2]) == "number" and over[1] < over[2],
      "k grows over steps of learning: give over = { first, last }")
  end
  local most = type(o.k) == "table" and math.min(o.k.from, o.k.to) or o.k
  need(type(most) == "number" and most >= 1 and (type(o.k) == "table" or math.tointeger(o.k)),
    "k must be a whole number, 1 or more, or { from = 1, to = 15, over = { 20000, 150000 } }")
end

local function make_model(self, given)
  if type(given) == "table" and getmetatable(given) then return given end
  local options = { env = self.env, seed = self.seed }
  for name, value in pairs(given or {}) do options[name] = value end
  return orrery.model(options)
end

--- orrery.mbpo(options): model-based policy optimisation for continuous actions. Options as of orrery.sac, with
---   task            whose reward, and termination, are known of imagined steps too: functions of (s, a, next, t), or
---                   of terminations the names of events that the model learns. Where the environment itself ends
---                   episodes the task needs that termination, too: imagined ones do not end otherwise
---   model           none: an orrery.model, or a table of its options
---   fit             {}: options of model:fit; or a function(steps) that gives them
---   refit_every     250 steps: how often the model is fitted and new steps are imagined
---   k               1: steps of a branch; or { from = 1, to = 15, over = { 20000, 150000 } }: it grows in between,
---                   and is whole at each time
---   rollouts        20000 branches, after each fit
---   retain          1: of how many fits the imagined steps are kept
---   real            0.05: share of real steps in a batch
---   updates         20: of soft actor-critic, for every step (or every train_every)
--- Diagnostics: those of sac; model_error, the validation error of the model's fits.
return function(options)
  local self = sac.Sac.new(Mbpo, options, {
    model = "optional table", fit = "any", refit_every = 250, k = "any", rollouts = 20000, retain = 1, real = 0.05,
    updates = 20,
  })
  local o = self.options
  o.fit, o.k = o.fit or {}, o.k or 1
  check_options(self, o)
  self.model = make_model(self, o.model)
  self.real = math.floor(o.batch * o.real + 0.5)
  local given = self.tasks[1].given
  self.says, self.learned_ends = judge.new(given, self.observation_space, self.action_space, "mbpo"), {}
  for _, ending in ipairs(task.read(given, self.model.event_names).terminations) do
    if type(ending) == "string" then table.insert(self.learned_ends, ending) end
  end
  self.rounds, self.refit_at = {}, 0
  return self
end
