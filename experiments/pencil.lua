--- One model draws whatever it is asked to.
---
--- An arm of two links holds a pencil. ONE model of how it moves is learned: from random torques first, then
--- from a few rounds in which it follows random curves. After that it is shown letters, a star, a spiral and an
--- eight, which it never practised, and draws them at once: a shape is only another reward of time (PDDM:
--- Nagabandi et al. 2019). The error is how far the pencil is from where it should be at that very moment.
local orrery = require "orrery"

local options = orrery.options {
  seed = 1,               -- of every random number
  repeats = 5,            -- models, each of its own data, that draw all shapes
  steps = 1000,           -- environment steps of random torques
  rounds = 3,             -- of following random curves and learning from that
  round_steps = 500,      -- environment steps of a round
  members = 3,            -- nets in the ensemble
  hidden = { 128, 128 },  -- their hidden layers
  epochs = 60,            -- of training, at most, after each round
  horizon = 6,            -- steps that a plan looks ahead
  population = 200,       -- plans per iteration
  iterations = 3,         -- of the planner, at every step
  speed = 0.3,            -- of the pencil on its way, in m/s
  film = true,            -- save an animation of each shape
  brief = false,          -- a tiny budget, to see that everything runs
}
if options.brief then
  options.steps, options.round_steps, options.epochs, options.hidden = 300, 100, 3, { 16 }
  options.repeats, options.rounds, options.population, options.speed, options.film = 1, 1, 10, 3, false
end

local env = orrery.env("pencil", { max_steps = 300 })
local steps, time_step, arm = env.max_steps, 0.04, 1 -- arm: its length in m
local middle, size = { 0.55, 0 }, 0.42               -- of a drawing on the sheet, in m
local run <close> = orrery.run { name = "pencil", options = options }

-- ---- shapes: strokes through points of a unit square

