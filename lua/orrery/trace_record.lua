--- trace_record.lua - samples with named fields: s.velocity reads its part of the flat vector that a
--- space lays out. The vector is a symbol while tracing; a tensor, or a list of numbers, otherwise.
local orrery = require "orrery"
local check = require "orrery.check"
local core = orrery.trace_core

local record = {}

-- record -> { fields, vector, name, read = {} }; with `make` in place of a vector: see record.lazy
local contents = setmetatable({}, { __mode = "k" })
local Record = { __name = "orrery.record", __metatable = "record" }

local known = setmetatable({}, { __mode = "k" }) -- space userdata -> fields

-- The bound of every number of a field: one number, or a list of them.
local function bound_list(bound)
  if core.is_tensor(bound) then return bound:flatten():totable() end
  return bound
end

local function bound_key(bound)
  return type(bound) == "table" and table.concat(bound, " ") or tostring(bound)
end

local function read_fields(list)
  local fields, offset, key = { by_name = {} }, 0, {}
  for i, field in ipairs(list) do
    local shape, count = field.shape or {}, 1
    for _, size in ipairs(shape) do count = count * size end
    local at = field.offset or offset
    fields[i] = { name = field.name, shape = shape, offset = at, count = count, low = bound_list(field.low),
                  high = bound_list(field.high), n = field.n }
    fields.by_name[field.name] = fields[i]
    key[i] = ("%s[%s]@%d:%s..%s"):format(field.name, table.concat(shape, "x"), at, bound_key(fields[i].low),
      bound_key(fields[i].high))
    offset = at + count
  end
  fields.size = offset
  fields.key = table.concat(key, ",")
  return fields
end

--- record.fields(space): a list of { name, shape, offset (from 0), count, low, high, n }, with its `size`
--- and a `key` that equal spaces share. A space is the userdata orrery.space, or such a list, in
--- which offset and count may be left out.
function record.fields(space)
  if type(space) == "table" and space.by_name then return space end
  if type(space) ~= "table" and type(space) ~= "userdata" then
    error("a space or a list of fields is needed, not a " .. type(space), 3)
  end
  if known[space] then return known[space] end
  local fields = read_fields(type(space) == "userdata" and space.fields or space)
  if type(space) == "userdata" then known[space] = fields end
  return fields
end

local function names_of(fields)
  local names = {}
  for i, field in ipairs(fields) do names[i] = field.name end
  return names
end

--- record.missing(name, what, names): the message about a field that does not exist.
function record.missing(name, what, names)
  local nearest = type(name) == "string" and check.nearest(name, names)
  return ("no field '%s' in %s (%s)%s"):format(tostring(name), what, table.concat(names, ", "),
    nearest and ("; did you mean '%s'?"):format(nearest) or "")
end

-- A plain table of named values, of which others are an error rather than nil.
local Named = {}

function Named:__index(key)
  if type(key) ~= "string" then return nil end
  local names = check.sorted_keys(self)
  check.fail("%s", record.missing(key, "the sample", names))
end

--- record.named(t): t as such a table; record.is_plain(v): whether v is one, or a plain table;
--- record.like(v): an empty table of its kind.
function record.named(t) return setmetatable(t, Named) end
function record.is_plain(v)
  if type(v) ~= "table" then return false end
  local meta = core.metatable(v)
  return meta == nil or meta == Named
end
function record.like(v) return setmetatable({}, core.metatable(v) or nil) end

local function read_field(vector, field)
  if #field.shape == 0 then return vector[field.offset + 1] end
  if type(vector) == "table" then
    local part = orrery.tensor(table.move(vector, field.offset + 1, field.offset + field.count, 1, {}))
    return #field.shape == 1 and part or part:reshape(field.shape)
  end
  local part = vector:slice(field.offset + 1, field.offset + field.count)
  return #field.shape == 1 and part or part:reshape(field.shape)
end

local function whole(c)
  if c.vector == nil then
    local parts = {}
    for i, field in ipairs(c.fields) do
      c.read[field.name] = c.read[field.name] or c.make(field)
      parts[i] = c.read[field.name]:reshape(field.count)
    end
    c.vector = orrery.concat(parts)
  end
  return c.vector
end

local function vector_of(self) return whole(contents[self]) end

function Record:__index(key)
  local c = contents[self]
  local field = c.fields.by_name[key]
  if not field then
    if key == "vector" then return vector_of end
    local names = names_of(c.fields)
    local hint = type(key) == "number" and names[1] and ("; fields have names, as in %s.%s"):format(c.name or "s",
      names[1]) or ""
    check.fail("%s%s", record.missing(key, c.name or "the sample", names), hint)
  end
  local value = c.read[key]
  if value == nil then
    value = c.make and c.make(field) or not c.make and read_field(c.vector, field)
    if core.is_symbol(value) then value = value:named(field.name) end
    c.read[key] = value
  end
  return value
end

-- A record is no number: says so with a field's name.
local function refuse_operator(left, right)
  local self = contents[left] and left or right
  local c = contents[self]
  local name, names = c.name or "the sample", names_of(c.fields)
  error(("%s is a sample of named fields (%s), not a number: use a field, as in %s.%s"):format(name,
    table.concat(names, ", "), c.name or "s", names[1] or "field"), 2)
end

for _, event in ipairs { "__add", "__sub", "__mul", "__div", "__mod", "__pow", "__unm", "__idiv", "__lt", "__le" } do
  Record[event] = refuse_operator
end

function Record:__newindex(key)
  error(("samples cannot be changed: %s.%s is read-only; compute a new value instead")
    :format(contents[self].name or "s", tostring(key)), 2)
end

function Record:__pairs()
  local fields, i = contents[self].fields, 0
  return function()
    i = i + 1
    if fields[i] then return fields[i].name, self[fields[i].name] end
  end
end

function Record:__tostring()
  local c = contents[self]
  return ("%s (%s)"):format(c.name or "sample", table.concat(names_of(c.fields), ", "))
end

--- record.new(space, vector, name): the sample; `name` stands for it in messages ("s").
function record.new(space, vector, name)
  local fields = type(space) == "table" and type(space) == "table" and space.by_name and space or record.fields(space)
  local self = setmetatable({}, Record)
  contents[self] = { fields = fields, vector = vector, name = name, read = {} }
  return self
end

--- record.lazy(space, make, name): a sample of which every field is made by make(field) when it is first
--- read; its vector only where it is asked for.
function record.lazy(space, make, name)
  local self = setmetatable({}, Record)
  contents[self] = { fields = record.fields(space), make = make, name = name, read = {} }
  return self
end

--- record.is(x), record.vector(x), record.space(x): whether it is one, its flat vector, its fields.
function record.is(x) return contents[x] ~= nil end
function record.vector(x) return whole(contents[x]) end
function record.space(x) return contents[x].fields end
function record.name(x) return contents[x].name end

return record
