--- agent_replay.lua - the replay of a learner: its own, or one that it was given.
local check = require "orrery.check"
local orrery = require "orrery"

local stores = {}

local function fields_text(space) return table.concat(space.names, ", ") end

-- A replay that the environment's steps fit into, with room for the tasks' identifiers.
local function check_given(self, store)
  local space = self.observation_space
  local known = type(store) == "userdata" and select(2, pcall(function() return store.observation_space end))
  if type(known) ~= "userdata" or not pcall(function() return store.capacity end) then
    check.fail("%s options: replay must be one as orrery.replay makes it, not a %s: replay = orrery.replay { env = env, "
      .. "prioritised = { alpha = 0.6 } }", self.name, type(store))
  end
  if fields_text(known) ~= fields_text(space) or known.size ~= space.size
    or store.action_space.size ~= self.action_space.size then
    check.fail("%s options: the replay is of another environment: it has (%s), '%s' has (%s)", self.name,
      fields_text(known), self.env.name, fields_text(space))
  end
  local extras, z = store.observation_extras, nil
  for _, field in ipairs(extras and extras.fields or {}) do
    if field.name == "z" then z = field.count end
  end
  if self.identifiers > 0 and z ~= self.identifiers then
    check.fail("%s options: the tasks' identifiers need a field in the replay, made with observation_extras = "
      .. "{ { \"z\", { %d } } }", self.name, self.identifiers)
  end
end

--- stores.of(self, given): the replay that the options as they were given name, checked; or a new one.
function stores.of(self, given)
  local o = self.options
  if o.replay == nil then
    local extras = self.identifiers > 0 and { { "z", { self.identifiers } } } or nil
    return orrery.replay { env = self.env, capacity = o.capacity, observation_extras = extras }
  end
  check_given(self, o.replay)
  if given.capacity ~= nil then
    check.fail("%s options: capacity is of the learner's own replay; that of a given one is told to orrery.replay",
      self.name)
  end
  return o.replay
end

return stores
