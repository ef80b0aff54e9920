-- Mean and deviation of what was observed, one batch after the other, are those of everything at once; and learners
-- see observations by them.
local orrery = require "orrery"
local normaliser = require "orrery.normaliser"

orrery.seed(3)
local all = orrery.randn(960, 3) * orrery.tensor { 4, 0.2, 0 } + orrery.tensor { 7, -1, 2 }
local of_all, at = normaliser.new(3), 1
for _, rows in ipairs { 1, 16, 400, 43, 500 } do
  of_all:add(all:slice(at, at + rows - 1))
  at = at + rows
end
local mean = orrery.mean(all, 1)
local variance = orrery.mean(orrery.square(all - mean), 1)
for i = 1, 3 do
  assert(math.abs(of_all.mean[i] - mean[i]) < 1e-4, i)
  assert(math.abs(of_all.variance[i] - variance[i]) < 1e-4 * (1 + variance[i]), i)
end
assert(of_all.rows:item() == 960)

-- In a program the numbers are those at the run: what hardly changes is not blown up, what is far off is held back.
local program = require "orrery.trace".program { name = "normalised", inputs = { { name = "x", shape = { 3 } } },
  fn = function(x) return { y = of_all:of(x) } end }
local function normalised(x) return program:run({ x = orrery.tensor { x } }, { rows = 1 }).y[1] end
local y = normalised { 7 + 4, -1 - 0.2, 2.005 }
assert(math.abs(y[1] - 1) < 0.1 and math.abs(y[2] + 1) < 0.1 and math.abs(y[3] - 0.5) < 1e-3)
y = normalised { 1000, -1000, 2 }
assert(y[1] == 5 and y[2] == -5 and math.abs(y[3]) < 1e-3)
of_all.mean:assign(orrery.tensor { 0, 0, 0 })
assert(normalised { 0, 0, 0 }[1] == 0)

-- A learner that normalises acts alike whatever the units of its environment, where one that does not cannot; and goes
-- on from a file to the bit.
local function walk(unit)
  return orrery.env { name = "walk", observation = { { "x" } }, action = { { "push", low = -1, high = 1 } }, max_steps = 20,
    reset = function(self)
      self.x = 0
      return { x = 0 }
    end,
    step = function(self, action)
      self.x = self.x + (action.push > 0 and 1 or -1)
      return { x = unit * self.x }, action.push, false
    end }
end
local function trained(unit, normalise)
  local agent = orrery.td3 { env = walk(unit), hidden = { 8 }, batch = 16, start = 40, normalise = normalise }
  agent:learn { steps = 100, every = 100, episodes = 0 }
  return agent
end
local function acts(unit, normalise) return trained(unit, normalise):decide(unit * orrery.tensor { { 3 } })[1][1] end
assert(math.abs(acts(1, true) - acts(256, true)) < 1e-3)
assert(math.abs(acts(1, false) - acts(256, false)) > 1e-3)

local path = os.tmpname()
local agent = trained(1, true)
agent:save(path)
local again = orrery.td3 { env = walk(1), hidden = { 8 }, batch = 16, start = 40, normalise = true }
again:load(path)
assert(again.normaliser.mean:same(agent.normaliser.mean) and again.normaliser.rows:item() == 100)
assert(again:decide(orrery.tensor { { 3 } }):same(agent:decide(orrery.tensor { { 3 } })))
os.remove(path)
os.remove(path .. ".replay")
