--- agent_tasks.lua - the tasks of a learner: whose reward a step brings, and the identifier z that its nets see. A
--- single task is given to the vector environment; of several, every episode of every copy has the next in turn.
local check = require "orrery.check"
local identifiers = require "orrery.identifiers"
local judge = require "orrery.judge"
local orrery = require "orrery"
local task = require "orrery.task"
local trace = require "orrery.trace"

local tasks = {}

-- A task that is another environment's, or whose reward is no number, is found here and not after the first steps.
-- What else goes wrong with zeros may be right with what is observed.
local function check_fit(self, one)
  if judge.is_marked(one.given) then return end
  local function row(size) return orrery.zeros(1, size) end
  local seen, done = self.observation_space, self.action_space
  local ok, message = check.try(function()
    judge.new(one.given, seen, done, self.name)(row(seen.size), row(done.size), row(seen.size), orrery.zeros(1))
  end)
  message = tostring(message)
  local field, number = message:find("no field '", 1, true), message:find("must return a number", 1, true)
  if ok or not (field or number) then return end
  local source = debug.getinfo(task.functions(one.given, self.name).reward, "S").source
  if number or source:find("lua/orrery/", 1, true) then message = message:gsub("^%S+:%d+: ", "") end
  message = message:gsub("^" .. self.name .. ": ", ""):gsub("; the task '.-' reads it: .*$", "")
  check.fail("%s options: %s does not fit the environment '%s': %s", self.name, one.called, self.env.name, message)
end

local function read(self, o)
  if o.task ~= nil and o.tasks ~= nil then
    check.fail("%s options: give a task or a list of tasks, not both", self.name)
  end
  if o.tasks and #o.tasks == 0 then
    check.fail("%s options: tasks must be a list of at least one, as in { { name =, reward =, z = }, ... }", self.name)
  end
  local list, has_z, names = {}, false, {}
  for i, given in ipairs(o.tasks or { o.task }) do
    local name = task.functions(given, self.name .. " options").name
    list[i] = { name = name or ("task %d"):format(i), given = given,
                called = name and ("the task '%s'"):format(name) or o.tasks and ("task %d"):format(i) or "the task" }
    if names[list[i].name] then
      check.fail("%s options: tasks %d and %d are both called '%s'; reports and set_task tell them apart by name",
        self.name, names[list[i].name], i, list[i].name)
    end
    names[list[i].name] = i
    has_z = has_z or type(given) == "table" and given.z ~= nil
  end
  if #list < 2 and not has_z then return list end
  for i, z in ipairs(identifiers.read(o.tasks or { o.task }, self.name .. " options")) do list[i].z = z end
  return list
end

--- tasks.read(self, o): the list of tasks in the options, { name =, given =, z = }; empty: the environment's own
--- reward. Of several each must have an identifier z, all of one length; where none has, they are one-hot.
function tasks.read(self, o)
  local list = read(self, o)
  for _, one in ipairs(list) do check_fit(self, one) end
  return list
end

local function reward_of(given) return type(given) == "table" and rawget(given, "reward") or given end

--- tasks.match(self, given): the place of a task that orrery.evaluate or agent:play was given: by itself, its reward or
--- its name; none: the one that was chosen. One that is none of several cannot be acted for.
function tasks.match(self, given)
  if given == nil or #self.tasks < 2 then return self.task or 1 end
  for _, same in ipairs {
    function(one) return rawequal(one.given, given) end,
    function(one) return rawequal(reward_of(one.given), reward_of(given)) end,
    function(one) return type(given) == "table" and given.name ~= nil and given.name == one.name end,
  } do
    for i, one in ipairs(self.tasks) do
      if same(one) then return i end
    end
  end
  if self.task then return self.task end
  check.fail("%s agent: the task to be judged by is none of its own (%s); choose one that it acts for, as in "
    .. "agent:set_task(1)", self.name, tasks.names(self))
end

--- tasks.names(self): its tasks, for messages.
function tasks.names(self)
  local names = {}
  for i, one in ipairs(self.tasks) do names[i] = one.name end
  return table.concat(names, ", ")
end

--- tasks.find(self, which): a task's place, by place or name.
function tasks.find(self, which)
  if #self.tasks == 0 then
    check.fail("%s agent: it has no tasks to choose from; make it with tasks = { { name =, reward = }, ... }", self.name)
  end
  if self.tasks[which] then return which end
  local names = {}
  for i, one in ipairs(self.tasks) do
    if one.name == which then return i end
    names[i] = one.name
  end
  check.fail("%s", check.unknown(self.name .. " agent: tasks", which, names))
end

--- tasks.with_identifiers(self): the tasks as they were given, each with its z, as replay:sample takes them.
function tasks.with_identifiers(self)
  local list = {}
  for i, one in ipairs(self.tasks) do
    list[i] = { z = one.z }
    if type(one.given) == "function" or trace.is_interpreted(one.given) then list[i].reward = one.given
    else
      for name, value in pairs(one.given) do list[i][name] = list[i][name] or value end
    end
  end
  return list
end

-- The next task in turn for copy i.
local function assign(self, i)
  self.turn = (self.turn or 0) % #self.tasks + 1
  self.which[i] = self.turn
  if self.z then self.z[i] = self.tasks[self.turn].z end
end

local function publish(self)
  if self.z and self.replay then self.many:set("z", self.z) end
end

--- tasks.start(self): every copy is at the start of an episode: gives out tasks.
function tasks.start(self)
  if #self.tasks == 0 then return end
  self.which = {}
  self.z = self.identifiers > 0 and orrery.zeros(self.copies, self.identifiers) or nil
  for i = 1, self.copies do assign(self, i) end
  publish(self)
end

-- What every copy's own task says of the step, as many:settle takes it.
local function verdict(self, many)
  local all, own = {}, {}
  for k, one in ipairs(self.tasks) do
    one.judge = one.judge or judge.new(one.given, self.observation_space, self.action_space, self.name)
    all[k] = one.judge(many.observation, many.action, many.final_observation, many.time)
    for name in pairs(all[k]) do own[name] = own[name] or orrery.zeros(self.copies) end
  end
  for name, values in pairs(own) do
    for i, k in ipairs(self.which) do
      if all[k][name] then values[i] = all[k][name][i] end
    end
  end
  return own
end

--- tasks.step(self, actions): a step of self.many, with the rewards, ends and successes of the tasks.
function tasks.step(self, actions)
  local many = self.many
  if #self.tasks < 2 then
    many:step(actions)
    return
  end
  many:advance(actions)
  many:settle(verdict(self, many))
  local changed = false
  for i = 1, self.copies do
    if many.terminated[i] ~= 0 or many.truncated[i] ~= 0 then
      assign(self, i)
      changed = true
    end
  end
  if changed then publish(self) end
end

return tasks
