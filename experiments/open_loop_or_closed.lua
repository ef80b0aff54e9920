--- Open loop or closed: the same model, planned with once or at every step.
---
--- Models of a pendulum are learned from more and more random experience, so that they get better and
--- better. With each, the pendulum is swung up twice: by a plan that is made at the start and then
--- played to its end without looking, and by planning anew at every step. A small error is enough to
--- spoil the long plan; replanning corrects what the model got wrong.
local orrery = require "orrery"

local options = orrery.options({
  seed = 1,                                    -- the first seed
  seeds = 5,                                   -- how often everything is done
  data = { 100, 200, 400, 800, 1600 },         -- steps of random experience, a model for each
  members = 3,                                 -- nets in the ensemble
  hidden = { 64, 64 },                         -- their hidden layers
  updates = 2000,                              -- of the nets, of 64 rows each
  steps = 50,                                  -- of an episode; a plan made in advance covers them all
  horizon = 20,                                -- steps that replanning looks ahead
  population = 100,                            -- plans per iteration of replanning
  iterations = 4,                              -- of the cross-entropy method, at every step
  episodes = 5,                                -- from the same starts with every model
}, { brief = { -- a tiny budget, to see that everything runs
  seeds = 2, data = { 50, 100 }, hidden = { 8 }, updates = 10, steps = 12, horizon = 5, population = 10,
  iterations = 2, episodes = 1
} })

local env, task = orrery.env("pendulum", { max_steps = options.steps }), orrery.tasks.pendulum()
local run <close> = orrery.run { name = "open_loop_or_closed", options = options }

-- The plan in advance is longer and gets more: five times the population, four times the iterations.
local function closed(source)
  source.task, source.seed = task, options.seed
  source.planner = orrery.plan.cem { horizon = options.horizon, population = options.population,
    iterations = options.iterations }
  return orrery.mpc(source)
end

local function open(source)
  source.task, source.seed = task, options.seed
  source.planner = orrery.plan.cem { horizon = options.steps, population = 5 * options.population,
    iterations = 4 * options.iterations }
  return orrery.policy.open_loop(orrery.mpc(source))
end

local function evaluate(policy)
  return orrery.evaluate(env, policy, { task = task, episodes = options.episodes, seed = options.seed }).mean
end

-- ---- the baselines, which no model's error changes

local random = evaluate(orrery.policy.random(env))
local exact_open, exact_closed = evaluate(open { env = env }), evaluate(closed { env = env })

-- ---- models, better and better

-- How wrong predictions are ten steps ahead: a share of what predicting no change would be off, mean
-- over the fields of the observation.
local function error_of(model, unseen)
  local sum, rows = 0, model:audit(unseen, { horizons = { math.min(10, options.steps) }, windows = 500 })
  for _, row in ipairs(rows) do sum = sum + row.ratio end
  return sum / #rows
end

local results = {} -- by amount of data: lists of errors and of returns, one entry for each seed
local function draw()
  local series = {}
  local function add(label, name, color)
    local dots = { x = {}, y = {}, dots = true, color = color }
    local line = { label = label, x = {}, y = {}, color = color }
    for i, row in ipairs(results) do
      for j, err in ipairs(row.error) do
        table.insert(dots.x, err)
        table.insert(dots.y, row[name][j])
      end
      line.x[i] = math.exp(orrery.mean(orrery.log(orrery.tensor(row.error))))
      line.y[i] = orrery.tensor(row[name]):mean()
    end
    series[#series + 1], series[#series + 2] = line, dots
  end
  if #results == 0 then return end
  add("planned once", "open", 2)
  add("planned at every step", "closed", 1)
  local low, high = math.huge, -math.huge
  for _, row in ipairs(results) do
    low, high = math.min(low, table.unpack(row.error)), math.max(high, table.unpack(row.error))
  end
  local function level(label, value, color)
    series[#series + 1] = { label = label, x = { low, high }, y = { value, value }, dashed = true, color = color }
  end
  level("once, true dynamics", exact_open, 2)
  level("every step, true dynamics", exact_closed, 1)
  level("random", random, "grey")
  orrery.plot { title = "Open loop or closed: one dot for each model", log_x = true, series = series,
    x = "error of the model ten steps ahead, against predicting no change",
    y = ("return of %d steps"):format(options.steps) }
    :save(run:path("open_or_closed.png", "return against the model's error, open loop and closed"))
end
run:finally(draw)

for i, steps in ipairs(options.data) do
  local row = { error = {}, open = {}, closed = {} }
  for number = 1, options.seeds do
    local seed = options.seed + number - 1
    run:progress((i - 1 + (number - 1) / options.seeds) / #options.data, ("%d steps of experience, seed %d")
      :format(steps, seed))
    local replay, unseen = orrery.replay { env = env }, orrery.replay { env = env }
    replay:collect(orrery.policy.random(env), { steps = steps, seed = seed })
    unseen:collect(orrery.policy.random(env), { steps = 20 * options.steps, seed = seed + 1000 })
    local model = orrery.model { env = env, members = options.members, hidden = options.hidden, seed = seed,
      probabilistic = false }
    model:fit(replay, { batch = 64, patience = math.huge, epochs = math.ceil(options.updates * 64 / steps) })
    row.error[number] = error_of(model, unseen)
    row.open[number], row.closed[number] = evaluate(open { model = model }), evaluate(closed { model = model })
    run:log { data = steps, seed = seed, error = row.error[number], open = row.open[number], closed = row.closed[number] }
  end
  results[i] = row
end

-- ---- the table

local function text(list)
  local x = orrery.tensor(list)
  return ("%.1f +- %.1f"):format(x:mean(), #list > 1 and x:std() * math.sqrt(#list / (#list - 1)) or 0)
end
run:say("%-16s %12s %18s %18s", "steps of data", "error", "planned once", "every step")
for i, row in ipairs(results) do
  run:say("%-16d %12.3f %18s %18s", options.data[i], orrery.tensor(row.error):mean(), text(row.open), text(row.closed))
end
run:say("%-16s %12s %18.1f %18.1f", "true dynamics", "0", exact_open, exact_closed)
run:say("returns of %d steps, mean and deviation over %d seeds; at random %.1f", options.steps, options.seeds, random)
