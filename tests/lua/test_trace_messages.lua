-- What tracing says of mistakes: the script's line, names from the script, counting from 1.
local orrery = require "orrery"
local trace = require "orrery.trace"
local T = orrery.tensor

-- f fails at its `line`-th line with a message that holds all the texts.
local function fails(f, line, ...)
  local good, message = pcall(f)
  assert(not good, "no error, where one was due")
  local at = ("test_trace_messages.lua:%d:"):format(debug.getinfo(f, "S").linedefined + line)
  for _, text in ipairs { at, ... } do assert(message:find(text, 1, true), text .. " is not in: " .. message) end
  return message
end

local product = orrery.rowwise(function(x, y) return x * y end)
local nested = orrery.rowwise(function(s, y) return s.a * y end)
fails(function()
  local z = product(T { 1, 2 }, T { 1, 2, 3 })
  return z
end, 1, "argument 2 has 3 rows where 2 are expected")
fails(function()
  local z = nested({ a = T { 1, 2 } }, T { 1, 2, 3 })
  return z
end, 1, "argument 2 has 3 rows where 2 are expected")
local _, message = pcall(product, T { 1 })
assert(message:find("(local 'y')", 1, true) and message:find("given 1 argument and takes 2", 1, true), message)
fails(function()
  local g = orrery.grad(function(x) return x * 2 end)(T { 1, 2 })
  return g
end, 1, "grad: the function must return one number", "[2]")
fails(function()
  local c = orrery.scan(function(c) return c end, 0)
  return c
end, 1, "scan: give sequences or options.length")

-- No axis is counted from 0, no name that shares nothing is offered.
_, message = pcall(orrery.rowwise(function(x, y) return x:dot(y) end), T { { 1, 2, 3 } }, T { { 1, 2, 3, 4 } })
assert(message:find("shapes 3 and 4 do not fit: 3 against 4", 1, true) and not message:find("axis 0"), message)
_, message = pcall(orrery.rowwise(function(x) return x:foo() end), T { 1 })
assert(message:find("no 'foo'", 1, true) and not message:find("did you mean"), message)
_, message = pcall(orrery.rowwise(function(x) return x:csos() end), T { 1 })
assert(message:find("did you mean 'cos'", 1, true), message)
_, message = pcall(orrery.env, "pend")
assert(not message:find("did you mean"), message)
local doubled = trace.program { inputs = { { name = "x", shape = {} } }, fn = function(x) return x * 2 end }
_, message = pcall(doubled.run, doubled, { x = T { 5, 6 } }, { rows = 2, index = { x = orrery.tensor({ 0, 2 }, "int") } })
assert(message:find("of its 2 indices, the one in place 2 names none of the 2 rows", 1, true), message)

-- A record is no number: a field is.
local fields = { { name = "torque", shape = {} }, { name = "tip", shape = { 2 } } }
local function with_record(f)
  return pcall(trace.build, { fn = f, name = "reward", inputs = { { name = "a", space = fields } } })
end
for _, f in ipairs {
  function(a) return -a ^ 2 end, function(a) return 2 * a end, function(a) return a < 1 and 1 or 0 end,
} do
  _, message = with_record(f)
  assert(message:find("a is a sample of named fields (torque, tip), not a number: use a field, as in a.torque", 1, true),
    message)
end
_, message = with_record(function(a) return a[1] end)
assert(message:find("no field '1' in a (torque, tip); fields have names, as in a.torque", 1, true), message)
local guarded = require "orrery.record".guard({ torque = 1 }, { "torque" }, "action")
_, message = pcall(function() return guarded * 2 end)
assert(message:find("the action is a table of named fields (torque), not a number: use a field, as in x.torque", 1, true),
  message)
