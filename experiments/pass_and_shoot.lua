--- Pass and shoot: the pass that was meant as a shot.
---
--- A player runs at a ball and kicks it; where to aim is what he learns, for two tasks: a pass to the team-mate, a
--- shot into the goal. Most kicks do neither. But a kick is what it is, whatever it was meant for: relabeling
--- (orrery.relabel.tasks) lets every kick be learned from for both tasks, each with its own reward. With sharing and
--- without, an off-policy learner (TD3) has the same kicks and as many updates. A harder trial follows: nobody is ever
--- asked to shoot. The tasks are known by an identifier z, one-hot or, with --identifier=words, the description's words.
---
--- The same in another world: a puck is asked to go to the two lower corners of a room, and then judged at all four.
---
--- The run-up is given: learning it too, from forces and with the same rewards, takes more than the few ten thousand
--- steps that an experiment of minutes has.
local orrery = require "orrery"

local options = orrery.options({
  seed = 1,                 -- the first seed
  seeds = 5,                -- how often everything is done
  kicks = 800,              -- of each learner
  every = 100,              -- kicks between evaluations
  tests = 100,              -- kicks of each evaluation and task
  hidden = { 64, 64 },
  identifier = "one_hot",   -- or "words"
  corner_steps = 24000,     -- of the puck, in the second world
  corner_start = 8000,      -- of these, at first, with random actions: nobody takes it to the upper corners
  corner_tests = 20,        -- episodes for each corner
}, { brief = { -- a tiny budget, to see that everything runs
  seeds = 2, kicks = 80, every = 40, tests = 2, hidden = { 8 }, corner_steps = 800, corner_start = 400, corner_tests = 1,
  identifier = "words",
} })
local run <close> = orrery.run { name = "pass_and_shoot", options = options }

-- ---- a kick as one step: a run-up in the true game, towards where it is aimed

local game = orrery.env "ball_game"

-- The force that brings the player behind the ball, as seen from where it is to go, and then through it.
local function run_up(s, ahead_x, ahead_y)
  local x, y = s.player[1], s.player[2]
  local to_x, to_y = s.ball[1] - x, s.ball[2] - y
  local along = to_x * ahead_x + to_y * ahead_y -- in the direction of the kick, and across it:
  local off_x, off_y = to_x - along * ahead_x, to_y - along * ahead_y
  local aside = math.sqrt(off_x ^ 2 + off_y ^ 2)
  if along > 0.05 and aside < 0.03 then return { 6 * ahead_x, 6 * ahead_y } end
  local round = along < 0.05 and 0.25 / (aside + 1e-3) or 0 -- in front of the ball: around it
  return { 12 * (to_x - 0.22 * ahead_x - round * off_x) - s.player_velocity[1],
           12 * (to_y - 0.22 * ahead_y - round * off_y) - s.player_velocity[2] } -- bounds cut it off
end

local function seen(s) return { player = s.player, ball = s.ball, mate = s.mate } end

local env = orrery.env {
  name = "kick", max_steps = 1,
  observation = { { "player", 2 }, { "ball", 2 }, { "mate", 2 } },
  action = { { "aim", 2, low = -1, high = 1 } }, -- a direction
  reset = function(self, random)
    self.start = random:integer(1, 1 << 30)
    return seen(game:reset(self.start))
  end,
  step = function(self, a)
    local s = game:reset(self.start)
    local x, y = a.aim[1], a.aim[2]
    local length = math.max(math.sqrt(x ^ 2 + y ^ 2), 1e-6)
    local over = false
    while not over do
      local _, terminated, truncated
      s, _, terminated, truncated = game:step { force = run_up(s, x / length, y / length) }
      over = terminated or truncated
    end
    return seen(s), 0, true
  end,
}

-- ---- the tasks, and who learns them

local words = orrery.words { "pass the ball to the mate", "shoot the ball at the goal" }

local function one_hot(i, n)
  local z = orrery.zeros(n)
  z[i] = 1
  return z
end

local function told(name, text, i)
  local task = orrery.tasks.ball_game[name]()
  task.termination = function() return true end -- a kick is an episode
  task.z = options.identifier == "words" and words:z(text) or one_hot(i, 2)
  return task
end
local kicks = { told("pass", "pass the ball to the mate", 1), told("shoot", "shoot the ball at the goal", 2) }

local room, corners = orrery.env("point_mass", { wall = 0 }), {}
for i = 1, 4 do
  corners[i] = orrery.tasks.corner { corner = i, reward = "distance" }
  corners[i].z = one_hot(i, 4)
end

-- Success for each of `tasks`, also for those that it never acts for; without an agent that of acting at random.
local function judge(agent, world, tasks, episodes)
  local found = {}
  for i, task in ipairs(tasks) do
    local z = task.z:insert_axis(1)
    local policy = agent and orrery.policy.call(function(observation)
      return agent:decide(world.observation_space:flatten(observation):insert_axis(1), z):reshape(-1):copy()
    end) or orrery.policy.random(world)
    found[i] = orrery.evaluate(world, policy, { task = task, episodes = episodes, seed = 77 }).success_at_end
  end
  return found
