--- trace_bytecode.lua - copies of Lua functions: the same bytecode, with a line number for each
--- instruction, so that the tracer's hook (src/lua/trace_closure.c) knows what runs next and errors can
--- still be told the script's own line. The format is that of ldump.c in Lua 5.4; what is read here was
--- written by lua_dump a moment ago, never by anybody else.
local orrery = require "orrery"
local core = orrery.trace_core

local bytecode = {}

local HEADER = "\27Lua\x54\0\x19\x93\r\n\x1a\n\4\8\8"
local FIRST_LINE = 1 << 24 -- as in trace_closure.c
bytecode.FIRST_LINE = FIRST_LINE
local MOST_LINES = (1 << 31) - (1 << 24)

local next_line = FIRST_LINE
local sites = {} -- of each function copied: first line, lines, constants, source

-- ---- reading and writing lua_dump's format

local Reader = {}
Reader.__index = Reader

function Reader:byte()
  local value = self.bytes:byte(self.at)
  self.at = self.at + 1
  return value
end

-- Whole numbers: 7 bits a byte, the highest first, the last one marked by its top bit.
function Reader:size()
  local value = 0
  while true do
    local byte = self:byte()
    value = value << 7 | byte & 0x7f
    if byte & 0x80 ~= 0 then return value end
  end
end

function Reader:take(length)
  local part = self.bytes:sub(self.at, self.at + length - 1)
  self.at = self.at + length
  return part
end

-- A text, or nil; its length is written plus one.
function Reader:text()
  local length = self:size()
  if length > 0 then return self:take(length - 1) end
end

local function size_bytes(value)
  local text = string.char(value & 0x7f | 0x80)
  value = value >> 7
  while value > 0 do
    text = string.char(value & 0x7f) .. text
    value = value >> 7
  end
  return text
end

-- ---- functions

local function read_constants(reader)
  local constants = {}
  for i = 1, reader:size() do
    local kind = reader:byte()
    if kind == 0x13 then constants[i] = string.unpack("n", reader:take(8))
    elseif kind == 0x03 then constants[i] = string.unpack("j", reader:take(8))
    elseif kind == 0x04 or kind == 0x14 then reader:text() end
  end
  return constants
end

-- The script's line of each instruction.
local function read_lines(reader, count, line)
  local lines, deltas = {}, reader:take(reader:size())
  local absolute = {}
  for _ = 1, reader:size() do
    local pc = reader:size()
    absolute[pc] = reader:size()
  end
  if #deltas < count then return lines end -- stripped
  for pc = 0, count - 1 do
    local delta = string.unpack("b", deltas, pc + 1)
    line = delta == -128 and absolute[pc] or line + delta
    lines[pc + 1] = line
  end
  return lines
end

