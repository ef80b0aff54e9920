--- script.lua - what the text of a script says about it, and mistakes that need no traceback.
local script = {}

--- script.refuse(format, ...): raises a message for a person who made a mistake outside the code,
--- such as an unknown option: it is shown without a traceback.
local mistake = { __tostring = function(self) return self.message end, __name = "mistake" }
function script.refuse(format, ...)
  error(setmetatable({ message = format:format(...) }, mistake), 0)
end

--- script.lines(source): the script as a list of lines, where source is as debug.getinfo gives it;
--- empty when it did not come from a file.
function script.lines(source)
  local lines = {}
  local file = source:sub(1, 1) == "@" and io.open(source:sub(2), "r")
  if not file then return lines end
  for line in file:lines() do lines[#lines + 1] = line end
  file:close()
  return lines
end

--- script.description(lines): the comment at the head of the script, without dashes.
function script.description(lines)
  local text = {}
  for i, line in ipairs(lines) do
    local comment = line:match("^%-%-+ ?(.*)")
    if not comment and not (i == 1 and line:match("^#!")) then break end
    text[#text + 1] = comment
  end
  return table.concat(text, "\n")
end

--- script.mentions(lines, word): whether a word stands anywhere outside comments.
function script.mentions(lines, word)
  for _, line in ipairs(lines) do
    if line:gsub("%-%-.*", ""):find("%f[%w_]" .. word .. "%f[^%w_]") then return true end
  end
  return false
end

-- Whether the script looks at its arguments: by orrery.options, by arg, or by a ... that is no
-- function's parameter.
local function takes_arguments(lines)
  if #lines == 0 or script.mentions(lines, "options") or script.mentions(lines, "arg") then return true end
  for _, line in ipairs(lines) do
    if line:gsub("%-%-.*", ""):gsub("function[^()]*%b()", ""):find("...", 1, true) then return true end
  end
  return false
end

--- script.check(path, arguments): before a script runs: options given to one that takes none are
--- refused, and --help is answered here. True when the script shall run.
function script.check(path, ...)
  local option
  for _, argument in ipairs { ... } do
    if argument:find "^%-" then option = option or argument end
    if argument == "--help" or argument == "-h" then option = "--help" end
  end
  if not option then return true end
  local lines = script.lines("@" .. path)
  if takes_arguments(lines) then return true end
  if option ~= "--help" then
    script.refuse("%s takes no options, but %s was given: it never calls orrery.options", path, option)
  end
  local about = script.description(lines)
  if about ~= "" then print(about .. "\n") end
  print(path .. " takes no options.")
  return false
end

return script
