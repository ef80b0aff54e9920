--- identifiers.lua - the identifiers z by which nets, and replays, tell tasks apart: a vector each, all of one length.
local check = require "orrery.check"
local orrery = require "orrery"

local identifiers = {}

local function one_hot(i, n)
  local z = orrery.zeros(n)
  z[i] = 1
  return z
end

-- One that a task was given, as a vector.
local function vector_of(z, i, who)
  local ok, x = pcall(orrery.tensor, z)
  if not ok then
    check.fail("%s: z of task %d must be numbers, not a %s; words become numbers by orrery.words { \"pass the ball\", "
      .. "... }:z \"pass the ball\"", who, i, type(z))
  end
  x = x:reshape(-1):to "real"
  if not x:all_finite() then check.fail("%s: z of task %d is NaN or infinite", who, i) end
  return x
end

--- identifiers.read(tasks, who): the identifiers of a list of tasks, which may have z: all of them or none, which are
--- then one-hot. No two are the same.
function identifiers.read(tasks, who)
  local list, known = {}, 0
  for i, task in ipairs(tasks) do
    local z
    if type(task) == "table" then z = task.z end
    if z ~= nil then
      list[i], known = vector_of(z, i, who), known + 1
    end
  end
  if known > 0 and known < #tasks then
    check.fail("%s: %d of %d tasks have an identifier z; all of them must have one, or none", who, known, #tasks)
  end
  for i = 1, #tasks do
    list[i] = list[i] or one_hot(i, #tasks)
    if #list[i] ~= #list[1] then
      check.fail("%s: z of task %d has %d numbers, that of task 1 has %d", who, i, #list[i], #list[1])
    end
    for k = 1, i - 1 do
      if list[k]:same(list[i]) then
        check.fail("%s: tasks %d and %d have the same identifier z; nothing could tell them apart", who, k, i)
      end
    end
  end
  return list
end

return identifiers
