--- Hindsight on flipping bits (Andrychowicz et al. 2017, "Hindsight experience replay", figure 1).
---
--- A state is n bits, an action flips one of them, and only the one state of 2^n that is the goal is rewarded. Deep
--- Q-learning by itself has to hit the goal by accident before it learns anything, and from a dozen bits on it never
--- does. With hindsight every episode teaches how to get to where it got, and that carries over to any goal.
---
--- Net, rates and bounds are those of a course's homework on it: no random actions at all, 16 episodes and 40 updates
--- in an epoch, after which the target net becomes the net. Both learners get the same number of epochs, 60 for each
--- bit; who reaches every goal stops.
local orrery = require "orrery"

local options = orrery.options({
  seed = 1,                                        -- the first seed
  seeds = 5,                                       -- how often everything is done
  bits = { 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50 },
  most_alone = 25,                                 -- bits up to which it is tried without hindsight
  epochs = 60,                                     -- for each bit, at most
  episodes = 16,                                   -- of n steps, in each epoch
  updates = 40,                                    -- of the net, in each epoch
  relabel = "future",                              -- or final, episode, random
  epsilon = 0.0,                                   -- share of random actions
  hidden = { 256 },                                -- hidden layers of the net
  batch = 128,                                     -- transitions for each update
  gamma = 0.98,                                    -- discount
  goals = 500,                                     -- on which the result is judged, with the best actions
}, { brief = { -- a tiny budget, to see that everything runs
  seeds = 2, bits = { 4, 5 }, most_alone = 4, epochs = 10, hidden = { 16 }, goals = 20
} })

local run <close> = orrery.run { name = "her_bit_flipping", options = options }
local task = orrery.tasks.bit_flipping() -- 0 at the goal, else -1; a success is the goal at any step
local REPORT = 10                        -- epochs between two looks at how well it does

-- ---- one run: the share of goals reached in the end, and the epochs until nine in ten and until all were

local function learn(bits, relabel, seed, tell)
  local env, epoch = orrery.env("bit_flipping", { bits = bits }), options.episodes * bits
  local agent = orrery.dqn { env = env, task = task, relabel = relabel, seed = seed, copies = options.episodes,
    hidden = options.hidden, gamma = options.gamma, batch = options.batch, double = false, clip = 0,
    q_range = { -1 / (1 - options.gamma), 0 }, start = 0, epsilon = options.epsilon, final_epsilon = options.epsilon,
    train_every = epoch, updates = options.updates, target_interval = epoch }
  local most, reached, used = options.epochs * bits, nil, nil
  agent:learn { steps = most * epoch, every = REPORT * epoch, episodes = 0, log = function(entry)
    used = entry.steps // epoch
    local success = agent:play { episodes = 100, seed = 1000 + used }.success
    if success >= 0.9 then reached = reached or used end
    tell(used / most, success)
    return success == 1
  end }
  return agent:play { episodes = options.goals, seed = seed }.success, reached, used
end

-- ---- the picture, and the table

local names = { "with hindsight", "alone" }
local results = { {}, {} } -- of each: by number of bits, { bits, success =, reached =, used = }, lists over seeds

local function range(list)
  local x = orrery.tensor(list)
  return x:mean(), math.min(table.unpack(list)), math.max(table.unpack(list))
end

local function draw()
  local series = {}
  for k, name in ipairs(names) do
    local line = { label = "DQN " .. name, x = {}, y = {}, low = {}, high = {} }
    for i, row in ipairs(results[k]) do
      line.x[i] = row.bits
      line.y[i], line.low[i], line.high[i] = range(row.success)
    end
    if #line.x > 0 then series[#series + 1] = line end
  end
  if #series == 0 then return end
  orrery.plot { title = ("Flipping bits: mean and range of %d seeds"):format(#results[1][1].success), x = "bits",
    y = "share of goals reached", series = series }
    :save(run:path("success.png", "share of goals reached, by number of bits, with and without hindsight"))
end
run:finally(draw)

local function epochs_text(list)
  local known = {}
  for i = 1, options.seeds do known[#known + 1] = list[i] or nil end
  table.sort(known)
  if #known == 0 then return "never" end
  return ("%d (%d .. %d)%s"):format(known[(#known + 1) // 2], known[1], known[#known],
    #known < options.seeds and (" in %d of %d"):format(#known, options.seeds) or "")
end

-- ---- the story, for every number of bits

local cases = {}
for _, bits in ipairs(options.bits) do
  for k in ipairs(names) do
    if k == 1 or bits <= options.most_alone then cases[#cases + 1] = { bits = bits, k = k } end
  end
end
run:say("%5s  %-15s %-22s %-28s %s", "bits", "", "share of goals", "epochs to 9 of 10 goals", "epochs at most")
for at, case in ipairs(cases) do
  local row = { bits = case.bits, success = {}, reached = {} }
  for number = 1, options.seeds do
    local seed, relabel = options.seed + number - 1, case.k == 1 and orrery.relabel[options.relabel] {} or nil
    local began = orrery.clock()
    local success, reached, used = learn(case.bits, relabel, seed, function(share, now)
      run:progress((at - 1 + (number - 1 + share) / options.seeds) / #cases,
        ("%d bits %s, seed %d: %.2f"):format(case.bits, names[case.k], seed, now))
    end)
    row.success[number], row.reached[number] = success, reached or false
    run:log { bits = case.bits, learner = names[case.k], seed = seed, success = success, reached = reached,
      epochs = used, seconds = orrery.clock() - began }
  end
  table.insert(results[case.k], row)
  local mean, low, high = range(row.success)
  run:say("%5d  %-15s %.3f (%.3f .. %.3f)  %-28s %d", case.bits, names[case.k], mean, low, high,
    epochs_text(row.reached), options.epochs * case.bits)
end
run:say("share of %d goals reached with the best actions: mean (range) over %d seeds; epochs: median (range)",
  options.goals, options.seeds)
