-- Objects with methods of their own (symbols are such) take part in every function and operator.
local orrery = require "orrery"

local methods = {}
local object = setmetatable({}, { __index = methods, __name = "stranger" })
local function record(name)
  methods[name] = function(...) return { name = name, n = select("#", ...), ... } end
end
for _, name in ipairs { "tanh", "max", "add", "sub", "where", "clamp", "sum", "matmul", "concat", "stack", "gather",
                        "softmax", "reshape", "pow" } do
  record(name)
end

local function check(result, name, ...)
  assert(result.name == name and result.n == select("#", ...))
  for i = 1, result.n do assert(result[i] == select(i, ...)) end
end

local t = orrery.zeros(3)
check(orrery.tanh(object), "tanh", object)
check(orrery.max(2, object), "max", 2, object)
check(t:max(object), "max", t, object)
check(t + object, "add", t, object)
check(t - object, "sub", t, object)
check(t ^ object, "pow", t, object)
check(orrery.where(t, 1, object), "where", t, 1, object)
check(orrery.clamp(1, object, 2), "clamp", 1, object, 2)
check(orrery.matmul(t, object), "matmul", t, object)
check(orrery.sum(object, 1, true), "sum", object, 1, true)
check(orrery.softmax(object), "softmax", object)
check(orrery.reshape(object, 2, 3), "reshape", object, 2, 3)
local list = { 1, object, t }
check(orrery.concat(list, 1), "concat", list, 1)
check(orrery.stack(list), "stack", list, nil)
local nested = { { 1, 2 }, { 3, object } }
check(orrery.sum(nested), "sum", nested)

-- Without such a method it is no operand.
local other = setmetatable({}, {})
assert(not pcall(orrery.tanh, other) and not pcall(function() return t + "x" end))
