--- gae.lua - how much better than expected: advantages of many steps of many copies, by one compiled loop
--- backwards in time.
local check = require "orrery.check"
local orrery = require "orrery"
local trace = require "orrery.trace"

local NAMES = { "reward", "value", "next_value", "terminated", "truncated" }

local compiled = {} -- by steps and copies

local function program_of(steps, copies)
  local key = steps .. "x" .. copies
  if compiled[key] then return compiled[key] end
  local inputs = { { name = "gamma", level = "uniform" }, { name = "lambda", level = "uniform" } }
  for i, name in ipairs(NAMES) do inputs[i + 2] = { name = name, level = "uniform", shape = { steps, copies } } end
  compiled[key] = trace.program { name = "gae", inputs = inputs,
    fn = function(gamma, lambda, reward, value, next_value, terminated, truncated)
      local _, advantage = orrery.scan(function(later, x)
        local delta = x.reward + gamma * (1 - x.terminated) * x.next_value - x.value
        local goes_on = (1 - x.terminated) * (1 - x.truncated)
        local advantage = delta + gamma * lambda * goes_on * later
        return advantage, advantage
      end, orrery.zeros(copies), { reward = reward, value = value, next_value = next_value, terminated = terminated,
        truncated = truncated }, { backwards = true })
      return { advantage = advantage, ["return"] = advantage + value }
    end }
  return compiled[key]
end

--- orrery.gae(steps, options): generalised advantage estimation (Schulman et al. 2016, equations 11 to 16):
--- A_t = delta_t + gamma lambda A_(t+1), delta_t = r_t + gamma V(s_(t+1)) - V(s_t). `steps` is a table of tensors
--- T x N, T steps of N copies of an environment: reward; value, of the states acted in; next_value, of the states
--- reached, before a new start; terminated and truncated, 1 where the episode ended there. After a termination
--- nothing more comes; a truncated episode would have gone on, and is worth next_value there (Pardo et al. 2018),
--- as is the last step of all. options: gamma 0.99, lambda 0.97; with lambda 1 the advantage is the reward to go
--- less the value. Returns { advantage =, ["return"] = }, T x N, the return being advantage and value together.
return function(steps, options)
  local o = check.options("gae options", options, { gamma = 0.99, lambda = 0.97 })
  if type(steps) ~= "table" then check.fail("gae: a table of tensors is needed, not a %s", type(steps)) end
  local first = steps.reward
  for _, name in ipairs(NAMES) do
    local x = steps[name]
    if not orrery.is_tensor(x) or x:axes() ~= 2 or x:size(1) ~= first:size(1) or x:size(2) ~= first:size(2) then
      check.fail("gae: %s must be a tensor of steps x copies%s, not %s", name,
        name ~= "reward" and (" as the reward is, %d x %d"):format(first:size(1), first:size(2)) or "",
        not orrery.is_tensor(x) and (x == nil and "nothing" or "a " .. type(x))
          or "of shape [" .. table.concat({ x:shape() }, ", ") .. "]")
    end
  end
  local values = { gamma = o.gamma, lambda = o.lambda }
  for _, name in ipairs(NAMES) do values[name] = steps[name] end
  local out = program_of(first:size(1), first:size(2)):run(values, { rows = 1 })
  return { advantage = out.advantage:copy(), ["return"] = out["return"]:copy() }
end
