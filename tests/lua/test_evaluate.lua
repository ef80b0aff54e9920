-- What evaluation makes of tasks, and tells of policies that did not plan.
local orrery = require "orrery"
local fails = require "tests.lua.fails"

local env = orrery.env "pendulum"
local random = orrery.policy.random(env)
local function evaluate(task) return orrery.evaluate(env, random, { task = task, episodes = 1, steps = 5 }) end

-- inputs reach the functions, as numbers and tensors
local seen = evaluate { inputs = { goal = 3, at = { 1, 2 } }, termination = { "fallen", function(_, _, _, t) return t == 2 end },
  reward = function(_, _, _, _, given) return given.goal + given.at[2] end }
assert(seen.mean == 15 and seen.lengths[1] == 3)

-- an end may be a number: 0 is none, which Lua alone takes for true
local function numbered(at) return function(_, _, _, t) return orrery.less(at, t) end end -- from step at + 2 on
for ends, steps in pairs { [numbered(1)] = 3, [numbered(9)] = 5, [{ numbered(9), numbered(2) }] = 4, [{ numbered(9),
  numbered(8) }] = 5 } do
  assert(evaluate({ reward = function() return 0 end, termination = ends }).lengths[1] == steps)
  local many = orrery.vector_env(env, 2, { task = { reward = function() return 0 end, termination = ends } })
  many:reset(1)
  for t = 1, 5 do
    many:step { 0, 0 }
    assert(many.terminated[1] == (t == steps and steps < 5 and 1 or 0))
  end
end

-- what looks misspelt is refused, here and in an mpc; a user's own fields are not
local function still() return 0 end
assert(evaluate { reward = still, about = "nothing" }.mean == 0)
fails("did you mean 'termination'", evaluate, { reward = still, terminaton = still })
fails("did you mean 'value'", orrery.mpc, { env = env, task = { reward = still, valeu = still } })
fails("'risk' is no part of a task", orrery.mpc, { env = env, task = { reward = still, risk = "worst" } })

-- a controller that did not plan is told of
local lost = orrery.mpc { objective = orrery.objective.fn(function(_, plans) return orrery.full(0 / 0, plans:size(1)) end,
  { env = env }), planner = orrery.plan.cem { horizon = 2, population = 4 } }
local result = orrery.evaluate(env, lost, { episodes = 2, steps = 5 })
assert(result.notes["safe action"] == 10)
assert(tostring(result):find("10 of 10 actions were not planned", 1, true), tostring(result))
assert(not tostring(seen):find "planned")

-- steps take as long as they are asked to, and as a policy asks; what cannot be is refused
local function seconds_of(policy, pace)
  local from = orrery.clock()
  assert(orrery.evaluate(env, policy, { episodes = 1, steps = 6, pace = pace }).lengths[1] == 6)
  return orrery.clock() - from
end
local asks = setmetatable({ pace = function() return 0.02 end }, { __index = random })
assert(seconds_of(random, 0.02) >= 0.0999 and seconds_of(asks) >= 0.0999)
assert(seconds_of(asks, 0.04) >= 0.1999 and seconds_of(asks, 0) < 0.0999 and seconds_of(asks, false) < 0.0999)
fails("pace is a number of seconds", seconds_of, random, -1)
fails("pace is a number of seconds", seconds_of, random, "slow")
-- success: the share of episodes with one at any step, and at the last
do
  local bits = orrery.env("bit_flipping", { bits = 3 })
  local first = orrery.policy.call(function(o) -- the first bit that differs; at the goal, bit 0
    for i = 1, 3 do if o.achieved_goal[i] ~= o.desired_goal[i] then return i - 1 end end
    return 0
  end)
  local judged = orrery.evaluate(bits, first, { task = orrery.tasks.bit_flipping(), episodes = 40 })
  local at_end = 0
  assert(judged.success == 1 and #judged.successes == 40)
  for i, success in ipairs(judged.successes) do
    -- 3 steps: d to the goal, then away and back
    assert(success.at_end == ((3 - success.first) % 2 == 0) and judged.rewards[i][success.first] == 0)
    at_end = at_end + (success.at_end and 1 or 0)
  end
  assert(judged.success_at_end == at_end / 40 and at_end > 0 and at_end < 40)
  assert(tostring(judged):find("success 100 %, at the end", 1, true), tostring(judged))
  local never = { reward = still, success = function() return false end }
  assert(orrery.evaluate(bits, first, { task = never, episodes = 2 }).success == 0)
  assert(seen.success == nil and seen.successes == nil)
  fails("evaluate: success must be a function", evaluate, { reward = still, success = 3 })
  fails("did you mean 'success'", evaluate, { reward = still, sucess = still })
end

-- a net takes a sample as it is
local net = orrery.nn.mlp { inputs = 3, outputs = 1, hidden = { 4 }, seed = 2 }
local model = orrery.model { env = env, members = 1, hidden = { 4 }, probabilistic = false }
local mpc = orrery.mpc { model = model, task = still, value = function(s) return net(s)[1] end,
  planner = orrery.plan.cem { horizon = 1, population = 4 } }
local s = { cos = 1, sin = 0, velocity = 0.5 }
local after = model:predict({ 1, 0, 0.5 }, { 0.25 }):reshape(-1)
local score = mpc:objective():score(s, orrery.full(0.25, 1, 1, 1))
assert(math.abs(score[1] - net(after)[1]) < 1e-5)
fails("take its number, as in net(s)[1]", orrery.mpc, { model = model, task = still, value = function(x) return net(x) end })
fails("a planner is wanted", orrery.mpc, { env = env, planner = orrery.plan.cem })

-- what is no environment
fails("an environment is needed, as in orrery.evaluate(orrery.env \"point_mass\", policy), not the text 'point_mass'",
  orrery.evaluate, "point_mass", random)
fails("evaluate: the environment comes first, then the policy", orrery.evaluate, random, env)
fails("not the table that defines one; wrap it: orrery.evaluate(orrery.env(t), policy)", orrery.evaluate,
  { observation = { "x" }, action = { "u" }, reset = still, step = still }, random)
fails("evaluate: an environment is needed", orrery.evaluate, nil, random)
fails("evaluate: progress must be a function(fraction, text) or a run", orrery.evaluate, env, random,
  { progress = "x" })

-- yes is true, or above 0.5; NaN and less are no, of an end and of a success, everywhere; other values are refused
for _, case in ipairs { { 0.3, false }, { 0 / 0, false }, { 0.6, true }, { 2, true }, { -1, false } } do
  local function answer(_, _, next) return case[1] + 0 * next.velocity end
  local task = { reward = still, termination = answer, success = answer }
  local one = evaluate(task)
  assert(one.lengths[1] == (case[2] and 1 or 5) and one.success == (case[2] and 1 or 0), case[1])
  local plain = { reward = orrery.interpret(still), termination = answer, success = answer }
  for _, given in ipairs { task, plain } do
    local many = orrery.vector_env(env, 1, { task = given, max_steps = 5 })
    many:reset(1)
    local length, ended = 0, nil
    repeat
      many:step { 0 }
      length, ended = length + 1, many:finished()[1]
    until ended
    assert(length == (case[2] and 1 or 5) and ended.success == case[2] and ended.terminated == case[2], case[1])
  end
end
local function text() return "x" end
fails("evaluate: the success of tests/lua/test_evaluate.lua:", evaluate, { reward = still, success = text })
fails("evaluate: the termination of tests/lua/test_evaluate.lua:", evaluate, { reward = still, termination = text })
fails("must return a number, or true or false, not a string", evaluate,
  { reward = still, termination = { text, function() return false end } })
