-- Mistakes a person makes, each with a message that names the cause and the way out, and the script's line.
local orrery = require "orrery"

local folder = os.tmpname()
os.remove(folder)
local function path(name) return folder .. name end

local function refused(name, f, ...)
  local ok, message = pcall(f)
  assert(not ok, name .. ": no error")
  for _, part in ipairs { ... } do
    assert(tostring(message):find(part, 1, true), ("%s: '%s' lacks '%s'"):format(name, tostring(message), part))
  end
  return message
end

local env = orrery.env "pendulum"
local replay = orrery.replay { env = env }
replay:collect(orrery.policy.random(env), { steps = 300, seed = 1 })
local model = orrery.model { env = env, members = 2, hidden = { 16 } }
model:fit(replay, { epochs = 1 })

local function plan(reward)
  return orrery.mpc { model = model, task = { reward = reward }, particles = 2,
    planner = orrery.plan.cem { horizon = 3, population = 10, elites = 3, iterations = 1 } }
end

-- ---- options and names

local line = refused("unknown option", function() orrery.replay { env = env, capasity = 10 } end, "'capasity'", "'capacity'")
assert(line:find "test_errors.lua:%d+:", line)
refused("unknown option of a planner", function() orrery.plan.cem { horizn = 10 } end, "'horizn'", "'horizon'")
refused("unknown environment", function() orrery.env "pendulim" end, "'pendulim'", "'pendulum'")
refused("unknown setting", function() orrery.env("pendulum", { gravty = 3 }) end, "'gravty'", "'gravity'")
refused("unknown name in the module", function() return orrery.modle end, "'modle'", "'model'")
refused("unknown method", function() return orrery.ones(2):tahn() end, "'tahn'")
refused("unknown action field", function() env:reset(1) return env:step { torqe = 1 } end, "'torqe'", "'torque'")

-- ---- rewards

for _, what in ipairs { "model", "environment" } do
  local function with(reward)
    if what == "model" then return plan(reward) end
    return orrery.mpc { env = env, task = { reward = reward } }
  end
  line = refused("wrong field, " .. what, function() with(function(s) return s.velocty end) end,
    "no field 'velocty' in s (cos, sin, velocity)", "did you mean 'velocity'?")
  assert(line:find "test_errors.lua:%d+:", line)
  refused("wrong action field, " .. what, function() with(function(s, a) return a.torqe end) end, "'torqe'", "'torque'")
  refused("nothing, " .. what, function() with(function(s) local unused = s.velocity end) end, "returns nothing", "must return")
  refused("text, " .. what, function() with(function() return "good" end) end, "must return")
end
refused("wrong field in evaluation", function()
  orrery.evaluate(env, orrery.policy.random(env), { task = { reward = function(s) return s.velocty end }, episodes = 1 })
end, "'velocty'", "'velocity'")
refused("nothing in evaluation", function()
  orrery.evaluate(env, orrery.policy.random(env), { task = { reward = function() end }, episodes = 1 })
end, "nothing", "must return a number")

-- ---- shapes and sizes

refused("mismatched shapes", function() return orrery.ones(3, 4) + orrery.ones(5, 4) end, "3x4", "5x4", "3 against 5")
refused("mismatched product", function() return orrery.ones(3, 4):matmul(orrery.ones(5, 4)) end, "3x4", "5x4")
refused("mismatched shapes in a traced function", function()
  return orrery.rowwise(function(x, y) return x + y end)(orrery.ones(2, 3), orrery.ones(2, 4))
end, "3", "4")
refused("overflowing shape", function() orrery.zeros(1 << 40, 1 << 30) end, "too large")
refused("huge shape", function() orrery.zeros(1 << 45) end, "out of memory")
for _, capacity in ipairs { 0, -5, 0 / 0, 1 / 0, 1e15, 2.5 } do
  refused("capacity " .. capacity, function() orrery.replay { env = env, capacity = capacity } end, "capacity must be")
end

-- ---- files

refused("missing tensors", function() orrery.load_tensors(path "none") end, path "none", "No such file")
refused("missing model", function() model:load(path "none") end, path "none", "No such file")
refused("missing replay", function() orrery.load_replay(path "none") end, path "none", "No such file")
refused("missing picture", function() orrery.load_png(path "none") end, path "none", "No such file")
refused("folder that is not there", function() model:save(path "/no/such/folder") end, "/no/such/folder")

model:save(path ".safetensors")
local before = model:predict(orrery.ones(1, 3), orrery.ones(1, 1))
local file = io.open(path ".safetensors", "rb")
local whole = file:read "a"
file:close()
for _, length in ipairs { 0, 7, 8, 100, #whole // 2, #whole - 1 } do
  file = io.open(path ".short", "wb")
  file:write(whole:sub(1, length))
  file:close()
  refused("truncated to " .. length, function() model:load(path ".short") end, path ".short")
end
refused("a checkpoint of another size", function()
  orrery.model { env = env, members = 2, hidden = { 32 } }:load(path ".safetensors")
end, "2 x 4 x 16", "2 x 4 x 32")
local after = model:predict(orrery.ones(1, 3), orrery.ones(1, 1))
assert(before:equal(after):min() == 1, "a refused file changed the model")
model:load(path ".safetensors")
os.remove(path ".safetensors")
os.remove(path ".short")

-- ---- environments

local function broken(reward, x)
  return orrery.env { name = "broken", observation = { { "x", low = -1, high = 1 } }, action = { { "u", low = -1, high = 1 } },
    reset = function() return { x = 0 } end, step = function() return { x = x or 0 }, reward, false end, max_steps = 10 }
end
local nan = broken(0 / 0)
nan:reset(1)
refused("NaN reward", function() nan:step { u = 0 } end, "'broken'", "step 1", "the reward is NaN")
local store = orrery.replay { env = nan }
refused("NaN reward while collecting", function() store:collect(orrery.policy.random(nan), { steps = 5 }) end, "'broken'", "reward")
assert(#store == 0, "a NaN reward went into the replay")
local wild = broken(0, 1 / 0)
wild:reset(1)
refused("infinite observation", function() wild:step { u = 0 } end, "'broken'", "x")

-- ---- the engine is as good as new

assert(plan(function(s) return -s.velocity ^ 2 end):act(env:reset(1)).torque)
