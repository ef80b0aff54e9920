-- Messages of mistakes: the script's line, the cause in the words of the script, the way out.
local orrery = require "orrery"

local HERE = debug.getinfo(1, "S").short_src

-- f raises a message that starts with this script's name and a line, and has all the parts.
local function refused(f, ...)
  local ok, message = pcall(f)
  message = tostring(message)
  assert(not ok, "no error, but: " .. table.concat({ ... }, " ... "))
  assert(message:match "^(.-):%d+: " == HERE, "no line of the script: " .. message)
  for _, part in ipairs { ... } do
    assert(message:find(part, 1, true), ("'%s' lacks '%s'"):format(message, part))
  end
  return message
end

local env = orrery.env "pendulum"
local net = orrery.nn.mlp { inputs = 2, outputs = 1, hidden = { 4 }, seed = 1 }
local batch = { x = orrery.ones(3, 2), y = orrery.zeros(3, 1) }
local function update(loss) return orrery.update { loss = loss, nets = { net } } end
local replay = orrery.replay { env = env }
replay:collect(orrery.policy.random(env), { steps = 300, seed = 1 })

-- ---- updates: a loss that trains nothing; what is no batch, no index, no loss

local blind = "does not depend on any of the 4 trained parameters"
refused(function() update(function() return 1.5 end):step(batch) end, blind)
refused(function() update(function(s) return s.x:sum() end):step(batch) end, blind)
refused(function() update(function(s) return orrery.stop_gradient(net(s.x)):sum() end):step(batch) end, blind)
local before = net:parameters()[1]:copy()
update(function(s) return net(s.x):sum() end):step(batch)
assert(orrery.max(orrery.abs(net:parameters()[1] - before)) > 0)
-- one of two nets may stand still
local other = net:copy()
orrery.update { nets = { net, other }, loss = function(s) return net(s.x):sum() end }:step(batch)

refused(function() update(function(s) return net(s.x) end):step(batch) end, "loss must be one number", "shape [1]")
refused(function() update(function() end):step(batch) end, "loss returns nothing; it must return a number")
refused(function() update(function(s) return net(s.x):sum() end):step() end, "a batch is needed")
refused(function() update(function(s) return net(s.x):sum() end):step { x = 1 } end, "'x' of the batch")
refused(function() return orrery.update { nets = { net } } end, "loss is missing")
refused(function() return orrery.update { los = print } end, "did you mean 'loss'")
local by_list = update(function(s) return net(s.x):sum() end):step(batch, { 1, 2 })
assert(by_list == by_list)

-- ---- a model of one net learns, its variance's bounds too

local single = orrery.model { env = env, members = 1, hidden = { 8 } }
local low = single.low:copy()
single:fit(replay, { epochs = 1 })
assert(orrery.max(orrery.abs(single.low - low)) > 0)

-- ---- audits: no ratio where nothing changes

local still = orrery.space { { "x", low = -1, high = 1 }, { "goal", low = -1, high = 1 } }
local push = orrery.space { { "u", low = -1, high = 1 } }
local model = orrery.model { observation = still, action = push, members = 1, hidden = { 4 },
  probabilistic = false }
local states = orrery.tensor { { { 0, 0.5 }, { 0.3, 0.5 } }, { { 0.1, -0.5 }, { 0.2, -0.5 } } }
local audit = tostring(model:audit({ observation = states, action = orrery.zeros(2, 1, 1) }, { horizons = { 1 } }))
assert(audit:find "\nx .+%d%.%d+\n" and audit:find "\ngoal .+ %-$", audit)
