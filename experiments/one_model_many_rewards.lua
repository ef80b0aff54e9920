--- One model, many rewards.
---
--- A pendulum is pushed about at random, and ONE model of how it moves is learned from that. Then
--- several tasks are solved by planning with the model; it was trained for none of them. Each reward
--- is a plain Lua function. The same planner on the true dynamics shows what a perfect model would give.
--- With --carts=1 a second world follows: a cart-pole learns to balance in the middle of its rail (PETS),
--- and then, with no further data, balances elsewhere.
local orrery = require "orrery"

local options = orrery.options({
  seed = 1,               -- of every random number
  steps = 3000,           -- environment steps of random experience
  members = 5,            -- nets in the ensemble
  hidden = { 128, 128 },  -- their hidden layers
  epochs = 200,           -- of training, at most
  horizon = 25,           -- steps that a plan looks ahead
  population = 200,       -- plans per iteration
  iterations = 4,         -- of the cross-entropy method, at every step
  particles = 5,          -- samples of each plan's future
  episodes = 3,           -- to evaluate each policy on
  film = true,            -- save a film strip and an animation of each task
  carts = 0,              -- cart-poles that learn, each from a seed of its own: about a minute each
  rounds = 5,             -- of fitting and playing, for each of them
}, { brief = { -- a tiny budget, to see that everything runs
  steps = 400, epochs = 3, hidden = { 16 }, episodes = 1, horizon = 5, population = 20, iterations = 2, film
  = false, carts = 1, rounds = 1
} })

-- The rewards. s: observation before the step, a: action; also given: the next observation, and the time.
local tasks = {
  { name = "upright", about = "swing up and balance",
    reward = function(s, a)
      local angle = math.atan(s.sin, s.cos) -- 0 is up
      return -angle ^ 2 - 0.1 * s.velocity ^ 2 - 0.001 * a.torque ^ 2
    end },
  { name = "whirl", about = "go round at 5 rad/s, either way",
    reward = function(s) return -math.abs(math.abs(s.velocity) - 5) end },
  { name = "rest", about = "hang still",
    reward = function(s)
      if math.abs(s.velocity) > 1 then return -1 end
      return -s.cos
    end },
}

local env = orrery.env "pendulum"
local run <close> = orrery.run { name = "one_model_many_rewards", options = options }
orrery.seed(options.seed)

-- ---- experience, and one model of it

local replay = orrery.replay { env = env }
replay:collect(orrery.policy.random(env), { steps = options.steps, seed = options.seed, progress = run })
local unseen = orrery.replay { env = env }
unseen:collect(orrery.policy.random(env), { steps = 1000, seed = options.seed + 1000, progress = run })

local model = orrery.model { env = env, members = options.members, hidden = options.hidden, seed = options.seed }
local curve = { mean = {}, low = {}, high = {} }
run:finally(function()
  if #curve.mean == 0 then return end
  orrery.plot { title = "Learning the pendulum", x = "epoch", y = "validation error, share of the variance",
    log_y = true, series = { { label = "mean, best and worst of the members", y = curve.mean, low = curve.low,
      high = curve.high } } }:save(run:path("learning_curve.png", "validation error by epoch"))
end)
model:fit(replay, { epochs = options.epochs, log = function(epoch)
  local n, errors = epoch.epoch, epoch.validation
  curve.low[n], curve.high[n] = math.min(table.unpack(errors)), math.max(table.unpack(errors))
  curve.mean[n] = orrery.tensor(errors):mean()
  run:log { epoch = n, train = epoch.train, validation = errors }
  run:progress(n / options.epochs, "training")
end })
model:save(run:path("model.safetensors", "the model"))

run:say("Error of the model's predictions, against predicting no change:")
run:say("%s", model:audit(unseen, { horizons = options.brief and { 1, 5 } or { 1, 5, 10, 20 } }))

-- ---- many rewards

