--- record.lua - tables of values by field name that refuse names they do not have:
--- s.velocty -> "no field 'velocty' in the observation (cos, sin, velocity); did you mean
--- 'velocity'?"
local check = require "orrery.check"

local record = {}

local guards = setmetatable({}, { __mode = "k" }) -- by list of names

-- The metatable for records with these fields. The same list gives the same one.
local function guard_of(names, what)
  local made = guards[names]
  if made and made.what == what then return made end
  local function refuse(_, name)
    check.fail("%s", record.unknown(names, what, name))
  end
  local function refuse_operator()
    error(("the %s is a table of named fields (%s), not a number: use a field, as in x.%s"):format(what,
      table.concat(names, ", "), names[1] or "field"), 2)
  end
  made = { __index = refuse, __newindex = refuse, what = what }
  for _, event in ipairs { "__add", "__sub", "__mul", "__div", "__mod", "__pow", "__unm", "__idiv", "__lt", "__le" } do
    made[event] = refuse_operator
  end
  guards[names] = made
  return made
end

--- record.unknown(names, what, name): the message about a name that is no field.
function record.unknown(names, what, name)
  local nearest = type(name) == "string" and check.nearest(name, names)
  return ("no field '%s' in the %s (%s)%s"):format(tostring(name), what, table.concat(names, ", "),
    nearest and ("; did you mean '%s'?"):format(nearest) or "")
end

--- record.guard(values, names, what): the table of values itself, which from now on raises when a
--- field that it does not have is read or written. `names` lists the fields; `what` is what the
--- record is: "observation", "action".
function record.guard(values, names, what)
  return setmetatable(values, guard_of(names, what))
end

return record
