--- relabel_rewards.lua - rewards and ends of transitions whose goal was replaced: the task's functions as a
--- program over the whole batch, which reads of the replay no more than these functions do.
local check = require "orrery.check"
local orrery = require "orrery"
local record = require "orrery.trace_record"
local task_module = require "orrery.task"
local trace = require "orrery.trace"
local core = orrery.trace_core

local rewards = {}

--- rewards.read(task): the task, checked: what relabeling needs of it is there.
function rewards.read(task)
  if trace.is_interpreted(task) then task = { reward = task } end
  if type(task) ~= "function" and type(task) ~= "table" then
    check.fail("relabel: a task is a table with a function `reward`, as in { reward = function(s, a, next) ... end }")
  end
  local read = task_module.read(task)
  if not (type(read.reward) == "function" or trace.is_interpreted(read.reward)) then
    check.fail("relabel: the task%s has no function `reward`; transitions with another goal need their reward anew",
      read.name and " '" .. read.name .. "'" or "")
  end
  for _, termination in ipairs(read.terminations) do
    if type(termination) == "string" then
      check.fail("relabel: the termination '%s' is an event that a model learns; a function is needed", termination)
    end
  end
  return read
end

local words = {} -- names that mean something else to replay:read
for _, name in ipairs { "observation", "action", "reward", "terminated", "truncated", "episode", "time", "length",
                        "mask" } do words[name] = true end

--- rewards.is_word(name): whether a field of this name is something else to replay:read.
function rewards.is_word(name) return words[name] or false end

--- rewards.has_plain_names(fields): whether each field is what replay:read finds under its name, and its
--- "next_".
function rewards.has_plain_names(fields)
  for _, field in ipairs(fields) do
    if words[field.name] or fields.by_name["next_" .. field.name] then return false end
  end
  return true
end

-- The sample s or next: its fields are inputs of the program, made when the task reads them.
local function sample_of(fields, name, prefix)
  if not rewards.has_plain_names(fields) then
    return record.new(fields, core.input(prefix .. "observation", "row", { fields.size }), name)
  end
  return record.lazy(fields, function(field)
    return core.input(prefix .. field.name, "row", field.shape)
  end, name)
end

-- Of one task: its reward, and whether it is over after the step (nil: it knows no end).
local function call_task(read, arguments, given)
  local reward = task_module.blame(read.name, task_module.call, read.reward, "reward", arguments, given)
  local ended
  for _, termination in ipairs(read.terminations) do
    local p = task_module.blame(read.name, task_module.call, termination, "termination", arguments, given)
    ended = ended and orrery.max(ended, p) or p
  end
  return reward, ended and orrery.less(0.5, ended) or trace.number(0)
end

-- Inputs that no field of an environment can be mistaken for.
local ANEW, KEEPS, NUMBER = "row is rewarded anew", "recorded ends that stay", "row's task"
local function input_name(i, name) return ("task %d: %s"):format(i, name) end

--- Which recorded ends stay beside those of the task: none, all, or those that none of the tasks tells of: these were
--- the environment's, which knows no tasks.
rewards.NONE, rewards.ALL, rewards.OF_NO_TASK = 0, 1, 2

local function ends_that_stay(keeps, own_terminated, results)
  local any = trace.number(0)
  for _, result in ipairs(results) do any = orrery.max(any, result[2]) end
  return own_terminated * orrery.where(orrery.equal(keeps, rewards.OF_NO_TASK), 1 - any, keeps)
end

