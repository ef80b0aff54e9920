--- Pushing with hindsight (Andrychowicz et al. 2017, figure 2): a puck to a goal, with a reward that only tells
--- whether it is there.
---
--- A disc driven by forces pushes a puck that slides with friction; the reward is 0 where the puck is within 7 cm of
--- the goal and -1 elsewhere. Goals where the puck lies already are drawn again, so nothing succeeds by standing
--- still, and random actions hardly ever: `chance` tells. DDPG with each strategy of relabeling and with none, with
--- the nets, the noise and the bounds of the targets of the authors' code; but without its penalty on actions, under
--- which the untrained actor stands still and never moves the puck. Success is the puck at the goal at the episode's
--- end.
local orrery = require "orrery"

local options = orrery.options({
  seed = 1,                                            -- the first seed
  seeds = 5,                                           -- how often everything is done
  strategies = { "future", "episode", "final", "random", "none" },
  k = 4,                                               -- relabeled transitions for each that is not
  steps = 200000,                                      -- of the environment, 50 in an episode
  updates = 200,                                       -- after every 16 episodes
  hidden = { 64, 64, 64 },                             -- hidden layers of each net
  batch = 128,                                         -- transitions for each update
  gamma = 0.98,                                        -- discount
  noise = 0.2,                                         -- of actions, in halves of their range
  random = 0.3,                                        -- share of uniform actions
  tau = 0.005,                                         -- how far target nets go in an update
  reports = 10,                                        -- evaluations, with the best actions
  goals = 200,                                         -- of each
  film = true,                                         -- save a film strip of the first seed's first strategy
}, { brief = { -- a tiny budget, to see that everything runs
  seeds = 2, steps = 1700, updates = 2, hidden = { 8 }, batch = 8, reports = 2, goals = 5, film = false
} })

local env, task = orrery.env "push", orrery.tasks.push { reward = "sparse" }
local cycle = 16 * env.max_steps
local run <close> = orrery.run { name = "her_pushing", options = options }

local function new_agent(strategy, seed)
  -- Every strategy relabels the same share of transitions.
  local relabel = orrery.relabel[strategy](strategy ~= "none" and { share = options.k / (options.k + 1) } or {})
  return orrery.ddpg { env = env, task = task, relabel = relabel, seed = seed, copies = 16, hidden = options.hidden,
    gamma = options.gamma, batch = options.batch, q_range = { -1 / (1 - options.gamma), 0 }, normalise = true,
    noise = options.noise, random = options.random, tau = options.tau, start = cycle, train_every = cycle,
    updates = options.updates }
end

-- ---- pictures

local curves, chance = {}, nil -- by strategy: lists over seeds of lists by report

local function mean_low_high(list)
  return orrery.tensor(list):mean(), math.min(table.unpack(list)), math.max(table.unpack(list))
end

local function spread(list) return ("%.3f (%.3f .. %.3f)"):format(mean_low_high(list)) end

run:finally(function()
  local series = {}
  for k, strategy in ipairs(options.strategies) do
    local line = { label = strategy, x = {}, y = {}, low = {}, high = {} }
    for i, first in ipairs(curves[k] and curves[k][1] or {}) do
      local list = {}
      for _, curve in ipairs(curves[k]) do list[#list + 1] = curve[i] and curve[i].success end
      line.x[i] = first.steps
      line.y[i], line.low[i], line.high[i] = mean_low_high(list)
    end
    if #line.x > 0 then series[#series + 1] = line end
  end
  if #series == 0 then return end
  series[#series + 1] = { label = "chance", x = { 0, options.steps }, y = { chance, chance }, dashed = true,
    color = "grey" }
  orrery.plot { title = "Pushing, DDPG by what is relabeled: mean and range of seeds", x = "steps of the environment",
    y = "share of goals reached", series = series }
    :save(run:path("success.png", "share of goals reached, by steps, for every strategy"))
end)

local function draw_film(agent, name)
  local frames = orrery.evaluate(env, agent, { task = task, episodes = 1, seed = options.seed, film = 240 }).frames
  local strip, captions = {}, {}
  for i = 1, 8 do
    local at = (i - 1) * (#frames - 1) // 7
    strip[i], captions[i] = frames[1 + at], ("step %d"):format(at)
  end
  local title = ("To the goal, relabeled by '%s'"):format(name)
  orrery.film_strip(strip, { title = title, captions = captions, columns = 4 })
    :save(run:path("film.png", "an episode of the first seed"))
end

-- ---- the story, for every strategy

local random = orrery.evaluate(env, orrery.policy.random(env),
  { task = task, episodes = options.goals, seed = options.seed })
chance = random.success_at_end
run:say("chance: %.3f of goals at the end, %.3f at any step", chance, random.success)
run:say("%-10s %-24s %-24s %s", "relabeled", "goals reached at the end", "at any step", "at the end, by seed")
for k, strategy in ipairs(options.strategies) do
  local at_end, ever, texts = {}, {}, {}
  curves[k] = {}
  for number = 1, options.seeds do
    local seed, curve = options.seed + number - 1, {}
    curves[k][number] = curve
    local agent = new_agent(strategy, seed)
    agent:learn { steps = options.steps, every = options.steps // options.reports, episodes = 0, log = function(entry)
      local played = agent:play { episodes = options.goals, seed = seed }
      curve[#curve + 1] = { steps = entry.steps, success = played.success_at_end, ever = played.success }
      run:log { strategy = strategy, seed = seed, steps = entry.steps, success_at_end = played.success_at_end,
        success = played.success, q = entry.q, seconds = entry.seconds }
      run:progress((k - 1 + (number - 1 + entry.steps / options.steps) / options.seeds) / #options.strategies,
        ("%s, seed %d: %.2f"):format(strategy, seed, played.success_at_end))
    end }
    if options.film and k == 1 and number == 1 then draw_film(agent, strategy) end
    local last = curve[#curve]
    at_end[number], ever[number], texts[number] = last.success, last.ever, ("%.2f"):format(last.success)
  end
  run:say("%-10s %s   %s   %s", strategy, spread(at_end), spread(ever), table.concat(texts, " "))
end
run:say("share of %d goals after %d steps: mean (range) over %d seeds", options.goals, options.steps, options.seeds)
