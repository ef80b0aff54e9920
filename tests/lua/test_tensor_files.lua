-- .npy and safetensors from Lua.
local orrery = require "orrery"
local fails = require "tests.lua.fails"

local path = os.tmpname()
local guard <close> = setmetatable({}, { __close = function() os.remove(path) end })

local x = orrery.randn(3, 4)
orrery.save_npy(path, x:transpose())
assert(orrery.load_npy(path):same(x:transpose()))

orrery.save_tensors(path, { w = x, ["b.1"] = orrery.tensor({ 1, 2 }, "int") }, { kind = "test" })
local tensors, texts = orrery.load_tensors(path)
assert(tensors.w:same(x) and tensors["b.1"]:dtype() == "int" and texts.kind == "test")

-- The same table gives the same file, whatever order pairs() has today.
local function content()
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end
local first, many = content(), {}
orrery.save_tensors(path, { ["b.1"] = orrery.tensor({ 1, 2 }, "int"), w = x }, { kind = "test" })
assert(content() == first)

orrery.save_tensors(path, { bad = orrery.tensor { 1 / 0 } })
fails("'bad': it holds a number that is not finite", orrery.load_tensors, path)
assert(orrery.load_tensors(path, { allow_not_finite = true }).bad[1] == 1 / 0)
fails("did you mean 'allow_not_finite'", orrery.load_tensors, path, { allow_notfinite = true })
fails("'a' is a number, not a tensor", orrery.save_tensors, path, { a = 1 })
fails("tensors have names", orrery.save_tensors, path, { x })
fails("cannot open", orrery.load_npy, path .. "/nothing")

do
  local file <close> = assert(io.open(path, "wb"))
  file:write(first:sub(1, -2))
end
fails(path .. ": truncated: the tensors take 56 bytes behind the header, the file has 55", orrery.load_tensors, path)
