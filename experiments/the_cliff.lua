--- The cliff: why a model has to be refitted to what its own plans lead to.
---
--- A walker gets its height as reward, on a hill that ends in a cliff. Random walks never come near the
--- edge, so that a model of them knows only "further is higher", and the planner walks over it. That is
--- no fault of planning just once: replanning at every step walks over it too. Only data mends it: what
--- happened is appended, the model is fitted again, and the walker stops before the edge. Replanning has
--- another use: with the true dynamics, in a stronger wind, it gets higher than a plan made in advance.
--- The nets predict a distribution, the wind, and plans are scored by samples of it: a net that predicts one
--- next state knows no wind, and may walk right up to the edge (--probabilistic=false: some seeds always
--- fall). At the edge a step ends on the hill or far below, which one Gaussian can only tell by telling far above
--- as well; draws stay within what was seen (bounded_noise), or some seeds walk on, after heights that no one ever
--- had. A net takes several rounds to learn where the height jumps; one that is only asked how likely a step is to
--- end in a fall, apart from where it leads, takes one. Risk modes tell what caution adds.
local orrery = require "orrery"

local options = orrery.options({
  seed = 1,             -- the first seed
  seeds = 10,           -- how often everything is done
  random_episodes = 50, -- of random walks, before anything is planned
  refits = 6,           -- of the model, each after `episodes` more walks
  episodes = 5,
  members = 3,          -- nets in the ensemble
  probabilistic = true, -- they predict the wind too
  particles = 9,        -- samples of each plan's future
  hidden = { 64, 64 },  -- their hidden layers
  epochs = 120,         -- of each fit
  horizon = 12,         -- steps that replanning looks ahead; a plan made in advance covers the whole walk
  population = 100,     -- plans per iteration
  iterations = 4,       -- of the cross-entropy method, at every step
  tests = 10,           -- walks on which every controller is judged, for each seed
  gusts = 0.3,          -- the stronger wind, as a standard deviation in m; otherwise it is 0.1
}, { brief = { -- a tiny budget, to see that everything runs
  seeds = 2, random_episodes = 2, refits = 1, episodes = 1, tests = 1, epochs = 2, hidden = { 8 },
  population = 10, iterations = 2
} })

local function falls(_, _, next) return next.height < next.position end
local task = { name = "high up", reward = function(_, _, next) return next.height end }
local calm, windy = orrery.env "cliff", orrery.env("cliff", { wind = options.gusts })
local length = calm.max_steps
-- The same in other words: up to a fall the height is the position, and what comes after a fall is known.
local until_fall = { name = "until the fall", reward = function(_, _, next) return next.position end,
  termination = "fallen", afterwards = -20 }
local run <close> = orrery.run { name = "the_cliff", options = options }

-- ---- two ways to use a model: look again at every step, or plan the whole walk in advance

local function planner(horizon, more, longer)
  local population = more * options.population
  return orrery.plan.cem { horizon = horizon, population = population, elites = population // 10,
    iterations = longer * options.iterations }
end

local function controller(source, particles, with)
  source.task, source.particles, source.planner = source.task or task, particles, with
  source.seed = options.seed
  return orrery.mpc(source)
end

local function replanning(source, particles)
  return controller(source, particles, planner(options.horizon, 1, 1))
end

local function in_advance(source, particles)
  return orrery.policy.open_loop(controller(source, particles, planner(length, 2, 4)))
end

-- ---- what every controller did, over all seeds

local names, table_of = {}, {}