local function arc(x, y, width, height, from, to) -- part of an ellipse; angles in turns, 0 is to the right
  local points = {}
  for i = 0, 60 do
    local angle = 2 * math.pi * (from + (to - from) * i / 60)
    points[#points + 1] = { x + width * math.cos(angle), y + height * math.sin(angle) }
  end
  return points
end

local function along(f) -- a stroke of f(0) .. f(1)
  local points = {}
  for i = 0, 100 do points[i + 1] = { f(i / 100) } end
  return points
end

local function joined(...)
  local points = {}
  for _, part in ipairs { ... } do table.move(part, 1, #part, #points + 1, points) end
  return points
end

local bow = joined({ { 0.2, 0 }, { 0.2, 1 }, { 0.55, 1 } }, arc(0.55, 0.75, 0.25, 0.25, 0.25, -0.25), { { 0.2, 0.5 } })
local function corner(i) return { 0.5 + 0.5 * math.sin(0.8 * math.pi * i), 0.5 + 0.5 * math.cos(0.8 * math.pi * i) } end
local shapes = {
  { name = "O", arc(0.5, 0.5, 0.38, 0.5, 0.25, 1.25) },
  { name = "R", bow, { { 0.5, 0.5 }, { 0.85, 0 } } },
  { name = "E", { { 0.8, 1 }, { 0.2, 1 }, { 0.2, 0 }, { 0.8, 0 } }, { { 0.2, 0.5 }, { 0.7, 0.5 } } },
  { name = "Y", { { 0.12, 1 }, { 0.5, 0.5 }, { 0.88, 1 } }, { { 0.5, 0.5 }, { 0.5, 0 } } },
  { name = "star", { corner(0), corner(1), corner(2), corner(3), corner(4), corner(5) } },
  { name = "spiral", along(function(u)
      return 0.5 + 0.5 * u * math.cos(5 * math.pi * u), 0.5 + 0.5 * u * math.sin(5 * math.pi * u)
    end) },
  { name = "eight", along(function(u)
      local angle = 2 * math.pi * u
      return 0.5 + 0.35 * math.sin(2 * angle), 0.5 + 0.5 * math.cos(angle)
    end) },
}

-- Where the pencil should be after each step: from where it is along the strokes, at a constant speed; off the
-- paper on the way to the next stroke, where it waits a moment. Answers rows { x, y, whether the pencil is down }.
local function trace_of(shape, tip)
  local rows, x, y = {}, tip[1], tip[2]
  local function go(to_x, to_y, down)
    local count = math.ceil(math.sqrt((to_x - x) ^ 2 + (to_y - y) ^ 2) / (options.speed * time_step))
    for i = 1, count do rows[#rows + 1] = { x + (to_x - x) * i / count, y + (to_y - y) * i / count, down } end
    x, y = to_x, to_y
  end
  for _, stroke in ipairs(shape) do
    for i, point in ipairs(stroke) do
      go(middle[1] + size * (point[1] - 0.5), middle[2] + size * (point[2] - 0.5), i > 1)
      if i == 1 then for _ = 1, 8 do rows[#rows + 1] = { x, y, false } end end
    end
  end
  return rows
end

-- For practice: a sum of slow waves that stays on the sheet.
local function random_curve()
  local rows, rate, phase = {}, {}, {}
  for k = 1, 4 do rate[k], phase[k] = 0.5 + 2 * orrery.random(), 2 * math.pi * orrery.random() end
  local function wave(k, i) return 0.15 * math.sin(rate[k] * i * time_step + phase[k]) end
  for i = 1, steps do
    rows[i] = { middle[1] + wave(1, i) + wave(2, i), middle[2] + wave(3, i) + wave(4, i), true }
  end
  return rows
end

-- ---- the one reward: be where the reference is at this time. It is a tensor, and may change as it likes.

local reference = orrery.zeros(steps, 2)
local task = { name = "follow", reward = function(_, a, next, t)
  local apart = next.tip - reference[orrery.min(t + 1, steps)]
  return -orrery.sum(apart * apart) - 1e-5 * orrery.sum(a.torque * a.torque)
end }

local function follow(rows)
  local points = {}
  for i = 1, steps do points[i] = { rows[math.min(i, #rows)][1], rows[math.min(i, #rows)][2] } end
  reference:assign(orrery.tensor(points))
end

local function planner()
  return orrery.plan.cem { horizon = options.horizon, population = options.population,
    elites = options.population // 10, iterations = options.iterations }
end

local function distance(tip, row) return math.sqrt((tip[1] - row[1]) ^ 2 + (tip[2] - row[2]) ^ 2) end

-- Draws a shape from where the seed puts the arm. An `eye` says what the planner gets to see in place of the
-- next observation. Answers the tip's way as strokes, the mean error in % of the arm, and pictures.
local function draw(mpc, shape, seed, eye, film)
  local observation, strokes, sum, count, frames = env:reset(seed), {}, 0, 0, film and {}
  local rows = trace_of(shape, observation.tip:totable())
  follow(rows)
  mpc:reset(seed)
  for i, row in ipairs(rows) do
    local action = mpc:act(observation)
    local next = env:step(action)
    local tip = next.tip:totable()
    if row[3] then
      if not (rows[i - 1] or {})[3] then strokes[#strokes + 1] = {} end
      table.insert(strokes[#strokes], tip)
      sum, count = sum + distance(tip, row), count + 1
    end
    observation = eye and eye(observation, action) or next
    if film then frames[i] = film(strokes) end
  end
  return { strokes = strokes, error = 100 * sum / count / arm, frames = frames, rows = rows }
end

-- ---- one model

local function new_model(seed)
  return orrery.model { env = env, members = options.members, hidden = options.hidden, probabilistic = false, seed = seed }
end

local function mpc_of(model, seed)
  return orrery.mpc { model = model, task = task, planner = planner(), particles = options.members, seed = seed }
end

-- Follows a new random curve in every episode, and keeps the errors.
local function practice(mpc, errors)
  local rows
  return { reset = function(_, seed)
    rows = random_curve()
    follow(rows)
    mpc:reset(seed)
  end, act = function(_, observation, context)
    if context.step > 50 then errors[#errors + 1] = distance(observation.tip:totable(), rows[context.step - 1]) end
    return mpc:act(observation)
  end }
end

-- Collect, fit, plan, append, fit again.
local function learn(seed, say)
  local replay, model = orrery.replay { env = env }, new_model(seed)
  replay:collect(orrery.policy.random(env), { steps = options.steps, seed = seed })
  model:fit(replay, { epochs = options.epochs })
  local mpc = mpc_of(model, seed)
  for round = 1, options.rounds do
    local errors = { 0 }
    replay:collect(practice(mpc, errors), { steps = options.round_steps, seed = seed + 1000 * round })
    say(round, 100 * orrery.tensor(errors):mean() / arm)
    model:fit(replay, { epochs = options.epochs })
  end
  return model, mpc
end
