-- Calls like the one before: they find the program without describing their arguments anew, take
-- nothing for what it is not, and allocate nothing where results may be overwritten.
local orrery = require "orrery"
local trace = require "orrery.trace"

local function allocations() return select(2, orrery.memory()) end

local function steady(what, f, ...)
  for _ = 1, 3 do f(...) end
  local before = allocations()
  for _ = 1, 40 do f(...) end
  assert(allocations() == before, ("%s: %d allocations in 40 calls"):format(what, allocations() - before))
end

local x, y = orrery.randn(40), orrery.randn(40)
local apart = orrery.rowwise(function(a, b) return (a - b) ^ 2 end, { reuse = true })
steady("tensors", apart, x, y)
steady("a number", apart, x, 0.5)
local both = orrery.rowwise(function(s, k) return { near = s.p * k, far = s.p + s.v }, s.v end, { reuse = true })
steady("a table", both, { p = x, v = y }, 3)
local compiled = trace.program {
  name = "sum", inputs = { { name = "x", shape = { 3 } } }, fn = function(a) return a:sum() end,
}
local rows, index = orrery.randn(30, 3), orrery.tensor({ 2, 0, 1, 7 }, "int")
steady("a program", compiled.run, compiled, { x = rows })
steady("rows by index", compiled.run, compiled, { x = rows }, { index = { x = index } })

-- reuse says what it does: the same memory; without it results are one's own
local first = apart(x, y)
local kept = first:copy()
assert(first:same((x - y) ^ 2))
apart(y, y)
assert(first:max() == 0 and kept:max() > 0)
local own = orrery.rowwise(function(a, b) return (a - b) ^ 2 end)
first = own(x, y)
own(y, y)
assert(first:same(kept))

-- one signature after another, each like none before or like the one before the last
local f = orrery.rowwise(function(s, k) return type(s) == "table" and s.p * k or s * k end)
for round = 1, 3 do
  assert(f(x, 2):same(2 * x) and f({ p = x }, 2):same(2 * x) and f({ p = x }, y):same(x * y))
  assert(f(3, round) == 3 * round and f(orrery.tensor { 1, 2 }, round):same(orrery.tensor { 1, 2 } * round))
  assert(f(rows, 2):same(2 * rows) and f(rows, 3):same(3 * rows))
  assert(f({ p = rows, q = y:slice(1, 30) }, 2):same(2 * rows)) -- a field more
end
local done, message = pcall(f, x, y:slice(1, 3))
assert(not done and message:find("argument 2 has 3 rows where 40 are expected", 1, true), message)
done, message = pcall(f, { p = x, q = y:slice(1, 3) }, 2)
assert(not done and message:find("3 rows where 40 are expected", 1, true), message)
local fixed = orrery.rowwise(function(a, w) return orrery.sum(a * w) end, { uniform = { 2 } })
local w = orrery.tensor { 1, 2, 3 }
for _ = 1, 3 do assert(fixed(rows, w):close_to(orrery.sum(rows * w, 2))) end
assert(fixed(rows, orrery.randn(3)):size(1) == 30)

-- a captured number that changes is seen, also when that makes a new program
local scale = 1
local captured = orrery.rowwise(function(a) return scale * a end, { reuse = true })
assert(captured(x):same(x) and captured(x):same(x))
for value = 2, 4 do
  scale = value
  assert(captured(x):close_to(value * x))
end

-- draws differ from call to call
local noisy = orrery.rowwise(function(a) return a + orrery.randn() end)
local drawn, more = noisy(x), noisy(x)
assert(not drawn:same(more))

-- outputs stay valid when their table is changed, or one of them closed
local out = compiled:run { x = rows }
out:close()
assert(compiled:run({ x = rows }):close_to(orrery.sum(rows, 2)))
local short = compiled:run { x = rows:slice(1, 4) }
assert(short:size(1) == 4 and compiled:run({ x = rows }):size(1) == 30)
assert(short:close_to(orrery.sum(rows:slice(1, 4), 2)))

-- within another trace it is the function itself
local outer = orrery.rowwise(function(a) return apart(a, 1) + 1 end)
assert(outer(x):close_to((x - 1) ^ 2 + 1))

-- planning in a closed loop
local space = orrery.space { { "u", low = -1, high = 1 } }
local model = orrery.model { observation = orrery.space { "p", "v" }, action = space, hidden = { 8 }, members = 2 }
local mpc = orrery.mpc { model = model:take_as_fitted(), task = function(s) return s.p end, particles = 4,
  planner = orrery.plan.cem { horizon = 4, population = 20, elites = 4 } }
steady("mpc:act", mpc.act, mpc, orrery.zeros(2))
steady("mpc:act of a record", mpc.act, mpc, { p = orrery.full(0.5), v = 1 })

-- training steps (but for the copies kept every 100 steps), of one net and of an ensemble, with and without an index
for _, members in ipairs { 1, 2 } do
  local net = orrery.nn.mlp { inputs = 3, outputs = 1, hidden = { 4 }, members = members }
  local update = orrery.update { nets = { net }, loss = function(s) return orrery.nn.mse(net(s.x), s.y) end }
  local batch = { x = rows, y = orrery.randn(30, 1) }
  local chosen = members == 1 and orrery.tensor({ 1, 30, 7 }, "int") or orrery.tensor({ { 1, 2 }, { 30, 7 } }, "int")
  if members == 1 then steady("update:step", update.step, update, batch) end
  steady("update:step by index", update.step, update, batch, chosen)
  assert(update.skipped == 0 and update:step(batch) == update:step(batch) == false)
end
