--- calibration.lua - whether what is predicted is what happens: probabilities against outcomes, numbers against
--- numbers; as tables and as a picture.
local orrery = require "orrery"

local calibration = {}

local function mean(list)
  local sum = 0
  for _, x in ipairs(list) do sum = sum + x end
  return sum / #list
end

-- Bins of equal width from low to high, without those in which nothing falls.
local function reliability(p, y, count, low, high)
  local bins, width = {}, (high - low) / count
  for i = 1, count do
    bins[i] = { low = low + (i - 1) * width, high = low + i * width, count = 0, predicted = 0, frequency = 0 }
  end
  for i, x in ipairs(p) do
    local at = width > 0 and math.floor((x - low) / width) + 1 or 1
    local bin = bins[math.max(1, math.min(count, at))]
    bin.count, bin.predicted, bin.frequency = bin.count + 1, bin.predicted + x, bin.frequency + y[i]
  end
  local filled = {}
  for _, bin in ipairs(bins) do
    if bin.count > 0 then
      bin.predicted, bin.frequency = bin.predicted / bin.count, bin.frequency / bin.count
      filled[#filled + 1] = bin
    end
  end
  return filled
end

-- The mean distance of prediction and outcome over bins, weighted by their counts.
local function apart(bins, count)
  local sum = 0
  for _, bin in ipairs(bins) do sum = sum + math.abs(bin.predicted - bin.frequency) * bin.count / count end
  return sum
end

local function mean_square(p, y)
  local sum = 0
  for i, label in ipairs(y) do sum = sum + ((type(p) == "table" and p[i] or p) - label) ^ 2 end
  return sum / #y
end

--- calibration.auroc(p, y): how likely a row that is 1 got more than one that is 0, ties counting half: the area
--- under the curve of hits against false alarms (Mann and Whitney's U). Nil where all rows are alike.
function calibration.auroc(p, y)
  local order, positives, ranks = {}, 0, 0
  for i = 1, #p do order[i] = i end
  table.sort(order, function(a, b) return p[a] < p[b] end)
  local first = 1
  while first <= #order do
    local last = first
    while last < #order and p[order[last + 1]] == p[order[first]] do last = last + 1 end
    for k = first, last do
      if y[order[k]] == 1 then
        positives, ranks = positives + 1, ranks + (first + last) / 2
      end
    end
    first = last + 1
  end
  local negatives = #p - positives
  if positives == 0 or negatives == 0 then return nil end
  return (ranks - positives * (positives + 1) / 2) / (positives * negatives)
end

--- calibration.of_probabilities(p, y, bins): of lists of probabilities and of outcomes, 1 or 0: { rate, brier,
--- baseline, calibration, auroc, bins }; see model:audit_events.
function calibration.of_probabilities(p, y, count)
  local bins, rate = reliability(p, y, count, 0, 1), mean(y)
  return { rate = rate, brier = mean_square(p, y), baseline = mean_square(rate, y), calibration = apart(bins, #y),
           auroc = calibration.auroc(p, y), bins = bins }
end

--- calibration.of_numbers(p, y, bins): of lists of predicted and true numbers: { correlation (nil where one of them
--- never changes), rmse, deviation (of the true ones), calibration, bins }; bins cover what was predicted.
function calibration.of_numbers(p, y, count)
  local of_p, of_y, both = mean(p), mean(y), 0
  for i, x in ipairs(p) do both = both + (x - of_p) * (y[i] - of_y) / #p end
  local spread = math.sqrt(mean_square(of_p, p) * mean_square(of_y, y))
  local low, high = math.huge, -math.huge
  for _, x in ipairs(p) do low, high = math.min(low, x), math.max(high, x) end
  local bins = reliability(p, y, count, low, high)
  return { correlation = spread > 0 and both / spread or nil, rmse = math.sqrt(mean_square(p, y)),
           deviation = math.sqrt(mean_square(of_y, y)), calibration = apart(bins, #y), bins = bins }
end

-- ---- what they look like

local Report = {}
Report.__index = Report

local function shown(value) return value and ("%.4g"):format(value) or "unknown" end

function Report:__tostring()
  local lines = {}
  for _, name in ipairs(self.names) do
    local one = self[name]
    if one.brier then
      lines[#lines + 1] = ("%s: rate %.4g, Brier score %.4g, of the rate alone %.4g, calibration error %.4g, AUROC %s")
        :format(name, one.rate, one.brier, one.baseline, one.calibration, shown(one.auroc))
    else
      lines[#lines + 1] = ("%s: correlation %s, error %.4g, deviation %.4g, calibration error %.4g")
        :format(name, shown(one.correlation), one.rmse, one.deviation, one.calibration)
    end
    local ranges = one.brier and "%.2f - %.2f" or "%.3g - %.3g"
    lines[#lines + 1] = ("  %-17s %8s %10s %10s"):format("predicted", "count", "mean", "happened")
    for _, bin in ipairs(one.bins) do
      lines[#lines + 1] = ("  %-17s %8d %10.4f %10.4f"):format(ranges:format(bin.low, bin.high), bin.count,
        bin.predicted, bin.frequency)
    end
  end
  return table.concat(lines, "\n")
end

--- report:plot(): a canvas, the reliability diagram: what happened, by what was predicted.
function Report:plot()
  local probable = self[self.names[1]].brier ~= nil
  local unit, low, high = probable and 100 or 1, math.huge, -math.huge
  local series = {}
  for number, name in ipairs(self.names) do
    local x, y = {}, {}
    for i, bin in ipairs(self[name].bins) do
      x[i], y[i] = unit * bin.predicted, unit * bin.frequency
      low, high = math.min(low, x[i], y[i]), math.max(high, x[i], y[i])
    end
    series[#series + 1] = { label = name, x = x, y = y, color = number }
    series[#series + 1] = { x = x, y = y, color = number, dots = true }
  end
  if probable then low, high = 0, 100 end
  table.insert(series, 1, { label = "as it should be", x = { low, high }, y = { low, high }, dashed = true,
    color = "grey" })
  local words = self.words
  return orrery.plot { title = words.title, x = words.x, y = words.y, series = series,
    x_range = probable and { 0, 100 } or nil, y_range = probable and { 0, 100 } or nil }
end

--- calibration.report(names, by_name, words): what audits answer: the parts by name, `names` in their order; print()
--- shows it as a table, :plot() as a picture with the words title, x and y.
function calibration.report(names, by_name, words)
  local self = { names = names, words = words }
  for _, name in ipairs(names) do self[name] = by_name[name] end
  return setmetatable(self, Report)
end

return calibration
