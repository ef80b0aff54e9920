-- Prioritised sampling from Lua: what batches hold, with relabeling and several steps, after saving.
local orrery = require "orrery"
local fails = require "tests.lua.fails"

orrery.seed(13)

local function new(options)
  options = options or {}
  options.observation, options.action = { "achieved_goal", "desired_goal" }, { "force" }
  options.capacity = options.capacity or 60
  return orrery.replay(options)
end

local made = 0
local function add(replay, length)
  made = made + 1
  local e = { observation = {}, action = {}, reward = {}, terminated = true }
  for t = 0, length do e.observation[t + 1] = { made * 100 + t, -1 } end
  for t = 1, length do e.action[t], e.reward[t] = { t }, made * 100 + t end -- a number of its own
  replay:add_episode(e)
end

local replay = new { prioritised = { alpha = 1 } }
for _ = 1, 10 do add(replay, 5) end
assert(replay.prioritised and not new().prioritised and new({ prioritised = true }).prioritised)

-- new transitions are alike
local batch = replay:sample(50, { beta = 1, stream = orrery.stream(1) })
assert(batch.index:dtype() == "int" and batch.weight:mean() == 1)
local counts = {}
for k = 1, 50 do counts[batch.reward[k]] = (counts[batch.reward[k]] or 0) + 1 end
for _, c in pairs(counts) do assert(c == 1) end

-- errors of 1 and 3: three times as often, and a third of the weight
local errors = orrery.where(orrery.less(batch.reward, 600), 1, 3)
replay:set_priorities(batch.index, errors)
local often, n = 0, 8000
batch = replay:sample(n, { beta = 1, stream = orrery.stream(2) })
for k = 1, n do
  local high = batch.reward[k] >= 600
  if high then often = often + 1 end
  assert(math.abs(batch.weight[k] - (high and 1 / 3 or 1)) < 1e-5)
end
assert(math.abs(often / n - 0.75) < 0.001)
batch = replay:sample(n, { stream = orrery.stream(2) })
local lowest = math.huge
for k = 1, n do lowest = math.min(lowest, batch.weight[k]) end
assert(math.abs(lowest - (1 / 3) ^ 0.4) < 1e-5) -- beta is 0.4

-- an index stays right while old episodes leave: in the end only one transition is of any weight
local moving = new { prioritised = { alpha = 1 } }
for _ = 1, 10 do add(moving, 5) end
local everyone = moving:sample(50, { stream = orrery.stream(3) })
moving:set_priorities(everyone.index, orrery.zeros(50))
local index, reward = everyone.index:slice(50, 50), everyone.reward[50]
for _ = 1, 6 do add(moving, 5) end -- four episodes leave in between
moving:set_priorities(index, { 1e6 })
local after = moving:sample(1000, { stream = orrery.stream(5) })
local right = 0
for k = 1, 1000 do right = right + (after.reward[k] == reward and 1 or 0) end
assert(right >= 998)
for _ = 1, 12 do add(moving, 5) end
moving:set_priorities(index, { 1e9 }) -- it has left
assert(moving:sample(60, { stream = orrery.stream(5) }).weight:mean() == 1)

-- with relabeling and several steps
local task = { reward = function(_, _, next) return next.achieved_goal - next.desired_goal end }
local relabeled = replay:sample(300, { relabel = orrery.relabel.future { task = task }, steps = 2, gamma = 0.5,
                                       stream = orrery.stream(6) })
assert(relabeled.index and relabeled.weight and relabeled.discount and relabeled.relabeled:sum() > 100)
local both = replay:sample(300, { stream = orrery.stream(6), relabel = orrery.relabel.custom(function(episode, t)
  return { goal = episode:at(t + 1).achieved_goal, weight = 2 }
end, { task = task }) })
local plain = replay:sample(300, { stream = orrery.stream(6) })
for k = 1, 300 do assert(math.abs(both.weight[k] - 2 * plain.weight[k]) < 1e-5) end
local again = replay:sample(300, { stream = orrery.stream(7), into = plain })
assert(again == plain and plain.index:same(replay:sample(300, { stream = orrery.stream(7) }).index))

