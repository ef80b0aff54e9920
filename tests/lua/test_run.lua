-- Run folders: what is written where, and that closing twice is harmless.
local orrery = require "orrery"

local parent = os.tmpname()
os.remove(parent)

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "a"
  file:close()
  return text
end

local function quietly(f)
  local kept, said = print, {}
  print = function(...) said[#said + 1] = table.concat({ ... }, "\t") end
  local done, message = pcall(f)
  print = kept
  assert(done, message)
  return table.concat(said, "\n")
end

local run = orrery.run { name = "try", options = { seed = 12, rate = 0.5 }, folder = parent }
assert(run.folder:find(parent .. "/try%-%d+%-%d+%-12$"), run.folder)
run:log { step = 1, loss = 0 / 0 }
assert(read(run.folder .. "/metrics.jsonl"):find '^{"loss": "nan", "step": 1, "time": [%d.e-]+}\n$')
run:log { step = 2, loss = orrery.tensor(0.5):item() }
local settings = read(run.folder .. "/options.json")
assert(settings:find('"options": {"rate": 0.5, "seed": 12}', 1, true), settings)
assert(settings:find('"version": "' .. orrery.version, 1, true))

-- Two runs in one second get two folders.
local second = orrery.run { name = "try", options = { seed = 12 }, folder = parent }
assert(second.folder ~= run.folder)
quietly(function() second:close() end)

run:save("deep/result.json", { score = 1 })
assert(read(run.folder .. "/deep/result.json") == '{\n  "score": 1\n}\n')
local order = {}
run:finally(function() order[#order + 1] = "first" end)
run:finally(function() order[#order + 1] = "second" end)
local said = quietly(function() run:close() end)
assert(said:find("metrics.jsonl +what was logged: 2 lines") and said:find "deep/result.json", said)
assert(table.concat(order, " ") == "second first")
assert(quietly(function() run:close() end) == "")
assert(not pcall(run.log, run, { step = 3 }))

-- Closing goes on past a saver that fails, and then says so.
local third = orrery.run { folder = parent }
local saved
third:finally(function() saved = true end)
third:finally(function() error "disk full" end)
local done, message
quietly(function() done, message = pcall(third.close, third) end)
assert(saved and not done and message:find "disk full")

assert(not pcall(orrery.run, { nme = "x" }))
assert(not pcall(orrery.system.write, parent .. "/no/such/folder/x", "text"))
assert(orrery.system.make_folder(parent .. "/new") == true)
assert(orrery.system.make_folder(parent .. "/new") == false)
os.execute("rm -rf '" .. parent .. "'")
