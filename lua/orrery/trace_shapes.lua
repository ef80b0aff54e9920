--- trace_shapes.lua - what functions return: numbers, symbols, tensors, records and tables of these.
--- Joining the results of two paths, taking them apart into named outputs, putting them together.
local orrery = require "orrery"
local check = require "orrery.check"
local record = require "orrery.trace_record"
local core = orrery.trace_core

local shapes = {}

local function sorted_keys(t)
  local capture = require "orrery.trace_capture"
  return capture.sorted_keys(t)
end

local function is_plain_table(v)
  return record.is_plain(v) and not record.is(v)
end

-- A captured table that is returned, as a table of stand-ins.
local function settle(v)
  local active = require "orrery.trace_functions".active
  if type(v) == "table" and active and active.session.reals[v] then return active.session:plain(v) end
  if record.is(v) then return record.vector(v) end
  return v
end

--- shapes.describe(v): "a number", "a vector of 3", "nothing" ...
function shapes.describe(v)
  if v == nil then return "nothing" end
  if core.is_symbol(v) or core.is_tensor(v) then
    local sizes = { v:shape() }
    if #sizes == 0 then return "a number" end
    return #sizes == 1 and "a vector of " .. sizes[1] or "an array of " .. table.concat(sizes, " x ")
  end
  if type(v) == "string" then return ("the text '%s'"):format(v) end
  if is_plain_table(v) then
    local names = {}
    for i, key in ipairs(sorted_keys(v)) do names[i] = tostring(key) end
    return ("a table of (%s)"):format(table.concat(names, ", "))
  end
  return "a " .. type(v)
end

local function numeric(v)
  return type(v) == "number" or type(v) == "boolean" or core.is_symbol(v) or core.is_tensor(v)
end

local function same_shape(a, b)
  local function sizes(v) return type(v) == "userdata" and table.concat({ v:shape() }, "x") or "" end
  return sizes(a) == sizes(b)
end

local function differ(a, b)
  return nil, { "returns " .. shapes.describe(a), "returns " .. shapes.describe(b) }
end

local function join_values(condition, a, b)
  a, b = settle(a), settle(b)
  if rawequal(a, b) then return a end
  if numeric(a) and numeric(b) then
    local booleans = type(a) == "boolean" or type(b) == "boolean"
    if booleans and not (type(a) == type(b)) and not (core.is_symbol(a) or core.is_symbol(b)) then
      return differ(a, b)
    end
    if not same_shape(a, b) then return differ(a, b) end
    return condition:where(a, b)
  end
  if is_plain_table(a) and is_plain_table(b) then
    local joined = {}
    for _, key in ipairs(sorted_keys(a)) do
      if b[key] == nil then return differ(a, b) end
      local value, problem = join_values(condition, a[key], b[key])
      if problem then return nil, problem end
      joined[key] = value
    end
    for key in next, b do
      if a[key] == nil then return differ(a, b) end
    end
    return joined
  end
  return differ(a, b)
end

--- shapes.join(condition, yes, no): packed results of two paths as one; or nil and how they differ.
function shapes.join(condition, yes, no)
  local joined = { n = math.max(yes.n, no.n) }
  for i = 1, joined.n do
    if yes[i] ~= nil or no[i] ~= nil then
      local value, problem = join_values(condition, yes[i], no[i])
      if problem then return nil, problem end
      joined[i] = value
    end
  end
  return joined
end

--- shapes.copy(v): plain tables are copied, so that a caller may change them.
function shapes.copy(v)
  if not is_plain_table(v) then return v end
  local copy = record.like(v)
  for key, value in next, v do copy[key] = shapes.copy(value) end
  return copy
end

--- shapes.replace(v, f): plain tables are copied; every value for which f returns x, true becomes x.
function shapes.replace(v, f)
  local replacement, found = f(v)
  if found then return replacement end
  if not is_plain_table(v) then return v end
  local copy = record.like(v)
  for key, value in next, v do copy[key] = shapes.replace(value, f) end
  return copy
end

local function flatten_value(v, name, what, leaves)
  v = settle(v)
  if numeric(v) then
    leaves[#leaves + 1] = { name = name, symbol = core.symbol(v), boolean = type(v) == "boolean" }
    return { leaf = name }
  elseif is_plain_table(v) then
    local parts = {}
    for _, key in ipairs(sorted_keys(v)) do
      parts[key] = flatten_value(v[key], name == "" and tostring(key) or name .. "." .. tostring(key), what, leaves)
    end
    return { parts = parts }
  elseif v == nil then
    error(what .. " returns nothing; it must return a number, a tensor or a table of them", 0)
  end
  error(("%s returns %s; it must return numbers, tensors or tables of them"):format(what, shapes.describe(v)), 0)
end

--- shapes.flatten(results, what): packed results as a list of { name, symbol } and a template for
--- shapes.fill. One number is called "result", fields of one table by their keys, several results
--- "1", "2" ...
function shapes.flatten(results, what)
  local leaves, template = {}, { n = results.n }
  if results.n == 0 then flatten_value(nil, "", what, leaves) end
  for i = 1, results.n do
    local name = results.n > 1 and tostring(i) or is_plain_table(settle(results[i])) and "" or "result"
    template[i] = flatten_value(results[i], name, what, leaves)
  end
  return leaves, template
end

local function fill_value(template, outputs)
  if template.leaf then return outputs[template.leaf] end
  local made = {}
  for key, part in next, template.parts do made[key] = fill_value(part, outputs) end
  return made
end

shapes.fill_one = fill_value

--- shapes.fill(template, outputs): the results, from outputs by name.
function shapes.fill(template, outputs)
  local results = { n = template.n }
  for i = 1, template.n do results[i] = fill_value(template[i], outputs) end
  return results
end

local function numbers_of(v, template, numbers)
  if template.leaf then
    local list
    if type(v) == "number" then list = { v }
    elseif type(v) == "boolean" then list = { v and 1 or 0 }
    elseif record.is(v) then return numbers_of(record.vector(v), template, numbers)
    elseif core.is_tensor(v) then list = v:flatten():totable()
    elseif is_plain_table(v) then list = v
    else return false end
    numbers[template.leaf] = list
    return true
  end
  if type(v) ~= "table" then return false end
  for _, key in ipairs(check.sorted_keys(v)) do
    if template.parts[key] == nil then return false end
  end
  for key, part in next, template.parts do
    if not numbers_of(v[key], part, numbers) then return false end
  end
  return true
end

--- shapes.numbers(results, template): packed results of plain Lua as lists of numbers by output name; nil
--- where their structure is another.
function shapes.numbers(results, template)
  local numbers = {}
  for i = 1, template.n do
    if not numbers_of(results[i], template[i], numbers) then return nil end
  end
  return numbers
end

return shapes
