-- Loops with carried state and derivatives, in traced functions and on plain numbers and tensors.
local orrery = require "orrery"
local trace = require "orrery.trace"
local fails = require "tests.lua.fails"
local T = orrery.tensor

local function near(x, expected, tolerance)
  assert(T(x):close_to(T(expected), tolerance or 1e-4), tostring(x) .. " is not " .. tostring(T(expected)))
end

-- ---- scan: the same as a loop, plain and traced

local function decay(x)
  return orrery.scan(function(c, _, t) return c * 0.5 + x * t, c end, 1, nil, { length = 5 })
end
local last, all = orrery.rowwise(decay)(T { 1, -2 })
for i, x in ipairs { 1, -2 } do
  local c, states = 1, {}
  for t = 1, 5 do
    states[t] = c
    c = c * 0.5 + x * t
  end
  near(last[i], c)
  near(all[i], states)
  local plain_last, plain_all = decay(x)
  near(plain_last, c)
  near(plain_all, states)
end

-- Sequences, several of them, backwards; carries that are tables; branches and captured values inside.
local limit = T { 2 }
local function play(s)
  return orrery.scan(function(carry, x, t)
    local v = carry.v + x.push
    if v > limit[1] then v = limit[1] * 1 end
    return { v = v, p = carry.p + v * x.wind }, { p = carry.p, double = v * 2 }
  end, { v = 0, p = s[1] }, { push = s, wind = s * 0.1 })
end
local function by_hand(s)
  local v, p, positions, doubles = 0, s[1], {}, {}
  for t = 1, #s do
    v = v + s[t]
    if v > limit[1] then v = limit[1] end
    positions[t], doubles[t] = p, v * 2
    p = p + v * s[t] * 0.1
  end
  return v, p, positions, doubles
end
local rows = T { { 1, 0.5, -2, 4 }, { 3, 3, -8, 0 } }
local carry, outputs = orrery.rowwise(play)(rows)
for i = 1, 2 do
  local v, p, positions, doubles = by_hand(rows[i]:totable())
  near(carry.v[i], v)
  near(carry.p[i], p)
  near(outputs.p[i], positions)
  near(outputs.double[i], doubles)
end
local returns = orrery.rowwise(function(r)
  return select(2, orrery.scan(function(c, x) local g = x + 0.9 * c return g, g end, 0, r, { backwards = true }))
end)(T { { 1, 2, 3 } })
near(returns, { { 1 + 0.9 * (2 + 0.9 * 3), 2 + 0.9 * 3, 3 } })
near(select(2, orrery.scan(function(c, x) return c + x, c + x end, 0, T { 1, 2, 3 }, { backwards = true })), { 6, 5, 3 })

-- Loops in loops.
local nested = orrery.rowwise(function(x)
  return (orrery.scan(function(c)
    return (orrery.scan(function(d, _, k) return d + x * k end, c, nil, { length = 3 }))
  end, 0, nil, { length = 2 }))
end)
near(nested(T { 1, 2 }), { 12, 24 })

fails("give sequences or options.length", orrery.scan, function(c) return c end, 0)
fails("same structure", orrery.scan, function(c) return { c } end, 0, nil, { length = 2 })
fails("has 3 steps where 2 are expected", orrery.scan, function(c) return c end, 0, T { 1, 2, 3 }, { length = 2 })
fails("did you mean 'length'", orrery.scan, function(c) return c end, 0, nil, { lenght = 2 })
fails("assigns to 'total'", orrery.rowwise(function(x)
  local total = 0
  orrery.scan(function(c) total = total + c return c end, x, nil, { length = 2 })
  return total
end), T { 1 })
fails("the body of a scan that has ended", orrery.rowwise(function(x)
  local kept = {}
  orrery.scan(function(c) kept[1] = c return c + 1 end, x, nil, { length = 2 })
  return kept[1] + x
end), T { 1 })

-- ---- gradients

