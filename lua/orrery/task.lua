--- task.lua - tasks, as planners and programs read them: what is asked for in a table or a reward alone,
--- checked once.
local orrery = require "orrery"
local check = require "orrery.check"
local trace = require "orrery.trace"
local core = orrery.trace_core

local task = {}

local function is_function(f) return type(f) == "function" or trace.is_interpreted(f) ~= nil end

-- The name of an event that the model learns, or an error that says which there are.
local function check_event(name, what, events)
  if not events then
    check.fail("%s '%s': an event is learned by a model, as in orrery.model { events = ... }; give a function", what,
      name)
  end
  for _, known in ipairs(events) do
    if known == name then return name end
  end
  check.fail("%s", check.unknown(what .. ": events of the model", name, events))
end

-- One entry, or a list of them, as a list.
local function list_of(value, is_entry)
  if value == nil then return {} end
  if is_entry(value) then return { value } end
  if type(value) == "table" then return value end
  return { value }
end

local function read_terminations(given, events)
  local list = list_of(given, function(v) return is_function(v) or type(v) == "string" end)
  for _, entry in ipairs(list) do
    if type(entry) == "string" then check_event(entry, "termination", events)
    elseif not is_function(entry) then
      check.fail("termination must be a function of (s, a, next, t) or the name of an event, not a %s", type(entry))
    end
  end
  return list
end

local function read_constraints(given, events)
  local list = {}
  for i, entry in ipairs(list_of(given, function(v) return type(v) == "table" and v.event ~= nil end)) do
    local o = check.options("constraint", entry, { event = "any", below = "optional number" })
    if type(o.event) == "string" then check_event(o.event, "constraint", events)
    elseif type(o.event) ~= "function" then
      check.fail("constraint: event must be a function of (s, a, next, t) or the name of an event, not %s",
        o.event == nil and "nothing" or "a " .. type(o.event))
    end
    if not (o.below and o.below >= 0 and o.below <= 1) then
      check.fail("constraint: below must be a probability, 0 to 1, as in { event = \"fallen\", below = 0.05 }")
    end
    list[i] = o
  end
  return list
end

local parts = { "afterwards", "constraint", "inputs", "name", "policy", "reward", "success", "termination", "value" }
local of_mpc = { particles = true, planner = true, propagation = true, risk = true, sample = true, seed = true }

--- task.check(given, who): refuses fields that look like misspelt ones, or belong to an mpc's options. Others are
--- the user's own.
function task.check(given, who)
  for _, name in ipairs(check.sorted_keys(given)) do
    local known = false
    for _, part in ipairs(parts) do known = known or part == name end
    local near = not known and check.nearest(name, parts)
    if near then check.fail("%s: a task has no '%s'; did you mean '%s'?", who, name, near) end
    if of_mpc[name] then check.fail("%s: '%s' is no part of a task, but an option of orrery.mpc", who, name) end
  end
end

local reserved = { s = true, a = true, next = true, t = true, state = true, plan = true, time = true, carry = true,
                   action = true }

-- The tensor itself, so that whoever writes to it is heard; of a view with gaps, or other numbers, a copy.
local function input_tensor(name, value)
  if type(value) == "table" and value[1] ~= nil then return orrery.tensor(value) end
  if not orrery.is_tensor(value) then
    check.fail("task: the input '%s' must be a number, a tensor or a list of numbers, not a %s", name,
      type(value) == "table" and "table of named fields" or type(value))
  end
  if value:dtype() ~= "real" then return value:to "real" end
  return value:axes() > 0 and value:reshape(value:shape()) or value
end

local function read_inputs(given, events)
  local inputs = { names = check.sorted_keys(given or {}), values = {} }
  for _, name in ipairs(inputs.names) do
    for _, event in ipairs(events or {}) do
      if event == name then check.fail("task: '%s' is an input and an event", name) end
    end
    if reserved[name] then check.fail("task: an input cannot be called '%s', which a rollout has itself", name) end
    local value = given[name]
    inputs.values[name] = type(value) == "number" and orrery.full(value) or input_tensor(name, value)
  end
  return inputs
end

