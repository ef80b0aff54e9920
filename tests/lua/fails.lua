-- A mistake must be told. Tests run from the root of the tree: local fails = require "tests.lua.fails"

--- Calls f(...), which must raise an error with these very words (no pattern) in its message.
---@param words string
---@param f function
---@return string message
return function(words, f, ...)
  local done, message = pcall(f, ...)
  message = tostring(message)
  if done then error(('no error, where one with "%s" was due'):format(words), 2) end
  if not message:find(words, 1, true) then error(('"%s" is not in: %s'):format(words, message), 2) end
  return message
end
