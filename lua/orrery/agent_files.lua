--- agent_files.lua - agents in files: what is needed to go on bit for bit.
local check = require "orrery.check"
local meaning = require "orrery.meaning"
local orrery = require "orrery"

local STREAMS = { "seeds", "draws", "choosing" }
local COUNTS = { "steps", "acts", "turn", "trained", "waiting", "renewed" }

-- 64 bits as two ints.
local function halves(number)
  local function signed(x) return x >= 1 << 31 and x - (1 << 32) or x end
  return signed(number >> 32), signed(number & 0xffffffff)
end

-- Counts and streams as one int tensor.
local function pack(self)
  local list = {}
  local function add(number) list[#list + 1], list[#list + 2] = halves(number) end
  for _, name in ipairs(COUNTS) do add(self[name] or 0) end
  for _, name in ipairs(STREAMS) do
    for _, number in ipairs(self[name]:state()) do add(number) end
  end
  add(self.replay and #self.replay or 0) -- the last, so that it can be found in a file
  return orrery.tensor(list, "int")
end

-- How many transitions were saved beside the file.
local function experience_of(path)
  local done, tensors = pcall(orrery.load_tensors, path)
  if not done then check.fail("agent:load: %s", check.without_place(tensors)) end
  return tensors.agent and tensors.agent[tensors.agent:count()]
end

local function unpack_into(self, packed)
  local at = 0
  local function take()
    at = at + 2
    return math.tointeger(packed[at - 1]) << 32 | math.tointeger(packed[at]) & 0xffffffff
  end
  for _, name in ipairs(COUNTS) do self[name] = take() end
  for _, name in ipairs(STREAMS) do self[name]:state { take(), take(), take() } end
end

-- Names and tensors of everything, and how many of them are each update's.
local function state_of(self)
  local names, tensors, parts = { "agent" }, { pack(self) }, {}
  local function add(prefix, more_names, more)
    for i, name in ipairs(more_names) do
      names[#names + 1], tensors[#tensors + 1] = prefix .. name, more[i]
    end
  end
  for _, key in ipairs(check.sorted_keys(self.updates)) do
    local more_names, more = self.updates[key]:state()
    parts[#parts + 1] = { update = self.updates[key], tensors = more }
    add(key .. ".", more_names, more)
  end
  for _, key in ipairs(check.sorted_keys(self.kept or {})) do -- further nets
    local more, more_names = self.kept[key]:parameters()
    add(key .. ".", more_names, more)
  end
  if self.normaliser then
    local normaliser = self.normaliser
    add("normaliser.", { "mean", "variance", "rows" }, { normaliser.mean, normaliser.variance, normaliser.rows })
  end
  return names, tensors, parts
end

-- What the numbers stand for: meaning.lua.
local function means_of(self)
  return meaning.add_tasks({ observation = meaning.fields(self.observation_space),
    action = meaning.fields(self.action_space), activation = { self.options.activation } }, self.tasks,
    self.identifiers)
end

-- The replay in the file, and what is missing in it, or nil.
local function load_experience(self, path)
  if not orrery.system.exists(path) then
    check.fail("agent:load: there is no file '%s', the experience that agent:save writes beside the nets; both are "
      .. "needed", path)
  end
  local alpha = self.replay.alpha
  local done, replay, missing = pcall(orrery.load_replay, path,
    { env = self.env, capacity = self.replay.capacity, prioritised = alpha and { alpha = alpha } or nil })
  if done and (alpha == nil) == replay.prioritised then
    check.fail("agent:load: the experience in '%s' was saved with%s priorities; make the agent with a replay that has "
      .. "%s", path, alpha and "out" or "", alpha and "none"
      or "them: replay = orrery.replay { env = env, prioritised = { alpha = 0.6 } }")
  end
  if done then return replay, missing end
  local message = check.without_place(replay):gsub("^load_replay: ", "")
  if message:find("is not that of the environment", 1, true) then
    message = "it is of an agent for another environment: " .. message
  end
  check.fail("agent:load: %s", message)
end

return function(Agent)
  --- agent:save(path): its nets, the state of their optimisers, and where its random numbers are, as safetensors;
  --- the experience of one with a replay goes into a second file, path .. ".replay". Between two calls of
  --- agent:learn: one that is loaded from there learns on, to the bit, as one that was never stopped. After Ctrl-C: what
  --- there is, without the episodes under way.
  function Agent:save(path)
    if self.replay then self.replay:save(path .. ".replay") end
    local names, tensors = state_of(self)
    meaning.save("agent:save", path, names, tensors, means_of(self))
    return self
  end

  --- agent:load(path): what agent:save wrote, into an agent made with the same options: the same fields, and the same
  --- tasks in the same order, unless they have identifiers z of their own. Files that do not fit are refused as a
  --- whole.
  function Agent:load(path)
    local names, tensors, parts = state_of(self)
    local replay, missing
    if not orrery.system.exists(path) then
      check.fail("agent:load: there is no file '%s'; the path is that which agent:save was given", path)
    end
    if self.replay then
      replay, missing = load_experience(self, path .. ".replay")
      if missing then check.fail("agent:load: %s", missing) end
      local saved = experience_of(path)
      if saved and saved ~= #replay then
        check.fail("agent:load: %s: the experience beside it has %d steps; %d were saved with it", path, #replay, saved)
      end
    end
    meaning.check("agent:load", path, means_of(self))
    local done, message = pcall(orrery.checkpoint.load, path, names, tensors)
    if not done then
      check.fail("agent:load: %s (was it saved by an agent made with other options, such as hidden or tasks, or by "
        .. "another learner?)", check.without_place(message))
    end
    unpack_into(self, tensors[1])
    for _, part in ipairs(parts) do part.update:resume(part.tensors) end
    self.replay = replay
    return self
  end
end
