-- The collector is told of C memory, closed tensors are refused, nothing leaks when Lua raises.
local orrery = require "orrery"

collectgarbage()
local start = orrery.memory()

-- 1000 tensors of 4 MB: without being told, the collector would see 1000 little userdata.
local most = 0
for _ = 1, 1000 do
  local t = orrery.zeros(1024, 1024)
  most = math.max(most, orrery.memory() - start)
end
assert(most < 24 * 2 ^ 20, most)

-- The same in generational mode, and through temporaries of expressions.
collectgarbage "generational"
local x = orrery.ones(512, 512)
most = 0
for _ = 1, 500 do
  local y = (x * 2 + 1):tanh():sum(1)
  most = math.max(most, orrery.memory() - start)
end
collectgarbage "incremental"
assert(most < 64 * 2 ^ 20, most)

-- A script that stopped the collector is left alone.
collectgarbage "stop"
local before = orrery.memory()
for _ = 1, 8 do orrery.zeros(1024, 256) end
assert(orrery.memory() - before >= 8 * 2 ^ 20)
collectgarbage "restart"

-- close() and <close> free at once and may be repeated.
collectgarbage()
before = orrery.memory()
do
  local t <close> = orrery.zeros(1024, 1024)
  assert(orrery.memory() - before > 4e6)
end
assert(orrery.memory() - before < 1e6)
local t = orrery.zeros(3)
t:close()
t:close()
local good, message = pcall(function() return t + 1 end)
assert(not good and message:find "closed")
assert(tostring(t) == "tensor (closed)")

-- Errors half-way leave nothing behind.
x = nil
collectgarbage()
collectgarbage()
before = orrery.memory()
for _ = 1, 100 do
  pcall(orrery.tensor, { { 1, 2 }, { 3, {} } })
  pcall(orrery.concat, { orrery.zeros(2, 2), orrery.zeros(3) })
  pcall(function() return orrery.zeros(7) + orrery.zeros(9) end)
  pcall(orrery.load_npy, "/nowhere")
  pcall(orrery.save_tensors, "/nowhere/x", { a = orrery.zeros(9) })
  pcall(orrery.gather, { 1, 2 }, { 3 })
end
collectgarbage()
collectgarbage()
assert(orrery.memory() == before, orrery.memory() - before)
