--- reward_net.lua - one net for the rewards of many tasks, r(s, a, z): tuples of all tasks are pooled, and every
--- tuple is labelled by every task whose reward can be computed, whichever task it was collected for.
---
---   minimise the mean over tasks i of (r(s, a, z_i) - r_i)^2; where rewards are one of two values, of the logistic
---   loss
local check = require "orrery.check"
local calibration = require "orrery.calibration"
local Head = require "orrery.reward_head"
local judge = require "orrery.judge"
local meaning = require "orrery.meaning"
local orrery = require "orrery"
local agent_tasks = require "orrery.agent_tasks"
local task_module = require "orrery.task"
local trace = require "orrery.trace"

local Net = {}
Net.__index = Net

-- The tasks, each with its identifier; of a single one without a reward, labels come with the data.
local function read_tasks(self, given)
  local known = {}
  for i, task in ipairs(given or {}) do
    if type(task) ~= "table" then check.fail("reward.net options: task %d must be a table { name =, reward =, z = }", i) end
    task_module.check(task, "reward.net options")
    if task.reward == nil and #given > 1 then
      check.fail("reward.net options: %s has no reward, a function(s, a, next, t), and of several tasks each needs "
        .. "one; rewards that were recorded with identifiers are for a net without tasks, as in z = %d",
        task.name and ("the task '%s'"):format(task.name) or ("task %d"):format(i), self.head.parts.z)
    end
    known[i] = { name = task.name, z = task.z, reward = task.reward or function() return 0 end }
  end
  local list = agent_tasks.read({ name = "reward.net" }, { tasks = given and known })
  for i, one in ipairs(list) do
    one.reward = given[i].reward
    one.judge = one.reward and judge.new({ reward = one.reward, inputs = given[i].inputs, name = one.name },
      self.head.observation, self.head.action, "reward.net")
  end
  return list
end

local function size_of_z(o)
  if not o.tasks then return o.z end
  local first = o.tasks[1]
  if first and first.z ~= nil then return orrery.tensor(first.z):reshape(-1):size(1) end
  return #o.tasks > 1 and #o.tasks or 0
end

--- orrery.reward.net(options): a net for the rewards of one task or many.
---   env         whose observations and actions it sees; or the spaces `observation` and `action`
---   tasks       { { name =, reward =, z = }, ... }: z is a task's identifier, one-hot where none has one; each labels
---               every transition by its reward, a function, which a single task may lack: it has what was recorded
---   z           0: without tasks: how many numbers an identifier has, which is recorded with every reward; 0: there
---               is one reward
---   next        false; true: it sees the state after the step too, which a model has to predict
---   fields      none: all; a list of the observation's fields that it may see
---   binary      false; { low, high }: the reward is one of two numbers, and what is learned is how likely it is the
---               higher one
---   members     1: nets, of which the mean counts
---   hidden      { 128, 128 }; activation "silu"; seed 0: of first weights and order
local function new(options)
  local o = check.options("reward.net options", options, {
    env = "any", observation = "any", action = "any", tasks = "optional table", z = 0, next = false,
    fields = "optional table", binary = "any", members = 1, hidden = { 128, 128 }, activation = "silu", seed = 0,
  })
  local self = setmetatable({ options = o, fits = 0 }, Net)
  self.head = Head.new("reward.net", o, { s = true, a = true, next = o.next, z = size_of_z(o) })
  self.tasks = read_tasks(self, o.tasks)
  self.middle, self.reach = orrery.full(0), orrery.full(1) -- of the rewards
  if o.binary then
    local low, high = table.unpack(type(o.binary) == "table" and o.binary or {})
    if type(low) ~= "number" or type(high) ~= "number" or low >= high then
      check.fail("reward.net options: binary must be { low, high }, two numbers, as in { -1, 0 }")
    end
    self.middle, self.reach = orrery.full(low), orrery.full(high - low)
  end
  return self
end

-- ---- in traced functions

