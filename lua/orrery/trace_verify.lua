--- trace_verify.lua - a traced function against the plain one: both run on probe samples, and where they
--- differ the trace is refused. Probes: those given, the bounds, random samples, and around every
--- number in the function's source, exactly on it included.
local orrery = require "orrery"
local check = require "orrery.check"
local explore = require "orrery.trace_explore"
local record = require "orrery.trace_record"
local shapes = require "orrery.trace_shapes"
local core = orrery.trace_core

local verify = {}

local RANDOM_SAMPLES = 12
local MOST_LITERALS = 24
local MOST_COMPONENTS = 24
local MOST_SAMPLES = 512
local LONGEST = 1000 -- steps of an episode, as numbers that count them are drawn
local TOLERANCE = 1e-3 -- float32 against double; what tracing gets wrong is wrong by more

-- ---- probes

-- Numbers from a fixed stream of its own: verifying must not move anybody's random numbers.
local function stream()
  local state = 0x9E3779B97F4A7C15
  return function()
    state = state * 6364136223846793005 + 1442695040888963407
    return (state >> 40) / (1 << 24)
  end
end

local function single(x) return (string.unpack("f", string.pack("f", x))) end

local function bound(field, which, i)
  local bounds = field[which]
  if type(bounds) == "number" then return bounds end
  return bounds and bounds[i] or (which == "low" and -math.huge or math.huge)
end

-- One entry per number of an input: where it is, and its bounds.
local function components_of(inputs)
  local list = {}
  for _, input in ipairs(inputs) do
    if input.space then
      local fields = record.fields(input.space)
      for _, field in ipairs(fields) do
        for i = 1, field.count do
          list[#list + 1] = { input = input, at = field.offset + i, low = bound(field, "low", i),
                              high = bound(field, "high", i), n = field.n and field.n > 0 and field.n or nil,
                              name = field.count > 1 and ("%s[%d]"):format(field.name, i) or field.name }
        end
      end
    else
      local count = 1
      for _, size in ipairs(input.shape) do count = count * size end
      for i = 1, count do
        list[#list + 1] = { input = input, at = i, low = input.counts and 0 or -math.huge, high = math.huge,
                            whole = input.counts, name = count > 1 and ("%s[%d]"):format(input.name, i) or input.name }
      end
    end
  end
  return list
end

local function draw(component, uniform)
  local low, high = component.low, component.high
  if component.n then return math.floor(uniform() * component.n) end
  if component.whole then return math.floor(uniform() ^ 3 * LONGEST) end
  if low > -math.huge and high < math.huge then return single(low + (high - low) * uniform()) end
  local x = (uniform() + uniform() + uniform() - 1.5) * 4
  if low > -math.huge then return single(low + math.abs(x)) end
  if high < math.huge then return single(high - math.abs(x)) end
  return single(x)
end

local function set(sample, component, value)
  sample[component.input.name] = sample[component.input.name] or {}
  sample[component.input.name][component.at] = value
end

local function random_sample(components, uniform)
  local sample = {}
  for _, component in ipairs(components) do set(sample, component, draw(component, uniform)) end
  return sample
end

