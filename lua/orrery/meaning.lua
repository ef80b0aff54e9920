--- meaning.lua - what the numbers in a file stand for, kept beside them as lists of words: the fields that a net sees,
--- its tasks. Where only shapes were compared, a file of other fields or tasks of the same sizes would pass.
local check = require "orrery.check"
local orrery = require "orrery"
local record = require "orrery.trace_record"

local meaning = {}

local OWN = "identifiers of their own"
local IDENTIFIER = "identifier of task "

--- meaning.fields(space, seen): names and sizes of a space's fields, in order; with seen, a list of names, only those.
function meaning.fields(space, seen)
  local list, wanted = {}, {}
  for _, name in ipairs(seen or space.names) do wanted[name] = true end
  for _, field in ipairs(record.fields(space)) do
    local text = field.count > 1 and ("%s[%d]"):format(field.name, field.count) or field.name
    if wanted[field.name] then list[#list + 1] = text end
  end
  return list
end

--- meaning.add_tasks(means, list, size): adds what identifiers of `size` numbers stand for: the place of a task among
--- all, whose names then count; or a task's own z, which is then the same for tasks of the same name.
function meaning.add_tasks(means, list, size)
  local has_own = size > 0 and #list == 0
  for _, one in ipairs(list) do
    if type(one.given) == "table" and rawget(one.given, "z") ~= nil then
      has_own = true
      local numbers = one.z:totable()
      for i, x in ipairs(numbers) do numbers[i] = ("%.9g"):format(x) end
      means[IDENTIFIER .. one.name] = numbers
    end
  end
  means.tasks = has_own and { OWN } or {}
  for i, one in ipairs(size > 0 and not has_own and list or {}) do means.tasks[i] = one.name end
  return means
end

-- f(...), whose errors, of a file, are told at the script's line. who: what the script called.
local function of_file(who, f, ...)
  local results = table.pack(pcall(f, ...))
  if results[1] then return table.unpack(results, 2, results.n) end
  check.fail("%s: %s", who, check.without_place(results[2]))
end

--- meaning.save(who, path, names, tensors, means): as orrery.checkpoint.save, with the lists of words in `means`, by
--- name.
function meaning.save(who, path, names, tensors, means)
  local by_name, texts = {}, {}
  for i, name in ipairs(names) do
    if not tensors[i]:all_finite() then
      check.fail("%s: %s: %s holds a value that is not finite, nothing is saved", who, path, name)
    end
    by_name[name] = tensors[i]
  end
  for name, list in pairs(means) do texts[name] = table.concat(list, "\n") end
  of_file(who, orrery.save_tensors, path, by_name, texts)
end

local function words(text) return text == "" and "none" or (text:gsub("\n", ", ")) end

--- meaning.check(who, path, means): refuses a file that meaning.save wrote with other words, or that has none.
function meaning.check(who, path, means)
  local _, texts = of_file(who, orrery.load_tensors, path)
  for _, name in ipairs(check.sorted_keys(means)) do
    local here, there = table.concat(means[name], "\n"), texts[name]
    local may_lack = name:sub(1, #IDENTIFIER) == IDENTIFIER -- a task that is new to what was saved
    if not there and not may_lack then
      check.fail("%s: %s: it does not say what its numbers stand for (no '%s'): it is a file of something else, or of "
        .. "an earlier version, which kept no names; learn and save anew", who, path, name)
    elseif there and there ~= here then
      check.fail("%s: %s: the numbers in it stand for something else: %s: %s in the file, but %s here", who, path,
        name, words(there), words(here))
    end
  end
end

--- meaning.load(who, path, names, tensors, means): meaning.check, then orrery.checkpoint.load.
function meaning.load(who, path, names, tensors, means)
  meaning.check(who, path, means)
  of_file(who, orrery.checkpoint.load, path, names, tensors)
end

return meaning
