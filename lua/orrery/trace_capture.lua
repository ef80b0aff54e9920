--- trace_capture.lua - what a function being traced sees of the world around it.
---
--- It runs as a copy (trace_bytecode.lua) whose upvalues hold stand-ins: helper functions are copies
--- too, tables are read-only proxies that note what is read, captured tensors are symbols that are
--- read live, math.* also takes symbols, and what has effects or depends on the moment is refused. The
--- host's own tables and functions are not touched at any moment.
---
--- What was read is a list of guards: look at them again, and you know whether the trace is stale.
local orrery = require "orrery"
local bytecode = require "orrery.trace_bytecode"
local functions = require "orrery.trace_functions"
local record = require "orrery.trace_record"
local core = orrery.trace_core

local capture = {}

local _, own_source = core.info(function() end)
local PREFIX = own_source:match("^(.*)trace_capture%.lua$") or own_source
capture.prefix = PREFIX -- of sources of the library's own files

local function is_library_function(f)
  local what, source = core.info(f)
  return what ~= "C" and source:sub(1, #PREFIX) == PREFIX
end

local function is_library_object(t)
  local meta = core.metatable(t)
  if not meta then return false end
  local name = rawget(meta, "__name")
  if type(name) == "string" and name:match("^orrery%.") then return true end
  for _, methods in ipairs { meta, type(meta.__index) == "table" and meta.__index or nil } do
    for _, f in next, methods do
      if type(f) == "function" then return is_library_function(f) end
    end
  end
  return false
end

-- Tables of the standard library and of ours: read without guards.
local function is_library_table(t)
  if t == orrery then return true end
  for _, name in ipairs { "math", "string", "table", "utf8", "os", "io", "coroutine", "debug", "package" } do
    if t == package.loaded[name] then return true end
  end
  return false
end

-- ---- sessions: one per graph

local Session = {}
Session.__index = Session

--- capture.new(promoted): promoted maps a place (see place_of) to the tensor that holds its number.
function capture.new(promoted)
  return setmetatable({
    guards = {}, noted = {}, literals = {}, promoted = promoted or {},
    clones = {}, proxies = {}, reals = {}, cells = {}, foreign = {}, shadows = {}, names = {}, draws = 0,
  }, Session)
end

-- Remembers that `value` was read from a place: an upvalue (variable id) or a table's field.
function Session:note(guard)
  local holder = guard.table or guard.id
  local at = self.noted[holder]
  if not at then
    at = {}
    self.noted[holder] = at
  end
  local key = guard.table and guard.key or 1
  if at[key] == nil then
    at[key] = guard
    self.guards[#self.guards + 1] = guard
  end
  return at[key]
end

local function promoted_tensor(promoted, guard)
  local at = promoted[guard.table or guard.id]
  return at and at[guard.table and guard.key or 1]
end

-- A number that changed before is read live; any other is a constant until it changes.
function Session:number(value, guard)
  local tensor = guard and promoted_tensor(self.promoted, guard)
  if not tensor then return value end
  tensor:fill(value)
  guard.tensor = tensor
  return core.parameter(tensor):named(guard.name)
end

--- session:value(v, guard): the stand-in for a value from outside.
function Session:value(v, guard, name)
  local kind = type(v)
  if kind == "number" then return self:number(v, guard) end
  if kind == "table" then
    if is_library_table(v) then return self:proxy(v, name) end
    if self.reals[v] or record.is(v) or functions.is_refusal(v) or is_library_object(v) then return v end
    return self:proxy(v, name)
  end
  if kind == "function" then return self:function_value(v, name) end
  if kind == "userdata" then
    if core.is_tensor(v) then return core.parameter(v) end
    local meta = core.metatable(v)
    if meta and rawget(meta, "__name") == "FILE*" then return functions.refusal("files") end
  end
  return v
end

function Session:function_value(f, name)
  local replacement = functions.replacement(f, self)
  if replacement then return replacement end
  if self.clones[f] then return self.clones[f] end
  if core.info(f) == "C" or is_library_function(f) then return self:foreign_function(f) end
  return self:clone(f, name)
end

-- C functions and the library's own know symbols, but not proxies.
function Session:foreign_function(f)
  local wrapped = self.foreign[f]
  if wrapped then return wrapped end
  if functions.knows_proxies(f) then
    wrapped = f
  else
    wrapped = function(...)
      local arguments = table.pack(...)
      for i = 1, arguments.n do arguments[i] = self:plain(arguments[i]) end
      return f(table.unpack(arguments, 1, arguments.n))
    end
  end
  self.foreign[f] = wrapped
  self.clones[wrapped] = wrapped
  return wrapped
end

--- session:plain(v): proxies, also inside plain tables, as tables with stand-ins for everything.
function Session:plain(v, depth)
  if type(v) ~= "table" or record.is(v) or is_library_object(v) then return v end
  depth = depth or 1
  if depth > 16 then error("a table nested too deeply (or holding itself) was given away", 0) end
  local real = self.reals[v]
  if not real and core.metatable(v) then return v end
  local copy, changed = {}, real ~= nil
  if real then self:note_keys(real, capture.sorted_keys(real), "table") end
  for key, value in next, real or v do
    if real then value = v[key] end
    copy[key] = self:plain(value, depth + 1)
    changed = changed or not rawequal(copy[key], value)
  end
  if not changed then return v end
  local meta = real and core.metatable(real)
  return meta and setmetatable(copy, self:shadow(meta)) or copy
end

-- ---- copies of functions

function Session:clone(f, name)
  local clone = bytecode.copy(f, self.literals)
  self.clones[f], self.clones[clone] = clone, clone
  self.names[clone] = name
  local i = 1
  while true do
    local upvalue_name, v = core.upvalue(f, i)
    if not upvalue_name then break end
    local id = core.upvalue_id(f, i)
    local cell = self.cells[id]
    if cell then
      core.join(clone, i, cell.clone, cell.index)
    else
      self:fill_cell(clone, i, id, f, upvalue_name, v)
    end
    i = i + 1
  end
  return clone
end

function Session:fill_cell(clone, i, id, f, name, v)
  local cell = { clone = clone, index = i, name = name, f = f, f_index = i }
  self.cells[id] = cell
  local guard = self:note { id = id, f = f, index = i, value = v, name = name }
  if name == "_ENV" then guard.name = nil end
  cell.value = self:value(v, guard, name ~= "_ENV" and name or nil)
  core.set_upvalue(clone, i, cell.value)
  if self.on_cell then self.on_cell(core.upvalue_id(clone, i), name) end
end

--- session:assigned(): the name of a captured variable that the traced function assigned to, or nil.
function Session:assigned()
  for _, cell in next, self.cells do
    local _, now = core.upvalue(cell.clone, cell.index)
    if not rawequal(now, cell.value) and (now == now or cell.value == cell.value) then
      core.set_upvalue(cell.clone, cell.index, cell.value)
      return cell.name
    end
  end
end

-- ---- tables

local EVENTS = { "__add", "__sub", "__mul", "__div", "__mod", "__pow", "__unm", "__idiv", "__concat",
                 "__lt", "__le", "__call", "__tostring", "__eq" }

local function child_name(name, key)
  if type(key) == "string" and key:match("^[%a_][%w_]*$") then return name and name .. "." .. key or key end
  return (name or "") .. "[" .. tostring(key) .. "]"
end

function Session:read(real, key, name)
  if core.is_symbol(key) then
    error(("%s[...]: a symbol cannot be the key of a table; use a tensor, or compare it with each key")
      :format(name or "table"), 3)
  end
  local proxied = self.reals[key]
  if proxied then key = proxied end
  local v = real[key]
  if self.library and self.library[real] then
    if type(v) == "table" then self.library[v] = true end
    return self:value(v, nil, child_name(name, key))
  end
  local guard = self:note { table = real, key = key, value = v, name = child_name(name, key) }
  return self:value(v, guard, guard.name)
end

-- Keys in an order that does not change from run to run.
function capture.sorted_keys(t)
  local keys = {}
  for key in next, t do keys[#keys + 1] = key end
  local rank = { number = 1, string = 2, boolean = 3 }
  table.sort(keys, function(a, b)
    local ka, kb = rank[type(a)] or 4, rank[type(b)] or 4
    if ka ~= kb then return ka < kb end
    if ka <= 2 then return a < b end
    return ka == 3 and a and not b
  end)
  return keys
end

-- Which keys there were; self.names stands for them among the table's keys.
function Session:note_keys(real, keys, name)
  self:note { table = real, key = self.names, value = #keys, name = name or "table", keys = keys }
end

function Session:proxy(real, name)
  local proxy = self.proxies[real]
  if proxy then return proxy end
  proxy = {}
  self.proxies[real], self.reals[proxy] = proxy, real
  if is_library_table(real) then
    self.library = self.library or setmetatable({}, { __mode = "k" })
    self.library[real] = true
  end
  local refused = functions.refused_library(real)
  local meta = {
    __index = function(_, key)
      if refused then functions.refuse_library(refused, key) end
      return self:read(real, key, name)
    end,
    __newindex = function(_, key)
      functions.refuse(("assigns to %s, which lives outside of it"):format(child_name(name, key)),
        "return the value instead, or mark the function with orrery.interpret")
    end,
    __len = function()
      local length = #real
      self:note { table = real, key = capture, value = length, name = "#" .. (name or "table"), length = true }
      return length
    end,
    __pairs = function(t)
      local keys, i = capture.sorted_keys(real), 0
      self:note_keys(real, keys, name)
      return function()
        i = i + 1
        if keys[i] ~= nil then return self:key(keys[i]), t[keys[i]] end
      end
    end,
    __metatable = "captured table",
  }
  local own = core.metatable(real)
  if own then
    for _, event in ipairs(EVENTS) do
      local handler = rawget(own, event)
      if handler then meta[event] = self:value(handler) end
    end
  end
  return setmetatable(proxy, meta)
end

-- Keys that are tables or functions are seen as their stand-ins.
function Session:key(key)
  if type(key) == "table" or type(key) == "function" then return self:value(key) end
  return key
end

--- session:shadow(meta): a metatable for tables made while tracing, standing in for a captured one.
function Session:shadow(meta)
  local shadow = self.shadows[meta]
  if shadow then return shadow end
  shadow = {}
  self.shadows[meta], self.shadows[shadow] = shadow, shadow
  for key in next, meta do
    local guard = self:note { table = meta, key = key, value = meta[key], name = tostring(key) }
    shadow[key] = self:value(meta[key], guard, tostring(key))
  end
  return shadow
end

-- ---- staleness

local function same(a, b) return rawequal(a, b) or (a ~= a and b ~= b) end

local function current(guard)
  if guard.id then
    local _, value = core.upvalue(guard.f, guard.index)
    return value
  end
  if guard.length then return #guard.table end
  if guard.keys then
    local count = 0
    for _ in next, guard.table do count = count + 1 end
    for _, key in ipairs(guard.keys) do
      if guard.table[key] == nil then return -1 end
    end
    return count
  end
  return guard.table[guard.key]
end

--- capture.changed(guards): the first guard that no longer holds, or nil. Numbers that are read live
--- are passed on to their tensors on the way; with `only_look`, nothing is.
function capture.changed(guards, only_look)
  for _, guard in ipairs(guards) do
    local value = current(guard)
    if not (same(value, guard.value) and math.type(value) == math.type(guard.value)) then
      if not guard.tensor or type(value) ~= "number" then return guard end
      if not only_look then
        guard.tensor:fill(value)
        guard.value = value
      end
    end
  end
end

--- capture.promote(guards, promoted): numbers among the guards that changed become live.
function capture.promote(guards, promoted)
  for _, guard in ipairs(guards) do
    local value = current(guard)
    if type(value) == "number" and type(guard.value) == "number" and not same(value, guard.value)
      and not guard.length and not guard.keys then
      local holder = guard.table or guard.id
      promoted[holder] = promoted[holder] or {}
      promoted[holder][guard.table and guard.key or 1] = orrery.full(value)
    end
  end
end

return capture
