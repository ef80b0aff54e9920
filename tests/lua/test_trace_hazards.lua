-- What Lua lets a person write and a tracer cannot see: exact, or refused with the script's line.
local orrery = require "orrery"
local bytecode = require "orrery.trace_bytecode"
local T = orrery.tensor
local rows = T { -1, 0, 1, 2, 2.5, 3, 4 }

assert(bytecode.exact, "this Lua's bytecode is not known: == on symbols would go unseen")

-- The compiled function does as plain Lua on every row.
local function exact(f, with)
  local y = orrery.rowwise(f)(with or rows)
  for i, x in ipairs(with or rows) do
    local expected = f(x)
    if type(expected) == "boolean" then expected = expected and 1 or 0 end
    assert(math.abs(y[i] - expected) < 1e-5, ("row %g gives %g, plain Lua %g"):format(x, y[i], expected))
  end
end

-- Refused, with this file and the line of the function's `lines`-th line.
local function refused(pattern, f, lines)
  local good, message = pcall(orrery.rowwise(f), rows)
  assert(not good, "no error, where one with '" .. pattern .. "' was due")
  assert(message:find(pattern, 1, true), message)
  local here = debug.getinfo(f, "S")
  local line = message:match("test_trace_hazards%.lua:(%d+):")
  assert(line, "no line of the script in: " .. message)
  line = tonumber(line)
  assert(line >= here.linedefined and line <= here.lastlinedefined, message)
  if lines then assert(line == here.linedefined + lines, message) end
  assert(not message:find("%d%d%d%d%d%d%d%d"), message) -- no line of a copy
end