-- Numbers that instructions hold themselves: of loads, sums and comparisons.
local function add_immediates(code, literals)
  for i = 1, #code, 4 do
    local instruction = string.unpack("I4", code, i)
    local op = instruction & 0x7f
    if op == 1 or op == 2 then literals[#literals + 1] = (instruction >> 15) - 65535 end
    if op == 21 then literals[#literals + 1] = (instruction >> 24) - 127 end
    if op >= 61 and op <= 65 then literals[#literals + 1] = (instruction >> 16 & 0xff) - 127 end
  end
end

-- Calls in tail position as plain ones followed by the return that is there anyway: a tail call gives
-- its frame away, and with it the line of a refusal. (CALL: 68, TAILCALL: 69; results: all, C = 0.)
local function without_tail_calls(code)
  local parts = {}
  for i = 1, #code, 4 do
    local instruction = string.unpack("I4", code, i)
    if instruction & 0x7f == 69 then
      instruction = instruction & 0x00ff7f80 | 68
      parts[#parts + 1] = string.pack("I4", instruction)
    else
      parts[#parts + 1] = code:sub(i, i + 3)
    end
  end
  return table.concat(parts)
end

-- Reads one function and appends its copy to `out`.
local function copy_function(reader, out, parent_source, literals)
  local start = reader.at
  local source = reader:text() or parent_source
  out[#out + 1] = reader.bytes:sub(start, reader.at - 1)
  local line = reader:size()
  reader:size() -- the last line
  local header = reader:take(3) -- parameters, varargs, stack
  local count = reader:size()
  local code = without_tail_calls(reader:take(count * 4))
  start = reader.at
  local constants = read_constants(reader)
  reader:take(reader:size() * 3) -- upvalues
  if next_line + count + 2 >= FIRST_LINE + MOST_LINES then error("too many functions were traced", 0) end
  local site = { first = next_line, count = count, source = source, constants = constants, code = code, line = line }
  next_line = next_line + count + 2
  sites[#sites + 1] = site
  for _, constant in pairs(constants) do literals[#literals + 1] = constant end
  add_immediates(code, literals)
  out[#out + 1] = size_bytes(site.first) .. size_bytes(site.first) .. header .. size_bytes(count) .. code
  out[#out + 1] = reader.bytes:sub(start, reader.at - 1)
  core.add_code(site.first, code)
  local inner = reader:size()
  out[#out + 1] = size_bytes(inner)
  for _ = 1, inner do copy_function(reader, out, source, literals) end
  site.lines = read_lines(reader, count, line)
  out[#out + 1] = size_bytes(count) .. ("\1"):rep(count) .. size_bytes(0)
  start = reader.at
  for _ = 1, reader:size() do -- local variables
    reader:text()
    reader:size()
    reader:size()
  end
  for _ = 1, reader:size() do reader:text() end -- names of upvalues
  out[#out + 1] = reader.bytes:sub(start, reader.at - 1)
end

--- bytecode.copy(f, literals): a function with the same code and fresh upvalues, or nil for a C
--- function. The numbers in its source are appended to `literals`.
function bytecode.copy(f, literals)
  local bytes = core.dump(f)
  if not bytes then return nil end
  local _, source = core.info(f)
  if not bytecode.exact then -- the numbers in the source are unknown: small whole ones stand for them
    for i = -8, 8 do literals[#literals + 1] = i end
    return core.undump(bytes, source)
  end
  local head = #HEADER + 16 + 1 -- the header ends with an integer and a number to compare
  local reader = setmetatable({ bytes = bytes, at = head + 1 }, Reader)
  local out = { bytes:sub(1, head) }
  copy_function(reader, out, source, literals)
  return core.undump(table.concat(out), source)
end

--- bytecode.forget(): copies made so far will not run any more.
function bytecode.forget()
  sites, next_line = {}, FIRST_LINE
  core.forget_code()
end

local function find_site(line)
  local low, high = 1, #sites
  while low <= high do
    local middle = (low + high) // 2
    local site = sites[middle]
    if line < site.first then high = middle - 1
    elseif line > site.first + site.count then low = middle + 1
    else return site end
  end
end

--- bytecode.line(line): the script's line for one of a copy, which may be any other as well.
function bytecode.line(line)
  local site = line >= FIRST_LINE and find_site(line)
  if not site then return line end
  return site.lines and site.lines[line - site.first] or site.line
end

local function short_source(source)
  if source:match("^[@=]") then return source:sub(2) end
  return ('[string "%s"]'):format(source:match("^[^\n]*"))
end

--- bytecode.position(line): "file:line" of the script.
function bytecode.position(line)
  local site = find_site(line)
  return site and short_source(site.source) .. ":" .. tostring(bytecode.line(line)) or "?"
end

--- bytecode.constant(first, index): the number in the constant table, index from 0, or nil.
function bytecode.constant(first, index)
  local site = find_site(first)
  return site and site.constants[index + 1]
end

--- bytecode.words(message): with the script's lines in place of the copies'.
function bytecode.words(message)
  if type(message) ~= "string" then return message end
  return (message:gsub(":(%d+)", function(line)
    line = #line < 12 and math.tointeger(tonumber(line))
    if line and line >= FIRST_LINE then return ":" .. tostring(bytecode.line(line)) end
  end))
end

-- Whether this Lua is one whose bytecode we know: otherwise copies are made without watching them.
local function known()
  local function sample(a, t, b)
    if a == 3 or a == 2.5 or a == b then t[a] = 1 end
    next_line = next_line
    return t[a]
  end
  local bytes = core.dump(sample)
  if bytes:sub(1, #HEADER) ~= HEADER then return false end
  local ok, copy = pcall(bytecode.copy, sample, {})
  if not ok then return false end
  local ops = {}
  for i = 1, #sites[1].code, 4 do ops[sites[1].code:byte(i) & 0x7f] = true end
  for _, op in ipairs { 57, 60, 61, 10, 12, 16 } do -- EQ, EQK, EQI, SETUPVAL, GETTABLE, SETTABLE
    if not ops[op] then return false end
  end
  return copy(3, {}) == 1 and copy(2, { 5, 6 }) == 6 and copy(2.5, {}) == 1
end

bytecode.exact = true
bytecode.exact = known() and true or false
bytecode.forget()

return bytecode
