-- Updates of the learners from replay against PyTorch's, five each, on one batch and with given noise: losses,
-- parameters and those of target nets afterwards; and the squashed Gaussian with its gradients. See
-- tests/reference/make_reference.py.
local orrery = require "orrery"
local trace = require "orrery.trace"

local data = orrery.load_tensors "tests/reference/learners.safetensors"

local function check(what, got, wanted, tolerance)
  got, wanted = got:reshape(-1), wanted:reshape(-1)
  assert(got:count() == wanted:count(), what .. ": sizes differ")
  local scale = math.max(orrery.mean(orrery.abs(wanted)), 1e-8)
  for i = 1, wanted:count() do
    local apart = math.abs(got[i] - wanted[i]) / math.max(scale, math.abs(wanted[i]))
    assert(apart <= tolerance, ("%s: number %d is %.9g, PyTorch has %.9g"):format(what, i, got[i], wanted[i]))
  end
end

local function env_of(action)
  local function stay() return { x = { 0, 0, 0, 0 } } end
  return orrery.env { name = "still", observation = { { "x", { 4 } } }, action = { action }, max_steps = 10,
    reset = stay, step = function() return stay(), 0, false end }
end
local continuous = env_of { "u", { 2 }, low = -2, high = 4 }
local discrete = env_of { "choice", n = 3 }

local function put(net, prefix)
  local parameters, names = net:parameters()
  for i, name in ipairs(names) do parameters[i]:assign(assert(data[prefix .. "." .. name], prefix .. name)) end
end

-- ours -> the reference's name, of an agent's nets; of its target nets.
local function run(case, make, env, options, nets, slow, loss_name)
  options.env, options.hidden, options.activation = env, { 8, 8 }, "tanh"
  options.gamma, options.learning_rate = 0.9, 0.01
  local agent = make(options)
  for name, reference in pairs(nets) do put(agent[name], reference) end
  for name, reference in pairs(slow) do put(agent.kept[name], reference) end
  local batch = {}
  for _, name in ipairs { "observation", "next_observation", "reward", "terminated", "noise", "next_noise" } do
    batch[name] = data[name]
  end
  batch.action = env == discrete and data.choice:reshape(32, 1) or data.action
  local losses = {}
  for k = 1, 5 do
    agent.changes = k
    losses[k] = agent:update(batch)[loss_name]
  end
  check(case .. ", losses", orrery.tensor(losses), data[case .. ".loss"], 1e-4)
  for name, reference in pairs(nets) do
    local parameters, names = agent[name]:parameters()
    for i, part in ipairs(names) do
      check(case .. ", " .. name .. "." .. part, parameters[i], data[("%s.%s.%s"):format(case, reference, part)], 1e-3)
    end
  end
  for name, reference in pairs(slow) do
    local parameters, names = agent.kept[name]:parameters()
    for i, part in ipairs(names) do
      check(case .. ", " .. name .. "." .. part, parameters[i], data[("%s.slow_%s.%s"):format(case, reference, part)],
        1e-3)
    end
  end
  return agent
end

local sac = run("sac", orrery.sac, continuous, { tau = 0.1 }, { actor = "policy", q1 = "q1", q2 = "q2" },
  { slow1 = "q1", slow2 = "q2" }, "critic_loss")
check("sac, temperature", sac.log_alpha, data["sac.log_alpha"], 1e-4)
run("td3", orrery.td3, continuous, { tau = 0.1 }, { actor = "actor", q1 = "q1", q2 = "q2" },
  { slow_actor = "actor", slow1 = "q1", slow2 = "q2" }, "critic_loss")
run("ddpg", orrery.ddpg, continuous, { tau = 0.1 }, { actor = "actor", q = "q1" },
  { slow_actor = "actor", slow_q = "q1" }, "critic_loss")
run("dqn", orrery.dqn, discrete, {}, { q = "values" }, { slow = "values" }, "loss")
run("dqn_plain", orrery.dqn, discrete, { double = false }, { q = "values" }, { slow = "values" }, "loss")
run("dqn_dueling", orrery.dqn, discrete, { dueling = true }, { q = "duel" }, { slow = "duel" }, "loss")
run("dqn_slow", orrery.dqn, discrete, { tau = 0.1 }, { q = "values" }, { slow = "values" }, "loss")

-- ---- the squashed Gaussian, its net being the identity: mean and log-deviation are what is seen

local plain = orrery.sac { env = continuous, hidden = {} }
local weight, bias = table.unpack((plain.actor:parameters()))
weight:assign(orrery.eye(4))
bias:assign(orrery.zeros(4))
local squashed = trace.program {
  name = "squashed",
  inputs = { { name = "x", shape = { 4 } }, { name = "noise", shape = { 2 } }, { name = "v" },
             { name = "w", shape = { 2 } } },
  fn = function(x, noise, v, w)
    local gradient = orrery.grad(function(at)
      local action, log_p = plain:sample_policy(at, noise)
      return v * log_p + orrery.sum(w * action)
    end)(x)
    local action, log_p = plain:sample_policy(x, noise)
    return { action = action, log_probability = log_p, gradient = gradient }
  end,
}
local function given(name) return data["squashed." .. name] end
local got = squashed:run { x = orrery.concat({ given "mean", given "log_deviation" }, 2), noise = given "noise",
  v = given "v", w = given "w" }
check("squashed action", got.action, given "action", 1e-5)
check("log-probability", got.log_probability, given "log_probability", 1e-5)
check("gradient of the mean", got.gradient:slice(1, 2, 2):copy(), given "grad.mean", 1e-4)
check("gradient of the log-deviation", got.gradient:slice(3, 4, 2):copy(), given "grad.log_deviation", 1e-4)

-- far out, where 1 - tanh(u)^2 is 0: finite, and exactly -2 (log 2 - |u|) more than the Gaussian's
local far = squashed:run { x = orrery.tensor { { 50, -80, 0, 0 } }, noise = orrery.zeros(1, 2), v = orrery.ones(1),
  w = orrery.zeros(1, 2) }
local wanted = -math.log(2 * math.pi) - 2 * (2 * math.log(2) - 130)
assert(math.abs(far.log_probability[1] - wanted) < 1e-3, far.log_probability[1])
for i = 1, 4 do assert(far.gradient[1][i] == far.gradient[1][i]) end
