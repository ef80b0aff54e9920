-- Distributions of actions, advantages, TRPO's Fisher products and PPO's loss, against what PyTorch computed:
-- tests/reference/policies.safetensors, of which make_reference.py says what is in it.
local orrery = require "orrery"
local trace = require "orrery.trace"

local data = orrery.load_tensors "tests/reference/policies.safetensors"

local function check(what, got, wanted, tolerance)
  if type(got) == "number" then got = orrery.tensor { got } end
  got, wanted = got:flatten(), wanted:flatten()
  assert(got:count() == wanted:count(), what .. ": sizes differ")
  local scale = math.max(orrery.mean(orrery.abs(wanted)), 1e-8)
  for i = 1, wanted:count() do
    local apart = math.abs(got[i] - wanted[i]) / math.max(scale, math.abs(wanted[i]))
    assert(apart <= (tolerance or 1e-5), ("%s: number %d is %.9g, PyTorch has %.9g"):format(what, i, got[i],
      wanted[i]))
  end
end

-- ---- distributions, in programs and on tensors

for _, case in ipairs { "categorical", "gaussian" } do
  local kind = orrery.distribution[case](case == "categorical" and 5 or 3)
  local d, other, action = data[case .. ".d"], data[case .. ".other"], data[case .. ".action"]:to "real"
  if case == "categorical" then action = action + 1 end
  local all = orrery.rowwise(function(x, y, a)
    return { log_prob = kind.log_prob(x, a), entropy = kind.entropy(x), kl = kind.kl(x, y), own = kind.kl(x, x) }
  end, { verify = false })(d, other, action)
  for _, name in ipairs { "log_prob", "entropy", "kl" } do
    check(case .. "." .. name, all[name], data[case .. "." .. name])
  end
  assert(orrery.abs(all.own):max() < 1e-6)
  check(case .. " on tensors", kind.log_prob(d[3], case == "categorical" and action[3] or action[3]:copy()),
    data[case .. ".log_prob"]:slice(3, 3))
  check(case .. " on tensors", kind.kl(d[3], other[3]), data[case .. ".kl"]:slice(3, 3))
end

-- ---- advantages

local steps = {}
for _, name in ipairs { "reward", "value", "next_value", "terminated", "truncated" } do
  steps[name] = data["gae." .. name]
end
local found = orrery.gae(steps, { gamma = 0.95, lambda = 0.9 })
check("advantage", found.advantage, data["gae.advantage"])
check("return", found["return"], data["gae.return"])

-- ---- policies

local function make_env(case)
  return orrery.env {
    name = case, observation = { { "x", 4 } }, max_steps = 10,
    action = case == "choice" and { { "which", n = 3 } } or { { "force", 2, low = -1, high = 1 } },
    reset = function() return { x = { 0, 0, 0, 0 } } end,
    step = function() return { x = { 0, 0, 0, 0 } }, 0, false end,
  }
end

local function batch_of(case)
  local action = data[case .. ".action"]:to "real"
  return { observation = data[case .. ".x"], action = case == "choice" and action + 1 or action,
    advantage = data[case .. ".advantage"], old_log_prob = data[case .. ".old_log_prob"],
    old = orrery.zeros(32, case == "choice" and 3 or 4) }
end

local function make_agent(learner, case, options)
  options.env, options.hidden, options.copies = make_env(case), { 8, 6 }, 1
  local agent = orrery[learner](options)
  local tensors, names = agent:policy_parameters()
  for i, tensor in ipairs(tensors) do tensor:assign(data[case .. "." .. names[i]]) end
  return agent, tensors, names
end

for _, case in ipairs { "choice", "real" } do
  local trpo = make_agent("trpo", case, {})
  check(case .. ".product", trpo:fisher_product(batch_of(case), data[case .. ".v"]), data[case .. ".product"])

  local ppo, tensors, names = make_agent("ppo", case, { entropy = 0.01 })
  local fields = { "observation", "action", "advantage", "old_log_prob", "old" }
  local program = ppo:program("reference", fields, function(b)
    local symbols = {}
    for i, tensor in ipairs(tensors) do symbols[i] = trace.parameter(tensor, "uniform") end
    local loss = ppo:loss(b):row_mean "uniform"
    return { loss = loss, gradient = orrery.trace_core.gradient(loss, symbols) }
  end)
  local out = ppo:run(program, batch_of(case))
  check(case .. ".loss", out.loss, data[case .. ".loss"])
  for i, name in ipairs(names) do check(case .. ".grad." .. name, out.gradient[i], data[case .. ".grad." .. name]) end
  assert(names[#names] == (case == "real" and "log_std" or "linear3.bias"))
end
