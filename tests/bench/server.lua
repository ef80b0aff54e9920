--- server.lua - programs that serve a case, one repetition for each line they are sent.
local orrery = require "orrery"

local Server = {}
Server.__index = Server
local count = 0

-- One line of the answer. Where there is none, what went wrong: the first line in Lua, the last in Python.
local function receive(self)
  local line = self.output:read "l"
  if line then return line end
  local words = ""
  for text in io.lines(self.log) do
    words = text ~= "" and text or words
    if text:find "^orrery: " then break end
  end
  error(("%s ended: %s"):format(self.name, words), 0)
end

local function ask(self, line)
  self.input:write(line, "\n")
  self.input:flush()
  return receive(self)
end

--- server:check(name): lets it write NAME.npy, and returns that tensor.
function Server:check(name)
  ask(self, "check " .. name)
  return orrery.load_npy(("%s/%s.npy"):format(self.folder, name))
end

--- server:repetition(clock): milliseconds of "wall" clock or of "cpu" time. Threads that another server
--- leaves spinning come to rest first.
function Server:repetition(clock)
  os.execute "sleep 0.02"
  local wall, cpu = ask(self, "go"):match "(%S+) (%S+)"
  return tonumber(clock == "cpu" and cpu or wall)
end

function Server:close()
  if not self.output then return end
  self.input:write "quit\n" -- programs started later hold the other end open as well
  self.input:close()
  self.output:close()
  self.output = nil
end

--- start { name =, command =, folder = }: runs the command and waits until it is ready.
return function(o)
  count = count + 1
  local pipe = ("%s/pipe%d"):format(o.folder, count)
  local self = setmetatable({ name = o.name, folder = o.folder, log = pipe .. ".log" }, Server)
  assert(os.execute(("rm -f '%s' && mkfifo '%s'"):format(pipe, pipe)), "mkfifo failed")
  self.output = io.popen(("%s < '%s' 2> '%s'"):format(o.command, pipe, self.log), "r")
  self.input = io.open(pipe, "w")
  self.flops = tonumber(receive(self):match "^ready (%S+)")
  return self
end