local function cube(x) return x ^ 3 end
local slope, value = orrery.grad(cube)(2)
assert(slope == 12 and value == 8)
assert(orrery.grad(orrery.grad(cube))(2) == 12)
assert(orrery.grad(orrery.grad(orrery.grad(cube)))(2) == 6)
near(orrery.grad(function(v) return (v * v):sum() end)(T { 1, 2, 3 }), { 2, 4, 6 })
near(orrery.rowwise(function(x) return (orrery.grad(cube)(x)) end)(T { 1, 2 }), { 3, 12 })
near(orrery.rowwise(function(x) return (orrery.grad(orrery.grad(cube))(x)) end)(T { 1, 2 }), { 6, 12 })

-- With respect to tables, other arguments and captured values staying constant.
local w = 3
local g = orrery.grad(function(p, x) return p.a * x + p.list[1] ^ 2 * w end)({ a = 1, list = { 2 } }, 5)
assert(g.a == 5 and g.list[1] == 12)
w = 4
g = orrery.grad(function(p, x) return p.a * x + p.list[1] ^ 2 * w end)({ a = 1, list = { 2 } }, 5)
assert(g.list[1] == 16)
near(orrery.rowwise(function(x)
  local y = x * x -- depends on x, but is not what is differentiated by
  return (orrery.grad(function(u) return u * y end)(x))
end)(T { 2, 3 }), { 4, 9 })
near(orrery.rowwise(function(x)
  local first = orrery.grad(cube)(x)
  return (orrery.grad(function(u) return u ^ 3 * first end)(x)) -- 3 x^2 times 3 x^2, `first` being constant
end)(T { 1, 2 }), { 9, 144 })
near(orrery.rowwise(function(x)
  return (orrery.grad(function(u) return u * orrery.stop_gradient(u) end)(x))
end)(T { 5 }), { 5 })

-- Through branches, helper functions from outside, math.* and loops.
local function hinge(x)
  if math.abs(x) > 1 then return 2 * math.abs(x) - 1 end
  return x * x
end
near(orrery.rowwise(function(x) return (orrery.grad(hinge)(x)) end)(T { -3, 0.25, 2 }), { -2, 0.5, 2 })
assert(orrery.grad(hinge)(-3) == -2 and orrery.grad(hinge)(0.25) == 0.5)
near(orrery.rowwise(function(x)
  return (orrery.grad(function(u)
    return (orrery.scan(function(c) return c * u end, 1, nil, { length = 4 }))
  end)(x))
end)(T { 1, 2 }), { 4, 32 })
near(orrery.rowwise(function(x)
  return (orrery.scan(function(c) return c + (orrery.grad(function(u) return u * u * x end)(x)) end, 0, nil, { length = 3 }))
end)(T { 1, 2 }), { 6, 24 })
-- One step of gradient descent, made of plain calls.
local descend = orrery.rowwise(function(x)
  return (orrery.scan(function(c)
    return c - 0.25 * (orrery.grad(function(u) return (u - 1) ^ 2 end)(c))
  end, x, nil, { length = 20 }))
end)
near(descend(T { 4, -7 }), { 1, 1 })

fails("must return one number", orrery.rowwise(function(v)
  return orrery.grad(function(u) return u end)(v)
end), T { { 1, 2 } })
fails("grad: a function is needed, not a number", orrery.grad, 3)
fails("a captured", function() orrery.grad(function(x) error("a captured " .. type(x)) end)(1) end)

-- ---- jacobian and second derivatives times a vector

local function polar(p) return orrery.stack { p[1] * orrery.cos(p[2]), p[1] * orrery.sin(p[2]) } end
near(orrery.jacobian(polar)(T { 2, 0 }), { { 1, 0 }, { 0, 2 } })
near(orrery.rowwise(function(p) return (orrery.jacobian(polar)(p)) end)(T { { 2, 0 }, { 3, 0 } }),
  { { { 1, 0 }, { 0, 2 } }, { { 1, 0 }, { 0, 3 } } })