--- reward_net:value(s, a, next, z): in a traced function, or of plain numbers: the reward. s, a, next: records or flat
--- vectors; next is not read unless the net was made with it.
function Net:value(s, a, next, z)
  local x = self.head:input(s, a, next, z)
  local y = self.head:over_nets(x, self.options.binary and orrery.sigmoid or function(r) return r end)
  if trace.is_symbol(y) then return self.middle + self.reach * y end
  return self.middle:item() + self.reach:item() * y
end

-- The identifier of a task by place or name; an identifier itself as a tensor.
local function identifier(self, which)
  local size = self.head.parts.z
  if size == 0 then return nil end
  if orrery.is_tensor(which) or type(which) == "table" then
    local z = orrery.tensor(which):reshape(-1)
    if z:size(1) ~= size then check.fail("reward.net: z has %d numbers; those of its tasks have %d", z:size(1), size) end
    return z
  end
  if which == nil then check.fail("reward.net: which task? A place, a name, or an identifier of %d numbers", size) end
  return self.tasks[agent_tasks.find({ name = "reward.net", tasks = self.tasks }, which)].z
end

--- reward_net:of(which): the reward of a task, by its place, name or an identifier z, as a function(s, a, next, t).
function Net:of(which)
  self.head:need_fitted()
  local z = identifier(self, which)
  return function(s, a, next) return self:value(s, a, next, z) end
end

--- reward_net:task(which): a task with that reward, { name, reward, z }. Without `which`, where there are identifiers,
--- its z is an input of the task: one program for all of them, swapped by mpc:set_input("z", z).
function Net:task(which)
  self.head:need_fitted()
  if which == nil and self.head.parts.z > 0 then
    local z = self.tasks[1] and self.tasks[1].z or orrery.zeros(self.head.parts.z)
    return { name = "learned reward", inputs = { z = z:copy() },
             reward = function(s, a, next, _, given) return self:value(s, a, next, given.z) end }
  end
  local z = identifier(self, which)
  local name = type(which) == "number" and self.tasks[which].name or type(which) == "string" and which or "learned reward"
  return { name = name, reward = self:of(which), z = z }
end

-- ---- labels

-- Every label that the data give: { x (rows), z (of all identifiers), row, which, y (of every label) }.
local function labelled(self, source)
  local data = Head.transitions(source)
  local x, n = self.head:rows(data)
  local rows, all = orrery.arange(1, n):to "int", { row = {}, which = {}, y = {} }
  local function add(which, y)
    table.insert(all.row, rows)
    table.insert(all.which, which)
    table.insert(all.y, y)
  end
  local identifiers, unknown = {}, #self.tasks == 0
  for i, task in ipairs(self.tasks) do
    identifiers[i] = task.z
    unknown = unknown or not task.judge
    if task.judge then
      local y = task.judge(data.observation, data.action, data.next_observation or data.observation,
        data.time and data.time:to "real" - 1 or orrery.zeros(n)).reward
      add(orrery.full(i, { n }):to "int", y:reshape(n):copy())
    end
  end
  local size, count = self.head.parts.z, #identifiers
  local z = count > 0 and size > 0 and orrery.stack(identifiers) or nil
  if unknown and data.reward and (size == 0 or data.z) then -- what was recorded, for the task it was recorded for
    if size > 0 then
      z = z and orrery.concat({ z, data.z:reshape(n, size) }, 1) or data.z:reshape(n, size)
      add(orrery.arange(count + 1, count + n):to "int", data.reward:reshape(n))
    else add(rows, data.reward:reshape(n)) end
  end
  if #all.y == 0 then
    check.fail("reward.net: nothing is labelled: give tasks whose reward is a function, or data with 'reward'%s",
      size > 0 and " and 'z'" or "")
  end
  local y = orrery.concat(all.y, 1)
  if not (y:all_finite() and x:all_finite()) then
    check.fail("reward.net: a reward, or a number that it is to follow from, is not finite; look for a division by 0, or "
      .. "a root or logarithm of a negative number")
  end
  return { x = x, z = z, row = orrery.concat(all.row, 1), which = orrery.concat(all.which, 1), y = y, rows = n }
