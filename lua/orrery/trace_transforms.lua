--- trace_transforms.lua - functions of functions: loops with carried state and derivatives. While a
--- trace goes on they add to its graph; otherwise they run: scan as a plain loop, derivatives by
--- tracing and compiling the function first.
local check = require "orrery.check"
local orrery = require "orrery"
local record = require "orrery.trace_record"
local trace = require "orrery.trace"
local core = orrery.trace_core

local transforms = {}

local is_symbol, is_tensor = core.is_symbol, core.is_tensor

local function is_table(v) return record.is_plain(v) and not record.is(v) end

local function sorted_keys(t)
  return require "orrery.trace_capture".sorted_keys(t)
end

-- ---- structures: numbers, tensors, symbols and nested tables of them, as flat lists

-- Appends the leaves of v to `list`, and answers how to put them back together.
local function take_apart(v, list, what)
  if record.is(v) then v = record.vector(v) end
  if is_table(v) then
    local parts = {}
    for _, key in ipairs(sorted_keys(v)) do parts[#parts + 1] = { key, take_apart(v[key], list, what) } end
    return { parts = parts }
  end
  if type(v) ~= "number" and type(v) ~= "boolean" and not is_symbol(v) and not is_tensor(v) then
    check.fail("%s must be a number, a tensor or a table of them, not %s", what, v == nil and "nothing" or
      "a " .. type(v))
  end
  list[#list + 1] = v
  return { at = #list }
end

local function put_together(plan, list)
  if plan.at then return list[plan.at] end
  local made = {}
  for _, part in ipairs(plan.parts) do made[part[1]] = put_together(part[2], list) end
  return made
end

local function same_plan(a, b)
  if a.at or b.at then return a.at == b.at end
  if #a.parts ~= #b.parts then return false end
  for i, part in ipairs(a.parts) do
    if part[1] ~= b.parts[i][1] or not same_plan(part[2], b.parts[i][2]) then return false end
  end
  return true
end

local function any_symbol(...)
  for i = 1, select("#", ...) do
    local v = select(i, ...)
    if is_symbol(v) or record.is(v) and is_symbol(record.vector(v)) then return true end
    if is_table(v) then
      for _, part in next, v do
        if any_symbol(part) then return true end
      end
    end
  end
  return false
end

-- ---- scan

local function length_of(sequences, wanted)
  local length = wanted
  for _, x in ipairs(sequences) do
    local n = (is_symbol(x) or is_tensor(x)) and x:axes() > 0 and x:size(1)
    if not n then check.fail("scan: a sequence must have an axis of steps in front") end
    if length and n ~= length then
      check.fail("scan: a sequence has %d steps where %d are expected", n, length)
    end
    length = n
  end
  if not length then check.fail("scan: give sequences or options.length") end
  return length
end

local function check_carry(before, after)
  if not same_plan(before, after) then
    check.fail("scan: the body must return a carry of the same structure as the one it is given")
  end
end

local function scan_symbols(body, carry, sequences, length, backwards)
  local initial, over = {}, {}
  local carry_plan = take_apart(carry, initial, "scan: the carry")
  local sequence_plan = sequences ~= nil and take_apart(sequences, over, "scan: a sequence")
  local outer = core.current()
  local graph = core.scan_begin(length, backwards)
  core.enter(graph)
  local ok, result = pcall(function()
    local carried, slices = {}, {}
    for i, x in ipairs(initial) do carried[i] = core.scan_carry(graph, x) end
    for i, x in ipairs(over) do slices[i] = core.scan_slice(graph, x) end
    local next_carry, output = trace.explore("the body of the scan", body, put_together(carry_plan, carried),
      sequence_plan and put_together(sequence_plan, slices) or nil, core.scan_step(graph))
    local after, outputs = {}, {}
    check_carry(carry_plan, take_apart(next_carry, after, "scan: the carry that the body returns"))
    local output_plan = output ~= nil and take_apart(output, outputs, "scan: an output")
    return { results = core.scan_end(graph, after, outputs), output_plan = output_plan }
  end)
  core.enter(outer)
  core.close(graph)
  if not ok then error(result, 0) end
  local outputs = table.move(result.results, #initial + 1, #result.results, 1, {})
  return put_together(carry_plan, result.results), result.output_plan and put_together(result.output_plan, outputs)
end

local function scan_plain(body, carry, sequences, length, backwards)
  local carry_plan, steps, output_plan = take_apart(carry, {}, "scan: the carry"), {}, nil
  local over = {}
  local sequence_plan = sequences ~= nil and take_apart(sequences, over, "scan: a sequence")
  local first, last, step = 1, length, 1
  if backwards then first, last, step = length, 1, -1 end
  for t = first, last, step do
    local slices, output = {}, nil
    for i, x in ipairs(over) do slices[i] = x[t] end
    carry, output = body(carry, sequence_plan and put_together(sequence_plan, slices) or nil, t)
    check_carry(carry_plan, take_apart(carry, {}, "scan: the carry that the body returns"))
    steps[t] = {}
    output_plan = output ~= nil and take_apart(output, steps[t], "scan: an output") or nil
  end
  if not output_plan then return carry end
  local stacked = {}
  for i = 1, #steps[1] do
    local list = {}
    for t = 1, length do list[t] = steps[t][i] end
    stacked[i] = orrery.stack(list)
  end
  return carry, put_together(output_plan, stacked)
end

--- orrery.scan(body, carry, sequences, { length =, backwards = }): a loop with carried state.
--- `carry, output = body(carry, x, t)` runs for t = 1 .. length, x being the t-th entry of the sequences
--- (a tensor with the steps in front, or a table of such; nil for none). Returns the last carry and
--- the outputs stacked along a new first axis. Carry and output may be tables.
function transforms.scan(body, carry, sequences, options)
  local check = require "orrery.check"
  local o = check.options("scan options", options, { length = "optional number", backwards = false })
  local over = {}
  if sequences ~= nil then take_apart(sequences, over, "scan: a sequence") end
  local length = length_of(over, o.length)
  if not trace.is_active() then return scan_plain(body, carry, sequences, length, o.backwards) end
  return trace.once(function() return scan_symbols(body, carry, sequences, length, o.backwards) end)
end

-- ---- derivatives

-- A function of plain numbers and tensors, compiled once for each signature of its arguments.
local function compiled_call(name, f, transform)
  local cache = {}
  return function(...)
    local arguments, inputs, values, key = table.pack(...), {}, {}, {}
    local function describe(v, path)
      if type(v) == "number" or is_tensor(v) then
        local input = { name = path, level = "uniform", shape = is_tensor(v) and { v:shape() } or {} }
        inputs[#inputs + 1], values[path] = input, v
        key[#key + 1] = path .. ":" .. table.concat(input.shape, "x")
        return input
      elseif is_table(v) then
        local copy = {}
        for _, k in ipairs(sorted_keys(v)) do copy[k] = describe(v[k], path .. "." .. tostring(k)) end
        return copy
      end
      key[#key + 1] = path .. "=" .. tostring(v)
      return v
    end
    local described = { n = arguments.n }
    for i = 1, arguments.n do described[i] = describe(arguments[i], "x" .. i) end
    local signature = table.concat(key, ",")
    local compiled = cache[signature]
    if not compiled then
      -- f itself is checked against plain Lua first; its derivative has no plain counterpart.
      trace.build { fn = f, name = name, inputs = inputs, arguments = described }
      compiled = trace.build { fn = f, name = name, inputs = inputs, arguments = described, transform = transform }
      cache[signature] = compiled
    end
    local results = table.pack(compiled:run(values))
    for i = 1, results.n do results[i] = transforms.plain(results[i]) end
    return table.unpack(results, 1, results.n)
  end
end

--- Outputs of a run as values of their own: numbers, and copies of tensors.
function transforms.plain(v)
  if is_tensor(v) then return v:axes() == 0 and v:item() or v:copy() end
  if is_table(v) then
    local copy = {}
    for key, part in next, v do copy[key] = transforms.plain(part) end
    return copy
  end
  return v
end

-- f's value at fresh copies of x's leaves, and those copies: derivatives are taken with respect to
-- them, so that other uses of x stay constant.
local function evaluate(what, f, x, ...)
  local leaves, copies = {}, {}
  local plan = take_apart(x, leaves, what .. ": the first argument")
  for i, leaf in ipairs(leaves) do copies[i] = core.copy(leaf) end
  local y = trace.explore("the function given to " .. what, f, put_together(plan, copies), ...)
  return y, plan, copies
end

local function gradient(f, x, ...)
  local y, plan, copies = evaluate("grad", f, x, ...)
  if type(y) == "number" then y = core.symbol(y) end
  if not is_symbol(y) or y:axes() > 0 then
    check.fail("grad: the function must return one number, not %s", y == nil and "nothing" or
      not is_symbol(y) and "a " .. type(y) or
      ("%d of shape [%s]; take the sum, or orrery.jacobian"):format(y:count(), table.concat({ y:shape() }, ", ")))
  end
  return put_together(plan, core.gradient(y, copies)), y
end

local function jacobian(f, x, ...)
  local y, plan, copies = evaluate("jacobian", f, x, ...)
  if type(y) == "number" then y = core.symbol(y) end
  if not is_symbol(y) or y:axes() > 1 then
    check.fail("jacobian: the function must return a number or a vector, not %s",
      require "orrery.trace_shapes".describe(y))
  end
  if y:axes() == 0 then return put_together(plan, core.gradient(y, copies)), y end
  local rows = {}
  for i = 1, #y do
    for k, g in ipairs(core.gradient(y[i], copies)) do
      rows[k] = rows[k] or {}
      rows[k][i] = g
    end
  end
  for k, parts in ipairs(rows) do rows[k] = parts[1].stack(parts, 1) end
  return put_together(plan, rows), y
end

local function product(f, x, v, ...)
  local rest = table.pack(...)
  return gradient(function(at)
    local g = gradient(f, at, table.unpack(rest, 1, rest.n))
    local a, b, sum = {}, {}, 0
    take_apart(g, a, "hvp: the gradient")
    take_apart(v, b, "hvp: the second argument")
    for i, part in ipairs(a) do
      local term = part * b[i]
      sum = sum + (term:axes() > 0 and term:sum() or term)
    end
    return sum
  end, x)
end

local function derivative(name, transform)
  return function(f)
    if type(f) ~= "function" then error(("%s: a function is needed, not a %s"):format(name, type(f)), 2) end
    local outside = compiled_call(name, f, transform)
    return function(...)
      if not trace.is_active() then return outside(...) end
      local arguments = table.pack(...)
      return trace.once(function() return transform(f, table.unpack(arguments, 1, arguments.n)) end)
    end
  end
end

--- orrery.grad(f): a function that returns the gradient of f(x, ...), which is one number, with respect
--- to x (a number, tensor, or table of these), and f's value. Nests.
transforms.grad = derivative("grad", gradient)

--- orrery.jacobian(f): a function that returns the derivative of every number of f(x, ...), a vector,
--- along a new first axis, and f's value.
transforms.jacobian = derivative("jacobian", jacobian)

--- orrery.hvp(f): a function of (x, v, ...) that returns the product of f's matrix of second derivatives
--- with v.
transforms.hvp = derivative("hvp", product)

--- orrery.stop_gradient(x): x, seen as constant by gradients.
function transforms.stop_gradient(x)
  return is_symbol(x) and x:stop_gradient() or x
end

transforms.any_symbol = any_symbol

return transforms
