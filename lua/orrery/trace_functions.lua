--- trace_functions.lua - what stands in for functions of the standard library while a function is
--- traced: math.* that takes symbols too, and refusals, which say what to do, of whatever has effects
--- or depends on the moment. Plain values go to the original functions.
local orrery = require "orrery"
local core = orrery.trace_core

local functions = {}

local is_symbol = core.is_symbol
local INTERPRET = "mark the function with orrery.interpret to run it as plain Lua"

--- functions.active: the trace going on, whose field `refused` remembers a refusal that the traced
--- function caught with pcall; set by trace.lua.
functions.active = nil

-- Position of the script's line, in front of messages.
local function where()
  local capture = require "orrery.trace_capture"
  return core.where(capture.prefix)
end

--- functions.refuse(what, advice): raises "file:line: a traced function ...".
function functions.refuse(what, advice)
  local message = ("%s: the function %s; it is traced once, not run for every sample: %s")
    :format(where(), what, advice or INTERPRET)
  if functions.active then functions.active.refused = functions.active.refused or message end
  error(message, 0)
end

local function refusing(what, advice)
  return function() functions.refuse(what, advice) end
end

local refusals = setmetatable({}, { __mode = "k" })

--- functions.refusal(what): a value that refuses every use.
function functions.refusal(what)
  local function refuse() functions.refuse("uses " .. what, INTERPRET) end
  local value = setmetatable({}, { __index = refuse, __newindex = refuse, __call = refuse, __metatable = what })
  refusals[value] = true
  return value
end

function functions.is_refusal(t) return refusals[t] ~= nil end

-- ---- mathematics on symbols

-- Math functions take numbers: on a vector plain Lua would raise, so this does.
local function number_only(name, ...)
  local some
  for i = 1, select("#", ...) do
    local x = select(i, ...)
    if is_symbol(x) then
      some = some or x
      if x:axes() > 0 then
        error(("math.%s takes a number, and %s is not one; use the method, x:%s()"):format(name, tostring(x), name), 3)
      end
    end
  end
  return some
end

-- x towards zero.
local function truncate(x) return x.where(x:less(0), x:ceil(), x:floor()) end

local symbolic = {
  atan = function(s, y, x) return x == nil and y:atan() or s.atan2(y, x) end,
  fmod = function(s, a, b) return a - truncate(s.div(a, b)) * b end,
  log = function(s, x, base)
    if base == nil then return x:log() end
    return s.div(s.log(x), s.log(base))
  end,
  max = function(s, x, ...)
    for i = 1, select("#", ...) do x = s.maximum(x, (select(i, ...))) end
    return x
  end,
  min = function(s, x, ...)
    for i = 1, select("#", ...) do x = s.minimum(x, (select(i, ...))) end
    return x
  end,
  modf = function(_, x)
    local whole = truncate(x)
    return whole, x - whole
  end,
  pow = function(_, x, y) return x ^ y end,
  rad = function(_, x) return x * (math.pi / 180) end,
  deg = function(_, x) return x * (180 / math.pi) end,
  type = function() return "float" end,
  tointeger = function()
    functions.refuse("asks whether a value of the sample is a whole number", "use x // 1")
  end,
}
for _, name in ipairs { "abs", "acos", "asin", "ceil", "cos", "exp", "floor", "sin", "sqrt", "tan", "tanh" } do
  symbolic[name] = function(_, x) return x[name](x) end
end

local function lift(name, original)
  local on_symbols = symbolic[name]
  return function(...)
    local s = number_only(name, ...)
    if not s then return original(...) end
    return on_symbols(s, ...)
  end
end

-- ---- the rest of the standard library

local refused_math = { random = true, randomseed = true }

-- name -> what stands in for it, given the session; plain functions of the base library.
local base = {}

function base.type(original)
  return function(...)
    local x = ...
    if is_symbol(x) then return x:axes() == 0 and "number" or "userdata" end
    return original(...)
  end
end

function base.tonumber(original)
  return function(...)
    local x, digits = ...
    if is_symbol(x) and digits == nil and x:axes() == 0 then return x end
    return original(...)
  end
end

function base.rawequal(original)
  return function(a, b)
    if is_symbol(a) ~= is_symbol(b) then
      functions.refuse("compares a value of the sample with rawequal", "use ==")
    end
    if is_symbol(a) and a:axes() == 0 and b:axes() == 0 then
      return require "orrery.trace_explore".equal(a, b)
    end
    return original(a, b)
  end
end

function base.rawget(original, session)
  return function(t, key)
    if is_symbol(key) then functions.refuse("looks up a table by a value of the sample", "use a tensor") end
    if session.reals[t] then return t[key] end
    return original(t, key)
  end
end

function base.rawlen(original, session)
  return function(t) return session.reals[t] and #t or original(t) end
end

function base.rawset(original, session)
  return function(t, key, value)
    if session.reals[t] then t[key] = value end
    return original(t, key, value)
  end
end

