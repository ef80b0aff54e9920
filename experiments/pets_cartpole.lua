--- PETS on the cart-pole (Chua et al. 2018): swing up and balance, learned from a few episodes.
---
--- One episode of random pushes, then in every round: fit an ensemble of probabilistic nets to all that
--- was seen, and play an episode by planning with it at every step. The same planner with the true
--- dynamics shows how good it could get. What the plans promise is compared with what they bring: at
--- first far too much, because the planner finds the model's errors; refitting closes the gap.
local orrery = require "orrery"

local options = orrery.options({
  seed = 1,               -- the first seed
  seeds = 5,              -- how often everything is done
  rounds = 6,             -- of fitting and playing an episode of 200 steps
  members = 5,            -- nets in the ensemble
  hidden = { 128, 128 },  -- their hidden layers
  updates = 3000,         -- of the nets in each fit, of 64 rows each
  learning_rate = 3e-3,   -- of these
  particles = 5,          -- samples of each plan's future, each by one net
  horizon = 25,           -- steps that a plan looks ahead
  population = 100,       -- plans per iteration
  iterations = 4,         -- of the cross-entropy method, at every step
  baseline_episodes = 3,  -- of the random policy and the true dynamics, for each seed
  film = true,            -- save a film strip of the last episode of the first seed
}, { brief = { -- a tiny budget, to see that everything runs
  seeds = 2, rounds = 1, members = 2, hidden = { 8 }, updates = 5, horizon = 10, population = 10, iterations
  = 1, film = false, baseline_episodes = 1
} })

local env, task = orrery.env "cartpole", orrery.tasks.cartpole()
local run <close> = orrery.run { name = "pets_cartpole", options = options }

