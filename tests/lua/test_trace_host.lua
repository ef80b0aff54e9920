-- Tracing leaves the host's state alone, finds what it cannot see by comparing with plain Lua, and is
-- as it was after an error.
local orrery = require "orrery"
local bytecode = require "orrery.trace_bytecode"
local trace = require "orrery.trace"
local T = orrery.tensor
local rows = T { 1, 2, 3 }

local function copy_of(t)
  local copy = {}
  for key, value in pairs(t) do copy[key] = value end
  return copy
end

local function same(t, before, name)
  for key, value in pairs(t) do assert(rawequal(before[key], value), name .. "." .. tostring(key)) end
  for key in pairs(before) do assert(t[key] ~= nil, name .. "." .. tostring(key)) end
end

-- math, the globals and the other libraries stay the same before, during and after.
local libraries = { math = math, string = string, table = table, os = os, io = io }
local before = { globals = copy_of(_G) }
for name, library in pairs(libraries) do before[name] = copy_of(library) end
local string_meta = getmetatable("")
local looks = 0
debug.sethook(function()
  looks = looks + 1
  for name, library in pairs(libraries) do same(library, before[name], name) end
end, "", 50)
local f = orrery.rowwise(function(x)
  local y = math.abs(x)
  if y > 1 then y = math.sqrt(y) end
  return math.max(y, 0) + math.floor(x)
end)
f(rows)
local hook, mask, count = debug.gethook()
assert(type(hook) == "function" and mask == "" and count == 50, "the host's hook is not what it was")
debug.sethook()
assert(looks > 20, "the host's hook did not run while tracing")
same(_G, before.globals, "_G")
for name, library in pairs(libraries) do same(library, before[name], name) end
assert(rawequal(getmetatable(""), string_meta) and debug.gethook() == nil)

-- The host's instruction budget goes on working while a function is traced.
local used = 0
debug.sethook(function()
  used = used + 1
  if used > 100 then error("out of budget") end
end, "", 1000)
local good, message = pcall(orrery.rowwise(function() while true do end end), rows)
debug.sethook()
assert(not good and tostring(message):find("out of budget", 1, true), message)

-- The original function, its upvalues and tables are as they were.
local factor, config = 2, setmetatable({ a = 1 }, { __index = { b = 2 } })
local function plain(x) return x * factor + config.a + config.b end
local id = debug.upvalueid(plain, 1)
assert(orrery.rowwise(plain)(rows):same { 5, 7, 9 })
assert(debug.upvalueid(plain, 1) == id and plain(1) == 5 and getmetatable(config).__index.b == 2)

-- What is not seen while tracing is found by comparing with plain Lua on probes: here == is made invisible.
bytecode.exact = false
local function hidden(x) if x == 3 then return 1 end return 0 end
local here = debug.getinfo(1, "l").currentline - 1
good, message = pcall(orrery.rowwise(hidden, { name = "is_three" }), rows)
assert(not good)
for _, words in ipairs { "test_trace_host.lua:" .. here .. ": is_three gives 1 in plain Lua but 0 when compiled",
                         "argument 1 = 3", "orrery.equal", "orrery.interpret" } do
  assert(message:find(words, 1, true), message)
end
-- Probes that are given, and the bounds of a space, are looked at as well.
local function at_edge(s) if s.x == 10 then return 1 end return 0 end
local function build(space, probes)
  return pcall(trace.build, { fn = at_edge, inputs = { { name = "s", space = space } }, probes = probes })
end
assert(not build { { name = "x", low = -8, high = 10 } })
assert(not build({ { name = "x" } }, { { s = { 10 } } }))
-- A number that changes is then a constant, traced anew.
local goal = 1
local follow = orrery.rowwise(function(x) return x + goal end)
for value = 1, 4 do
  goal = value
  assert(follow(rows)[1] == 1 + value)
