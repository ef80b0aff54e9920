-- Branches on compared values: each outcome runs once, a select joins them.
local orrery = require "orrery"
local trace = require "orrery.trace"
local fails = require "tests.lua.fails"
local T = orrery.tensor

local function exact(f, rows)
  local y = orrery.rowwise(f)(rows)
  for i, x in ipairs(rows) do
    local expected = f(x)
    if type(expected) == "boolean" then expected = expected and 1 or 0 end
    assert(math.abs(y[i] - expected) < 1e-5, ("row %s gives %g, plain Lua %g"):format(tostring(x), y[i], expected))
  end
end

local rows = T { -3, -1, 0, 0.5, 1, 2, 3.5 }

exact(function(x) if x > 1 then return x elseif x < -1 then return -x end return 0 end, rows)
exact(function(x) return x >= 1 and 1 or x <= -1 and -1 or 0 end, rows)
exact(function(x) return 1 < x end, rows)
exact(function(x) return not (1 < x) and x ~= 0 end, rows)
exact(function(x) return (x > 0) == (x > 1) end, rows)
exact(function(x) local y = x if y < 0 then y = -y end if y > 1 then y = 1 end return y end, rows)
exact(function(x) return math.max(x, 0) > 1 and 5 or math.min(x, 0) end, rows)
-- Comparisons that contradict each other are not followed: x < 0 and x >= 0 leave nothing out.
exact(function(x) if x < 0 then return -1 elseif x >= 0 then return 1 end end, rows)
-- In loops, also when one ends the loop.
exact(function(x)
  local n = 0
  for i = -2, 3 do
    if x > i then n = n + i * x else break end
  end
  return n
end, rows)
exact(function(x)
  for i = 1, 20 do
    if x < i then return i end
  end
  return 0
end, rows)
-- The same comparison again goes the same way: two paths, not four.
local listing = orrery.rowwise(function(x)
  local y = 0
  for _ = 1, 30 do if x > 1 then y = y + 1 end end
  return y
end):listing(rows)
assert(select(2, listing:gsub("select", "")) == 1, listing)
-- Vectors, and results of several values.
local v = orrery.rowwise(function(p)
  if p[1] > p[2] then return { big = p[1], point = p }, 1 end
  return { big = p[2], point = -p }, 0
end)
local out, flag = v(T { { 1, 2 }, { 4, 3 } })
assert(out.big:same { 2, 4 } and out.point:same { { -1, -2 }, { 4, 3 } } and flag:same { 0, 1 })

-- Every path returns the same structure.
fails("returns a table of (a) when the comparison in line", orrery.rowwise(function(x)
  if x > 1 then return { a = 1 } end
  return { b = 1 }
end), rows)
fails("returns nothing when the comparison in line", orrery.rowwise(function(x) if x > 1 then return 1 end end), rows)
fails("returns a vector of 2", orrery.rowwise(function(x)
  if x > 1 then return orrery.stack { x, x } end
  return 0
end), rows)
fails("returns the text 'a'", orrery.rowwise(function(x) if x > 1 then return "a" end return "b" end), rows)
fails("returns the text 'a'", orrery.rowwise(function() return "a" end), rows)
fails("returns nothing", orrery.rowwise(function() end), rows)
local here = debug.getinfo(1, "l").currentline
local message = fails("takes more than 256 paths", orrery.rowwise(function(x)
  local n = 0
  for i = 1, 12 do
    if x > i then n = n + i end
  end
  return n
end), rows)
assert(message:find(":" .. here + 4 .. ":", 1, true) and message:find("in line " .. here + 4 .. ";", 1, true), message)
fails("cannot choose one branch", orrery.rowwise(function(p) if p > 0 then return 1 end return 0 end), T { { 1, 2 } })
fails("orrery.equal", orrery.rowwise(function(p) if p == p * 1 then return 1 end return 0 end), T { { 1, 2 } })

-- The side that is not taken does not reach the gradient, whatever it is there.
local function guarded(x)
  if x > 0 then return math.sqrt(x) end
  return 0
end
local slope = orrery.rowwise(function(x) return (orrery.grad(guarded)(x)) end)(T { 4, 0, -1, 0.25 })
assert(slope:close_to { 0.25, 0, 0, 1 }, tostring(slope))
local function divided(x) return orrery.where(orrery.equal(x, 0), 0, 1 / x) end
slope = orrery.rowwise(function(x) return (orrery.grad(divided)(x)) end)(T { 0, 2 })
assert(slope:close_to { 0, -0.25 }, tostring(slope))
local second = orrery.rowwise(function(x) return (orrery.grad(orrery.grad(guarded))(x)) end)(T { 4, 0, -1 })
assert(second:close_to { -1 / 32, 0, 0 }, tostring(second))

-- Inlined functions are explored by themselves: 3 x 3 comparisons make no 2^9 paths.
local function clip(x)
  if x > 1 then return 1 elseif x < -1 then return -1 end
  return x
end
local many = trace.program {
  inputs = { { name = "x", shape = { 6 } } },
  fn = function(x)
    local total = 0
    for i = 1, 6 do total = total + trace.inline(clip, x[i]) end
    return total
  end,
}
assert(math.abs(many:run({ x = T { { -3, -0.5, 0, 0.5, 2, 3 } } })[1] - 1) < 1e-6)
-- And they nest.
local function outer(x, y)
  if x > y then return clip(x) end
  return clip(y) * 2
end
local nested = trace.program {
  inputs = { { name = "x", shape = {} }, { name = "y", shape = {} } },
  fn = function(x, y) return trace.inline(outer, x, y) + trace.inline(clip, x) end,
}
assert(nested:run({ x = T { 5, 0.5 }, y = T { 1, 0.75 } }):same { 2, 2 })

-- Draws are made once for all paths.
local noise = orrery.rowwise(function(x)
  local e = orrery.randn()
  if e > x then return e - e + 1 end
  return orrery.where(e:less_equal(x), 0, 100)
end)(orrery.zeros(256))
assert(noise:max() == 1 and noise:min() == 0 and math.abs(noise:mean() - 0.5) < 0.2, tostring(noise))

-- An error on one path says which: no sample may ever take it.
local function checked(x)
  if x > 100 then error("too far") end
  return x
end
message = fails("too far", orrery.rowwise(checked), rows)
assert(message:find("every path is followed: here the comparison in line %d+ is true"), message)

-- ---- NaN: x < 3 and x >= 3 may both be false

do
  local function three(x)
    if x < 3 then return 1 elseif x >= 3 then return 2 else return 7 end
  end
  local y = orrery.rowwise(three)(orrery.tensor { 1, 5, 0 / 0, 3 })
  assert(y[1] == 1 and y[2] == 2 and y[3] == 7 and y[4] == 2, tostring(y))
  -- where plain Lua has no answer for NaN, the numbers still have theirs
  for _, f in ipairs {
    function(x) if x < 3 then return 1 elseif x >= 3 then return 2 end end,
    function(x) if x < 3 then return 1 elseif x >= 3 then return 2 else error "neither" end end,
    function(x) if x < 3 then return 1 elseif x >= 3 then return 2 else print "neither" end end,
    function(x) if 3 > x then return 1 end if x >= 3 then return 2 end return "neither" end,
  } do
    local z = orrery.rowwise(f)(orrery.tensor { 1, 5, 3 })
    assert(z[1] == 1 and z[2] == 2 and z[3] == 2, tostring(z))
  end
  -- what really differs by path is still refused
  local ok, message = pcall(orrery.rowwise(function(x) if x < 3 then return 1 end end), orrery.tensor { 1, 5 })
  assert(not ok and message:find "every path must return the same", message)
end
