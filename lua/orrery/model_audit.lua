--- model_audit.lua - model:audit: how wrong predictions are, by field and by how far ahead, against
--- predicting no change.
local orrery = require "orrery"
local check = require "orrery.check"
local model_data = require "orrery.model_data"

local Audit = {}
Audit.__index = Audit

-- Root of the mean square over all but the last axis.
local function root_mean_square(x)
  return orrery.sqrt(orrery.mean(orrery.square(x:reshape(-1, x:size(-1))), 1)):totable()
end

-- Fields of the space with where their numbers lie, from 1.
local function fields_of(space)
  local list, first = {}, 1
  for _, field in ipairs(space.fields) do
    list[#list + 1] = { name = field.name, first = first, last = first + field.count - 1 }
    first = first + field.count
  end
  return list
end

local function over(list, field)
  local sum = 0
  for i = field.first, field.last do sum = sum + list[i] ^ 2 end
  return math.sqrt(sum / (field.last - field.first + 1))
end

function Audit:__tostring()
  local head = "%-20s %8s %12s %12s %8s"
  local lines = { head:format("field", "horizon", "error", "no change", "ratio") }
  for _, row in ipairs(self) do
    local ratio = row.baseline > 0 and ("%8.3f"):format(row.ratio) or ("%8s"):format("-")
    lines[#lines + 1] = ("%-20s %8d %12.5g %12.5g %s")
      :format(row.field, row.horizon, row.error, row.baseline, ratio)
  end
  return table.concat(lines, "\n")
end

--- audit:plot(): a canvas: the ratio of every field, by how far ahead.
function Audit:plot()
  local series, by_field = {}, {}
  for _, row in ipairs(self) do
    if row.baseline > 0 then
      local one = by_field[row.field]
      if not one then
        one = { label = row.field, x = {}, y = {} }
        by_field[row.field], series[#series + 1] = one, one
      end
      table.insert(one.x, row.horizon)
      table.insert(one.y, row.ratio)
    end
  end
  return orrery.plot { title = "How far ahead does the model see?", series = series, log_y = true,
    x = "steps ahead", y = "error, against predicting no change" }
end

--- model:audit(replay, { horizons = { 1, 5, 10, 20 }, windows = 1000, seed = 0 }): predicts that
--- many steps ahead from states of the replay under the actions taken there, following each elite's
--- mean and averaging them. replay: episodes the model was not trained on; or a table of tensors
--- observation [n, steps + 1, state] and action [n, steps, action]. Answers a list of { horizon,
--- field, error, baseline, ratio, share }: root mean squared error, that of predicting no change,
--- their ratio (0 or infinite for what never changes), and the error as a share of the field's
--- standard deviation in the data. print() shows it as a table, with "-" for such
--- a ratio; :plot() as a picture.
return function(model, replay, options)
  local o = check.options("audit options", options,
    { horizons = { 1, 5, 10, 20 }, windows = 1000, seed = 0 })
  local longest = 0
  for _, horizon in ipairs(o.horizons) do longest = math.max(longest, horizon) end
  if longest < 1 then check.fail("audit options: horizons must be 1 or more") end
  model_data.check(model, replay, "audit")
  local data = replay
  if type(replay) ~= "table" then
    data = replay:windows(o.windows, longest, { stream = orrery.stream(o.seed) })
  end
  local observation = data.observation
  local start = observation:slice(1, 1, 2):copy():reshape(-1, model.states)
  local states = model:rollout(start, data.action)
  local mean = 0
  for _, m in ipairs(model.elites) do mean = mean + states:slice(m, m) end
  mean = (mean / #model.elites):reshape(start:size(1), longest, model.states)
  local deviation = observation:reshape(-1, model.states):std(1):totable()
  local rows = setmetatable({ horizons = o.horizons }, Audit)
  for _, horizon in ipairs(o.horizons) do
    local truth = observation:slice(horizon + 1, horizon + 1, 2):copy():reshape(-1, model.states)
    local predicted = mean:slice(horizon, horizon, 2):copy():reshape(-1, model.states)
    local error_of = root_mean_square(predicted - truth)
    local still = root_mean_square(start - truth)
    for _, field in ipairs(fields_of(model.observation)) do
      local err, baseline = over(error_of, field), over(still, field)
      local spread = over(deviation, field)
      rows[#rows + 1] = { horizon = horizon, field = field.name, error = err, baseline = baseline,
                          share = spread > 0 and err / spread or (err > 0 and math.huge or 0),
                          ratio = baseline > 0 and err / baseline or (err > 0 and math.huge or 0) }
    end
  end
  return rows
end
