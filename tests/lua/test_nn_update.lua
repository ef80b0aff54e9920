-- The compiled update: regression, details, ensembles, the same bits on any number of threads, NaN.
local orrery = require "orrery"
local fails = require "tests.lua.fails"
local nn = orrery.nn

orrery.seed(1)
local X = orrery.randn(300, 2)
local Y = orrery.sin(2 * X:slice(1, 1, 2)) + 0.5 * X:slice(2, 2, 2)

local function trained(threads, members)
  orrery.threads(threads)
  local net = nn.mlp { inputs = 2, outputs = 1, hidden = { 32, 32 }, members = members, seed = 2 }
  local update = orrery.update {
    loss = function(sample)
      local y = net(sample.x)
      return nn.mse(y, sample.y), { size = orrery.abs(y):mean() }
    end,
    nets = { net }, optimiser = orrery.adam { learning_rate = 0.01, clip = 5 },
  }
  local stream = orrery.stream(5)
  local first, last, details
  for i = 1, 300 do
    last, details = update:step({ x = X, y = Y }, stream:draws(members, 64))
    first = first or last
  end
  return net, first, last, details
end

local net, first, last, details = trained(1, 1)
assert(first > 0.3 and last < 0.02, ("%g -> %g"):format(first, last))
assert(details.size:item() > 0.1)

-- ---- the same bits with 1 and 2 threads, for a net and an ensemble

for members = 1, 3, 2 do
  local one, two = trained(1, members), trained(2, members)
  local a, b = one:parameters(), two:parameters()
  for i, tensor in ipairs(a) do assert(tensor:same(b[i]), ("%d members: parameter %d"):format(members, i)) end
end
orrery.threads(2)

-- ---- members learn apart: member 1 of 3 as a net alone, given the same rows

local together = nn.mlp { inputs = 2, outputs = 1, hidden = { 16 }, members = 3, seed = 9 }
local alone = nn.mlp { inputs = 2, outputs = 1, hidden = { 16 }, seed = 9 }
local function update_of(some, rate)
  return orrery.update {
    loss = function(sample) return nn.mse(some(sample.x), sample.y) end,
    nets = { some }, optimiser = orrery.sgd { learning_rate = rate or 0.05, momentum = 0.9 },
  }
end
local first_update, second_update = update_of(together), update_of(alone)
for i = 1, 20 do
  local loss, seen = first_update:step({ x = X, y = Y })
  assert(seen.loss:size(1) == 3)
  local own = second_update:step({ x = X, y = Y })
  assert(math.abs(seen.loss[1] - own) < 1e-5, ("%.9g %.9g"):format(seen.loss[1], own))
end

-- ---- an index counts from 1, and reads those rows only

local constant = orrery.zeros(1)
local probe = orrery.update {
  loss = function(sample) return nn.mse(constant, sample.y) end,
  parameters = { constant }, optimiser = orrery.sgd { learning_rate = 0 },
}
local ys = orrery.tensor { { 1 }, { 2 }, { 3 } }
local function loss_at(...) return probe:step({ y = ys }, orrery.tensor({ ... }, "int")) end
assert(loss_at(1) == 1 and loss_at(3) == 9 and loss_at(2, 3) == 6.5)

-- ---- a captured number is looked at again

local weight = 1
local scaled = orrery.update {
  loss = function(sample) return weight * nn.mse(constant, sample.y) end,
  parameters = { constant }, optimiser = orrery.sgd { learning_rate = 0 },
}
assert(math.abs(scaled:step { y = ys } - 14 / 3) < 1e-5)
weight = 10
assert(math.abs(scaled:step { y = ys } - 140 / 3) < 1e-4)

-- ---- NaN: skipped; ten in a row: back to good parameters, with an error

local fragile = nn.mlp { inputs = 2, outputs = 1, hidden = { 8 }, seed = 3 }
local original = {}
for i, tensor in ipairs((fragile:parameters())) do original[i] = tensor:copy() end
local careful = update_of(fragile)
for i = 1, 5 do careful:step { x = X, y = Y } end
local bad = Y:copy()
bad[7] = 0 / 0
local before = {}
for i, tensor in ipairs((fragile:parameters())) do before[i] = tensor:copy() end
for i = 1, 9 do careful:step { x = X, y = bad } end
assert(careful.skipped == 9)
for i, tensor in ipairs((fragile:parameters())) do assert(tensor:same(before[i]), "a skipped update moved something") end
local loss = careful:step { x = X, y = Y }
assert(loss == loss and careful.skipped == 9)
fails("not finite 10 times in a row", function()
  for i = 1, 10 do careful:step { x = X, y = bad } end
end)
for i, tensor in ipairs((fragile:parameters())) do assert(tensor:same(original[i]), "not back at the last good ones") end

-- ---- a training that is saved and goes on is the one that was not stopped, draws in the loss included

local function noisy()
  local some = nn.mlp { inputs = 2, outputs = 1, hidden = { 12 }, seed = 8 }
  return some, orrery.update {
    loss = function(sample) return nn.mse(some(sample.x + 0.1 * orrery.randn(2)), sample.y) end, seed = 4,
    nets = { some }, optimiser = orrery.adam { learning_rate = 0.01, schedule = "cosine", steps = 40, warmup = 5 },
  }
end
local straight, straight_update = noisy()
local path = os.tmpname()
for i = 1, 30 do
  straight_update:step { x = X, y = Y }
  if i == 13 then straight_update:save(path) end
