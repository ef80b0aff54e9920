--- model_audit_plans.lua - model:audit_plans: what plans promise in the model, and what they bring in the
--- world. A planner picks the plans for which the model's errors are in its favour, so that optimised
--- plans promise more than they bring, and more so than random ones: the exploitation gap.
local orrery = require "orrery"
local check = require "orrery.check"
local trace = require "orrery.trace"

local Audit = { __name = "audit of plans" }
Audit.__index = Audit

local kinds = { "optimised", "random" }

function Audit:__tostring()
  local lines = { ("%-20s %10s %10s %10s %10s"):format("plans", "planned", "realised", "gap", "+-") }
  for _, kind in ipairs(kinds) do
    local row = self[kind]
    lines[#lines + 1] = ("%-20s %10.4g %10.4g %10.3g %10.2g")
      :format(kind, row.planned, row.realised, row.gap, row.gap_error)
  end
  return table.concat(lines, "\n")
end

--- plans:plot(): a canvas: planned against realised return, a dot for each plan.
function Audit:plot()
  local low, high = math.huge, -math.huge
  local series = { false }
  for i, kind in ipairs(kinds) do
    local x, y = {}, {}
    for j, plan in ipairs(self[kind].plans) do
      x[j], y[j] = plan.planned, plan.realised
      low, high = math.min(low, x[j], y[j]), math.max(high, x[j], y[j])
    end
    series[i + 1] = { label = kind .. " plans", x = x, y = y, dots = true }
  end
  series[1] = { label = "what was promised", x = { low, high }, y = { low, high }, dashed = true, color = "grey" }
  return orrery.plot { title = "Do plans bring what the model promises?", series = series,
    x = "return promised by the model", y = "return in the world" }
end

local function summary(plans)
  local n, planned, realised, squares = #plans, 0, 0, 0
  for _, plan in ipairs(plans) do planned, realised = planned + plan.planned, realised + plan.realised end
  local gap = (planned - realised) / n
  for _, plan in ipairs(plans) do squares = squares + (plan.planned - plan.realised - gap) ^ 2 end
  return { planned = planned / n, realised = realised / n, gap = gap, plans = plans,
    gap_error = n > 1 and math.sqrt(squares / (n - 1) / n) or 0 }
end

-- Walks to `count` states of the environment: along episodes of the policy, each time some steps on.
local function each_state(env, policy, o, visit)
  local seeds = orrery.stream(o.seed, 7)
  local limit, visited = env.max_steps > 0 and env.max_steps or 1000, 0
  local space = env.action_space
  while visited < o.states do
    local seed = seeds:whole()
    local observation = env:reset(seed)
    orrery.policy.reset(policy, seed)
    for step = 1, limit do
      if (step - 1) % o.every == 0 then
        visited = visited + 1
        visit(observation, step, visited)
        if visited == o.states then return end
      end
      local terminated, truncated, _
      local action = orrery.policy.action(space, policy:act(observation, { step = step, env = env }))
      observation, _, terminated, truncated = env:step(action)
      if terminated or truncated then break end
    end
  end
end

-- What functions of a task get of the world in place of probabilities: whether each event happened, by its label.
local function happened(labels, inputs, s, a, next, values)
  local all = setmetatable({}, { __index = function(_, name)
    check.fail("audit_plans: the task reads '%s', of which only the environment knows whether it happened: give the "
      .. "event a label, a function of (s, a, next)", name)
  end })
  for name in pairs(inputs or {}) do all[name] = values[name] end
  for name, label in pairs(labels) do
    local value = label(s, a, next)
    all[name] = type(value) == "boolean" and (value and 1 or 0) or value
  end
  return all
end

-- The task as the world can tell it: a learned event is what its label says, and where its label is that the episode
-- ended, the environment ends it itself. Constraints choose plans, and change no return.
local function in_the_world(model, given)
  if type(given) == "function" then given = { reward = given } end
  if not model.events or type(given) ~= "table" or trace.is_interpreted(given) or trace.is_interpreted(given.reward)
    or trace.is_interpreted(given.termination) then return given end
  local task, labels, termination = {}, {}, {}
  for name, value in pairs(given) do task[name] = value end
  for name, event in pairs(model.events.list) do
    if type(event.label) == "function" then labels[name] = event.label end
  end
  local function told(f)
    return function(s, a, next, t, values) return f(s, a, next, t, happened(labels, given.inputs, s, a, next, values)) end
  end
  for _, entry in ipairs(type(given.termination) == "table" and given.termination or { given.termination }) do
    local event = model.events.list[entry]
    if event and event.label and not labels[entry] then
      check.fail("audit_plans: the label of event '%s' is marked with orrery.interpret, and cannot end plans here", entry)
    end
    if type(entry) == "function" then termination[#termination + 1] = told(entry)
    elseif not event or event.label then termination[#termination + 1] = labels[entry] or entry end
  end
  task.termination, task.constraint = termination, nil
  task.reward = type(given.reward) == "function" and told(given.reward) or nil
  return task
end

--- model:audit_plans(env, options): makes plans with the model in states of the environment, and plays
--- each, open loop, on copies of it; random plans beside them. The environment's state must not be
--- hidden; it is moved.
---   task       { reward = function(s, a, next, t), termination = ... }, or the reward
---   planner    orrery.plan.cem {}
---   particles  as in orrery.mpc
---   states     20, in which plans are made
---   every      10 steps from one to the next
---   policy     that walks there: the planner itself, in closed loop; "random": at random
---   noise      8: how often each plan is played, where the environment is random
---   seed       0
--- In the world events that the model learns are what their labels say.
--- Answers { optimised, random }, each with means over the states: planned and realised return, gap (the
--- one less the other), gap_error (its standard error), and plans, a list of { planned, realised, step }.
--- A planned return is scored anew, by other random numbers than those for which the plan was chosen.
--- print() shows a table, :plot() a picture.
return function(model, env, options)
  local o = check.options("audit_plans options", options, { task = "any", planner = "any", particles = "optional number",
    states = 20, every = 10, policy = "any", noise = 8, seed = 0 })
  if not o.task then
    check.fail("audit_plans options: a task is needed, as in { task = { reward = function(s, a, next) ... end } }")
  end
  for _, name in ipairs { "states", "every", "noise" } do
    if math.type(o[name]) ~= "integer" or o[name] < 1 then
      check.fail("audit_plans options: %s must be a whole number, 1 or more, not %s", name, o[name])
    end
  end
  local planner = o.planner or orrery.plan.cem {}
  local function controller()
    return orrery.mpc { model = model, task = o.task, planner = planner, particles = o.particles, seed = o.seed }
  end
  local mpc = controller() -- makes the plans; another one walks
  local world = orrery.mpc { env = env, task = in_the_world(model, o.task), planner = planner, particles = o.noise,
    seed = o.seed }
  local policy = o.policy == "random" and orrery.policy.random(env)
    or orrery.policy.of(o.policy or controller(), "audit_plans")
  local space, stream = env.action_space, orrery.stream(o.seed, 8)
  local found = { optimised = {}, random = {} }

  local function compare(kind, observation, plan, step, seed)
    local given = { step = step - 1, seed = seed }
    local function by(what) return what:objective():score(observation, plan:insert_axis(1), given)[1] end
    local planned, realised = by(mpc), by(world)
    if planned - realised == planned - realised then -- both are finite
      table.insert(found[kind], { planned = planned, realised = realised, step = step })
    end
  end

  local function visit(observation, step, number)
    mpc:reset(number)
    mpc:act(observation)
    local plan = mpc:plan()
    compare("optimised", observation, plan, step, number)
    local actions = {}
    for t = 1, plan:size(1) do actions[t] = space:flatten(space:sample(stream)):totable() end
    compare("random", observation, orrery.tensor(actions), step, number)
  end
  each_state(env, policy, o, visit)
  for _, kind in ipairs(kinds) do
    if #found[kind] == 0 then check.fail("audit_plans: no %s plan had finite returns", kind) end
    found[kind] = summary(found[kind])
  end
  return setmetatable(found, Audit)
end
