--- model_data.lua - the data that a model is fitted to and held against: a replay of the same fields, or a table of
--- tensors of the same sizes.
local check = require "orrery.check"

local model_data = {}

local function is_replay(value)
  if type(value) ~= "userdata" then return false end
  local found, method = pcall(function() return value.transitions end)
  return found and method ~= nil
end

-- "observation x, y; action u": the fields of two spaces.
local function fields_of(observation, action)
  return ("observation %s; action %s"):format(table.concat(observation.names, ", "),
    table.concat(action.names, ", "))
end

local function check_replay(model, replay, who)
  local env = replay.env
  if env and fields_of(env.observation_space, env.action_space) ~= fields_of(model.observation, model.action) then
    check.fail("%s: the replay is of another environment: it has %s; the model has %s", who,
      fields_of(env.observation_space, env.action_space), fields_of(model.observation, model.action))
  end
end

local function check_tensors(model, data, who, names)
  local sizes = { observation = model.states, action = model.actions, next_observation = model.states }
  local rows
  for _, name in ipairs(names) do
    local x = data[name]
    if not x then check.fail("%s: the data have no '%s'", who, name) end
    if type(x) ~= "userdata" or x:axes() < 1 then
      check.fail("%s: %s must be a tensor of rows, not a %s", who, name, type(x) == "userdata" and "single number"
        or type(x))
    end
    rows = rows or x:size(1)
    if x:axes() ~= 2 or x:size(2) ~= sizes[name] or x:size(1) ~= rows then
      check.fail("%s: %s must be %d rows of %d numbers, not %s; the model has %s", who, name, rows, sizes[name],
        table.concat({ x:shape() }, " x "), fields_of(model.observation, model.action))
    end
  end
end

--- model_data.check(model, replay, who): refuses what is neither a replay nor a table, and a replay of other fields.
--- who: the method, such as "fit".
function model_data.check(model, replay, who)
  if type(replay) == "table" then return end
  if not is_replay(replay) then
    check.fail("%s: a replay is needed, as in model:%s(replay), or a table of tensors, not %s", who, who,
      replay == nil and "nothing" or "a " .. type(replay))
  end
  check_replay(model, replay, who)
end

local transition = { "observation", "action", "next_observation" }

--- model_data.transitions(model, replay, who, names): tensors observation, action and next_observation, or only those
--- in the list of names, with what else there is, after checks of their sizes.
function model_data.transitions(model, replay, who, names)
  model_data.check(model, replay, who)
  local data = type(replay) == "table" and replay or replay:transitions()
  check_tensors(model, data, who, names or transition)
  return data
end

return model_data
