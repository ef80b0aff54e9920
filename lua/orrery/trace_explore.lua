--- trace_explore.lua - all outcomes of a function's comparisons: it is run once for each path through
--- them, and what the paths return is joined by selects. Also what the hook of trace_closure.c asks.
local orrery = require "orrery"
local bytecode = require "orrery.trace_bytecode"
local capture = require "orrery.trace_capture"
local check = require "orrery.check"
local functions = require "orrery.trace_functions"
local shapes = require "orrery.trace_shapes"
local core = orrery.trace_core

local explore = {}

local MOST_PATHS = 256
local MOST_COMPARISONS = 128 -- on one path
explore.MOST_INSTRUCTIONS = 10000000 -- of one trace, or a plain call: what runs longer will not end

-- The exploration going on: { parent, path, position, outcomes, calls, memo }. A path is a list of steps,
-- { condition, outcome, where }.
local context

local function where() return core.where(capture.prefix) end
local function line_of(step) return bytecode.words(step.where):match(":(%d+)$") or "?" end

-- Raises, also where the function being traced catches errors.
local function refuse(message)
  functions.active.refused = functions.active.refused or message
  error(message, 0)
end

--- explore.swap(other): makes another exploration the one going on (nil: none) and returns this one.
function explore.swap(other)
  local before = context
  context = other
  return before
end

-- ---- comparisons

local function outcome_of(condition)
  local owner, node = core.key(condition)
  local c = context
  while c do
    local of_graph = c.outcomes[owner]
    if of_graph and of_graph[node] ~= nil then return of_graph[node] end
    c = c.parent
  end
end

local function remember(condition, outcome)
  local owner, node = core.key(condition)
  local of_graph = context.outcomes[owner] or {}
  context.outcomes[owner] = of_graph
  of_graph[node] = outcome
end

-- Which way a comparison goes on the path being followed: known, or decided before, or true first.
-- Where x < y is false, x >= y is true but for NaN: the step is marked, and its false side may be dropped.
local function decide(condition, opposite)
  if not context then
    error(where() .. ": symbols were compared outside of a function that is traced; use orrery.where", 0)
  end
  local known = outcome_of(condition)
  if known ~= nil then return known end
  local other = opposite and outcome_of(opposite)
  if other then return false end
  context.position = context.position + 1
  local step, here = context.path[context.position], where()
  if not step then
    if context.position > MOST_COMPARISONS then
      refuse(("%s: more than %d comparisons of the sample's values on one path: a loop whose end depends on the "
        .. "sample cannot be traced; give it a fixed length, or mark the function with orrery.interpret")
        :format(here, MOST_COMPARISONS))
    end
    step = { condition = condition, outcome = true, where = here, nan = other == false }
    context.path[context.position] = step
  end
  if step.where ~= here then
    refuse(("%s: the function takes another way when it is run again (line %s before): it depends on more than "
      .. "its arguments"):format(here, line_of(step)))
  end
  remember(condition, step.outcome)
  return step.outcome
end

-- number == symbol and x == x, which Lua itself never asks about. The latter is false where x is NaN;
-- a vector is one object and equals itself, as a tensor does.
local function decide_equal(symbol, number)
  if not core.is_symbol(symbol) then symbol, number = number, symbol end
  if symbol:axes() > 0 then return rawequal(symbol, number) end
  local condition = symbol:equal(number)
  local known = condition:known()
  if known then return known ~= 0 end
  return decide(condition)
end

--- explore.equal(a, b): whether two values, one a symbol, are equal on the path being followed.
explore.equal = decide_equal

-- ---- paths

local function words_of(path)
  local words = {}
  for i, step in ipairs(path) do
    words[i] = ("the comparison in line %s is %s"):format(line_of(step), tostring(step.outcome))
  end
  return table.concat(words, " and ")
end

