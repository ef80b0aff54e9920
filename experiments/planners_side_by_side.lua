--- Planners side by side.
---
--- Every planner on every built-in environment: on the true dynamics and on a learned model, with an
--- equal number of plans scored, and with equal time. Then how far ahead a planner has to look.
--- All of them start alike; the random policy is 0, the cross-entropy method with ten times the
--- plans on the true dynamics is 1.
local orrery = require "orrery"

local options = orrery.options({
  seed = 1,               -- of every random number
  environments = { "pendulum", "cartpole", "reacher", "point_mass", "pencil", "cliff" },
  plans = 200,            -- scored at every step, by each planner
  horizon = 25,           -- steps that a plan looks ahead
  milliseconds = 5,       -- for each plan, where time is equal
  episodes = 20,          -- for each planner on the true dynamics
  learned_episodes = 5,   -- for each on the learned model, and where time is equal
  rounds = 4,             -- of collecting an episode and refitting, to learn a model
  steps = 600,            -- of random experience before the first round
  hidden = { 128, 128 },  -- layers of the model's nets
  members = 3,            -- nets of the model
}, { brief = { -- a tiny budget, to see that everything runs
  environments = { "pendulum" }, plans = 24, horizon = 6, episodes = 1, learned_episodes = 1, rounds = 1,
  steps = 200, hidden = { 16 }, milliseconds = 0.2
} })

