--- loop.lua - learning loops: collect, fit, plan, append, refit.
---
---   local result = orrery.loop.replan { env = env, task = task, rounds = 8, run = run }
---   print(result)                                  -- a line for each round
---   orrery.evaluate(env, result.policy, { task = task })
---
--- Approach 1 plans once per episode and executes the plan: loop.plan_once. Approach 2 replans at every
--- step: loop.replan, of which loop.pets and loop.pddm are the published settings. With one round the
--- model is fitted to random data only; with more it is refitted to what its own plans led to, which
--- mends the two faults of random data: plans that exploit the model's errors, and states that random
--- actions never reach.
local check = require "orrery.check"
local orrery = require "orrery"

local loop = {}

local Result = { __name = "learning loop" }
Result.__index = Result

function Result:__tostring()
  local head = "%5s %7s %10s %10s %10s %10s %7s"
  local lines = { head:format("round", "steps", "return", "planned", "realised", "error", "epochs") }
  local function number(value) return value and ("%10.3g"):format(value) or ("%10s"):format "-" end
  for _, round in ipairs(self.rounds) do
    lines[#lines + 1] = ("%5d %7d %s %s %s %s %7d"):format(round.round, round.steps, number(round.mean),
      number(round.planned), number(round.realised), number(round.error), round.epochs)
  end
  return table.concat(lines, "\n")
end

-- ---- what was planned against what came

