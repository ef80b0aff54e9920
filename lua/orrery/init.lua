--- init.lua - the module table: what C added to it, and the part written in Lua, loaded on first use.
local orrery = ...
local check = require "orrery.check"

-- name in the module table -> the module that returns its value, or "module#field" for one that is a
-- field of what the module returns. One line per name.
local modules = {
  agent = "orrery.agent",
  check = "orrery.check",
  check_env = "orrery.check_env",
  ddpg = "orrery.ddpg",
  distribution = "orrery.distribution",
  dqn = "orrery.dqn",
  evaluate = "orrery.evaluate",
  fqi = "orrery.fqi",
  gae = "orrery.gae",
  grad = "orrery.trace_transforms#grad",
  hvp = "orrery.trace_transforms#hvp",
  interpret = "orrery.trace#interpret",
  jacobian = "orrery.trace_transforms#jacobian",
  json = "orrery.json",
  loop = "orrery.loop",
  mbpo = "orrery.mbpo",
  model = "orrery.model",
  mpc = "orrery.mpc",
  nn = "orrery.nn",
  on_policy = "orrery.on_policy",
  options = "orrery.options",
  policy = "orrery.policy",
  ppo = "orrery.ppo",
  q_objective = "orrery.q_objective",
  reinforce = "orrery.reinforce",
  relabel = "orrery.relabel",
  reward = "orrery.reward",
  rowwise = "orrery.rowwise",
  run = "orrery.run",
  sac = "orrery.sac#sac",
  scan = "orrery.trace_transforms#scan",
  stop_gradient = "orrery.trace_transforms#stop_gradient",
  tasks = "orrery.tasks",
  td3 = "orrery.td3",
  trpo = "orrery.trpo",
  update = "orrery.update",
  words = "orrery.words",
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
    local file, field = module:match("^(.-)#(.*)$")
    local value = require(file or module)
    if field then value = value[field] end
    rawset(orrery, name, value)
    return value
  end,
})