end

-- The nets' inputs for the labels that are numbered in `index`.
local function inputs_of(self, labels, index)
  local x = labels.normal:gather(labels.row:gather(index))
  if self.head.parts.z == 0 then return x end
  return orrery.concat({ x, labels.z:gather(labels.which:gather(index)) }, 2)
end

-- Labels as the nets are to give them.
local function targets_of(self, y)
  local target = (y - self.middle:item()) / self.reach:item()
  if self.options.binary and orrery.min(orrery.abs(target), orrery.abs(target - 1)):max() > 1e-4 then
    check.fail("reward.net: with binary = { %g, %g } every reward must be one of the two", self.middle:item(),
      self.middle:item() + self.reach:item())
  end
  return target
end

-- ---- training

local function check_fit(options)
  local o = check.options("fit options", options, { updates = 4000, batch = 256, validation = 0.1, every = 200,
    patience = 10, learning_rate = 1e-3, weight_decay = 1e-5 })
  for _, name in ipairs { "updates", "batch", "every", "patience" } do
    if o[name] < 1 then check.fail("fit options: %s must be 1 or more, not %g", name, o[name]) end
  end
  if not (o.validation >= 0 and o.validation < 1) then
    check.fail("fit options: validation must be a share from 0 to below 1, not %g", o.validation)
  end
  return o
end

