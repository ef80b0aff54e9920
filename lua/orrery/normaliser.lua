--- normaliser.lua - mean and deviation of what was observed so far, by which nets see it standardised. Fields of very
--- different size, a position in centimetres beside a speed, are learned from alike.
local orrery = require "orrery"
local trace = require "orrery.trace"

local LIMIT = 5          -- standard deviations: what lies further out is seen there
local LEAST = 1e-2       -- deviation: of what hardly ever changes

local Normaliser = {}
Normaliser.__index = Normaliser

--- self:add(rows): n more observations, [n, size]: moves mean and variance by their share (Chan et al. 1979).
function Normaliser:add(rows)
  local n, before = rows:size(1), self.rows:item()
  local share = n / (before + n)
  local mean = orrery.mean(rows, 1)
  local off = mean - self.mean
  local spread = orrery.mean(orrery.square(rows - mean), 1)
  self.variance:assign((1 - share) * self.variance + share * spread + share * (1 - share) * orrery.square(off))
  self.mean:assign(self.mean + share * off)
  self.rows:assign(before + n)
end

--- self:of(x): in a traced function: the observation in standard deviations from the mean, as they are at the run.
function Normaliser:of(x)
  local mean, variance = trace.parameter(self.mean, "uniform"), trace.parameter(self.variance, "uniform")
  local deviation = orrery.max(orrery.sqrt(variance), LEAST)
  return orrery.clamp((x - mean) / deviation, -LIMIT, LIMIT)
end

local normaliser = {}

--- normaliser.new(size): of observations of so many numbers; with none seen, it leaves them as they are.
function normaliser.new(size)
  return setmetatable({ mean = orrery.zeros(size), variance = orrery.ones(size), rows = orrery.zeros(1) }, Normaliser)
end

return normaliser
