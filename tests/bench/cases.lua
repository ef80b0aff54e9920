--- cases.lua - what the benchmark times, written as a user would; served to run.lua.
---
--- After "ready FLOPS" every line on standard input is one repetition, answered by its milliseconds of
--- wall-clock and of processor time; "check NAME" instead writes the numbers that torch_peer.py must
--- agree with as NAME.npy into the folder; "quit" ends it. Weights and data are made once and left in
--- the folder, for the peer to read.
local orrery = require "orrery"
local system = orrery.system
local trace = require "orrery.trace"
local nn = orrery.nn

local options = orrery.options {
  case = "pets",                 -- pets, det, grad, grad1, train, small, td3 or sac
  folder = "build/bench/pets",   -- where weights and data are
  plans = 0,                     -- 0: as many as the case is timed with
  iterations = 5,                -- of planning
  times = 0,                     -- steps in a repetition; 0: as many as the case is timed with
}

local STATES, ACTIONS, HORIZON, BATCH = 17, 6, 15, 256
local INPUTS = STATES + ACTIONS
local observation_space = orrery.space { { "x", { STATES } } }
local action_space = orrery.space { { "u", { ACTIONS }, low = -1, high = 1 } }

local function reward(_, a, next)
  return -(next.x[1]^2 + 0.1 * next.x[2]^2 + 0.001 * orrery.sum(orrery.square(a.u)))
end

-- ---- weights and data

local function fixture(name, make)
  local path = ("%s/%s.npy"):format(options.folder, name)
  if not system.exists(path) then orrery.save_npy(path, make()) end
  return orrery.load_npy(path)
end

