--- Whether the model-free learners reach what is published for them, over several seeds.
---
---   make bench-learners                                                     all of it: an hour or two
---   build/orrery run tests/bench/learners.lua --learners=sac --seeds=3
---
--- A line for each run, then for each learner the median over seeds of the greedy return at the end, its range, and
--- what it is held against; and what the learners' own diagnostics must show. Writes build/learners.json.
local orrery = require "orrery"

local options = orrery.options({
  learners = { "dqn", "plain_dqn", "ddpg", "td3", "sac", "reinforce", "ppo", "trpo", "ppo_pendulum" },
  seeds = 5,                      -- runs of each learner
  first = 1,                      -- the first seed
  share = 1.0,                    -- of the steps
  reports = 10,                   -- in each run
  episodes = 10,                  -- of each report's evaluation
  json = "build/learners.json",   -- results
  quick = false,
}, { quick = { seeds = 1, share = 0.02, reports = 2, episodes = 2 } })

-- Stable-Baselines3's tuned settings of the same algorithms; smaller nets and batches for the pendulum, which is as
-- easily learnt with them.
local function dqn(double)
  return { make = orrery.dqn, env = "cartpole_balance", steps = 50000, floor = 475, target = 500, options = {
    double = double, learning_rate = 2.3e-3, batch = 64, capacity = 100000, start = 1000, train_every = 256,
    updates = 128, target_interval = 10, exploration_steps = 8000, final_epsilon = 0.04 } }
end

local function pendulum(make, more)
  local given = { hidden = { 64, 64 }, batch = 128, learning_rate = 1e-3 }
  for name, value in pairs(more or {}) do given[name] = value end
  return { make = make, env = "pendulum", steps = 20000, floor = -200, target = -150, options = given }
end

-- On-policy learners, with a report for every update or two. REINFORCE and TRPO have their defaults, those of Spinning
-- Up; PPO has its paper's (table 3), and for the pendulum the tuned ones of Stable-Baselines3. Nothing is published
-- for REINFORCE; its floor is where Gym called the 200 steps of CartPole-v0 solved.
local function on_policy(make, floor, given)
  return { make = make, env = "cartpole_balance", steps = 100000, floor = floor, target = 500, every = 4000,
    options = given, quick = { rollout = 400 } }
end

local learners = {
  reinforce = on_policy(orrery.reinforce, 195, {}), trpo = on_policy(orrery.trpo, 475, {}),
  ppo = on_policy(orrery.ppo, 475, { rollout = 2048, lambda = 0.95, epochs = 10, batch = 64, target_kl = 0,
    learning_rate = 3e-4 }),
  ppo_pendulum = { make = orrery.ppo, env = "pendulum", steps = 100000, floor = -200, target = -172, every = 4000,
    quick = { rollout = 400 }, options = { copies = 4, gamma = 0.9, lambda = 0.95, epochs = 10, batch = 64,
      target_kl = 0, learning_rate = 1e-3, gradient_clip = 0.5 } },
  dqn = dqn(true), plain_dqn = dqn(false), ddpg = pendulum(orrery.ddpg), td3 = pendulum(orrery.td3),
  sac = pendulum(orrery.sac),
}

