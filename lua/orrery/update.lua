--- update.lua - a training step as one compiled program: loss of every row, its mean, gradients,
--- clipping, optimiser. No Lua runs inside.
---
---   local update = orrery.update {
---     loss = function(sample) return orrery.nn.mse(net(sample.x), sample.y) end,
---     nets = { net }, optimiser = orrery.adam { learning_rate = 1e-3 },
---   }
---   for i = 1, 1000 do
---     local loss = update:step({ x = inputs, y = targets }, index)   -- the rows in `index`
---   end
local orrery = require "orrery"
local check = require "orrery.check"
local trace = require "orrery.trace"

local PATIENCE = 10    -- updates skipped in a row before training is stopped
local SNAPSHOT = 100   -- updates between copies of the parameters to go back to

local Update = {}
Update.__index = Update

-- Every parameter, each tensor once, with its level.
local function gather_parameters(o)
  local tensors, levels, members = {}, {}, 1
  local function add(list, level)
    for _, tensor in ipairs(list) do
      tensors[#tensors + 1], levels[#levels + 1] = tensor, level
    end
  end
  if not o.nets[1] and next(o.nets) then check.fail("update options: nets must be a list, as in { net }") end
  for _, net in ipairs(o.nets) do
    add(net:parameters(), net:level())
    members = math.max(members, net:members())
  end
  add(o.parameters, "uniform")
  add(o.member_parameters, "member")
  for _, tensor in ipairs(o.member_parameters) do members = math.max(members, tensor:size(1)) end
  if #tensors == 0 then
    check.fail("update options: no parameters; give nets, parameters or both, as in nets = { net }")
  end
  return tensors, levels, members
end

-- Pairs of parameters, those that follow and those that lead: a list of { tensor, leader, level, tau }.
local function gather_followers(list)
  local followers = {}
  for i, entry in ipairs(list) do
    local target, net, tau = table.unpack(entry)
    if type(target) ~= "userdata" or type(net) ~= "userdata" or type(tau) ~= "number" or tau < 0 or tau > 1 then
      check.fail("update options: entry %d of follow must be { target, net, tau }: two nets, and a share 0 to 1", i)
    end
    local own, names = target:parameters()
    local others = net:parameters()
    if #own ~= #others then
      check.fail("update options: entry %d of follow: the target has %d parameters, the net %d", i, #own, #others)
    end
    for k, tensor in ipairs(own) do
      local a, b = table.concat({ tensor:shape() }, " x "), table.concat({ others[k]:shape() }, " x ")
      if a ~= b then
        check.fail("update options: entry %d of follow: %s is %s in the target, %s in the net", i, names[k], a, b)
      end
      followers[#followers + 1] = { tensor = tensor, leader = others[k], level = net:level(), tau = tau }
    end
  end
  return followers
end

--- orrery.update(options): training steps for a loss. The program is made by the first step.
---   loss        function(sample, own) -> number [, table of named numbers]; sample.x is one row of
---               batch.x. Both are averaged over rows, in an ensemble over each member's own rows;
---               own holds the row's member's part of each of the member_parameters
---   nets        a list of nets whose parameters are trained
---   parameters  a list of further tensors; member_parameters: with a member axis in front
---   optimiser   orrery.adam { ... }, orrery.adamw { ... } or orrery.sgd { ... }; none: orrery.adam {},
---               with a learning rate of 1e-3
---   follow      { { target, net, tau }, ... }: after the update every parameter of the net `target` goes
---               the share tau of the way to that of `net`, inside the program
---   seed        of draws inside the loss
---   per_row     names of numbers that the loss returns which are not averaged: step gives one for each row
---   verify      true; false is for losses of library code, written for symbols alone: they are called as they are
---               and not compared with plain Lua
local function new(options)
  local o = check.options("update options", options, {
    loss = "optional function", nets = {}, parameters = {}, member_parameters = {},
    follow = {}, optimiser = "any", seed = 0, verify = true, per_row = {},
  })
  if not o.loss then
    check.fail("update options: loss is missing, a function(sample) that returns a number")
  end
  local tensors, levels, members = gather_parameters(o)
  local self = setmetatable({
    loss = o.loss, members = members, seed = o.seed, verify = o.verify, per_row = {}, steps = 0, builds = {}, parameters = tensors,
    member_parameters = o.member_parameters, followers = gather_followers(o.follow),
    optimiser = orrery.optimiser(o.optimiser or orrery.adam {}, tensors, levels),
  }, Update)
  for _, name in ipairs(o.per_row) do self.per_row[name] = true end
  self.changes = table.move(tensors, 1, #tensors, 1, {}) -- all tensors that a step writes
  for _, follower in ipairs(self.followers) do self.changes[#self.changes + 1] = follower.tensor end
  self:remember()
  return self
end

-- Keeps a copy of what a step changes, to go back to.
function Update:remember()
  self.good = self.good or {}
  for i, tensor in ipairs(self.changes) do
    if self.good[i] then self.good[i]:assign(tensor) else self.good[i] = tensor:copy() end
  end
end

--- update:roll_back(): puts the last good parameters back, and forgets the optimiser's moments.
function Update:roll_back()
  for i, tensor in ipairs(self.changes) do tensor:assign(self.good[i]) end
  self.optimiser:reset()
end

--- update:restart(): as a new one of the same options: counts nothing, and remembers no moments.
function Update:restart()
  self.steps, self.skipped = 0, nil
  self.optimiser:reset()
  self:remember()
  return self
end

local function mean_of(value, level, name)
  if type(value) == "number" then value = trace.number(value) end
  if not trace.is_symbol(value) then
    check.fail("update: the loss function must return a number%s, not %s", name,
      value == nil and "nothing" or "a " .. type(value))
  end
  if value:axes() > 0 then
    check.fail("update: the loss%s must be one number, without axes, not of shape [%s]; take the mean "
      .. "or the sum", name, table.concat({ value:shape() }, ", "))
  end
  return value:level() == "row" and value:row_mean(level) or value
end

-- A batch is a table of tensors.
local function check_batch(batch)
  if type(batch) ~= "table" or next(batch) == nil then
    check.fail("update:step: a batch is needed, a table of tensors as in { x = inputs, y = targets }, "
      .. "not %s", batch == nil and "nothing" or type(batch) == "table" and "an empty one"
      or "a " .. type(batch))
  end
  for name, tensor in pairs(batch) do
    if not orrery.is_tensor(tensor) or tensor:axes() < 1 then
      check.fail("update:step: '%s' of the batch must be a tensor whose first axis is rows, not a %s",
        tostring(name), orrery.is_tensor(tensor) and "single number" or type(tensor))
    end
  end
end

-- Compiles the update for samples of the shapes that the batch has.
local function build(self, batch)
  local names = check.sorted_keys(batch)
  local inputs = {}
  for i, name in ipairs(names) do
    local shape = { batch[name]:shape() }
    table.remove(shape, 1)
    inputs[i] = { name = name, level = "row", shape = shape }
  end
  self.names, self.indices = names, {}
  self.run_options = { members = self.members, seed = self.seed, index = self.indices }
  local level = self.members > 1 and "member" or "uniform"
  self.compiled = trace.program {
    name = "update", inputs = inputs,
    fn = function(...)
      local sample = trace.named {}
      for i, name in ipairs(names) do sample[name] = (select(i, ...)) end
      local members = {}
      for i, tensor in ipairs(self.member_parameters) do
        members[i] = trace.parameter(tensor, "member")
      end
      local loss, details
      if self.verify then -- the plain function has no notion of members to be compared with
        loss, details = trace.inline { fn = self.loss, arguments = { sample, members }, name = "loss",
          verify = self.members == 1 }
      else
        loss, details = self.loss(sample, members)
      end
      local outputs = { loss = mean_of(loss, level, "") }
      if type(details) == "table" then
        for _, name in ipairs(check.sorted_keys(details)) do
          outputs[name] = self.per_row[name] and details[name] or mean_of(details[name], level, "'s " .. name)
        end
      end
      if self.optimiser:minimise(outputs.loss) == 0 then
        check.fail("update: the loss does not depend on any of the %d trained parameters, so nothing "
          .. "would be learnt; compute it from what the nets give for the sample, without "
          .. "orrery.stop_gradient, and list in `nets` and `parameters` what it uses", #self.parameters)
      end
      for _, follower in ipairs(self.followers) do
        local old = trace.parameter(follower.tensor, follower.level)
        local leader = trace.updated(trace.parameter(follower.leader, follower.level))
        trace.update(old, follower.tau == 1 and leader or old + follower.tau * (leader - old))
      end
      return outputs
    end,
  }
end

-- Whether the program in hand is for the fields that the batch has: one that lacks `weight`, say, would pass over it.
local function is_for(self, batch)
  local count = 0
  for name in pairs(batch) do
    if not self.known[name] then return false end
    count = count + 1
  end
  return count == #self.names
end

-- The program for the batch's fields, which is kept while batches with others come between.
local function enter(self, batch)
  if self.compiled and type(batch) == "table" and is_for(self, batch) then return end
  check_batch(batch)
  local key = table.concat(check.sorted_keys(batch), " ")
  local kept = self.builds[key]
  if not kept then
    build(self, batch)
    kept = { names = self.names, known = {}, indices = self.indices, run_options = self.run_options,
             compiled = self.compiled }
    for _, name in ipairs(kept.names) do kept.known[name] = true end
    self.builds[key] = kept
  end
  for name, value in pairs(kept) do self[name] = value end
end

-- Rows of the run, and where they are read: everything for one net; for an ensemble without an
-- index every member gets all rows.
local function rows_of(self, batch, index)
  local first = batch[self.names[1]]
  if index then
    if type(index) == "table" then index = orrery.tensor(index, "int") end
    if not orrery.is_tensor(index) then
      check.fail("update:step: the index must be a list or a tensor of rows from 1, not a %s", type(index))
    end
    self.room = self.optimiser:from_zero(index, self.room)
    return self.room:size(1), self.room
  end
  local rows = first:size(1)
  if self.members == 1 then return rows end
  if self.tiled_rows ~= rows then
    self.tiled, self.tiled_rows = orrery.nn.repeated(rows, self.members), rows
  end
  return rows * self.members, self.tiled
end

-- Of a number, or a list of one for each member.
local function mean_loss(x)
  if x:axes() == 0 then return x:item() end
  local sum, members = 0, x:size(1)
  for m = 1, members do sum = sum + x[m] end
  return sum / members
end

--- update:step(batch, index): one update. batch: a table of tensors whose first axis is rows.
--- index: a list or an int tensor of the rows to take, counted from 1; for an ensemble as many for every
--- member, one member after the other (members x rows); without it all rows, for every member.
--- Returns the loss before the update (of an ensemble the mean) and a table of the loss and the
--- other numbers, by member. Where the gradient is not finite nothing is changed; after 10 such
--- updates in a row the last good parameters are put back and an error is raised.
function Update:step(batch, index)
  if getmetatable(self) ~= Update then
    check.fail("update:step is called with a colon, as in update:step(batch)")
  end
  enter(self, batch)
  local rows
  rows, index = rows_of(self, batch, index)
  local options, indices = self.run_options, self.indices
  options.rows, options.iteration = rows, self.steps
  for _, name in ipairs(self.names) do indices[name] = index end
  local outputs = self.compiled:run(batch, options)
  self.steps = self.steps + 1
  local skipped, in_a_row = self.optimiser:skipped()
  if in_a_row >= PATIENCE then
    self:roll_back()
    error(("update %d: the gradient was not finite %d times in a row; the parameters are back "
      .. "where they were before; try a lower learning rate, or clip = 1")
      :format(self.steps, in_a_row), 2)
  end
  self.skipped = skipped
  local loss = mean_loss(outputs.loss)
  local finite = loss == loss and math.abs(loss) < math.huge
  if in_a_row == 0 and finite and self.steps % SNAPSHOT == 0 then self:remember() end
  return loss, outputs
end

--- update:gradient_norm(): the length of all gradients together at the last step, before clipping; the mean over
--- an ensemble's members.
function Update:gradient_norm()
  local states, names = self.optimiser:states()
  local norms = {}
  for i, name in ipairs(names) do
    if name:find "%.length$" then norms[#norms + 1] = orrery.mean(states[i]) end
  end
  local sum = 0
  for _, norm in ipairs(norms) do sum = sum + (type(norm) == "number" and norm or norm:item()) end
  return sum / #norms
end

--- update:state(prefix): everything that a resumed training needs: a list of names, each behind the prefix, and one
--- of tensors, for orrery.checkpoint. The count of steps is a copy; see update:resume.
function Update:state(prefix)
  prefix = prefix or ""
  local names, tensors = {}, {}
  local function add(name, tensor) names[#names + 1], tensors[#tensors + 1] = prefix .. name, tensor end
  for i, tensor in ipairs(self.parameters) do add("parameter." .. i, tensor) end
  for i, follower in ipairs(self.followers) do add("follower." .. i, follower.tensor) end
  local states, state_names = self.optimiser:states()
  for i, tensor in ipairs(states) do add("optimiser." .. state_names[i], tensor) end
  add("steps", orrery.tensor({ self.steps }, "int"))
  return names, tensors
end

--- update:resume(tensors): after the tensors of update:state were filled from a checkpoint: counts on from there.
function Update:resume(tensors)
  self.steps = tensors[#tensors][1]
  self:remember()
  return self
end

--- update:save(path): parameters and the optimiser's state as safetensors, whole or not at all.
function Update:save(path)
  orrery.checkpoint.save(path, self:state())
  return self
end

--- update:load(path): goes on where update:save was called, to the bit. A file that does not fit is
--- refused as a whole.
function Update:load(path)
  local names, tensors = self:state()
  orrery.checkpoint.load(path, names, tensors)
  return self:resume(tensors)
end

return new
