--- json.lua - Lua values as JSON text: keys sorted, so that equal values give equal files.
local check = require "orrery.check"

local json = {}

local escapes = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function quote(text)
  return '"' .. text:gsub('[%c"\\]', function(c)
    return escapes[c] or ("\\u%04x"):format(c:byte())
  end) .. '"'
end

-- JSON has no names for these; Python's float() and tonumber-like readers know the words.
local function number(x)
  if x ~= x then return '"nan"' end
  if x == math.huge then return '"inf"' end
  if x == -math.huge then return '"-inf"' end
  if math.type(x) == "integer" then return ("%d"):format(x) end
  local short = ("%.14g"):format(x)
  return tonumber(short) == x and short or ("%.17g"):format(x)
end

local encode

local function list(t, depth)
  local parts = {}
  for i, value in ipairs(t) do parts[i] = encode(value, depth) end
  return "[" .. table.concat(parts, ", ") .. "]"
end

local function object(t, depth, indent)
  local parts = {}
  for _, key in ipairs(check.sorted_keys(t)) do
    parts[#parts + 1] = quote(key) .. ": " .. encode(t[key], depth)
  end
  if indent and #parts > 0 then return "{\n  " .. table.concat(parts, ",\n  ") .. "\n}" end
  return "{" .. table.concat(parts, ", ") .. "}"
end

function encode(value, depth, indent)
  local kind = type(value)
  if depth > 32 then error("json: the table is nested too deeply, or contains itself", 0) end
  if kind == "number" then return number(value) end
  if kind == "boolean" or kind == "nil" then return tostring(value) end
  if kind == "string" then return quote(value) end
  if kind == "table" then
    if #value > 0 then return list(value, depth + 1) end
    return object(value, depth + 1, indent)
  end
  local convert = kind == "userdata" and value.totable
  if convert then return encode(convert(value), depth + 1) end
  return quote(tostring(value))
end

--- json.encode(value): one line of JSON. Tables with a list part become lists, others objects with
--- their text keys; what is not finite becomes "nan", "inf" or "-inf"; functions become their name.
function json.encode(value) return encode(value, 0) end

--- json.pretty(value): the same, one field of the outermost object per line.
function json.pretty(value) return encode(value, 0, true) .. "\n" end

return json