local function changed(sample, component, value)
  local copy = {}
  for name, numbers in next, sample do copy[name] = table.move(numbers, 1, #numbers, 1, {}) end
  set(copy, component, value)
  return copy
end

local function sorted_literals(literals)
  local seen, list = {}, {}
  for _, x in ipairs(literals) do
    x = x + 0.0
    if x == x and math.abs(x) < 1e6 and not seen[x] then
      seen[x] = true
      list[#list + 1] = x
    end
  end
  table.sort(list)
  while #list > MOST_LITERALS do table.remove(list, #list // 2) end
  return list
end

local function allowed(component, value)
  if component.n then return value == math.floor(value) and value >= 0 and value < component.n end
  return value >= component.low and value <= component.high and (not component.whole or value == math.floor(value))
end

-- The numbers given for an input: a record, tensor, list or number.
local function numbers_given(value)
  if record.is(value) then value = record.vector(value) end
  if type(value) == "number" then return { value } end
  if core.is_tensor(value) then return value:flatten():totable() end
  return type(value) == "table" and table.move(value, 1, #value, 1, {}) or nil
end

-- Inputs that a given probe leaves out are drawn.
local function add_given(samples, probes, inputs, components, uniform)
  for k = 1, math.min(#(probes or {}), MOST_SAMPLES // 2) do
    local sample = random_sample(components, uniform)
    for _, input in ipairs(inputs) do
      sample[input.name] = numbers_given(probes[k][input.name]) or sample[input.name]
    end
    samples[#samples + 1] = sample
  end
end

--- verify.samples(inputs, literals, probes): a list of samples, each a list of numbers by input name.
function verify.samples(inputs, literals, probes)
  local components, uniform, samples = components_of(inputs), stream(), {}
  add_given(samples, probes, inputs, components, uniform)
  for _ = 1, RANDOM_SAMPLES do samples[#samples + 1] = random_sample(components, uniform) end
  for _, side in ipairs { "low", "high" } do
    local sample = random_sample(components, uniform)
    for _, component in ipairs(components) do
      local value = component.n and (side == "low" and 0 or component.n - 1) or component[side]
      if math.abs(value) < math.huge then set(sample, component, value) end
    end
    samples[#samples + 1] = sample
  end
  literals = sorted_literals(literals)
  for k = 1, math.min(#components, MOST_COMPONENTS) do
    local component = components[k]
    for _, literal in ipairs(literals) do
      local step = component.whole and 1 or math.max(1e-3, math.abs(literal) * 1e-3)
      local at = component.whole and math.floor(literal) or literal
      for _, value in ipairs { at, single(at - step), single(at + step) } do
        if allowed(component, value) and #samples < MOST_SAMPLES then
          local sample = changed(random_sample(components, uniform), component, value)
          samples[#samples + 1] = sample
        end
      end
    end
  end
  return samples, components
end

-- ---- running

local function plain_input(input, numbers)
  if input.space then return record.new(input.space, numbers, input.name) end
  if #input.shape == 0 then return numbers[1] end
  local t = orrery.tensor(numbers)
  return #input.shape == 1 and t or t:reshape(input.shape)
end

-- The plain function's results on a sample, as lists of numbers by output name; or nil and why not.
local function run_plain(job, sample)
  local made = {}
  local arguments = shapes.replace(job.arguments, function(value)
    local input = type(value) == "table" and job.by_name[rawget(value, "name")]
    if input then
      made[input] = made[input] or plain_input(input, sample[input.name])
      return made[input], true
    end
  end)
  local results = table.pack(check.try(explore.plainly, job.fn, table.unpack(arguments, 1, job.arguments.n)))
  if not results[1] then return nil, tostring(results[2]) end
  local n = results.n
  table.remove(results, 1)
  results.n = n - 1
  local numbers = shapes.numbers(results, job.made.template)
  if not numbers then return nil, nil, results end
  return numbers
end

local function input_tensor(input, samples)
  local rows = {}
  for i, sample in ipairs(samples) do rows[i] = sample[input.name] end
  local t = orrery.tensor(rows)
  if input.space then return t end
  return t:reshape { #samples, table.unpack(input.shape) }
end

-- Outputs of the program on all samples: by name, a list of lists of numbers.
local function run_program(job, samples)
  local outputs = {}
  local function collect(values, from, count)
    for name, tensor in next, values do
      outputs[name] = outputs[name] or {}
      local level = job.levels[name]
      if level == "row" then
        for i = 1, count do
          local row = tensor[i]
          outputs[name][from + i - 1] = type(row) == "number" and { row } or row:flatten():totable()
        end
      else
        for i = 1, count do outputs[name][from + i - 1] = tensor:flatten():totable() end
      end
    end
  end
  local all_rows = true
  for _, input in ipairs(job.inputs) do all_rows = all_rows and input.level == "row" end
  local function run(from, to)
    local part, values = table.move(samples, from, to, 1, {}), {}
    for _, input in ipairs(job.inputs) do
      values[input.name] = input_tensor(input, part)
      if input.level ~= "row" then values[input.name] = values[input.name][1] end
    end
    collect(job.made.program:run(values, { rows = to - from + 1 }), from, to - from + 1)
  end
  if all_rows then run(1, #samples) else
    for i = 1, #samples do run(i, i) end
  end
  return outputs
end

-- ---- comparing

local function close(a, b, scale)
  if a == b or (a ~= a and b ~= b) then return true end
  if math.abs(a) > 1e30 and (math.abs(b) > 1e30 or b ~= b) then return true end -- past float32
  return math.abs(a - b) <= TOLERANCE * math.max(math.abs(a), math.abs(b)) + 1e-5 * scale + 1e-6
end

local function agree(a, b, scales)
  for name, list in next, a do
    if #list ~= #b[name] then return false, name end
    for i, x in ipairs(list) do
      if not close(x, b[name][i], scales[name] or 1) then return false, name, i end
    end
  end
  return true
end

-- On a threshold, float32 and double may fall on different sides. So a difference is none where the
-- plain function jumps: from one side it gives what it gives there, from the other what the program gives.
local function is_threshold(job, sample, components, plain, compiled, scales)
  for k = 1, math.min(#components, MOST_COMPONENTS) do
    local component = components[k]
    local x = sample[component.input.name][component.at]
    for _, step in ipairs { math.max(1e-5, math.abs(x) * 4e-6), 1e-3 * math.max(1, math.abs(x)) } do
      local below = run_plain(job, changed(sample, component, x - step))
      local above = run_plain(job, changed(sample, component, x + step))
      if below and above then
        local as_below, as_above = agree(plain, below, scales), agree(plain, above, scales)
        if (as_below and agree(compiled, above, scales)) or (as_above and agree(compiled, below, scales)) then
          return not (as_below and as_above)
        end
      end
    end
  end
  return false
end

-- Rounding of the inputs alone may move a steep function that much: up on one side, down on the other.
local function is_steep(job, sample, components, plain, compiled, scales)
  for k = 1, math.min(#components, MOST_COMPONENTS) do
    local component = components[k]
    local x = sample[component.input.name][component.at]
    local step = math.max(math.abs(x), 1e-3) * 2e-6
    local above = run_plain(job, changed(sample, component, x + step))
    local below = run_plain(job, changed(sample, component, x - step))
    local steep = above ~= nil and below ~= nil
    for name, list in next, plain do
      for i, p in ipairs(steep and list or {}) do
        local difference, up, down = math.abs(compiled[name][i] - p), above[name][i] - p, below[name][i] - p
        local moves = up * down < 0 and difference <= 4 * math.max(math.abs(up), math.abs(down))
        steep = steep and (moves or close(p, compiled[name][i], scales[name] or 1))
      end
    end
    if steep then return true end
  end
  return false
end

local function sample_words(components, sample)
  local words = {}
  for k = 1, math.min(#components, 8) do
    local component = components[k]
    words[k] = ("%s = %.9g"):format(component.name, sample[component.input.name][component.at])
  end
  return table.concat(words, ", ") .. (#components > 8 and " ..." or "")
end

local ADVICE = "compare values of the sample with <, == or orrery.equal, choose with orrery.where, or mark the "
  .. "function with orrery.interpret"

local function refuse(job, words)
  local _, _, source, line = core.info(job.fn)
  error(("%s:%d: %s %s; %s"):format(source, line, job.name, words, ADVICE), 0)
end

-- Largest output, where numbers are lost to rounding beside it.
local function scales_of(plains)
  local scales = {}
  for _, plain in next, plains do
    for name, list in next, plain do
      for _, x in ipairs(list) do
        if math.abs(x) < math.huge then scales[name] = math.max(scales[name] or 0, math.abs(x)) end
      end
    end
  end
  return scales
end

local function levels_of(program)
  local levels = {}
  for name, output in next, program:outputs() do levels[name] = output.level end
  return levels
end

--- verify.check(job): raises where made.program and fn differ. job: { fn, name, inputs, arguments,
--- by_name, made = { program, template, session }, probes }. Functions that draw cannot be compared, nor those
--- that use the members of an ensemble, of which plain Lua gives all and a row just one.
function verify.check(job)
  if job.made.session.drew then return end
  for _, input in ipairs(job.inputs) do
    if input.level == "member" then return end
  end
  local samples, components = verify.samples(job.inputs, job.made.session.literals, job.probes)
  job.levels = levels_of(job.made.program)
  local ran, outputs = check.try(run_program, job, samples)
  if not ran then
    if tostring(outputs):find("a parameter has %d+ members") then return end
    error(outputs, 0)
  end
  local plains = {}
  for i, sample in ipairs(samples) do
    local plain, reason, results = run_plain(job, sample)
    if results then
      refuse(job, ("returns %s in plain Lua, another structure than when compiled, for %s"):format(
        shapes.describe(results[1]), sample_words(components, sample)))
    elseif not plain then
      refuse(job, ("can be compiled but raises in plain Lua for %s: %s"):format(
        sample_words(components, sample), reason))
    end
    plains[i] = plain
  end
  local scales = scales_of(plains)
  for i, sample in ipairs(samples) do
    local compiled = {}
    for name, rows in next, outputs do compiled[name] = rows[i] end
    local same, name, at = agree(plains[i], compiled, scales)
    if not same and at and not is_threshold(job, sample, components, plains[i], compiled, scales)
      and not is_steep(job, sample, components, plains[i], compiled, scales) then
      refuse(job, ("gives %.9g in plain Lua but %.9g when compiled%s, for %s"):format(plains[i][name][at],
        compiled[name][at], name == "result" and "" or " (" .. name .. ")", sample_words(components, sample)))
    end
  end
end

return verify
