--- reward_head.lua - what learned rewards share: which numbers of (s, a, next) and z they see, brought to mean 0 and
--- deviation 1; their nets; training; files.
local check = require "orrery.check"
local meaning = require "orrery.meaning"
local orrery = require "orrery"
local trace = require "orrery.trace"
local training = require "orrery.model_training"

local Head = {}
Head.__index = Head

local function space_of(who, o, name)
  local space = o[name] or o.env and o.env[name .. "_space"]
  if not space then
    check.fail("%s options: an environment is needed, as in { env = env }, or the space '%s'", who, name)
  end
  return space
end

-- 1 for each number of the space that is seen, 0 for the others.
local function shown(who, space, fields)
  local seen = orrery.zeros(space.size)
  if not fields then return orrery.ones(space.size) end
  local by_name = trace.fields(space).by_name
  for _, name in ipairs(fields) do
    local field = by_name[name]
    if not field then check.fail("%s", check.unknown(who .. " options: fields", name, space.names)) end
    for i = 1, field.count do seen[field.offset + i] = 1 end
  end
  return seen
end

--- head.new(who, o, parts): library code: a head with the options env or observation and action, fields, hidden,
--- activation, members, seed. parts: which of s, a and next it sees, and the size of z: { s = true, z = 8 }.
function Head.new(who, o, parts)
  local self = setmetatable({ who = who, parts = parts, observation = space_of(who, o, "observation"),
    action = space_of(who, o, "action"), nets = {}, fields = o.fields, activation = o.activation }, Head)
  if math.type(o.members) ~= "integer" or o.members < 1 then
    check.fail("%s options: members must be a whole number, 1 or more, not %s", who, o.members)
  end
  local seen = {}
  for _, part in ipairs { "s", "a", "next" } do
    local space = part == "a" and self.action or self.observation
    if parts[part] then seen[#seen + 1] = part == "a" and orrery.ones(space.size) or shown(who, space, o.fields) end
  end
  self.seen = orrery.concat(seen)
  self.base = self.seen:size(1) -- numbers without z
  self.mean, self.scale = orrery.zeros(self.base), self.seen:copy()
  for m = 1, o.members do
    self.nets[m] = orrery.nn.mlp { inputs = self.base + parts.z, outputs = 1, hidden = o.hidden,
      activation = o.activation, seed = o.seed * 1000 + m }
  end
  return self
end

-- ---- in traced functions

-- A symbol, a tensor, or the numbers of a record, also of one that an environment gave.
local function flat(x, space)
  if trace.is_symbol(x) or orrery.is_tensor(x) then return x end
  if trace.is_record(x) then
    x = trace.vector(x)
    return type(x) == "table" and orrery.tensor(x) or x
  end
  return space and space:flatten(x) or orrery.tensor(x)
end

--- head:input(s, a, next, z): what the nets take: records or flat vectors as one vector. Numbers that are not to be
--- seen are 0 there.
function Head:input(s, a, next, z)
  local list, parts = {}, self.parts
  if parts.s then list[#list + 1] = flat(s, self.observation) end
  if parts.a then list[#list + 1] = flat(a, self.action) end
  if parts.next then list[#list + 1] = flat(next, self.observation) end
  local x = ((#list > 1 and orrery.concat(list) or list[1]) - self.mean) * self.scale
  return parts.z > 0 and orrery.concat { x, flat(z) } or x
end

--- head:over_nets(x, f): the mean over nets of f(what the net gives for x).
function Head:over_nets(x, f)
  local sum
  for _, net in ipairs(self.nets) do
    local y = f(net(x)[1])
    sum = sum and sum + y or y
  end
  return #self.nets > 1 and sum / #self.nets or sum
end

-- ---- on tensors

--- head:rows(data): of transitions { observation, action, next_observation }, or a replay's: rows of the numbers
--- that nets see, without z, not yet normalised; and how many.
function Head:rows(data)
  local list, parts = {}, self.parts
  local sources = { s = "observation", a = "action", next = "next_observation" }
  for _, part in ipairs { "s", "a", "next" } do
    local x = data[sources[part]]
    if parts[part] then
      local size = (part == "a" and self.action or self.observation).size
      if not orrery.is_tensor(x) or x:axes() ~= 2 or x:size(2) ~= size then
        check.fail("%s: '%s' must be rows of %d numbers, not %s", self.who, sources[part], size,
          orrery.is_tensor(x) and table.concat({ x:shape() }, " x ") or x == nil and "missing" or type(x))
      end
      if list[1] and x:size(1) ~= list[1]:size(1) then
        check.fail("%s: %d rows of '%s', %d before", self.who, x:size(1), sources[part], list[1]:size(1))
      end
      list[#list + 1] = x
    end
  end
  local x = #list > 1 and orrery.concat(list, 2) or list[1]
  if x:size(1) == 0 then check.fail("%s: there are no transitions to learn from", self.who) end
  return x, x:size(1)
end

--- head.transitions(source): a replay's, or the table itself.
function Head.transitions(source)
  if type(source) == "table" then return source end
  if source == nil then check.fail("learned rewards: a replay is needed, or a table of tensors, not nothing") end
  return source:transitions()
end

--- head:normalise(x): measures mean and deviation of rows; what never changes is not seen.
function Head:normalise(x)
  local deviation = x:std(1)
  self.mean:assign(x:mean(1))
  self.scale:assign(self.seen * orrery.where(orrery.less(1e-6, deviation), 1 / orrery.max(deviation, 1e-6), 0))
end

--- head:normalised(x): rows as the nets take them.
function Head:normalised(x) return (x - self.mean) * self.scale end

--- head:train(o, step, validate): o.updates calls of step(i), the training loss; every o.every of them validate()
--- gives an error, at whose best the nets are kept; it ends early after o.patience of them without a better one.
--- Answers { train, validation, best }. Where a step fails, the nets are as they were.
function Head:train(o, step, validate)
  if orrery.planning() > 0 then
    check.fail("%s: an mpc plans in the background, and may read what this changes: pause it first, as in mpc:pause()",
      self.who)
  end
  local parameters = {}
  for _, net in ipairs(self.nets) do
    for _, tensor in ipairs((net:parameters())) do parameters[#parameters + 1] = tensor end
  end
  local keeping = training.keeper(parameters, 1)
  local best, watch = training.watcher(1, keeping.keep, o.patience, 0)
  local history, sum = { train = {}, validation = {}, best = best }, 0
  local ok, problem = pcall(function()
    for i = 1, o.updates do
      sum = sum + step(i)
      if i % o.every == 0 or i == o.updates then
        local n = #history.train + 1
        history.train[n], sum = sum / ((i - 1) % o.every + 1), 0
        history.validation[n] = validate and validate()
        if validate and watch { history.validation[n] } then break end
      end
    end
  end)
  if validate or not ok then keeping.restore() end
  if not ok then error(problem, 0) end
  self.fitted, history.best = true, best[1]
  return history
end

--- head:need_fitted(): refuses to be used before anything was learned.
function Head:need_fitted()
  if not self.fitted then
    check.fail("%s: it has learned nothing yet: call its method fit, or load a file", self.who)
  end
end

-- ---- files

local function tensors_of(self, more)
  local names, tensors = { "mean", "scale" }, { self.mean, self.scale }
  for m, net in ipairs(self.nets) do
    local parameters, parameter_names = net:parameters()
    for i, tensor in ipairs(parameters) do
      names[#names + 1], tensors[#tensors + 1] = ("net %d: %s"):format(m, parameter_names[i]), tensor
    end
  end
  for _, name in ipairs(check.sorted_keys(more or {})) do names[#names + 1], tensors[#tensors + 1] = name, more[name] end
  return names, tensors
end

-- What the numbers stand for: meaning.lua. more: lists of words of the owner's own.
local function means_of(self, more)
  local means = { ["fields seen"] = meaning.fields(self.observation, self.fields),
    observation = meaning.fields(self.observation), action = self.parts.a and meaning.fields(self.action) or {},
    activation = { self.activation } }
  for name, list in pairs(more or {}) do means[name] = list end
  return means
end

--- head:save(path, more, means): nets and normaliser, and tensors by name, as safetensors, whole or not at all; and
--- what they stand for, of which `means` may hold more.
function Head:save(path, more, means)
  self:need_fitted()
  local names, tensors = tensors_of(self, more)
  meaning.save(self.who, path, names, tensors, means_of(self, means))
end

--- head:load(path, more, means): what head:save wrote; a file that does not fit is refused as a whole.
function Head:load(path, more, means)
  if orrery.planning() > 0 then check.fail("%s: load: an mpc plans in the background; pause it first", self.who) end
  local names, tensors = tensors_of(self, more)
  meaning.load(self.who, path, names, tensors, means_of(self, means))
  self.fitted = true
end

return Head
