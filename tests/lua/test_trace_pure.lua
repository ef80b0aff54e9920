-- Functions that do something besides returning are refused, with what to do; the way out is plain Lua.
local orrery = require "orrery"
local T = orrery.tensor
local rows = T { 1, 2, 3 }

local function refused(pattern, f, advice)
  local good, message = pcall(orrery.rowwise(f), rows)
  assert(not good, "no error, where one with '" .. pattern .. "' was due")
  assert(message:find(pattern, 1, true), message)
  assert(message:find(advice or "orrery.interpret", 1, true), message)
  local here = debug.getinfo(f, "S")
  local line = tonumber(message:match("test_trace_pure%.lua:(%d+):"))
  assert(line and line >= here.linedefined and line <= here.lastlinedefined, message)
end

local count, settings, last = 0, { nested = { value = 1 } }, nil
refused("assigns to 'count'", function(x) count = count + 1 return x end, "return the value instead")
refused("assigns to 'last'", function(x) if x > 1 then last = x end return x end, "return the value instead")
refused("assigns to 'count'", function(x)
  local function inner() count = 5 end
  inner()
  return x
end, "return the value instead")
refused("assigns to new_global", function(x) new_global = x return x end)
refused("assigns to settings.nested.value", function(x) settings.nested.value = x return x end)
refused("assigns to settings[1]", function(x) table.insert(settings, x) return x end)
refused("assigns to settings.other", function(x) rawset(settings, "other", x) return x end)
refused("metatable of a table from outside", function(x) setmetatable(settings, {}) return x end)
assert(count == 0 and last == nil and new_global == nil and settings.nested.value == 1 and #settings == 0)

local random, write, clock = math.random, io.write, os.clock
refused("draws with math.random", function(x) return x + math.random() end, "orrery.rand")
refused("draws with math.random", function(x) return x + random(3) end, "orrery.rand")
refused("draws with math.randomseed", function(x) math.randomseed(1) return x end, "orrery.rand")
refused("takes the time with os.time", function(x) return x + os.time() end, "as an argument")
refused("takes the time with os.clock", function(x) return x + clock() end, "as an argument")
refused("takes the time with orrery.clock", function(x) return x + orrery.clock() end, "as an argument")
refused("sleeps", function(x) orrery.sleep(60) return x end)
refused("takes the time with os.date", function(x) return x + #os.date() end, "as an argument")
refused("os.getenv", function(x) return os.getenv("HOME") and x or 0 end)
refused("prints", function(x) print(x) return x end)
refused("io.write", function(x) write("never") return x end)
refused("io.stdout", function(x) io.stdout:write("never") return x end)
local file = io.stderr
refused("files", function(x) file:write("never") return x end)
refused("coroutine.wrap", function(x) return coroutine.wrap(function() return x end)() end)
refused("loads code", function(x) return load("return 1")() + x end)
refused("debug.getinfo", function(x) return debug.getinfo(1).currentline + x end)
refused("prints", function(x) pcall(print, x) return x end) -- catching it does not help

-- Nothing was printed, drawn or changed on the way: reading only is fine.
local y = orrery.rowwise(function(x) return x + settings.nested.value + count end)(rows)
assert(y:same { 2, 3, 4 })

-- The same functions run as plain Lua, one sample at a time.
local calls = 0
local plain = orrery.rowwise(orrery.interpret(function(x)
  calls = calls + 1
  local t = { 10, 20, 30 }
  return { value = t[math.tointeger(x)], even = x % 2 == 0 }, x
end))
local result, second = plain(rows)
assert(calls == 3 and result.value:same { 10, 20, 30 } and result.even:same { 0, 1, 0 } and second:same(rows))
assert(plain(2).value == 20)

-- Or where tracing fails, when that is asked for; a reason is logged once.
local trace = require "orrery.trace"
local notices = {}
function trace.notice(message) notices[#notices + 1] = message end
local fallen = orrery.rowwise(function(x)
  while x > 1 do x = x - 1 end
  return x
end, { fallback = true, name = "halving" })
assert(fallen(T { 1, 2.5, 3.25 }):same { 1, 0.5, 0.25 })
assert(fallen(T { 1.5 }):same { 0.5 })
assert(#notices == 1 and notices[1]:find("halving runs as plain Lua", 1, true), notices[1])
-- A mistake that plain Lua has, too, is raised, and not told as a fallback.
local equal = orrery.rowwise(function(a, b) if a == b then return 0 end return -1 end, { fallback = true })
for _ = 1, 2 do
  local done, message = pcall(equal, orrery.ones(3, 2), orrery.ones(3, 2))
  assert(not done and message:find "orrery.equal%(a, b%)" and #notices == 1, message)
end
assert(not pcall(orrery.interpret, 3))
