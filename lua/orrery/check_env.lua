--- check_env.lua - what is wrong with an environment, said before it is trained on: each finding names
--- the cause and the way out.
---
---   print(orrery.check_env(definition))        -- or `orrery check-env my_env.lua`
local orrery = require "orrery"
local check = require "orrery.check"
local script = require "orrery.script"

---@class orrery.Finding
---@field level "error"|"warning"  an error must be mended; a warning may be meant
---@field what string  the cause
---@field fix string  the way out

---@class orrery.EnvReport
---@field name string
---@field ok boolean  no errors
---@field findings orrery.Finding[]
---@field steps integer  how many were played

local Report = {}
Report.__index = Report

local function add(report, level, what, fix)
  for _, finding in ipairs(report.findings) do
    if finding.what == what then return end
  end
  table.insert(report.findings, { level = level, what = what, fix = fix })
  if level == "error" then report.ok = false end
end

function Report:__tostring()
  local lines = {}
  for _, finding in ipairs(self.findings) do
    lines[#lines + 1] = ("%s: %s\n  -> %s"):format(finding.level, finding.what, finding.fix)
  end
  lines[#lines + 1] = #self.findings == 0
      and ("environment '%s': nothing to object to in %d steps"):format(self.name, self.steps)
    or ("environment '%s': %d finding%s in %d steps"):format(self.name, #self.findings,
      #self.findings == 1 and "" or "s", self.steps)
  return table.concat(lines, "\n")
end

-- What to do about a message that says more than where it came up: a pattern and the way out.
local CURES = {
  { "low bound .* is above the high bound", "swap low and high, or mend the sign of one" },
  { "step returned no observation", "end step with `return observation, reward, terminated`" },
  { ":%d+: attempt to .*field '", "look at that line: the field has no value there; a field of self is set "
    .. "in reset, or in the definition" },
  { ":%d+: attempt to ", "look at that line: a value there is nil, or of another kind than it is used as" },
  { "is NaN", "look for a division by 0, or a root or logarithm of a negative number" },
}

local function cure_of(message, otherwise)
  for _, cure in ipairs(CURES) do
    if message:find(cure[1]) then return cure[2] end
  end
  return otherwise
end

-- Calls f; what it raises becomes an error of the report. Returns whether it went well, and the results.
local function try(report, fix, f, ...)
  local results = table.pack(pcall(f, ...))
  if results[1] then return true, table.unpack(results, 2, results.n) end
  local message = tostring(results[2]):gsub("\nstack traceback:.*", "")
  -- who called check_env says nothing; the place in the environment's own file stands further right
  for _, start in ipairs { "environment '", "space: " } do
    message = message:gsub("^[^\n]-:%d+: " .. start, start)
  end
  if message:find("does not end: stopped after", 1, true) then
    fix = "look for a loop whose end is never reached; orrery.check_env(env, { instructions = n }) allows more"
  end
  add(report, "error", message, cure_of(message, fix))
  return false
end

---- the table itself

local FUNCTIONS = { reset = "function(self, random) ... return observation end",
  step = "function(self, action, random) ... return observation, reward, terminated end" }
local OPTIONAL = { "get_state", "set_state", "observe", "draw" }
local KNOWN = { "name", "observation", "action", "state", "max_steps", "reset", "step", "get_state",
  "set_state", "observe", "draw" }

local function check_spaces(report, definition)
  local example = '{ { "position", low = -1, high = 1 }, { "velocity", 2 } }'
  for _, key in ipairs { "observation", "action", "state" } do
    local fields = definition[key]
    if fields == nil and key ~= "state" then
      add(report, "error", ("%s is missing"):format(key), ("list its fields, as in %s = %s"):format(key, example))
    elseif fields ~= nil then
      try(report, ("describe %s by a list of fields, as in %s"):format(key, example), orrery.space, fields)
    end
  end
  local good, space = pcall(orrery.space, definition.action)
  for _, field in ipairs(good and space.fields or {}) do
    local bounded = field.count == 1 and #field.shape == 0
        and field.low > -math.huge and field.high < math.huge or nil
    if #field.shape > 0 then
      local low, high = orrery.space { { "x", field.shape, low = field.low } }, field.high
      bounded = tostring(low.fields[1].low):find "inf" == nil and tostring(high):find "inf" == nil
    end
    if not bounded then
      add(report, "warning", ("action field '%s' has no bounds"):format(field.name),
        "give low and high: planners search inside them, and actions are moved into them")
    end
  end
end

local function check_table(report, definition)
  for _, name in ipairs { "reset", "step" } do
    local kind = type(definition[name])
    if kind ~= "function" then
      add(report, "error", ("%s is %s"):format(name, kind == "nil" and "missing" or "a " .. kind .. ", not a function"),
        ("add %s = %s"):format(name, FUNCTIONS[name]))
    end
  end
  for _, name in ipairs(OPTIONAL) do
    local kind = type(definition[name])
    if kind ~= "nil" and kind ~= "function" then
      add(report, "error", ("%s is a %s, not a function"):format(name, kind), "make it a function, or leave it out")
    end
  end
  for _, key in ipairs(check.sorted_keys(definition)) do
    local near = check.nearest(key, KNOWN)
    if near and near ~= key and definition[near] == nil then
      add(report, "warning", ("'%s' means nothing to the engine, and '%s' is missing"):format(key, near),
        ("if '%s' is meant, rename it"):format(near))
    end
  end
  if type(definition.name) ~= "string" then
    add(report, "warning", "the environment has no name", 'add name = "..."; messages and files use it')
  end
  local steps = definition.max_steps
  if steps ~= nil and (math.type(steps) ~= "integer" or steps < 0) then
    add(report, "error", ("max_steps is %s"):format(tostring(steps)), "give a whole number, 0 or none for no limit")
  end
  if definition.set_state and not definition.state then
    add(report, "warning", "set_state is there, but no state fields",
      "list the state's fields in state, so that the engine can save and plan with it")
  end
  check_spaces(report, definition)
end

---- playing

-- A record of numbers as one text, exact to the last bit.
local function fingerprint(space, record)
  local parts = {}
  for _, name in ipairs(space.names) do
    local value = record[name]
    if type(value) == "number" then
      parts[#parts + 1] = ("%a"):format(value)
    else
      for _, x in ipairs(value:totable()) do
        parts[#parts + 1] = type(x) == "number" and ("%a"):format(x) or tostring(x)
      end
    end
  end
  return table.concat(parts, " ")
end

-- All low, all high, then random: the corners are where things break.
local function make_actions(space, count, style)
  local actions = {}
  for i = 1, count do
    local action = space:sample()
    if style ~= "random" then
      for _, field in ipairs(space.fields) do
        local bound = style == "low" and field.low or field.high
        local text = tostring(bound)
        if not text:find "inf" then action[field.name] = bound end
      end
    end
    actions[i] = action
  end
  return actions
end

local STEP_FIX = "let step return observation, reward, terminated: a record with every observation field and "
  .. "finite numbers, a finite number, true or false"

-- One episode. Returns its trace: a list of fingerprints, and how it ended.
local function play(report, env, seed, actions)
  local trace = { ended = "open" }
  local good, observation = try(report, "let reset return an observation: a record with every observation field",
    env.reset, env, seed)
  if not good then return nil end
  local space = env.observation_space
  local function note(seen, step, reward)
    local inside, field = space:contains(seen)
    if not inside and not report.outside[field] then
      report.outside[field] = true
      add(report, "error", ("observation field '%s' leaves its bounds (first at step %d)"):format(field, step),
        "widen low and high, leave them out, or keep the value inside")
    end
    trace[#trace + 1] = fingerprint(space, seen) .. " | " .. ("%a"):format(reward or 0)
  end
  note(observation, 0)
  for step, action in ipairs(actions) do
    local went, seen, reward, terminated, truncated = try(report, STEP_FIX, env.step, env, action)
    if not went then return nil end
    report.steps = report.steps + 1
    note(seen, step, reward)
    if terminated or truncated then
      trace.ended = terminated and "terminated" or "truncated"
      break
    end
  end
  return trace
end

local function first_difference(a, b)
  for i = 1, math.max(#a, #b) do
    if a[i] ~= b[i] then return i - 1 end
  end
end

local function check_repeats(report, make, actions)
  local once, again = make(), make()
  local a, b = play(report, once, 1, actions), play(report, again, 1, actions)
  if not a or not b then return end
  local differs = first_difference(a, b)
  if differs then
    add(report, "error", ("the same seed and actions give other numbers (first at step %d)"):format(differs),
      "take all chance from the random that reset and step get, not from math.random, and use no clock and "
        .. "no order of pairs()")
    return
  end
  local c = play(report, once, 1, actions)
  differs = c and first_difference(a, c)
  if differs then
    add(report, "error", ("a second episode with the same seed differs from the first (step %d)"):format(differs),
      "let reset set everything that step changes: something of the last episode is left")
  end
end

local STATE_FIX = "list every number that step depends on in state, and let set_state take back what get_state gave"

-- Two environments go the same way; one goes elsewhere and comes back by set_state. They must go on alike.
local function check_state(report, make, actions)
  local straight, detour = make(), make()
  if not straight.state_space then return end
  local half = #actions // 2
  local function go(env, from, to)
    local trace = {}
    for i = from, to do
      if env.ended then return trace, i - 1 end -- set_state counts steps anew: the other may go on longer
      local observation, reward = env:step(actions[i])
      trace[#trace + 1] = fingerprint(env.observation_space, observation) .. " | " .. ("%a"):format(reward)
    end
    return trace, to
  end
  straight:reset(1)
  detour:reset(1)
  local start = detour:state()
  go(straight, 1, half)
  go(detour, 1, half)
  if straight.ended then return end
  local here = detour:state()
  local seen = fingerprint(detour.observation_space, detour:observe())
  local chance = detour:random_state()
  if not try(report, STATE_FIX, detour.set_state, detour, start) then return end
  go(detour, 1, 3)
  local good, back = try(report, STATE_FIX, detour.set_state, detour, here)
  if not good then return end
  detour:random_state(chance)
  if fingerprint(detour.observation_space, back) ~= seen then
    add(report, "error", "set_state does not bring back the observation", STATE_FIX)
    return
  end
  local wanted, last = go(straight, half + 1, #actions)
  local differs = first_difference(wanted, (go(detour, half + 1, last)))
  if differs then
    add(report, "error", ("after set_state the world goes on differently (%d steps later)"):format(differs + 1),
      STATE_FIX)
  end
end

local function check_ends(report, make, styles, most)
  local lengths, terminated = {}, 0
  for _, style in ipairs(styles) do
    local env = make()
    local trace = play(report, env, #lengths + 1, make_actions(env.action_space, most, style))
    if not trace then return end
    lengths[#lengths + 1] = #trace - 1
    if trace.ended == "terminated" then terminated = terminated + 1 end
    if trace.ended == "open" and env.max_steps == 0 then
      add(report, "warning", ("an episode has not ended after %d steps, and there is no max_steps"):format(most),
        "give max_steps; the engine then truncates episodes")
    end
    if trace.ended == "terminated" and #trace <= 2 then
      add(report, "warning", ("an episode ended at its first step (%s actions)"):format(style),
        "look whether terminated has the right sign, and whether reset can start at the end")
    end
  end
  local same = true
  for _, length in ipairs(lengths) do same = same and length == lengths[1] end
  if same and terminated == #lengths and lengths[1] > 1 then
    add(report, "warning", ("every episode terminated after exactly %d steps"):format(lengths[1]),
      "if that is a time limit, give it as max_steps: what only runs out of time is truncated, not terminated, "
        .. "and learning must not take its value for 0")
  end
end

local function global_names()
  local names = {}
  for name in pairs(_G) do names[name] = true end
  return names
end

--- orrery.check_env(env, options): plays an environment, or a definition as orrery.env takes it, and
--- reports what is wrong: missing functions, wrong fields, numbers out of bounds or not finite, chance
--- that a seed does not fix, resets and states that leave something behind, time limits that pass for
--- termination, calls that do not end. Print the report, or look at its ok and findings. options: steps,
--- the longest episode played (1000); instructions, how many of Lua's one call may take (100 million);
--- name, of an environment that has none ("lua").
---@param env table|userdata
---@param options? { steps: integer, instructions: integer, name: string }
---@return orrery.EnvReport
local function check_env(env, options)
  local o = check.options("check_env options", options, { steps = 1000, instructions = 100000000, name = "lua" })
  local limit = orrery.system.limit_callbacks(math.max(o.instructions, 1))
  local restore <close> = setmetatable({}, { __close = function() orrery.system.limit_callbacks(limit) end })
  local definition = type(env) == "table" and env or env.definition
  local report = setmetatable({ ok = true, findings = {}, steps = 0, name = "?", outside = {} }, Report)
  local make
  if definition then
    report.name = type(definition.name) == "string" and definition.name or o.name
    check_table(report, definition)
    if not report.ok then return report end
    if report.name ~= definition.name then
      definition = setmetatable({ name = report.name }, { __index = definition })
    end
    if not try(report, "see orrery.env in the reference", orrery.env, definition) then return report end
    make = function() return orrery.env(definition) end
  else
    report.name = env.name
    make = function() return env:copy() end
  end
  local globals = global_names()
  local actions = make_actions(make().action_space, math.min(o.steps, 60), "random")
  if play(report, make(), 1, actions) then
    check_repeats(report, make, actions)
    try(report, STATE_FIX, check_state, report, make, actions)
    check_ends(report, make, { "random", "low", "high", "random" }, o.steps)
  end
  for _, name in ipairs(check.sorted_keys(_G)) do
    if not globals[name] then
      add(report, "warning", ("the global '%s' was assigned"):format(name),
        "write local in front, or keep it in self: globals are shared by all environments")
    end
  end
  local drawn = make()
  if drawn.can_draw and report.ok then
    drawn:reset(1)
    try(report, "let draw take a canvas: function(self, canvas)", drawn.draw, drawn)
  end
  return report
end

-- For `orrery check-env file.lua`: prints the report; true when there are no errors.
local function file(path)
  local chunk, message = loadfile(path, "t")
  if not chunk then script.refuse("%s", message) end
  local done, env = pcall(chunk)
  if not done then script.refuse("%s", tostring(env)) end
  if type(env) ~= "table" and type(env) ~= "userdata" then
    script.refuse("%s returns %s; end it with `return definition`, the table that orrery.env takes", path,
      env == nil and "nothing" or "a " .. type(env))
  end
  local report = check_env(env, { name = path:match "([^/\\]+)%.lua$" or path })
  print(report)
  return report.ok
end

return setmetatable({ file = file }, { __call = function(_, ...) return check_env(...) end })
