-- Layers, losses, optimisers and a short training, against what PyTorch computed: the files that
-- tests/reference/make_reference.py wrote, which says what is in them.
local orrery = require "orrery"
local trace = require "orrery.trace"

local nn = orrery.nn
local TOLERANCE = 1e-4

local function load(name) return orrery.load_tensors("tests/reference/" .. name .. ".safetensors") end

-- Largest difference against the size of the whole, or of the number where that is larger.
local function check(what, got, wanted, tolerance)
  if type(got) == "number" then got = orrery.tensor { got } end
  got, wanted = got:reshape(-1), wanted:reshape(-1)
  assert(got:count() == wanted:count(), what .. ": sizes differ")
  local scale = math.max(orrery.mean(orrery.abs(wanted)), 1e-8)
  for i = 1, wanted:count() do
    local apart = math.abs(got[i] - wanted[i]) / math.max(scale, math.abs(wanted[i]))
    assert(apart <= (tolerance or TOLERANCE), ("%s: number %d is %.9g, PyTorch has %.9g"):format(what, i, got[i],
      wanted[i]))
  end
end

local function put(net, data, prefix)
  local parameters, names = net:parameters()
  for i, name in ipairs(names) do parameters[i]:assign(assert(data[prefix .. name], prefix .. name)) end
  return parameters, names
end

-- ---- layers: outputs and gradients

local function gradients_of(net, parameters)
  return trace.program {
    name = "reference",
    inputs = { { name = "x", level = "row", shape = (net:shapes()) },
               { name = "v", level = "row", shape = select(2, net:shapes()) } },
    fn = function(x, v)
      local list = { x = x }
      for i, tensor in ipairs(parameters) do list["p" .. i] = trace.parameter(tensor) end
      local function loss(all)
        local given = {}
        for i = 1, #parameters do given[i] = all["p" .. i] end
        return orrery.sum(net(all.x, given) * v)
      end
      local gradient, value = orrery.grad(loss)(list)
      return { gradient = gradient, loss = value:row_sum(), y = net(x) }
    end,
  }
end

local data = load "layers"
local function mlp(activation, norm)
  return nn.mlp { inputs = 5, outputs = 3, hidden = { 7, 6 }, activation = activation, layer_norm = norm }
end
local cases = {
  linear = orrery.net { inputs = 5, layers = { { kind = "linear", outputs = 4 } } },
  layer_norm = orrery.net { inputs = 5, layers = { "layer_norm" } },
  mlp_relu = mlp "relu", mlp_tanh = mlp "tanh", mlp_silu = mlp "silu", mlp_gelu = mlp "gelu",
  mlp_softplus = mlp "softplus", mlp_layer_norm = mlp("tanh", true),
}
for case, net in pairs(cases) do
  local parameters, names = put(net, data, case .. ".")
  check(case .. ".y", net(data[case .. ".x"]), data[case .. ".y"])
  local program = gradients_of(net, parameters)
  local out = program:run { x = data[case .. ".x"], v = data[case .. ".v"] }
  check(case .. ".loss", out.loss, data[case .. ".loss"])
  check(case .. ".grad.x", out.gradient.x, data[case .. ".grad.x"])
  for i, name in ipairs(names) do
    check(case .. ".grad." .. name, out.gradient["p" .. i], data[case .. ".grad." .. name])
  end
end

-- ---- losses: values and gradients

