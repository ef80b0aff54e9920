--- agent_tasks.lua - the tasks of a learner: whose reward a step brings, and the identifier z that its nets see. A
--- single task is given to the vector environment; of several, every episode of every copy has the next in turn.
local check = require "orrery.check"
local judge = require "orrery.judge"
local orrery = require "orrery"
local task = require "orrery.task"

local tasks = {}

--- tasks.read(self, o): the list of tasks in the options, { name =, given =, z = }; empty: the environment's own
--- reward. Of several each must have an identifier z, all of one length; where none has, they are one-hot.
function tasks.read(self, o)
  if o.task ~= nil and o.tasks ~= nil then
    check.fail("%s options: give a task or a list of tasks, not both", self.name)
  end
  if o.tasks and #o.tasks == 0 then
    check.fail("%s options: tasks must be a list of at least one, as in { { name =, reward =, z = }, ... }", self.name)
  end
  local list, known, names = {}, 0, {}
  for i, given in ipairs(o.tasks or { o.task }) do
    local name = task.functions(given, self.name .. " options").name
    local z = type(given) == "table" and given.z ~= nil and orrery.tensor(given.z):reshape(-1) or nil
    list[i] = { name = name or ("task %d"):format(i), given = given, z = z }
    if names[list[i].name] then
      check.fail("%s options: tasks %d and %d are both called '%s'; reports and set_task tell them apart by name",
        self.name, names[list[i].name], i, list[i].name)
    end
    names[list[i].name] = i
    if z then known = known + 1 end
  end
  if #list < 2 and known == 0 then return list end
  if known > 0 and known < #list then
    check.fail("%s options: %d of %d tasks have an identifier z; all of them must have one, or none", self.name, known,
      #list)
  end
  for i, one in ipairs(list) do
    if known == 0 then
      one.z = orrery.zeros(#list)
      one.z[i] = 1
    end
    if one.z:size(1) ~= list[1].z:size(1) then
      check.fail("%s options: the identifier z of task %d has %d numbers, that of task 1 has %d", self.name, i,
        one.z:size(1), list[1].z:size(1))
    end
  end
  return list
end

--- tasks.find(self, which): a task's place, by place or name.
function tasks.find(self, which)
  if self.tasks[which] then return which end
  local names = {}
  for i, one in ipairs(self.tasks) do
    if one.name == which then return i end
    names[i] = one.name
  end
  check.fail("%s", check.unknown(self.name .. " agent: tasks", which, names))
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