-- priorities are saved: what is loaded draws the same, weighs the same, and goes on so
do
  local path = os.tmpname()
  local function drawn(from) return from:sample(200, { stream = orrery.stream(9), beta = 0.7 }) end
  replay:save(path)
  local loaded = orrery.load_replay(path)
  assert(loaded.prioritised and loaded.alpha == replay.alpha)
  assert(orrery.load_replay(path, { prioritised = true }).alpha == replay.alpha)
  local mine, its = drawn(replay), drawn(loaded)
  assert(its.observation:same(mine.observation) and its.weight:same(mine.weight) and mine.weight:std() > 0.01)
  add(replay, 5) -- with the greatest that there has been
  add(loaded, 5)
  assert(drawn(loaded).weight:same(drawn(replay).weight))
  -- with less room the newest stay, with their own
  local less = orrery.load_replay(path, { capacity = #replay // 2 })
  assert(#less < #replay and less.prioritised)
  local heavy, at = drawn(less), {}
  for k = 1, 200 do at[heavy.reward[k]] = heavy.weight[k] end
  local full, most = drawn(orrery.load_replay(path)), {}
  for k = 1, 200 do most[full.reward[k]] = full.weight[k] end
  local ratio
  for reward, weight in pairs(at) do -- weights are relative to the greatest drawn
    ratio = ratio or most[reward] / weight
    assert(math.abs(most[reward] / weight - ratio) < 1e-5)
  end
  -- to another power: those of 1 and 3
  local square = orrery.load_replay(path, { prioritised = { alpha = 2 } })
  local lowest = math.huge
  local drawn_square = square:sample(500, { stream = orrery.stream(9), beta = 1 })
  for k = 1, 500 do lowest = math.min(lowest, drawn_square.weight[k]) end
  assert(square.alpha == 2 and math.abs(lowest - 1 / 9) < 1e-4)
  -- so it is where old episodes have left, and batches go on to be the same
  local small, number = new { prioritised = { alpha = 0.5 }, capacity = 20 }, 0
  for _ = 1, 9 do
    add(small, 5)
    local b = small:sample(8, { stream = orrery.stream(number) })
    small:set_priorities(b.index, orrery.arange(1, 8))
    number = number + 1
  end
  local other_path = os.tmpname()
  small:save(other_path)
  local twin = orrery.load_replay(other_path)
  os.remove(other_path)
  for _ = 1, 3 do
    local a, b = drawn(small), drawn(twin)
    assert(a.observation:same(b.observation) and a.weight:same(b.weight))
    add(small, 5)
    made = made - 1 -- the same episode
    add(twin, 5)
  end
  -- what is damaged is not taken
  local file = assert(io.open(path, "rb"))
  local bytes = file:read "a"
  file:close()
  local last = #bytes - 40 - 16 -- the record of the end; before it priorities
  file = assert(io.open(path, "wb"))
  file:write(bytes:sub(1, last - 1), string.char(bytes:byte(last) ~ 1), bytes:sub(last + 1))
  file:close()
  fails("checksum", orrery.load_replay, path)
  local saved = orrery.load_replay(path, { salvage = true })
  assert(#saved == 50 and not saved.prioritised)
  os.remove(path)
end

fails("finite", replay.set_priorities, replay, relabeled.index, orrery.full(-1, 300))
fails("as many priorities", replay.set_priorities, replay, relabeled.index, { 1, 2 })
fails("it has no priorities", function() new():set_priorities(orrery.tensor({ 1 }, "int"), { 1 }) end)
fails("alpha", new, { prioritised = { alpha = -1 } })
fails("did you mean 'alpha'", new, { prioritised = { alhpa = 1 } })
fails("prioritised is a table", new, { prioritised = 3 })
fails("beta", replay.sample, replay, 5, { beta = -1 })
fails("empty", function() new({ prioritised = true }):sample(5) end)

-- a priority whose power cannot be added up is refused, and nothing is taken
do
  local steep = new { prioritised = { alpha = 10 } }
  add(steep, 5)
  local drawn = steep:sample(5)
  fails("to the power alpha, 10, is too large", steep.set_priorities, steep, drawn.index, { 1, 2, 3, 4, 1e30 })
  assert(steep:sample(5).weight:same(drawn.weight))
end
