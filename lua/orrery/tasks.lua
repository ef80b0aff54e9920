--- tasks.lua - the rewards of the built-in environments, as tasks to plan for with a learned model.
---
---   local mpc = orrery.mpc { model = model, task = orrery.tasks.cartpole { goal = 1 } }
---
--- Each takes a table of the environment's settings that its reward depends on, with the environment's
--- defaults, and answers { name, reward }.
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

--- tasks.reacher(): the tip of the arm at the goal.
function tasks.reacher(settings)
  check.options("reacher task", settings, {})
  return { name = "reacher", reward = function(_, a, next)
    return -orrery.square(next.tip - next.goal):sum() - 0.01 * orrery.square(a.torque):sum()
  end }
end

--- tasks.point_mass(): the puck at the goal.
function tasks.point_mass(settings)
  check.options("point_mass task", settings, {})
  return { name = "point_mass", reward = function(_, a, next)
    local distance = orrery.sqrt(orrery.square(next.position - next.goal):sum())
    return -distance - 0.01 * orrery.square(a.force):sum()
  end }
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
