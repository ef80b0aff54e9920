--- Planners side by side.
---
--- Every planner on every built-in environment: on the true dynamics and on a learned model, with an
--- equal number of plans scored, and with equal time. Then how far ahead a planner has to look.
--- All of them start alike; the random policy is 0, the cross-entropy method with ten times the
--- plans on the true dynamics is 1.
local orrery = require "orrery"

local options = orrery.options {
  seed = 1,               -- of every random number
  environments = { "pendulum", "cartpole", "reacher", "point_mass" },
  plans = 200,            -- scored at every step, by each planner
  horizon = 25,           -- steps that a plan looks ahead
  milliseconds = 5,       -- for each plan, where time is equal
  episodes = 20,          -- for each planner on the true dynamics
  learned_episodes = 5,   -- and on the learned model
  rounds = 4,             -- of collecting an episode and refitting, to learn a model
  steps = 600,            -- of random experience before the first round
  hidden = { 128, 128 },  -- layers of the model's nets
  members = 3,            -- nets of the model
  brief = false,          -- a tiny budget, to see that everything runs
}
if options.brief then
  options.environments, options.plans, options.horizon, options.episodes = { "pendulum" }, 24, 6, 1
  options.learned_episodes, options.rounds, options.steps, options.hidden = 1, 1, 200, { 16 }
  options.milliseconds = 1
end

-- Every planner's share of `n` plans at a step. Where time is the limit, iterations go on.
local plan, n, horizon = orrery.plan, options.plans, options.horizon
local function choose(endless)
  local function made(name, given)
    given.horizon = given.horizon or horizon
    if endless then given.iterations = 1000 end
    return { name = name, planner = plan[name](given) }
  end
  return {
    made("random_shooting", { population = n }),
    made("cem", { population = n // 5, iterations = 5, minimum_variance = 0 }),
    made("icem", { population = math.floor(n / 2.44), elites = math.min(10, n // 8), iterations = 3 }),
    made("mppi", { population = n, deviation = 0.9, temperature = 1 }),
    made("pddm", { population = n, deviation = 0.9, filter = 0.6, temperature = 1 }),
    made("predictive_sampling", { population = n, deviation = 0.3, knots = 6 }),
  }
end

local run <close> = orrery.run { name = "planners_side_by_side", options = options }
orrery.seed(options.seed)

-- ---- the contests

local function play(env, mpc, episodes)
  return orrery.evaluate(env, mpc, { episodes = episodes, seed = options.seed, steps = env.max_steps })
end

-- A model of the environment, from random steps and a few episodes of planning with it.
local function learn(env)
  local replay = orrery.replay { env = env }
  replay:collect(orrery.policy.random(env), { steps = options.steps, seed = options.seed, progress = run })
  local model = orrery.model { env = env, members = options.members, hidden = options.hidden, seed = options.seed }
  for round = 1, options.rounds do
    model:fit(replay, { epochs = options.brief and 2 or 100 })
    local mpc = orrery.mpc { model = model, task = env:task(), planner = choose()[2].planner, particles = 5,
      seed = options.seed }
    replay:collect(mpc, { episodes = 1, seed = options.seed + round, progress = run })
  end
  model:fit(replay, { epochs = options.brief and 2 or 100 })
  return model
end
