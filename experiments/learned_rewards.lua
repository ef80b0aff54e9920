--- Learned rewards: one model of the dynamics, and rewards that nobody wrote down.
---
--- A puck is pushed about at random, and one model of how it moves is learned from that. Then it is to go to eight
--- places. What is wanted there is told in two ways. By labels: every transition says how good it was for each task,
--- and one net r(s, a, z) learns all eight (z: which task). By 20 examples of success for a place: a classifier
--- learns to tell them from the states that were seen. A planner soon finds where it says yes without reason; looking
--- at what was taken for a success, and learning from the failures among it (mining), mends that. What could also have
--- won is the distance to the nearest example, for somebody who knows that distance is what counts. All plan with the
--- same model, and start alike; planning with the known reward shows what is possible.
local orrery = require "orrery"

local options = orrery.options({
  seed = 1,            -- the first seed
  seeds = 5,           -- how often everything is done
  places = 8,          -- tasks
  starts = 200,        -- random episodes, for the model, the labels and the classifiers
  start_steps = 15,    -- steps of each
  examples = 20,       -- of success, for each place
  rounds = 8,          -- of mining: the planner plays an episode, its claims are looked at
  questions = 20,      -- claims that are looked at in each round
  mixup = 0.5,         -- share of a classifier's batches that lie between success and other states
  near = 0.1,          -- m: what counts as a success
  members = 3,         -- nets of the model
  hidden = { 64, 64 },
  epochs = 30,
  updates = 3000,      -- of the reward net; a classifier has 500 at first and after each round
  horizon = 12,        -- of plans
  population = 50,     -- plans per iteration
  episodes = 2,        -- for each place, on which every reward is judged
  length = 50,         -- steps of an episode
}, { brief = { -- a tiny budget, to see that everything runs
  seeds = 2, places = 2, starts = 20, rounds = 1, epochs = 2, hidden = { 16 }, updates = 60, horizon = 4,
  population = 10, episodes = 1, length = 8,
} })

local env = orrery.env("point_mass", { wall = 0 })
local run <close> = orrery.run { name = "learned_rewards", options = options }

-- ---- the tasks, as nobody tells them

local function distance(from, to) return orrery.sqrt(orrery.square(from - to):sum()) end

local tasks = {}
for i = 1, options.places do
  local angle = 2 * math.pi * (i - 0.5) / options.places
  local place = orrery.tensor { 0.75 * math.cos(angle), 0.75 * math.sin(angle) }
  tasks[i] = { name = ("place %d"):format(i), place = place,
    reward = function(_, a, next) return -distance(next.achieved_goal, place) - 0.01 * orrery.square(a.force):sum() end,
    success = function(_, _, next) return distance(next.achieved_goal, place) <= options.near end }
end

-- States of success: the puck near the place.
local function examples_of(task, seed)
  local stream, list = orrery.stream(seed, 7), {}
  for i = 1, options.examples do
    local radius, angle = options.near * math.sqrt(stream:uniform()), 2 * math.pi * stream:uniform()
    local at = task.place + orrery.tensor { radius * math.cos(angle), radius * math.sin(angle) }
    list[i] = { achieved_goal = at }
  end
  return list
end

-- ---- judging a reward: by how well one plans with it

local names = { "random policy", "known reward", "labels, one net", "examples", "examples, mined", "nearest example" }
local scores, by_place = {}, {} -- by name and key: lists over seeds; by name and place: lists of scores
for _, name in ipairs(names) do scores[name], by_place[name] = {}, {} end

local function mean_and_deviation(list) return orrery.mean(orrery.tensor(list)), orrery.tensor(list):std() end

local function add(to, key, value)
  to[key] = to[key] or {}
  table.insert(to[key], value)
end

