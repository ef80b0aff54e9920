-- The clock and sleep: they agree with each other, and refuse what is no time.
local orrery = require "orrery"

local last = orrery.clock()
for _ = 1, 100 do
  local now = orrery.clock()
  assert(now >= last)
  last = now
end

orrery.sleep(0.05)
local slept = orrery.clock() - last
assert(slept >= 0.05 and slept < 5, slept)
local rests = false
for _ = 1, 40 do -- OpenBLAS's threads look for work for a while after the start
  local processor = os.clock()
  orrery.sleep(0.05)
  rests = rests or os.clock() - processor < 0.04
  if rests then break end
end
assert(rests, "sleeping is no waiting in a loop")

last = orrery.clock()
orrery.sleep(0)
orrery.sleep(-1)
orrery.sleep(-math.huge)
assert(orrery.clock() - last < 5)

local ok, message = pcall(orrery.sleep, 0 / 0)
assert(not ok and message:find("sleep: seconds is not a number", 1, true), message)
assert(not pcall(orrery.sleep) and not pcall(orrery.sleep, "long"))
