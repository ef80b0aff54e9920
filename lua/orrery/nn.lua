--- nn.lua - nets by their usual shapes, losses, and nets applied to tensors.
---
---   local net = orrery.nn.mlp { inputs = 4, outputs = 3, hidden = { 200, 200 } }
---   local y = net(x)     -- a symbol in a traced function; else numbers, for one x or a batch
---
--- Losses take symbols, tensors and plain numbers, and answer one number.
local orrery = require "orrery"
local check = require "orrery.check"

local nn = {}

--- nn.mlp(options): fully connected layers with an activation between them.
---   inputs, outputs  sizes
---   hidden           { 200, 200 }: sizes between; {} makes one linear layer
---   activation       any op of one operand: "relu", "tanh", "silu" (the default), "gelu",
---                    "softplus"
---   output           the same after the last layer; none by default
---   layer_norm       false; true: before every activation
---   members          0; above 1 makes an ensemble
---   init             of the weights: "default" (PyTorch's), "normal", "truncated_normal",
---                    "orthogonal"
---   last_gain        factor on the first values of the last layer's weights; 1
---   seed             of the first values; without it they are drawn from the engine's stream
function nn.mlp(options)
  local o = check.options("mlp options", options, {
    inputs = "optional number", outputs = "optional number", hidden = { 200, 200 },
    activation = "silu",
    output = "optional string", layer_norm = false, members = 0, init = "default", last_gain = 1,
    seed = "optional number",
  })
  if not o.inputs then check.fail("mlp options: inputs is missing") end
  if not o.outputs then check.fail("mlp options: outputs is missing") end
  local layers = {}
  for _, size in ipairs(o.hidden) do
    layers[#layers + 1] = { kind = "linear", outputs = size, init = o.init }
    if o.layer_norm then layers[#layers + 1] = "layer_norm" end
    layers[#layers + 1] = o.activation
  end
  layers[#layers + 1] = { kind = "linear", outputs = o.outputs, init = o.init, gain = o.last_gain }
  layers[#layers + 1] = o.output
  return orrery.net { inputs = o.inputs, layers = layers, members = o.members, seed = o.seed }
end

-- ---- losses

-- Rows meet rows here: sizes that would be repeated to fit are a mistake. Plain numbers fit all.
local function check_fit(loss, what, x, y)
  local is_symbol = orrery.trace_core.is_symbol
  if type(x) ~= "userdata" or type(y) ~= "userdata" then return end
  if not is_symbol(x) and not is_symbol(y) then return end -- a batch of tensors is as it is given
  local first, second = { x:shape() }, { y:shape() }
  local a, b = table.concat(first, " x "), table.concat(second, " x ")
  local function count(sizes)
    local product = 1
    for _, size in ipairs(sizes) do product = product * size end
    return product
  end
  if count(first) == count(second) then return end
  local function words(text) return text == "" and "a single number" or ("of shape [%s]"):format(text) end
  check.fail("%s: the %s is %s, the target %s: one of them would be repeated to fit", loss, what,
    words(a), words(b))
end

--- nn.mse(prediction, target): mean of the squared differences.
function nn.mse(prediction, target)
  check_fit("mse", "prediction", prediction, target)
  return orrery.mean(orrery.square(prediction - target))
end

--- nn.huber(prediction, target, delta): mean of d^2 / 2 where |d| <= delta (1), else of
--- delta (|d| - delta / 2).
function nn.huber(prediction, target, delta)
  check_fit("huber", "prediction", prediction, target)
  local distance = orrery.abs(prediction - target)
  local near = orrery.min(distance, delta or 1)
  return orrery.mean(near * (distance - 0.5 * near))
end

--- nn.gaussian_nll(mean, log_variance, target): mean of ((target - mean)^2 / variance + log
--- variance) / 2, the negative log-likelihood without its constant.
function nn.gaussian_nll(mean, log_variance, target)
  check_fit("gaussian_nll", "mean", mean, target)
  local error = orrery.square(target - mean) * orrery.exp(-log_variance)
  return 0.5 * orrery.mean(error + log_variance)
end

--- nn.cross_entropy(logits, index): -log of the probability that softmax gives to class `index`,
--- counted from 1; the mean over leading axes.
function nn.cross_entropy(logits, index)
  local chosen
  if logits:axes() == 1 then
    chosen = orrery.gather(logits, index)
  elseif type(index) == "number" then
    chosen = logits:slice(index, index, -1):reshape(-1)
  else
    chosen = orrery.sum(orrery.gather_along(logits, index:insert_axis(-1)), -1)
  end
  return orrery.mean(orrery.logsumexp(logits, -1) - chosen)
end

--- nn.binary_cross_entropy(logit, target): mean of -log of the probability that sigmoid gives to a
--- target of 0 or 1.
function nn.binary_cross_entropy(logit, target)
  check_fit("binary_cross_entropy", "logit", logit, target)
  return orrery.mean(orrery.softplus(logit) - logit * target)
end

--- nn.bound(x, low, high): x moved softly between low and high, its gradient never 0 (Chua et al.
--- 2018).
function nn.bound(x, low, high)
  x = high - orrery.softplus(high - x)
  return low + orrery.softplus(x - low)
end

-- ---- nets on tensors

-- net -> its program; shadow nets, for parameters given as tensors
local programs = setmetatable({}, { __mode = "k" })
local shadows = setmetatable({}, { __mode = "k" })

local function program_of(net)
  local compiled = programs[net]
  if not compiled then
    local trace = require "orrery.trace"
    local inputs = net:shapes()
    compiled = {
      inputs = inputs,
      program = trace.program {
        name = "net", inputs = { { name = "x", level = "row", shape = inputs } },
        fn = function(x) return net(x) end,
      },
    }
    programs[net] = compiled
  end
  return compiled
end

local function with_parameters(net, parameters)
  local shadow = shadows[net]
  if not shadow then
    shadow = net:copy()
    shadows[net] = shadow
  end
  local own, names = shadow:parameters()
  if #parameters ~= #own then
    check.fail("net: %d parameters are needed, %d are given", #own, #parameters)
  end
  for i, tensor in ipairs(own) do
    local wanted, given = { tensor:shape() }, { orrery.tensor(parameters[i]):shape() }
    if table.concat(wanted, " x ") ~= table.concat(given, " x ") then
      check.fail("net: %s is %s, not %s", names[i], table.concat(wanted, " x "),
        table.concat(given, " x "))
    end
    tensor:assign(parameters[i])
  end
  return shadow
end

--- nn.run(net, x, parameters): what net(x) does with numbers. x is a sample's record, all of whose numbers go in, as
--- in `value = function(s) return net(s)[1] end`; or it has the shape of one input, or one
--- axis more: a batch. An ensemble answers with one more axis in front: its members.
function nn.run(net, x, parameters)
  local trace = require "orrery.trace"
  if trace.is_record(x) then -- all its numbers
    x = trace.vector(x)
    if trace.is_symbol(x) then return net(x, parameters) end
  end
  if type(x) == "table" or type(x) == "number" then x = orrery.tensor(x) end
  if not orrery.is_tensor(x) then
    check.fail("net: a tensor is needed, not %s", x == nil and "nothing" or "a " .. type(x))
  end
  if parameters then net = with_parameters(net, parameters) end
  local compiled = program_of(net)
  local inputs, axes = compiled.inputs, x:axes()
  local single = axes == #inputs
  for i, size in ipairs(inputs) do
    if axes - #inputs > 1 or axes < #inputs or x:size(i - #inputs - 1) ~= size then
      check.fail("the net takes %s, or rows of that, not %s", table.concat(inputs, " x "),
        x:axes() == 0 and "a single number" or table.concat({ x:shape() }, " x "))
    end
  end
  if single then x = x:insert_axis(1) end
  local members, rows = net:members(), x:size(1)
  local options = { rows = rows }
  if members > 1 then
    options = { rows = rows * members, members = members,
                index = { x = nn.repeated(rows, members) } }
  end
  local y = compiled.program:run({ x = x }, options)
  if members == 1 and not single then return y:copy() end
  local shape = { select(2, y:shape()) }
  if not single then table.insert(shape, 1, rows) end
  if members > 1 then table.insert(shape, 1, members) end
  return y:reshape(shape):copy()
end

--- nn.repeated(rows, members): `members` times all rows in order, from 0, as an index of program
--- runs.
function nn.repeated(rows, members)
  return orrery.arange(0, rows - 1):broadcast(members, rows):copy():reshape(-1):to("int")
end

return nn