local function program_of(replay, reads)
  local fields, actions = record.fields(replay.observation_space), record.fields(replay.action_space)
  local inputs = {
    { name = "action", space = actions }, { name = "time" }, { name = ANEW },
    { name = KEEPS, level = "uniform" }, { name = NUMBER }, { name = "reward" }, { name = "terminated" },
  }
  local values = {}
  for i, read in ipairs(reads) do
    for _, input in ipairs(task_module.describe(read)) do
      values[input_name(i, input.name)] = read.inputs.values[input.name]
      inputs[#inputs + 1] = { name = input_name(i, input.name), level = "uniform", shape = input.shape }
    end
  end
  local compiled = trace.program {
    name = "relabeled reward", inputs = inputs,
    fn = function(action, time, anew, keeps, number, own_reward, own_terminated, ...)
      local arguments = { sample_of(fields, "s", ""), action, sample_of(fields, "next", "next_"), time - 1 }
      local reward, ended, at, extra, results = own_reward, own_terminated, 0, { ... }, {}
      for i, read in ipairs(reads) do
        local given = {}
        for _, name in ipairs(read.inputs.names) do
          at = at + 1
          given[name] = extra[at]
        end
        results[i] = { call_task(read, arguments, given) }
      end
      local stays = ends_that_stay(keeps, own_terminated, results)
      for i, result in ipairs(results) do
        local chosen = #reads == 1 and anew or anew * orrery.equal(number, i)
        reward = orrery.where(chosen, result[1], reward)
        ended = orrery.where(chosen, orrery.max(result[2], stays), ended)
      end
      return { reward = reward, terminated = ended }
    end,
  }
  return compiled, values
end

local function is_plain(reads)
  for _, read in ipairs(reads) do
    if trace.is_interpreted(read.reward) then return true end
    for _, termination in ipairs(read.terminations) do
      if trace.is_interpreted(termination) then return true end
    end
  end
  return false
end

-- The fields of the replay that a program reads, by the names of its inputs.
local own = { [ANEW] = true, [KEEPS] = true, [NUMBER] = true, reward = true, terminated = true }
local function fields_of(compiled, values)
  local names = {}
  for _, name in ipairs(check.sorted_keys(compiled.program:inputs())) do
    if not own[name] and not values[name] then names[#names + 1] = name end
  end
  return names
end

-- ---- what was compiled, by the list of tasks and the replay

local cache = setmetatable({}, { __mode = "k" })

local function functions_of(reads)
  local list = {}
  for _, read in ipairs(reads) do
    list[#list + 1] = read.reward
    for _, termination in ipairs(read.terminations) do list[#list + 1] = termination end
    list[#list + 1] = false
  end
  return list
end

local function same(a, b)
  if #a ~= #b then return false end
  for i, f in ipairs(a) do
    if f ~= b[i] then return false end
  end
  return true
end

local function job_of(key, tasks, replay)
  local of_key = cache[key] or setmetatable({}, { __mode = "k" })
  cache[key] = of_key
  local reads = {}
  for i, task in ipairs(tasks) do reads[i] = rewards.read(task) end
  local functions, job = functions_of(reads), of_key[replay]
  if job and same(job.functions, functions) then
    for i, read in ipairs(reads) do
      for name, value in pairs(read.inputs.values) do job.values[input_name(i, name)] = value end
    end
    return job
  end
  job = { functions = functions, reads = reads, scratch = {}, values = {} }
  if is_plain(reads) then job.plain = true
  else job.compiled, job.values = program_of(replay, reads) end
  of_key[replay] = job
  return job
end

-- ---- running it

-- [n, length, ...] as rows; of observations [n, length + 1, ...] all but the last.
local function rows_of(x, n, length)
  if not length then return x:dtype() == "real" and x or x:to "real" end
  local sizes = { x:shape() }
  if sizes[2] ~= length then x = x:slice(1, length, 2) end
  x = x:reshape(n * length, table.unpack(sizes, 3))
  return x:dtype() == "real" and x or x:to "real"
end

-- A number for each transition, for each row.
local function spread(x, n, length)
  if not length then return x end
  return x:reshape(n, 1):broadcast(n, length):reshape(n * length)
end

local function read_fields(job, replay, index, names, options)
  local key = ("%d %d"):format(#index, options.length or 0)
  if job.key ~= key then job.key, job.scratch = key, {} end
  return replay:read(index, { fields = names, length = options.length, goals = options.goals, into = job.scratch })
end

local function run_compiled(job, replay, index, batch, options)
  local compiled = job.compiled
  if select(2, compiled:enter()) or not job.names then job.names = fields_of(compiled, job.values) end
  local n, length = #index, options.length
  local data = read_fields(job, replay, index, job.names, options)
  local inputs = {}
  for name, value in pairs(job.values) do inputs[name] = value end
  for _, name in ipairs(job.names) do inputs[name] = rows_of(data[name], n, length) end
  local anew = spread(options.rows, n, length)
  if length then anew = anew * batch.mask:reshape(n * length) end
  inputs[ANEW], inputs[KEEPS] = anew, orrery.full(options.keeps)
  inputs[NUMBER] = options.task and spread(options.task, n, length) or anew
  inputs.reward, inputs.terminated = rows_of(batch.reward, n, length), rows_of(batch.terminated, n, length)
  local out = compiled:run(inputs, { rows = n * (length or 1) })
  local function write(field) batch[field]:assign(length and out[field]:reshape(n, length) or out[field]) end
  write "reward"
  write "terminated"
end

-- A function, or one that is marked, of plain numbers.
local function call_plain(read, f, name, arguments)
  f = trace.is_interpreted(f) or f
  local list = table.move(arguments, 1, 4, 1, {})
  if next(read.inputs.values) then list[5] = read.inputs.values end
  local value = task_module.blame(read.name, f, table.unpack(list))
  if type(value) == "boolean" then return value and 1 or 0 end
  if orrery.is_tensor(value) and value:count() == 1 then value = value:item() end
  if type(value) ~= "number" then task_module.refuse_value("relabel", f, name, value) end
  return value
end

local function ends(read, arguments)
  for _, termination in ipairs(read.terminations) do
    if call_plain(read, termination, "termination", arguments) > 0.5 then return true end
  end
  return false
end

-- In plain Lua, row by row: what orrery.interpret asks for.
local function run_plain(job, replay, index, batch, options)
  local n, length = #index, options.length
  local data = read_fields(job, replay, index, { "observation", "action", "next_observation", "time" }, options)
  local function rows(name) return rows_of(data[name], n, length) end
  local s, a, after, t = rows "observation", rows "action", rows "next_observation", rows "time"
  local anew, keeps = spread(options.rows, n, length), options.keeps
  local number = options.task and spread(options.task, n, length)
  local reward, terminated = batch.reward:reshape(-1), batch.terminated:reshape(-1)
  local mask = length and batch.mask:reshape(-1)
  local seen, done = replay.observation_space, replay.action_space
  for k = 1, n * (length or 1) do
    if anew[k] ~= 0 and (not mask or mask[k] ~= 0) then
      local read = job.reads[number and number[k] or 1]
      local arguments = { record.new(seen, s[k]:totable(), "s"), record.new(done, a[k]:totable(), "a"),
                          record.new(seen, after[k]:totable(), "next"), t[k] - 1 }
      reward[k] = call_plain(read, read.reward, "reward", arguments)
      local stays = keeps ~= rewards.NONE and terminated[k] ~= 0
      local tell = stays and keeps == rewards.OF_NO_TASK and job.reads or {}
      for _, other in ipairs(tell) do stays = stays and not ends(other, arguments) end
      terminated[k] = (stays or ends(read, arguments)) and 1 or 0
    end
  end
end

-- Recorded rewards are finite, so that a task gave this one.
local function refuse_bad(reads, rewards_of, options)
  local flat = rewards_of:reshape(-1)
  for k = 1, #flat do
    local x = flat[k]
    if x ~= x or x == math.huge or x == -math.huge then
      local row = (k - 1) // (options.length or 1) + 1
      local read = reads[options.task and options.task[row] or 1]
      local _, _, source, line = core.info(trace.is_interpreted(read.reward) or read.reward)
      local whose = read.name and (" of the task '%s'"):format(read.name) or ""
      check.fail("sample: the reward%s of %s:%d is %s for transition %d of the batch, with the goal and the task that "
        .. "it got; rewards must be finite: see orrery.clamp and orrery.max", whose, source, line,
        x ~= x and "NaN" or "infinite", row)
    end
  end
end

--- rewards.write(key, tasks, replay, index, batch, options): batch.reward and batch.terminated of these
--- transitions, read with the same goals, become those of their new goals. key: what a program is kept by,
--- as long as the functions stay the same; tasks: a list. options: length (of windows; then batch.mask is
--- read), goals (as of replay:read), rows (1 where that is to be done), task (numbers of tasks, real; nil: the only
--- one), keeps (which recorded ends stay).
function rewards.write(key, tasks, replay, index, batch, options)
  local job = job_of(key, tasks, replay)
  local run = job.plain and run_plain or run_compiled
  run(job, replay, index, batch, options)
  if not batch.reward:all_finite() then refuse_bad(job.reads, batch.reward, options) end
end

--- rewards.know_ends(tasks): whether a task says when an episode is over.
function rewards.know_ends(tasks)
  for _, task in ipairs(tasks) do
    if #rewards.read(task).terminations > 0 then return true end
  end
  return false
end

return rewards
