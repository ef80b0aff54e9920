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