local function read_function(given, name)
  local f = given[name]
  if f ~= nil and type(f) ~= "function" then
    check.fail("task: %s must be a function of the state, not a %s", name, type(f))
  end
  return f
end

-- orrery.tasks.pendulum, which makes a task, is a function and would do for a reward; so would ball_game.pass.
local function check_called(f, who, list, where)
  for _, name in ipairs(check.sorted_keys(list or orrery.tasks)) do
    local known, full = (list or orrery.tasks)[name], (where or "") .. name
    if rawequal(known, f) then
      check.fail("%s: call it, as in task = orrery.tasks.%s(), which gives the task", who, full)
    end
    if not list and type(known) == "table" then check_called(f, who, known, full .. ".") end
  end
end

--- task.read(given, events, extra): the task with lists in place of what may be one thing or several. given: a
--- table, or the reward alone; events: names that a model learns, or nil; extra: a table whose constraint,
--- value and policy take the place of the task's.
---   reward        function(s, a, next, t, given)
---   termination   function(s, a, next, t, given), the name of a learned event, or a list: ends the episode
---   success       function(s, a, next, t, given): whether the state reached is a success; for orrery.evaluate and
---                 the like, no planner looks at it
---   afterwards    0: reward of every step after the end
---   constraint    { event =, below = } or a list: the event, a function as above or the name of a learned
---                 one, is to happen within the horizon with a lower probability
---   value         function(s): adds what is to come after the horizon
---   policy        function(s): proposes plans
---   inputs        { goal = 1 }: numbers and tensors by name, which mpc:set_input changes; or who changes the
---                 tensor's numbers (not while a thread plans). Functions get them, with the probabilities of
---                 learned events, in a table as their last argument: given.goal
function task.read(given, events, extra)
  if is_function(given) then check_called(given, "task") end
  if is_function(given) then given = { reward = given } end
  if given == nil then given = {} end
  task.check(given, "mpc")
  local function chosen(name)
    if extra and extra[name] ~= nil then return extra[name] end
    return given[name]
  end
  if given.afterwards ~= nil and type(given.afterwards) ~= "number" then
    check.fail("task: afterwards must be a number, not a %s", type(given.afterwards))
  end
  return {
    name = given.name, reward = given.reward, afterwards = given.afterwards or 0,
    terminations = read_terminations(given.termination, events),
    constraints = read_constraints(chosen "constraint", events),
    value = read_function({ value = chosen "value" }, "value"),
    policy = read_function({ policy = chosen "policy" }, "policy"),
    inputs = read_inputs(given.inputs, events),
  }
end

--- task.refuse_value(who, f, name, value): raises that the task's function f, its "reward", "termination" or
--- "success", gave no number.
function task.refuse_value(who, f, name, value)
  local _, _, source, line = core.info(trace.is_interpreted(f) or f)
  local what = value == nil and "nothing" or "a " .. type(value)
  if orrery.is_tensor(value) then
    what = ("values of shape [%s]; join them, as in (x - y):abs():sum()"):format(table.concat({ value:shape() }, ", "))
  end
  check.fail("%s: the %s of %s:%d must return a number%s, not %s", who, name, source, line,
    name == "reward" and "" or ", or true or false", what)
end

--- task.blame(name, f, ...): f(...), of a task's functions; a field that is not there is told with the task's name.
function task.blame(name, f, ...)
  local results = table.pack(pcall(f, ...))
  if results[1] then return table.unpack(results, 2, results.n) end
  local message = results[2]
  if name and type(message) == "string" and message:find("no field '", 1, true) then
    message = ("%s; the task '%s' reads it: is it for another environment?"):format(message, name)
  end
  error(message, 0)
end

-- The plain function, also of one that orrery.interpret has marked; nil for anything else.
local function function_of(f)
  if type(f) == "function" then return f end
  return type(f) == "table" and trace.is_interpreted(f) or nil
end