-- Equality is a comparison like any other, in each form that Lua compiles it to.
exact(function(x) if x == 3 then return 1 end return 0 end)
exact(function(x) if x ~= 3 then return 1 end return 0 end)
exact(function(x) if x == 2.5 then return 1 end return 0 end)
exact(function(x) if 1000000 == x * 500000 then return 1 end return 0 end)
exact(function(x) local y = x // 1 if y == x then return 1 end return 0 end)
exact(function(x) local three = 3 return x == three and 10 or x end)
exact(function(x) local three = 3 return three == x and 10 or x end)
exact(function(x) return x == 3 end)
exact(function(x) local same = x == 3 if same then x = x + 1 end return x end)
exact(function(x) return (x == x) and 1 or 0 end)
exact(function(x) return (x == nil or x == "3" or x == false) and 1 or 0 end)
exact(function(x) local n = 0 for i = 0, 4 do if x == i then n = n + i * x end end return n end)
exact(function(x) local function is(a, b) return a == b end return is(x, 3) and 1 or is(2, x) and 2 or 0 end)
exact(function(x)
  local kept = x
  local hit = kept == 3 -- the register holds the symbol again afterwards
  return kept * 2 + (hit and 1 or 0)
end)
exact(function(x) return rawequal(x, x) and 1 or 0 end)

-- NaN equals nothing, itself neither: Lua does not ask about a symbol and itself, the tracer does.
local some_nan = T { 0 / 0, 1, -1 / 0 }
exact(function(x) if x ~= x then return 1 end return 0 end, some_nan)
exact(function(x) if x == x then return 1 end return 0 end, some_nan)
exact(function(x) local y = x if y == x then return x == x and 1 or 2 end return 0 end, some_nan)
exact(function(x) return (x * 1 == x * 1 and 1 or 0) + (x ~= x and 2 or 0) end, some_nan)
exact(function(x) local function is_nan(v) return v ~= v end return is_nan(x) and 5 or is_nan(2) and 6 or 7 end, some_nan)
exact(function(x) local y = x if y ~= x then y = 3 end return (y > 0 and x > 0) and 2 or y == 3 and 1 or 0 end, some_nan)
exact(function(x) return rawequal(x, x) and 1 or 0 end, some_nan)
exact(function(x) return rawequal(x, x * 1) and 1 or 0 end, some_nan)
local pairs_of = orrery.rowwise(function(p) return (p == p and 1 or 0) + (p[1] ~= p[1] and 2 or 0) end)
assert(pairs_of(T { { 0 / 0, 1 }, { 1, 2 } }):same { 3, 1 }) -- vectors are objects, as in plain Lua

-- Numbers are true, so are symbols.
exact(function(x) return not x and 1 or 0 end)
exact(function(x) return x and 1 or 0 end)
exact(function(x) local y = x or 5 return y end)
exact(function(x) return tonumber(x) end)
exact(function(x) return type(x) == "number" and 1 or 0 end)
exact(function(x) return math.type(x) == "float" and 1 or 0 end)
exact(function(x) local mode = "double" if mode == "double" then return 2 * x end return x end)

-- A symbol as a key finds nothing in plain tables, and nothing tells.
local captured = { 1, 2, 3 }
refused("as the key of a table", function(x)
  local t = { 1, 2, 3 }
  return t[x] or 0
end, 2)
refused("as the key of a table", function(x)
  local seen = {}
  seen[x] = true
  return 0
end, 2)
refused("key of a table", function(x) return captured[x] or 0 end)
refused("a value of the sample", function(x) return rawget({ 1 }, x) or 0 end)
refused("rawequal", function(x) return rawequal(x, 3) and 1 or 0 end)
-- A tensor can be looked up.
local table_of = T { 10, 20, 30, 40 }
exact(function(x) return table_of[math.floor(math.abs(x)) % 4 + 1] end, T { 0, 1, 2, 3, 1 })

-- Texts, bits, calls, loops.
refused("cannot become text", function(x) return #("x = " .. x) end)
refused("cannot become text", function(x) return #tostring(x) end)
refused("cannot become text", function(x) return #("%s"):format(x) end)
refused("whole number", function(x) return math.tointeger(x) or 0 end)
refused("a value of the sample, which is not known while tracing", function(x) return #string.format("%d", x) end)
refused("bitwise operators", function(x) return x & 1 end)
refused("not a function", function(x) return x(1) end)
refused("single number", function(x) return x[1] end)
refused("cannot be assigned", function(x) x[1] = 2 return x end)
refused("bad 'for' limit", function(x) local n = 0 for _ = 1, x do n = n + 1 end return n end)
refused("more than 128 comparisons", function(x) while x > 0 do x = x - 1 end return x end)
refused("does not end", function() while true do end end)
refused("stack overflow", function(x) local function f(y) return f(y + 1) + 1 end return f(x) end)

-- Recursion, varargs, nested functions, closures, methods, string fields: plain Lua.
exact(function(x)
  local function power(n) return n == 0 and 1 or x * power(n - 1) end
  return power(3)
end)
local function outer_factorial(n) return n <= 1 and 1 or n * outer_factorial(n - 1) end
exact(function(x) return x * outer_factorial(4) end)
exact(function(...) local a = ... return select("#", ...) + a end)
exact(function(x)
  local functions = {}
  for i = 1, 3 do functions[i] = function(y) return y * i + x end end
  return functions[1](1) + functions[3](x)
end)
exact(function(x) local t = { x, 2, 1 } table.sort(t) return t[1] + 10 * t[2] + 100 * t[3] end)
exact(function(x) local a, b = table.unpack { x, 2 } return a * b end)
exact(function(x) local t = { value = x, ["other key"] = 2 } return t.value * t["other key"] end)
exact(function(x)
  local total = 0
  for _, v in pairs { a = 1, b = x, c = 3 } do total = total + v end
  return total
end)
local Point = {}
Point.__index = Point
Point.__add = function(a, b) return setmetatable({ x = a.x + b.x }, Point) end
function Point:doubled() return self.x * 2 end
local origin = setmetatable({ x = 0.5 }, Point)
exact(function(x) return (setmetatable({ x = x }, Point) + origin):doubled() end)
exact(function(x) return getmetatable(setmetatable({}, Point)) == Point and x or 0 end)

-- Errors of the script itself come with the script's line, and nothing else breaks.
refused("my own words", function(x)
  local y = x + 1
  error("my own words, " .. type(y))
end, 2)
refused("attempt to index a nil value (local 't')", function(x) local t = nil return t.field + x end)
-- What is missing is named as plain Lua names it.
refused("arithmetic on a nil value (global 'gain')", function(x)
  local y = x + 1
  return gain * y
end, 2)
refused("arithmetic on a nil value (field 'speed')", function(x) local t = {} return x / t.speed end)
refused("arithmetic on a nil value (local 'missing')", function(x, missing) return x ^ missing end)
local empty, word = nil, "oops"
refused("arithmetic on a nil value (upvalue 'empty')", function(x) return x - empty end)
refused("arithmetic on a string value (upvalue 'word')", function(x) return word * x end)
refused("arithmetic on a boolean value (local 'flag')", function(x) local flag = true return x + flag end)
refused("arithmetic on a function value (local 'f')", function(x) local function f() end return f % x end)
refused("attempt to compare number with nil", function(x) return x < empty end)
exact(function(x) -- caught, and what goes on computes with the symbol
  local ok = pcall(function(y) return y + empty end, x)
  return (ok and 1 or 2) * x
end)

-- Refusals in tail position keep their line.
refused("draws with math.random", function(x)
  if x == nil then return 0 end
  return math.random()
end, 2)
refused("whole number", function(x)
  local y = x * 2
  return math.tointeger(y)
end, 2)
exact(function(x) -- and tail calls do what they did: several results, methods, recursion
  local function three(a) return a, 2, 3 end
  local function all(...) return three(...) end
  local function count(n, sum) if n == 0 then return sum end return count(n - 1, sum + x) end
  return select("#", all(x)) + count(1000, 0)
end)

refused("attempt to call a nil value (global 'absent')", function(x) return absent(x) end)
local thrown = setmetatable({}, { __tostring = function() return "an object" end })
local good, object = pcall(orrery.rowwise(function() error(thrown) end), rows)
assert(not good and rawequal(object, thrown))
exact(function(x) local ok, e = pcall(error, "caught") return ok and 0 or #e * x end)
assert(orrery.rowwise(function(x) return x + 1 end)(rows)[1] == 0)

-- What does not end ends in plain Lua, too, where nobody asked for that; also in a coroutine, and where it catches
-- errors.
local function endless(f)
  local plainly = orrery.rowwise(f, { fallback = true })
  assert(plainly(T { -1 })[1] == -1)
  local done, message = pcall(plainly, T { -1, 1 })
  assert(not done and message:find "test_trace_hazards.lua:%d+: the function does not end: 10 million", message)
  assert(plainly(T { -1 })[1] == -1)
end
endless(function(x) while x > 0 do end return x end)
endless(function(x)
  while x > 0 do pcall(function() while true do end end) end
  return x
end)
endless(function(x)
  if x > 0 then coroutine.wrap(function() while true do end end)() end
  return x
end)
assert(debug.gethook() == nil)
-- a hook that was there goes on
local seen = 0
debug.sethook(function() seen = seen + 1 end, "", 1000)
local looped = orrery.rowwise(function(x) while x > 0 do x = x - 1e-3 end return x end, { fallback = true })
assert(looped(T { 200 })[1] <= 0 and seen > 200)
debug.sethook()
-- who asks for it may take longer
local long = orrery.rowwise(orrery.interpret(function(x) for _ = 1, 11e6 do x = x + 1 end return x end))
assert(long(T { 0 })[1] == 11e6)
-- one within another counts as the outer one's, which still ends
local function plain(x) return tonumber(tostring(x)) end
local inner = orrery.rowwise(function(x)
  local s = plain(x)
  for _ = 1, 20000 do s = s + 1 end
  return s
end, { fallback = true })
local outer = orrery.rowwise(function(x) return inner(T { plain(x) }):item() end, { fallback = true })
assert(outer(T { 1, 2 }):same(T { 20001, 20002 }))
endless(function(x)
  while x > 0 do inner(T { plain(x) }) end
  return plain(x)
end)
-- in a coroutine it may yield
local yielding = orrery.rowwise(function(x)
  coroutine.yield(plain(x))
  return x
end, { fallback = true })
local co = coroutine.wrap(function() return yielding(T { 1, 2 }) end)
assert(co() == 1 and co() == 2 and co():same(T { 1, 2 }))
-- a coroutine that outlives a limit, and a hook on lines, which it inherited
debug.sethook(function() end, "l")
local kept = orrery.rowwise(function(x)
  if plain(x) == 1 then
    co = coroutine.create(function() for i = 1, 100 do coroutine.yield(i) end end)
  end
  return select(2, coroutine.resume(co))
end, { fallback = true })
kept(T { 1 })
debug.sethook()
assert(kept(T { 2, 3 }):same(T { 2, 3 }))