end
local resumed, resumed_update = noisy()
resumed_update:load(path)
for i = 14, 30 do resumed_update:step { x = X, y = Y } end
local wanted = straight:parameters()
for i, tensor in ipairs((resumed:parameters())) do assert(tensor:same(wanted[i])) end
fails("optimiser.", function() update_of(fragile):load(path) end)
os.remove(path)

-- ---- targets follow the parameters as they are after the step, inside the program

do
  local led = nn.mlp { inputs = 2, outputs = 1, hidden = { 8 }, seed = 1 }
  local slow = nn.mlp { inputs = 2, outputs = 1, hidden = { 8 }, seed = 2 }
  local equal = nn.mlp { inputs = 2, outputs = 1, hidden = { 8 }, seed = 3 }
  local expected = {}
  for i, tensor in ipairs((slow:parameters())) do expected[i] = tensor:copy() end
  local follows = orrery.update {
    nets = { led }, follow = { { slow, led, 0.1 }, { equal, led, 1 } },
    loss = function(sample) return nn.mse(led(sample.x), sample.y) + 0.1 * orrery.square(slow(sample.x)[1]) end,
  }
  for _ = 1, 3 do
    follows:step { x = X, y = Y }
    for i, tensor in ipairs((led:parameters())) do
      expected[i] = expected[i] + 0.1 * (tensor - expected[i])
      assert((slow:parameters())[i]:same(expected[i]) and (equal:parameters())[i]:same(tensor))
    end
  end
  assert(follows:gradient_norm() > 0)
  for _ = 1, 9 do follows:step { x = X, y = bad } end
  fails("not finite 10 times in a row", function() follows:step { x = X, y = bad } end)
  fails("entry 1 of follow must be", orrery.update, { nets = { led }, loss = print, follow = { { slow, led } } })
  fails("linear1.weight is 2 x 8 in the target, 2 x 9", orrery.update, { nets = { led }, loss = print,
    follow = { { slow, nn.mlp { inputs = 2, outputs = 1, hidden = { 9 } }, 1 } } })
end

-- ---- mistakes

fails("loss is missing", orrery.update, { nets = { net } })
fails("no parameters", orrery.update, { loss = function() return 0 end })
fails("did you mean 'optimiser'", orrery.update, { optimizer = orrery.adam {} })
fails("'learnin_rate'", orrery.adam, { learnin_rate = 1 })
fails("momentum", orrery.sgd, { momentum = 2 })
fails("must be one number", function()
  orrery.update { loss = function(sample) return sample.y - constant end, parameters = { constant } }:step { y = orrery.zeros(3, 2) }
end)
fails("must return a number", function()
  orrery.update { loss = function() end, parameters = { constant } }:step { y = ys }
end)

-- ---- mistakes in a loss are named: fields the batch does not have, targets that would be repeated

do
  local two = nn.mlp { inputs = 3, outputs = 2, hidden = { 4 }, seed = 1 }
  local function message_of(loss, batch)
    local done, message = pcall(function() orrery.update { loss = loss, nets = { two } }:step(batch) end)
    assert(not done, "no error where one was expected")
    assert(message:find "^tests/lua/test_nn_update.lua:%d+: " or message:find "test_nn_update.lua:%d+", message)
    return message
  end
  local x = orrery.randn(10, 3)
  local message = message_of(function(s) return nn.mse(two(s.x), s.targets) end, { x = x, target = orrery.randn(10, 2) })
  assert(message:find("no field 'targets' in the sample (target, x); did you mean 'target'?", 1, true), message)
  for _, loss in ipairs { nn.mse, nn.huber, nn.binary_cross_entropy } do
    message = message_of(function(s) return loss(two(s.x), s.y) end, { x = x, y = orrery.rand(10) })
    assert(message:find("is of shape [2], the target a single number", 1, true), message)
  end
  message = message_of(function(s) return nn.gaussian_nll(two(s.x), two(s.x), s.y) end, { x = x, y = orrery.rand(10, 3, 2) })
  assert(message:find("the mean is of shape [2], the target of shape [3 x 2]", 1, true), message)
  -- one number against one number, and constants, are no mistake
  local one = nn.mlp { inputs = 3, outputs = 1, hidden = { 4 }, seed = 1 }
  for _, loss in ipairs { function(s) return nn.mse(one(s.x), s.y) end, function(s) return nn.mse(two(s.x), 0) end } do
    orrery.update { loss = loss, nets = { one, two } }:step { x = x, y = orrery.rand(10) }
  end
end

-- ---- a batch with a field that the first one had not: it is not passed over, and the optimiser goes on

do
  local function weighted(batches)
    local x = orrery.zeros(1)
    local update = orrery.update {
      parameters = { x }, optimiser = orrery.sgd { learning_rate = 0.1, momentum = 0.9 }, verify = false,
      loss = function(b) return (rawget(b, "w") or 1) * orrery.square(x - b.y):sum() end,
    }
    for _, batch in ipairs(batches) do update:step(batch) end
    return x[1]
  end
  local y = orrery.ones(4)
  local plain, twice, one = { y = y }, { y = y, w = orrery.full(2, 4) }, { y = y, w = orrery.ones(4) }
  local mixed, alike = weighted { plain, twice, plain, twice }, weighted { one, twice, one, twice }
  assert(mixed == alike and mixed ~= weighted { plain, plain, plain, plain }, mixed .. " " .. alike)
end
