-- Options of scripts, checked options tables, JSON.
local orrery = require "orrery"
local fails = require "tests.lua.fails"
local check, json = orrery.check, orrery.json

local function options(line, defaults, presets)
  arg = { [0] = "test" }
  for word in line:gmatch "%S+" do arg[#arg + 1] = word end
  return orrery.options(defaults or { seed = 1, rate = 0.5, name = "x", brief = false, sizes = { 200, 200 } },
    presets)
end

local o = options ""
assert(o.seed == 1 and o.rate == 0.5 and o.name == "x" and o.brief == false and #o.sizes == 2)
o = options "--seed=7 --rate=1e-3 --name=a=b --brief --sizes=64"
assert(o.seed == 7 and math.type(o.seed) == "integer" and o.rate == 1e-3 and o.name == "a=b")
assert(o.brief == true and #o.sizes == 1 and o.sizes[1] == 64)
assert(options("--seed=1e3").seed == 1000)
assert(options("--rate=2").rate == 2)
assert(options("--brief=false").brief == false)
fails("must be a list separated by commas, as in 200,200", options, "--sizes=")
assert(options("--most-steps=3", { most_steps = 1 }).most_steps == 3)
o.seed = 9
assert(o.seed == 9)
fails("did you mean 'seed'", function() return o.sede end)
fails("there is no 'other'", function() o.other = 1 end)
fails("did you mean --seed", options, "--sed=1")
fails("needs a value", options, "--seed")
fails("must be a whole number", options, "--seed=1.5")
fails("must be a number", options, "--rate=fast")
fails("must be true or false", options, "--brief=perhaps")
fails("list separated by commas", options, "--sizes=3,x")
fails("not of the form", options, "word")
fails("must be a number, a text", options, "", { f = print })

local presets = { brief = { seed = 3, rate = 0.1 } }
assert(options("--brief", nil, presets).seed == 3)
assert(options("--brief --seed=4", nil, presets).seed == 4)
assert(options("", nil, presets).seed == 1)
fails("did you mean 'rate'", options, "--brief", nil, { brief = { raet = 1 } })
assert(options("--out=here").seed == 1 and getmetatable(options("--out=here")).out == "here")
arg = nil
assert(orrery.options({ seed = 5 }).seed == 5)

local defaults = { epochs = 5, name = "optional string", any = "any", flag = true }
local t = check.options("fit", { epochs = 3 }, defaults)
assert(t.epochs == 3 and t.name == nil and t.any == nil and t.flag == true)
assert(check.options("fit", nil, defaults).epochs == 5)
assert(check.options("fit", { any = print, name = "n", flag = false }, defaults).flag == false)
fails("fit: there is no 'epocs'; did you mean 'epochs'", check.options, "fit", { epocs = 1 }, defaults)
fails("there is no 'zzz'; there is", check.options, "fit", { zzz = 1 }, defaults)
fails("epochs must be a number, not a string", check.options, "fit", { epochs = "3" }, defaults)
fails("name must be a string", check.options, "fit", { name = 3 }, defaults)
fails("table of named options", check.options, "fit", 3, defaults)
assert(check.nearest("velocty", { "position", "velocity" }) == "velocity")
assert(check.nearest("xyz", { "position", "velocity" }) == nil)

assert(json.encode { 1, 2.5, "a" } == '[1, 2.5, "a"]')
assert(json.encode { b = true, a = { x = 1 } } == '{"a": {"x": 1}, "b": true}')
assert(json.encode { 0 / 0, 1 / 0, -1 / 0 } == '["nan", "inf", "-inf"]')
assert(json.encode 'a"b\\\n\1' == [["a\"b\\\n\u0001"]])
assert(json.encode(0.1) == "0.1" and tonumber(json.encode(1 / 3)) == 1 / 3)
assert(json.encode { t = orrery.tensor { { 1, 2 }, { 3, 4 } } } == '{"t": [[1, 2], [3, 4]]}')
local loop = {}
loop.loop = loop
fails("contains itself", json.encode, loop)
fails("did you mean 'options'", function() return orrery.option end)
