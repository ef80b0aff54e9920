--- A strategy of relabeling of one's own, in a few lines of Lua, against those that are built in.
---
--- In hindsight any goal that an episode reached may take the place of the one that was wanted; a strategy says
--- which. Here it is a function of the episode, the time of a transition and a stream of random numbers, and it runs
--- compiled, for the whole batch. `soon` takes goals by how far ahead they lie, the nearer the likelier: k steps on
--- with a probability that falls as discount^k, so that goals are what the discounted future of the policy visits
--- (Eysenbach et al. 2021, "C-learning"). Everything else is the same for all of them: deep Q-learning on flipping
--- bits, as in her_bit_flipping.lua.
local orrery = require "orrery"

local options = orrery.options({
  seed = 1,              -- the first seed
  seeds = 5,             -- how often everything is done
  bits = 15,             -- and steps of an episode
  epochs = 300,          -- of 16 episodes and 40 updates
  share = 0.8,           -- of transitions that are relabeled, by every strategy
  nearness = 0.7,        -- the discount by which `soon` prefers goals that are near
  every = 10,            -- epochs between two evaluations
  goals = 200,           -- of each evaluation, with the best actions
  hidden = { 256 },      -- hidden layers of the net
}, { brief = { -- a tiny budget, to see that everything runs
  seeds = 2, bits = 4, epochs = 4, every = 2, goals = 10, hidden = { 8 }
} })

-- ---- the strategy: the goal for transition t of an episode

local function soon(episode, t, random)
  local ahead = orrery.floor(orrery.log(1 - random:uniform()) / math.log(options.nearness))
  return episode:at(orrery.min(t + 1 + ahead, episode.length + 1)).achieved_goal
end

-- ---- and those that it has to beat

local relabel, given = orrery.relabel, { share = options.share }
local strategies = {
  { name = "soon, your own", relabel.custom(soon, given) },
  { name = "future", relabel.future(given) },
  { name = "episode", relabel.episode(given) },
  { name = "final", relabel.final(given) },
  { name = "random", relabel.random(given) },
  { name = "none", relabel.none {} },
}

local env, task = orrery.env("bit_flipping", { bits = options.bits }), orrery.tasks.bit_flipping()
local epoch, copies = 16 * options.bits, 16
local run <close> = orrery.run { name = "your_own_relabeling", options = options }

-- The share of goals reached, by evaluation.
local function learn(strategy, seed, tell)
  local agent = orrery.dqn { env = env, task = task, relabel = strategy[1], seed = seed, copies = copies,
    hidden = options.hidden, gamma = 0.98, batch = 128, double = false, clip = 0, q_range = { -50, 0 }, start = 0,
    epsilon = 0, final_epsilon = 0, train_every = epoch, updates = 40, target_interval = epoch }
  local curve = {}
  agent:learn { steps = options.epochs * epoch, every = options.every * epoch, episodes = 0, log = function(entry)
    local success = agent:play { episodes = options.goals, seed = seed }.success
    curve[#curve + 1] = success
    run:log { strategy = strategy.name, seed = seed, epoch = entry.steps // epoch, success = success }
    tell(entry.steps / epoch / options.epochs, success)
  end }
  return curve
end

local curves = {} -- by strategy: a list over seeds

local function mean_low_high(list)
  return orrery.tensor(list):mean(), math.min(table.unpack(list)), math.max(table.unpack(list))
end

run:finally(function()
  local series = {}
  for k, strategy in ipairs(strategies) do
    local line = { label = strategy.name, x = {}, y = {}, low = {}, high = {} }
    for i in ipairs(curves[k] and curves[k][1] or {}) do
      local list = {}
      for seed, curve in ipairs(curves[k]) do list[seed] = curve[i] end
      line.x[i] = i * options.every
      line.y[i], line.low[i], line.high[i] = mean_low_high(list)
    end
    if #line.x > 0 then series[#series + 1] = line end
  end
  if #series == 0 then return end
  orrery.plot { title = ("%d bits, strategies of relabeling: mean and range of seeds"):format(options.bits),
    x = "epoch of 16 episodes and 40 updates", y = "share of goals reached", series = series }
    :save(run:path("strategies.png", "share of goals reached, by epoch, for every strategy"))
end)

-- The first epoch from which on nine goals in ten were reached; nil: never.
local function epochs_to(curve)
  for i, success in ipairs(curve) do
    if success >= 0.9 then return i * options.every end
  end
end

run:say("%-16s %-24s %s", "strategy", "share of goals reached", "epochs to 9 of 10 goals, by seed")
for k, strategy in ipairs(strategies) do
  curves[k] = {}
  local last, reached = {}, {}
  for number = 1, options.seeds do
    local seed = options.seed + number - 1
    local curve = learn(strategy, seed, function(share, success)
      run:progress((k - 1 + (number - 1 + share) / options.seeds) / #strategies,
        ("%s, seed %d: %.2f"):format(strategy.name, seed, success))
    end)
    curves[k][number], last[number] = curve, curve[#curve]
    reached[number] = tostring(epochs_to(curve) or "never")
  end
  local mean, low, high = mean_low_high(last)
  run:say("%-16s %.3f (%.3f .. %.3f)    %s", strategy.name, mean, low, high, table.concat(reached, " "))
end
run:say("share of %d goals after %d epochs: mean (range) over %d seeds", options.goals, options.epochs, options.seeds)
