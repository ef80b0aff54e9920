--- One model draws whatever it is asked to.
---
--- An arm of two links holds a pencil. ONE model of how it moves is learned: from random torques, then from a few
--- rounds of following random curves. Then it draws letters, a star, a spiral and an eight, which it never practised:
--- a shape is only another reward of time (PDDM: Nagabandi et al. 2019). The error is how far the pencil is from
--- where it should be at that very moment.
local orrery = require "orrery"

local options = orrery.options({
  seed = 1,               -- of every random number
  repeats = 5,            -- models, each of its own data, that draw all shapes
  steps = 500,            -- environment steps of random torques
  rounds = 4,             -- of following random curves and learning from that
  round_steps = 500,      -- environment steps of a round
  members = 3,            -- nets in the ensemble
  hidden = { 128, 128 },  -- their hidden layers
  epochs = 60,            -- of training, at most, after each round
  horizon = 7,            -- steps that a plan looks ahead
  population = 200,       -- plans per iteration
  iterations = 3,         -- of the planner, at every step
  speed = 0.5,            -- of the pencil on its way, in m/s
}, { brief = { -- a tiny budget, to see that everything runs
  steps = 300, round_steps = 100, epochs = 3, hidden = { 16 }, repeats = 1, rounds = 1, population = 10,
  speed = 3
} })
local env = orrery.env("pencil", { max_steps = 300 })
local steps, time_step, arm = env.max_steps, 0.04, 1 -- the arm's length in m
local middle, size = 0.55, 0.42                      -- of a drawing on the sheet: metres ahead, and its height
local run <close> = orrery.run { name = "pencil", options = options }

-- ---- shapes: strokes through points of a unit square
local pi, sin, cos = math.pi, math.sin, math.cos
local function stroke(count, f) -- through f(0) .. f(1)
  local points = {}
  for i = 0, count do points[i + 1] = { f(i / count) } end
  return points
end

local shapes = {
  { name = "O", stroke(60, function(u) return 0.5 - 0.38 * sin(2 * pi * u), 0.5 + 0.5 * cos(2 * pi * u) end) },
  { name = "R", { { 0.2, 0 }, { 0.2, 1 }, { 0.55, 1 } }, { { 0.55, 0.5 }, { 0.2, 0.5 } }, { { 0.5, 0.5 }, { 0.85, 0 } },
    stroke(30, function(u) return 0.55 + 0.25 * sin(pi * u), 0.75 + 0.25 * cos(pi * u) end) },
  { name = "E", { { 0.8, 1 }, { 0.2, 1 }, { 0.2, 0 }, { 0.8, 0 } }, { { 0.2, 0.5 }, { 0.7, 0.5 } } },
  { name = "Y", { { 0.12, 1 }, { 0.5, 0.5 }, { 0.88, 1 } }, { { 0.5, 0.5 }, { 0.5, 0 } } },
  { name = "star", stroke(5, function(u) return 0.5 + 0.5 * sin(4 * pi * u), 0.5 + 0.5 * cos(4 * pi * u) end) },
  { name = "spiral", stroke(99, function(u) return 0.5 + u / 2 * cos(5 * pi * u), 0.5 + u / 2 * sin(5 * pi * u) end) },
  { name = "eight", stroke(99, function(u) return 0.5 + 0.35 * sin(4 * pi * u), 0.5 + 0.5 * cos(2 * pi * u) end) },
}

