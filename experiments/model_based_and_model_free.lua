--- Model-based and model-free, on the same axes: what each needs of experience and of computing.
---
--- Planning with a learned model (PETS) needs few steps of the world and much computing for each of them. A soft
--- actor-critic (SAC) needs many steps and hardly any computing. MBPO lets the model make up the experience that SAC
--- learns from; is it the model that helps, or just its many updates? SAC with as many answers that: on the pendulum,
--- it is mostly the updates. And "ultimately we will want elements of both": a planner that looks ahead a few steps
--- only, in MBPO's model, with MBPO's critic for what comes after them and its actor for plans to start from; without
--- the two such short plans never swing up. All of it takes some 10 minutes of one core.
local orrery = require "orrery"

local options = orrery.options({
  seed = 1,                 -- the first seed
  seeds = 5,                -- how often everything is done
  env = "pendulum",         -- or another with continuous actions in orrery.tasks, such as cartpole
  sac_steps = 20000,        -- of the world, for SAC
  mbpo_steps = 5000,        -- for MBPO, and SAC with as many updates
  rounds = 10,              -- of PETS: an episode each, the first at random
  start = 500,              -- steps at random, for all but PETS
  updates = 10,             -- of SAC in each step, for MBPO
  every = 500,              -- steps between evaluations
  episodes = 10,            -- of each evaluation; of planners `planned`
  planned = 5,
  hidden = { 64, 64 },      -- layers of all nets
  batch = 128,
  learning_rate = 1e-3,     -- of SAC
  members = 5,              -- of the model
  model_updates = 1000,     -- in each of its fits
  model_learning_rate = 3e-3,
  refit_every = 250,        -- steps, for MBPO
  rollouts = 20000,         -- branches imagined after each fit
  k = 1,                    -- their length
  horizon = 20,             -- of PETS
  short = 5,                -- of plans with a value behind them
  population = 60,          -- plans in each of 3 iterations
}, { brief = { -- a tiny budget, to see that everything runs
  seeds = 2, sac_steps = 800, mbpo_steps = 800, rounds = 2, start = 250, updates = 1, every = 400, episodes = 1,
  planned = 1, hidden = { 8 }, batch = 16, members = 2, model_updates = 10, rollouts = 50, horizon = 5, short = 2,
  population = 10
} })

local env, task = orrery.env(options.env), orrery.tasks[options.env]()
local run <close> = orrery.run { name = "model_based_and_model_free", options = options }

local names = { "PETS", "SAC", "SAC, more updates", "MBPO", "short plans with MBPO's value, actor",
                "short plans in its model, alone" }
local curves = {} -- by method, for every seed a list of { steps, seconds, mean }
for _, name in ipairs(names) do curves[name] = {} end

