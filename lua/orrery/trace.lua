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
local check = require "orrery.check"
local explore = require "orrery.trace_explore"
local functions = require "orrery.trace_functions"
local record = require "orrery.trace_record"
local shapes = require "orrery.trace_shapes"
local core = orrery.trace_core

local trace = {}

-- functions.active is the trace going on: { session, graph, refused }.
local depth = 0 -- of traces within traces

trace.is_symbol = core.is_symbol
trace.record = record.new

--- trace.vector(x): the flat symbol of a record; a symbol as it is.
function trace.vector(x) return record.is(x) and record.vector(x) or x end

--- trace.is_record(x), trace.fields(space): whether it is a record; the fields of a space, as a list.
trace.is_record, trace.fields = record.is, record.fields

--- trace.named(t): t itself, whose other fields are errors that name those it has.
trace.named = record.named

--- trace.number(x): a number, tensor or list as a symbol.
function trace.number(x) return core.symbol(x) end

--- trace.parameter(tensor, level): read each time the program runs. level: "uniform", "member".
function trace.parameter(tensor, level) return core.parameter(tensor, level) end

--- trace.update(parameter, value), trace.updated(parameter): after a run its tensor holds the value; what it
--- will hold, as far as the trace has got.
trace.update, trace.updated, trace.row_count = core.update, core.updated, core.row_count

-- Sizes given one by one or as a list.
local function draw(kind, first, ...)
  local shape = type(first) == "table" and first or { first, ... }
  if not functions.active then error("trace." .. kind .. " works only while a trace goes on", 3) end
  return functions.active.session.draw(kind, shape)
end

--- trace.normal(sizes...), trace.uniform(sizes...): draws of every row, for library code.
function trace.normal(...) return draw("normal", ...) end
function trace.uniform(...) return draw("uniform", ...) end

