--- Dyna-Q in a maze (Sutton and Barto 2018, figure 8.2): the simplest meeting of model-based and model-free. A table of
--- values learns from every real step, and from n remembered ones, which are the model: what followed on a state and an
--- action. With n = 50 the shortest way is known after a few episodes; without planning, n = 0, it takes many.
--- What orrery.mbpo does with nets, in plain Lua.
local orrery = require "orrery"

local options = orrery.options({
  seed = 1,                -- the first seed
  seeds = 30,              -- how often everything is done
  episodes = 50,
  planning = { 0, 5, 50 }, -- steps of planning after each real one
  step_size = 0.1,
  epsilon = 0.1,           -- share of random actions
  gamma = 0.95,
}, { brief = { -- a tiny budget, to see that everything runs
  seeds = 2, episodes = 5
} })

local maze = { -- S: start, G: goal, #: wall
  ".......#G",
  "..#....#.",
  "S.#....#.",
  "..#......",
  ".....#...",
  ".........",
}
local height, width, start, goal = #maze, #maze[1], nil, nil
local function at(row, column) return (row - 1) * width + column end
for row, line in ipairs(maze) do
  for column = 1, width do
    local mark = line:sub(column, column)
    if mark == "S" then start = at(row, column) elseif mark == "G" then goal = at(row, column) end
  end
end

-- The state after an action: up, down, left, right; into a wall: where it was.
local moves = { { -1, 0 }, { 1, 0 }, { 0, -1 }, { 0, 1 } }
local function step(state, action)
  local row, column = (state - 1) // width + 1 + moves[action][1], (state - 1) % width + 1 + moves[action][2]
  if row < 1 or row > height or column < 1 or column > width or maze[row]:sub(column, column) == "#" then
    return state, 0
  end
  local next = at(row, column)
  return next, next == goal and 1 or 0
end

-- Of the actions with the highest value, one at random.
local function best(values, stream)
  local highest, found, count = -math.huge, 1, 0
  for action, value in ipairs(values) do
    if value > highest then highest, found, count = value, action, 1
    elseif value == highest then
      count = count + 1
      if stream:uniform() * count < 1 then found = action end
    end
  end
  return found
end

-- Whether the values lead from the start to the goal by a way of at most 16 steps; the shortest has 14.
local function is_short(q, stream)
  local s = start
  for _ = 1, 16 do
    s = step(s, best(q[s], stream))
    if s == goal then return true end
  end
  return false
end

-- Steps of every episode, and after how many a short way was known first.
local function dyna_q(n, seed)
  local stream, apart, known = orrery.stream(seed, 0), orrery.stream(seed, 1), nil
  local q, model, seen, lengths = {}, {}, {}, {}
  for state = 1, height * width do q[state] = { 0, 0, 0, 0 } end
  local function learn(s, a, reward, next)
    local y = reward + options.gamma * math.max(table.unpack(q[next])) -- the goal's values stay 0
    q[s][a] = q[s][a] + options.step_size * (y - q[s][a])
  end
  for episode = 1, options.episodes do
    local s, steps = start, 0
    while s ~= goal do
      local a = stream:uniform() < options.epsilon and stream:integer(1, 4) or best(q[s], stream)
      local next, reward = step(s, a)
      learn(s, a, reward, next)
      local place = s * 4 + a
      if not model[place] then seen[#seen + 1] = place end
      model[place] = { s, a, reward, next }
      for _ = 1, n do learn(table.unpack(model[seen[stream:integer(1, #seen)]])) end
      s, steps = next, steps + 1
    end
    lengths[episode] = steps
    if not known and is_short(q, apart) then known = episode end
  end
  return lengths, known or math.huge
end

local run <close> = orrery.run { name = "dyna_maze", options = options }
local series = {}
for i, n in ipairs(options.planning) do
  local all, known = {}, {}
  for number = 1, options.seeds do
    all[number], known[number] = dyna_q(n, options.seed + number - 1)
    run:progress((i - 1 + number / options.seeds) / #options.planning, ("n = %d, seed %d"):format(n, number))
  end
  table.sort(known)
  local lengths = orrery.tensor(all)
  local mean = lengths:mean(1)
  series[i] = { label = ("%d steps of planning"):format(n), y = mean, low = lengths:min_along(1),
    high = lengths:max_along(1) }
  local text = ""
  for _, episode in ipairs { 2, 5, 10, 25, 50 } do
    if episode <= options.episodes then text = text .. (" %.0f"):format(mean[episode]) end
  end
  run:log { planning = n, steps = mean:totable() }
  run:say("n = %-3d steps of episodes 2, 5, 10, 25, 50:%s; a short way is known after %g (median; %g to %g; inf: never)",
    n, text, known[(#known + 1) // 2], known[1], known[#known])
end
orrery.plot { title = ("Dyna-Q: mean and range of %d seeds"):format(options.seeds), x = "episode",
  y = "steps to the goal", series = series, x_range = { 2, math.max(3, options.episodes) }, log_y = true }
  :save(run:path("steps.png", "steps of each episode, by how much was planned"))