-- Walks `tests` times; keeps falls and heights by controller and seed, and the height by step.
local function judge(name, env, policy, seed)
  local result = orrery.evaluate(env, policy, { task = task, episodes = options.tests, seed = seed })
  if not table_of[name] then table_of[name], names[#names + 1] = { falls = {}, heights = {}, walks = {} }, name end
  local row = table_of[name]
  local fallen = 0
  for _, last in ipairs(result.last) do
    if falls(nil, nil, last) then fallen = fallen + 1 end
  end
  table.insert(row.falls, fallen / options.tests)
  table.insert(row.heights, result.mean / length)
  table.insert(row.walks, result.rewards[1])
  run:log { controller = name, seed = seed, falls = fallen / options.tests, height = result.mean / length }
end

local function mean_and_deviation(list)
  local x = orrery.tensor(list)
  return x:mean(), #list > 1 and x:std() * math.sqrt(#list / (#list - 1)) or 0
end
local curves, wary_curves = {}, {} -- by seed: the mean height of the walks of every round

-- Of the last round's walks, whatever the reward of the task.
local function height_of(result)
  local own = result.replay:transitions().reward
  return own:slice(own:size(1) - options.episodes * length + 1, own:size(1)):mean()
end

local function draw_walks()
  local series = {}
  local function add(name, color, label)
    for i, walk in ipairs(table_of[name] and table_of[name].walks or {}) do
      series[#series + 1] = { y = walk, color = color, label = i == 1 and label or nil }
    end
  end
  add("random walks: replanning", 2, "model of random walks: over the edge")
  add("after refits: replanning", 1, ("after %d refits"):format(options.refits))
  add("head for falls, mean", 3, "with a head for falls")
  if #series == 0 then return end
  orrery.plot { title = ("The cliff: a walk of each of %d seeds, before and after refitting"):format(#curves),
    x = "step", y = "height, m (the edge is at 10)", series = series }
    :save(run:path("walks.png", "height by step, before and after refitting"))
end

local function draw_learning()
  local series = {}
  for i, curve in ipairs(curves) do
    series[2 * i - 1] = { y = curve, color = 1, label = i == 1 and "heights only, each seed" or nil }
    series[2 * i] = { y = wary_curves[i], color = 2, label = i == 1 and "with a head for falls" or nil }
  end
  local best = mean_and_deviation(table_of["true dynamics: replanning"].heights)
  local x, y = { 1, options.refits + 1 }, { best, best }
  series[#series + 1] = { x = x, y = y, color = 3, dashed = true, label = "the true dynamics" }
  orrery.plot { title = "Refitting on what its own plans led to", x = "round (the first: random walks only)",
    y = "mean height of the walks, m", series = series }
    :save(run:path("learning.png", "mean height by round of refitting"))
end

local function draw_film(policy, name, title)
  local frames = orrery.evaluate(calm, policy, { task = task, episodes = 1, seed = options.seed, film = 240 }).frames
  local strip, captions = {}, {}
  for i = 1, 8 do
    local at = (i - 1) * (#frames - 1) // 7
    strip[i], captions[i] = frames[1 + at], ("step %d"):format(at)
  end
  orrery.film_strip(strip, { title = title, captions = captions, columns = 4 }):save(run:path(name, title))
end

run:finally(function() if #curves > 0 then draw_learning() end end)
run:finally(draw_walks)

-- ---- the story, once for every seed

for number = 1, options.seeds do
  local seed = options.seed + number - 1
  local function tell(what) run:progress((number - 1) / options.seeds, ("seed %d: %s"):format(seed, what)) end
  orrery.seed(seed)
  tell "random and true dynamics"
  judge("random policy", calm, orrery.policy.random(calm), seed)
  judge("true dynamics: in advance", calm, in_advance({ env = calm }, 10), seed)
  judge("true dynamics: replanning", calm, replanning({ env = calm }, 10), seed)
  judge("strong wind, true: in advance", windy, in_advance({ env = windy }, 10), seed)
  judge("strong wind, true: replanning", windy, replanning({ env = windy }, 10), seed)

  local function judge_model(when, model)
    judge(when .. ": in advance", calm, in_advance({ model = model }, options.particles), seed)
    judge(when .. ": replanning", calm, replanning({ model = model }, options.particles), seed)
  end
  local curve, wary_curve = {}, {}
  -- No share is held out: the few falls are too precious not to be fitted.
  local model = orrery.model { env = calm, members = options.members, hidden = options.hidden, activation = "relu",
    probabilistic = options.probabilistic, seed = seed }
  local mpc = replanning({ model = model }, options.particles)
  orrery.loop.replan { env = calm, task = task, model = model, seed = seed, rounds = options.refits + 1,
    episodes = options.episodes, random_episodes = options.random_episodes, particles = options.particles,
    planner = planner(options.horizon, 1, 1),
    fit = { epochs = options.epochs, batch = 64, validation = 0, bootstrap = false },
    log = function(round, result)
      tell(("round %d of %d"):format(round.round, options.refits + 1))
      if round.round == 0 then return end
      curve[round.round] = height_of(result)
      if round.round > 1 then return end
      judge_model("random walks", model)
      if number == 1 then draw_film(mpc, "before_film.png", "A model of random walks: over the edge") end
    end }
  judge_model("after refits", model)
  judge("after refits: worst particle", calm, replanning({ model = model, risk = "worst" }, options.particles), seed)

  tell "a head for falls"
  local wary = orrery.model { env = calm, members = options.members, hidden = options.hidden, activation = "relu",
    seed = seed, events = { fallen = falls } }
  orrery.loop.replan { env = calm, task = until_fall, model = wary, seed = seed, rounds = options.refits + 1,
    episodes = options.episodes, random_episodes = options.random_episodes, particles = options.particles,
    planner = planner(options.horizon, 1, 1),
    fit = { epochs = options.epochs // 2, batch = 64, validation = 0, bootstrap = false },
    log = function(round, result) wary_curve[round.round] = round.round > 0 and height_of(result) or nil end }
  for _, risk in ipairs { "mean", "worst" } do
    judge("head for falls, " .. risk, calm, replanning({ model = wary, task = until_fall, risk = risk },
      options.particles), seed)
  end
  curves[number], wary_curves[number] = curve, wary_curve
  if number == 1 then draw_film(mpc, "after_film.png", "The same, refitted to its own walks: up, and stop") end
end

run:say("%-32s %10s %20s %10s", "controller", "fall rate", "mean height", "lowest")
for _, name in ipairs(names) do
  local row = table_of[name]
  local height, deviation = mean_and_deviation(row.heights)
  run:say("%-32s %10.2f %12.2f +- %4.2f %10.2f", name, mean_and_deviation(row.falls), height, deviation,
    math.min(table.unpack(row.heights)))
end
run:say("heights in m, mean and deviation over %d seeds of %d walks each; lowest: of the seeds", options.seeds, options.tests)
