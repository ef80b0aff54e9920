--- tasks.lua - the rewards of the built-in environments, as tasks to plan for with a learned model.
---
---   local mpc = orrery.mpc { model = model, task = orrery.tasks.cartpole { goal = 1 } }
---
--- Each takes a table of the environment's settings that its reward depends on, with the environment's
--- defaults, and answers { name, reward }, with success where there is such a thing.
local check = require "orrery.check"
local orrery = require "orrery"

local tasks = {}

--- tasks.pendulum(): upright and still; angle 0 is up.
function tasks.pendulum(settings)
  check.options("pendulum task", settings, {})
  return { name = "pendulum", reward = function(s, a)
    local angle = orrery.atan2(s.sin, s.cos)
    return -(angle ^ 2 + 0.1 * s.velocity ^ 2 + 0.001 * a.torque ^ 2)
  end }
end

--- tasks.cartpole { goal = 0, length = 0.6, max_force = 10 }: the tip of the pole above the goal on the rail.
function tasks.cartpole(settings)
  local o = check.options("cartpole task", settings, { goal = 0, length = 0.6, max_force = 10 })
  local goal, length, strongest = o.goal, o.length, o.max_force
  return { name = "cartpole", reward = function(_, a, next)
    local x = next.position + length * next.sin - goal
    local y = -length * next.cos - length
    return orrery.exp(-(x ^ 2 + y ^ 2) / length ^ 2) - 0.01 * (a.force / strongest) ^ 2
  end }
end

--- tasks.cartpole_balance { most_angle = 0.2094, most_position = 2.4 }: 1 for every step, up to the one after which
--- the pole leans too far or the cart is off the rail.
function tasks.cartpole_balance(settings)
  local o = check.options("cartpole_balance task", settings, { most_angle = math.rad(12), most_position = 2.4 })
  return { name = "cartpole_balance", reward = function() return 1 end, termination = function(_, _, next)
    return orrery.max(orrery.abs(next.angle) / o.most_angle, orrery.abs(next.position) / o.most_position) > 1
  end }
end

-- ---- tasks with goals

local function distance_of(achieved, desired) return orrery.sqrt(orrery.square(achieved - desired):sum()) end

-- Of an environment with achieved_goal and desired_goal: its task with the reward that is asked for.
local function goal_task(name, settings, defaults, own)
  local o = check.options(name .. " task", settings, { reward = defaults.reward, near = defaults.near })
  local near = o.near
  local rewards = {
    own = own,
    sparse = function(_, _, next)
      if distance_of(next.achieved_goal, next.desired_goal) <= near then return 0 end
      return -1
    end,
    distance = function(_, _, next) return -distance_of(next.achieved_goal, next.desired_goal) end,
  }
  local reward = rewards[o.reward]
  if not reward then
    check.fail("%s", check.unknown(name .. " task: rewards", o.reward, check.sorted_keys(rewards)))
  end
  return { name = name, reward = reward, success = function(_, _, next)
    return distance_of(next.achieved_goal, next.desired_goal) <= near
  end }
end

--- tasks.reacher { reward = "own", near = 0.05 }: the tip of the arm at the goal. reward: "own", the environment's;
--- "sparse", 0 within `near` metres of the goal and -1 elsewhere; "distance", minus the distance. It also has
--- success, as have all tasks with goals: function(s, a, next, t), whether the state reached is one; see
--- orrery.evaluate.
function tasks.reacher(settings)
  return goal_task("reacher", settings, { reward = "own", near = 0.05 }, function(_, a, next)
    return -orrery.square(next.achieved_goal - next.desired_goal):sum() - 0.01 * orrery.square(a.torque):sum()
  end)
end

--- tasks.point_mass { reward = "own", near = 0.07 }: the puck at the goal; rewards as for tasks.reacher.
function tasks.point_mass(settings)
  return goal_task("point_mass", settings, { reward = "own", near = 0.07 }, function(_, a, next)
    return -distance_of(next.achieved_goal, next.desired_goal) - 0.01 * orrery.square(a.force):sum()
  end)
end

