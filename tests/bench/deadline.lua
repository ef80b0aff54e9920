--- deadline.lua - whether mpc:act keeps its deadline while other processes want the processor too: a
--- table of percentiles, for each case. Every action is checked to be finite and within its bounds.
---
---   make bench-deadline                                10,000 calls a case, about ten minutes
---   build/orrery run tests/bench/deadline.lua --calls=500 --only=pets
---
--- pets       a learned model of 5 nets and 20 particles; several iterations fit into the deadline
--- simulator  the environment itself
--- long       the model again, where a single iteration takes longer than the deadline
local orrery = require "orrery"
local clock = orrery.system.clock

local options = orrery.options {
  only = "",        -- one of the cases; otherwise all
  calls = 10000,
  deadline = 0.02,  -- seconds
  allowed = 0.022,  -- what the 99th percentile may be
  busy = 2,         -- processes that keep the processor busy meanwhile
  threads = 0,      -- 0: one per core
}

-- ---- what is planned with

local function learned(population)
  local env = orrery.env "cartpole"
  local model = orrery.model { env = env, members = 5, hidden = { 200, 200, 200 }, seed = 1 }:take_as_fitted()
  return env, orrery.mpc {
    model = model, particles = 20, seconds = options.deadline,
    task = function(s, a, next) return next.cos - 0.01 * orrery.sum(orrery.square(a.force)) end,
    planner = orrery.plan.cem { horizon = 15, population = population, iterations = 1000, minimum_variance = 0 },
  }
end

local cases = {
  { name = "pets", make = function() return learned(16) end },
  { name = "simulator", make = function()
    local env = orrery.env "cartpole"
    return env, orrery.mpc {
      env = env, seconds = options.deadline,
      planner = orrery.plan.cem { horizon = 25, population = 200, iterations = 1000, minimum_variance = 0 },
    }
  end },
  { name = "long", make = function() return learned(4000) end },
}

-- ---- the neighbours

local function occupy(count)
  local busy = {}
  for i = 1, count do
    local pipe = assert(io.popen("echo $$; exec sh -c 'while :; do :; done' > /dev/null", "r"))
    busy[i] = { pipe = pipe, id = assert(pipe:read "l") }
  end
  return busy
end

local function release(busy)
  for _, one in ipairs(busy) do
    os.execute("kill " .. one.id)
    one.pipe:close()
  end
end

-- ---- measuring

-- The numbers of a record must be finite and within the bounds of their field.
local function check(space, action)
  for _, field in ipairs(space.fields) do
    local x = action[field.name]
    assert(x == x and x >= field.low and x <= field.high, ("%s = %s"):format(field.name, x))
  end
end

local function measure(case)
  local env, mpc = case.make()
  local times, notes = {}, {}
  local observation = env:reset(1)
  for _ = 1, 5 do mpc:act(observation) end
  mpc:reset(1)
  mpc:clear_statistics()
  for i = 1, options.calls do
    local from = clock()
    local action, note = mpc:act(observation)
    times[i] = clock() - from
    check(env.action_space, action)
    if note then notes[note] = (notes[note] or 0) + 1 end
    local terminated, truncated
    observation, _, terminated, truncated = env:step(action)
    if terminated or truncated then
      observation = env:reset(i)
      mpc:reset()
    end
  end
  table.sort(times)
  local function at(q) return times[math.max(1, math.ceil(q * #times))] * 1e3 end
  local within = 0
  for _, seconds in ipairs(times) do within = within + (seconds <= options.allowed and 1 or 0) end
  local s = mpc:statistics()
  print(("%-10s %6d %7.2f %7.2f %7.2f %7.2f %7.2f %7.2f%% %6.1f   %d late, %d last plan, %d safe action"):format(
    case.name, options.calls, at(0.01), at(0.5), at(0.9), at(0.99), at(1), 100 * within / #times,
    s.iterations / math.max(1, s.plans), notes.late or 0, notes["last plan"] or 0, notes["safe action"] or 0))
  return at(0.99) <= options.allowed * 1e3
end

if options.threads > 0 then orrery.threads(options.threads) end
print(("deadline %g ms, %d busy processes, %d threads; milliseconds"):format(options.deadline * 1e3, options.busy,
  orrery.threads()))
print(("%-10s %6s %7s %7s %7s %7s %7s %8s %6s"):format("case", "calls", "p1", "p50", "p90", "p99", "max",
  ("<= %g"):format(options.allowed * 1e3), "iter."))
local busy = occupy(options.busy)
local good = true
local done, message = pcall(function()
  for _, case in ipairs(cases) do
    if options.only == "" or options.only == case.name then good = measure(case) and good end
  end
end)
release(busy)
if not done then error(message, 0) end
if not good then print("MISSED: a 99th percentile is above what is allowed") end