end
bytecode.exact = true
assert(orrery.rowwise(hidden)(rows):same { 0, 0, 1 })

-- Thresholds at probes that float32 rounds to the other side are no difference.
for _, threshold in ipairs { 0.1, 1 / 3, 0.7, 1e-3, 123.456 } do
  assert(orrery.rowwise(function(x) return x < threshold and 1 or x * 3 <= 0.3 and 2 or 0 end)(rows))
end
assert(orrery.rowwise(function(x) if x < 0.1 then return 1 end return 0 end)(rows))
assert(orrery.rowwise(function(x) if x * 3 < 0.3 then return 1 elseif x >= 2.7 then return 2 end return 0 end)(rows))
assert(orrery.rowwise(function(x) return math.exp(5 * x) * math.sin(50 * x) end)(rows))

-- A function whose plain form raises where its compiled one would not.
good, message = pcall(orrery.rowwise(function(v) return math.abs(v)[1] end), T { { 1, 2 } })
assert(not good and message:find("use the method, x:abs()", 1, true), message)

-- After an error the engine and the tracer are as before, at any depth.
for _ = 1, 3 do
  assert(not pcall(orrery.rowwise(function(x) return orrery.scan(function(c) return c + nothing_there end, x, nil, { length = 3 }) end), rows))
  assert(not pcall(orrery.rowwise(function(x) return orrery.grad(function(u) error("inside") end)(x) end), rows))
  assert(not trace.is_active())
  assert(orrery.trace_core.current() == nil)
  assert(f(rows)[3] ~= nil and orrery.sum(rows) == 6)
end
-- Symbols that escape are dead, and say so.
local escaped = {}
pcall(trace.program, { inputs = { { name = "x" } }, fn = function(x) escaped[1] = x return x end })
good, message = pcall(function() return escaped[1] + 1 end)
assert(not good and message:find("a trace that has ended", 1, true), message)
assert(tostring(escaped[1]) == "symbol of a trace that has ended")
good, message = pcall(function() return escaped[1] < 1 end)
assert(not good)
-- Garbage collection at any moment.
collectgarbage("generational")
collectgarbage("incremental", 1, 1000, 1)
for _ = 1, 3 do assert(orrery.rowwise(function(x) if x > 1 then return x * 2 end return -x end)(rows):same { -1, 4, 6 }) end
collectgarbage("incremental", 200, 100, 13)

-- In a coroutine, and with the trace started from within a plain function of one.
local inside = coroutine.wrap(function() return orrery.rowwise(function(x) return x == 2 and 1 or 0 end)(rows) end)()
assert(inside:same { 0, 1, 0 })

-- Listings and texts for people.
assert(tostring(f) == "rowwise the function" and f:listing(rows):find("abs", 1, true))
local shown
trace.program { inputs = { { name = "velocity" }, { name = "p", shape = { 2, 3 } } }, fn = function(v, p)
  shown = { tostring(v), tostring(p), tostring(v * 2) }
  return v
end }
assert(shown[1] == "symbol velocity: row scalar" and shown[2] == "symbol p: row [2, 3]" and shown[3] == "symbol mul: row scalar", shown[3])

-- A function that yields, or another compiled one, inside a trace.
good, message = pcall(coroutine.wrap(function()
  return orrery.rowwise(function(x) return orrery.sum { x, setmetatable({}, { __index = coroutine.yield }).y } end)(rows)
end))
assert(not good and not trace.is_active() and orrery.trace_core.current() == nil, message)
local double = orrery.rowwise(function(x) return x * 2 end)
assert(orrery.rowwise(function(x) return double(x) + double(1) end)(rows):same { 4, 6, 8 })
-- Plain Lua that traces something of its own while a trace of it is being checked.
local slope = orrery.grad(function(x) return x * x end)
assert(orrery.rowwise(function(x) if x > 1 then return (slope(x)) end return x == 1 and 5 or 0 end)(rows):same { 5, 4, 6 })
