--- Planners side by side.
---
--- Every planner on every built-in environment: on the true dynamics and on a learned model, with an
--- equal number of plans scored, and with equal time. Then how far ahead a planner has to look.
--- All of them start alike; the random policy is 0, the cross-entropy method with ten times the
--- plans on the true dynamics is 1. Where actions are discrete, those planners that take such compete.
--- A model is only as good as its experience: the little that it gets here teaches no net what a push
--- at a puck or a ball does, and then it does not matter who plans with it.
local orrery = require "orrery"

local options = orrery.options({
  seed = 1,               -- of every random number
  environments = { "pendulum", "cartpole", "reacher", "point_mass", "pencil", "cliff", "push", "ball_game",
                   "bit_flipping", "cartpole_balance" },
  plans = 200,            -- scored at every step, by each planner
  horizon = 25,           -- steps that a plan looks ahead
  milliseconds = 5.0,     -- for each plan, where time is equal
  episodes = 20,          -- for each planner on the true dynamics
  learned_episodes = 5,   -- for each on the learned model, and where time is equal
  rounds = 4,             -- of collecting and refitting, to learn a model
  round_steps = 200,      -- collected in each
  steps = 600,            -- of random experience before the first round
  hidden = { 128, 128 },  -- layers of the model's nets
  members = 3,            -- nets of the model
}, { brief = { -- a tiny budget, to see that everything runs
  environments = { "pendulum", "bit_flipping" }, plans = 24, horizon = 6, episodes = 1, learned_episodes = 1, rounds = 1,
  round_steps = 50, steps = 200, hidden = { 16 }, milliseconds = 0.2
} })

local takes_discrete = { random_shooting = true, cem = true, enumerated_shooting = true }

-- Every planner with its share of `plans` at a step; where time is the limit, iterations go on. Derivatives
-- count as the plans that they take: on the true dynamics they are differences, two plans for each number
-- of a plan, or m^2 + m + 2 single steps at each step for m numbers of state and action; of a model a
-- gradient takes about three passes, and the derivatives of its steps about 2 m.
local function planners(plans, horizon, world, contest)
  local list, contest = {}, contest or {}
  local m, numbers = world.env.state_space.size + world.env.action_space.size, horizon * world.env.action_space.size
  local function add(name, given)
    if world.discrete and not takes_discrete[name] then return end
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
  -- Every plan of all values of an action, or three levels a number: so few decisions can be had for `plans`
  -- that each is held.
  local values = world.discrete or 3 ^ world.env.action_space.size
  local decisions = math.max(1, math.floor(math.log(plans, values) + 1e-9))
  local hold = math.ceil(horizon / decisions)
  add("enumerated_shooting", { levels = 3, action_repeat = hold, horizon = hold * decisions })
  return list
end

local run <close> = orrery.run { name = "planners_side_by_side", options = options }
orrery.seed(options.seed)

-- ---- worlds: each with its random policy, its best known planner, and a learned model

-- Where the environment's own reward is sparse: plans that look alike teach nothing, so what is left to the goal counts.
local is_sparse = { push = true, ball_game = true, bit_flipping = true }

local function evaluate(world, policy, episodes)
  return orrery.evaluate(world.env, policy, { task = world.own, episodes = episodes, seed = options.seed })
end

-- From random steps, and a few episodes of planning with what was learned so far.
local function learn(world)
  local env, replay = world.env, orrery.replay { env = world.env }
  replay:collect(orrery.policy.random(env), { steps = options.steps, seed = options.seed, progress = run })
  local model = orrery.model { env = env, members = options.members, hidden = options.hidden, seed = options.seed }
  for round = 1, options.rounds do
    run:progress(round / options.rounds, ("learning a model of %s, round %d"):format(env.name, round))
    model:fit(replay, { epochs = options.brief and 2 or 100 })
    local cem = planners(options.plans, options.horizon, world)[2].planner
    local mpc = orrery.mpc { model = model, task = world.task, planner = cem, particles = 5, seed = options.seed }
    replay:collect(mpc, { steps = options.round_steps, seed = options.seed + round, progress = run })
  end
  model:fit(replay, { epochs = options.brief and 2 or 100 })
  return model
end

local function new_world(name)
  local env = orrery.env(name)
  local task = orrery.tasks[name](is_sparse[name] and { reward = "distance" } or {})
  local world = { name = name, env = env, task = task, own = is_sparse[name] and task or nil,
                  discrete = env.action_space.fields[1].n } -- how many actions there are
  run:progress(name .. ", the best there is")
  local much = planners(10 * options.plans, options.horizon, world)[2].planner
  world.best = evaluate(world, orrery.mpc { env = env, task = world.own, planner = much, seed = options.seed },
    options.episodes)
  world.random = evaluate(world, orrery.policy.random(env), options.episodes)
  world.model = learn(world)
  return world
end

local continuous, discrete = {}, {}
for _, name in ipairs(options.environments) do
  local world = new_world(name)
  table.insert(world.discrete and discrete or continuous, world)
end

-- ---- contests: who scores what where

