-- A loss is a user's function like any other: branches, math.*, captured numbers that change.
local orrery = require "orrery"
local T = orrery.tensor

local weight = orrery.zeros(1)
local target, calls = 2, 0
local function loss(sample)
  local d = weight[1] * sample.x - target
  if math.abs(d) > 1 then return math.abs(d) - 0.5 end
  return 0.5 * d * d
end
local update = orrery.update { loss = loss, parameters = { weight }, optimiser = orrery.sgd { learning_rate = 0.1 } }
local batch = { x = T { 1, 1 } }
local function run(steps)
  local value
  for _ = 1, steps do value = update:step(batch) end
  return value
end
assert(math.abs(update:step(batch) - 1.5) < 1e-5)
run(200)
assert(math.abs(weight[1] - 2) < 1e-3, weight[1])
target = -1
run(200)
assert(math.abs(weight[1] + 1) < 1e-3, weight[1])
target = 0.5
run(200)
assert(math.abs(weight[1] - 0.5) < 1e-3, weight[1])

local good, message = pcall(function()
  local u = orrery.update { loss = function(sample) calls = calls + 1 return sample.x * weight[1] end,
                            parameters = { weight }, optimiser = orrery.sgd { learning_rate = 0.1 } }
  u:step(batch)
end)
assert(not good and message:find("assigns to 'calls'", 1, true), message)