local function planning(model, reward, seed)
  return orrery.mpc { model = model, task = { reward = reward }, particles = options.members, seed = seed,
    planner = orrery.plan.cem { horizon = options.horizon, population = options.population,
      elites = options.population // 10, iterations = 3 } }
end

local function judge(policy, task, seed)
  return orrery.evaluate(env, policy, { task = task, episodes = options.episodes, seed = seed, steps = options.length })
end

-- From examples alone: a classifier before mining and after it, and the distance to the nearest of them.
local function by_examples(model, replay, task, seed, tell)
  local examples, found = examples_of(task, seed), {}
  local classifier = orrery.reward.classifier { env = env, fields = { "achieved_goal" }, members = 3, seed = seed }
  local fit = { updates = math.min(500, options.updates), mixup = options.mixup }
  classifier:fit(examples, replay, fit)
  found["examples"] = judge(planning(model, classifier:of "log", seed), task, seed)
  for round = 1, options.rounds do
    local report = classifier:mine(planning(model, classifier:of "log", seed), { ask = task.success,
      most = options.questions, episodes = 1, seed = 1000 * seed + round, steps = options.length })
    tell("asked", report.asked)
    tell("wrong", report.wrong)
    classifier:fit(nil, nil, fit)
  end
  found["examples, mined"] = judge(planning(model, classifier:of "log", seed), task, seed)
  local rows = {}
  for i, example in ipairs(examples) do rows[i] = example.achieved_goal end
  local places = orrery.stack(rows)
  found["nearest example"] = judge(planning(model, function(_, _, next)
    return -orrery.sqrt(orrery.square(next.achieved_goal - places):sum(-1):min())
  end, seed), task, seed)
  return found, classifier
end

-- ---- once for every seed

orrery.seed(options.seed)
local everywhere = 2 * orrery.rand(4000, env.observation_space.size) - 1 -- states to judge a classifier on
local last -- reports of the last seed

local function story(seed, progress)
  local replay, unseen = orrery.replay { env = env }, orrery.replay { env = env }
  for number, kept in ipairs { replay, unseen } do
    orrery.evaluate(env, orrery.policy.random(env), { episodes = options.starts // number, steps = options.start_steps,
      seed = 1000 * number + seed, replay = kept })
  end
  local model = orrery.model { env = env, members = options.members, hidden = options.hidden, seed = seed }
  model:fit(replay, { epochs = options.epochs })
  local fields = { "achieved_goal", "velocity" } -- not the goal that the room has for itself
  local net = orrery.reward.net { env = env, tasks = tasks, next = true, fields = fields, seed = seed }
  net:fit(replay, { updates = options.updates })
  local report, of_seed = net:calibrate(unseen), {}
  last = { net = report }
  for _, name in ipairs(names) do of_seed[name] = {} end
  for i, task in ipairs(tasks) do
    progress(i)
    local mined = of_seed["examples, mined"]
    local found, classifier = by_examples(model, replay, task, seed, function(key, value) add(mined, key, value) end)
    found["random policy"] = judge(orrery.policy.random(env), task, seed)
    found["known reward"] = judge(planning(model, task.reward, seed), task, seed)
    found["labels, one net"] = judge(planning(model, net:of(i), seed), task, seed)
    add(of_seed["labels, one net"], "correlation", report[task.name].correlation or 0)
    local check = classifier:calibrate(everywhere, { ask = task.success, balanced = false }).success
    add(mined, "auroc", check.auroc or 0.5)
    local low, high = found["random policy"].mean, found["known reward"].mean
    for _, name in ipairs(names) do
      local one = found[name]
      local score = (one.mean - low) / (high - low)
      add(of_seed[name], "success", one.success_at_end)
      add(of_seed[name], "score", score)
      add(by_place[name], i, score)
      run:log { seed = seed, task = task.name, reward = name, mean = one.mean, success = one.success_at_end,
        score = score }
    end
    if not options.brief then last.classifier = classifier:calibrate(everywhere, { ask = task.success }) end
  end
  for name, keys in pairs(of_seed) do
    for key, list in pairs(keys) do add(scores[name], key, orrery.tensor(list):mean()) end
  end
end

-- ---- what came of it

run:finally(function()
  if not last then return end
  last.net:plot():save(run:path("rewards.png", "the net's rewards against the true ones"))
  if last.classifier then last.classifier:plot():save(run:path("successes.png", "how reliable a mined classifier is")) end
  local series = {}
  for number, name in ipairs(names) do
    local one = { label = name, y = {}, low = {}, high = {}, color = number }
    for i, list in ipairs(by_place[name]) do
      local mean, deviation = mean_and_deviation(list)
      one.y[i], one.low[i], one.high[i] = mean, mean - deviation, mean + deviation
    end
    if #one.y > 1 then series[#series + 1] = one end
  end
  orrery.plot { title = "Planning with rewards that were learned: one model, eight places", x = "place",
    y = "score: 0 random policy, 1 known reward", series = series }
    :save(run:path("scores.png", "score of planning by place, mean and deviation over seeds"))
end)

for number = 1, options.seeds do
  local seed = options.seed + number - 1
  orrery.seed(seed)
  story(seed, function(i)
    run:progress((number - 1 + (i - 1) / #tasks) / options.seeds, ("seed %d, %s"):format(seed, tasks[i].name))
  end)
end

run:say("%-22s %16s %10s %16s %10s", "planning with", "score", "lowest", "success at end", "lowest")
for _, name in ipairs(names) do
  local row = scores[name]
  local score, of_score = mean_and_deviation(row.score)
  local success, of_success = mean_and_deviation(row.success)
  run:say("%-22s %7.3f +- %5.3f %10.3f %7.3f +- %5.3f %10.3f", name, score, of_score, math.min(table.unpack(row.score)),
    success, of_success, math.min(table.unpack(row.success)))
end
local correlations, mined = scores["labels, one net"].correlation, scores["examples, mined"]
run:say("the net's correlation with the true reward, unseen transitions: mean %.4f, lowest %.4f",
  mean_and_deviation(correlations), math.min(table.unpack(correlations)))
run:say("claims that were looked at in each round: %.1f, of which %.1f were no success; AUROC afterwards %.4f",
  orrery.tensor(mined.asked):mean(), orrery.tensor(mined.wrong):mean(), orrery.tensor(mined.auroc):mean())
run:say("mean and deviation over %d seeds, %d places each", options.seeds, options.places)
