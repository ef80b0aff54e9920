-- docs.lua FOLDER FILE... - writes FOLDER/reference.md and FOLDER/orrery.d.lua (LuaCATS, for editors)
-- from what the code itself says: rows of .def tables, /*** signature: text */ comments in src/lua,
-- and --- comments in lua/orrery.
local folder = arg[1]
local sources = table.move(arg, 2, #arg, 1, {})

local function read(path)
  local file = assert(io.open(path, "r"))
  local text = file:read "a"
  file:close()
  return text
end

-- ---- reading comments

-- "net:save(path): writes ..." as a signature and a text; nil when it does not begin with one.
local function split(comment)
  local name = comment:match "^[%a_][%w_.:]*"
  if not name or not (name:find "[.:]" ) then return end
  local arguments = comment:match("^%s*(%b())", #name + 1) or comment:match("^%s*(%b{})", #name + 1)
  if not arguments then return end
  local stop = comment:find(arguments, #name + 1, true) + #arguments
  local rest = comment:sub(stop)
  -- further spellings up to the colon belong to the signature
  local more, text = rest:match "^(,[^\n]-%b()[,. ]*):%s*(.*)$"
  if not more then more, text = "", rest:match "^:?%s*(.*)$" end
  return { name = name, arguments = arguments, signature = comment:sub(1, stop - 1) .. more, text = text }
end

local function trim(text) return (text:gsub("^%s+", ""):gsub("%s+$", "")) end

-- The first comment of a C file: "tensor.c - the tensor in Lua: ..." without the file's name.
local function c_title(text)
  local head = text:match "^/%*%s*(.-)%*/" or ""
  return trim(head:gsub("\n ? ? ?", "\n"):gsub("^[%w_.]+%s+%-%s+", ""))
end

local function c_entries(text)
  local entries = {}
  for comment in text:gmatch "/%*%*%*%s*(.-)%*/" do
    local entry = split((comment:gsub("\n   ", "\n")))
    if entry then entries[#entries + 1] = entry end
  end
  return entries
end

-- Blocks of lines that begin with ---: their words, and apart from them their ---@ annotations.
local function lua_blocks(text)
  local blocks, block = {}, nil
  for line in (text .. "\n"):gmatch "(.-)\n" do
    local comment = line:match "^%s*%-%-%-([^-].*)$" or line:match "^%s*%-%-%-$" and ""
    if comment then
      block = block or { words = {}, annotations = {} }
      local list = comment:find "^@" and block.annotations or block.words
      list[#list + 1] = comment:gsub("^ ", "")
    elseif block then
      blocks[#blocks + 1] = { text = table.concat(block.words, "\n"), annotations = block.annotations }
      block = nil
    end
  end
  return blocks
end

-- The names that users reach: those in the table of lua/orrery/init.lua.
local public = {}
for _, path in ipairs(sources) do
  if path:find "init%.lua$" then
    for name in read(path):gmatch '\n  ([%w_]+) = "orrery' do public[name] = true end
  end
end

-- The title of a Lua file, its entries, and the classes that it declares for editors.
local function lua_file(text)
  local title, entries, classes = "", {}, {}
  for i, block in ipairs(lua_blocks(text)) do
    local entry = split(block.text)
    local first = entry and entry.name:match "^[^.:]+"
    local of_module = entry and entry.name:find("^" .. first .. "%.") and first ~= "orrery"
    if entry and (not of_module or public[first]) then
      if of_module then
        entry.name = "orrery." .. entry.name
        entry.signature = "orrery." .. entry.signature
      end
      entry.annotations = block.annotations
      entries[#entries + 1] = entry
    elseif not entry and (block.annotations[1] or ""):find "^@class" then
      classes[#classes + 1] = block
    elseif i == 1 and not entry then
      title = block.text:gsub("^[%w_.]+%s+%-%s+", "")
    end
  end
  return title, entries, classes
end

-- The text of a .def file without comments, its macros of one parameter replaced by what they stand for.
local function expanded(text)
  text = text:gsub("/%*.-%*/", ""):gsub("\\\n", " ")
  local macros = {}
  text = text:gsub("#define ([%w_]+)%(([%w_]+)%)([^\n]*)", function(name, parameter, body)
    macros[#macros + 1] = { name = name, parameter = parameter, body = body }
    return ""
  end)
  for _, macro in ipairs(macros) do
    text = text:gsub("%f[%w_]" .. macro.name .. "(%b())", function(argument)
      return (macro.body:gsub("%f[%w_]" .. macro.parameter .. "%f[^%w_]", (argument:sub(2, -2):gsub("%%", "%%%%"))))
    end)
  end
  return text
end

-- Rows KIND(name, ..., "doc") that begin a line of a .def file, in order. The doc is the last text; a
-- planner's is the first, and its OPTION rows follow.
local function rows(text)
  local list, texts = {}, {}
  text = expanded(text):gsub('"([^"]*)"', function(words) -- texts may hold brackets
    texts[#texts + 1] = words
    return '"' .. #texts .. '"'
  end)
  for kind, body in ("\n" .. text):gmatch "\n([A-Z][A-Z_0-9]*)(%b())" do
    local row = { kind = kind, name = body:match "^%(%s*([%w_]+)", doc = "", options = {} }
    local head = body:gsub("OPTION%b()", "")
    for number in head:gmatch '"(%d+)"' do row.doc = texts[tonumber(number)] end
    for option in body:gmatch "OPTION(%b())" do
      local name, default = option:match "^%([A-Z]+,%s*([%w_]+),%s*([^,]+)"
      row.options[#row.options + 1] =
        { name = name, default = default, doc = texts[tonumber(option:match '"(%d+)"')] }
    end
    if row.name then list[#list + 1] = row end
  end
  return list
end

-- ---- writing the manual

-- The chapters of the manual in order, and the sources of each by their names; a .def file is written
-- with its ending. What is in INSIDE is for the library itself; what is in neither list comes last.
local CHAPTERS = {
  { "Environments", "env", "env_callbacks", "vector_env", "space", "check_env", "environments" },
  { "Replay", "replay", "replay_read", "recorder", "relabel", "stream" },
  { "Learners", "agent", "agent_files", "off_policy", "dqn", "ddpg", "td3", "sac", "mbpo", "fqi", "on_policy",
    "reinforce", "ppo", "trpo", "gae", "distribution" },
  { "Models", "model", "model_fit", "model_audit", "model_audit_plans", "model_audit_variance", "model_event_audit",
    "model_rollout", "model_linear", "model_files" },
  { "Learned rewards", "reward", "reward_net", "reward_classifier", "words" },
  { "Planning and policies", "mpc", "plan", "planners.def", "objective", "objective_score", "objective_options",
    "q_objective", "risks.def", "tasks", "policy", "evaluate" },
  { "Learning loops", "loop" },
  { "Networks and updates", "nn", "net", "layers.def", "inits.def", "update", "optimiser", "optimisers.def" },
  { "Compiled functions", "rowwise", "trace", "trace_transforms", "program", "symbol", "symbol_ops" },
  { "Tensors", "tensor", "tensor_make", "tensor_shapes", "tensor_operations", "tensor_files", "ops.def" },
  { "Pictures", "canvas", "image" },
  { "Scripts, runs and the engine", "options", "run", "json", "engine" },
}
local INSIDE = { calibration = true, identifiers = true, reward_head = true, model_events = true, model_data = true, model_score = true,
  model_training = true, mpc_objective = true,
  relabel_custom = true, relabel_rewards = true, relabel_sample = true, agent_tasks = true, agent_evaluation = true,
  deterministic = true,
  agent_replay = true,
  normaliser = true, task = true, judge = true, check = true, script = true, system = true, trace_capture = true, trace_explore = true,
  trace_functions = true, trace_record = true, trace_shapes = true, trace_verify = true,
  trace_bytecode = true, ["envs.def"] = true }

-- What a source is about, where its name does not say so to a user.
local HEADINGS = { env = "Making and stepping environments", env_callbacks = "Environments written in Lua",
  space = "Spaces and records", check_env = "Checking an environment", environments = "Built-in environments",
  replay = "The replay", replay_read = "Reading transitions and windows", relabel = "Relabelling",
  recorder = "Adding episodes", stream = "Random streams", model = "The model",
  model_fit = "Training", model_audit = "Errors of predictions", model_audit_plans = "Errors of plans",
  model_audit_variance = "Does it know what it does not know?", model_event_audit = "Events",
  model_rollout = "Plans in a model", model_files = "Models in files", model_linear = "Derivatives of a model",
  mpc = "Model-predictive control",
  plan = "Planners", objective = "Objectives", objective_score = "Asking an objective",
  objective_options = "Risk", q_objective = "A Q-function as objective", tasks = "Tasks of built-in environments",
  agent = "All learners", agent_files = "Learners in files", off_policy = "Learners from replay",
  on_policy = "Learners on policy", policy = "Policies", evaluate = "Evaluation", nn = "Usual nets and losses", net = "Nets",
  update = "Training steps", optimiser = "Making an optimiser", rowwise = "Functions of rows",
  trace = "Compiled and plain functions", trace_transforms = "Loops and derivatives", program = "Programs",
  symbol = "Symbols", symbol_ops = "Symbols along axes", tensor = "The tensor", tensor_make = "Tensors from sizes",
  tensor_shapes = "Shapes, parts and copies", tensor_operations = "Calculating", tensor_files = "Tensors in files",
  canvas = "The canvas", image = "Plots and files", options = "Options of a script", run = "Runs", json = "JSON",
  engine = "The engine", reward = "Rewards that are not known", reward_net = "From labels of many tasks",
  reward_classifier = "From examples of success", words = "Tasks told in words" }

-- What the rows of a .def file are.
local TABLES = { planners = "Planners and their options", layers = "Layers", optimisers = "Optimisers",
  risks = "Measures of risk", inits = "How the weights of a linear layer start",
  ops = "Functions of numbers, tensors and symbols" }

-- How the rows of a kind are called, where that is not the user's to choose.
local CALLS = { UNARY = "orrery.%s(x)", BINARY = "orrery.%s(a, b)" }

local sections = {} -- lines of each source, by name
local written = {} -- of each source: introductions and entries, before they are put together
local out = {}
local function put(format, ...)
  out[#out + 1] = select("#", ...) > 0 and format:format(...) or format
end

-- What `write` puts becomes the section of a source.
local function section(name, write)
  if INSIDE[name] then return end
  local whole = out
  out = {}
  write()
  if #out > 0 then sections[name] = out end
  out = whole
end

-- Whether a text leads through the source: it names files, or functions of a module that users do not see.
local function leads_inside(text, name)
  return text:find "[%w_]%.lua" or text:find "[%w_]%.[ch]%f[%W]"
    or not public[name] and text:find("%f[%w_]" .. name .. "%.%l")
end

-- An introduction without sentences that lead inside; the first letter is a capital, where it is a word's.
local function for_users(text, name)
  if leads_inside(text, name) then
    local kept = {}
    for sentence in (text .. "\n"):gsub("%.%s", ".\0"):gmatch "[^%z]+" do
      if not leads_inside(sentence, name) then kept[#kept + 1] = sentence end
    end
    text = table.concat(kept, " "):gsub(" \n", "\n")
  end
  return text:find "^[%w_]+[:.]%l" and text or (text:gsub("^%l", string.upper))
end

-- Two sources of one name (C and Lua) share a section.
local function collect(name, title, entries)
  if INSIDE[name] or #entries == 0 then return end
  local section = written[name] or { titles = {}, entries = {} }
  written[name] = section
  section.titles[#section.titles + 1] = for_users(title, name)
  table.move(entries, 1, #entries, #section.entries + 1, section.entries)
end

-- What makes things comes first, then methods of what the source belongs to ("model" of model_audit), then
-- those of what these answer; each in the order of the source.
local function in_order(name, entries)
  local ranks = { {}, {}, {} }
  for _, entry in ipairs(entries) do
    local owner = entry.name:match "^[^.:]+"
    local rank = ranks[owner == "orrery" and 1 or name:find("^" .. owner .. "_") and 2 or 3]
    rank[#rank + 1] = entry
  end
  table.move(ranks[2], 1, #ranks[2], #ranks[1] + 1, ranks[1])
  return table.move(ranks[3], 1, #ranks[3], #ranks[1] + 1, ranks[1])
end

-- A text as Markdown: lines that are set in by two spaces or more are shown as they are.
local function put_text(text)
  local fenced = false
  for line in (text:gsub("^\n+", ""):gsub("%s+$", "") .. "\n"):gmatch "(.-)\n" do
    local shown = line:match "^  "
    if shown and not fenced then put "```" end
    if fenced and not shown then put "```" end
    fenced = shown and true or false
    put("%s", shown and line:sub(3) or line)
  end
  if fenced then put "```" end
  put ""
end

local function put_entries(name, from)
  for _, title in ipairs(from.titles) do put_text(title) end
  for _, entry in ipairs(in_order(name, from.entries)) do
    put("#### `%s`\n", (entry.signature:gsub("%s*\n%s*", " ")))
    if entry.text ~= "" then put_text(entry.text) end
    for _, note in ipairs(entry.annotations or {}) do
      local name, rest = note:match "^@param%s+(%S+)%s*(.*)$"
      if name then put("- %s: `%s`", name, rest) end
      if note:find "^@return" then put("- returns `%s`", note:match "^@return%s+(.*)$") end
    end
    if #(entry.annotations or {}) > 0 then put "" end
  end
end

local function put_table(path, text)
  local list = rows(text)
  if #list == 0 then return end
  put "| name | |\n| --- | --- |"
  for _, row in ipairs(list) do
    local call = CALLS[row.kind]
    put("| `%s` | %s |", call and call:format(row.name) or row.name, row.doc)
    for _, option in ipairs(row.options) do
      put("| &nbsp;&nbsp;%s | %s; default %s |", option.name, option.doc, option.default)
    end
  end
  put ""
end

-- ---- writing annotations

local stubs = { "---@meta orrery", "", "---@class orrery", "local orrery = {}", "" }
local known = { orrery = true }

-- "(a, b, c...)" as names; a table constructor or anything else becomes `options`.
local function parameters(arguments)
  if arguments:find "^{" or arguments:find "^%(%s*{" then return { "options" } end
  local names, seen = {}, {}
  for part in arguments:sub(2, -2):gsub("[%[%]]", ""):gmatch "[^,]+" do
    local name = trim(part):match "^[%a_][%w_]*"
    if part:find "%.%.%." and name then name = name .. "_..." end
    if name and not seen[name] then
      seen[name] = true
      names[#names + 1] = name == "end" and "last" or name
    end
  end
  -- only the last one can stand for many
  for i, name in ipairs(names) do
    local many = name:match "^(.*)_%.%.%.$"
    if many then names[i] = i == #names and "..." or many end
  end
  return names
end

local function need(path)
  local parent = path:match "^(.*)%.[^.]+$"
  if known[path] then return end
  known[path] = true
  if parent then need(parent) end
  stubs[#stubs + 1] = ("---@class %s"):format(parent and path or "orrery." .. path)
  stubs[#stubs + 1] = ("%s%s = {}\n"):format(parent and "" or "local ", path)
end

local defined = {}
local function put_stub(entry)
  if defined[entry.name] then return end
  defined[entry.name] = true
  local owner = entry.name:match "^(.*)[.:][^.:]+$"
  need(owner)
  for line in entry.text:gmatch "[^\n]+" do stubs[#stubs + 1] = "--- " .. line end
  local names, typed = parameters(entry.arguments), {}
  for _, note in ipairs(entry.annotations or {}) do
    local name = note:match "^@param%s+([%w_.]+)" or note:match "^@(return)"
    if name then typed[name] = true end
    stubs[#stubs + 1] = "---" .. note
  end
  for _, name in ipairs(names) do
    if not typed[name] then stubs[#stubs + 1] = ("---@param %s any"):format(name) end
  end
  if not typed["return"] then stubs[#stubs + 1] = "---@return any" end
  stubs[#stubs + 1] = ("function %s(%s) end\n"):format(entry.name, table.concat(names, ", "))
end

-- Ops are methods of tensors and symbols, and functions of the module.
local function put_op_stubs(text)
  for _, row in ipairs(rows(text)) do
    if row.kind == "UNARY" or row.kind == "BINARY" then
      local other = row.kind == "BINARY" and "b" or ""
      local comma = other ~= "" and ", " or ""
      put_stub { name = "tensor:" .. row.name, arguments = "(" .. other .. ")", text = row.doc }
      put_stub { name = "orrery." .. row.name, arguments = "(a" .. comma .. other .. ")", text = row.doc }
    end
  end
end

-- ---- all together

local tables, env_folder = {}, "src/env/"
for _, path in ipairs(sources) do
  local text = read(path)
  if path:find "%.def$" then
    tables[#tables + 1] = { path, text }
    env_folder = path:match "^(.*)envs%.def$" or env_folder
  else
    local title, entries, classes
    if path:find "%.lua$" then title, entries, classes = lua_file(text)
    else title, entries, classes = c_title(text), c_entries(text), {} end
    for _, block in ipairs(classes) do
      for line in block.text:gmatch "[^\n]+" do stubs[#stubs + 1] = "--- " .. line end
      for _, note in ipairs(block.annotations) do stubs[#stubs + 1] = "---" .. note end
      stubs[#stubs + 1] = ""
    end
    local name = path:match "([%w_]+)%.%w+$"
    collect(name, title, entries)
    if not INSIDE[name] then
      for _, entry in ipairs(entries) do put_stub(entry) end
    end
  end
end
for name, from in pairs(written) do
  section(name, function() put_entries(name, from) end)
end
for _, pair in ipairs(tables) do
  section(pair[1]:match "[%w_]+%.def$", function() put_table(pair[1], pair[2]) end)
  if pair[1]:find "ops%.def$" then put_op_stubs(pair[2]) end
end

-- Bounds that differ between the numbers of a field are lists.
local function bound(value)
  if type(value) == "number" then return ("%.6g"):format(value) end
  local parts = {}
  for i, x in ipairs(value:totable()) do parts[i] = ("%.6g"):format(x) end
  local all = table.concat(parts, ", ")
  return all == (parts[1] .. ", "):rep(#parts - 1) .. parts[1] and parts[1] or all
end

local function put_environment(orrery, info)
  put("#### Environment `%s`\n", info.name)
  -- the equations and the reward
  put_text((for_users(c_title(read(env_folder .. info.name .. ".c")):gsub("%s*%([%w_]+%.h%)", ""), info.name)))
  local env = orrery.env(info.name)
  put "| field | | numbers | bounds |\n| --- | --- | --- | --- |"
  for _, kind in ipairs { "observation", "action" } do
    for _, field in ipairs(env[kind .. "_space"].fields) do
      put("| `%s` | %s | %d | %s to %s |", field.name, kind, field.count, bound(field.low), bound(field.high))
    end
  end
  put "\n| option | | default | range |\n| --- | --- | --- | --- |"
  for _, s in ipairs(info.settings) do
    put("| `%s` | %s | %.6g | %.6g to %.6g |", s.name, s.doc, s.value, s.low, s.high)
  end
  put("| `max_steps` | steps until an episode is truncated, 0: never | %d | |\n", env.max_steps)
end
section("environments", function()
  local orrery = require "orrery"
  for _, info in ipairs(orrery.environments()) do put_environment(orrery, info) end
end)

local placed, last = {}, { "Further" }
for _, chapter in ipairs(CHAPTERS) do
  for i = 2, #chapter do placed[chapter[i]] = true end
end
for name in pairs(sections) do
  if not placed[name] then last[#last + 1] = name end
end
table.sort(last, function(a, b) return (a == "Further") ~= (b == "Further") and a == "Further" or a < b end)
if #last > 1 then CHAPTERS[#CHAPTERS + 1] = last end

-- A section under its heading, which a chapter of one section has itself.
local function put_section(name, alone)
  local heading = TABLES[name:match "^(.*)%.def$"] or HEADINGS[name] or name:gsub("_", " "):gsub("^%l", string.upper)
  if not alone then put("### %s\n", heading) end
  table.move(sections[name], 1, #sections[name], #out + 1, out)
end

put "# Orrery: the Lua reference\n"
put "Generated from the source. `local orrery = require \"orrery\"`.\n"
for _, chapter in ipairs(CHAPTERS) do
  put("- [%s](#%s)", chapter[1], chapter[1]:lower():gsub("[^%w ]", ""):gsub(" ", "-"))
end
put ""
for _, chapter in ipairs(CHAPTERS) do
  put("## %s\n", chapter[1])
  for i = 2, #chapter do
    if sections[chapter[i]] then put_section(chapter[i], #chapter == 2) end
  end
end
stubs[#stubs + 1] = "return orrery"

local function write(name, lines)
  local file = assert(io.open(folder .. "/" .. name, "w"))
  assert(file:write(table.concat(lines, "\n"), "\n"))
  assert(file:close())
end
write("reference.md", out)
write("orrery.d.lua", stubs)
