--- reward.lua - rewards that are not known as a function: learned from labels, or from examples of success.
---
---   local net = orrery.reward.net { env = env, tasks = tasks } -- r(s, a, z), one net for all tasks
---   net:fit(replay)
---   local mpc = orrery.mpc { model = model, task = net:task(3), planner = planner }
---
---   local classifier = orrery.reward.classifier { env = env, fields = { "achieved_goal" } }
---   classifier:fit(examples, replay) -- states of success, and the agent's own
---   local mpc = orrery.mpc { model = model, task = { reward = classifier:of "log" }, planner = planner }
---   classifier:mine(mpc, { ask = is_success }) -- what the planner takes for a success
---   classifier:fit()
---
--- What they give are functions of (s, a, next, t) as any reward: for planners, for orrery.evaluate, for relabeling.
--- They read the nets live: after another fit, planners go on with what was learned.
local check = require "orrery.check"

local reward = {}

-- Documented in reward_net.lua.
function reward.net(options) return require "orrery.reward_net"(options) end

-- Documented in reward_classifier.lua.
function reward.classifier(options) return require "orrery.reward_classifier"(options) end

return setmetatable(reward, { __index = function(_, name)
  error(check.unknown("orrery.reward", name, { "net", "classifier" }), 2)
end })
