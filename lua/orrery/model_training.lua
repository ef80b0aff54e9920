--- model_training.lua - what the fits of a model's nets share: epochs, and keeping each member at its best.
local training = {}

--- training.keeper(parameters, members): copies of the parameters that training changes, of which each member
--- is kept on its own.
function training.keeper(parameters, members)
  local kept = {}
  for i, tensor in ipairs(parameters) do kept[i] = tensor:copy() end
  return {
    keep = function(member)
      for i, tensor in ipairs(parameters) do
        if members == 1 then kept[i]:assign(tensor)
        else kept[i]:slice(member, member):assign(tensor:slice(member, member)) end
      end
    end,
    restore = function()
      for i, tensor in ipairs(parameters) do tensor:assign(kept[i]) end
    end,
  }
end

--- training.watcher(members, keep, patience, improvement): the best error of each member, and a function of
--- errors that keeps members at their best and tells when enough epochs went by without a gain worth waiting
--- for.
function training.watcher(members, keep, patience, improvement)
  local best, notable, waited = {}, {}, 0
  for m = 1, members do best[m], notable[m] = math.huge, math.huge end
  return best, function(errors)
    waited = waited + 1
    for m, err in ipairs(errors) do
      if err < best[m] then
        best[m] = err
        keep(m)
      end
      if err < notable[m] * (1 - improvement) or (notable[m] == math.huge and err < math.huge) then
        notable[m], waited = err, 0
      end
    end
    return waited >= patience
  end
end

--- training.run_epoch(update, batch, index, o, stream): one pass over every member's rows, in a new order.
--- Answers the mean training loss by member.
function training.run_epoch(update, batch, index, o, stream)
  stream:shuffle(index)
  local rows, sums, count = index:size(2), {}, 0
  for first = 1, rows, o.batch do
    local last = math.min(first + o.batch - 1, rows)
    local _, details = update:step(batch, index:slice(first, last, 2))
    local losses = details.loss:totable()
    if type(losses) ~= "table" then losses = { losses } end
    local weight = last - first + 1
    for m, loss in ipairs(losses) do sums[m] = (sums[m] or 0) + loss * weight end
    count = count + weight
  end
  for m, sum in ipairs(sums) do sums[m] = sum / count end
  return sums
end

return training