-- A function from outside as what stands in for it; one made while tracing as it is.
local function stand_in(f)
  local what, source, _, line = core.info(f)
  if what == "C" or source:sub(1, #capture.prefix) == capture.prefix or line >= bytecode.FIRST_LINE then return f end
  return functions.active.session:value(f)
end

--- trace.explore(name, f, ...): f's results with all paths joined, for functions that take functions
--- (scan, grad) while a trace goes on.
function trace.explore(name, f, ...)
  if not functions.active then error("no trace is going on", 2) end
  local results = explore.run(name, stand_in(f), ...)
  return table.unpack(results, 1, results.n)
end

--- trace.is_active(): whether a trace goes on.
function trace.is_active() return functions.active ~= nil end

trace.once = explore.once

-- ---- one trace

-- What Lua itself says of symbols, in the script's terms.
local function handler(message)
  message = bytecode.words(message)
  if type(message) ~= "string" then return message end
  return (message:gsub("got orrery%.symbol", "got a value of the sample, which is not known while tracing"))
end

-- Runs f(...) with another trace (nil: none) as the one going on: what pcall returns.
local function within(active, graph, f, ...)
  local before, outer_context, outer_graph = functions.active, explore.swap(nil), core.enter(graph)
  functions.active = active
  local results = table.pack(core.protect(f, handler, ...))
  functions.active = before
  explore.swap(outer_context)
  core.enter(outer_graph)
  return table.unpack(results, 1, results.n)
end

-- Runs make() while a new graph is built; answers what it returns. The graph is closed in any case.
local function with_graph(promoted, make)
  local graph, session = core.graph(), capture.new(promoted)
  session.on_cell = explore.watch_cell
  function session.draw(kind, shape)
    session.drew = true
    return explore.once(function() return core[kind](shape) end)
  end
  depth = depth + 1
  core.watch(explore.MOST_INSTRUCTIONS)
  local ok, result = within({ session = session, graph = graph }, graph, make, session, graph)
  core.unwatch()
  depth = depth - 1
  core.close(graph)
  if depth == 0 then explore.forget() end
  if not ok then error(result ~= nil and session.reals[result] or result, 0) end
  return result
end

-- Runs f(...) as if no trace went on.
local function outside(f, ...)
  local ok, problem = within(nil, nil, f, ...)
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
    if next(self.promoted) and check.try(self.build, self) then return self.program, true end
    self.no_promotion = next(self.promoted) ~= nil
  end
  self.promoted = {}
  self:build()
  return self.program, true
end

--- compiled:run(values, options): values by input name; options as program:run's. Returns the outputs in
--- the structure that the function returned; they are overwritten by the next run.
function Compiled:run(values, options)
  local outputs = self:enter():run(values, options)
  local template = self.template
  if template.n == 1 then return shapes.fill_one(template[1], outputs) end
  return table.unpack(shapes.fill(template, outputs), 1, template.n)
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
    copies[i] = { name = input.name, level = input.level or "row", shape = input.shape or {}, space = input.space,
                  counts = input.counts }
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
      local input = type(value) == "table" and by_name[rawget(value, "name")]
      if input then
        made[input] = made[input] or make_input(input)
        return made[input], true
      end
      if core.is_tensor(value) then return core.parameter(value), true end
    end)
    local call = session:value(fn, nil, name)
    if options.transform then return table.pack(options.transform(call, table.unpack(symbols, 1, arguments.n))) end
    return explore.run(name, call, table.unpack(symbols, 1, arguments.n))
  end
  local verify = require "orrery.trace_verify"
  if not options.transform and options.verify ~= false then
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
  elseif record.is_plain(value) then
    local copy = record.like(value)
    for _, k in ipairs(capture.sorted_keys(value)) do
      key[#key + 1] = tostring(k) .. "="
      copy[k] = describe(value[k], name .. "." .. tostring(k), inputs, key)
    end
    return copy
  end
  key[#key + 1] = tostring(value)
  return value
end

local argument_names = { "s", "a", "next", "t", "given" }

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
    if i == options.step and core.is_symbol(value) then described[i].counts = true end
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
    local found = type(value)
    if core.is_symbol(value) then
      found = value:count() == 1 and "a vector of one; take its number, as in net(s)[1]"
        or ("values of shape [%s]; join them, as in (x - y):abs():sum()"):format(table.concat({ value:shape() }, ", "))
    end
    error(("%s must return a number, not %s"):format(name, found), 0)
  end
end

--- trace.inline(fn, ...) or trace.inline { fn =, arguments =, name =, probes =, returns = "number", step = 4 }:
--- a user's function applied to symbols in the ongoing trace: all its paths, joined. Returns what it
--- returns, as symbols. `step` is the place of an argument that counts from 0: it is only ever a whole number.
function trace.inline(fn, ...)
  local options = type(fn) == "table" and fn.fn and fn or { fn = fn, arguments = table.pack(...) }
  if not functions.active then error("trace.inline works only while a trace goes on", 2) end
  if trace.is_interpreted(options.fn) then
    error("a function marked with orrery.interpret cannot become part of a program", 2)
  end
  local name = options.name or "the function"
  local arguments = options.arguments
  arguments.n = arguments.n or #arguments
  arguments = name_records(arguments)
  return explore.once(function()
    local f = functions.active.session:value(options.fn, nil, name)
    if f ~= options.fn and options.verify ~= false then verify_alone(options, arguments) end
    local results = explore.run(name, f, table.unpack(arguments, 1, arguments.n))
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
  local ok, result = check.try(f, ...)
  if ok then return result end
  return nil, result
end

--- trace.plainly(f, ...): what f gives in plain Lua, where nobody asked for that: an error where it does not end.
trace.plainly = explore.plainly

-- ---- the way out

--- trace.notice: given a line for a person when something falls back to plain Lua; may be replaced. Lua shows
--- warnings only where its host has turned them on, as the orrery program does (see orrery/lua.h).
function trace.notice(message)
  if warn then warn("orrery: " .. message) end
end

local Interpreted = { __name = "orrery.interpreted" }
function Interpreted:__call(...) return self.fn(...) end

--- orrery.interpret(fn): marks a function to be called for each sample in plain Lua: on one thread,
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