-- Every planner with its share of `plans` at a step; where time is the limit, iterations go on. Derivatives
-- count as the plans that they take: on the true dynamics they are differences, two plans for each number
-- of a plan, or m^2 + m + 2 single steps at each step for m numbers of state and action; of a model a
-- gradient takes about three passes, and the derivatives of its steps about 2 m.
local function planners(plans, horizon, world, contest)
  local list, contest = {}, contest or {}
  local m, numbers = world.env.state_space.size + world.env.action_space.size, horizon * world.env.action_space.size
  local function add(name, given)
    given.horizon = given.horizon or horizon
    if contest.endless and name ~= "enumerated_shooting" then given.iterations = 1000 end
    list[#list + 1] = { name = name, planner = orrery.plan[name](given) }
  end
  local function share(cost) return math.max(1, math.floor(plans / cost)) end
  add("random_shooting", { population = plans })
  add("cem", { population = plans // 5, iterations = 5, minimum_variance = 0 })
  add("icem", { population = math.floor(plans / 2.44), elites = math.min(10, plans // 8) }) -- 3 shrinking iterations
  add("mppi", { population = plans, deviation = 0.9, temperature = 1 })
  add("pddm", { population = plans, deviation = 0.9, filter = 0.6, temperature = 1 })
  add("predictive_sampling", { population = plans, deviation = 0.3, knots = 6 })
  local starts = contest.learned and 5 or 1
  add("gradient", { population = starts, iterations = share(starts * (contest.learned and 3 or 1 + 2 * numbers)) })
  add("ilqr", { iterations = share(12 + (contest.learned and 2 * m or m * m + m + 2)) })
  -- Every plan of three levels a number: so few decisions can be had for `plans` that each is held.
  local decisions = math.max(1, math.floor(math.log(plans, 3 ^ world.env.action_space.size) + 1e-9))
  local hold = math.ceil(horizon / decisions)
  add("enumerated_shooting", { levels = 3, action_repeat = hold, horizon = hold * decisions })
  return list
end

local run <close> = orrery.run { name = "planners_side_by_side", options = options }
orrery.seed(options.seed)

-- ---- worlds: each with its random policy, its best known planner, and a learned model

local function evaluate(world, policy, episodes)
  return orrery.evaluate(world.env, policy, { episodes = episodes, seed = options.seed })
end

-- From random steps, and a few episodes of planning with what was learned so far.
local function learn(env, task)
  local replay = orrery.replay { env = env }
  replay:collect(orrery.policy.random(env), { steps = options.steps, seed = options.seed, progress = run })
  local model = orrery.model { env = env, members = options.members, hidden = options.hidden, seed = options.seed }
  for round = 1, options.rounds do
    run:progress(round / options.rounds, ("learning a model of %s, round %d"):format(env.name, round))
    model:fit(replay, { epochs = options.brief and 2 or 100 })
    local cem = planners(options.plans, options.horizon, { env = env })[2].planner
    local mpc = orrery.mpc { model = model, task = task, planner = cem, particles = 5, seed = options.seed }
    replay:collect(mpc, { steps = env.max_steps, seed = options.seed + round, progress = run })
  end
  model:fit(replay, { epochs = options.brief and 2 or 100 })
  return model
end

local worlds = {}
for i, name in ipairs(options.environments) do
  local env = orrery.env(name)
  local world = { name = name, env = env, task = orrery.tasks[name]() }
  run:progress(name .. ", the best there is")
  local much = planners(10 * options.plans, options.horizon, world)[2].planner
  world.best = evaluate(world, orrery.mpc { env = env, planner = much, seed = options.seed }, options.episodes)
  world.random = evaluate(world, orrery.policy.random(env), options.episodes)
  world.model = learn(env, world.task)
  worlds[i] = world
end

-- ---- contests: who scores what where

local contests = {
  { name = "true dynamics", title = ("True dynamics, %d plans a step"):format(options.plans), episodes = options.episodes,
    mpc = function(world, planner) return { env = world.env, planner = planner } end },
  { name = "learned model", title = ("Learned model, %d plans a step"):format(options.plans),
    episodes = options.learned_episodes, learned = true,
    mpc = function(world, planner)
      return { model = world.model, task = world.task, planner = planner, particles = planner.planner ~= "ilqr" and 5 or nil }
    end },
  { name = "equal time", title = ("True dynamics, %g ms a step"):format(options.milliseconds),
    episodes = options.learned_episodes, endless = true,
    mpc = function(world, planner)
      return { env = world.env, planner = planner, seconds = options.milliseconds / 1000 }
    end },
}

local function say_row(name, cells) run:say("%-20s" .. (" %20s"):rep(#cells), name, table.unpack(cells)) end

local function hold(contest)
  local rows, series = planners(options.plans, options.horizon, worlds[1], contest), {}
  run:say("\n%s: return of an episode, mean and deviation over %d", contest.title, contest.episodes)
  local head = {}
  for i, world in ipairs(worlds) do
    head[i] = world.name
    series[i] = { label = world.name, x = {}, y = {}, low = {}, high = {}, dots = true }
  end
  say_row("", head)
  for r, row in ipairs(rows) do
    local cells = {}
    for i, world in ipairs(worlds) do
      run:progress((r - 1) / #rows, ("%s: %s, %s"):format(contest.name, row.name, world.name))
      local own = planners(options.plans, options.horizon, world, contest)[r].planner
      local given = contest.mpc(world, own)
      given.seed = options.seed
      local result = evaluate(world, orrery.mpc(given), contest.episodes)
      local span, s = world.best.mean - world.random.mean, series[i]
      local function score(value) return (value - world.random.mean) / span end
      cells[i] = ("%.1f \u{b1} %.1f"):format(result.mean, result.std)
      s.x[r], s.y[r] = r + 0.12 * (i - (#worlds + 1) / 2), score(result.mean)
      s.low[r], s.high[r] = score(result.mean - result.std), score(result.mean + result.std)
      s.y[r] = math.max(-0.49, math.min(1.49, s.y[r])) -- what is outside the picture is at its edge
      run:log { contest = contest.name, environment = world.name, planner = row.name, mean = result.mean,
        std = result.std, score = score(result.mean) }
    end
    say_row(row.name, cells)
  end
  local names = {}
  for r, row in ipairs(rows) do names[r] = row.name end
  orrery.plot { title = contest.title, y = "score: 0 is random, 1 the best known", x_names = names, series = series,
    y_range = { -0.5, 1.5 } }
    :save(run:path(contest.name:gsub(" ", "_") .. ".png", contest.title .. ": every planner, every environment"))
end

local random, best, head = {}, {}, {}
for i, world in ipairs(worlds) do
  head[i] = world.name
  random[i] = ("%.1f \u{b1} %.1f"):format(world.random.mean, world.random.std)
  best[i] = ("%.1f \u{b1} %.1f"):format(world.best.mean, world.best.std)
end
run:say("Where scores are 0 and 1: return of an episode, mean and deviation over %d", options.episodes)
say_row("", head)
say_row("random policy", random)
say_row(("cem, %d plans"):format(10 * options.plans), best)
for _, contest in ipairs(contests) do hold(contest) end

-- ---- how far to look ahead

local world = worlds[2] or worlds[1]
local series = {}
run:say("\n%s, true dynamics, %d plans a step, by how far they look ahead:", world.name, options.plans)
local horizons = options.brief and { 3, 6 } or { 6, 12, 18, 25 }
say_row("", horizons)
for _, which in ipairs { 2, 3 } do
  local s, cells = { x = horizons, y = {}, low = {}, high = {} }, {}
  for i, horizon in ipairs(horizons) do
    local row = planners(options.plans, horizon, world)[which]
    run:progress(i / #horizons, ("looking %d steps ahead: %s"):format(horizon, row.name))
    local result = evaluate(world, orrery.mpc { env = world.env, planner = row.planner, seed = options.seed },
      options.episodes)
    s.label, s.y[i], s.low[i], s.high[i] = row.name, result.mean, result.mean - result.std, result.mean + result.std
    cells[i] = ("%.1f \u{b1} %.1f"):format(result.mean, result.std)
    run:log { contest = "look-ahead", planner = row.name, horizon = horizon, mean = result.mean, std = result.std }
  end
  series[#series + 1] = s
  say_row(s.label, cells)
end
orrery.plot { title = ("Look-ahead decides: %s"):format(world.name), x = "steps that a plan looks ahead",
  y = "return of an episode", series = series }
  :save(run:path("look_ahead.png", "return by how far plans look ahead"))