--- task.holds(value, f, name, who): whether what the task's function f, its "termination" or "success", gave for a
--- real step means yes: true, or a number above 0.5, as of probabilities. Anything less means no, also 0, which Lua
--- alone would take for true, and NaN. value: of any of these kinds, or a symbol.
function task.holds(value, f, name, who)
  if orrery.is_tensor(value) and value:count() == 1 then value = value:item() end
  if value == nil or type(value) == "boolean" then return value == true end
  if type(value) ~= "number" and not trace.is_symbol(value) then task.refuse_value(who, f, name, value) end
  return value > 0.5
end

-- Of one thing or a list what a real episode may end by: what a model learned, a name, tells nothing of that.
local function real_termination(given, who)
  if type(given) ~= "table" or function_of(given) then return function_of(given) end
  local list = {}
  for _, entry in ipairs(given) do list[#list + 1] = function_of(entry) end
  if #list < 2 then return list[1] end
  return function(...)
    for _, f in ipairs(list) do
      if task.holds(f(...), f, "termination", who) then return true end
    end
    return false
  end
end

--- task.functions(given, who): what there is to say of real steps: { name, reward, termination, success,
--- inputs }, plain functions or nil; an empty table without a task. given: a task, or its reward alone. What
--- termination and success answer is read by task.holds.
function task.functions(given, who)
  if given == nil then return {} end
  check_called(given, who)
  if function_of(given) then given = { reward = given } end
  if type(given) ~= "table" or not function_of(given.reward) then
    check.fail("%s: a task is a table with a function `reward`, as in { reward = function(s, a) ... end }", who)
  end
  task.check(given, who)
  local inputs = {}
  for name, value in pairs(given.inputs or {}) do
    inputs[name] = type(value) == "number" and value or input_tensor(name, value)
  end
  if given.success ~= nil and not function_of(given.success) then
    check.fail("%s: success must be a function of (s, a, next, t), not a %s", who, type(given.success))
  end
  return { name = given.name, reward = function_of(given.reward), success = function_of(given.success),
           termination = real_termination(given.termination, who), inputs = inputs }
end

--- task.weighs_risk(risk): whether an option `risk` asks for more than the mean over particles.
function task.weighs_risk(risk)
  if type(risk) == "table" then return risk[1] ~= "mean" or risk.over ~= nil end
  return risk ~= nil and risk ~= "mean"
end

--- task.limits(read): the limits of its side constraints, or nil.
function task.limits(read)
  local limits = {}
  for i, constraint in ipairs(read.constraints) do limits[i] = constraint.below end
  return #limits > 0 and limits or nil
end

--- task.describe(read): its named inputs, as inputs of a program.
function task.describe(read)
  local list = {}
  for i, name in ipairs(read.inputs.names) do
    list[i] = { name = name, level = "uniform", shape = { read.inputs.values[name]:shape() } }
  end
  return list
end

--- task.call(fn, name, arguments, given): in a trace: the function's number, given being its last argument
--- where it takes so many and there is anything.
function task.call(fn, name, arguments, given)
  local list = table.move(arguments, 1, #arguments, 1, {})
  if next(given) and core.parameters(fn) > #arguments then list[#list + 1] = trace.named(given) end
  local value = trace.inline { fn = fn, arguments = list, name = name, returns = "number", step = 4 }
  if type(value) == "boolean" then value = value and 1 or 0 end
  return trace.number(value)
end

-- An action that a function gave, of whatever form, as a flat symbol.
local function action_vector(space, value)
  if trace.is_record(value) then value = trace.vector(value) end
  if type(value) == "table" then
    local fields, parts = trace.fields(space), {}
    for i, field in ipairs(fields) do
      local part = value[field.name]
      if part == nil and #value == 0 then check.fail("the policy gave no '%s'", field.name) end
      parts[i] = part and trace.number(part):reshape(field.count)
    end
    value = #parts < #fields and orrery.stack(value) or orrery.concat(parts)
  end
  return trace.number(value):reshape(space.size)
end

--- task.action(policy, s, given, space): in a trace: what a policy does in the state s, a record, as a flat symbol that
--- may be out of bounds; given: values of the task's inputs.
function task.action(policy, s, given, space)
  local arguments = { s, next(given) and trace.named(given) or nil }
  return action_vector(space, trace.inline { fn = policy, name = "policy", arguments = arguments })
end

return task