-- Keys in a fixed order: the function runs several times and must do the same each time.
function base.next(original, session)
  return function(t, key)
    if type(t) ~= "table" then return original(t, key) end
    local real = session.reals[t] or t
    local keys = require "orrery.trace_capture".sorted_keys(real)
    if session.reals[t] then session:note_keys(real, keys) end
    local at = 0
    if key ~= nil then
      for i, known in ipairs(keys) do
        if session:key(known) == key then at = i end
      end
    end
    local found = keys[at + 1]
    if found ~= nil then return session:key(found), t[found] end
  end
end

function base.pairs(original, session)
  local step = base.next(next, session)
  return function(t)
    local meta = core.metatable(t)
    if type(t) ~= "table" or (meta and meta.__pairs) then return original(t) end
    return step, t, nil
  end
end

function base.setmetatable(original, session)
  return function(t, meta)
    if session.reals[t] then
      functions.refuse("sets the metatable of a table from outside", INTERPRET)
    end
    local real = session.reals[meta]
    return original(t, real and session:shadow(real) or meta)
  end
end

function base.getmetatable(original, session)
  return function(t)
    local real = session.reals[t]
    local meta = real and core.metatable(real) or original(t)
    if type(meta) ~= "table" then return meta end
    for from, shadow in next, session.shadows do
      if shadow == meta and from ~= shadow then return session:value(from) end
    end
    return session:value(meta)
  end
end

function base.require(original, session)
  return function(name) return session:value(original(name)) end
end

local refused_base = {
  print = { "prints", "print its arguments outside, or " .. INTERPRET },
  warn = { "warns" }, load = { "loads code" }, loadstring = { "loads code" }, dofile = { "loads code" },
  loadfile = { "loads code" }, collectgarbage = { "runs the collector" },
}

local refused_libraries = {
  os = "asks the system (os)", io = "reads or writes (io)", coroutine = "uses coroutines", debug = "uses debug",
}
local clocks = {
  time = "takes the time", clock = "takes the time", date = "takes the time",
}
local CLOCK_ADVICE = "give the time as an argument, or " .. INTERPRET

--- functions.refused_library(t): the name of a library that is refused as a whole, or nil.
function functions.refused_library(t)
  for name in next, refused_libraries do
    if t == package.loaded[name] then return name end
  end
end

function functions.refuse_library(name, key)
  local clock = name == "os" and clocks[key]
  functions.refuse(("%s with %s.%s"):format(clock or refused_libraries[name], name, tostring(key)),
    clock and CLOCK_ADVICE or INTERPRET)
end

local RANDOM_ADVICE = "draw with orrery.rand or orrery.randn, which become draws of the program"

-- Functions of the engine's module: draws become draws of the program, the others are refused.
local function of_engine(session)
  local function shape_of(...)
    if type((...)) == "table" then return session:plain((...)) end
    return { ... }
  end
  local rand = function(...) return session.draw("uniform", shape_of(...)) end
  local randn = function(...) return session.draw("normal", shape_of(...)) end
  return {
    rand = rand, randn = randn, uniform = rand, normal = randn,
    random = function() return rand() end,
    randint = function(low, high, ...) return (rand(...) * (high - low + 1)):floor() + low end,
    permutation = function(n) return rand(n):argsort() end,
    seed = refusing("seeds the engine's random numbers"),
    clock = refusing("takes the time with orrery.clock", CLOCK_ADVICE), sleep = refusing("sleeps"),
  }
end

-- All stand-ins of a session, by the function that they stand for.
local function make(session)
  local stand_ins = {}
  local function add(library, name, make_one)
    local original = library and rawget(library, name)
    if type(original) == "function" and not stand_ins[original] then stand_ins[original] = make_one(original) end
  end
  local loaded, globals = package.loaded, package.loaded._G
  for name in next, symbolic do
    add(loaded.math, name, function(original) return lift(name, original) end)
  end
  for name in next, refused_math do
    add(loaded.math, name, function()
      return refusing("draws with math." .. name, RANDOM_ADVICE)
    end)
  end
  for name, make_one in next, base do
    add(globals, name, function(original) return make_one(original, session) end)
  end
  for name, words in next, refused_base do
    add(globals, name, function() return refusing(words[1] .. " (" .. name .. ")", words[2]) end)
  end
  for library in next, refused_libraries do
    for name in next, loaded[library] or {} do
      add(loaded[library], name, function()
        return function() functions.refuse_library(library, name) end
      end)
    end
  end
  for name, stand_in in next, of_engine(session) do
    add(orrery, name, function() return stand_in end)
  end
  return stand_ins
end

--- functions.replacement(f, session): what stands in for f, or nil.
function functions.replacement(f, session)
  session.stand_ins = session.stand_ins or make(session)
  return session.stand_ins[f]
end

--- functions.knows_proxies(f): whether f respects metatables, as string.* and table.* do.
function functions.knows_proxies(f)
  for _, library in ipairs { "string", "table", "utf8", "math" } do
    for _, known in next, package.loaded[library] or {} do
      if known == f then return true end
    end
  end
  local globals = package.loaded._G
  for _, name in ipairs { "ipairs", "select", "error", "assert", "pcall", "xpcall", "tostring" } do
    if globals[name] == f then return true end
  end
  return false
end

return functions