-- Where the pencil should be after each step: at a constant speed from where it is along the strokes, lifted on the
-- way to the next one, where it waits a moment. Answers rows { x, y, whether it is down }.
local function way_of(shape, tip)
  local rows, x, y = {}, tip[1], tip[2]
  local function go(to_x, to_y, down)
    local count = math.ceil(math.sqrt((to_x - x) ^ 2 + (to_y - y) ^ 2) / (options.speed * time_step))
    for i = 1, count do rows[#rows + 1] = { x + (to_x - x) * i / count, y + (to_y - y) * i / count, down } end
    x, y = to_x, to_y
  end
  for _, points in ipairs(shape) do
    for i, point in ipairs(points) do
      go(middle + size * (point[1] - 0.5), size * (point[2] - 0.5), i > 1)
      if i == 1 then for _ = 1, 8 do rows[#rows + 1] = { x, y, false } end end
    end
  end
  return rows
end

-- For practice: sums of slow waves, which stay on the sheet.
local function random_curve()
  local rows, rate, phase = {}, {}, {}
  for k = 1, 4 do rate[k], phase[k] = options.speed * (2 + 7 * orrery.random()), 2 * pi * orrery.random() end
  local function wave(k, i) return 0.15 * sin(rate[k] * i * time_step + phase[k]) end
  for i = 1, steps do rows[i] = { middle + wave(1, i) + wave(2, i), wave(3, i) + wave(4, i) } end
  return rows
end

-- ---- the one reward: to be where the reference is at this time, in square centimetres. The reference is a
-- tensor, which changes from drawing to drawing; nothing is compiled again.
local reference = orrery.zeros(steps, 2)
local task = { name = "follow", reward = function(_, a, next, t)
  local apart = next.tip - reference[orrery.min(t + 1, steps)]
  return -1e4 * orrery.sum(apart * apart) - 0.1 * orrery.sum(a.torque * a.torque)
end }

local function follow(rows)
  local points = {}
  for i = 1, steps do points[i] = { rows[math.min(i, #rows)][1], rows[math.min(i, #rows)][2] } end
  reference:assign(orrery.tensor(points))
end

-- PDDM with less noise than as published. Its numbers, and CEM's, were chosen on random curves with true dynamics.
local plan = { horizon = options.horizon, population = options.population, iterations = options.iterations }
local pddm, cem = orrery.plan.pddm(plan), orrery.plan.cem(plan)
pddm.temperature, pddm.filter, pddm.deviation = 0.3, 0.6, 0.2
cem.deviation, cem.elites = 0.2, math.max(2, options.population // 20)

-- What the model expects to see next, the mean of its nets.
local function expected(model, observation, action)
  local s, a = env.observation_space:flatten(observation), env.action_space:flatten(action)
  return env.observation_space:record(orrery.mean(model:predict(s, a), 1):reshape(-1))
end

-- Draws a shape from where the seed puts the arm. With `blind`, a model, the planner sees what that expects, and
-- never looks at the arm again. The error is the mean distance, in % of the arm's length.
local function draw(shape, seed, mpc, blind, look)
  local observation = env:reset(seed)
  local rows, tips, sum, count = way_of(shape, observation.tip:totable()), {}, 0, 0
  follow(rows)
  mpc:reset(seed)
  for i, row in ipairs(rows) do
    local action = mpc:act(observation)
    local next = env:step(action)
    local tip = next.tip:totable()
    if row[3] then sum, count = sum + math.sqrt((tip[1] - row[1]) ^ 2 + (tip[2] - row[2]) ^ 2), count + 1 end
    tips[i], observation = tip, blind and expected(blind, observation, action) or next
    if look and i % 3 == 0 then look { rows = rows, tips = tips } end
  end
  return { rows = rows, tips = tips, error = 100 * sum / count / arm }
end

-- What was drawn, and thinner what was wanted; x, y: where the origin is, scale: pixels of a metre.
local function sketch(canvas, drawing, x, y, scale)
  for _, line in ipairs { { drawing.tips, 4, "#2b2f36" }, { drawing.rows, 1.2, "#f0a030" } } do
    for i, to in ipairs(line[1]) do
      local from = line[1][i - 1]
      if drawing.rows[i][3] and drawing.tips[i] then
        canvas:line(x + scale * from[1], y - scale * from[2], x + scale * to[1], y - scale * to[2], line[2], line[3])
      end
    end
  end
end

-- ---- one model: collect, fit, plan, append, fit again; in all ways for as many epochs
local function learn(seed, steps_at_random, rounds)
  local replay = orrery.replay { env = env }
  local model = orrery.model { env = env, members = options.members, hidden = options.hidden,
    probabilistic = false, seed = seed }
  local mpc = orrery.mpc { model = model, task = task, planner = pddm, particles = options.members }
  local practice = { act = function(_, observation) return mpc:act(observation) end,
    reset = function(_, ...) follow(random_curve()) return mpc:reset(...) end }
  replay:collect(orrery.policy.random(env), { steps = steps_at_random, seed = seed })
  model:fit(replay, { epochs = options.epochs * (1 + options.rounds - rounds) })
  for round = 1, rounds do
    replay:collect(practice, { steps = options.round_steps, seed = seed + 1000 * round })
    model:fit(replay, { epochs = options.epochs })
  end
  return mpc, model
end

-- ---- everything drawn in every way, by models of several seeds
local results, frames = {}, {} -- results: by way and shape, the errors of all models
local sheet, word = orrery.canvas(180 + 130 * #shapes, 900), orrery.canvas(780, 160)
for repeated = 1, options.repeats do
  local seed, all = options.seed + repeated - 1, options.steps + options.rounds * options.round_steps
  orrery.seed(seed)
  local mpc, model = learn(seed, options.steps, options.rounds)
  for w, way in ipairs {
    { "learned model", mpc },
    { "the same, CEM", orrery.mpc { model = model, task = task, planner = cem, particles = options.members } },
    { "before the rounds", (learn(seed, options.steps, 0)) },
    { "as much at random", (learn(seed, all, 0)) },
    { "true dynamics", orrery.mpc { env = env, task = task, planner = pddm } },
    { "never looks", mpc, model },
  } do
    results[w] = results[w] or { name = way[1] }
    if repeated == 1 then sheet:text(10, 150 * w - 75, way[1]) end
    for k, shape in ipairs(shapes) do
      run:progress((repeated - 1 + (w - 1 + k / #shapes) / 6) / options.repeats, way[1] .. ": " .. shape.name)
      local drawing, x = draw(shape, 100 * seed + k, way[2], way[3]), 115 + 130 * k
      results[w][k] = table.move({ drawing.error }, 1, 1, repeated, results[w][k] or {})
      run:log { seed = seed, way = way[1], shape = shape.name, error = drawing.error }
      if repeated == 1 then
        sketch(sheet, drawing, x - 250 * middle, 150 * w - 80, 250)
        sheet:text(x, 150 * w - 8, ("%.1f %%"):format(drawing.error), { align = "center" })
      end
    end
  end
  for k, letter in ipairs(repeated == 1 and { 1, 2, 2, 3, 2, 4 } or {}) do
    local drawing = draw(shapes[letter], k, mpc, nil, function(so_far)
      frames[#frames + 1] = env:draw(300)
      sketch(frames[#frames], so_far, 150, 150, 300 / 2.3) -- a picture shows 2.3 m
    end)
    sketch(word, drawing, 130 * k - 65 - 290 * middle, 80, 290)
  end
end
sheet:save(run:path("drawings.png", "all shapes by the first model; their mean errors"))
word:save(run:path("word.png", "a word, letter by letter"))
orrery.save_animation(run:path("animation.png", "the word: open it in a browser"), frames, { fps = 10 })

run:say("Mean distance in %% of the arm's length, mean ± deviation over %d models:", options.repeats)
for k = 0, #shapes do
  local line = k == 0 and ("%6s"):format "" or ("%-6s"):format(shapes[k].name)
  for _, result in ipairs(results) do
    local e = k > 0 and orrery.tensor(result[k])
    line = line .. (e and ("%12.2f ± %4.2f"):format(e:mean(), e:std()) or ("%19s"):format(result.name))
  end
  run:say("%s", line)
end
