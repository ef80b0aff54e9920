--- model_event_audit.lua - what a model predicts of events, and whether it happens as often as it says.
local orrery = require "orrery"
local calibration = require "orrery.calibration"
local check = require "orrery.check"
local model_data = require "orrery.model_data"
local trace = require "orrery.trace"

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
  if a == nil then check.fail("predict_events: actions are missing: rows of %d numbers", model.actions) end
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

--- model:audit_events(replay, { bins = 10 }): whether events happen as often as the model says, on transitions
--- it was not trained on: a replay, or a table of tensors as for model:fit. A table by the names of events, of
--- { rate, brier, baseline, calibration, auroc, bins }: how often it happened; the mean squared distance of
--- probability and outcome (Brier 1950), and that of predicting the rate for every row; the mean distance of
--- prediction and frequency over bins, weighted by their counts (the expected calibration error); how likely a
--- row in which it happened got a higher probability than one in which it did not, nil where all are alike; and
--- bins of equal width, each { low, high, count, predicted (mean), frequency }. print() shows it as a table,
--- :plot() as a picture.
local function audit(model, replay, options)
  need_events(model)
  local o = check.options("audit_events options", options, { bins = 10 })
  if math.type(o.bins) ~= "integer" or o.bins < 1 then check.fail("audit_events options: bins must be 1 or more") end
  local data = model_data.transitions(model, replay, "audit_events")
  local labels = model.events:labels(data)
  local probabilities = predict(model, data.observation, data.action)
  local found = {}
  for i, name in ipairs(model.event_names) do
    local y = labels:slice(i, i, 2):copy():reshape(-1):totable()
    found[name] = calibration.of_probabilities(probabilities[name]:totable(), y, o.bins)
  end
  return calibration.report(model.event_names, found, {
    title = "Reliability: do events happen as often as the model says?", x = "predicted probability, %",
    y = "happened, %",
  })
end

return { predict = predict, audit = audit }
