-- What a function captured may change after the trace: the program follows.
local orrery = require "orrery"
local T = orrery.tensor
local rows = T { 1, 2, 3 }

local function same(f, row, count)
  local y, compiled = nil, orrery.rowwise(f)
  return function()
    y = compiled(rows)
    for i, x in ipairs(rows) do
      local expected = f(x)
      if type(expected) == "boolean" then expected = expected and 1 or 0 end
      assert(math.abs(y[i] - expected) < 1e-4, ("row %g gives %g, plain Lua %g"):format(x, y[i], expected))
    end
    return compiled
  end, row, count
end

-- A number that is assigned again; from its second change on nothing is traced for it.
local goal = 3
local check = same(function(x) return (x - goal) ^ 2 end)
check()
local compiled
local programs = {}
for _, value in ipairs { 5, -1, 0.5, 7, 3 } do
  goal = value
  compiled = check()
  for _, c in pairs(compiled.compiled) do programs[c.program] = true end
end
local count = 0
for _ in pairs(programs) do count = count + 1 end
assert(count == 1, "traced anew for a number that changes often")

-- As it is compared, counted with, and used where only a number will do.
local mode = 1
check = same(function(x) if mode == 1 then return x elseif mode == 2 then return -x end return 0 end)
for _, value in ipairs { 1, 2, 3, 1, 2, 5 } do mode = value check() end
local steps = 2
check = same(function(x) local y = 0 for _ = 1, steps do y = y + x end return y end)
for _, value in ipairs { 2, 3, 4, 1 } do steps = value check() end
local pick = 1
check = same(function(x) return ({ 10, 20, 30 })[pick] * x end)
for _, value in ipairs { 1, 2, 3, 1 } do pick = value check() end
local whole = 7
check = same(function(x) return x * (whole // 2) + whole % 4 end)
for _, value in ipairs { 7, 8, 9.5, -3 } do whole = value check() end

-- Fields of tables, at any depth; lengths; keys that come and go.
local config = { gain = 2, nested = { offset = { 1, 2 } }, list = { 1, 2, 3 }, name = "a" }
check = same(function(x)
  local total = config.gain * x + config.nested.offset[2]
  for _, v in ipairs(config.list) do total = total + v end
  for _, v in pairs(config.nested.offset) do total = total + v end
  if config.name == "a" then total = total + 100 end
  if config.extra then total = total + config.extra end
  return total + #config.list
end)
check()
config.gain = 5 check()
config.nested.offset[2] = 7 check()
config.list[4] = 9 check()
config.name = "b" check()
config.extra = 4 check()
config.extra = nil check()
config.nested = { offset = { 3, 3 } } check()
config.list = {} check()

-- Globals, helper functions and what those capture.
some_global = 4
local factor = 2
local function helper(x) return x * factor + some_global end
check = same(function(x) return helper(x) + 1 end)
check()
factor = 3 check()
some_global = 5 check()
local old = helper
helper = function(x) return old(x) * 2 end
check()
some_global = nil

-- Two functions that share a variable.
local shared = 1
local function set_shared(value) shared = value end
local function read_shared(x) return x + shared end
check = same(function(x) return read_shared(x) * shared end)
check()
set_shared(10) check()

-- Tensors: written to, and replaced.
local weights = T { 1, 2 }
check = same(function(x) return weights[1] * x + weights:sum() end)
check()
weights[1] = 5 check()
weights = T { 1, 1, 1 } check()

-- Booleans, texts and nothing.
local flag, label
check = same(function(x) return (flag and 1 or 0) + (label == "x" and x or 0) end)
check()
flag = true check()
label = "x" check()
flag = nil check()

-- A table of constants captured by a local inside.
local physics = { g = 9.81, mass = 1 }
check = same(function(x) local p = physics return p.g * x / p.mass end)
check()
physics.g = 1.62 check()
physics.g = 3.7 check()
physics.mass = 2 check()

-- A captured list as a tensor, made while tracing; its numbers and its length may change.
local list = { 2, 3 }
check = same(function(x) return (orrery.tensor(list) * x):sum() + orrery.tensor { { 1, x = 5 }, list[1] > 0 and { 4 } or { 5 } }:sum() end)
check()
list[1] = -4 check()
list[1] = 6 check()
list[3] = 10 check()
