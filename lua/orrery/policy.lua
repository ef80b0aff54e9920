--- policy.lua - policies: from an observation to an action.
---
--- A policy is an object with policy:act(observation, context) and, if it remembers anything,
--- policy:reset(seed), which is called when an episode starts; or a plain function(observation,
--- context). The observation is a record (observation.velocity); the action is a record, a flat
--- tensor, or, where it is a single number, that number. The context has step (from 1), episode and
--- env.
local check = require "orrery.check"
local orrery = require "orrery"

local policy = {}

local function new_policy(name, act, reset)
  local methods = { act = act, reset = reset }
  local function text() return name end
  return setmetatable({}, { __index = methods, __name = "policy", __tostring = text })
end

--- policy.random(env): actions drawn uniformly within their bounds. The draws of an episode follow
--- from its seed.
function policy.random(env)
  local known, space = pcall(function() return env.action_space end)
  if not known or space == nil then
    check.env("policy.random", env, "orrery.policy.random(%s)")
  end
  local stream
  local function reset(_, seed) stream = seed and orrery.stream(seed, 1) end
  local function act() return space:sample(stream) end
  return new_policy("random policy", act, reset)
end

--- policy.constant(action): always the same action.
function policy.constant(action)
  return new_policy("constant policy", function() return action end)
end

--- policy.call(f): a policy of a plain function(observation, context) that gives an action.
--- Wherever a policy is wanted, such a function may also stand by itself.
function policy.call(f)
  if type(f) ~= "function" then
    check.fail("policy.call: a function is needed, not a %s", type(f))
  end
  return new_policy("policy", function(_, observation, context) return f(observation, context) end)
end

--- policy.open_loop(mpc): plans when an episode starts and then plays the plan without looking; plans
--- again when it is used up. Give its planner the horizon of an episode to plan just once.
function policy.open_loop(mpc)
  if type(mpc) ~= "userdata" or not pcall(function() return mpc.plan end) then
    check.fail("policy.open_loop: an mpc is needed, as orrery.mpc makes it, not a %s", type(mpc))
  end
  local plan, at
  local function reset(_, seed)
    plan = nil
    mpc:reset(seed)
  end
  local function act(_, observation)
    if plan and at < plan:size(1) then
      at = at + 1
      return plan:slice(at, at):reshape(-1)
    end
    mpc:reset()
    local action = mpc:act(observation)
    plan, at = mpc:plan(), 1
    return action
  end
  return new_policy("open loop of " .. tostring(mpc), act, reset)
end

local function has(value, name)
  local kind = type(value)
  if kind ~= "table" and kind ~= "userdata" then return false end
  local found, method = pcall(function() return value[name] end)
  return found and method ~= nil
end

--- policy.of(value, what): the policy itself, or one made of a plain function; an error naming
--- `what` for anything else.
function policy.of(value, what)
  if type(value) == "function" then return policy.call(value) end
  if has(value, "act") then return value end
  check.fail("%s: a policy is needed, an object with act(observation) or a function, not a %s", what,
    type(value))
end

--- policy.pace(value): seconds that a policy wants a step to take, by its method `pace`, as an mpc that
--- plans in the background does; 0 when it has none.
function policy.pace(value)
  if not has(value, "pace") or type(value.pace) ~= "function" then return 0 end
  return value:pace() or 0
end

--- policy.reset(value, seed): tells a policy that an episode starts.
function policy.reset(value, seed)
  if has(value, "reset") then value:reset(seed) end
end

--- policy.action(space, action): what a policy gave, as the environment takes it: a record, within
--- bounds.
function policy.action(space, action)
  if orrery.is_tensor(action) and #space.names > 1 then action = space:record(action) end
  local fits, clipped = pcall(space.clip, space, action)
  if fits then return clipped end
  if action == nil then
    check.fail("the policy gave no action; its function must return one, such as { %s = 0 }", space.names[1])
  end
  check.fail("the policy's action: %s", (tostring(clipped):gsub("^.-clip: ", "", 1)))
end

--- policy.teller(progress, who): a function(fraction, text) out of such a function, a run, or nil; `who` wants it.
function policy.teller(progress, who)
  if not progress then return function() end end
  if type(progress) == "function" then return progress end
  if not has(progress, "progress") then
    check.fail("%s: progress must be a function(fraction, text) or a run, as orrery.run makes it, not a %s", who,
      type(progress))
  end
  return function(fraction, text) progress:progress(fraction, text) end
end

return policy