--- tasks.corner { corner = 1, near = 0.15, reward = "sparse" }: of point_mass, whatever its goal: the puck at a corner of
--- the room: 1: left bottom, 2: right bottom, 3: right top, 4: left top. reward "distance": minus the distance. In a
--- room without the wall, orrery.env("point_mass", { wall = 0 }), the four are tasks of one world.
function tasks.corner(settings)
  local o = check.options("corner task", settings, { corner = 1, near = 0.15, reward = "sparse" })
  local places = { { -0.8, -0.8 }, { 0.8, -0.8 }, { 0.8, 0.8 }, { -0.8, 0.8 } }
  if not places[o.corner] then check.fail("corner task: corner is 1 to 4, not %s", o.corner) end
  if o.reward ~= "sparse" and o.reward ~= "distance" then
    check.fail("%s", check.unknown("corner task: rewards", o.reward, { "distance", "sparse" }))
  end
  local place, near = orrery.tensor(places[o.corner]), o.near
  local function success(_, _, next) return distance_of(next.achieved_goal, place) <= near end
  local function distance(_, _, next) return -distance_of(next.achieved_goal, place) end
  local function sparse(s, a, next)
    if success(s, a, next) then return 0 end
    return -1
  end
  return { name = ("corner %d"):format(o.corner), reward = o.reward == "sparse" and sparse or distance,
           success = success }
end

--- tasks.bit_flipping { reward = "sparse" }: all bits those of the goal: 0, else -1. reward "distance": minus the number
--- of bits that differ.
function tasks.bit_flipping(settings)
  local o = check.options("bit_flipping task", settings, { reward = "sparse" })
  local function differing(next) return orrery.abs(next.achieved_goal - next.desired_goal):sum() end
  local rewards = {
    sparse = function(_, _, next)
      if differing(next) < 0.5 then return 0 end
      return -1
    end,
    distance = function(_, _, next) return -differing(next) end,
  }
  local reward = rewards[o.reward]
  if not reward then
    check.fail("%s", check.unknown("bit_flipping task: rewards", o.reward, check.sorted_keys(rewards)))
  end
  return { name = "bit_flipping", reward = reward, success = function(_, _, next) return differing(next) < 0.5 end }
end

--- tasks.push { reward = "sparse", near = 0.07 }: the puck at the goal. reward: "sparse", which is the environment's own,
--- or "distance".
function tasks.push(settings)
  return goal_task("push", settings, { reward = "sparse", near = 0.07 })
end

-- ---- the two tasks of the ball game

-- Metres: a ball that touches a post is where it may be but for the rounding of an observation.
local ROUNDING = 1e-6

local function game_task(name, settings, defaults, distance)
  local o = check.options(name .. " task", settings, defaults)
  local rewards = { sparse = true, distance = true }
  if not rewards[o.reward] then
    check.fail("%s", check.unknown(name .. " task: rewards", o.reward, check.sorted_keys(rewards)))
  end
  local left = distance(o) -- function(state): 0 where the task is done, else how far it is from that
  local function success(_, _, next) return left(next) <= ROUNDING end
  local function sparse(_, _, next)
    if left(next) <= ROUNDING then return 0 end
    return -1
  end
  return { name = name, success = success,
           reward = o.reward == "sparse" and sparse or function(_, _, next) return -left(next) end }
end

local ball_game = {}
tasks.ball_game = setmetatable(ball_game, { __call = function(_, settings) return ball_game.shoot(settings) end })

--- tasks.ball_game.pass { reward = "sparse", reach = 0.2 }: the ball at the team-mate: 0, else -1. reward "distance":
--- minus what is missing to that, in metres. tasks.ball_game() is its other task, shoot.
function ball_game.pass(settings)
  return game_task("pass", settings, { reward = "sparse", reach = 0.2 }, function(o)
    local reach = o.reach
    return function(s) return orrery.max(distance_of(s.ball, s.mate) - reach, 0) end
  end)
end

--- tasks.ball_game.shoot { reward = "sparse", mouth = 0.8 }: the ball in the goal, past its line; rewards as for pass.
function ball_game.shoot(settings)
  return game_task("shoot", settings, { reward = "sparse", mouth = 0.8 }, function(o)
    local half = o.mouth / 2 - 0.05 -- less the ball's radius
    return function(s)
      local ahead = orrery.max(1 - s.ball[1], 0)
      local aside = orrery.max(orrery.abs(s.ball[2]) - half, 0)
      return orrery.sqrt(ahead ^ 2 + aside ^ 2)
    end
  end)
end

--- tasks.cliff(): high up, as the step leaves the walker.
function tasks.cliff(settings)
  check.options("cliff task", settings, {})
  return { name = "cliff", reward = function(_, _, next) return next.height end }
end

--- tasks.pencil { length = 0.5 }: the pencil over the middle of the sheet.
function tasks.pencil(settings)
  local o = check.options("pencil task", settings, { length = 0.5 })
  local middle = orrery.tensor { 1.1 * o.length, 0 }
  return { name = "pencil", reward = function(_, a, next)
    return -orrery.square(next.tip - middle):sum() - 0.01 * orrery.square(a.torque):sum()
  end }
end

return setmetatable(tasks, { __index = function(_, name)
  error(check.unknown("orrery.tasks", name, check.sorted_keys(tasks)), 2)
end })
