-- Tensors in Lua: making, indexing, operators, numbers and tensors through the same functions.
local orrery = require "orrery"
local fails = require "tests.lua.fails"

local t = orrery.tensor { { 1, 2, 3 }, { 4, 5, 6.5 } }

-- Looking: from 1, negative from the end, a result without axes is a number.
assert(#t == 2 and t:axes() == 2 and t:count() == 6 and t:dtype() == "real")
local rows, columns = t:shape()
assert(rows == 2 and columns == 3 and t:size(-1) == 3)
assert(t[1][2] == 2 and t[-1][-1] == 6.5 and t[{ 2, 1 }] == 4)
assert(math.type(orrery.tensor({ 3 }, "int")[1]) == "integer")
assert(t[{ {}, 2 }]:same { 2, 5 } and t[{ 1, { 2, 3 } }]:same { 2, 3 } and t[{ { -1 } }]:same { { 4, 5, 6.5 } })
assert(t:slice(2):same { { 4, 5, 6.5 } } and t:slice(1, 2, 2):same { { 1, 2 }, { 4, 5 } })
assert(t:slice(1, -1, 2, 2):same { { 1, 3 }, { 4, 6.5 } } and #t:slice(2, 1) == 0)
local total = 0
for i, row in ipairs(t) do total = total + i * row:sum() end
assert(total == 6 + 2 * 15.5)
fails("there is no 0", function() return t[0] end)
fails("axis 1 of 2x3 has no entry 4", function() return t[4] end)
fails("did you mean 'transpose'", function() return t:trasnpose() end)
fails("2 to 4 by 1 is not within axis 1, of length 2", t.slice, t, 2, 4)

-- Writing: views write through.
local w = t:copy()
w[1] = 0
w[2][3] = 7
w[{ 2, { 1, 2 } }] = { 8, 9 }
assert(w:same { { 0, 0, 0 }, { 8, 9, 7 } } and t[1][1] == 1)
w:transpose()[3]:fill(-1)
assert(w[1][3] == -1 and w[2][3] == -1)
fails("cannot assign 2 to 3", function() w[1] = { 1, 2 } end)

-- Tables and back.
assert(orrery.tensor(5):item() == 5 and t:totable()[2][3] == 6.5)
fails("ragged table", orrery.tensor, { { 1, 2 }, { 3 } })
fails("ragged table", orrery.tensor, { { 1, 2 }, 3 })
fails("not a number", orrery.tensor, { 1, "x" })
assert(orrery.tensor({ 300, -2, 1.5 }, "byte"):same { 255, 0, 2 })

-- Operators broadcast; both sides may be numbers.
assert((t + 1):same { { 2, 3, 4 }, { 5, 6, 7.5 } } and (1 - t[1]):same { 0, -1, -2 })
assert((t * orrery.tensor { { 2 }, { 10 } }):same { { 2, 4, 6 }, { 40, 50, 65 } })
assert((-t[1]):same { -1, -2, -3 } and (2 ^ t[1]):same { 2, 4, 8 })
assert((orrery.tensor { -7, 7 } % 3):same { -7 % 3, 7 % 3 } and (orrery.tensor { -7, 7 } // 2):same { -4, 3 })
assert(t == t and not rawequal(t, t:copy()) and orrery.tensor(2) == orrery.tensor { 2 } and t ~= 1 and t ~= nil)
assert(orrery.tensor(2) ~= orrery.tensor(3) and t ~= orrery.env "pendulum")
fails("test_tensor.lua:48: == of tensors: use orrery.equal(a, b)", function() return t == t:copy() end)
fails("rawequal(a, b)", function() return t[1] ~= t[2] end)
assert(not tostring(orrery.zeros(1000)):find(("0, "):rep(10)) and #tostring(orrery.zeros(1000)) < 60)
fails("cannot add 3x4 and 5x4: axis 1 is 3 against 5", function() return orrery.zeros(3, 4) + orrery.zeros(5, 4) end)
fails("test_tensor.lua:", function() return orrery.zeros(3) + orrery.zeros(4) end)
fails("a:less(b)", function() return t < 1 end)
assert(orrery.tensor(1) < 2 and orrery.tensor(2) <= 2 and not (orrery.tensor(3) < 2))

-- The same function on numbers and on tensors.
local function reward(x, v)
  return orrery.cos(x) - 0.1 * orrery.clamp(v, -1, 1) ^ 2 + orrery.where(orrery.less(x, 0), -1, orrery.max(v, 0.5))
end
local xs, vs = { -2, 0.5, 3 }, { 4, -0.25, 0.75 }
local batch = reward(orrery.tensor(xs), orrery.tensor(vs))
for i = 1, 3 do assert(math.abs(batch[i] - reward(xs[i], vs[i])) < 1e-6) end
assert(orrery.tanh(0.3) == (math.exp(0.6) - 1) / (math.exp(0.6) + 1) or math.abs(orrery.tanh(0.3) - 0.2913126124515909) < 1e-12,
  "on numbers in double precision")
assert(orrery.where(true, "a", "b") == "a" and orrery.where(2 > 3, 1, 0) == 0)
assert(orrery.sum(0.1) == 0.1 and orrery.norm(-2) == 2 and orrery.dot(2, 3) == 6)

-- Reductions and orders: no axis is over everything; indices count from 1.
assert(t:sum() == 21.5 and t:sum(1):same { 5, 7, 9.5 } and t:sum(-1, true):same { { 6 }, { 15.5 } })
assert(t:max() == 6.5 and t:min() == 1 and t:max(4):same { { 4, 4, 4 }, { 4, 5, 6.5 } })
assert(t:mean(1):same { 2.5, 3.5, 4.75 } and t:max_along(2):same { 3, 6.5 })
assert(orrery.tensor { 1, 3, 3 }:argmax() == 2 and t:argmax():same { 3, 3 } and t:argmax(1):same { 2, 2, 2 })
local order = orrery.tensor { 3, 1, 2 }
assert(order:sort():same { 1, 2, 3 } and order:argsort():same { 2, 3, 1 })
assert(order:gather(order:argsort()):same(order:sort()) and t:gather { 2, 1, 2 }:sum(2):same { 15.5, 6, 15.5 })
assert(order:cumsum():same { 3, 4, 6 } and order:cumsum(1, true):same { 6, 3, 2 })
assert(t:gather_along { { 3 }, { 1 } }:same { { 3 }, { 4 } })
fails("asks for entry 4 of 3", order.gather, order, { 4 })
fails("asks for entry 0 of 3", order.gather, order, { 0 })
fails("no axis 3: there are 2", t.sum, t, 3)
assert(t:softmax():sum(2):close_to { 1, 1 } and math.abs(orrery.tensor { 0, 0 }:logsumexp() - math.log(2)) < 1e-6)
assert(math.abs(orrery.tensor { 1, 2, 3 }:std() - math.sqrt(2 / 3)) < 1e-6)
assert(math.abs(orrery.tensor { 1, 2, 3 }:std(nil, nil, 1) - 1) < 1e-6)

-- Shapes and joins.
assert(t:reshape(3, -1):same { { 1, 2 }, { 3, 4 }, { 5, 6.5 } } and #t:flatten() == 6)
assert(t:transpose():same { { 1, 4 }, { 2, 5 }, { 3, 6.5 } })
assert(orrery.zeros(2, 3, 4):transpose(3, 1, 2):size(1) == 4)
assert(orrery.tensor { 1, 2 }:broadcast(2, 2):same { { 1, 2 }, { 1, 2 } } and t:insert_axis(-1):size(3) == 1)
assert(orrery.concat { t[1], 9, t[2] }:same { 1, 2, 3, 9, 4, 5, 6.5 })
assert(orrery.concat({ t, t }, 2):size(2) == 6 and orrery.stack({ 1, 2, 3 }):same { 1, 2, 3 })
assert(orrery.stack({ t[1], t[2] }, 2):same(t:transpose()))
fails("may differ in axis 1 only", orrery.concat, { t, t:transpose() })

-- Products.
assert(orrery.eye(2):matmul(t):same(t) and t:matmul { 1, 0, 0 }:same { 1, 4 })
assert(orrery.dot({ 1, 2 }, { 3, 4 }) == 11 and orrery.outer({ 1, 2 }, { 3, 4 }):same { { 3, 4 }, { 6, 8 } })
assert(orrery.solve({ { 2, 1 }, { 1, 3 } }, { 3, 4 }):close_to { 1, 1 })
fails("singular", orrery.solve, { { 1, 1 }, { 1, 1 } }, { 1, 1 })

-- Makers.
assert(orrery.arange(3):same { 1, 2, 3 } and orrery.arange(0, 1, 0.1):count() == 11)
assert(orrery.arange(3, 1, -1):same { 3, 2, 1 } and orrery.linspace(0, 1, 3):same { 0, 0.5, 1 })
assert(orrery.full(2, { 2, 2 }, "int"):same { { 2, 2 }, { 2, 2 } })
orrery.seed(3)
local draw = orrery.randn(4, 2)
orrery.seed(3)
assert(orrery.randn(4, 2):same(draw) and not orrery.randn(4, 2):same(draw))
assert(orrery.permutation(9):sort():same(orrery.arange(9)))
local dice = orrery.randint(1, 6, 600)
assert(dice:min() == 1 and dice:max() == 6 and dice:dtype() == "int")
fails("too large for any memory", orrery.zeros, 1 << 31, 1 << 31)
assert(tostring(orrery.tensor({ 1, 20 }, "int")) == "tensor 2 int\n[ 1, 20]")

-- Not finite.
assert(not orrery.tensor { 0 / 0 }:all_finite() and orrery.tensor { 1 / 0, 1 }:is_finite():same { 0, 1 })