-- The policy itself, and a list to which it adds { step, planned } for every plan, or every `every`
-- steps: the plan's return, scored anew, because the return for which it was chosen is too good by
-- its luck.
local function watched(policy, mpc, every)
  local plans = {}
  local watcher = {}
  function watcher:reset(seed)
    orrery.policy.reset(policy, seed)
    plans[#plans + 1] = {}
  end
  function watcher:act(observation, context)
    local action = policy:act(observation, context)
    local plan, step = mpc:plan(), context.step
    if plan and (step - 1) % every == 0 then
      local returns = mpc:objective():score(observation, plan:insert_axis(1), { step = step - 1, seed = step })
      table.insert(plans[#plans], { step = step, planned = returns[1], horizon = plan:size(1) })
    end
    return action
  end
  return watcher, plans
end

-- Means over the plans whose horizon ended before the episode, or with it.
local function planned_and_realised(plans, rewards)
  local planned, realised, count = 0, 0, 0
  for episode, list in ipairs(plans) do
    for _, plan in ipairs(list) do
      local last = plan.step + plan.horizon - 1
      if last <= #rewards[episode] and plan.planned == plan.planned then
        planned, count = planned + plan.planned, count + 1
        for step = plan.step, last do realised = realised + rewards[episode][step] end
      end
    end
  end
  if count == 0 then return nil end
  return planned / count, realised / count
end

-- Root mean square of the model's one-step errors on the last `steps` transitions, in deviations of
-- the change of state in the data it was fitted to: 1 is as bad as always predicting the mean change.
local function surprise(model, replay, steps)
  local data = replay:transitions()
  local rows = data.observation:size(1)
  local function last(x) return x:slice(math.max(1, rows - steps + 1), rows):copy() end
  local mean = 0
  local predicted = model:predict(last(data.observation), last(data.action))
  for _, m in ipairs(model.elites) do mean = mean + predicted:slice(m, m) end
  local apart = (mean / #model.elites):reshape(-1, model.states) - last(data.next_observation)
  return math.sqrt(orrery.mean(orrery.square(apart * model.target_inverse)))
end

-- ---- the loop

local function random_experience(o)
  local report = orrery.evaluate(o.env, orrery.policy.random(o.env), { task = o.task, seed = o.seed,
    episodes = o.random_episodes, replay = o.replay })
  return { round = 0, steps = o.replay:transitions().observation:size(1), returns = report.returns,
    mean = report.mean, epochs = 0 }
end

local function fit(o, round)
  local given = { log = function(epoch)
    if o.run then
      o.run:progress(o.done, ("%sround %d of %d: fitting, epoch %d"):format(o.prefix, round, o.rounds, epoch.epoch))
    end
  end }
  local options = type(o.fit) == "function" and o.fit(round, o.steps) or o.fit
  for name, value in pairs(options) do given[name] = value end
  given.seed = given.seed or o.seed
  return o.model:fit(o.replay, given)
end

-- Plays the round's episodes, which enter the replay.
local function play(o, round)
  local policy, plans = watched(o.policy, o.mpc, o.open and 1 << 40 or o.watch)
  return orrery.evaluate(o.env, policy, { task = o.task, episodes = o.episodes, replay = o.replay,
    seed = o.seed * 1000 + round, progress = function(fraction)
      if not o.run then return end
      o.run:progress(o.done, ("%sround %d of %d: playing, %.0f %%"):format(o.prefix, round, o.rounds, 100 * fraction))
    end }), plans
end

local function keep(o, line)
  table.insert(o.result.rounds, line)
  if o.run then
    local log = { loop = o.name ~= "" and o.name or nil }
    for name, value in pairs(line) do log[name] = value end
    o.run:log(log)
  end
  if o.checkpoint and line.round > 0 then
    o.model:save(o.checkpoint .. "model.safetensors")
    o.replay:save(o.checkpoint .. "replay.orr")
  end
  if o.log then o.log(line, o.result) end
end

local function learn(o)
  o.result = setmetatable({ rounds = {}, model = o.model, replay = o.replay, policy = o.policy, mpc = o.mpc }, Result)
  o.steps = o.replay:window_count(1)
  if o.steps == 0 then
    keep(o, random_experience(o))                       -- collect
    o.steps = o.result.rounds[1].steps
  end
  for round = 1, o.rounds do
    o.done = (round - 1) / o.rounds
    local history = fit(o, round)                       -- fit, refit
    local played, plans = play(o, round)                -- plan, act, append
    local fresh = 0
    for _, length in ipairs(played.lengths) do fresh = fresh + length end
    o.steps = o.steps + fresh
    local planned, realised = planned_and_realised(plans, played.rewards)
    keep(o, { round = round, steps = o.steps, returns = played.returns, mean = played.mean, planned = planned,
      realised = realised, error = surprise(o.model, o.replay, fresh), epochs = history.epochs })
  end
  return o.result
end

-- ---- options

local known = {
  env = "any", task = "any", model = "any", planner = "any", particles = "optional number", replay = "any",
  rounds = 8, episodes = 1, random_episodes = 1, fit = "any", mpc = {}, watch = 5, seed = 0, run = "any",
  name = "", checkpoint = "optional string", log = "optional function",
}

local function prepare(what, given, model, planner)
  local o = check.options(what .. " options", given, known)
  check.env(what .. " options", o.env, "{ env = %s }")
  check.run(what .. " options", o.run)
  if o.env.max_steps == 0 then
    check.fail("%s options: '%s' has no limit of steps, and whole episodes are played: give the environment max_steps",
      what, o.env.name)
  end
  if not o.task then
    check.fail("%s options: a task is needed, as in { task = { reward = function(s, a, next) ... end } }: "
      .. "a model does not know the environment's own reward", what)
  end
  for _, name in ipairs { "rounds", "episodes", "random_episodes", "watch" } do
    if math.type(o[name]) ~= "integer" or o[name] < 1 then
      check.fail("%s options: %s must be a whole number, 1 or more, not %s", what, name, o[name])
    end
  end
  model.env, model.seed = o.env, o.seed
  o.fit = o.fit or {}
  if type(o.fit) ~= "table" and type(o.fit) ~= "function" then
    check.fail("%s options: fit must be a table of options of model:fit, or a function(round, steps) that gives "
      .. "one, not a %s", what, type(o.fit))
  end
  o.model = o.model or orrery.model(model)
  o.planner = o.planner or planner()
  o.replay = o.replay or orrery.replay { env = o.env }
  o.prefix = o.name ~= "" and o.name .. ", " or ""
  local settings = { model = o.model, task = o.task, planner = o.planner, particles = o.particles, seed = o.seed }
  for name, value in pairs(o.mpc) do settings[name] = value end
  o.mpc = orrery.mpc(settings)
  return o
end

--- orrery.loop.plan_once(options): approach 1: a plan is made when an episode starts and executed to
--- its end; what was seen is appended, and the model refitted, in every round.
---   env              the environment
---   task             { reward = function(s, a, next, t), termination = ... }, or the reward
---   model            orrery.model { env = env }
---   planner          orrery.plan.cem {} with the horizon of an episode
---   particles        as in orrery.mpc; further options of it in a table `mpc`
---   rounds           8, of fitting and playing: one fits to random data only
---   episodes         1, played and appended in each round
---   random_episodes  1, collected first, unless `replay` has experience already
---   fit              options of model:fit: a table, or a function(round, steps) that gives one
---   watch            5: compares planned and realised return in every so many steps of replanning
---   seed             0
---   run              an orrery.run, which is told of the progress and logs every round
---   name             of this loop, in what the run is told
---   checkpoint       the beginning of a path: after every round the model and the replay are saved as
---                    <checkpoint>model.safetensors and <checkpoint>replay.orr, to go on from
---   log              function(round, result), called after every round
--- Answers a result with model, replay, mpc, policy, and rounds: a list of { round (0: the random
--- experience), steps (in all), returns (of the episodes), mean, planned and realised (mean returns of
--- plans, and what came in the steps that they cover; nil when no plan ended within its episode), error
--- (of one-step predictions on the round's own steps, before they were learned from, in deviations of
--- the change of state), epochs (of the fit) }. print() shows them as a table.
function loop.plan_once(options)
  local env = options and options.env
  local o = prepare("loop.plan_once", options, {}, function()
    return orrery.plan.cem { horizon = env.max_steps > 0 and env.max_steps or 100 }
  end)
  o.open, o.policy = true, orrery.policy.open_loop(o.mpc)
  return learn(o)
end

local function replan(what, options, model, planner)
  local o = prepare(what, options, model, planner)
  o.policy = o.mpc
  return learn(o)
end

--- orrery.loop.replan(options): approach 2, model-predictive control: plans at every step and executes
--- the plan's first action. Options and result as of loop.plan_once.
function loop.replan(options)
  return replan("loop.replan", options, {}, function() return orrery.plan.cem {} end)
end

--- orrery.loop.pets(options): as loop.replan, with the defaults of PETS (Chua et al. 2018, algorithm 1; but for the
--- model's bounded_noise):
--- a bootstrap ensemble of 5 probabilistic nets, 20 particles that keep their net (TS-infinity), the
--- cross-entropy method with 400 plans, 40 elites, 5 iterations and a horizon of 25.
function loop.pets(options)
  return replan("loop.pets", options, { members = 5, hidden = { 200, 200, 200 }, probabilistic = true },
    function() return orrery.plan.cem { horizon = 25, population = 400, elites = 40, iterations = 5 } end)
end

--- orrery.loop.pddm(options): as loop.replan, with the defaults of PDDM (Nagabandi et al. 2019): an
--- ensemble of 3 deterministic nets of the same data, plans scored by the mean over the nets, and
--- reward-weighted refinement of filtered noise, 200 plans of 7 steps.
function loop.pddm(options)
  local given = {}
  for name, value in pairs(options or {}) do given[name] = value end
  local fit = options and options.fit or {}
  local function with_same_data(asked)
    local settings = { bootstrap = false }
    for name, value in pairs(asked) do settings[name] = value end
    return settings
  end
  if type(fit) == "function" then given.fit = function(...) return with_same_data(fit(...)) end
  elseif type(fit) == "table" then given.fit = with_same_data(fit) end
  given.particles = given.particles or 3
  return replan("loop.pddm", given, { members = 3, hidden = { 250, 250 }, probabilistic = false, activation = "relu" },
    function() return orrery.plan.pddm { horizon = 7, population = 200 } end)
end

return loop