end

local function learner(o)
  o.hidden, o.random, o.noise, o.train_every = options.hidden, 0.2, 0.2, o.copies
  o.relabel = o.shared_with and orrery.relabel.tasks { tasks = o.shared_with } or nil
  o.shared_with = nil
  return orrery.td3(o)
end

-- ---- both worlds, once for every seed

local arms = { { "shared", kicks, kicks }, { "each for its own task", kicks, nil },
               { "asked for passes only, shared", { kicks[1] }, kicks },
               { "asked for passes only", { kicks[1] }, nil } }
local curves, corner_rows = {}, { shared = {}, alone = {} } -- by arm, task and evaluation: lists over seeds

for _, arm in ipairs(arms) do
  curves[arm[1]] = { pass = {}, shoot = {} }
  for at = 1, options.kicks // options.every do curves[arm[1]].pass[at], curves[arm[1]].shoot[at] = {}, {} end
end

local function practise(arm, seed)
  local name, acted_for, shared_with = table.unpack(arm)
  local agent = learner { env = env, tasks = acted_for, shared_with = shared_with, seed = seed, copies = 4, updates = 4,
    start = options.every // 2, q_range = { -1, 0 } }
  for at = 1, options.kicks // options.every do
    agent:learn { steps = options.every, every = options.every, episodes = 0 }
    local found = judge(agent, env, kicks, options.tests)
    for i, task in ipairs(kicks) do table.insert(curves[name][task.name][at], found[i]) end
    run:log { arm = name, seed = seed, kicks = at * options.every, pass = found[1], shoot = found[2] }
  end
end

local function go_to_corners(seed)
  for _, name in ipairs { "shared", "alone" } do
    local agent = learner { env = room, tasks = { corners[1], corners[2] }, seed = seed, copies = 8, updates = 4,
      shared_with = name == "shared" and corners or nil, gamma = 0.95, start = options.corner_start }
    agent:learn { steps = options.corner_steps, every = options.corner_steps, episodes = 0 }
    local found = judge(agent, room, corners, options.corner_tests)
    table.insert(corner_rows[name], found)
    run:log { corners = name, seed = seed, success = found }
  end
end

local function mean_and_deviation(list) return orrery.mean(orrery.tensor(list)), orrery.tensor(list):std() end

run:finally(function()
  for _, task in ipairs(kicks) do
    local series = {}
    for number, arm in ipairs(arms) do
      local one = { label = arm[1], x = {}, y = {}, low = {}, high = {}, color = number }
      for at, list in ipairs(curves[arm[1]][task.name]) do
        if #list == 0 then break end
        local mean, deviation = mean_and_deviation(list)
        one.x[at], one.y[at], one.low[at], one.high[at] = at * options.every, mean, mean - deviation, mean + deviation
      end
      if #one.y > 1 then series[#series + 1] = one end
    end
    orrery.plot { title = ("Learning where to aim: success of the task '%s'"):format(task.name), x = "kicks",
      y = "success", y_range = { 0, 1 }, series = series }
      :save(run:path(task.name .. ".png", task.name .. ": success by kicks, mean and deviation over seeds"))
  end
end)

for number = 1, options.seeds do
  local seed = options.seed + number - 1
  for i, arm in ipairs(arms) do
    run:progress((number - 1 + (i - 1) / (#arms + 1)) / options.seeds, ("seed %d: %s"):format(seed, arm[1]))
    practise(arm, seed)
  end
  go_to_corners(seed)
end

run:say("%-32s %16s %18s", ("success after %d kicks"):format(options.kicks), "pass", "shoot")
run:say("%-32s %8.2f %18.2f", "aimed at random", table.unpack(judge(nil, env, kicks, 3 * options.tests)))
for _, arm in ipairs(arms) do
  local pass, shoot = curves[arm[1]].pass, curves[arm[1]].shoot
  local p, of_p = mean_and_deviation(pass[#pass])
  run:say("%-32s %8.2f +- %4.2f %10.2f +- %4.2f", arm[1], p, of_p, mean_and_deviation(shoot[#shoot]))
end
run:say("mean and deviation over %d seeds, of %d kicks each", options.seeds, options.tests)
local line = "%-32s %10.2f %10.2f %10.2f %10.2f"
run:say("%-32s %10s %10s %10s %10s", "asked for corners 1 and 2 only", "corner 1", "corner 2", "corner 3", "corner 4")
run:say(line, "random policy", table.unpack(judge(nil, room, corners, 5 * options.corner_tests)))
for _, name in ipairs { "shared", "alone" } do
  local found = orrery.tensor(corner_rows[name])
  local what = name == "shared" and "shared with all four" or "each for its own task"
  run:say(line, what, table.unpack(found:mean(1):totable()))
  run:say(line, "  deviation over seeds", table.unpack(found:std(1):totable()))
end
