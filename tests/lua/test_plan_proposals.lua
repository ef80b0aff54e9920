-- Plans that a policy proposes on the environment itself: played step by step on copies of it.
local orrery = require "orrery"
local fails = require "tests.lua.fails"

local H = 12
local env = orrery.env "pendulum"
local observation = env:reset(3)
local function policy(s, given) return given.gain * s.velocity * s.cos + 0.1 end
local task = { reward = function(s) return s.cos end, policy = policy, inputs = { gain = 1.5 } }
local cem = orrery.plan.cem { horizon = H, population = 8, iterations = 1, proposals = 2, elites = 2 }
local mpc = orrery.mpc { env = env, task = task, planner = cem }

-- The same by hand: every action from the observation that the one before has led to.
local function by_hand(world, s, choose)
  local list = {}
  for t = 1, H do
    list[t] = math.max(-2, math.min(2, choose(s)))
    s = world:step { torque = list[t] }
  end
  return list
end
local function same(plan, list)
  for t, u in ipairs(list) do
    assert(math.abs(plan[{ t, 1 }] - u) < 1e-4, ("step %d: %g, not %g"):format(t, plan[{ t, 1 }], u))
  end
end

local plans = mpc:objective():propose(observation, 3, { horizon = H })
local wanted = by_hand(env:copy(), observation, function(s) return 1.5 * s.velocity * s.cos + 0.1 end)
for i = 1, 3 do same(plans[i], wanted) end
assert(plans:max() - plans:min() > 0.5) -- it is no constant that was compared
mpc:set_input("gain", -1)
same(mpc:objective():propose(observation, 1, { horizon = H })[1],
  by_hand(env:copy(), observation, function(s) return -s.velocity * s.cos + 0.1 end))
mpc:set_input("gain", 1.5)
fails("on which plans are tried", function()
  mpc:objective():propose({ cos = 1, sin = 0, velocity = 5 }, 1, { horizon = H })
end)

-- a planner has them among its candidates: here nothing else is any good
local follow = orrery.mpc { env = env, planner = orrery.plan.random_shooting { horizon = H, population = 5, proposals = 1 },
  task = { policy = policy, inputs = { gain = 1.5 },
           reward = function(s, a, _, _, given) return -(a.torque - policy(s, given))^2 end } }
follow:act(observation)
same(follow:plan(), wanted)

-- a policy that nothing asks for is refused, and so are proposals without one; each can come and go
local bare = orrery.plan.cem { horizon = H, population = 8, iterations = 1, elites = 2 }
local words = "the policy proposes nothing, because the planner takes no proposals; give it some, as in orrery.plan.cem"
fails(words, orrery.mpc, { env = env, task = task, planner = bare })
fails(words, orrery.mpc, { env = env, policy = function() return 0 end, planner = bare })
local model = orrery.model { env = env, members = 1, hidden = { 8 } }:take_as_fitted()
fails(words, orrery.mpc, { model = model, task = task, planner = bare })
local silent = { reward = task.reward }
for _, world in ipairs { { env = env }, { model = model } } do
  local changing = orrery.mpc { env = world.env, model = world.model, task = silent, planner = bare }
  fails(words, changing.set_task, changing, task)
  changing:act(observation)
  changing:set_planner(cem)
  fails("2 proposals are wanted, but", changing.act, changing, observation)
  changing:set_task(task)
  changing:act(observation)
  fails(words, changing.set_planner, changing, bare)
  changing:act(observation)
  changing:set_task(silent)
  changing:set_planner(bare)
  changing:act(observation)
end

-- drawn policies: other proposals, the same for a seed, on any number of threads
local drawing = orrery.mpc { env = env, planner = cem, policy = function(s)
  return 0.3 * orrery.randn() + s.velocity
end }
local threads, first = orrery.threads(), nil
for count = 1, 3 do
  orrery.threads(count)
  local drawn = drawing:objective():propose(observation, 40, { horizon = H, seed = 4 })
  first = first or drawn
  assert((drawn - first):abs():max() == 0)
end
orrery.threads(threads)
assert((first[1] - first[2]):abs():max() > 0)
assert((drawing:objective():propose(observation, 40, { horizon = H, seed = 5 }) - first):abs():max() > 0)
assert((first:slice(1, 1, 2) - first:slice(2, 2, 2)):abs():max() > 0.1)

-- a planning thread starts where the environment was
local behind = orrery.mpc { env = env, task = task, planner = cem, background = true }
assert(behind:act(observation).torque)
behind:pause()

-- ---- an environment in Lua, on one thread; what follows an end is for its last state

local walker = orrery.env {
  name = "walker", observation = { { "x", low = -10, high = 10 } }, action = { { "u", low = -1, high = 1 } },
  state = { "x" },
  reset = function(self)
    self.x = 0
    return { x = 0 }
  end,
  step = function(self, a)
    if self.x < -2 then error "off the map" end
    self.x = self.x + a.u
    return { x = self.x }, self.x, self.x > 1.5
  end,
  observe = function(self) return { x = self.x } end,
}
local start = walker:reset(1)
local short = orrery.plan.cem { horizon = 5, population = 8, iterations = 1, proposals = 1, elites = 2 }
local function walk(f)
  return orrery.mpc { env = walker, planner = short, policy = f }:objective():propose(start, 2, { horizon = 5 })
end
local right = walk(function(s) return { u = 1 - 0.25 * s.x } end):slice(2, 2):reshape(-1):totable()
for t, u in ipairs { 1, 0.75, 0.5625, 0.5625, 0.5625 } do assert(math.abs(right[t] - u) < 1e-5, right[t]) end
assert(walker:state().x == 0)
fails("off the map", walk, function() return -1 end)
fails("gave no 'u'", walk, function() return { v = 1 } end)
