--- agent_tasks.lua - the tasks of a learner: whose reward a step brings, and the identifier z that nets see.
local check = require "orrery.check"
local orrery = require "orrery"
local task = require "orrery.task"
local trace = require "orrery.trace"

local tasks = {}

-- One of the tasks, as task.read has it, with success and z besides.
local function read_one(self, given, i)
  local read = task.read(given)
  if not read.reward then
    check.fail("%s options: task %d has no reward, as in { reward = function(s, a, next) ... end }", self.name, i)
  end
  read.given = given
  if type(given) == "table" then
    read.success = given.success
    read.z = given.z ~= nil and orrery.tensor(given.z):reshape(-1) or nil
  end
  return read
end

--- tasks.read(self, o): the list of tasks in the options; empty: the environment's own reward. Of several each must
--- have an identifier z, all of one length; those without any get one-hot ones.
function tasks.read(self, o)
  if o.task ~= nil and o.tasks ~= nil then
    check.fail("%s options: give a task or a list of tasks, not both", self.name)
  end
  local list, known = {}, 0
  for i, given in ipairs(o.tasks or { o.task }) do
    list[i] = read_one(self, given, i)
    if list[i].z then known = known + 1 end
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
    names[i] = one.name or tostring(i)
  end
  check.fail("%s", check.unknown(self.name .. " agent: tasks", which, names))
end

-- Reward, termination and success of every copy's step, by the task that it is at.
local function verdict_program(self)
  local inputs = {
    { name = "s", space = self.observation_space }, { name = "a", space = self.action_space },
    { name = "next", space = self.observation_space }, { name = "t", counts = true }, { name = "which" },
  }
  local function fn(s, a, next, t, which)
    local outputs = {}
    for i, one in ipairs(self.tasks) do
      local given = one.inputs.values
      local function call(f, name) return task.call(f, name, { s, a, next, t }, given) end
      local ended = trace.number(0)
      for _, f in ipairs(one.terminations) do ended = orrery.max(ended, call(f, "termination")) end
      local own = { reward = call(one.reward, "reward"), terminated = ended,
                    success = one.success and call(one.success, "success") or nil }
      for name, value in pairs(own) do
        local others = outputs[name] or trace.number(0)
        outputs[name] = i == 1 and value or orrery.select(orrery.equal(which, i), value, others)
      end
    end
    return outputs
  end
  return trace.program { name = self.name .. ", tasks", inputs = inputs, fn = fn }
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
  self.which = orrery.zeros(self.copies)
  self.z = self.identifiers > 0 and orrery.zeros(self.copies, self.identifiers) or nil
  for i = 1, self.copies do assign(self, i) end
  publish(self)
end

--- tasks.step(self, actions): a step of self.many, with the rewards, ends and successes of the tasks.
function tasks.step(self, actions)
  local many = self.many
  if #self.tasks == 0 then
    many:step(actions)
    return
  end
  self.verdict = self.verdict or verdict_program(self)
  many:advance(actions)
  many:settle(self.verdict:run({ s = many.observation, a = many.action, next = many.final_observation, t = many.time,
                                 which = self.which }))
  if #self.tasks == 1 then return end
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
