-- Functions about one sample, applied to every row: what comes in, what goes out, how it is written.
local orrery = require "orrery"
local fails = require "tests.lua.fails"
local T = orrery.tensor

local function near(x, expected, tolerance)
  assert(T(x):close_to(T(expected), tolerance or 1e-5), tostring(x) .. " is not " .. tostring(T(expected)))
end

-- Numbers, vectors, several arguments, numbers that are the same for all rows.
local f = orrery.rowwise(function(x, y) return x * 2 + y end)
near(f(T { 1, 2, 3 }, 10), { 12, 14, 16 })
near(f(T { 1, 2, 3 }, T { 1, 0, -1 }), { 3, 4, 5 })
assert(f(1, 2) == 4)
fails("argument 2 has 2 rows where 3 are expected", f, T { 1, 2, 3 }, T { 1, 2 })
-- Without `verify` the function is not compared with plain Lua.
local comparison = require "orrery.trace_verify"
local compare = comparison.check
comparison.check = function() error "compared" end
near(orrery.rowwise(function(x) return x * 2 end, { verify = false })(T { 1, 2 }), { 2, 4 })
assert(not pcall(orrery.rowwise(function(x) return x * 2 end), T { 1, 2 }))
comparison.check = compare
near(orrery.rowwise(function(v) return v[1] * v[2] + #v end)(T { { 1, 2 }, { 3, 4 } }), { 4, 14 })
near(orrery.rowwise(function(v) return v:sum() + v[-1] end)(T { { 1, 2 }, { 3, 4 } }), { 5, 11 })
near(orrery.rowwise(function(v) return v end)(T { { 1, 2 }, { 3, 4 } }), { { 1, 2 }, { 3, 4 } })

-- Every operator follows Lua's plain one.
local operators = orrery.rowwise(function(x)
  return { add = x + 1, sub = 1 - x, mul = 2 * x, div = 1 / x, mod = x % 3, floor_div = x // 2, pow = x ^ 2,
           general = (x * x) ^ 1.5, neg = -x }
end)(T { -2.5, 0.5, 4 })
for i, x in ipairs { -2.5, 0.5, 4 } do
  local expected = { add = x + 1, sub = 1 - x, mul = 2 * x, div = 1 / x, mod = x % 3, floor_div = x // 2,
                     pow = x ^ 2, general = (x * x) ^ 1.5, neg = -x }
  for name, value in pairs(expected) do near(operators[name][i], value, 1e-5) end
end
near(orrery.rowwise(function(x) return x % -3 + x // -2 end)(T { 5, -5 }), { 5 % -3 + 5 // -2, -5 % -3 + -5 // -2 })

-- math.*, directly and through a local.
local abs, floor, math_max = math.abs, math.floor, math.max
local function all_of_math(x)
  return { abs(x), floor(x), math.ceil(x), math.sqrt(abs(x)), math.exp(x), math.log(abs(x)), math.log(abs(x), 2),
           math.sin(x), math.cos(x), math.tan(x), math.asin(x / 5), math.acos(x / 5), math.atan(x),
           math.atan(x, 2), math.atan(-1, x), math.fmod(x, 1.5), (math.modf(x)), select(2, math.modf(x)),
           math_max(0, x, -1), math.min(x, 1), math.rad(x), math.deg(x), math.pi * x, tonumber(x),
           math.type(x) == "float" and 1 or 0 }
end
local computed = orrery.rowwise(all_of_math)(T { -2.25, 0.75, 3.5 })
for i, x in ipairs { -2.25, 0.75, 3.5 } do
  for k, value in ipairs(all_of_math(x)) do near(computed[k][i], value, 1e-4) end
end

-- Tables in, tables out, several results.
local g = orrery.rowwise(function(sample, scale)
  return { sum = sample.a + sample.b[1], inner = { 1, sample.a * scale } }, sample.a
end)
local out, second = g({ a = T { 1, 2 }, b = T { { 10, 0 }, { 20, 0 } } }, 3)
near(out.sum, { 11, 22 })
near(out.inner[1], { 1, 1 })
near(out.inner[2], { 3, 6 })
near(second, { 1, 2 })

-- Tensors that are captured are read live; those made inside are constants.
local goal = T { 1, 2 }
local distance = orrery.rowwise(function(v) return (v - goal):norm() + goal[1] * 0 + orrery.zeros(2):sum() end)
near(distance(T { { 1, 2 }, { 4, 6 } }), { 0, 5 })
goal[1] = 4
goal[2] = 6
near(distance(T { { 1, 2 }, { 4, 6 } }), { 5, 0 })
local weights = orrery.rowwise(function(v, w) return v:dot(w) end, { uniform = { 2 } })
near(weights(T { { 1, 2 }, { 3, 4 } }, T { 1, 10 }), { 21, 43 })

-- Structured methods do as tensors do.
local matrix = T { { 2, 1 }, { 1, 3 } }
local function structured(v)
  return {
    sum = v:sum(), mean = v:mean(), max = v:max(), min = v:min(), greater = v:max(2), argmax = v:argmax(),
    argmin = v:argmin(), sort = v:sort(), argsort = v:argsort(), cumsum = v:cumsum(), softmax = v:softmax(),
    logsumexp = v:logsumexp(), norm = v:norm(), variance = v:variance(), std = v:std(nil, nil, 1),
    outer = v:outer(v), matmul = v:slice(1, 2):matmul(matrix), solve = orrery.solve(matrix, v:slice(2)),
    reshape = v:reshape(3, 1), broadcast = v:broadcast(2, 3), transpose = v:outer(v):transpose(),
    slice = v:slice(1, -1, 1, 2), stack = orrery.stack({ v, v * 2 }, 2), concat = orrery.concat { v, 1, v },
    where = orrery.where(v:less(2), v, -v), clamp = v:clamp(0, 2), gather = v:gather { 3, 1 },
    keep = v:sum(1, true), pick = v:outer(v)[{ { 1, 2 }, 3 }], equal = orrery.equal(v, 2), dot = v:dot(v),
    size = v:size(1) + v:axes() + v:count(), along = v:outer(v):max_along(1), insert = v:insert_axis(1),
  }
end
local rows = T { { 1, 5, 2 }, { 3, -1, 0.5 } }
local compiled = orrery.rowwise(structured)(rows)
for i = 1, 2 do
  for name, value in pairs(structured(rows[i])) do
    assert(T(compiled[name][i]):close_to(T(value), 1e-4), name)
  end
end

-- Elements in ipairs; a list of symbols where a tensor is wanted.
near(orrery.rowwise(function(v)
  local total = 0
  for i, x in ipairs(v) do total = total + i * x end
  return total
end)(rows), { 17, 2.5 })
near(orrery.rowwise(function(x) return orrery.sum { x, x * 2, 3 } end)(T { 1, 2 }), { 6, 9 })

-- Draws belong to the program: of every row, the same for the same call, and another at the next one.
local noisy = orrery.rowwise(function(x) return x + orrery.randn() * 0.1 + orrery.rand() end, { seed = 3 })
local first, next_one = noisy(orrery.zeros(64)), noisy(orrery.zeros(64))
assert(not first:same(next_one) and first:std() > 0.1 and first:all_finite())
assert(orrery.rowwise(function(x) return x + orrery.randn() * 0.1 + orrery.rand() end, { seed = 3 })(orrery.zeros(64)):same(first))

-- What symbols say of themselves.
fails("argument 1 is a tensor without axes", f, T(3), 1)
fails("a symbol has no 'summ'; did you mean 'sum'?", orrery.rowwise(function(v) return v:summ() end), rows)
fails("the first axis has elements 1 to 3", orrery.rowwise(function(v) return v[7] end), rows)
fails("rowwise: a function is needed, not a number", orrery.rowwise, 3)
fails("did you mean 'uniform'", orrery.rowwise, print, { unifrom = {} })
assert(f:listing(T { 1 }, 2):find("mul", 1, true))