local contests = {
  { name = "true dynamics", title = ("True dynamics, %d plans a step"):format(options.plans), episodes = options.episodes,
    mpc = function(world, planner) return { env = world.env, task = world.own, planner = planner } end },
  { name = "learned model", title = ("Learned model, %d plans a step"):format(options.plans),
    episodes = options.learned_episodes, learned = true,
    mpc = function(world, planner)
      return { model = world.model, task = world.task, planner = planner, particles = planner.planner ~= "ilqr" and 5 or nil }
    end },
  { name = "equal time", title = ("True dynamics, %g ms a step"):format(options.milliseconds),
    episodes = options.learned_episodes, endless = true,
    mpc = function(world, planner)
      return { env = world.env, task = world.own, planner = planner, seconds = options.milliseconds / 1000 }
    end },
}

local function say_row(name, cells)
  local line = ("%-20s"):format(name)
  for _, text in ipairs(cells) do line = line .. (" "):rep(17 - utf8.len(text)) .. text end
  run:say("%s", line)
end

-- What a result would be with as many episodes as another one has: they start alike.
local function mean_of_first(result, n)
  local returns = orrery.tensor(result.returns)
  return returns:slice(1, math.min(n, returns:count())):mean()
end

local function cell(result) return ("%.1f \u{b1} %.1f"):format(result.mean, result.std) end

-- In a row for each planner and a column for each world; the picture has a row of dots for each planner.
local function hold(contest, worlds, kind)
  local rows, series, head, names = planners(options.plans, options.horizon, worlds[1], contest), {}, {}, {}
  run:say("\n%s, %s actions: return of an episode, mean and deviation over %d", contest.title, kind, contest.episodes)
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
      local best, random = mean_of_first(world.best, contest.episodes), mean_of_first(world.random, contest.episodes)
      local s = series[i]
      local function score(value) return (value - random) / (best - random) end
      cells[i] = cell(result)
      s.x[r], s.y[r] = r + 0.8 * ((i - 0.5) / #worlds - 0.5), score(result.mean)
      s.low[r], s.high[r] = score(result.mean - result.std), score(result.mean + result.std)
      s.y[r] = math.max(-0.49, math.min(1.49, s.y[r])) -- what is outside the picture is at its edge
      run:log { contest = contest.name, environment = world.name, planner = row.name, mean = result.mean,
        std = result.std, score = score(result.mean) }
    end
    say_row(row.name, cells)
    names[r] = row.name
  end
  orrery.plot { title = ("%s, %s actions"):format(contest.title, kind), x_names = names, series = series, width = 1200,
    y = ("score: 0 is random, 1 is cem with %d plans"):format(10 * options.plans), y_range = { -0.5, 1.5 } }
    :save(run:path(("%s_%s.png"):format(contest.name:gsub(" ", "_"), kind),
      ("%s: every planner for %s actions, every environment"):format(contest.title, kind)))
end

local function say_bounds(worlds)
  local random, best, head = {}, {}, {}
  for i, world in ipairs(worlds) do
    head[i], random[i], best[i] = world.name, cell(world.random), cell(world.best)
  end
  say_row("", head)
  say_row("random policy", random)
  say_row(("cem, %d plans"):format(10 * options.plans), best)
end

run:say("Where scores are 0 and 1: return of an episode, mean and deviation over %d", options.episodes)
for _, worlds in ipairs { continuous, discrete } do
  if #worlds > 0 then say_bounds(worlds) end
end
for _, contest in ipairs(contests) do
  if #continuous > 0 then hold(contest, continuous, "continuous") end
  if #discrete > 0 then hold(contest, discrete, "discrete") end
end

-- ---- how far to look ahead

local world = continuous[2] or continuous[1] or discrete[1]
local series = {}
run:say("\n%s, true dynamics, %d plans a step, by how far they look ahead:", world.name, options.plans)
local horizons = options.brief and { 3, 6 } or { 6, 12, 18, 25 }
say_row("", horizons)
for _, which in ipairs(world.discrete and { 2 } or { 2, 3 }) do -- cem and icem
  local s, cells = { x = horizons, y = {}, low = {}, high = {} }, {}
  for i, horizon in ipairs(horizons) do
    local row = planners(options.plans, horizon, world)[which]
    run:progress(i / #horizons, ("looking %d steps ahead: %s"):format(horizon, row.name))
    local mpc = orrery.mpc { env = world.env, task = world.own, planner = row.planner, seed = options.seed }
    local result = evaluate(world, mpc, options.episodes)
    s.label, s.y[i], s.low[i], s.high[i] = row.name, result.mean, result.mean - result.std, result.mean + result.std
    cells[i] = cell(result)
    run:log { contest = "look-ahead", planner = row.name, horizon = horizon, mean = result.mean, std = result.std }
  end
  series[#series + 1] = s
  say_row(s.label, cells)
end
orrery.plot { title = ("Look-ahead decides: %s"):format(world.name), x = "steps that a plan looks ahead",
  y = "return of an episode", series = series }
  :save(run:path("look_ahead.png", "return by how far plans look ahead"))