-- Lively first layers, so that plans differ; small outputs, so that rollouts stay tame.
local function first_value(tensor, is_bias, is_last, variances)
  local shape = { tensor:shape() }
  local inputs = shape[#shape - 1]
  local value = orrery.randn(shape) * (is_bias and 0.03 or (is_last and 0.4 or 1.2) / inputs^0.5)
  if is_bias and is_last and variances then
    value:slice(STATES + 1, 2 * STATES, -1):assign(value:slice(STATES + 1, 2 * STATES, -1) - 4)
  end
  return value
end

local function fill(net, prefix, variances)
  local tensors, names = net:parameters()
  for i, tensor in ipairs(tensors) do
    tensor:assign(fixture((prefix or "") .. names[i], function()
      return first_value(tensor, names[i]:find "bias", i > #names - 2, variances)
    end))
  end
  return net
end

local function normalise(model)
  model.input_mean:assign(fixture("input_mean", function() return orrery.linspace(-0.1, 0.1, INPUTS) end))
  model.input_scale:assign(fixture("input_scale", function()
    return 1 / orrery.linspace(0.8, 1.2, INPUTS)
  end))
  return model
end

local function new_model(o)
  o.observation, o.action = observation_space, action_space
  local model = orrery.model(o):take_as_fitted()
  fill(model.net, nil, model.probabilistic)
  return model
end

local function start()
  return fixture("observation", function() return orrery.linspace(-0.5, 0.5, STATES) end)
end

-- Floating-point operations of a net for one row.
local function flops_of(inputs, hidden, outputs)
  local sum = 0
  for _, width in ipairs(hidden) do
    sum, inputs = sum + 2 * inputs * width, width
  end
  return sum + 2 * inputs * outputs
end

-- ---- planning

local DEEP, WIDE, CRITIC = { 200, 200, 200, 200 }, { 250, 250 }, { 256, 256 }

local function planning(model, plans, particles, flops)
  if options.plans > 0 then plans = options.plans end
  local mpc = orrery.mpc {
    model = model, task = reward, particles = particles, warm_start = false,
    planner = orrery.plan.cem {
      horizon = HORIZON, population = plans, elites = plans // 10, iterations = options.iterations,
      minimum_variance = 0,
    },
  }
  local observation = { x = start() }
  local samples = fixture("plans", function()
    return orrery.clamp(0.5 * orrery.randn(plans, HORIZON, ACTIONS), -1, 1)
  end)
  return {
    flops = flops * plans * particles * HORIZON * options.iterations, times = particles == 1 and 5 or 1,
    run = function() mpc:act(observation) end,
    check = function()
      local compiled, o = model:objective(reward, { horizon = HORIZON, particles = particles, sample = false })
      return orrery.objective.program(compiled:enter(), o):score(observation, samples)
    end,
  }
end

local function pets()
  local model = normalise(new_model { members = 5, hidden = DEEP })
  return planning(model, 500, 20, flops_of(INPUTS, DEEP, 2 * STATES))
end

local function det()
  local model = normalise(new_model {
    members = 1, hidden = WIDE, activation = "relu", probabilistic = false,
  })
  return planning(model, 1000, 1, flops_of(INPUTS, WIDE, STATES))
end

-- ---- gradient planning: Adam on the actions, every plan through every one of several models

-- Models of one member each, with the weights of the members of an ensemble.
local function single_models(count)
  if count == 1 then return { normalise(new_model { members = 1, hidden = DEEP }) } end
  local ensemble = new_model { members = count, hidden = DEEP }.net:parameters()
  local models = {}
  for m = 1, count do
    local model = orrery.model {
      observation = observation_space, action = action_space, members = 1, hidden = DEEP,
    }
    for i, tensor in ipairs((model.net:parameters())) do tensor:assign(ensemble[i][m]) end
    models[m] = normalise(model)
  end
  return models
end

local function gradient(members)
  local PLANS, STEPS = 32, 20
  local models, state = single_models(members), start()
  local raw = fixture("raw", function() return 0.3 * orrery.randn(PLANS, HORIZON, ACTIONS) end)

  local function cost(plan)
    local actions, total = orrery.tanh(plan), 0
    for _, model in ipairs(models) do
      local rolled = orrery.scan(function(carry, u)
        local next = model:step(carry.x, u)
        return { x = next, total = carry.total + reward(nil, { u = u }, { x = next }) }
      end, { x = state, total = 0 }, actions)
      total = total - rolled.total / #models
    end
    return total
  end

  -- about one plan; the program does all of them. Not orrery.rowwise, which would compare the
  -- gradient of every net with plain Lua first.
  local shape = { HORIZON, ACTIONS }
  local adam_step = trace.program {
    name = "adam step",
    inputs = {
      { name = "plan", shape = shape }, { name = "first", shape = shape }, { name = "second", shape = shape },
      { name = "scale1", level = "uniform" }, { name = "scale2", level = "uniform" },
    },
    fn = function(plan, first, second, scale1, scale2)
      local slope = orrery.grad(cost)(plan)
      first = 0.9 * first + 0.1 * slope
      second = 0.999 * second + 0.001 * slope * slope
      plan = plan - 0.05 * (first * scale1) / (orrery.sqrt(second * scale2) + 1e-8)
      return { plan = plan, first = first, second = second }
    end,
  }

  local function climb(steps)
    local now = { plan = raw:copy(), first = 0 * raw, second = 0 * raw }
    for t = 1, steps do
      now.scale1, now.scale2 = 1 / (1 - 0.9^t), 1 / (1 - 0.999^t)
      local after = adam_step:run(now)
      for name, value in pairs(after) do now[name]:assign(value) end
    end
    return now
  end
  return {
    flops = 2 * flops_of(INPUTS, DEEP, 2 * STATES) * PLANS * members * HORIZON * STEPS,
    times = members == 1 and 5 or 1,
    run = function() climb(STEPS) end,
    check = function()
      return 10 * climb(1).first -- the gradient: the first moment starts as a tenth of it
    end,
  }
end

-- ---- training

local function losses(step)
  local list = {}
  for i = 1, 20 do list[i] = step() end
  return orrery.tensor(list)
end

local function train()
  local members = 5
  local model = new_model { members = members, hidden = DEEP }
  local x = fixture("x", function() return orrery.randn(members * BATCH, INPUTS) end)
  local y = fixture("y", function() return 0.1 * orrery.randn(members * BATCH, STATES) end)
  local update = orrery.update {
    nets = { model.net }, optimiser = orrery.adam { learning_rate = 1e-3 },
    loss = function(sample)
      local mean, log_variance =
        model:normalised(sample.x:slice(1, STATES), sample.x:slice(STATES + 1, -1))
      return 2 * nn.gaussian_nll(mean, log_variance, sample.y)
    end,
  }
  local index = orrery.arange(members * BATCH):reshape(members, BATCH):to("int")
  local function step() return members * update:step({ x = x, y = y }, index) end
  return {
    flops = 3 * flops_of(INPUTS, DEEP, 2 * STATES) * BATCH * members, times = 10,
    run = step, check = function() return losses(step) end,
  }
end

local function mlp(inputs, outputs, prefix)
  return fill(nn.mlp { inputs = inputs, outputs = outputs, hidden = CRITIC, activation = "relu" }, prefix)
end

local function small()
  local net = mlp(INPUTS, 1)
  local batch = {
    x = fixture("x", function() return orrery.randn(BATCH, INPUTS) end),
    y = fixture("y", function() return orrery.randn(BATCH, 1) end),
  }
  local update = orrery.update {
    nets = { net }, optimiser = orrery.adam { learning_rate = 1e-3 },
    loss = function(sample) return nn.mse(net(sample.x), sample.y) end,
  }
  local function step() return (update:step(batch)) end
  return {
    flops = 3 * flops_of(INPUTS, CRITIC, 1) * BATCH, times = 100,
    run = step, check = function() return losses(step) end,
  }
end

-- One update of TD3 (Fujimoto et al. 2018); with noise in the batch instead of drawn, for comparing.
local function td3_update(batch)
  local actor, q1, q2 = mlp(STATES, ACTIONS, "actor."), mlp(INPUTS, 1, "q1."), mlp(INPUTS, 1, "q2.")
  local pairs_of_nets = { { actor, actor:copy() }, { q1, q1:copy() }, { q2, q2:copy() } }
  local slow_actor, slow1, slow2 = pairs_of_nets[1][2], pairs_of_nets[2][2], pairs_of_nets[3][2]
  local given = batch.noise ~= nil
  local critics = orrery.update {
    nets = { q1, q2 }, optimiser = orrery.adam { learning_rate = 3e-4 },
    loss = function(b)
      local noise = orrery.clamp(0.2 * (given and b.noise or orrery.randn(ACTIONS)), -0.5, 0.5)
      local smoothed = orrery.clamp(orrery.tanh(slow_actor(b.next)) + noise, -1, 1)
      local x = orrery.concat { b.next, smoothed }
      local target = orrery.stop_gradient(b.r + 0.99 * orrery.min(slow1(x), slow2(x)))
      x = orrery.concat { b.s, b.a }
      return nn.mse(q1(x), target) + nn.mse(q2(x), target)
    end,
  }
  local policy = orrery.update {
    nets = { actor }, optimiser = orrery.adam { learning_rate = 3e-4 },
    loss = function(b) return -q1(orrery.concat { b.s, orrery.tanh(actor(b.s)) })[1] end,
  }
  local states, updates = { s = batch.s }, 0
  return function()
    updates = updates + 1
    local loss = critics:step(batch)
    if updates % 2 == 0 then
      policy:step(states)
      for _, pair in ipairs(pairs_of_nets) do
        local target = pair[2]:parameters()
        for i, tensor in ipairs((pair[1]:parameters())) do
          target[i]:assign(0.005 * tensor + 0.995 * target[i])
        end
      end
    end
    return loss
  end
end

local function td3()
  local function data(name, width)
    return fixture(name, function() return orrery.randn(BATCH, width) end)
  end
  local batch = {
    s = data("s", STATES), a = data("a", ACTIONS), r = data("r", 1), next = data("next", STATES),
  }
  local critic, actor = flops_of(INPUTS, CRITIC, 1), flops_of(STATES, CRITIC, ACTIONS)
  return {
    -- targets; both critics; every second time the actor through a critic
    flops = (actor + 2 * critic + 6 * critic + 0.5 * (3 * actor + 2 * critic)) * BATCH, times = 50,
    run = td3_update(batch),
    check = function()
      local known = { noise = data("noise", ACTIONS) }
      for name, tensor in pairs(batch) do known[name] = tensor end
      return losses(td3_update(known))
    end,
  }
end

-- One update of soft actor-critic for the pendulum: both critics, actor, temperature and targets; with noise in the
-- batch instead of drawn, for comparing.
local function sac_agent(names)
  local env = orrery.env "pendulum"
  local agent = orrery.sac { env = env, replay = orrery.replay { env = env }, hidden = CRITIC }
  for name, net in pairs { ["actor."] = agent.actor, ["q1."] = agent.q1, ["q2."] = agent.q2 } do fill(net, name) end
  for slow, net in pairs { slow1 = agent.q1, slow2 = agent.q2 } do
    for i, tensor in ipairs((agent.kept[slow]:parameters())) do tensor:assign((net:parameters())[i]) end
  end
  local batch = {}
  for name, width in pairs(names) do
    batch[name] = fixture(name, function()
      if width == 0 then return orrery.randn(BATCH) end
      return orrery.randn(BATCH, width)
    end)
  end
  batch.terminated = orrery.zeros(BATCH)
  return agent, batch
end

local function sac()
  local names = { observation = 3, action = 1, reward = 0, next_observation = 3 }
  local agent, batch = sac_agent(names)
  local critic, actor = flops_of(4, CRITIC, 1), flops_of(3, CRITIC, 2)
  return {
    -- targets; both critics; the actor through both
    flops = (actor + 2 * critic + 6 * critic + 3 * actor + 4 * critic) * BATCH, times = 50,
    run = function() agent:update(batch) end,
    check = function()
      names.noise, names.next_noise = 1, 1
      local other, known = sac_agent(names)
      return losses(function() return other:update(known).critic_loss end)
    end,
  }
end

-- ---- serving

local cases = {
  pets = pets, det = det, train = train, small = small, td3 = td3, sac = sac,
  grad = function() return gradient(5) end, grad1 = function() return gradient(1) end,
}

system.make_folder(options.folder)
orrery.seed(1)
local case = cases[options.case]()
case.run()
local times = options.times > 0 and options.times or case.times or 1
io.stdout:setvbuf("line")
print(("ready %.6e"):format(case.flops))
for line in io.lines() do
  if line == "quit" then break end
  local name = line:match "^check (.*)"
  if name then
    orrery.save_npy(("%s/%s.npy"):format(options.folder, name), cases[options.case]().check())
    print "checked"
  else
    local from, cpu = orrery.clock(), os.clock()
    for _ = 1, times do case.run() end
    print(("%.6f %.6f"):format(1e3 * (orrery.clock() - from) / times, 1e3 * (os.clock() - cpu) / times))
  end
end
