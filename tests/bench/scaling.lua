--- How time and memory grow with plans, particles, horizon, members, width and rows of data: a table,
--- and curves in build/bench/scaling-*.png. "relative" is the cost of one unit against that of the middle
--- row; 1.00 throughout is linear.
---
---   make bench-scaling
local orrery = require "orrery"
package.path = "tests/bench/?.lua;" .. package.path
local timing = require "timing"

local options = orrery.options {
  only = "",       -- one of the names below; otherwise all
  seconds = 0.5,   -- for each point, at least one run
  folder = "build/bench",
}

local STATES, ACTIONS = 17, 6
local observation = orrery.space { { "x", { STATES } } }
local action = orrery.space { { "u", { ACTIONS }, low = -1, high = 1 } }
local middle = { plans = 1000, particles = 5, horizon = 15, members = 5, width = 200 }

local function reward(_, a, next) return -(next.x[1]^2 + 0.1 * next.x[2]^2 + 0.001 * a.u[1]^2) end

local function new_model(o)
  return orrery.model {
    observation = observation, action = action, members = o.members, hidden = { o.width, o.width },
  }:take_as_fitted()
end

local function with(name, value)
  local o = {}
  for key, default in pairs(middle) do o[key] = default end
  o[name] = value
  return o
end

-- ---- what is measured: each answers a function to time

local function plan(o)
  local mpc = orrery.mpc {
    model = new_model(o), task = reward, particles = o.particles, warm_start = false,
    planner = orrery.plan.cem {
      horizon = o.horizon, population = o.plans, iterations = 1, minimum_variance = 0,
    },
  }
  local now = { x = orrery.zeros(STATES) }
  return function() mpc:act(now) end
end

-- The gradient of 64 rollouts to their actions.
local function gradient(o)
  local trace = require "orrery.trace"
  local model, shape = new_model(with("members", 1)), { o.horizon, ACTIONS }
  local program = trace.program {
    name = "gradient", inputs = { { name = "plan", shape = shape } },
    fn = function(actions)
      return (orrery.grad(function(plan)
        return orrery.scan(function(carry, u)
          local next = model:step(carry.x, u)
          return { x = next, total = carry.total + reward(nil, { u = u }, { x = next }) }
        end, { x = orrery.zeros(STATES), total = 0 }, plan).total
      end)(actions))
    end,
  }
  local plans = { plan = 0.1 * orrery.randn(64, o.horizon, ACTIONS) }
  return function() program:run(plans) end
end

-- One epoch of fitting. The data are not counted as memory.
local function fit(o)
  local data = {
    observation = orrery.randn(o.rows, STATES), action = orrery.randn(o.rows, ACTIONS),
    next_observation = orrery.randn(o.rows, STATES),
  }
  collectgarbage()
  local before = orrery.memory()
  local model = new_model(with("width", 64))
  return function() model:fit(data, { epochs = 1, validation = 0 }) end, before
end

-- ---- the dimensions: unit(o) is what the cost should be in proportion to

local function plain(name) return function(o) return o[name] end end

-- Numbers in the weights that every row is multiplied with.
local function weights(o)
  return (STATES + ACTIONS) * o.width + o.width^2 + o.width * 2 * STATES
end

local dimensions = {
  { name = "plans", values = { 100, 200, 500, 1000, 2000, 5000, 10000, 20000 }, make = plan },
  { name = "particles", values = { 5, 10, 20, 50, 100 }, make = plan },
  { name = "horizon", values = { 5, 10, 15, 25, 50, 100, 200 }, make = plan },
  { name = "members", values = { 2, 5, 10, 20 }, make = function(o)
      o.particles = 2 * o.members
      return plan(o)
    end },
  { name = "width", values = { 32, 64, 128, 256, 512, 1024 }, unit = weights, make = plan },
  { name = "horizon", title = "gradient-horizon", values = { 5, 10, 15, 25, 50, 100, 200 }, make = gradient },
  { name = "rows", values = { 1000, 10000, 100000, 1000000 }, make = fit },
}

-- ---- a point, a table, a curve

local function measure(dimension, value)
  local o = with(dimension.name, value)
  collectgarbage()
  collectgarbage()
  local before = orrery.memory()
  local run, base = dimension.make(o)
  run() -- compiles
  local start = orrery.system.clock()
  run()
  local once = orrery.system.clock() - start
  local seconds = once > options.seconds / 3 and once or timing.seconds(run, options.seconds)
  collectgarbage()
  local bytes = orrery.memory() - (base or before)
  return seconds, bytes, (dimension.unit or plain(dimension.name))(o)
end

-- Slope of log y over log x: 1 is linear, 0 is constant.
local function exponent(xs, ys)
  local n, sx, sy, sxx, sxy = #xs, 0, 0, 0, 0
  for i = 1, n do
    local x, y = math.log(xs[i]), math.log(ys[i])
    sx, sy, sxx, sxy = sx + x, sy + y, sxx + x * x, sxy + x * y
  end
  return (n * sxy - sx * sy) / (n * sxx - sx * sx)
end

local function draw(dimension, title, times, sizes)
  local x, milliseconds, megabytes = dimension.values, {}, {}
  for i in ipairs(times) do
    milliseconds[i], megabytes[i] = 1e3 * times[i], sizes[i] / 2^20
  end
  orrery.plot {
    title = "time and memory against " .. title, x = title, log_x = true, log_y = true,
    series = { { x = x, y = milliseconds, label = "ms", dots = true },
               { x = x, y = megabytes, label = "MB", dots = true } },
  }:save(("%s/scaling-%s.png"):format(options.folder, title))
end

local function sweep(dimension)
  local title = dimension.title or dimension.name
  print(("\n%-17s %12s %10s %10s"):format(title, "ms", "relative", "MB"))
  local times, sizes, units = {}, {}, {}
  for i, value in ipairs(dimension.values) do
    times[i], sizes[i], units[i] = measure(dimension, value)
  end
  local at = (#times + 1) // 2
  for i, value in ipairs(dimension.values) do
    print(("%17d %12.3f %10.2f %10.2f"):format(value, 1e3 * times[i],
      times[i] / units[i] / (times[at] / units[at]), sizes[i] / 2^20))
  end
  print(("%17s %12.2f %10s %10.2f"):format("exponent", exponent(units, times), "", exponent(units, sizes)))
  draw(dimension, title, times, sizes)
end

orrery.system.make_folder(options.folder)
for _, dimension in ipairs(dimensions) do
  if options.only == "" or options.only == (dimension.title or dimension.name) then sweep(dimension) end
end
