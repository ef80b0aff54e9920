--- init.lua - the module table: what C added to it, and the part written in Lua, loaded on first use.
local orrery = ...
local check = require "orrery.check"

-- name in the module table -> the module that returns its value. One line per name.
local modules = {
  check = "orrery.check",
  check_env = "orrery.check_env",
  evaluate = "orrery.evaluate",
  json = "orrery.json",
  model = "orrery.model",
  nn = "orrery.nn",
  options = "orrery.options",
  policy = "orrery.policy",
  run = "orrery.run",
  update = "orrery.update",
}

local function names()
  local all = {}
  for name in pairs(orrery) do all[name] = true end
  for name in pairs(modules) do all[name] = true end
  return check.sorted_keys(all)
end

return setmetatable(orrery, {
  __index = function(_, name)
    local module = modules[name]
    if not module then error(check.unknown("orrery", name, names()), 2) end
    local value = require(module)
    rawset(orrery, name, value)
    return value
  end,
})
