--- timing.lua - seconds that a function takes, and what it allocates.
local orrery = require "orrery"
local clock = orrery.clock
local timing = {}

--- timing.seconds(f, budget): the median of 9 batches of calls, per call; the budget (0.3 s) is what all
--- of them may take.
function timing.seconds(f, budget)
  f()
  local start = clock()
  f()
  local once = math.max(clock() - start, 1e-7)
  local times = math.max(1, math.floor((budget or 0.3) / 9 / once))
  local batches = {}
  for i = 1, 9 do
    local from = clock()
    for _ = 1, times do f() end
    batches[i] = (clock() - from) / times
  end
  table.sort(batches)
  return batches[5]
end

--- timing.allocations(f): calls to the engine's allocator that one call of f makes once it is warm.
function timing.allocations(f)
  for _ = 1, 5 do f() end
  collectgarbage()
  local _, before = orrery.memory()
  for _ = 1, 100 do f() end
  local _, after = orrery.memory()
  return (after - before) / 100
end

return timing