-- Numbers of labels to train on, and those of which the row is held out.
local function split(labels, share, stream)
  local held, train, validation = {}, {}, {}
  local order = stream:orders(1, labels.rows):reshape(-1)
  for i = 1, math.floor(share * labels.rows) do held[order[i]] = true end
  for i, row in ipairs(labels.row:totable()) do
    local list = held[row] and validation or train
    list[#list + 1] = i
  end
  return orrery.tensor(train, "int"), #validation > 0 and orrery.tensor(validation, "int") or nil
end

local function loss_of(self, x, y)
  local loss = self.options.binary and orrery.nn.binary_cross_entropy or orrery.nn.mse
  local sum = 0
  for _, net in ipairs(self.head.nets) do sum = sum + loss(net(x), y) end
  return sum / #self.head.nets
end

local function new_validation(self, labels, held, y)
  local index = held:size(1) > 20000 and held:slice(1, 20000):copy() or held
  local x, target = inputs_of(self, labels, index), y:gather(index):reshape(-1, 1)
  local program = trace.program {
    name = "validation", inputs = { { name = "x", shape = { x:size(2) } }, { name = "y", shape = { 1 } } },
    fn = function(row, label) return { loss = loss_of(self, row, label):row_mean "uniform" } end,
  }
  return function() return program:run({ x = x, y = target }, { rows = x:size(1) }).loss:item() end
end

--- reward_net:fit(source, options): learns from where it stands. source: a replay, or a table of tensors observation,
--- action, next_observation, and reward and z where labels were recorded. Every transition is labelled by every task.
---   updates        4000 at most, of `batch` (256) labels each, drawn evenly from all, with replacement
---   validation     0.1: share of the transitions held out; 0: none, and the last parameters stay
---   every          200 updates between looks at these; it ends after `patience` (10) of them without a better one
---   learning_rate  1e-3; weight_decay 1e-5
--- Answers { train, validation (losses by look), best, labels (how many there were) }.
function Net:fit(source, options)
  local o = check_fit(options)
  local labels, head = labelled(self, source), self.head
  local stream = orrery.stream(self.options.seed, self.fits + 1)
  self.fits = self.fits + 1
  head:normalise(labels.x)
  labels.normal = head:normalised(labels.x)
  if not self.options.binary then
    self.middle:fill(labels.y:mean())
    self.reach:fill(math.max(labels.y:std(), 1e-6))
  end
  local y = targets_of(self, labels.y)
  local train, held = split(labels, o.validation, stream)
  local update = orrery.update { nets = head.nets, seed = self.options.seed,
    optimiser = orrery.adam { learning_rate = o.learning_rate, weight_decay = o.weight_decay, decay_vectors = false },
    loss = function(sample) return loss_of(self, sample.x, sample.y) end }
  local history = head:train(o, function()
    local index = train:gather(stream:integers(1, train:size(1), o.batch))
    return (update:step { x = inputs_of(self, labels, index), y = y:gather(index):reshape(-1, 1) })
  end, held and new_validation(self, labels, held, y))
  history.labels = labels.y:size(1)
  return history
end

-- ---- how good it is

--- reward_net:predict(data, which): rewards of transitions, as a tensor [n]: data as for reward_net:fit; which: as for
--- reward_net:of.
function Net:predict(data, which)
  self.head:need_fitted()
  data = Head.transitions(data)
  local x, n = self.head:rows(data)
  x = self.head:normalised(x)
  local z = identifier(self, which)
  if z then x = orrery.concat({ x, z:insert_axis(1):broadcast(n, z:size(1)):copy() }, 2) end
  self.predictor = self.predictor or trace.program {
    name = "reward", inputs = { { name = "x", shape = { x:size(2) } } },
    fn = function(row)
      local y = self.head:over_nets(row, self.options.binary and orrery.sigmoid or function(r) return r end)
      return { reward = self.middle + self.reach * y }
    end,
  }
  return self.predictor:run({ x = x }, { rows = n }).reward:copy()
end

local function check_bins(bins)
  if math.type(bins) ~= "integer" or bins < 1 then check.fail("calibrate options: bins must be 1 or more") end
end

--- reward_net:calibrate(data, { bins = 10 }): whether rewards are what the net says, on transitions it was not fitted
--- to. By the names of tasks whose reward is a function (without tasks, "reward", against the recorded ones), { correlation,
--- rmse, deviation (of the true reward), calibration, bins { low, high, count, predicted, frequency (the mean of the
--- true reward) } }; of a binary net, as in model:audit_events, how likely the higher reward is. print() shows a
--- table, :plot() a picture.
function Net:calibrate(source, options)
  local o = check.options("calibrate options", options, { bins = 10 })
  check_bins(o.bins)
  local data, names, found = Head.transitions(source), {}, {}
  local function add(name, which, y)
    local p, of = self:predict(data, which), calibration.of_numbers
    if self.options.binary then
      of, y, p = calibration.of_probabilities, targets_of(self, y):round(), (p - self.middle:item()) / self.reach:item()
    end
    names[#names + 1], found[name] = name, of(p:totable(), y:totable(), o.bins)
  end
  local n = data.action:size(1)
  for i, task in ipairs(self.tasks) do
    if task.judge then
      add(task.name, i, task.judge(data.observation, data.action, data.next_observation, orrery.zeros(n)).reward
        :reshape(n):copy())
    end
  end
  if #names == 0 then
    if self.head.parts.z > 0 or not data.reward then
      check.fail("calibrate: a task whose reward is a function is needed, or a net without identifiers and data with "
        .. "'reward'")
    end
    add("reward", nil, data.reward:reshape(n))
  end
  return calibration.report(names, found, { title = "Are rewards what the net says?",
    x = self.options.binary and "predicted probability, %" or "predicted reward",
    y = self.options.binary and "happened, %" or "true reward, mean" })
end

-- What a file has besides the nets, and what that stands for.
local function kept(self)
  local means = { rewards = { self.options.binary and "one of two" or "any number" } }
  return { middle = self.middle, reach = self.reach }, meaning.add_tasks(means, self.tasks, self.head.parts.z)
end

--- reward_net:save(path), reward_net:load(path): nets and normaliser as safetensors, for a net of the same options: the
--- same fields, and the same tasks in the same order.
function Net:save(path)
  self.head:save(path, kept(self))
  return self
end
function Net:load(path)
  self.head:load(path, kept(self))
  return self
end

function Net:__tostring()
  return ("reward net: %d tasks, %d nets"):format(#self.tasks, #self.head.nets)
end

return new