data = load "losses"
local losses = {
  mse = { { "prediction" }, function(d) return nn.mse(d.prediction, d.target) end },
  huber = { { "prediction" }, function(d) return nn.huber(d.prediction, d.target) end },
  huber_half = { { "prediction" }, function(d) return nn.huber(d.prediction, d.target, 0.5) end },
  gaussian_nll = { { "mean", "raw", "low", "high" }, function(d)
    return nn.gaussian_nll(d.mean, nn.bound(d.raw, d.low, d.high), d.target)
  end },
  cross_entropy = { { "logits" }, function(d) return nn.cross_entropy(d.logits, d.index + 1) end },
}
for case, entry in pairs(losses) do
  local wanted, loss = entry[1], entry[2]
  local inputs, given, order = {}, {}, {}
  for key, tensor in pairs(data) do
    local name = key:match("^" .. case .. "%.(%w+)$")
    if name and name ~= "value" then order[#order + 1] = name end
  end
  table.sort(order)
  for i, name in ipairs(order) do
    local tensor = data[case .. "." .. name]:to "real"
    inputs[i] = { name = name, level = "uniform", shape = { tensor:shape() } }
    given[name] = tensor
  end
  local out = trace.program { name = case, inputs = inputs, fn = function(...)
    local all, wrt = {}, {}
    for i, name in ipairs(order) do all[name] = (select(i, ...)) end
    for _, name in ipairs(wanted) do wrt[name] = all[name] end
    local gradient, value = orrery.grad(function(list)
      return loss(setmetatable(list, { __index = all }))
    end)(wrt)
    return { gradient = gradient, value = value }
  end }:run(given)
  check(case .. ".value", out.value, data[case .. ".value"])
  for _, name in ipairs(wanted) do
    check(case .. ".grad." .. name, out.gradient[name], data[case .. ".grad." .. name])
  end
  if case ~= "gaussian_nll" then -- on tensors as in programs
    local plain = {}
    for name, tensor in pairs(given) do plain[name] = tensor end
    check(case .. " on tensors", loss(plain), data[case .. ".value"])
  end
end

-- ---- optimisers: the loss is parameter * g, so that g is its gradient

data = load "optimisers"
local settings = {
  sgd = orrery.sgd { learning_rate = 0.1 },
  sgd_momentum = orrery.sgd { learning_rate = 0.1, momentum = 0.9 },
  sgd_nesterov = orrery.sgd { learning_rate = 0.1, momentum = 0.9, nesterov = true },
  sgd_decay = orrery.sgd { learning_rate = 0.1, momentum = 0.5, weight_decay = 0.05 },
  adam = orrery.adam { learning_rate = 0.05 },
  adam_decay = orrery.adam { learning_rate = 0.05, beta1 = 0.8, beta2 = 0.95, epsilon = 1e-4, weight_decay = 0.1 },
  adamw = orrery.adamw { learning_rate = 0.05, weight_decay = 0.1 },
  adam_clip = orrery.adam { learning_rate = 0.05, clip = 1.5 },
}
for case, optimiser in pairs(settings) do
  local first, second = data.first:copy(), data.second:copy()
  local update = orrery.update {
    loss = function(sample) return orrery.sum(first * sample.a) + orrery.sum(second * sample.b) end,
    parameters = { first, second }, optimiser = optimiser,
  }
  for step = 1, 10 do
    local a, b = data["gradient.first"]:slice(step, step), data["gradient.second"]:slice(step, step)
    update:step { a = a, b = b }
    check(("%s.first, step %d"):format(case, step), first, data[case .. ".first"]:slice(step, step))
    check(("%s.second, step %d"):format(case, step), second, data[case .. ".second"]:slice(step, step))
  end
end

-- ---- a regression: the loss of 100 steps of Adam

data = load "regression"
local net = nn.mlp { inputs = 2, outputs = 1, hidden = { 32, 32 }, activation = "tanh" }
put(net, data, "")
local update = orrery.update {
  loss = function(sample) return nn.mse(net(sample.x), sample.y) end,
  nets = { net }, optimiser = orrery.adam { learning_rate = 0.01 },
}
for step = 1, 100 do
  local loss, wanted = update:step { x = data.x, y = data.y }, data.losses[step]
  local apart = math.abs(loss / wanted - 1)
  assert(apart <= 1e-4, ("step %d: the loss is %.9g, PyTorch's %.9g"):format(step, loss, wanted))
end
local parameters, names = net:parameters()
for i, name in ipairs(names) do check("final." .. name, parameters[i], data["final." .. name], 1e-2) end
