--- model_files.lua - models to files and back.
local orrery = require "orrery"
local check = require "orrery.check"
local meaning = require "orrery.meaning"

local own_tensors = { "input_mean", "input_scale", "target_mean", "target_scale", "target_inverse", "noise_low",
  "noise_high", "low", "high" }

-- What the numbers stand for: meaning.lua.
local function means_of(self)
  return { observation = meaning.fields(self.observation), action = meaning.fields(self.action),
    activation = { self.options.activation }, events = self.event_names or {} }
end

return function(Model, is_model)
  --- model:tensors(): everything that makes the model what it is: a list of names, and one of tensors.
  function Model:tensors()
    local tensors, names = self.net:parameters()
    for i, name in ipairs(names) do names[i] = "net." .. name end
    if self.events then
      local parameters, of_events = self.events.net:parameters()
      for i, tensor in ipairs(parameters) do
        names[#names + 1], tensors[#tensors + 1] = "events." .. of_events[i], tensor
      end
    end
    for _, name in ipairs(own_tensors) do
      if self[name] then
        names[#names + 1], tensors[#tensors + 1] = name, self[name]
      end
    end
    return names, tensors
  end

  --- model:save(path): parameters, normaliser and elites as safetensors, with the names of the fields that they are
  --- for; whole or not at all.
  function Model:save(path)
    is_model(self, "save")
    local names, tensors = self:tensors()
    local chosen = {} -- ranks; none: it was never fitted
    for m = 1, self.members do chosen[m] = 0 end
    for rank, m in ipairs(self.fitted and self.elites or {}) do chosen[m] = rank end
    names[#names + 1], tensors[#tensors + 1] = "elites", orrery.tensor(chosen)
    meaning.save("model:save", path, names, tensors, means_of(self))
    return self
  end

  -- Reads a file into tensors of its own, or fails; answers a function that the model takes them by.
  function Model:read_file(path)
    Model.refuse_while_planning "load"
    meaning.check("model:load", path, means_of(self))
    local names, tensors = self:tensors()
    local read, chosen = {}, orrery.zeros(self.members)
    for i, tensor in ipairs(tensors) do read[i] = tensor:copy() end
    names[#names + 1], read[#read + 1] = "elites", chosen
    local done, message = pcall(orrery.checkpoint.load, path, names, read)
    if not done then
      check.fail("model:load: %s; it is of a model made with other options (hidden, members, probabilistic, layer_norm, "
        .. "events_hidden)", check.without_place(message))
    end
    return function()
      for i, tensor in ipairs(tensors) do tensor:assign(read[i]) end
      local ranks, elites = chosen:totable(), {}
      for m, rank in ipairs(ranks) do
        if rank > 0 then elites[#elites + 1] = m end
      end
      table.sort(elites, function(a, b) return ranks[a] < ranks[b] end)
      self.fitted = #elites > 0
      self:use_elites(self.fitted and elites or nil)
    end
  end

  --- model:load(path): reads what model:save wrote for a model of the same fields and sizes. A file that does
  --- not fit is refused as a whole.
  function Model:load(path)
    is_model(self, "load")
    self:read_file(path)()
    return self
  end
end
