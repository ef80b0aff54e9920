--- model_fit.lua - model:fit: normaliser, bootstrap, validation, early stopping, elites.
---
--- Every member is a net of its own: its best parameters are kept when ITS validation error is at
--- its best, and it is ranked by the error that those very parameters have.
local orrery = require "orrery"
local check = require "orrery.check"
local model_data = require "orrery.model_data"
local trace = require "orrery.trace"
local training = require "orrery.model_training"

-- Observation, action, change of state, episode: as tensors, from a replay or a table of tensors.
local function read(model, replay)
  local data = model_data.transitions(model, replay, "fit")
  for _, name in ipairs { "observation", "action", "next_observation" } do
    if not data[name]:all_finite() then
      check.fail("fit: %s holds numbers that are not finite", name)
    end
  end
  if data.observation:size(1) < 2 then check.fail("fit: at least 2 transitions are needed") end
  return orrery.concat({ data.observation, data.action }, 2),
    data.next_observation - data.observation, data.episode, data
end

-- The parameters that training changes.
local function parameters_of(model)
  local parameters = model.net:parameters()
  if model.probabilistic then
    parameters[#parameters + 1] = model.low
    parameters[#parameters + 1] = model.high
  end
  return parameters
end

-- Of the rows numbered, those that did not end the episode by an event that jumps.
local function without_ends(model, rows, labels)
  if not rows or not labels then return rows end
  local kept = {}
  local ends = model.events:ends(labels)
  for _, row in ipairs(rows:totable()) do
    if not ends[row] then kept[#kept + 1] = row end
  end
  if #kept < 1 then check.fail("fit: every transition ends an episode by an event with ends = true") end
  return orrery.tensor(kept, "int")
end

-- Numbers of rows for training and for validation, from 1.
local function split(rows, episodes, o, stream)
  if o.validation <= 0 then return orrery.arange(rows):to("int"), nil end
  local held = {}
  if o.split == "episodes" then
    if not episodes then check.fail("fit: to split by episodes the data need 'episode'") end
    local of_row, highest = episodes:totable(), episodes:max()
    local order = stream:orders(1, highest):reshape(-1):totable()
    local chosen = {}
    for i = 1, math.max(1, math.floor(highest * o.validation + 0.5)) do chosen[order[i]] = true end
    for i = 1, rows do held[i] = chosen[of_row[i]] or false end
  else
    local order = stream:orders(1, rows):reshape(-1):totable()
    local count = math.max(1, math.floor(rows * o.validation + 0.5))
    for i, row in ipairs(order) do held[row] = i <= count end
  end
  local train, validation = {}, {}
  for i = 1, rows do table.insert(held[i] and validation or train, i) end
  if #train == 0 or #validation == 0 then
    check.fail("fit: %d rows for training and %d for validation; collect more episodes, or "
      .. "split = 'rows'", #train, #validation)
  end
  return orrery.tensor(train, "int"), orrery.tensor(validation, "int")
end

-- Mean and deviation by column; what never changes gets deviation 0.
local function measure(x)
  local constant = orrery.equal(x:max_along(1), x:min_along(1))
  local deviation = orrery.where(constant, 0, x:std(1))
  return orrery.where(constant, x:slice(1, 1):reshape(-1), x:mean(1)), deviation
end

local function inverse(x)
  local zero = orrery.equal(x, 0)
  return orrery.where(zero, 0, 1 / orrery.where(zero, 1, x))
end

-- Of draws, by how many deviations of a step's change they may go past what was seen.
local MARGIN = 2

-- x, y: what the net learns from; next: all states that were reached.
local function normalise(model, x, y, next)
  local mean, deviation = measure(x)
  model.input_mean:assign(mean)
  model.input_scale:assign(inverse(deviation))
  mean, deviation = measure(y)
  model.target_mean:assign(mean)
  model.target_scale:assign(deviation)
  model.target_inverse:assign(inverse(deviation))
  model.noise_low:assign(next:min_along(1) - MARGIN * deviation)
  model.noise_high:assign(next:max_along(1) + MARGIN * deviation)
end

local function target_of(model, y) return (y - model.target_mean) * model.target_inverse end

local function new_update(model, o)
  local nn, states = orrery.nn, model.states
  local bounds = model.probabilistic and { model.low, model.high } or {}
  local ensemble = model.members > 1
  return orrery.update {
    nets = { model.net }, parameters = ensemble and {} or bounds,
    member_parameters = ensemble and bounds or {},
    optimiser = o.optimiser or orrery.adam {
      learning_rate = o.learning_rate, clip = o.clip, weight_decay = o.weight_decay,
      decay_vectors = false,
    },
    loss = function(sample)
      local s, a = sample.x:slice(1, states), sample.x:slice(states + 1, -1)
      local mean, log_variance = model:normalised(s, a)
      local target = target_of(model, sample.y)
      if not log_variance then return nn.mse(mean, target) end
      -- Keeps the bounds near what is needed: half of Chua et al.'s 0.01, as the likelihood is, shared out over
      -- the members, whose nets have one pair of bounds in common there. It pulls them together, not past each
      -- other: bounds that cross would leave a variance that no input changes any more.
      local low, high = model:variance_bounds()
      local room = orrery.sum(orrery.max(high - low, 0)) / model.members
      -- what never changes must not be sharpened without end
      local changes = orrery.less(0, model.target_inverse)
      return nn.gaussian_nll(mean * changes, log_variance * changes, target) + 0.005 * room
    end,
  }
end

-- The program is kept from fit to fit; the optimiser starts anew, to the bit as a new one.
local function training_update(model, o)
  if o.optimiser then return new_update(model, o) end
  local key = table.concat({ o.learning_rate, o.clip, o.weight_decay }, " ")
  local kept = model.training
  if kept and kept.key == key and kept.net == model.net then return kept.update:restart() end
  model.training = { key = key, net = model.net, update = new_update(model, o) }
  return model.training.update
end

-- Squared error of the predicted next state, in units of the targets' deviation, by member, over
-- rows x, y.
local function evaluator(model, x, y)
  local level = model.members > 1 and "member" or "uniform"
  local compiled = model.validation or trace.program {
    name = "validation",
    inputs = { { name = "x", level = "row", shape = { x:size(2) } },
               { name = "y", level = "row", shape = { y:size(2) } } },
    fn = function(row, change)
      local state = row:slice(1, model.states)
      local apart = model:step(state, row:slice(model.states + 1, -1)) - (state + change)
      return { error = orrery.mean(orrery.square(apart * model.target_inverse)):row_mean(level) }
    end,
  }
  model.validation = compiled
  return function()
    local errors = model:run_all(compiled, { x = x, y = y }, x:size(1)).error:totable()
    return type(errors) == "table" and errors or { errors }
  end
end

local function ranked(scores, count)
  local order = {}
  for m in ipairs(scores) do order[m] = m end
  table.sort(order, function(a, b)
    if scores[a] ~= scores[b] then return scores[a] < scores[b] end
    return a < b
  end)
  return table.move(order, 1, count, 1, {})
end

local function mean_of(list)
  local sum = 0
  for _, value in ipairs(list) do sum = sum + value end
  return sum / #list
end

local function show(epoch, epochs, train, validation, done)
  local text = ("epoch %d/%d  loss %.4f"):format(epoch, epochs, mean_of(train))
  if validation then text = text .. ("  validation error %.5f"):format(mean_of(validation)) end
  io.stderr:write("\r", text, done and "\n" or "  ")
  io.stderr:flush()
end

local defaults = {
  epochs = 100, batch = 256, validation = 0.1, split = "rows", patience = 10, improvement = 0.01,
  learning_rate = 1e-3, weight_decay = 1e-5, clip = 0, optimiser = "any",
  elites = "optional number",
  bootstrap = true, progress = false, log = "optional function", seed = "optional number",
}

local function check_ranges(o, model)
  local function need(condition, message)
    if not condition then check.fail("fit options: %s", message) end
  end
  need(o.split == "rows" or o.split == "episodes", "split must be 'rows' or 'episodes'")
  need(o.validation >= 0 and o.validation < 1, "validation must be in [0, 1)")
  need(o.epochs >= 1 and o.batch >= 1, "epochs and batch must be 1 or more")
  local elites = o.elites or 1
  need(math.type(elites) == "integer" and elites >= 1 and elites <= model.members,
    ("elites must be 1 to %d"):format(model.members))
end

--- model:fit(replay, options): trains on all transitions, from where the model stands. replay: an
--- orrery.replay, or a table of tensors observation, action, next_observation (and episode).
---   epochs         100 at most
---   batch          256 rows per member and update
---   validation     0.1: share of the rows held out; 0: none, no early stopping, and the last parameters stay, as
---                  in PETS. Members kept at the lowest error that they ever had are better than the variance
---                  that they learned meanwhile says: at high learning rates it is several times too large
---   split          "rows", or "episodes": whole episodes are held out
---   patience       10 epochs without a member's error falling by `improvement` (0.01 of itself)
---   learning_rate  1e-3; weight_decay 1e-5 (weights only), clip 0; or an `optimiser`
---   elites         how many members are used afterwards; all
---   bootstrap      true: each member draws its rows with replacement; false: all see the same rows
---   progress       false; true: a line on stderr
---   log            function(epoch): { epoch, train, validation }, losses and errors by member
--- Events that the model learns are fitted with the same options afterwards, to all rows; those of which one
--- ends the episode with `ends` are left out of the dynamics. Of an event that never happened in the data a
--- warning tells, once.
--- Answers a history: train and validation (lists by epoch, then member), best (by member), elites,
--- and evaluate, a function that measures the validation error by member again. When training
--- diverges the parameters before this call, or each member's best, are put back and an error is
--- raised.
return function(model, replay, options)
  local o = check.options("fit options", options, defaults)
  check_ranges(o, model)
  model.refuse_while_planning "fit"
  local x, y, episodes, data = read(model, replay)
  model.fits = (model.fits or 0) + 1
  local stream = orrery.stream(o.seed or model.options.seed, model.fits)
  local train, held = split(x:size(1), episodes, o, stream)
  local labels = model.events and model.events:labels(data)
  if labels then model.events:notice_absent(labels) end
  local all_train, all_held = train, held
  train, held = without_ends(model, train, labels), without_ends(model, held, labels)
  local keeping = training.keeper(parameters_of(model), model.members)
  local before = {}
  local _, tensors = model:tensors()
  for i, tensor in ipairs(tensors) do before[i] = tensor:copy() end

  local batch = { x = x:gather(train), y = y:gather(train) }
  normalise(model, batch.x, batch.y, data.next_observation)
  local update = training_update(model, o)
  local evaluate = held and evaluator(model, x:gather(held), y:gather(held))
  local best, watch = training.watcher(model.members, keeping.keep, o.patience, o.improvement)
  local rows = train:size(1)
  local index = o.bootstrap and model.members > 1 and stream:draws(model.members, rows)
    or stream:orders(model.members, rows)
  local history = { train = {}, validation = {}, best = best }

  local function epoch(i)
    local losses = training.run_epoch(update, batch, index, o, stream)
    local errors = evaluate and evaluate()
    history.train[i], history.validation[i] = losses, errors
    local done = errors and watch(errors)
    if o.progress then show(i, o.epochs, losses, errors, done or i == o.epochs) end
    if o.log then o.log { epoch = i, train = losses, validation = errors } end
    return done
  end

  local ok, problem = pcall(function()
    for i = 1, o.epochs do
      if epoch(i) then break end
    end
  end)
  if not ok then
    local learned = evaluate ~= nil
    for m = 1, model.members do learned = learned and best[m] < math.huge end
    if learned then
      keeping.restore()
      model.fitted = true
    else
      for i, tensor in ipairs(tensors) do tensor:assign(before[i]) end
    end
    local is_own = type(problem) == "string" and problem:find "^%S*lua/orrery/" -- told at the script's line
    if is_own then check.fail("fit: %s", check.without_place(problem)) end
    error(problem, 0)
  end
  if evaluate then
    keeping.restore()
    model:use_elites(ranked(best, o.elites or model.members))
  end
  model.fitted = true
  history.epochs, history.elites, history.skipped = #history.train, model.elites, update.skipped
  history.evaluate = evaluate
  if labels then history.events = model.events:fit(x, labels, all_train, all_held, o) end
  return history
end
