-- The built-in environments' rewards, written as tasks: the same numbers as the environments give.
local orrery = require "orrery"

for _, about in ipairs(orrery.environments()) do
  local env = orrery.env(about.name)
  local task = orrery.tasks[about.name]()
  local random = orrery.policy.random(env)
  orrery.policy.reset(random, 1)
  local s = env:reset(3)
  for step = 1, 60 do
    local a = random:act(s, { env = env, step = step, episode = 1 })
    a = orrery.policy.action(env.action_space, a)
    local next, reward, terminated, truncated = env:step(a)
    local own = task.reward(s, a, next, step - 1)
    own = orrery.is_tensor(own) and own:item() or own
    assert(math.abs(own - reward) < 1e-3 * (1 + math.abs(reward)),
      ("%s, step %d: %g, but the environment gives %g"):format(about.name, step, own, reward))
    if terminated or truncated then break end
    s = next
  end
  -- it traces, and scores plans as the environment does
  env:reset(3)
  local planner = orrery.plan.cem { horizon = 4, population = 8 }
  local plans = orrery.rand(5, 4, env.action_space.size) -- inside all bounds
  local by_task = orrery.mpc { env = env, task = task, planner = planner }:objective():score(env:reset(3), plans)
  local by_env = orrery.mpc { env = env, planner = planner }:objective():score(env:reset(3), plans)
  for i = 1, 5 do assert(math.abs(by_task[i] - by_env[i]) < 1e-3 * (1 + math.abs(by_env[i])), about.name) end
end

local ok, message = pcall(function() return orrery.tasks.cartpool end)
assert(not ok and message:find "did you mean 'cartpole'")
ok, message = pcall(orrery.tasks.cartpole, { gaol = 1 })
assert(not ok and message:find "did you mean 'goal'")

-- ---- goals: rewards and success agree with each other, and with the environment's own reward

local function each_step(env, steps, f)
  local random = orrery.policy.random(env)
  orrery.policy.reset(random, 1)
  for seed = 1, steps do
    local s = env:reset(seed)
    local a = orrery.policy.action(env.action_space, random:act(s))
    local next, reward = env:step(a)
    f(s, a, next, reward)
  end
end

local function number(x) return orrery.is_tensor(x) and x:item() or x end

for name, make in pairs { push = orrery.tasks.push, reacher = orrery.tasks.reacher, point_mass = orrery.tasks.point_mass } do
  local env, near = orrery.env(name, { near = 0 }), 0.2
  local sparse, dense = make { reward = "sparse", near = near }, make { reward = "distance", near = near }
  local successes, count = 0, 0
  each_step(env, 400, function(s, a, next)
    local x, y = (next.achieved_goal - next.desired_goal):totable(), 0
    for _, d in ipairs(x) do y = y + d * d end
    local won = math.sqrt(y) <= near
    assert(sparse.success(s, a, next) == won and dense.success(s, a, next) == won)
    assert(number(sparse.reward(s, a, next)) == (won and 0 or -1))
    assert(math.abs(number(dense.reward(s, a, next)) + math.sqrt(y)) < 1e-6)
    successes, count = successes + (won and 1 or 0), count + 1
  end)
  assert(successes > 0 and successes < count, name)
  ok, message = pcall(make, { reward = "spars" })
  assert(not ok and message:find "did you mean 'sparse'", message)
end

local flip = orrery.tasks.bit_flipping { reward = "distance" }
each_step(orrery.env("bit_flipping", { bits = 2 }), 40, function(s, a, next, reward)
  assert(flip.success(s, a, next) == (reward == 0) and (number(flip.reward(s, a, next)) == 0) == (reward == 0))
end)

-- the ball game's two tasks in one world
do
  local pass, shoot = orrery.tasks.ball_game.pass(), orrery.tasks.ball_game.shoot { reward = "distance" }
  local world = orrery.env "ball_game"
  local still = { player = { 0, -0.9 }, player_velocity = { 0, 0 }, ball_velocity = { 0, 0 }, mate = { 0, 0.5 } }
  local function at(x, y)
    still.ball = { x, y }
    local s = world:set_state(still)
    return pass.success(nil, nil, s), shoot.success(nil, nil, s), number(shoot.reward(nil, nil, s)),
      pass.reward(nil, nil, s)
  end
  local passed, shot, left, won = at(0, 0.35)
  assert(passed and not shot and math.abs(left + 1) < 1e-6 and won == 0)
  passed, shot, left, won = at(1.05, 0.2)
  assert(not passed and shot and left == 0 and won == -1)
  left = select(3, at(0.7, 0.75))
  assert(math.abs(left + 0.5) < 1e-5)
  local narrow = orrery.tasks.ball_game.shoot { mouth = 0.4 } -- in the net, at a post: 0.15 is no float
  assert(narrow.success(nil, nil, { ball = orrery.tensor { 1.05, 0.15 } }))
  assert(not narrow.success(nil, nil, { ball = orrery.tensor { 1.05, 0.151 } }))
  assert(orrery.tasks.ball_game().name == "shoot" and pass.name == "pass")
end

-- corners are four tasks of one world
do
  local world = orrery.env("point_mass", { wall = 0 })
  local corners = { { -0.8, -0.8 }, { 0.8, -0.8 }, { 0.8, 0.8 }, { -0.8, 0.8 } }
  for k = 1, 4 do
    local s = world:set_state { position = corners[k], velocity = { 0, 0 }, goal = { 0, 0 } }
    for c = 1, 4 do
      local task = orrery.tasks.corner { corner = c }
      assert(task.success(nil, nil, s) == (c == k) and task.reward(nil, nil, s) == (c == k and 0 or -1))
    end
  end
  ok, message = pcall(orrery.tasks.corner, { corner = 5 })
  assert(not ok and message:find "1 to 4")
end
