-- Nets and losses on tensors, against numbers computed one by one.
local orrery = require "orrery"
local fails = require "tests.lua.fails"
local nn = orrery.nn

local function close(a, b, tolerance)
  assert(math.abs(a - b) <= (tolerance or 1e-5) * (1 + math.abs(b)), ("%.9g is not %.9g"):format(a, b))
end

-- ---- a net computes its layers

-- y of one layer: x w + b, with plain numbers; parameters are tensors of one member
local function linear(x, w, b)
  local y = {}
  for j = 1, #b do
    y[j] = b[j]
    for i = 1, #x do y[j] = y[j] + x[i] * w[i][j] end
  end
  return y
end

local function plain(net, x, member)
  local p = net:parameters()
  local function get(i)
    local t = p[i]:totable()
    return member and t[member] or t
  end
  local h = linear(x, get(1), get(2))
  for i, v in ipairs(h) do h[i] = math.tanh and math.tanh(v) or (1 - 2 / (math.exp(2 * v) + 1)) end
  return linear(h, get(3), get(4))
end

local net = nn.mlp { inputs = 3, outputs = 2, hidden = { 5 }, activation = "tanh", seed = 4 }
local tensors, names = net:parameters()
assert(#tensors == 4 and names[1] == "linear1.weight" and names[4] == "linear2.bias")
local rows, columns = tensors[1]:shape()
assert(rows == 3 and columns == 5)
assert(net:members() == 1 and net:level() == "uniform")
assert(tostring(net):find("32 parameters", 1, true), tostring(net))

local X = orrery.randn(9, 3)
local Y = net(X)
assert(Y:size(1) == 9 and Y:size(2) == 2)
for i = 1, 9 do
  local wanted = plain(net, X:slice(i, i):reshape(-1):totable())
  for j = 1, 2 do close(Y[{ i, j }], wanted[j]) end
end
local one = net { 0.1, -0.2, 0.3 }
assert(one:axes() == 1 and one:size(1) == 2)
close(one[1], plain(net, { 0.1, -0.2, 0.3 })[1])

-- same seed, same net; other seed, another
assert(nn.mlp { inputs = 3, outputs = 2, hidden = { 5 }, activation = "tanh", seed = 4 }(X):same(Y))
assert(not nn.mlp { inputs = 3, outputs = 2, hidden = { 5 }, activation = "tanh", seed = 5 }(X):same(Y))

-- ---- an ensemble answers by member

local ensemble = nn.mlp { inputs = 3, outputs = 2, hidden = { 5 }, activation = "tanh", members = 3, seed = 4 }
assert(ensemble:members() == 3 and ensemble:level() == "member")
local E = ensemble(X)
assert(E:axes() == 3 and E:size(1) == 3 and E:size(2) == 9)
for m = 1, 3 do
  for i = 1, 9, 4 do
    local wanted = plain(ensemble, X:slice(i, i):reshape(-1):totable(), m)
    for j = 1, 2 do close(E[{ m, i, j }], wanted[j]) end
  end
end
assert(E:slice(1, 1):reshape(9, 2):close_to(Y, 1e-6), "member 1 is the single net of that seed")
local single = ensemble(X:slice(2, 2):reshape(-1))
assert(single:axes() == 2 and single:size(1) == 3)

-- ---- other parameters, copies, files

local other = net:copy()
for _, t in ipairs((other:parameters())) do t:assign(t * 2) end
assert(not other(X):same(Y) and net(X):same(Y))
assert(net(X, (other:parameters())):same(other(X)))
fails("4 parameters are needed, 1 are given", net, X, { tensors[1] })
fails("linear1.weight is 3 x 5, not 5", net, X, { tensors[2], tensors[2], tensors[3], tensors[4] })

local path = os.tmpname()
net:save(path)
other:load(path)
assert(other(X):same(Y))
fails("linear1.weight", function() nn.mlp { inputs = 3, outputs = 2, hidden = { 6 } }:load(path) end)
local file = io.open(path, "rb")
local bytes = file:read "a"
file:close()
file = io.open(path, "wb")
file:write(bytes:sub(1, #bytes - 5))
file:close()
fails(path, other.load, other, path)
assert(other(X):same(Y), "a refused file must change nothing")
os.remove(path)
fails(path, other.load, other, path)

-- ---- layer norm, output activation, bad options

local normed = nn.mlp { inputs = 3, outputs = 2, hidden = { 6 }, layer_norm = true, output = "sigmoid", seed = 1 }
local _, list = normed:parameters()
assert(list[3] == "layer_norm1.scale" and list[4] == "layer_norm1.offset")
local bounded = normed(X)
assert(bounded:min() > 0 and bounded:max() < 1)
fails("did you mean 'hidden'", nn.mlp, { inputs = 1, outputs = 1, hiden = {} })
fails("inputs is missing", nn.mlp, { outputs = 1 })
fails("did you mean 'silu'", nn.mlp, { inputs = 1, outputs = 1, activation = "sillu" })
fails("the net takes 3, or rows of that, not 2 x 4", net, orrery.zeros(2, 4))

-- ---- losses

local p, t = orrery.tensor { 0.5, -1, 3 }, orrery.tensor { 1, -1, 0 }
close(nn.mse(p, t), (0.25 + 0 + 9) / 3)
close(nn.mse(2, 5), 9)
close(nn.huber(p, t), (0.125 + 0 + 2.5) / 3)
close(nn.huber(p, t, 2), (0.125 + 0 + 2 * (3 - 1)) / 3)
local v = orrery.tensor { 0.3, -0.4, 1 }
local sum = 0
for i = 1, 3 do sum = sum + ((t[i] - p[i]) ^ 2 / math.exp(v[i]) + v[i]) / 2 end
close(nn.gaussian_nll(p, v, t), sum / 3)
local logits = orrery.tensor { 1, 2, 0.5 }
local z = math.exp(1) + math.exp(2) + math.exp(0.5)
close(nn.cross_entropy(logits, 2), math.log(z) - 2)
close(nn.cross_entropy(orrery.stack { logits, logits }, orrery.tensor({ 2, 3 }, "int")), math.log(z) - (2 + 0.5) / 2)
close(nn.binary_cross_entropy(orrery.tensor { 2, -1 }, orrery.tensor { 1, 0 }),
  (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-1))) / 2)
-- soft bounds: inside, nearly unchanged; far outside, at the bound; always between
for _, x in ipairs { -100, -11, -4, 0, 100 } do
  local y = nn.bound(x, -10, 0.5)
  assert(y > -10.001 and y < 0.5 + 1e-4, y)
end
close(nn.bound(-4, -10, 0.5), -4, 0.01)

-- ---- streams

local a, b = orrery.stream(3, 1), orrery.stream(3, 1)
assert(a:orders(2, 50):same(b:orders(2, 50)) and not a:orders(2, 50):same(b:draws(2, 50)))
local order = a:orders(1, 100):reshape(-1)
assert(orrery.sort(order):same(orrery.arange(100)))
local draws = a:draws(3, 40)
assert(draws:min() >= 1 and draws:max() <= 40)
local before = draws:copy()
a:shuffle(draws)
assert(not draws:same(before) and orrery.sort(draws, 2):same(orrery.sort(before, 2)))