local function planner()
  return orrery.plan.cem { horizon = options.horizon, population = options.population,
    elites = options.population // 10, iterations = options.iterations }
end

local function mean_and_deviation(list)
  local x = orrery.tensor(list)
  return x:mean(), #list > 1 and x:std() * math.sqrt(#list / (#list - 1)) or 0
end

-- ---- what is kept of every seed

local curves = {}                        -- the rounds of every seed
local random, exact = {}, {}             -- mean returns of the baselines, by seed
local first_audit, last_audit            -- of the first seed's plans
local shares, residuals = {}, {}
local aurocs, fresh_aurocs = {}, {}      -- of swinging up, against pushes that were learned from, and against others

-- By episode, over the seeds: mean, lowest and highest of what `of` takes from a round.
local function band(label, of)
  local series = { label = label, x = {}, y = {}, low = {}, high = {} }
  for i = 1, options.rounds + 1 do
    local list = {}
    for _, rounds in ipairs(curves) do list[#list + 1] = rounds[i] and of(rounds[i]) end
    if #list == #curves then
      table.insert(series.x, i)
      table.insert(series.y, orrery.tensor(list):mean())
      table.insert(series.low, math.min(table.unpack(list)))
      table.insert(series.high, math.max(table.unpack(list)))
    end
  end
  return series
end

local function draw()
  if #curves == 0 or #curves[1] < 2 then return end
  local function level(label, value)
    return { label = label, x = { 1, options.rounds + 1 }, y = { value, value }, dashed = true }
  end
  orrery.plot { title = ("PETS on the cart-pole: mean and range of %d seeds"):format(#curves), x = "episode",
    y = "return of 200 steps", series = { band("PETS", function(round) return round.mean end),
      level("the true dynamics", mean_and_deviation(exact)), level("random", mean_and_deviation(random)) } }
    :save(run:path("learning_curves.png", "return by episode, with the baselines"))
  orrery.plot { title = "What plans promise, and what comes", x = "episode",
    y = ("return of %d steps"):format(options.horizon),
    series = { band("promised by the model", function(round) return round.planned end),
      band("realised", function(round) return round.realised end) } }
    :save(run:path("planned_and_realised.png", "promised and realised return, by episode"))
  if not last_audit then return end
  local series, high = { false }, 0
  for _, one in ipairs { { first_audit, "a model of random pushes" }, { last_audit, "the refitted model" } } do
    local x, y = {}, {}
    for i, plan in ipairs(one[1].optimised.plans) do
      x[i], y[i] = plan.planned, plan.realised
      high = math.max(high, x[i], y[i])
    end
    series[#series + 1] = { label = one[2], x = x, y = y, dots = true }
  end
  series[1] = { label = "kept promises", x = { 0, high }, y = { 0, high }, dashed = true, color = "grey" }
  orrery.plot { title = "Plans played to their end: promised and realised", x = "return promised by the model",
    y = "return in the world", series = series }
    :save(run:path("exploitation.png", "plans in the first and in the last model, a dot for each"))
end
run:finally(draw)

-- ---- the story, for every seed

for number = 1, options.seeds do
  local seed = options.seed + number - 1
  orrery.seed(seed)
  run:progress((number - 1) / options.seeds, ("seed %d: baselines"):format(seed))
  local pushed, swung = orrery.replay { env = env }, orrery.replay { env = env } -- never trained on
  local given = { task = task, episodes = options.baseline_episodes, seed = 500 + seed } -- not those learned from
  given.replay = pushed
  random[number] = orrery.evaluate(env, orrery.policy.random(env), given).mean
  given.replay = swung
  exact[number] = orrery.evaluate(env, orrery.mpc { env = env, task = task, planner = planner(), seed = seed }, given).mean

  local model = orrery.model { env = env, members = options.members, hidden = options.hidden, seed = seed }
  local function audit()
    return model:audit_plans(env, { task = task, planner = planner(), particles = options.particles, seed = seed })
  end
  curves[number] = {}
  local learned -- the random episode
  local result = orrery.loop.pets { env = env, task = task, model = model, planner = planner(),
    particles = options.particles, rounds = options.rounds, seed = seed, run = run, name = "seed " .. seed,
    checkpoint = number == 1 and run.folder .. "/" or nil,
    fit = function(_, steps)
      -- As published, nothing is held out: members that are kept at their luckiest are better than they think.
      return { batch = 64, learning_rate = options.learning_rate, validation = 0,
        epochs = math.ceil(options.updates * 64 / steps) }
    end,
    log = function(round, learning)
      table.insert(curves[number], round)
      if round.round == 0 then learned = learning.replay:transitions() end
      if round.round ~= 1 then return end
      if options.members > 1 then
        aurocs[number] = model:audit_spread(learned, swung).auroc
        fresh_aurocs[number] = model:audit_spread(pushed, swung).auroc
      end
      if number == 1 then first_audit = audit() end
    end }
  if number == 1 then last_audit = audit() end
  for i, row in ipairs(model:audit(swung, { horizons = { 5 } })) do
    shares[i] = shares[i] or { field = row.field }
    table.insert(shares[i], row.share)
  end
  for i, row in ipairs(model:audit_variance(swung)) do
    residuals[i] = residuals[i] or { field = row.field }
    table.insert(residuals[i], row.variance)
  end
  if number == 1 and options.film then
    local played = orrery.evaluate(env, result.policy, { task = task, episodes = 1, seed = seed, film = 240 })
    local strip, captions = {}, {}
    for i = 1, 8 do
      local at = (i - 1) * 10
      strip[i], captions[i] = played.frames[1 + at], ("%.1f s"):format(at * 0.04)
    end
    orrery.film_strip(strip, { title = "Swinging up, with the model after the last fit", captions = captions, columns = 4 })
      :save(run:path("film.png", "the first seconds of an episode"))
  end
end

run:say("%-10s %-40s %10s %10s", "seed", "return of each episode; the first: random", "random", "true")
for number, rounds in ipairs(curves) do
  local returns = {}
  for i, round in ipairs(rounds) do returns[i] = ("%5.1f"):format(round.mean) end
  run:say("%-10d %-40s %10.1f %10.1f", options.seed + number - 1, table.concat(returns, " "), random[number], exact[number])
end
run:say("gap between promised and realised return of plans: %.2f +- %.2f in the first model, %.2f +- %.2f in the last",
  first_audit.optimised.gap, first_audit.optimised.gap_error, last_audit.optimised.gap, last_audit.optimised.gap_error)
local function say_auroc(what, list)
  if #list == 0 then return end -- one net
  local mean, deviation = mean_and_deviation(list)
  run:say("spread of the first ensemble, larger when swinging up than %s, AUROC: %.2f +- %.2f", what, mean, deviation)
end
say_auroc("on the pushes it learned from", aurocs)
say_auroc("on other pushes", fresh_aurocs)
run:say("on episodes that were never learned from:")
run:say("%-20s %28s %24s", "field", "5-step error / deviation", "variance of residuals")
for i, list in ipairs(shares) do
  local share, off = mean_and_deviation(list)
  run:say("%-20s %19.3f +- %5.3f %15.2f +- %5.2f", list.field, share, off, mean_and_deviation(residuals[i]))
end
