--- model_event_audit.lua - what a model predicts of events, and whether it happens as often as it says.
local orrery = require "orrery"
local check = require "orrery.check"
local trace = require "orrery.trace"

local Audit = {}
Audit.__index = Audit

local function need_events(model)
  if not model.events then
    check.fail("the model learns no events: name them, as in "
      .. "orrery.model { events = { fallen = function(s, a, next) ... } }")
  end
end

--- model:predict_events(s, a): for n states and actions a table of tensors by the names of events: n
--- probabilities, each the mean over elites.
local function predict(model, s, a)
  need_events(model)
  s, a = orrery.tensor(s), orrery.tensor(a)
  if s:axes() == 1 then s, a = s:insert_axis(1), a:insert_axis(1) end
  if s:axes() ~= 2 or a:axes() ~= 2 or s:size(1) ~= a:size(1) or s:size(2) ~= model.states
      or a:size(2) ~= model.actions then
    check.fail("predict_events: states must be rows of %d numbers and actions as many rows of %d", model.states,
      model.actions)
  end
  model.events.predictor = model.events.predictor or trace.program {
    name = "events",
    inputs = { { name = "s", shape = { model.states } }, { name = "a", shape = { model.actions } } },
    fn = function(state, action) return model:event_probabilities(state, action) end,
  }
  local out, rows, means = model:run_all(model.events.predictor, { s = s, a = a }, s:size(1)), s:size(1), {}
  for _, name in ipairs(model.event_names) do
    local by_member, sum = out[name]:reshape(model.members, rows), 0
    for _, m in ipairs(model.elites) do sum = sum + by_member:slice(m, m):copy() end
    means[name] = (sum / #model.elites):reshape(rows)
  end
  return means
end

-- Bins of equal width, without those in which nothing falls.
local function reliability(p, y, count)
  local bins = {}
  for i = 1, count do
    bins[i] = { low = (i - 1) / count, high = i / count, count = 0, predicted = 0, frequency = 0 }
  end
  for i, chance in ipairs(p) do
    local bin = bins[math.min(count, math.floor(chance * count) + 1)]
    bin.count, bin.predicted, bin.frequency = bin.count + 1, bin.predicted + chance, bin.frequency + y[i]
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

local function mean_square(p, y)
  local sum = 0
  for i, label in ipairs(y) do sum = sum + ((type(p) == "table" and p[i] or p) - label) ^ 2 end
  return sum / #y
end

function Audit:__tostring()
  local lines = {}
  for _, name in ipairs(self.names) do
    local event = self[name]
    lines[#lines + 1] = ("%s: rate %.4g, Brier score %.4g, of the rate alone %.4g, calibration error %.4g")
      :format(name, event.rate, event.brier, event.baseline, event.calibration)
    lines[#lines + 1] = ("  %-11s %8s %10s %10s"):format("predicted", "count", "mean", "happened")
    for _, bin in ipairs(event.bins) do
      lines[#lines + 1] = ("  %.2f - %.2f %8d %10.4f %10.4f"):format(bin.low, bin.high, bin.count, bin.predicted,
        bin.frequency)
    end
  end
  return table.concat(lines, "\n")
end

--- events:plot(): a canvas, the reliability diagram: how often events happened, by how probable they were said to be.
function Audit:plot()
  local series = { { label = "as it should be", x = { 0, 100 }, y = { 0, 100 }, dashed = true, color = "grey" } }
  for number, name in ipairs(self.names) do
    local x, y = {}, {}
    for i, bin in ipairs(self[name].bins) do x[i], y[i] = 100 * bin.predicted, 100 * bin.frequency end
    series[#series + 1] = { label = name, x = x, y = y, color = number }
    series[#series + 1] = { x = x, y = y, color = number, dots = true }
  end
  return orrery.plot { title = "Reliability: do events happen as often as the model says?", series = series,
    x = "predicted probability, %", y = "happened, %", x_range = { 0, 100 }, y_range = { 0, 100 } }
end

--- model:audit_events(replay, { bins = 10 }): whether events happen as often as the model says, on transitions
--- it was not trained on: a replay, or a table of tensors as for model:fit. A table by the names of events, of
--- { rate, brier, baseline, calibration, bins }: how often it happened; the mean squared distance of
--- probability and outcome (Brier 1950), and that of predicting the rate for every row; the mean distance of
--- prediction and frequency over bins, weighted by their counts; and bins of equal width, each { low, high,
--- count, predicted (mean), frequency }. print() shows it as a table, :plot() as a picture.
local function audit(model, replay, options)
  need_events(model)
  local o = check.options("audit_events options", options, { bins = 10 })
  if math.type(o.bins) ~= "integer" or o.bins < 1 then check.fail("audit_events options: bins must be 1 or more") end
  local data = type(replay) == "table" and replay or replay:transitions()
  local labels = model.events:labels(data)
  local probabilities = predict(model, data.observation, data.action)
  local result = setmetatable({ names = model.event_names }, Audit)
  for i, name in ipairs(model.event_names) do
    local p, y = probabilities[name]:totable(), labels:slice(i, i, 2):copy():reshape(-1):totable()
    local rate, apart = 0, 0
    for _, label in ipairs(y) do rate = rate + label / #y end
    local bins = reliability(p, y, o.bins)
    for _, bin in ipairs(bins) do apart = apart + math.abs(bin.predicted - bin.frequency) * bin.count / #y end
    result[name] = { rate = rate, brier = mean_square(p, y), baseline = mean_square(rate, y), calibration = apart,
                     bins = bins }
  end
  return result
end

return { predict = predict, audit = audit }
