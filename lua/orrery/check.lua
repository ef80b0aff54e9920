--- check.lua - options tables that refuse what they do not know, naming the nearest known name.
local check = {}

--- check.fail(format, ...): raises the formatted message at the line of the nearest script outside
--- the library, however deep in the library, or in which tail call, the mistake is found.
function check.fail(format, ...)
  local message, where = format:format(...), ""
  for level = 2, math.huge do
    local frame = debug.getinfo(level, "Sl")
    if not frame then break end
    if frame.currentline > 0 and not frame.source:find("lua/orrery/", 1, true) then
      where = ("%s:%d: "):format(frame.short_src, frame.currentline)
      break
    end
  end
  error(where .. message, 0)
end

--- check.without_place(message): a message without the script's line in front, which check.fail tells again.
function check.without_place(message) return (tostring(message):gsub("^[^\n]-:%d+: ", "", 1)) end

--- check.try(f, ...): what pcall gives; but that the script is to stop, by Ctrl-C, is no failure of f: it is raised.
function check.try(f, ...)
  local results = table.pack(pcall(f, ...))
  local message = results[2]
  if not results[1] and (package.loaded.orrery.system.interrupted()
    or type(message) == "string" and message:find "interrupted!?$") then -- with "!" from the program lua
    error(message, 0)
  end
  return table.unpack(results, 1, results.n)
end

-- Edit distance of two words (Levenshtein), counting a swap of neighbours as one.
local function distance(a, b)
  local rows = { [0] = {} }
  for j = 0, #b do rows[0][j] = j end
  for i = 1, #a do
    local row, above = { [0] = i }, rows[i - 1]
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j)
      row[j] = math.min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (same and 0 or 1))
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        row[j] = math.min(row[j], rows[i - 2][j - 2] + 1)
      end
    end
    rows[i] = row
  end
  return rows[#a][#b]
end

--- check.sorted_keys(t): the text keys of a table in alphabetical order, for loops whose order matters.
function check.sorted_keys(t)
  local keys = {}
  for key in pairs(t) do
    if type(key) == "string" then keys[#keys + 1] = key end
  end
  table.sort(keys)
  return keys
end

--- check.nearest(name, names): the one of a list of names that a person most likely meant, or nil.
function check.nearest(name, names)
  local best, least = nil, math.huge
  for _, known in ipairs(names) do
    local d = distance(name:lower(), known:lower())
    if d < least then best, least = known, d end
  end
  local length = best and math.min(#name, #best) or 0
  local most = length < 6 and 1 or length // 3 -- "foo" is not "cos"
  if least <= most and least < length then return best end
end

--- check.unknown(what, name, names): a message about an unknown name: "fit options: there is no
--- 'epocs'; did you mean 'epochs'?"
function check.unknown(what, name, names)
  local nearest = type(name) == "string" and check.nearest(name, names)
  if nearest then
    return ("%s: there is no '%s'; did you mean '%s'?"):format(what, name, nearest)
  end
  local list = #names > 0 and "; there is " .. table.concat(names, ", ") or ""
  return ("%s: there is no '%s'%s"):format(what, tostring(name), list)
end

--- check.options(what, given, defaults): a new table of the defaults, overwritten by what is given.
--- `given` may be nil. A default fixes the type of its value; one that is the text "any", or
--- "optional number" and the like, leaves it open or absent. Raises on unknown names and wrong types.
function check.options(what, given, defaults)
  local result = {}
  for name, value in pairs(defaults) do
    local open = type(value) == "string" and (value == "any" or value:match("^optional "))
    if not open then result[name] = value end
  end
  if given == nil then return result end
  if type(given) ~= "table" then
    check.fail("%s: a table of named options is needed, not a %s", what, type(given))
  end
  for name, value in pairs(given) do
    local default = defaults[name]
    if default == nil then
      check.fail("%s", check.unknown(what, name, check.sorted_keys(defaults)))
    end
    local wanted = type(default)
    if wanted == "string" and (default == "any" or default:match("^optional ")) then
      wanted = default:match("^optional (.+)")
    end
    local kind = type(value)
    if wanted and wanted ~= "any" and kind ~= wanted then
      check.fail("%s: %s must be a %s, not a %s", what, name, wanted, kind)
    end
    result[name] = value
  end
  return result
end

-- ---- what is given in place of an environment or a run

--- check.is_env(value): whether it is an environment, as orrery.env makes them.
function check.is_env(value)
  local known, safe = pcall(function() return value.thread_safe end)
  return type(value) == "userdata" and known and type(safe) == "boolean"
end

local function is_definition(value)
  if type(value) ~= "table" then return false end
  local known, found = pcall(function() return type(value.step) == "function" and value.act == nil end)
  return known and found
end

-- A built-in environment of that name, or else one of any name.
local function example_of(name)
  for _, known in ipairs(require("orrery").environments()) do
    if known.name == name then return name end
  end
  return "pendulum"
end

--- check.env(who, value, form): raises where the value is no environment, and says how one is given there: form, as
--- "{ env = %s }".
function check.env(who, value, form)
  if check.is_env(value) then return end
  if is_definition(value) then
    check.fail("%s: an environment is needed, not the table that defines one; wrap it: %s, where t is the table", who,
      form:format("orrery.env(t)"))
  end
  local made = form:format(("orrery.env \"%s\""):format(example_of(value)))
  local instead = type(value) == "string" and (", not the text '%s'"):format(value)
    or value ~= nil and (", not a %s"):format(type(value)) or ""
  check.fail("%s: an environment is needed, as in %s%s", who, made, instead)
end

--- check.run(who, run): raises where it is neither nil nor a run, as orrery.run makes them.
function check.run(who, run)
  if run == nil then return end
  local known, found = pcall(function() return type(run.log) == "function" and type(run.progress) == "function" end)
  if known and found then return end
  check.fail("%s: run must be one as orrery.run makes it, as in run = orrery.run { name = \"reach\" }, not %s", who,
    type(run) == "string" and ("the text '%s'"):format(run) or "a " .. type(run))
end

return check
