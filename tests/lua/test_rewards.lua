-- Rewards that are learned: from labels of many tasks, from examples of success; calibration; words as identifiers.
local orrery = require "orrery"
local calibration = require "orrery.calibration"
local fails = require "tests.lua.fails"

local function near(a, b, tolerance, what)
  assert(math.abs(a - b) <= tolerance, ("%s: %g, not %g"):format(what or "", a, b))
end
local function apart(a, b) return (a - b):abs():max() end

-- ---- calibration: by hand

-- pairs (1, 0): 0.9 > 0.4, 0.9 > 0.1, 0.4 = 0.4, 0.4 > 0.1: 3.5 of 4
near(calibration.auroc({ 0.9, 0.4, 0.4, 0.1 }, { 1, 1, 0, 0 }), 3.5 / 4, 1e-12, "AUROC")
assert(calibration.auroc({ 0.9, 0.4 }, { 1, 1 }) == nil)
local p = calibration.of_probabilities({ 0.25, 0.75, 0.75, 1 }, { 0, 1, 0, 1 }, 2)
near(p.brier, (0.0625 + 0.0625 + 0.5625 + 0) / 4, 1e-12, "Brier")
near(p.baseline, 0.25, 1e-12, "Brier score of the rate")
-- bins: 0.25 against 0, and 2.5 / 3 against 2 / 3
near(p.calibration, 0.25 * 0.25 + 0.75 * (2.5 - 2) / 3, 1e-12, "expected calibration error")
assert(#p.bins == 2 and p.bins[2].count == 3)
local n = calibration.of_numbers({ 1, 2, 3 }, { 2, 4, 6.5 }, 3)
near(n.correlation, 4.5 / math.sqrt(2 * (6.5 ^ 2 + 4 + 16 - 12.5 ^ 2 / 3)), 1e-9, "correlation")
near(n.rmse, math.sqrt((1 + 4 + 3.5 ^ 2) / 3), 1e-9, "rmse")
assert(calibration.of_numbers({ 1, 1 }, { 0, 1 }, 2).correlation == nil)

-- ---- a world: a point that u moves

local seen = orrery.space { { "x", low = -2, high = 2 }, { "noise", low = -1, high = 1 } }
local done = orrery.space { { "u", low = -1, high = 1 } }
local function transitions(count, seed)
  orrery.seed(seed)
  local x, u, noise = 3 * orrery.rand(count, 1) - 1.5, 2 * orrery.rand(count, 1) - 1, 2 * orrery.rand(count, 2) - 1
  return { observation = orrery.concat({ x, noise:slice(1, 1, 2) }, 2), action = u,
           next_observation = orrery.concat({ x + 0.5 * u, noise:slice(2, 2, 2) }, 2) }
end
local data, fresh = transitions(1500, 1), transitions(500, 2)
local tasks = {
  { name = "left", reward = function(_, a, next) return -math.abs(next.x + 1) - 0.1 * a.u ^ 2 end },
  { name = "right", reward = function(_, a, next) return -math.abs(next.x - 1) - 0.1 * a.u ^ 2 end },
  { name = "still", reward = function(_, a) return 0.5 - 3 * math.abs(a.u) end },
}
local function new_net(more)
  local o = { observation = seen, action = done, tasks = tasks, hidden = { 48, 48 }, seed = 3 }
  for name, value in pairs(more or {}) do o[name] = value end
  return orrery.reward.net(o)
end

-- ---- one net for many tasks

local net = new_net()
fails("it has learned nothing yet", net.of, net, 1)
local history = net:fit(data, { updates = 2500, batch = 128, every = 100, learning_rate = 2e-3 })
assert(history.labels == 3 * 1500 and history.best < 0.01, history.best)
local report = net:calibrate(fresh)
for _, task in ipairs(tasks) do
  assert(report[task.name].correlation > 0.99, tostring(report))
  near(report[task.name].bins[1].predicted, report[task.name].bins[1].frequency, 0.5, "bin")
end
assert(report:plot().width == 960 and tostring(report):find("left: correlation 0.99", 1, true))

-- the drop-in function says what net:predict says: of rows, of records, and in programs
local right = net:of "right"
for i = 1, 5 do
  near(right(fresh.observation[i], fresh.action[i]), net:predict(fresh, 2)[i], 1e-4, "of a row")
end
near(right(seen:record(fresh.observation[1]:copy()), done:record(fresh.action[1]:copy())), net:predict(fresh, "right")[1],
  1e-4, "of a record")
local compiled = orrery.rowwise(function(s, a) return 2 * right(s, a) end)
assert(apart(compiled(fresh.observation, fresh.action), 2 * net:predict(fresh, 2)) < 1e-4)
-- an identifier by itself is as good as its task; others are refused
assert(apart(net:predict(fresh, { 0, 1, 0 }), net:predict(fresh, 2)) == 0)
fails("z has 2 numbers", net.of, net, { 0, 1 })
fails("did you mean 'right'?", net.of, net, "rihgt")

-- a planner with the reward as an input: one program, two tasks; u of a point at 0 is as the task wants it
local model = orrery.model { observation = seen, action = done, members = 1, hidden = { 32 }, probabilistic = false }
model:fit(data, { epochs = 30, batch = 64 })
local planner = orrery.plan.cem { horizon = 2, population = 64, elites = 8, iterations = 4 }
local mpc = orrery.mpc { model = model, task = net:task(), planner = planner }
local function action_for(z)
  mpc:set_input("z", z)
  mpc:reset(1)
  return mpc:act({ x = 0, noise = 0 }).u
end
assert(action_for(net.tasks[1].z) < -0.5 and action_for(net.tasks[2].z) > 0.5)
near(action_for(net.tasks[3].z), 0, 0.3, "to be still")

-- files
local path = os.tmpname()
net:save(path)
local again = new_net { seed = 9 }:load(path)
assert(apart(again:predict(fresh, 1), net:predict(fresh, 1)) == 0)
fails("", function() new_net { hidden = { 8 } }:load(path) end)
-- what fits by its shape and stands for something else
fails("fields seen: x, noise in the file, but x here", function() new_net { fields = { "x" } }:load(path) end)
fails("tasks: left, right, still in the file, but right, left, still here", function()
  new_net { tasks = { tasks[2], tasks[1], tasks[3] } }:load(path)
end)
fails("rewards: any number in the file, but one of two here", function() new_net { binary = { 0, 1 } }:load(path) end)
fails("fields seen: x, noise in the file, but noise, x here", function()
  new_net { observation = orrery.space { { "noise", low = -1, high = 1 }, { "x", low = -2, high = 2 } } }:load(path)
end)
orrery.save_tensors(path, { mean = orrery.zeros(3) })
fails("it does not say what its numbers stand for", function() new_net():load(path) end)
-- with identifiers of their own tasks may come and go, but not change
local function own(...)
  local list = {}
  for i, z in ipairs { ... } do list[i] = { name = tasks[i].name, reward = tasks[i].reward, z = { z, 1 - z } } end
  return new_net { tasks = list, hidden = { 8 } }
end
local of_two = own(0, 1)
of_two:fit(data, { updates = 1 })
of_two:save(path)
own(0, 1, 0.5):load(path)
fails("identifier of task left: 0, 1 in the file, but 0.5, 0.5 here", function() own(0.5, 1):load(path) end)
fails("tasks: identifiers of their own in the file, but left, right here", function()
  new_net { tasks = { tasks[1], tasks[2] }, hidden = { 8 } }:load(path)
end)
os.remove(path)

-- tasks are read as learners read them
local function rewrd() return 7 end
fails("a task has no 'rewrd'; did you mean 'reward'?", new_net, { tasks = { { name = "a", rewrd = rewrd } } })
fails("'planner' is no part", new_net, { tasks = { { name = "a", reward = rewrd, planner = 3 } } })
fails("a function `reward`", new_net, { tasks = { { name = "a", reward = 3 } } })
fails("the task 'b' has no reward", new_net, { tasks = { tasks[1], { name = "b" } } })
fails("nothing is labelled", function() new_net { tasks = { { name = "a" } } }:fit(data) end)

-- labels that were recorded, for tasks that no function tells: each row's own z
local z = orrery.less(orrery.rand(1500, 1), 0.5)
local recorded = { observation = data.observation, action = data.action, next_observation = data.next_observation,
                   z = orrery.concat({ z, 1 - z }, 2), reward = (2 * z - 1):reshape(-1) * data.action:reshape(-1) }
local by_label = orrery.reward.net { observation = seen, action = done, z = 2, hidden = { 32, 32 } }
by_label:fit(recorded, { updates = 800, every = 100 })
assert(apart(by_label:predict(fresh, { 1, 0 }), fresh.action:reshape(-1)) < 0.2)
assert(apart(by_label:predict(fresh, { 0, 1 }), -fresh.action:reshape(-1)) < 0.2)
-- what was compiled follows another fit
recorded.reward = recorded.reward + 5
by_label:fit(recorded, { updates = 800, every = 100 })
assert(apart(by_label:predict(fresh, { 1, 0 }), fresh.action:reshape(-1) + 5) < 0.2)
recorded.reward[7] = 0 / 0
fails("is not finite", by_label.fit, by_label, recorded)
recorded.z = nil
fails("nothing is labelled", by_label.fit, by_label, recorded)

-- a binary reward: how likely it is the higher one
local sparse = { { name = "right", reward = function(_, _, next) if next.x > 0.5 then return 0 end return -1 end } }
local binary = new_net { tasks = sparse, binary = { -1, 0 } }
binary:fit(data, { updates = 800, every = 100 })
local found = binary:calibrate(fresh).right
assert(found.auroc > 0.98 and found.calibration < 0.05 and found.brier < 0.2 * found.baseline, tostring(found.brier))
local low, high = binary:predict(fresh, 1):min(), binary:predict(fresh, 1):max()
assert(low >= -1 and low < -0.95 and high <= 0 and high > -0.05)
fails("every reward must be one of the two", function() new_net { binary = { -1, 0 } }:fit(data) end)
fails("binary must be { low, high }, two numbers, as in { -1, 0 }", new_net, { binary = true })

-- ---- a classifier from examples of success

local function succeeded(_, _, next) return math.abs(next.x - 1) < 0.2 end
orrery.seed(5)
local examples = orrery.concat({ 1 + 0.3 * (orrery.rand(20, 1) - 0.5), 2 * orrery.rand(20, 1) - 1 }, 2)
-- the agent's own states lie left of 1.2: what is beyond it was never seen
local own = {}
for i = 1, 1500 do
  if data.next_observation[i][1] < 1.2 then own[#own + 1] = i end
end
own = data.next_observation:gather(orrery.tensor(own, "int"))
local classifier = orrery.reward.classifier { observation = seen, action = done, fields = { "x" }, seed = 1 }
fails("are needed", classifier.fit, classifier, examples)
assert(tostring(classifier:fit(nil, own)):find("^1000 updates: loss [%d.e-]+ at first, [%d.e-]+ at the end$"))
fails("fit options: every must be 1 or more, not 0", classifier.fit, classifier, nil, nil, { every = 0 })
local everywhere = 4 * orrery.rand(3000, 2) - 2
local before = classifier:calibrate(everywhere, { ask = succeeded })
assert(tostring(before):find("success: rate 0.5", 1, true) and before:plot().width == 960)
-- not yes to all, but yes to what it never saw
local p_at = function(x) return classifier:predict({ { x, 0 } })[1] end
assert(p_at(1) > 0.6 and p_at(-1) < 0.05 and p_at(0.5) < 0.4 and p_at(2) > 0.5)
local all = classifier:predict(everywhere)
assert(all:max() <= 1 and all:max() > 0.8 and all:min() >= 0, "a mean over nets")
assert(p_at(1) == classifier:predict({ { 1, 0.9 } })[1], "a field that is hidden is not seen")
assert(classifier:predict({ { x = 1 } })[1] == p_at(1), "nor need it be given")
fails("'x'", classifier.predict, classifier, { { noise = 1 } })
near(classifier:of()(nil, nil, orrery.tensor { 1, 0 }), p_at(1), 1e-5, "in plain Lua")
assert(classifier:of "log"(nil, nil, orrery.tensor { 1, 0 }) <= math.log(p_at(1)) + 1e-6)
assert(classifier:success()(nil, nil, orrery.tensor { 1, 0 }) and not classifier:success(0.9999)(nil, nil,
  orrery.tensor { -1, 0 }))
fails("did you mean 'log'?", classifier.of, classifier, "lgo")

-- the planner goes where it says yes; mined, it says no there
local claims = classifier:mine(everywhere, { ask = succeeded, most = 200 })
assert(tostring(claims):find(("^%d of %d states claimed as successes; of %d asked about %d are, %d are not$"):format(
  claims.claimed, claims.seen, claims.asked, claims.right, claims.wrong)))
assert(claims.seen == 3000 and claims.asked == 200 and claims.right + claims.wrong == 200 and claims.wrong > 50)
classifier:fit()
assert(p_at(2) < 0.3 and p_at(1) > 0.6, p_at(2))
local after = classifier:calibrate(everywhere, { ask = succeeded })
assert(after.success.auroc > before.success.auroc and after.success.auroc > 0.98, tostring(after))
local to_success = orrery.mpc { model = model, task = { reward = classifier:of "log" }, planner = planner }
local answer = to_success:act { x = 0.2, noise = 0 }
assert(answer.u > 0.5)

-- mixed with their opposites, successes draw from afar: what is learned rises all the way
local mixed = orrery.reward.classifier { observation = seen, action = done, fields = { "x" }, seed = 1 }
mixed:fit(examples, own, { mixup = 1 })
local last = 0
for x = -1.5, 0.75, 0.25 do
  local here = mixed:predict({ { x, 0 } })[1]
  assert(here > last + 0.01, ("at %g: %g, after %g"):format(x, here, last))
  last = here
end
fails("mixup must be a share", mixed.fit, mixed, nil, nil, { mixup = 2 })
local holes = examples:copy()
holes[{ 7, 2 }] = 0 / 0
fails("successes: row 7: noise is NaN", mixed.fit, mixed, holes)
fails("states: row 2: x is inf", mixed.fit, mixed, nil, { { x = 0, noise = 0 }, { x = math.huge, noise = 0 } })
classifier:save(path)
fails("fields seen: x in the file, but noise here", function()
  orrery.reward.classifier { observation = seen, action = done, fields = { "noise" } }:load(path)
end)
local loaded = orrery.reward.classifier { observation = seen, action = done, fields = { "x" }, seed = 4 }:load(path)
assert(loaded:predict({ { 1, 0 } })[1] == p_at(1))
os.remove(path)
fails("there is no 'xx'; there is x, noise", function()
  orrery.reward.classifier { observation = seen, action = done, fields = { "xx" } }
end)

-- ---- words

local words = orrery.words { "Pass the ball to the mate!", "shoot the ball" }
assert(#words == 6 and words.list[2] == "the")
local z_pass = words:z "pass the ball to the mate"
near(z_pass[2], 2 / 6, 1e-6, "a word that comes twice")
near(z_pass:sum(), 1, 1e-6, "the mean of one-hot vectors")
fails("did you mean 'shoot'?", words.z, words, "shot the ball")
fails("has no words in it", words.z, words, "...")
local embed = words:table(3, 1)
local weight = embed:parameters()[1]
assert(#embed:parameters() == 1 and apart(embed(words:z "shoot ball"), (weight[6] + weight[3]) / 2) < 1e-6)

-- a learner that is told its tasks in words learns from batches in which both are
local env = orrery.env "ball_game"
local told = {}
for i, text in ipairs { "pass the ball to the mate", "shoot the ball" } do
  local task = i == 1 and orrery.tasks.ball_game.pass() or orrery.tasks.ball_game.shoot()
  told[i] = { name = task.name, reward = task.reward, success = task.success, z = words:z(text) }
end
local agent = orrery.td3 { env = env, tasks = told, hidden = { 16 }, copies = 2, start = 100, batch = 32,
  relabel = orrery.relabel.tasks { tasks = told } }
local entries = agent:learn { steps = 160, every = 160, episodes = 1 }
assert(agent.identifiers == 6 and entries[1].tasks.pass and entries[1].tasks.shoot)
local batch, kinds = agent:sample(), { 0, 0 }
for i = 1, 32 do
  for k = 1, 2 do
    if apart(batch.z[i], told[k].z) < 1e-6 then kinds[k] = kinds[k] + 1 end
  end
end
assert(kinds[1] + kinds[2] == 32 and kinds[1] > 4 and kinds[2] > 4)
