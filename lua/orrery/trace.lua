--- trace.lua - turns Lua functions about one sample into programs.
---
--- A function runs on symbols, which record what is done with them as a graph of ops. Where it compares
--- a symbol, it is run again for the other outcome, and what the paths return is joined by a select.
--- trace.build does that for a user's function, checks it against plain Lua, and keeps it fresh;
--- trace.program is for library code that writes symbol code itself; trace.inline puts a user's
--- function into an ongoing trace.
local orrery = require "orrery"
local bytecode = require "orrery.trace_bytecode"
local capture = require "orrery.trace_capture"
local functions = require "orrery.trace_functions"
local record = require "orrery.trace_record"
local shapes = require "orrery.trace_shapes"
local core = orrery.trace_core

local trace = {}

local MOST_PATHS = 256
local MOST_COMPARISONS = 128      -- on one path
local MOST_INSTRUCTIONS = 10000000 -- of one trace: what runs longer will not end

local active  -- the trace going on: { session, graph }
local context -- the exploration going on: see explore

trace.is_symbol = core.is_symbol
trace.record = record.new

--- trace.vector(x): the flat symbol of a record; a symbol as it is.
function trace.vector(x) return record.is(x) and record.vector(x) or x end

--- trace.number(x): a number, tensor or list as a symbol.
function trace.number(x) return core.symbol(x) end

--- trace.parameter(tensor, level): read each time the program runs. level: "uniform", "member".
function trace.parameter(tensor, level) return core.parameter(tensor, level) end

trace.update, trace.row_count = core.update, core.row_count

-- Sizes given one by one or as a list.
local function draw(kind, first, ...)
  local shape = type(first) == "table" and first or { first, ... }
  if not active then error("trace." .. kind .. " works only while a trace goes on", 3) end
  return active.session.draw(kind, shape)
end

--- trace.normal(sizes...), trace.uniform(sizes...): draws of every row, for library code.
function trace.normal(...) return draw("normal", ...) end
function trace.uniform(...) return draw("uniform", ...) end

local function where() return core.where(capture.prefix) end

-- ---- exploring the outcomes of comparisons

local function outcome_of(condition)
  local owner, node = core.key(condition)
  local c = context
  while c do
    local of_graph = c.outcomes[owner]
    if of_graph and of_graph[node] ~= nil then return of_graph[node] end
    c = c.parent
  end
end

local function remember(condition, outcome)
  local owner, node = core.key(condition)
  local of_graph = context.outcomes[owner] or {}
  context.outcomes[owner] = of_graph
  of_graph[node] = outcome
end

