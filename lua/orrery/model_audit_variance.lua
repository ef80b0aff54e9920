--- model_audit_variance.lua - whether a model knows what it does not know: model:audit_variance, whether its
--- deviations are as large as its errors, and model:audit_spread, whether its members disagree where it
--- has seen nothing.
local orrery = require "orrery"
local check = require "orrery.check"
local model_data = require "orrery.model_data"

-- ---- the predicted variance

local Variance = { __name = "audit of the variance" }
Variance.__index = Variance

function Variance:__tostring()
  local lines = { ("%-20s %12s %10s %10s"):format("field", "residuals", "in 50 %", "in 90 %") }
  for _, row in ipairs(self) do
    lines[#lines + 1] = ("%-20s %12.3f %10.3f %10.3f"):format(row.field, row.variance, row.within[50], row.within[90])
  end
  return table.concat(lines, "\n")
end

-- |z| within which a normal number falls that often, in percent.
local levels = { 10, 20, 30, 40, 50, 60, 70, 80, 90, 95 }
local reach = { [10] = 0.12566, [20] = 0.25335, [30] = 0.38532, [40] = 0.52440, [50] = 0.67449, [60] = 0.84162,
  [70] = 1.03643, [80] = 1.28155, [90] = 1.64485, [95] = 1.95996 }

--- variance:plot(): a canvas: how often the truth lay within the intervals that should hold it so often.
function Variance:plot()
  local series = { { label = "as it should be", x = { 0, 100 }, y = { 0, 100 }, dashed = true, color = "grey" } }
  for _, row in ipairs(self) do
    local y = {}
    for i, level in ipairs(levels) do y[i] = 100 * row.within[level] end
    series[#series + 1] = { label = row.field, x = levels, y = y }
  end
  return orrery.plot { title = "Calibration: do intervals hold what they promise?", series = series,
    x = "predicted: share of the truth within the interval, %", y = "measured, %", x_range = { 0, 100 },
    y_range = { 0, 100 } }
end

--- model:audit_variance(replay): compares the deviations that a probabilistic model predicts, one step
--- ahead, with its errors. replay: episodes that it was not trained on; or a table of tensors
--- observation, action, next_observation. Answers a list of { field, variance, within }: the variance
--- of the standardised residuals (1 when the deviations are right, larger when the model is too sure),
--- and by percentage (10, 20 ... 90, 95) how often the truth lay in the central interval that should
--- hold it so often; means over the elites, without fields that never change. print() shows it as a
--- table, :plot() as a picture.
local function variance(model, replay)
  if not model.probabilistic then
    check.fail("audit_variance: the model is deterministic; it predicts no variance")
  end
  local data = model_data.transitions(model, replay, "audit_variance")
  local mean, deviation = model:predict(data.observation, data.action)
  local n, scale = data.observation:size(1), model.target_scale:totable()
  local rows, first = setmetatable({}, Variance), 1
  for _, field in ipairs(model.observation.fields) do
    local squares, count, within = 0, 0, {}
    for _, level in ipairs(levels) do within[level] = 0 end
    for i = first, first + field.count - 1 do
      if scale[i] > 0 then
        local truth = data.next_observation:slice(i, i, 2):reshape(n)
        for _, m in ipairs(model.elites) do
          local function of(x) return x:slice(m, m):slice(i, i, 3):reshape(n) end
          local z = (truth - of(mean)) / orrery.max(of(deviation), 1e-30)
          squares, count = squares + orrery.mean(orrery.square(z)), count + 1
          local away = orrery.abs(z)
          for _, level in ipairs(levels) do
            within[level] = within[level] + orrery.mean(orrery.where(orrery.less(away, reach[level]), 1, 0))
          end
        end
      end
    end
    first = first + field.count
    if count > 0 then
      for _, level in ipairs(levels) do within[level] = within[level] / count end
      rows[#rows + 1] = { field = field.name, variance = squares / count, within = within }
    end
  end
  return rows
end

-- ---- the spread of the members

local Spread = { __name = "audit of the spread" }
Spread.__index = Spread

function Spread:__tostring()
  return ("spread of the members: median %.3g on seen states, %.3g on shifted ones; AUROC %.3f")
    :format(self.seen[(#self.seen + 1) // 2], self.shifted[(#self.shifted + 1) // 2], self.auroc)
end

--- spread:plot(): a canvas: which share of the states has at most so much spread.
function Spread:plot()
  local function curve(list, label)
    local x, y = {}, {}
    for i, value in ipairs(list) do x[i], y[i] = math.max(value, 1e-12), 100 * i / #list end
    return { label = label, x = x, y = y }
  end
  return orrery.plot { title = ("Does the ensemble know what it has not seen? AUROC %.2f"):format(self.auroc),
    x = "disagreement of the members, in deviations of the change of state", y = "states with at most that, %",
    log_x = true, series = { curve(self.seen, "seen"), curve(self.shifted, "shifted") } }
end

-- Root mean square over the numbers of the state of the deviation over the elites of what they predict,
-- in deviations of the change of state: a sorted list, one number per transition.
local function disagreement(model, data)
  local predicted = model:predict(data.observation, data.action)
  local n, mean, square = data.observation:size(1), 0, 0
  for _, m in ipairs(model.elites) do
    -- less the state, so that the squares are of small numbers
    local change = (predicted:slice(m, m):reshape(n, model.states) - data.observation) * model.target_inverse
    mean, square = mean + change, square + orrery.square(change)
  end
  local members = #model.elites
  local of_number = orrery.max(square / members - orrery.square(mean / members), 0)
  local list = orrery.sqrt(orrery.mean(of_number, 2)):totable()
  table.sort(list)
  return list
end

-- The chance that a shifted one is larger than a seen one; ties count half.
local function area(seen, shifted)
  local sum, below, upto = 0, 0, 0
  for _, value in ipairs(shifted) do
    while below < #seen and seen[below + 1] < value do below = below + 1 end
    upto = math.max(upto, below)
    while upto < #seen and seen[upto + 1] <= value do upto = upto + 1 end
    sum = sum + (below + upto) / 2
  end
  return sum / (#seen * #shifted)
end

--- model:audit_spread(seen, shifted): whether the members of an ensemble disagree more on states that
--- are unlike the training data. seen, shifted: replays, or tables of tensors observation and action.
--- Answers { auroc, seen, shifted }: the chance that a shifted state has the larger spread (1: always,
--- 0.5: the spread tells nothing), and the spreads, sorted: deviation over the members of the
--- predicted change, in deviations of the change of state. print() shows a line, :plot() a picture.
local function spread(model, seen, shifted)
  local acts = { "observation", "action" }
  if #model.elites < 2 then
    check.fail("audit_spread: one net cannot disagree with itself; the model needs 2 members or more")
  end
  local result = setmetatable({}, Spread)
  result.seen = disagreement(model, model_data.transitions(model, seen, "audit_spread", acts))
  result.shifted = disagreement(model, model_data.transitions(model, shifted, "audit_spread", acts))
  result.auroc = area(result.seen, result.shifted)
  return result
end

return { variance = variance, spread = spread }