local function bowl(x) return x[1] ^ 2 * x[2] + x[2] ^ 3 end -- H = [2y, 2x; 2x, 6y]
near(orrery.hvp(bowl)(T { 1, 2 }, T { 1, 0 }), { 4, 2 })
near(orrery.hvp(bowl)(T { 1, 2 }, T { 0, 1 }), { 2, 12 })
local hessian = orrery.jacobian(function(x) return (orrery.grad(bowl)(x)) end)
near(hessian(T { 1, 2 }), { { 4, 2 }, { 2, 12 } })

-- ---- programs of library code

local space = { { name = "cos", low = -1, high = 1 }, { name = "velocity", low = -8, high = 8 },
                { name = "tip", shape = { 2 } } }
local torque = { { name = "torque", low = -2, high = 2 } }
local calls, bonus = 0, 0
local function reward(s, a, next, t)
  calls = calls + 0
  if s.velocity > 1 then return -1 end
  return s.cos + s.tip[2] - 0.1 * a.torque ^ 2 + bonus * t
end
fails("assigns to 'calls'", trace.program, {
  inputs = { { name = "s", space = space }, { name = "a", space = torque } },
  fn = function(s, a) return trace.inline(reward, s, a, s, 1) end,
})
reward = function(s, a, next, t)
  if s.velocity > 1 then return -1 end
  return s.cos + s.tip[2] - 0.1 * a.torque ^ 2 + bonus * t
end
local traces = 0
local program = trace.program {
  name = "rollout", inputs = { { name = "s", space = space }, { name = "plan", shape = { 3, 1 } } },
  fn = function(s, plan)
    traces = traces + 1
    local total = orrery.scan(function(sum, action, t)
      return sum + trace.inline { fn = reward, arguments = { s, trace.record(torque, action), s, t },
                                  name = "reward", returns = "number" }
    end, 0, plan)
    return { total = total }
  end,
}
local inputs = { s = T { { 0.5, 0, 9, 1 }, { 0.5, 2, 9, 1 } }, plan = T { { { 0 }, { 1 }, { 2 } }, { { 0 }, { 0 }, { 0 } } } }
near(program:run(inputs).total, { 4.5 - 0.5, -3 })
bonus = 1
near(program:run(inputs).total, { 4.5 - 0.5 + 6, -3 })
bonus = 2
near(program:run(inputs).total, { 4.5 - 0.5 + 12, -3 })
bonus = 3
local _, changed = program:enter()
assert(not changed and traces == 2, traces)
near(program:run(inputs).total, { 4.5 - 0.5 + 18, -3 })

local function with_reward(f)
  return function()
    return trace.program {
      inputs = { { name = "s", space = space }, { name = "a", space = torque } },
      fn = function(s, a) return trace.inline { fn = f, arguments = { s, a }, name = "reward", returns = "number" } end,
    }
  end
end
local here = debug.getinfo(1, "l").currentline
fails("test_trace_transforms.lua:" .. here + 2 .. ": no field 'velocty' in s (cos, velocity, tip); did you mean 'velocity'?",
  with_reward(function(s) return s.velocty end))
fails("no field 'torqe' in a (torque); did you mean 'torque'?", with_reward(function(s, a) return a.torqe end))
fails("reward returns nothing", with_reward(function(s) local _ = s.velocity end))
fails("reward must return a number", with_reward(function(s) return s.tip end))
fails("samples cannot be changed: s.cos", with_reward(function(s) s.cos = 1 return 0 end))
local interpreted, reason = trace.try(with_reward(function(s) return math.random() * s.cos end))
assert(interpreted == nil and reason:find("math.random", 1, true))
assert(trace.is_interpreted(orrery.interpret(reward)) == reward and trace.is_interpreted(reward) == nil)
fails("cannot become part of a program", with_reward(orrery.interpret(reward)))
with_reward(function(s)
  local n = 0
  for name, v in pairs(s) do n = n + (name == "tip" and v[1] or v) end
  return n
end)()