local function median(list)
  local sorted = table.move(list, 1, #list, 1, {})
  table.sort(sorted)
  local n = #sorted
  return n % 2 == 1 and sorted[(n + 1) // 2] or (sorted[n // 2] + sorted[n // 2 + 1]) / 2, sorted[1], sorted[n]
end

-- The mean of a number over the later half of the reports.
local function late(history, name)
  local sum, count = 0, 0
  for i = #history // 2 + 1, #history do
    sum, count = sum + (history[i][name] or 0 / 0), count + 1
  end
  return sum / count
end

local function run_one(name, seed)
  local one = learners[name]
  local given = { env = orrery.env(one.env), seed = seed }
  for key, value in pairs(one.options) do given[key] = value end
  if options.quick then
    given.hidden = { 16 }
    for key, value in pairs(one.quick or { start = 200, train_every = 16, updates = 4 }) do given[key] = value end
  end
  local agent = one.make(given)
  local steps = math.floor(one.steps * options.share)
  local history = agent:learn { steps = steps, every = one.every or math.max(1, steps // options.reports), episodes = options.episodes }
  local last = history[#history]
  local result = { learner = name, seed = seed, mean = last.mean, std = last.std, seconds = last.seconds,
    overestimation = late(history, "overestimation"), entropy = last.entropy, alpha = last.alpha,
    target_entropy = agent.target_entropy, history = history }
  print(("%-10s seed %d: return %8.1f ± %5.1f, overestimation %7.2f, %5.0f s%s"):format(name, seed, last.mean, last.std,
    result.overestimation, last.seconds,
    agent.target_entropy and (", entropy %.2f (target %.2f), alpha %.4f"):format(last.entropy, agent.target_entropy, last.alpha)
    or ""))
  io.stdout:flush()
  return result
end

local results, failed = {}, 0

local function judge(passed, format, ...)
  print(("%-5s %s"):format(passed and "ok" or "MISS", format:format(...)))
  if not passed then failed = failed + 1 end
end

local function values(name, key)
  local list = {}
  for i, result in ipairs(results[name]) do list[i] = result[key] end
  return list
end

for _, name in ipairs(options.learners) do
  if not learners[name] then error("there is no learner '" .. name .. "' here") end
  results[name] = {}
  for seed = options.first, options.first + options.seeds - 1 do
    table.insert(results[name], run_one(name, seed))
  end
end

print ""
for _, name in ipairs(options.learners) do
  local one = learners[name]
  local env = orrery.env(one.env)
  local random = orrery.evaluate(env, orrery.policy.random(env), { episodes = options.episodes }).mean
  local middle, low, high = median(values(name, "mean"))
  judge(middle >= one.floor, "%-10s %6d steps of %s: median %.1f (%.1f .. %.1f) over %d seeds; at least %g, published "
    .. "%g, random %.0f", name, one.steps * options.share, one.env, middle, low, high, options.seeds, one.floor, one.target,
    random)
end
if results.sac then
  for _, result in ipairs(results.sac) do
    judge(math.abs(result.entropy - result.target_entropy) <= 0.5, "sac, seed %d: entropy %.2f within 0.5 of its target %g",
      result.seed, result.entropy, result.target_entropy)
  end
end
if results.dqn and results.plain_dqn then
  local double, plain = median(values("dqn", "overestimation")), median(values("plain_dqn", "overestimation"))
  judge(double < plain, "double DQN values states by %.2f too much, plain DQN by %.2f (medians, later half of runs)",
    double, plain)
end

-- Of every report, or of those up to the first that reaches `until_mean`.
local function over_reports(name, key, f, until_mean)
  for _, result in ipairs(results[name] or {}) do
    local list = {}
    for i, entry in ipairs(result.history) do
      list[i] = entry[key]
      if until_mean and entry.mean >= until_mean then break end
    end
    f(result.seed, list)
  end
end

-- Where nothing is left to learn, nothing is clipped any more.
for _, name in ipairs { "ppo", "ppo_pendulum" } do
  over_reports(name, "clip_fraction", function(seed, list)
    local middle, low, high = median(list)
    judge(middle >= 0.05 and middle <= 0.3, "%s, seed %d: clip fraction %.3f (%.3f .. %.3f) until the task is learnt, a "
      .. "median within 0.05 .. 0.3", name, seed, middle, low, high)
  end, learners[name].target)
end
over_reports("trpo", "kl", function(seed, list)
  local middle, low, high = median(list)
  judge(high <= 1.5 * 0.01, "trpo, seed %d: KL of a step %.4f (%.4f .. %.4f), at most 1.5 times 0.01", seed, middle, low,
    high)
end)
over_reports("trpo", "improvement", function(seed, list)
  local _, low = median(list)
  judge(low > 0, "trpo, seed %d: every step improves the surrogate, by %.4f at least", seed, low)
end)
orrery.system.write(options.json, orrery.json.pretty { options = { seeds = options.seeds, share = options.share },
  results = results })
if not options.quick and failed > 0 then os.exit(1) end
