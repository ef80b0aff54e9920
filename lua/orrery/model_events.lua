--- model_events.lua - events that a model learns, such as a fall: for each the probability that it happens in
--- a step, given state and action.
---
--- Events have a net of their own, for each member: a head on the dynamics' net would share its early stopping
--- and the weight of its loss, and the net would be evaluated with all its layers also where only the event is
--- asked for. It sees s and a, not the next state: at an end the model does not know where the state goes. The
--- loss is the binary cross-entropy without weights, so that probabilities are frequencies, also of rare
--- events.
local orrery = require "orrery"
local check = require "orrery.check"
local trace = require "orrery.trace"
local training = require "orrery.model_training"

local Events = {}
Events.__index = Events

local function read_event(name, given)
  if type(given) == "function" or trace.is_interpreted(given) then return { label = given, ends = false } end
  local o = check.options(("event '%s'"):format(name), given,
    { label = "any", terminated = false, ends = "optional boolean" })
  if (o.label ~= nil) == o.terminated then
    check.fail("event '%s': give a function, { label = function } or { terminated = true }", name)
  end
  if o.label and type(o.label) ~= "function" and not trace.is_interpreted(o.label) then
    check.fail("event '%s': label must be a function of (s, a, next), not a %s", name, type(o.label))
  end
  if o.ends == nil then o.ends = o.terminated end
  return o
end

-- ---- labels

-- The columns of x by field, as rowwise takes records.
local function columns(space, x)
  local record, rows = {}, x:size(1)
  for _, field in ipairs(trace.fields(space)) do
    record[field.name] = x:slice(field.offset + 1, field.offset + field.count, 2):copy():reshape(rows,
      table.unpack(field.shape))
  end
  return record
end

local function label_of(self, name, event, data)
  local rows, model = data.observation:size(1), self.model
  if event.terminated then
    if not data.terminated then check.fail("fit: event '%s' needs 'terminated' in the data", name) end
    return data.terminated:to("real"):reshape(rows)
  end
  if trace.is_interpreted(event.label) then
    local f = orrery.rowwise(event.label, { name = name })
    return f(columns(model.observation, data.observation), columns(model.action, data.action),
      columns(model.observation, data.next_observation)):reshape(rows)
  end
  self.compiled[name] = self.compiled[name] or trace.build {
    fn = event.label, name = ("event '%s'"):format(name),
    inputs = { { name = "s", space = model.observation }, { name = "a", space = model.action },
               { name = "next", space = model.observation } },
  }
  local label = self.compiled[name]:run({ s = data.observation, a = data.action, next = data.next_observation },
    { rows = rows })
  if label == nil then check.fail("event '%s': the function returned nothing", name) end
  label = orrery.tensor(label)
  return (label:axes() == 0 and label:broadcast(rows) or label:reshape(rows)):copy()
end

--- events:labels(data): 1 where an event happened: rows x events, from transitions.
function Events:labels(data)
  local list = {}
  for i, name in ipairs(self.names) do list[i] = label_of(self, name, self.list[name], data) end
  for i, label in ipairs(list) do
    for _, value in ipairs(label:totable()) do
      if value ~= 0 and value ~= 1 then
        check.fail("event '%s': the label must be true or false, or 1 or 0, not %g", self.names[i], value)
      end
    end
  end
  return orrery.stack(list, 2)
end

--- events:notice_absent(labels): warns, once, of each event that happened in no fit so far.
function Events:notice_absent(labels)
  for i, name in ipairs(self.names) do
    local happened = labels:slice(i, i, 2):max() > 0
    if not happened and not self.known[name] then
      trace.notice(("event '%s' never happened in the %d transitions that the model is fitted to: plans will take it "
        .. "for next to impossible; collect data in which it happens, or give a function in its place")
        :format(name, labels:size(1)))
    end
    self.known[name] = true
  end
end

--- events:ends(labels): a list of whether each row ended its episode by an event with `ends`.
function Events:ends(labels)
  local ended = {}
  for i, name in ipairs(self.names) do
    if self.list[name].ends then
      for row, label in ipairs(labels:slice(i, i, 2):copy():reshape(-1):totable()) do
        ended[row] = ended[row] or label == 1
      end
    end
  end
  return ended