local function lines_of(path)
  local seen, lines = {}, {}
  for _, step in ipairs(path) do
    local line = line_of(step)
    if not seen[line] then lines[#lines + 1] = line end
    seen[line] = true
  end
  return (#lines == 1 and "line " or "lines ") .. table.concat(lines, ", ")
end

-- Makes `path`, of which `length` steps were taken, the next one: its last comparison that was true
-- becomes false. False when there is none.
local function advance(path, length)
  for i = #path, length + 1, -1 do path[i] = nil end
  while #path > 0 and not path[#path].outcome do path[#path] = nil end
  if #path == 0 then return false end
  local last = path[#path]
  path[#path] = { condition = last.condition, outcome = false, where = last.where, nan = last.nan }
  return true
end

-- Only a NaN goes there. Where plain Lua has no answer for it, there is nothing to be equal to.
local function needs_nan(path)
  for _, step in ipairs(path) do
    if step.nan and not step.outcome then return true end
  end
  return false
end

local function join_leaves(leaves, depth)
  local leaf = leaves[leaves.at]
  local step = leaf.path[depth]
  if not step then
    leaves.at = leaves.at + 1
    return leaf.results, leaf
  end
  local yes, yes_leaf = join_leaves(leaves, depth + 1)
  local no, no_leaf = join_leaves(leaves, depth + 1)
  if not yes then return no, no_leaf end
  if not no then return yes, yes_leaf end
  local joined, problem = shapes.join(step.condition, yes, no)
  if not joined and needs_nan(no_leaf.path) then return yes, yes_leaf end
  if not joined then
    error(("%s: %s %s when %s, %s when %s; every path must return the same"):format(
      bytecode.words(step.where), leaves.name, problem[1], words_of(yes_leaf.path), problem[2],
      words_of(no_leaf.path)), 0)
  end
  return joined, yes_leaf
end

-- ---- what a function that is run several times must not do

local function snapshot(f)
  local values, i = {}, 1
  while true do
    local name, value = core.upvalue(f, i)
    if not name then return values end
    values[i] = { name = name, value = value }
    i = i + 1
  end
end

local function check_unassigned(f, before)
  local assigned = functions.active.session:assigned()
  for i, cell in ipairs(before) do
    local _, now = core.upvalue(f, i)
    if not rawequal(now, cell.value) then assigned = assigned or cell.name end
  end
  if assigned then
    functions.refuse(("assigns to '%s', which lives outside of it"):format(assigned), "return the value instead")
  end
end

-- An error on one path may be one that no sample ever meets.
local function explain(message, path)
  if type(message) ~= "string" or #path == 0 or functions.active.refused
    or message:find("every path is followed", 1, true) then
    return message
  end
  return ("%s\n(while tracing, where every path is followed: here %s)"):format(message, words_of(path))
end

local function run_path(f, arguments)
  local results = table.pack(check.try(f, table.unpack(arguments, 1, arguments.n)))
  local ok = table.remove(results, 1)
  results.n = results.n - 1
  return ok, results
end

--- explore.run(name, f, ...): f's results as table.pack gives them, all paths joined. `name` stands for
--- the function in messages.
function explore.run(name, f, ...)
  local arguments, path, leaves = table.pack(...), {}, { at = 1, name = name }
  local parent, before, memo = context, snapshot(f), {}
  repeat
    local mine = { parent = parent, path = path, position = 0, outcomes = {}, calls = 0, memo = memo }
    context = mine
    local ok, results = run_path(f, arguments)
    context = parent
    local taken = table.move(path, 1, mine.position, 1, {})
    local dropped = needs_nan(taken) and (functions.active.refused or not ok)
    if dropped then ok, results, functions.active.refused = true, nil, nil end
    if functions.active.refused then error(functions.active.refused, 0) end
    if not ok then error(explain(results[1], taken), 0) end
    check_unassigned(f, before)
    leaves[#leaves + 1] = { results = results, path = taken }
    if #leaves > MOST_PATHS then
      refuse(("%s: %s takes more than %d paths by its comparisons in %s; use orrery.where, math.max or "
        .. "math.min in place of some, or mark it with orrery.interpret"):format(
        bytecode.words(path[#path].where), name, MOST_PATHS, lines_of(path)))
    end
  until not advance(path, mine.position)
  return (join_leaves(leaves, 1))
end

--- explore.once(compute): compute()'s results; or those of an earlier run that took the same way up to
--- here: draws, scans and inlined functions are made once, not once for each path.
function explore.once(compute)
  local c = context
  if not c then return compute() end
  c.calls = c.calls + 1
  local outcomes = {}
  for i = 1, c.position do outcomes[i] = c.path[i].outcome and "y" or "n" end
  local key = table.concat(outcomes) .. c.calls
  local made = c.memo[key]
  if not made then
    made = table.pack(compute())
    c.memo[key] = made
  end
  return table.unpack(shapes.copy(made), 1, made.n)
end

-- ---- what C asks

-- Callbacks of the hook that watches copies run; `cells` holds the names of captured variables by id.
local watching = { cells = {}, equal = decide_equal, constant = bytecode.constant }

function watching.refuse(kind, detail)
  if kind == "assign" then
    functions.refuse(("assigns to '%s', which lives outside of it"):format(detail), "return the value instead")
  elseif kind == "key" then
    functions.refuse("uses a value of the sample as the key of a table",
      "keep the entries in a tensor and index that, or use orrery.where")
  end
  local message = ("%s: the function does not end: %d million instructions were run; one that needs more can be "
    .. "marked with orrery.interpret"):format(bytecode.words(where()), explore.MOST_INSTRUCTIONS // 1000000)
  if kind == "plain budget" then error(message, 0) end
  refuse(message)
end

--- explore.plainly(f, ...): what a plain function returns, that must end as one being traced must; in a coroutine,
--- where it may yield, it need not.
function explore.plainly(f, ...)
  if coroutine.isyieldable() then return f(...) end
  return core.limited(explore.MOST_INSTRUCTIONS, f, ...)
end

--- explore.watch_cell(id, name): assigning to that captured variable is refused.
function explore.watch_cell(id, name) watching.cells[id] = name end

--- explore.forget(): nothing is traced any more.
function explore.forget()
  bytecode.forget()
  watching.cells = {}
end

local function no_method(methods, name)
  local near = check.nearest(tostring(name), check.sorted_keys(methods))
  return ("a symbol has no '%s'%s"):format(tostring(name), near and ("; did you mean '%s'?"):format(near)
    or ": it is a number or an array to come, with elements x[1] and methods such as x:sum()")
end

core.on_decide(decide, no_method)
core.on_watch(watching)

return explore
