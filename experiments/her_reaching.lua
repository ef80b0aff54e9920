--- Reaching with hindsight: a sliding puck, or the tip of an arm, to a goal, with a reward that only tells whether it
--- is there.
---
--- The reward is 0 within a few centimetres of the goal and -1 elsewhere; goals that start reached are drawn again.
--- DDPG with every strategy of relabeling and with none, then TD3 and SAC with the best known one and with none, and
--- what could do without hindsight: DDPG with the distance to the goal as its reward. Nets, noise and bounds of DDPG
--- and TD3 are those of Andrychowicz et al. 2017 and its code, but for its penalty on actions. Success is being at
--- the goal at the end of the episode; `chance` is what random actions achieve.
local orrery = require "orrery"

local options = orrery.options({
  seed = 1,                  -- the first seed
  seeds = 5,                 -- how often everything is done
  env = "point_mass",        -- in a room without a wall; or reacher
  episode = 50,              -- steps of an episode
  steps = 40000,             -- of the environment, for each learner
  updates = 200,             -- after every 16 episodes
  k = 4,                     -- relabeled transitions for each that is not
  hidden = { 64, 64, 64 },   -- hidden layers of each net
  batch = 128,               -- transitions for each update
  gamma = 0.98,              -- discount
  noise = 0.2,               -- of actions, in halves of their range; SAC has its own
  random = 0.3,              -- share of uniform actions, likewise
  tau = 0.005,               -- how far target nets go in an update
  reports = 8,               -- evaluations, with the best actions
  goals = 200,               -- of each
}, { brief = { -- a tiny budget, to see that everything runs
  seeds = 2, steps = 1700, updates = 2, hidden = { 8 }, batch = 8, reports = 2, goals = 5
} })

local env = orrery.env(options.env, { max_steps = options.episode, wall = options.env == "point_mass" and 0 or nil })
local sparse = orrery.tasks[options.env] { reward = "sparse" }
local shaped = orrery.tasks[options.env] { reward = "distance" }
local run <close> = orrery.run { name = "her_reaching", options = options }

local cases = {
  { "DDPG, future", "ddpg", "future" }, { "DDPG, episode", "ddpg", "episode" }, { "DDPG, final", "ddpg", "final" },
  { "DDPG, random", "ddpg", "random" }, { "DDPG alone", "ddpg" }, { "DDPG alone, distance", "ddpg", task = shaped },
  { "TD3, future", "td3", "future" }, { "TD3 alone", "td3" },
  { "SAC, future", "sac", "future" }, { "SAC alone", "sac" },
}

-- ---- one run: the share of goals reached, by report

local function learn(case, seed, tell)
  local name, learner, strategy = table.unpack(case, 1, 3)
  local cycle, least = 16 * options.episode, -1 / (1 - options.gamma)
  local given = { env = env, task = case.task or sparse, seed = seed, copies = 16, hidden = options.hidden,
    relabel = strategy and orrery.relabel[strategy] { share = options.k / (options.k + 1) } or nil,
    gamma = options.gamma, batch = options.batch, tau = options.tau, learning_rate = 1e-3, normalise = true,
    start = cycle, train_every = cycle, updates = options.updates }
  if learner ~= "sac" then
    given.noise, given.random = options.noise, options.random
    given.q_range = not case.task and { least, 0 } or nil
  end
  local agent, curve = orrery[learner](given), { x = {}, y = {} }
  agent:learn { steps = options.steps, every = options.steps // options.reports, episodes = 0, log = function(entry)
    local played = agent:play { task = sparse, episodes = options.goals, seed = seed }
    table.insert(curve.x, entry.steps)
    table.insert(curve.y, played.success_at_end)
    run:log { learner = name, seed = seed, steps = entry.steps, success_at_end = played.success_at_end,
      success = played.success, seconds = entry.seconds }
    tell(entry.steps / options.steps, played.success_at_end)
  end }
  return curve
end

-- ---- pictures

local curves, chance = {}, nil -- by case: a list over seeds

local function mean_low_high(list)
  return orrery.tensor(list):mean(), math.min(table.unpack(list)), math.max(table.unpack(list))
end

local function draw(file, title, first, last)
  local series = {}
  for k = first, last do
    local line = { label = cases[k][1], x = {}, y = {}, low = {}, high = {} }
    for i, steps in ipairs(curves[k] and curves[k][1] and curves[k][1].x or {}) do
      local list = {}
      for seed, curve in ipairs(curves[k]) do list[seed] = curve.y[i] end
      line.x[i] = steps
      line.y[i], line.low[i], line.high[i] = mean_low_high(list)
    end
    if #line.x > 0 then series[#series + 1] = line end
  end
  if #series == 0 then return end
  series[#series + 1] = { label = "chance", x = { 0, options.steps }, y = { chance, chance }, dashed = true,
    color = "grey" }
  orrery.plot { title = title, x = "steps of the environment", y = "share of goals reached", series = series }
    :save(run:path(file, title))
end
run:finally(function()
  draw("strategies.png", ("%s, DDPG: mean and range of seeds"):format(options.env), 1, 6)
  draw("learners.png", ("%s, TD3 and SAC: mean and range of seeds"):format(options.env), 7, 10)
end)

-- ---- the story, for every learner

local random = orrery.evaluate(env, orrery.policy.random(env),
  { task = sparse, episodes = options.goals, seed = options.seed })
chance = random.success_at_end
run:say("chance: %.3f of goals at the end, %.3f at any step", chance, random.success)
run:say("%-22s %-26s %s", "", "share of goals reached", "by seed")
for k, case in ipairs(cases) do
  local last, texts = {}, {}
  curves[k] = {}
  for number = 1, options.seeds do
    local seed = options.seed + number - 1
    curves[k][number] = learn(case, seed, function(share, success)
      run:progress((k - 1 + (number - 1 + share) / options.seeds) / #cases,
        ("%s, seed %d: %.2f"):format(case[1], seed, success))
    end)
    last[number] = curves[k][number].y[#curves[k][number].y]
    texts[number] = ("%.2f"):format(last[number])
  end
  local mean, low, high = mean_low_high(last)
  run:say("%-22s %.3f (%.3f .. %.3f)     %s", case[1], mean, low, high, table.concat(texts, " "))
end
run:say("share of %d goals reached at the end, after %d steps: mean (range) over %d seeds", options.goals,
  options.steps, options.seeds)