end

-- ---- in traced functions

-- The net's log-odds for a state and action; `of` makes symbols of its parameters, nil: each row's member's.
local function log_odds(self, x, of)
  local parameters
  if of then
    parameters = self.net:parameters()
    for i, tensor in ipairs(parameters) do parameters[i] = of(tensor) end
  end
  return self.net((x - self.model.input_mean) * self.model.input_scale, parameters)
end

--- events:probabilities(x, mean): by name, for x, a state and an action in one vector. Each row is predicted
--- by its member; with `mean` it is the mean over elites.
function Events:probabilities(x, mean)
  local p, model = nil, self.model
  if not mean or model.members == 1 then
    p = orrery.sigmoid(log_odds(self, x))
  else
    for _, m in ipairs(model.elites) do
      local function of(tensor) return trace.parameter(tensor, "uniform")[m] end
      local of_member = orrery.sigmoid(log_odds(self, x, of))
      p = p and p + of_member or of_member
    end
    p = p / #model.elites
  end
  local by_name = {}
  for i, name in ipairs(self.names) do by_name[name] = p[i] end
  return by_name
end

-- ---- fitting

local function new_update(self, o)
  return orrery.update {
    nets = { self.net },
    optimiser = orrery.adam { learning_rate = o.learning_rate, clip = o.clip, weight_decay = o.weight_decay,
                              decay_vectors = false },
    loss = function(sample) return orrery.nn.binary_cross_entropy(log_odds(self, sample.x), sample.y) end,
  }
end

local function evaluator(self, x, y)
  local level = self.model.members > 1 and "member" or "uniform"
  self.validation = self.validation or trace.program {
    name = "validation of events",
    inputs = { { name = "x", level = "row", shape = { x:size(2) } },
               { name = "y", level = "row", shape = { y:size(2) } } },
    fn = function(row, label)
      return { error = orrery.nn.binary_cross_entropy(log_odds(self, row), label):row_mean(level) }
    end,
  }
  return function()
    local errors = self.model:run_all(self.validation, { x = x, y = y }, x:size(1)).error:totable()
    return type(errors) == "table" and errors or { errors }
  end
end

--- events:fit(x, labels, train, held, o): with the options of model:fit, to the rows numbered in train; each
--- member is kept where its cross-entropy on the rows held out is at its best. Answers train and validation
--- (by epoch, then member) and best.
function Events:fit(x, labels, train, held, o)
  local model = self.model
  local stream = orrery.stream(o.seed or model.options.seed, model.fits + (1 << 20))
  local batch = { x = x:gather(train), y = labels:gather(train) }
  local keeping = training.keeper(self.net:parameters(), model.members)
  local evaluate = held and evaluator(self, x:gather(held), labels:gather(held))
  local best, watch = training.watcher(model.members, keeping.keep, o.patience, o.improvement)
  local rows, update = train:size(1), new_update(self, o)
  local index = o.bootstrap and model.members > 1 and stream:draws(model.members, rows)
    or stream:orders(model.members, rows)
  local history = { train = {}, validation = {}, best = best }
  local ok, problem = pcall(function()
    for i = 1, o.epochs do
      history.train[i] = training.run_epoch(update, batch, index, o, stream)
      history.validation[i] = evaluate and evaluate()
      if evaluate and watch(history.validation[i]) then break end
    end
  end)
  if evaluate or not ok then keeping.restore() end
  if not ok then error(problem, 0) end
  return history
end

--- events(model, options): library code: the events of a model, named in options.events.
return function(model, o)
  local names = check.sorted_keys(o.events)
  local self = setmetatable({ model = model, names = names, list = {}, compiled = {}, known = {} }, Events)
  if #self.names == 0 then
    check.fail("model options: events have names, as in { fallen = function(s, a, next) ... end }")
  end
  for _, name in ipairs(self.names) do self.list[name] = read_event(name, o.events[name]) end
  self.net = orrery.nn.mlp {
    inputs = model.states + model.actions, outputs = #self.names, hidden = o.events_hidden, activation = o.activation,
    members = o.members, init = o.init, seed = o.seed + 1,
  }
  return self
end
