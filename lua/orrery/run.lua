--- run.lua - one folder per run: options and seed, metrics as lines of JSON, pictures, checkpoints.
---
---   local run <close> = orrery.run { name = "pendulum", options = options }
---   run:log { step = 100, loss = 0.25 }        -- a line of metrics.jsonl
---   run:progress(0.5, "training, loss 0.25")   -- one line on the terminal, redrawn
---   figure:save(run:path "curve.png")
---
--- Every line is on its way to the disk when log returns, so nothing is lost when a run is stopped.
local check = require "orrery.check"
local json = require "orrery.json"
local orrery = require "orrery"

local system = orrery.system
local run = {}
run.__index = run
run.__name = "run"

-- runs/name-20260131-235959-1, with a number behind it when that is taken.
local function new_folder(parent, name, seed)
  local base = ("%s/%s-%s-%s"):format(parent, name, os.date "%Y%m%d-%H%M%S", seed)
  local folder, count = base, 1
  while not system.make_folder(folder) do
    count = count + 1
    folder = base .. "-" .. count
  end
  return folder
end

local function plain(options)
  local values = {}
  for _, name in ipairs(check.sorted_keys(options)) do values[name] = options[name] end
  return values
end

--- orrery.run{ name, options, folder }: starts a run in a new folder `folder`/name-date-seed
--- (folder: "runs"), or in the one that --out names, and writes options.json there.
local function start(given)
  local settings = check.options("run", given,
    { name = "run", options = {}, folder = "runs" })
  local options = settings.options
  local guard = getmetatable(options)
  local seed = rawget(options, "seed") or orrery.seed()
  local folder = guard and guard.out
  if folder then
    system.make_folder(folder)
  else
    folder = new_folder(settings.folder, settings.name, seed)
  end
  local self = setmetatable({ name = settings.name, folder = folder, started = orrery.clock(),
    lines = 0, files = {}, finals = {}, drawn = false, told = -math.huge }, run)
  self.metrics = assert(io.open(folder .. "/metrics.jsonl", "w"))
  system.write(folder .. "/options.json", json.pretty {
    name = settings.name, options = plain(options), seed = seed, version = orrery.version,
    script = type(arg) == "table" and arg[0] or nil, date = os.date "!%Y-%m-%dT%H:%M:%SZ" })
  return self
end

--- run:log{ step = 100, loss = 0.25 }: appends one line to metrics.jsonl; `time`, in seconds since
--- the start, is added.
function run:log(values)
  if self.closed then error("run: it is closed", 2) end
  local line = { time = math.floor((orrery.clock() - self.started) * 1000 + 0.5) / 1000 }
  for key, value in pairs(values) do line[key] = value end
  local done, message = self.metrics:write(json.encode(line), "\n")
  if done then done, message = self.metrics:flush() end
  if not done then error(("run: cannot write %s/metrics.jsonl: %s"):format(self.folder, message), 2) end
  self.lines = self.lines + 1
end

--- run:path(name, about): where a file of this run goes; run:close() lists it, with a word on it.
function run:path(name, about)
  local parent = name:match "^(.*)/[^/]*$"
  if parent then system.make_folder(self.folder .. "/" .. parent) end
  self.files[#self.files + 1] = { name = name, about = about or "" }
  return self.folder .. "/" .. name
end

--- run:save(name, value, about): writes a table as JSON, or a text as it is, whole or not at all.
function run:save(name, value, about)
  system.write(self:path(name, about), type(value) == "string" and value or json.pretty(value))
end

--- run:finally(f): calls f() when the run closes, also after an error or Ctrl-C: saves what there is.
--- The last one given runs first. After Ctrl-C this, and what `local x <close>` closes, is the place to
--- save, and no pcall: it holds the error "interrupted", but whatever learns, plans, waits or saves a
--- replay after it raises it again.
function run:finally(f) self.finals[#self.finals + 1] = f end

local function wipe(self)
  if self.drawn then io.stderr:write("\r\27[K") end
  self.drawn = false
end

--- run:say(format, ...): prints a line that stays, above the line of progress.
function run:say(format, ...)
  wipe(self)
  io.stdout:write(select("#", ...) > 0 and format:format(...) or format, "\n")
  io.stdout:flush()
end

local function bar(fraction, width)
  local full = math.floor(fraction * width + 0.5)
  return "[" .. ("#"):rep(full) .. ("."):rep(width - full) .. "]"
end

--- run:progress([fraction,] [text]): how far along things are, 0 to 1, and a word on it. One line that
--- is redrawn, or without a terminal a line every ten seconds.
function run:progress(fraction, text)
  if type(fraction) == "string" then fraction, text = nil, fraction end
  if fraction then fraction = math.max(0, math.min(1, fraction)) end
  local columns, now = system.terminal(), orrery.clock()
  local done = fraction == 1
  if now - self.told < (columns and 0.1 or 10) and not done then return end
  self.told = now
  local line = text or ""
  if fraction and columns then
    line = ("%s %3.0f %%  %s"):format(bar(fraction, 20), 100 * fraction, line)
  elseif fraction then
    line = ("%3.0f %%  %s"):format(100 * fraction, line)
  end
  if not columns then
    io.stderr:write(line, "\n")
    return
  end
  io.stderr:write("\r\27[K", line:sub(1, columns - 1))
  self.drawn = not done
  if done then io.stderr:write("\n") end
  io.stderr:flush()
end

--- run:close(): calls what run:finally was given, closes the files and prints where things are.
--- Called for you by `local run <close>`, and at the latest when the program ends.
function run:close()
  if self.closed then return end
  self.closed = true
  wipe(self)
  local problems = {}
  for i = #self.finals, 1, -1 do
    local done, message = pcall(self.finals[i])
    if not done then problems[#problems + 1] = tostring(message) end
  end
  self.metrics:close()
  print(("This run is in %s/"):format(self.folder))
  local listed = {}
  local function list(name, about)
    if listed[name] or not system.exists(self.folder .. "/" .. name) then return end
    listed[name] = true
    print((("  %-28s %s"):format(name, about):gsub("%s+$", "")))
  end
  list("options.json", "options and seed")
  list("metrics.jsonl", ("what was logged: %d line%s of JSON"):format(self.lines, self.lines == 1 and "" or "s"))
  for _, file in ipairs(self.files) do list(file.name, file.about) end
  io.stdout:flush()
  if #problems > 0 then error("run: while closing: " .. table.concat(problems, "; "), 2) end
end

run.__close = run.close
run.__gc = run.close

return start
