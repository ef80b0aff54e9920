-- What rollouts make of a model's parameters beforehand: normalisers in the first and last layer, the
-- deviation in closed form. It must be what the formulas say, and be worked out once.
local orrery = require "orrery"
local trace = require "orrery.trace"

orrery.seed(4)
local observation = orrery.space { "position", "velocity", "mass" }
local action = orrery.space { { "force", low = -1, high = 1 } }

-- Mean and deviation of the next state as they are defined, through Model:normalised.
local function defined(model, s, a)
  local compiled = trace.program {
    name = "defined",
    inputs = { { name = "s", level = "row", shape = { 3 } }, { name = "a", level = "row", shape = { 1 } } },
    fn = function(state, force)
      local mean, log_variance = model:normalised(state, force)
      return { mean = state + model.target_mean + model.target_scale * mean,
               deviation = log_variance and model.target_scale * orrery.exp(0.5 * log_variance) }
    end,
  }
  local out = model:run_all(compiled, { s = s, a = a }, s:size(1))
  local function by_member(x) return x and x:reshape(model.members, s:size(1), 3):copy() end
  return by_member(out.mean), by_member(out.deviation)
end

local function randomise(model)
  model.input_mean:assign(orrery.tensor { 100, -3, 0.7, 0.1 })
  model.input_scale:assign(orrery.tensor { 20, 0.3, 0, 1.7 })
  model.target_mean:assign(0.1 * orrery.randn(model.states))
  model.target_scale:assign(orrery.tensor { 2, 0.01, 0 })
  for _, tensor in ipairs { model.low, model.high } do tensor:assign(tensor + orrery.randn(tensor:shape())) end
end

local s = orrery.randn(50, 3) * orrery.tensor { 0.1, 3, 0 } + orrery.tensor { 100, -3, 0.7 }
local a = 2 * orrery.rand(50, 1) - 1
for _, options in ipairs {
  { members = 3, hidden = { 32, 16 } }, { members = 1, hidden = { 16 } }, { members = 2, hidden = {} },
  { members = 2, hidden = { 16, 16 }, layer_norm = true }, { members = 2, hidden = { 8 }, probabilistic = false },
  { members = 1, hidden = {}, probabilistic = false },
} do
  options.observation, options.action = observation, action
  local model = orrery.model(options)
  for _ = 1, 2 do -- the second time parameters have changed under a compiled program
    randomise(model)
    for _, tensor in ipairs((model.net:parameters())) do tensor:assign(tensor + 0.1 * orrery.randn(tensor:shape())) end
    local mean, deviation = model:predict(s, a)
    local wanted, spread = defined(model, s, a)
    assert(mean:close_to(wanted, 1e-5), tostring(model))
    assert((mean:slice(3, 3, 3) - (0.7 + model.target_mean[3])):abs():max() < 1e-6)
    assert((deviation == nil) == (spread == nil))
    if deviation then
      assert(deviation:close_to(spread, 1e-5), tostring(model))
      assert(deviation:slice(3, 3, 3):max() == 0)
    end
  end
end

-- far out, where a softplus of a softplus loses digits: nothing overflows
local single = orrery.model { observation = observation, action = action, members = 1, hidden = {} }
for _, size in ipairs { 1e4, -1e4 } do
  local _, names = single.net:parameters()
  assert(names[2] == "linear1.bias")
  single.net:parameters()[2]:fill(size)
  local _, deviation = single:predict(s, a)
  local _, spread = defined(single, s, a)
  assert(deviation:close_to(spread, 1e-5) and deviation:all_finite())
end

-- products with parameters come before "rows:", which runs for every plan
local model = orrery.model { observation = observation, action = action, hidden = { 32 } }
local task = { reward = function(_, _, n) return n.position end }
local listing = model:objective(task, { horizon = 4, particles = 5 }):listing()
local once, rows = listing:match "^once:\n(.-)\nrows:(.*)$"
assert(once and once:find("mul [^\n]*4x32") and once:find("mul [^\n]*32x6"), listing)
assert(not rows:find "softplus" and not rows:find " exp " and select(2, rows:gsub(" sigmoid ", "")) == 1)
local _, products = rows:gsub(" mul [^\n]*  3\n", "")
assert(products == 4, listing) -- exp(high) sigmoid, target_scale deviation, deviation noise, both bounds of the noise
