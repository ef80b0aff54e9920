--- relabel_sample.lua - how replay:sample and replay:windows answer where goals are replaced, or returns are
--- of several steps.
local check = require "orrery.check"
local identifiers = require "orrery.identifiers"
local orrery = require "orrery"
local record = require "orrery.trace_record"
local relabel = require "orrery.relabel"
local rewards = require "orrery.relabel_rewards"
local trace = require "orrery.trace"

local sampler = {}

local SAME_Z = 1e-9 -- squared distance of identifiers that are the same

-- ---- which goal for which transition

local function keep_some(source, share, stream)
  if share == 1 then return source end
  return orrery.where(orrery.less(stream:uniforms(#source), share), source, 0):to "int"
end

-- Each transition's task, an int tensor; 0: it keeps its own.
local function choose_task(r, replay, index, stream)
  if not r.strategy then return stream:integers(1, #r.tasks, #index) end
  local result = r.strategy:choose(replay, index, stream)
  local chosen = result.goal and result.goal:reshape(-1) or orrery.ones(#index)
  if #chosen ~= #index or orrery.min_along(chosen) < (result.source and 0 or 1)
    or orrery.max_along(chosen) > #r.tasks then
    check.fail("relabel.tasks: choose must give the number of a task, 1 to %d", #r.tasks)
  end
  if result.source then chosen = orrery.where(orrery.less(0, result.source), chosen, 0) end
  return chosen:to "int"
end

-- Raises where the replay lacks a field that the strategy replaces or reads.
local function check_fields(r, replay)
  local names = {}
  for _, space in ipairs { replay.observation_space, replay.observation_extras } do
    for _, name in ipairs(space.names) do names[name] = true end
  end
  for _, option in ipairs { "desired", r.parts and "achieved" or nil } do
    local name = r[option]
    if not names[name] and r.tasks then
      check.fail("relabel.tasks: the replay has no field '%s' for the tasks' identifiers (it has %s); name its own with "
        .. "the option field, or make it with observation_extras = { { '%s', shape = { %d } } }", name,
        table.concat(check.sorted_keys(names), ", "), name, r.values:size(2))
    elseif not names[name] then
      check.fail("%s; which field of the replay is replaced, and from which, say the options desired and achieved",
        check.unknown("relabel." .. r.name, name, check.sorted_keys(names)))
    end
  end
end

-- Raises where a strategy's goals are not of the field's size, or not numbers; or a weight is none.
local function check_results(r, replay, given)
  local name, found, place = r.desired, given.goal:count() // given.goal:size(1), r.strategy:place()
  local field = record.fields(replay.observation_space).by_name[name]
    or record.fields(replay.observation_extras).by_name[name]
  local wanted = field.count
  if found ~= wanted then
    check.fail("relabel.custom: the goal of the strategy of %s has %d number%s, '%s' has %d", place, found,
      found == 1 and "" or "s", name, wanted)
  end
  if not given.goal:all_finite() then
    check.fail("relabel.custom: the strategy of %s gives a goal that is NaN or infinite", place)
  end
  if given.weight and not (given.weight:all_finite() and orrery.min_along(given.weight) >= 0) then
    check.fail("relabel.custom: the strategy of %s gives a weight that is below 0, NaN or infinite", place)
  end
end

-- What replay:read needs to replace goals, which rows that concerns, and what a strategy gave besides; nil: all
-- transitions stay as they were.
local function choose(r, replay, index, stream)
  local n, goals, more = #index, { desired = r.desired, achieved = r.achieved }, {}
  check_fields(r, replay)
  if r.parts then
    goals.source = replay:choose_goals(index, r.parts, { stream = stream })
  elseif r.tasks then
    goals.values = r.values
    goals.source = keep_some(choose_task(r, replay, index, stream), r.share, stream)
    more.task = goals.source:to "real"
  else
    more = r.strategy:choose(replay, index, stream)
    if not more.goal then return nil end
    check_results(r, replay, more)
    goals.values = more.goal
    goals.source = keep_some(more.source or orrery.arange(1, n):to "int", r.share, stream)
  end
  return goals, orrery.less(0, goals.source), more
end

-- ---- reading

local standard = {
  sample = { "observation", "action", "reward", "next_observation", "terminated" },
  windows = { "observation", "action", "reward", "terminated", "mask" },
}

-- The fields asked for, or the standard ones with all extra fields.
local function fields_of(replay, kind, fields)
  if fields then return fields end
  local list = table.move(standard[kind], 1, #standard[kind], 1, {})
  for _, field in ipairs(replay.observation_extras and replay.observation_extras.fields or {}) do
    list[#list + 1] = field.name
    if kind == "sample" then list[#list + 1] = "next_" .. field.name end
  end
  for _, field in ipairs(replay.step_extras and replay.step_extras.fields or {}) do list[#list + 1] = field.name end
  return list
end

local function put(batch, name, x)
  if batch[name] then batch[name]:assign(x) else batch[name] = x end
end

local function has(fields, ...)
  for _, field in ipairs(fields) do
    for _, name in ipairs { ... } do
      if field == name then return true end
    end
  end
  return false
end

-- Of each transition the number of the task whose identifier it has, as it was recorded, in this field.
local function own_task(tasks, replay, index, field)
  local z, number, nearest = replay:read(index, { fields = { field } })[field], orrery.zeros(#index), nil
  z = z:reshape(#index, -1)
  for i, own in ipairs(identifiers.read(tasks, "sample")) do
    if #own ~= z:size(2) then
      check.fail("sample: the tasks' identifiers z have %d numbers, the replay's field '%s' has %d", #own, field,
        z:size(2))
    end
    local off = orrery.sum(orrery.square(z - own:reshape(1, -1)), 2)
    local better = nearest and orrery.less(off, nearest) or orrery.ones(#index)
    number = orrery.where(better, i, number)
    nearest = nearest and orrery.min(off, nearest) or off
  end
  if orrery.max_along(nearest) > SAME_Z then
    check.fail("sample: a transition's z is that of none of the %d tasks; a learner of these tasks writes it as it "
      .. "acts, and an episode that is added has it in its field z", #tasks)
  end
  return number
end

-- Ends that a relabeling drops without having been told to: said once of each.
local function tell_dropped(r, tasks, more, data, relabeled)
  if r.keep_ends ~= nil or r.told or r.tasks or more.done or rewards.know_ends(tasks) then return end
  local dropped = (data.terminated:reshape(#relabeled, -1) * relabeled:reshape(-1, 1)):sum()
  if dropped == 0 then return end
  r.told = true
  trace.notice(("relabel.%s: an end that was recorded does not count with another goal, as the task has no "
    .. "termination; keep_ends = true keeps it, for environments that end episodes by accidents, keep_ends = false "
    .. "is silent"):format(r.name))
end

-- The tasks that reward a transition for what it was recorded for, and the number of its own (nil: there is one).
local function tasks_of(r, o, replay, index)
  if o.tasks then return o.tasks, own_task(o.tasks, replay, index, "z") end
  if o.task == nil and r and r.tasks then return r.tasks, own_task(r.tasks, replay, index, r.desired) end
  return { o.task or r and r.task }
end

-- reward and terminated of what `data` holds of these transitions, or of windows of `length`.
local function write_rewards(r, o, replay, index, data, length, goals, relabeled, more)
  local function write(rows, keeps, tasks, number)
    if #tasks == 0 then
      check.fail("sample: with another goal the reward is another one, too: give the task, as in { relabel = r, task = "
        .. "{ reward = function(s, a, next) ... end } }")
    end
    local task = tasks[1]
    local key = #tasks == 1 and (type(task) == "table" and task.reward or task) or tasks -- not a table made each time
    rewards.write(key, tasks, replay, index, data,
      { length = length, goals = goals, rows = rows, keeps = keeps, task = number })
  end
  local everything = o.anew or not r
  local others, own
  if everything or not r.tasks then others, own = tasks_of(r, o, replay, index) end
  local tasks, number = others, own
  if relabeled then
    if r.tasks then tasks, number = r.tasks, more.task end
    tell_dropped(r, tasks, more, data, relabeled)
    if #tasks > 0 or not more.reward then
      write(relabeled, r.tasks and rewards.OF_NO_TASK or r.keep_ends and rewards.ALL or rewards.NONE, tasks, number)
    end
  end
  if everything then
    write(relabeled and 1 - relabeled or orrery.ones(#index), rewards.ALL, others, own)
  end
  for from, to in pairs { reward = "reward", done = "terminated" } do
    if more and more[from] then
      if length and length > 1 then
        check.fail("sample: a strategy that gives %s itself works for single steps, not for windows or steps > 1", from)
      end
      put(data, to, orrery.where(relabeled, more[from]:reshape(-1), data[to]:reshape(-1)):reshape(data[to]:shape()))
    end
  end
  if relabeled and #tasks == 0 and not more.done and not r.keep_ends then -- nobody says that it is over
    put(data, "terminated", orrery.where(relabeled, 0, data.terminated:reshape(-1)):reshape(data.terminated:shape()))
  end
end

local function check_relabel(o)
  if o.anew and o.task == nil and o.tasks == nil and not (o.relabel and (o.relabel.task or o.relabel.tasks)) then
    check.fail("sample: anew = true computes all rewards by a task; give task = { reward = function(s, a, next) ... "
      .. "end }")
  end
  if o.relabel ~= nil and not relabel.is(o.relabel) then
    check.fail("sample: relabel must be a strategy, as orrery.relabel.future {} makes it, not a %s", type(o.relabel))
  end
end

-- What a strategy chose for these transitions: nil without one.
local function goals_of(o, replay, index, stream)
  if not o.relabel or o.relabel.name == "none" then return nil end
  return choose(o.relabel, replay, index, stream)
end

local function finish(o, batch, relabeled, more, n)
  if o.relabel then put(batch, "relabeled", relabeled or orrery.zeros(n)) end
  local weight = more and more.weight and orrery.where(relabeled, more.weight:reshape(-1), 1)
  if o.weight then
    put(batch, "weight", weight and weight * o.weight or o.weight)
    put(batch, "index", o.index)
  elseif weight then put(batch, "weight", weight)
  elseif o.relabel and o.relabel.strategy and batch.weight then batch.weight:fill(1) end -- an earlier batch's
  return batch
end

-- Whether rewards are computed: of what got another goal, or of everything.
local function is_rewarded(o, goals)
  return goals or o.anew or not o.relabel and (o.task or o.tasks)
end

-- Of single steps.
local function single(replay, index, o, fields, stream)
  local goals, relabeled, more = goals_of(o, replay, index, stream)
  local wants = has(fields, "reward", "terminated") or o.gamma
  local list = table.move(fields, 1, #fields, 1, {})
  for _, name in ipairs { "reward", "terminated" } do
    if wants and not has(fields, name) then list[#list + 1] = name end
  end
  local batch = replay:read(index, { fields = list, into = o.into, goals = goals })
  if wants and is_rewarded(o, goals) then
    write_rewards(o.relabel, o, replay, index, batch, nil, goals, relabeled, more)
  end
  if o.gamma then put(batch, "discount", o.gamma * (1 - batch.terminated)) end
  return finish(o, batch, relabeled, more, #index)
end

-- Of several steps: all that is "next" is read at the last step taken.
local function several(replay, index, o, fields, stream)
  local goals, relabeled, more = goals_of(o, replay, index, stream)
  local data = replay:read(index, { length = o.steps, fields = { "reward", "terminated", "mask" }, goals = goals })
  if is_rewarded(o, goals) then
    write_rewards(o.relabel, o, replay, index, data, o.steps, goals, relabeled, more)
  end
  local reward, discount, terminated, last =
    replay:returns(index, data.reward, data.terminated, data.mask, o.gamma or 0.99)
  local here, there = {}, {}
  for _, name in ipairs(fields) do
    local list = (name:find "^next_" or name == "truncated") and there or here
    list[#list + 1] = name
  end
  local batch = replay:read(index, { fields = here, into = o.into, goals = goals })
  replay:read(last, { fields = there, into = batch, goals = goals })
  put(batch, "reward", reward)
  put(batch, "terminated", terminated)
  put(batch, "discount", discount)
  return finish(o, batch, relabeled, more, #index)
end

local function stream_of(o) return o.stream or orrery.stream(orrery.random(1 << 53), 0) end

--- sampler.sample(replay, n, options): see replay:sample.
function sampler.sample(replay, n, options)
  local o = check.options("sample options", options,
    { fields = "any", into = "any", stream = "any", relabel = "any", task = "any", tasks = "optional table", steps = 1,
      anew = false, gamma = "optional number", beta = "optional number" })
  check_relabel(o)
  if o.steps ~= math.floor(o.steps) or o.steps < 1 then
    check.fail("sample options: steps must be a whole number, 1 or more, got %s", o.steps)
  end
  if o.gamma and not (o.gamma >= 0 and o.gamma <= 1) then
    check.fail("sample options: gamma must be 0 to 1, not %g", o.gamma)
  end
  local fields, stream = fields_of(replay, "sample", o.fields), stream_of(o)
  local index
  if replay.prioritised then
    index, o.index, o.weight = replay:draw_prioritised(n, { stream = stream, beta = o.beta })
  else
    if o.beta then check.fail("sample options: beta is for a replay made with prioritised = { alpha = 0.6 }") end
    index = replay:draw(n, { stream = stream })
  end
  if o.steps > 1 then return several(replay, index, o, fields, stream) end
  return single(replay, index, o, fields, stream)
end

--- sampler.windows(replay, n, length, options): see replay:windows.
function sampler.windows(replay, n, length, options)
  local o = check.options("windows options", options,
    { fields = "any", into = "any", stream = "any", partial = false, relabel = "any", task = "any" })
  check_relabel(o)
  local fields, stream = fields_of(replay, "windows", o.fields), stream_of(o)
  local index = replay:draw(n, { stream = stream, length = length, partial = o.partial })
  local goals, relabeled, more = goals_of(o, replay, index, stream)
  local list, wants = table.move(fields, 1, #fields, 1, {}), has(fields, "reward", "terminated")
  for _, name in ipairs { "reward", "terminated", "mask" } do
    if wants and is_rewarded(o, goals) and not has(fields, name) then list[#list + 1] = name end
  end
  local batch = replay:read(index, { fields = list, into = o.into, length = length, goals = goals })
  if wants and is_rewarded(o, goals) then
    write_rewards(o.relabel, o, replay, index, batch, length, goals, relabeled, more)
  end
  return finish(o, batch, relabeled, more, n)
end

return sampler