-- Seconds are the processor's, in acting and learning: that a machine is busy does not count.
local function note(name, number, steps, seconds, mean)
  local curve = curves[name][number] or {}
  curves[name][number] = curve
  curve[#curve + 1] = { steps = steps, seconds = seconds, mean = mean }
  run:log { method = name, seed = options.seed + number - 1, steps = steps, seconds = seconds, mean = mean }
end

-- ---- the methods

local function model_of(seed)
  return orrery.model { env = env, members = options.members, hidden = options.hidden, seed = seed }
end

local function fit(steps)
  return { batch = options.batch, learning_rate = options.model_learning_rate,
           epochs = math.ceil(options.model_updates * options.batch / steps) }
end

local function planner(horizon, proposals)
  return orrery.plan.cem { horizon = horizon, population = options.population, elites = options.population // 10,
    iterations = 3, proposals = proposals }
end

-- The episodes that it learns from are its evaluations.
local function pets(name, number, seed)
  local began = os.clock()
  orrery.loop.pets { env = env, task = task, model = model_of(seed), planner = planner(options.horizon),
    particles = options.members, rounds = options.rounds - 1, seed = seed, run = run, name = name,
    fit = function(_, steps) return fit(steps) end,
    log = function(round) note(name, number, round.steps, os.clock() - began, round.mean) end }
end

-- A greedy evaluation: at the same step of the same seed all meet the same starts.
local function evaluate(policy, episodes, seed, steps)
  return orrery.evaluate(env, policy, { task = task, episodes = episodes, seed = 100000 * seed + steps }).mean
end

-- Lets an agent learn; also(steps, seconds) may evaluate more.
local function learn(name, number, agent, steps, also)
  local seconds, went_on = 0, os.clock()
  agent:learn { steps = steps, every = options.every, episodes = 0, log = function(entry)
    seconds = seconds + os.clock() - went_on
    run:progress(entry.steps / steps, ("%s, seed %d"):format(name, agent.seed))
    note(name, number, entry.steps, seconds, evaluate(agent, options.episodes, agent.seed, entry.steps))
    if also then also(entry.steps, seconds) end
    went_on = os.clock()
  end }
end

local function sac_options(seed, updates)
  return { env = env, task = task, hidden = options.hidden, batch = options.batch, start = options.start,
           learning_rate = options.learning_rate, updates = updates, seed = seed }
end

local function mbpo(number, seed)
  local o = sac_options(seed, options.updates)
  o.model, o.fit, o.refit_every, o.rollouts, o.k = model_of(seed), fit, options.refit_every, options.rollouts, options.k
  local agent = orrery.mbpo(o)
  local function short_plans(value, policy)
    return orrery.mpc { model = agent.model, particles = options.members, seed = seed,
      task = { reward = task.reward, termination = task.termination, value = value, policy = policy },
      planner = planner(options.short, policy and options.population // 10 or 0) }
  end
  local with_value, alone = short_plans(agent:value(), agent:policy { explore = true }), short_plans()
  learn(names[4], number, agent, options.mbpo_steps, function(steps, seconds)
    if not agent.model.fitted then return end
    note(names[5], number, steps, seconds, evaluate(with_value, options.planned, seed, steps))
    note(names[6], number, steps, seconds, evaluate(alone, options.planned, seed, steps))
  end)
end

-- ---- what came

local function spread(list)
  local x = orrery.tensor(list)
  return x:mean(), #list > 1 and x:std() * math.sqrt(#list / (#list - 1)) or 0
end

-- Over the seeds: mean, lowest and highest return, by what `along` takes.
local function band(name, along)
  local series, all = { label = name, x = {}, y = {}, low = {}, high = {} }, curves[name]
  for i = 1, all[1] and #all[1] or 0 do
    local returns, places = {}, {}
    for _, curve in ipairs(all) do
      if curve[i] then returns[#returns + 1], places[#places + 1] = curve[i].mean, curve[i][along] end
    end
    local at = orrery.tensor(places):mean()
    if at > 0.1 and #returns == #all then -- of seconds, the first few hundredths say nothing
      table.insert(series.x, at)
      table.insert(series.y, (spread(returns)))
      table.insert(series.low, math.min(table.unpack(returns)))
      table.insert(series.high, math.max(table.unpack(returns)))
    end
  end
  return series
end

local function draw()
  for along, label in pairs { steps = "steps of the world", seconds = "seconds of computing, on one core" } do
    local series = {}
    for i, name in ipairs(names) do
      local one = band(name, along)
      one.dashed = i == 6
      if #one.x > 0 then series[#series + 1] = one end
    end
    if #series > 0 then
      orrery.plot { title = ("%s: mean and range of %d seeds"):format(options.env, #curves[names[1]]), x = label,
        y = "return", series = series, log_x = true }
        :save(run:path(("by_%s.png"):format(along), "return by " .. label))
    end
  end
end
run:finally(draw)

for number = 1, options.seeds do
  local seed = options.seed + number - 1
  orrery.seed(seed)
  pets(names[1], number, seed)
  learn(names[2], number, orrery.sac(sac_options(seed, 1)), options.sac_steps)
  learn(names[3], number, orrery.sac(sac_options(seed, options.updates)), options.mbpo_steps)
  mbpo(number, seed)
end

-- The last evaluation that is not later than so many steps.
local function at(curve, steps)
  local found
  for _, point in ipairs(curve) do
    if point.steps <= steps then found = point end
  end
  return found
end

local columns = { 1000, 2000, 3000, 5000, 20000 }
run:say("return by steps of the world: mean +- deviation over %d seeds (seconds of computing)", options.seeds)
run:say(("%-38s" .. ("%24d"):rep(#columns)), "", table.unpack(columns))
for _, name in ipairs(names) do
  local line = ("%-38s"):format(name)
  for _, steps in ipairs(columns) do
    local returns, seconds, last = {}, {}, 0
    for _, curve in ipairs(curves[name]) do
      local point = at(curve, steps)
      if point then returns[#returns + 1], seconds[#seconds + 1], last = point.mean, point.seconds, point.steps end
    end
    local mean, deviation = spread(#returns > 0 and returns or { 0 })
    local known = #returns > 0 and last > steps - options.every
    local text = ("%8.0f +- %3.0f (%5.1f)"):format(mean, deviation, spread(seconds))
    line = line .. ("%24s"):format(known and text or "-")
  end
  run:say("%s", line)
end