local function lines_of(path)
  local seen, lines = {}, {}
  for _, step in ipairs(path) do
    local line = bytecode.words(step.where):match(":(%d+)$") or "?"
    if not seen[line] then lines[#lines + 1] = line end
    seen[line] = true
  end
  return table.concat(lines, ", ")
end

-- Which way a comparison goes on the path being followed: known, or decided before, or true first.
local function decide(condition, opposite)
  if not context then
    error(where() .. ": symbols were compared outside of a function that is traced; use orrery.where", 0)
  end
  local known = outcome_of(condition)
  if known ~= nil then return known end
  known = opposite and outcome_of(opposite)
  if known ~= nil then return not known end
  context.position = context.position + 1
  local step = context.path[context.position]
  if not step then
    if context.position > MOST_COMPARISONS then
      error(("%s: more than %d comparisons of the sample's values on one path: a loop whose end depends on the "
        .. "sample cannot be traced; give it a fixed length, or mark the function with orrery.interpret")
        :format(where(), MOST_COMPARISONS), 0)
    end
    step = { condition = condition, outcome = true, where = where() }
    context.path[context.position] = step
  end
  if step.where ~= where() then
    error(("%s: the function takes another way when it is run again (%s before): it depends on more than its "
      .. "arguments"):format(where(), bytecode.words(step.where)), 0)
  end
  remember(condition, step.outcome)
  return step.outcome
end

-- number == symbol, which Lua itself never asks about.
local function decide_equal(symbol, number)
  if not core.is_symbol(symbol) then symbol, number = number, symbol end
  if symbol:axes() > 0 then return false end
  local condition = symbol:equal(number)
  local known = condition:known()
  if known then return known ~= 0 end
  return decide(condition)
end

local function path_words(path, upto)
  local words = {}
  for i = 1, upto do
    words[#words + 1] = ("the comparison in line %s is %s"):format(
      bytecode.words(path[i].where):match(":(%d+)$") or "?", tostring(path[i].outcome))
  end
  return table.concat(words, " and ")
end

-- The next path: the last comparison that was true becomes false.
local function advance(path, length)
  for i = #path, length + 1, -1 do path[i] = nil end
  while #path > 0 and not path[#path].outcome do path[#path] = nil end
  if #path == 0 then return false end
  local last = path[#path]
  path[#path] = { condition = last.condition, outcome = false, where = last.where }
  return true
end

-- Variables of a function made while tracing, which is run once for each path.
local function snapshot(f)
  local values, i = {}, 1
  while true do
    local name, value = core.upvalue(f, i)
    if not name then return values end
    values[i] = { name = name, value = value }
    i = i + 1
  end
end

local function check_unassigned(f, before)
  for i, cell in ipairs(before) do
    local _, now = core.upvalue(f, i)
    if not rawequal(now, cell.value) then
      error(("%s: the inner function assigns to '%s', which lives outside of it; return the value instead")
        :format(where(), cell.name), 0)
    end
  end
end

local function join_leaves(leaves, depth)
  local leaf = leaves[leaves.at]
  local step = leaf.path[depth]
  if not step then
    leaves.at = leaves.at + 1
    return leaf.results, leaf
  end
  local yes, yes_leaf = join_leaves(leaves, depth + 1)
  local no, no_leaf = join_leaves(leaves, depth + 1)
  local joined, problem = shapes.join(step.condition, yes, no)
  if not joined then
    error(("%s: %s: %s when %s, %s when %s; every path must return the same"):format(
      bytecode.words(step.where), leaves.name, problem[1], path_words(yes_leaf.path, #yes_leaf.path),
      problem[2], path_words(no_leaf.path, #no_leaf.path)), 0)
  end
  return joined, yes_leaf
end

-- Runs f(...) once for each outcome of the comparisons that it makes; returns its packed results,
-- joined. `name` stands for the function in messages.
local function explore(name, f, ...)
  local arguments, path, leaves = table.pack(...), {}, { at = 1, name = name }
  local parent, before, memo = context, snapshot(f), {}
  repeat
    context = { parent = parent, path = path, position = 0, outcomes = {}, calls = 0, memo = memo }
    local results = table.pack(f(table.unpack(arguments, 1, arguments.n)))
    local taken = context.position
    context = parent
    check_unassigned(f, before)
    if active.refused then error(active.refused, 0) end
    local assigned = active.session:assigned()
    if assigned then
      functions.refuse(("assigns to '%s', which lives outside of it"):format(assigned), "return the value instead")
    end
    leaves[#leaves + 1] = { results = results, path = table.move(path, 1, taken, 1, {}) }
    if #leaves > MOST_PATHS then
      error(("%s: %s takes more than %d paths by its comparisons in lines %s; use orrery.where, math.max or "
        .. "math.min in place of some, or mark it with orrery.interpret"):format(
        bytecode.words(path[#path].where), name, MOST_PATHS, lines_of(path)), 0)
    end
  until not advance(path, taken)
  return (join_leaves(leaves, 1))
end

-- What was computed at this point of an earlier run that took the same way up to here, or
-- compute()'s results: draws, scans and inlined functions are made once.
local function once(compute)
  local c = context
  if not c then return compute() end
  c.calls = c.calls + 1
  local outcomes = {}
  for i = 1, c.position do outcomes[i] = c.path[i].outcome and "y" or "n" end
  local key = table.concat(outcomes) .. c.calls
  local made = c.memo[key]
  if not made then
    made = table.pack(compute())
    c.memo[key] = made
  end
  return table.unpack(shapes.copy(made), 1, made.n)
end

trace.once = once

-- A function from outside as what stands in for it; one made while tracing as it is.
local function stand_in(f)
  local what, source, _, line = core.info(f)
  if what == "C" or source:sub(1, #capture.prefix) == capture.prefix or line >= bytecode.FIRST_LINE then return f end
  return active.session:value(f)
end

--- trace.explore(name, f, ...): f's results with all paths joined, for functions that take functions
--- (scan, grad) while a trace goes on.
function trace.explore(name, f, ...)
  if not active then error("no trace is going on", 2) end
  local results = explore(name, stand_in(f), ...)
  return table.unpack(results, 1, results.n)
end

--- trace.is_active(): whether a trace goes on.
function trace.is_active() return active ~= nil end

-- ---- one trace

local watching = { cells = {} }

function watching.equal(symbol, number) return decide_equal(symbol, number) end
function watching.constant(first, index) return bytecode.constant(first, index) end

function watching.refuse(kind, detail)
  if kind == "assign" then
    functions.refuse(("assigns to '%s', which lives outside of it"):format(detail), "return the value instead")
  elseif kind == "key" then
    functions.refuse("uses a value of the sample as the key of a table",
      "keep the entries in a tensor and index that, or use orrery.where")
  end
  local message = ("%s: the function does not end: %d million instructions were run"):format(where(),
    MOST_INSTRUCTIONS // 1000000)
  active.refused = active.refused or message
  error(message, 0)
end

local function no_method(methods, name)
  local check = require "orrery.check"
  local near = check.nearest(tostring(name), check.sorted_keys(methods))
  return ("a symbol has no '%s'%s"):format(tostring(name), near and ("; did you mean '%s'?"):format(near) or "")
end

core.on_decide(decide, no_method)
core.on_watch(watching)

-- What Lua itself says of symbols, in the script's terms.
local function handler(message)
  message = bytecode.words(message)
  if type(message) ~= "string" then return message end
  return (message:gsub("got orrery%.symbol", "got a value of the sample, which is not known while tracing"))
end

-- Runs make() while a new graph is built; answers what it returns. The graph is closed in any case.
local function with_graph(promoted, make)
  local before, outer_context = active, context
  local graph = core.graph()
  local session = capture.new(promoted)
  function session.draw(kind, shape)
    session.drew = true
    return once(function() return core[kind](shape) end)
  end
  function session.on_cell(id, name) watching.cells[id] = name end
  local outer_graph = core.enter(graph)
  active, context = { session = session, graph = graph }, nil
  functions.active = active
  core.watch(MOST_INSTRUCTIONS)
  local ok, result = xpcall(make, handler, session, graph)
  core.unwatch()
  active, context = before, outer_context
  functions.active = before
  core.enter(outer_graph)
  core.close(graph)
  if not before then
    bytecode.forget()
    watching.cells = {}
  end
  if not ok then error(result ~= nil and session.reals[result] or result, 0) end
  return result
end

-- Runs f(...) as if no trace went on.
local function outside(f, ...)
  local before, outer_context, outer_graph = active, context, core.enter(nil)
  active, context, functions.active = nil, nil, nil
  local ok, problem = pcall(f, ...)
  active, context, functions.active = before, outer_context, before
  core.enter(outer_graph)
  if not ok then error(problem, 0) end
end

-- ---- compiled functions

local Compiled = { __name = "orrery.compiled" }
Compiled.__index = Compiled
trace.Compiled = Compiled

function Compiled:__tostring() return ("compiled %s: %s"):format(self.name, tostring(self.program)) end

-- Traces and compiles; on success the new program and guards take the place of the old ones.
function Compiled:build()
  local made = with_graph(self.promoted, function(session, graph)
    local outputs = self.make(session)
    local leaves, template = shapes.flatten(outputs, self.title or self.name)
    for _, leaf in ipairs(leaves) do core.output(leaf.name, leaf.symbol) end
    return { program = core.compile(graph), template = template, session = session, guards = session.guards }
  end)
  if self.check then outside(self.check, made) end
  self.program, self.template, self.guards = made.program, made.template, made.guards
  return self
end

--- compiled:enter(): looks again at what the functions captured; numbers that changed go to the
--- program, and where that is not enough it is made anew. Returns the program and whether it is new.
function Compiled:enter()
  if not capture.changed(self.guards) then return self.program, false end
  if not self.no_promotion and bytecode.exact then
    capture.promote(self.guards, self.promoted)
    if next(self.promoted) and pcall(self.build, self) then return self.program, true end
    self.no_promotion = next(self.promoted) ~= nil
  end
  self.promoted = {}
  self:build()
  return self.program, true
end

-- How many rows the row inputs have.
local function rows_of(inputs, values, index)
  for _, input in ipairs(inputs) do
    local value = values[input.name]
    if input.level == "row" and core.is_tensor(value) then
      local at = index and index[input.name]
      return at and #at or value:size(1)
    end
  end
end

--- compiled:run(values, options): values by input name; options as program:run's. Returns the outputs in
--- the structure that the function returned; they are overwritten by the next run.
function Compiled:run(values, options)
  local program = self:enter()
  local o = {}
  for key, value in pairs(options or {}) do o[key] = value end
  if not o.rows and not o.groups then o.rows = rows_of(self.inputs, values, o.index) end
  local outputs = program:run(values, o)
  return table.unpack(shapes.fill(self.template, outputs), 1, self.template.n)
end

--- compiled:listing(): the program's instructions, for a person to read.
function Compiled:listing() return self.program:listing() end

local function make_input(input)
  if input.space then
    local fields = record.fields(input.space)
    return record.new(fields, core.input(input.name, input.level or "row", { fields.size }), input.name)
  end
  return core.input(input.name, input.level or "row", input.shape or {}):named(input.name)
end

local function check_inputs(inputs, what)
  if type(inputs) ~= "table" then error(what .. ": inputs must be a list", 3) end
  local copies = {}
  for i, input in ipairs(inputs) do
    if type(input.name) ~= "string" then error(("%s: input %d has no name"):format(what, i), 3) end
    copies[i] = { name = input.name, level = input.level or "row", shape = input.shape or {}, space = input.space }
  end
  return copies
end

--- trace.program { name =, inputs = { { name =, level =, shape =, space = }, ... }, fn = }: compiles
--- library code, which is given the inputs as symbols (records where a space is given) and returns
--- symbols or tables of them. It may call trace.inline.
function trace.program(options)
  local inputs = check_inputs(options.inputs, "trace.program")
  local self = setmetatable({ name = options.name or "program", inputs = inputs, promoted = {} }, Compiled)
  function self.make()
    local arguments = {}
    for i, input in ipairs(inputs) do arguments[i] = make_input(input) end
    return table.pack(options.fn(table.unpack(arguments, 1, #inputs)))
  end
  return self:build()
end

--- trace.build { fn =, inputs =, name =, probes =, arguments = }: compiles a user's function and checks
--- it against plain Lua on probe samples. `arguments` may hold constants among the inputs. With
--- `transform`, what is compiled is transform(fn, ...), unchecked.
function trace.build(options)
  local fn, name = options.fn, options.name or "function"
  if type(fn) ~= "function" then error(name .. ": a function is needed, not a " .. type(fn), 2) end
  local inputs = check_inputs(options.inputs or {}, "trace.build")
  local arguments = options.arguments or table.pack(table.unpack(inputs))
  local self = setmetatable({ name = name, inputs = inputs, promoted = {} }, Compiled)
  local by_name = {}
  for _, input in ipairs(inputs) do by_name[input.name] = input end
  local _, _, source, line = core.info(fn)
  self.title = ("%s:%d: %s"):format(source, line, name)
  function self.make(session)
    local made = {}
    local symbols = shapes.replace(arguments, function(value)
      local input = type(value) == "table" and by_name[value.name]
      if input then
        made[input] = made[input] or make_input(input)
        return made[input], true
      end
      if core.is_tensor(value) then return core.parameter(value), true end
    end)
    local call = session:value(fn, nil, name)
    if options.transform then return table.pack(options.transform(call, table.unpack(symbols, 1, arguments.n))) end
    return explore(name, call, table.unpack(symbols, 1, arguments.n))
  end
  local verify = require "orrery.trace_verify"
  if not options.transform then
    function self.check(made)
      verify.check { fn = fn, name = name, inputs = inputs, arguments = arguments, by_name = by_name,
                     made = made, probes = options.probes }
    end
  end
  return self:build()
end

-- ---- a user's function inside an ongoing trace

local verified = setmetatable({}, { __mode = "k" }) -- fn -> signature -> compiled

-- Describes an argument for a trace of the function alone: inputs in place of symbols.
local function describe(value, name, inputs, key)
  if record.is(value) then
    local fields = record.space(value)
    inputs[#inputs + 1] = { name = name, level = "row", space = fields }
    key[#key + 1] = fields.key
    return inputs[#inputs]
  elseif core.is_symbol(value) then
    inputs[#inputs + 1] = { name = name, level = "row", shape = { value:shape() } }
    key[#key + 1] = table.concat(inputs[#inputs].shape, "x") .. ";"
    return inputs[#inputs]
  elseif type(value) == "table" and not core.metatable(value) then
    local copy = {}
    for _, k in ipairs(capture.sorted_keys(value)) do
      key[#key + 1] = tostring(k) .. "="
      copy[k] = describe(value[k], name .. "." .. tostring(k), inputs, key)
    end
    return copy
  end
  key[#key + 1] = tostring(value)
  return value
end

local argument_names = { "s", "a", "next", "t" }

-- Records without a name of their own are called by their place, in messages.
local function name_records(arguments)
  local named = { n = arguments.n }
  for i = 1, arguments.n do
    local value = arguments[i]
    if record.is(value) and not record.name(value) and argument_names[i] then
      value = record.new(record.space(value), record.vector(value), argument_names[i])
    end
    named[i] = value
  end
  return named
end

-- Traces the function alone and compares it with plain Lua, unless that was done before.
local function verify_alone(options, arguments)
  local inputs, key, taken = {}, {}, {}
  local described = { n = arguments.n }
  for i = 1, arguments.n do
    local value = arguments[i]
    local name = record.is(value) and record.name(value) or argument_names[i] or "argument " .. i
    if taken[name] then name = name .. " " .. i end
    taken[name] = true
    described[i] = describe(value, name, inputs, key)
  end
  local of_fn = verified[options.fn] or {}
  verified[options.fn] = of_fn
  local signature = table.concat(key, ",")
  local known = of_fn[signature]
  if known and not capture.changed(known.guards, true) then return end
  of_fn[signature] = trace.build { fn = options.fn, name = options.name, inputs = inputs, arguments = described,
                                   probes = options.probes }
end

local function check_returns(name, results, wanted)
  if wanted ~= "number" then return end
  local value = results[1]
  if results.n == 0 or value == nil then
    error(("%s returns nothing; it must return a number"):format(name), 0)
  end
  local scalar = type(value) == "number" or type(value) == "boolean" or (core.is_symbol(value) and value:axes() == 0)
  if not scalar then
    error(("%s must return a number, not %s"):format(name, core.is_symbol(value) and tostring(value) or type(value)), 0)
  end
end

--- trace.inline(fn, ...) or trace.inline { fn =, arguments =, name =, probes =, returns = "number" }: a
--- user's function applied to symbols in the ongoing trace: all its paths, joined. Returns what it
--- returns, as symbols.
function trace.inline(fn, ...)
  local options = type(fn) == "table" and fn.fn and fn or { fn = fn, arguments = table.pack(...) }
  if not active then error("trace.inline works only while a trace goes on", 2) end
  if trace.is_interpreted(options.fn) then
    error("a function marked with orrery.interpret cannot become part of a program", 2)
  end
  local name = options.name or "the function"
  local arguments = options.arguments
  arguments.n = arguments.n or #arguments
  arguments = name_records(arguments)
  return once(function()
    local f = active.session:value(options.fn, nil, name)
    if f ~= options.fn and options.verify ~= false then verify_alone(options, arguments) end
    local results = explore(name, f, table.unpack(arguments, 1, arguments.n))
    local ok, message = pcall(check_returns, name, results, options.returns)
    if not ok then
      local _, _, source, line = core.info(options.fn)
      error(("%s:%d: %s"):format(source, line, message), 0)
    end
    return table.unpack(results, 1, results.n)
  end)
end

--- trace.try(f, ...): f's first result; or nil and the reason, where f raises.
function trace.try(f, ...)
  local ok, result = pcall(f, ...)
  if ok then return result end
  return nil, result
end

-- ---- the way out

--- trace.notice: given a line for a person when something falls back to plain Lua; may be replaced.
function trace.notice(message)
  if warn then warn("orrery: " .. message) end
end

local Interpreted = { __name = "orrery.interpreted" }
function Interpreted:__call(...) return self.fn(...) end

--- trace.interpret(fn): marks a function to be called for each sample in plain Lua: on one thread,
--- without a gradient, but with nothing that is not allowed.
function trace.interpret(fn)
  if type(fn) ~= "function" then error("interpret: a function is needed, not a " .. type(fn), 2) end
  return setmetatable({ fn = fn }, Interpreted)
end

--- trace.is_interpreted(x): the plain function of one that is marked, or nil.
function trace.is_interpreted(x)
  return type(x) == "table" and core.metatable(x) == Interpreted and x.fn or nil
end

return trace