local function planner(population)
  return orrery.plan.cem { horizon = options.horizon, population = population,
    elites = population // 10, iterations = options.iterations }
end

local function film(task, frames, seconds)
  local strip, captions = {}, {}
  for i = 1, 8 do
    local at = (i - 1) * (#frames - 1) // 7
    strip[i], captions[i] = frames[1 + at], ("%.1f s"):format(at * seconds)
  end
  orrery.film_strip(strip, { title = task.about, captions = captions, columns = 4 })
    :save(run:path(task.name .. "_film.png", task.about .. ": eight moments of an episode"))
  orrery.save_animation(run:path(task.name .. "_animation.png", task.about .. ": animated, open it in a browser"),
    frames, { fps = 1 / seconds })
end

local rows = {}
for number, task in ipairs(tasks) do
  local function evaluate(policy, what, with_film)
    run:progress((number - 1) / #tasks, task.name .. ", " .. what)
    return orrery.evaluate(env, policy, { task = task, episodes = options.episodes, seed = options.seed,
      film = with_film })
  end
  local random = evaluate(orrery.policy.random(env), "at random")
  local learned = evaluate(orrery.mpc { model = model, task = task, planner = planner(options.population),
    particles = options.particles, seed = options.seed }, "planning with the model", options.film)
  local exact = evaluate(orrery.mpc { env = env, task = task, planner = planner(options.population), seed = options.seed },
    "planning with the true dynamics")
  local score = (learned.mean - random.mean) / (exact.mean - random.mean)
  rows[number] = { task.about, random.mean, learned.mean, exact.mean, score }
  run:log { task = task.name, random = random.mean, learned = learned.mean, exact = exact.mean, score = score }
  if options.film then film(task, learned.frames, 0.05) end
end

run:say("%-32s %10s %10s %10s %8s", "return of an episode", "random", "learned", "true", "score")
for _, row in ipairs(rows) do run:say("%-32s %10.1f %10.1f %10.1f %8.2f", table.unpack(row)) end
run:say("score: 0 is the random policy, 1 the same planner with the true dynamics")

-- ---- another world: the reward moves, the model stays

local cart = orrery.env "cartpole"
local goals, few = { 0, 1, -1 }, math.max(20, options.population // 2)
local function balance(model, seed, number)
  for i, goal in ipairs(goals) do
    local task = orrery.tasks.cartpole { goal = goal }
    task.name, task.about = ("balance_at_%d"):format(goal), ("balance at x = %d"):format(goal)
    run:progress((number - 1 + i / #goals) / options.carts, task.about)
    local filmed = options.film and number == 1 and goal == 1
    local there = orrery.env("cartpole", { goal = goal })
    local learned = orrery.evaluate(there, orrery.mpc { model = model, task = task, planner = planner(few),
      particles = options.particles, seed = seed }, { task = task, episodes = options.episodes, seed = seed, film = filmed })
    local exact = orrery.evaluate(there, orrery.mpc { env = there, task = task, planner = planner(few), seed = seed },
      { task = task, episodes = options.episodes, seed = seed })
    local random = orrery.evaluate(there, orrery.policy.random(there), { task = task, episodes = options.episodes, seed = seed })
    run:say("%-32s %10.1f %10.1f %10.1f %8d", task.about, random.mean, learned.mean, exact.mean, seed)
    run:log { task = task.name, seed = seed, random = random.mean, learned = learned.mean, exact = exact.mean }
    if filmed then film(task, learned.frames, 0.04) end
  end
end

for number = 1, options.carts do
  local seed = options.seed + number - 1
  local learner = orrery.model { env = cart, members = options.members, hidden = options.hidden, seed = seed }
  orrery.loop.pets { env = cart, task = orrery.tasks.cartpole(), model = learner, planner = planner(few),
    particles = options.particles, rounds = options.rounds, seed = seed, run = run, name = "cart-pole",
    fit = function(_, steps) -- 3000 updates
      return { batch = 64, learning_rate = 3e-3, patience = math.huge,
        epochs = options.brief and 1 or 3000 * 64 // steps }
    end }
  if number == 1 then
    run:say("%-32s %10s %10s %10s %8s", "return of 200 steps, cart-pole", "random", "learned", "true", "seed")
  end
  balance(learner, seed, number)
end
