--- options.lua - the knobs of a script in one table, which the command line may change.
---
---   local options = orrery.options {
---     seed = 1,          -- seed of every random number
---     steps = 10000,     -- environment steps of random experience
---     hidden = { 200, 200 },
---     brief = false,
---   }
---
--- `--steps=500 --hidden=64,64 --brief` on the command line replaces the defaults; a value must have
--- the type of its default. `--help` prints the comment at the head of the script, and the options
--- with their defaults and the comments behind them. Unknown names are refused, also when read.
local check = require "orrery.check"
local script = require "orrery.script"

-- ---- what the script's source says

-- Where each option stands after the line of the call: its place, and the comment behind it, which
-- may go on in the lines below. An option that shares its line with others has no comment.
local function documented(lines, first, names)
  local place, comment = {}, {}
  for _, name in ipairs(names) do
    for i = first, math.min(#lines, first + 200) do
      local code, note = lines[i]:match("^(.-)%-%-%s*(.*)$")
      code = code or lines[i]
      local at = code:find("%f[%w_]" .. name .. "%s*=[^=]") or code:find("%f[%w_]" .. name .. "%s*=$")
      if at then
        place[name] = i * 1000 + at
        local _, count = code:gsub("[%w_]+%s*=[^=]", "")
        if note and count == 1 then
          local below = i + 1
          while lines[below] and lines[below]:match("^%s+%-%-") do
            note = note .. " " .. lines[below]:match("^%s+%-%-%s*(.*)")
            below = below + 1
          end
          comment[name] = note
        end
        break
      end
    end
  end
  return place, comment
end

-- ---- values as text

local function text_of(value)
  if type(value) ~= "table" then return tostring(value) end
  local parts = {}
  for i, item in ipairs(value) do parts[i] = tostring(item) end
  return table.concat(parts, ",")
end

local function to_number(text, default)
  local value = tonumber(text)
  if not value or value ~= value then return nil, "a number" end
  if math.type(default) == "integer" then
    value = math.tointeger(value)
    if not value then return nil, "a whole number" end
  end
  return value
end

-- The text as a value of the default's type; nil and what it should have been.
local function parse(text, default)
  local kind = type(default)
  if kind == "boolean" then
    if text == "true" or text == "yes" or text == "1" then return true end
    if text == "false" or text == "no" or text == "0" then return false end
    return nil, "true or false"
  elseif kind == "number" then
    return to_number(text, default)
  elseif kind == "table" then
    local list = {}
    for item in text:gmatch("[^,]+") do
      local value, wanted = item, nil
      if default[1] ~= nil then value, wanted = parse(item, default[1]) end
      if value == nil then return nil, "a list separated by commas, each " .. wanted end
      list[#list + 1] = value
    end
    if #list == 0 then return nil, "a list separated by commas, as in " .. text_of(default) end
    return list
  end
  return text
end

-- ---- help

local function print_help(name, lines, line, defaults, presets)
  local names = check.sorted_keys(defaults)
  local place, comment = documented(lines, line, names)
  table.sort(names, function(a, b)
    local pa, pb = place[a] or math.huge, place[b] or math.huge
    if pa ~= pb then return pa < pb end
    return a < b
  end)
  local rows, width = {}, 0
  local function add(left, right)
    rows[#rows + 1] = { left, right }
    if #left <= 40 then width = math.max(width, #left) end -- a longer one stands out
  end
  for _, name in ipairs(names) do
    local default = defaults[name]
    local left = "--" .. name
    if default ~= false then left = left .. "=" .. text_of(default) end
    local note = comment[name]
    if not note and presets[name] then
      local parts = {}
      for _, key in ipairs(check.sorted_keys(presets[name])) do
        parts[#parts + 1] = key .. "=" .. text_of(presets[name][key])
      end
      note = table.concat(parts, " ")
    end
    add(left, note or "")
  end
  if script.mentions(lines, "run") then add("--out=FOLDER", "where the run goes; otherwise a new folder in runs/") end
  local about = script.description(lines)
  if about ~= "" then print(about .. "\n") end
  print(("Options of %s, with their defaults:"):format(name))
  for _, row in ipairs(rows) do
    local line = ("  %s%s  %s"):format(row[1], (" "):rep(width - #row[1]), row[2])
    print((line:gsub("%s+$", "")))
  end
end

-- ---- the command line

-- A mistake on the command line: an error that needs no traceback.
local function refuse(format, ...) script.refuse("options: " .. format, ...) end

-- --max-steps=5 as name "max_steps" and text "5"; a bare --brief has no text.
local function split(argument)
  local name, text = argument:match("^%-%-([%w_-]+)=(.*)$")
  name = name or argument:match("^%-%-([%w_-]+)$")
  return name and name:gsub("-", "_"), text
end

local function read(argument, defaults)
  local name, text = split(argument)
  if not name then
    refuse("'%s' is not of the form --name=value", argument)
  end
  local default = defaults[name]
  if name == "out" and default == nil then default = "" end
  if default == nil then
    local nearest = check.nearest(name, check.sorted_keys(defaults))
    refuse("there is no --%s%s (--help lists them all)", name,
      nearest and "; did you mean --" .. nearest .. "?" or "")
  end
  if not text then
    if type(default) ~= "boolean" then
      refuse("--%s needs a value, as in --%s=%s", name, name, text_of(default))
    end
    text = "true"
  end
  local value, wanted = parse(text, default)
  if value == nil then
    refuse("--%s=%s: it must be %s", name, text, wanted)
  end
  return name, value
end

local function check_defaults(defaults)
  for name, value in pairs(defaults) do
    local kind = type(value)
    if type(name) ~= "string" then
      error("options: every option needs a name, as in { steps = 1000 }", 3)
    end
    if kind ~= "number" and kind ~= "string" and kind ~= "boolean" and kind ~= "table" then
      error(("options: the default of '%s' must be a number, a text, true, false or a list, not a %s")
        :format(name, kind), 3)
    end
  end
end

-- A table of options that knows its own names.
local function guarded(values, names, out)
  local function unknown(_, name)
    error(check.unknown("options", name, names), 2)
  end
  return setmetatable(values, { __index = unknown, __newindex = unknown, out = out, __name = "options" })
end

--- orrery.options(defaults, presets): the defaults as changed by the command line (the global
--- `arg`). `presets` names sets of values that one flag chooses, as in
--- { brief = { steps = 200, members = 2 } } for --brief; options given one by one win over them.
return function(defaults, presets)
  check_defaults(defaults)
  presets = presets or {}
  local known = {}
  for name, value in pairs(defaults) do known[name] = value end
  for name in pairs(presets) do
    if known[name] == nil then known[name] = false end
  end
  local caller = debug.getinfo(2, "Sl")
  local given = {}
  for _, argument in ipairs(type(arg) == "table" and arg or {}) do
    if argument == "--help" or argument == "-h" then
      print_help(caller.short_src, script.lines(caller.source), caller.currentline, known, presets)
      os.exit(0, true)
    end
    local name, value = read(argument, known)
    given[name] = value
  end
  local values = {}
  for name, value in pairs(known) do values[name] = value end
  for _, preset in ipairs(check.sorted_keys(presets)) do
    if given[preset] then
      for name, value in pairs(presets[preset]) do
        if values[name] == nil then
          error(check.unknown("preset " .. preset, name, check.sorted_keys(known)), 2)
        end
        values[name] = value
      end
    end
  end
  for name, value in pairs(given) do
    if name ~= "out" or known.out ~= nil then values[name] = value end
  end
  return guarded(values, check.sorted_keys(known), given.out)
end
