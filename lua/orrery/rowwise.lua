--- rowwise.lua - a function about one sample, applied to every row of tensors.
---
---   local distance = orrery.rowwise(function(a, b) return math.sqrt((a - b)^2) end)
---   local d = distance(xs, ys)        -- tensors of n rows give a tensor of n rows
---   local e = distance(xs, 3)         -- numbers are the same for every row
local orrery = require "orrery"
local check = require "orrery.check"
local trace = require "orrery.trace"
local core = orrery.trace_core

local Rowwise = { __name = "orrery.rowwise" }
Rowwise.__index = Rowwise

local MOST_SIGNATURES = 64

-- ---- arguments: each becomes an input; tables of tensors are walked

local function describe(job, v, name, uniform)
  if core.is_tensor(v) then
    local shape, level = { v:shape() }, uniform and "uniform" or "row"
    if not uniform then
      if #shape == 0 then
        check.fail("%s is a tensor without axes: give a number, or a tensor of rows", name)
      end
      local rows = table.remove(shape, 1)
      if job.rows and rows ~= job.rows then
        check.fail("%s has %d rows where %d are expected", name, rows, job.rows)
      end
      job.rows = rows
    end
    job.inputs[#job.inputs + 1] = { name = name, level = level, shape = shape }
    job.values[name] = v
    job.key[#job.key + 1] = level .. table.concat(shape, "x")
    return job.inputs[#job.inputs]
  elseif type(v) == "number" then
    job.inputs[#job.inputs + 1] = { name = name, level = "uniform", shape = {} }
    job.values[name] = v
    job.key[#job.key + 1] = "number"
    return job.inputs[#job.inputs]
  elseif type(v) == "table" and not core.metatable(v) then
    local copy = {}
    for _, key in ipairs(check.sorted_keys(v)) do
      job.key[#job.key + 1] = key .. "="
      copy[key] = describe(job, v[key], name .. "." .. key, uniform)
    end
    for i, part in ipairs(v) do copy[i] = describe(job, part, name .. "." .. i, uniform) end
    return copy
  end
  job.key[#job.key + 1] = tostring(v)
  return v
end

local function describe_all(self, ...)
  local arguments = table.pack(...)
  local job = { inputs = {}, values = {}, key = {}, arguments = { n = arguments.n } }
  for i = 1, arguments.n do
    job.arguments[i] = describe(job, arguments[i], "argument " .. i, self.uniform[i])
  end
  job.signature = table.concat(job.key, ",")
  return job
end

-- ---- calls like the one before: no description is made of their arguments (see src/lua/rowwise.c)

local function node_of(v, described, uniform)
  if core.is_tensor(v) then return { core.pattern(v, uniform), described.name } end
  if type(v) == "number" then return { "number", described.name, orrery.full(0) } end
  if type(v) ~= "table" or core.metatable(v) then return nil end
  local keys, nodes = {}, {}
  for key, part in pairs(v) do
    local node = node_of(part, described[key], uniform)
    if not node then return nil end
    keys[#keys + 1], nodes[#nodes + 1] = key, node
  end
  return { keys, nodes }
end

-- Nil where an argument is a constant of the program.
local function nodes_of(self, job, ...)
  local nodes = {}
  for i = 1, job.arguments.n do
    nodes[i] = node_of((select(i, ...)), job.arguments[i], self.uniform[i])
    if not nodes[i] then return nil end
  end
  return nodes
end

-- ---- results

-- Every row's own: what is the same for all rows is repeated, unless there are none.
local function results_of(template, outputs, levels, rows, reuse)
  local name = template.leaf
  if name then
    local v = outputs[name]
    if levels[name].level == "row" then return reuse and v or v:copy() end
    if not rows then return v:axes() == 0 and v:item() or v:copy() end
    return v:broadcast(rows, v:shape()):copy()
  end
  local results = {}
  for key, part in pairs(template.parts) do results[key] = results_of(part, outputs, levels, rows, reuse) end
  return results
end

local function compiled_for(self, job)
  local compiled = self.compiled[job.signature]
  if compiled then return compiled end
  if self.count >= MOST_SIGNATURES then self.compiled, self.count = {}, 0 end
  local given = job.arguments.n
  local ok, made = check.try(trace.build, {
    fn = self.fn, name = self.name, inputs = job.inputs, arguments = job.arguments, verify = self.verify,
  })
  if not ok then
    local takes = core.parameters(self.fn)
    if type(made) == "string" and given < takes then
      made = ("%s\n(%s was given %d argument%s and takes %d)"):format(made, self.name, given, given == 1 and "" or "s",
        takes)
    end
    error(made, 0)
  end
  compiled = made
  self.compiled[job.signature], self.count = compiled, self.count + 1
  return compiled
end

local function run_compiled(self, compiled, values, rows)
  local program = compiled:enter()
  if self.levels_of ~= program then self.levels, self.levels_of = program:outputs(), program end
  local outputs = program:call(values, rows or 1, self.seed, self.calls)
  self.calls = (self.calls + 1) & 0x7fffffff
  local template = compiled.template
  if template.n == 1 then return results_of(template[1], outputs, self.levels, rows, self.reuse) end
  local results = {}
  for i = 1, template.n do results[i] = results_of(template[i], outputs, self.levels, rows, self.reuse) end
  return table.unpack(results, 1, template.n)
end

-- ---- in plain Lua, row by row

local function row_of(v, described, i)
  if type(described) == "table" and described.level then return described.level == "row" and v[i] or v end
  if type(v) == "table" then
    local copy = {}
    for key, part in pairs(v) do copy[key] = row_of(part, described[key], i) end
    return copy
  end
  return v
end

local function stack(rows)
  local first = rows[1]
  if type(first) == "table" and not core.metatable(first) then
    local made = {}
    for key in pairs(first) do
      local parts = {}
      for i, row in ipairs(rows) do parts[i] = row[key] end
      made[key] = stack(parts)
    end
    return made
  end
  for i, row in ipairs(rows) do
    if type(row) == "boolean" then rows[i] = row and 1 or 0 end
  end
  return orrery.stack(rows)
end

local function directly(f, ...) return f(...) end

local function run_plain(self, job, ...)
  local arguments, lists, call = table.pack(...), {}, self.marked and directly or trace.plainly
  local count
  for i = 1, job.rows or 1 do
    local row = {}
    for k = 1, arguments.n do row[k] = row_of(arguments[k], job.arguments[k], i) end
    local results = table.pack(call(self.fn, table.unpack(row, 1, arguments.n)))
    if not job.rows then return table.unpack(results, 1, results.n) end
    count = count or results.n
    for k = 1, count do
      if results[k] == nil then error(("%s returns nothing for row %d"):format(self.name, i), 0) end
      lists[k] = lists[k] or {}
      lists[k][i] = results[k]
    end
  end
  for k = 1, count or 0 do lists[k] = stack(lists[k]) end
  return table.unpack(lists, 1, count or 0)
end

-- What is wrong in plain Lua, too, is raised; only what works there is told of.
local function fall_back(self, reason, job, ...)
  local results = table.pack(run_plain(self, job, ...))
  self.interpreted = true
  trace.notice(("%s runs as plain Lua, row by row on one thread: %s"):format(self.name, reason))
  return table.unpack(results, 1, results.n)
end

-- On symbols, in a function being traced, it is the function itself.
function Rowwise:__call(...)
  local last = self.last
  if last then
    local rows = core.match(last.nodes, last.values, ...)
    if rows then return run_compiled(self, last.compiled, last.values, rows >= 0 and rows or nil) end
  end
  if core.any_symbol(...) then return trace.inline { fn = self.fn, arguments = table.pack(...), name = self.name } end
  local job = describe_all(self, ...)
  if self.interpreted then return run_plain(self, job, ...) end
  if self.fallback then
    local compiled, reason = trace.try(compiled_for, self, job)
    if not compiled then return fall_back(self, reason, job, ...) end
  end
  local compiled, nodes = compiled_for(self, job), nodes_of(self, job, ...)
  self.last = nodes and { nodes = nodes, compiled = compiled, values = {} }
  return run_compiled(self, compiled, job.values, job.rows)
end

--- f:listing(...): the program for arguments like these, for a person to read.
function Rowwise:listing(...)
  return compiled_for(self, describe_all(self, ...)):listing()
end

function Rowwise:__tostring() return "rowwise " .. self.name end

--- orrery.rowwise(fn, options): a function of tensors that applies fn to every row: the first axis of each
--- tensor is rows, numbers are the same for all. fn returns numbers, tensors or tables of them; the
--- result has a row for each. Compiled at the first call for each signature of shapes. Every path
--- through the comparisons of fn is followed, 256 at most: join small choices with orrery.where,
--- math.max and math.min.
---   reuse     false; true: tensors that a call returns are overwritten by the next, so that calls like
---             the one before allocate no memory
---   name      stands for it in messages
---   uniform   { 2 }: positions of arguments whose tensors are the same for every row
---   fallback  false; true: where fn cannot be traced, it runs in plain Lua, which a warning tells once; the orrery program
---             shows it, elsewhere warn "@on" does
---   seed      of draws in fn
---   verify    true: what was compiled is compared with fn in plain Lua on some samples, before it is
---             used; false: it is not, for functions that take long there, such as gradients of rollouts
--- fn may be marked with orrery.interpret, to be run in plain Lua from the start.
local function rowwise(fn, options)
  local o = check.options("rowwise options", options, {
    name = "the function", uniform = {}, fallback = false, seed = "optional number", reuse = false,
    verify = true,
  })
  local plain = trace.is_interpreted(fn)
  if not plain and type(fn) ~= "function" then error("rowwise: a function is needed, not a " .. type(fn), 2) end
  local uniform = {}
  for _, position in ipairs(o.uniform) do uniform[position] = true end
  return setmetatable({
    fn = plain or fn, name = o.name, uniform = uniform, fallback = o.fallback,
    interpreted = plain ~= nil, marked = plain ~= nil,
    reuse = o.reuse, verify = o.verify, seed = o.seed or 0, compiled = {}, count = 0, calls = 0,
  }, Rowwise)
end

return rowwise
