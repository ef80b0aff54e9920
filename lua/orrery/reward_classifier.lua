--- reward_classifier.lua - a reward from examples of success: a classifier of states, trained on the examples against
--- the agent's own states (as in VICE: Fu et al., "Variational inverse control with events", 2018).
---
--- A user can show successes, but not all the ways to fail. Three things keep the classifier from saying yes to
--- all: every batch is half successes, half others, so that rare examples weigh as much as many failures; several
--- nets, regularised, must agree; and states that a planner reached because the classifier took them for a
--- success are looked at and, where they are none, learned as failures (mined). Probabilities are those of
--- balanced queries: 0.5 where success and failure are equally likely when both are asked equally often.
local calibration = require "orrery.calibration"
local check = require "orrery.check"
local Head = require "orrery.reward_head"
local judge = require "orrery.judge"
local orrery = require "orrery"
local trace = require "orrery.trace"

local Classifier = {}
Classifier.__index = Classifier

--- orrery.reward.classifier(options): a classifier of the state that a step leads to.
---   env           whose observations it sees; or the space `observation` (and `action`)
---   fields        none: all; a list of the observation's fields that it may see: what success is about
---   members       5: nets, of which the mean counts
---   hidden        { 64, 64 }; activation "tanh", which does not grow without bounds where there were no data
---   noise         0.05: standard deviation of what is added to inputs in training, in standard deviations of the
---                 data: few examples stand for what is around them
---   seed          0
local function new(options)
  local o = check.options("reward.classifier options", options, {
    env = "any", observation = "any", action = "any", fields = "optional table", members = 5, hidden = { 64, 64 },
    activation = "tanh", noise = 0.05, seed = 0,
  })
  if not (o.noise >= 0) then check.fail("reward.classifier options: noise must be 0 or more, not %g", o.noise) end
  local self = setmetatable({ options = o, fits = 0 }, Classifier)
  self.head = Head.new("reward.classifier", o, { next = true, z = 0 })
  return self
end

-- ---- in traced functions

-- Of the log-odds of each net.
local OUTPUTS = {
  probability = function(odds) return orrery.sigmoid(odds) end,
  log = function(odds) return -orrery.softplus(-odds) end,
  log_odds = function(odds) return odds end,
}

--- classifier:of(what): the reward, a function(s, a, next, t): "probability" of success, the default; "log", its
--- logarithm, which tells also far from success where there is less of it wanting, and of which each net can veto;
--- or "log_odds". Each is the mean over nets.
function Classifier:of(what)
  self.head:need_fitted()
  local output = OUTPUTS[what or "probability"]
  if not output then check.fail("%s", check.unknown("classifier:of", what, check.sorted_keys(OUTPUTS))) end
  return function(_, _, next) return self.head:over_nets(self.head:input(nil, nil, next), output) end
end

--- classifier:success(threshold): the test of success, a function(s, a, next, t): whether the probability is above
--- the threshold, 0.5.
function Classifier:success(threshold)
  local p = self:of "probability"
  threshold = threshold or 0.5
  return function(_, _, next) return p(nil, nil, next) > threshold end
end

-- ---- states

local function zeros_of(field) return #field.shape == 0 and 0 or orrery.zeros(table.unpack(field.shape)) end

-- A state given by field, as a vector: fields that the classifier does not see may be left out.
local function flat(self, record)
  local complete = {}
  for name, value in pairs(record) do complete[name] = value end
  local sees = {}
  for _, name in ipairs(self.head.fields or self.head.observation.names) do sees[name] = true end
  for _, field in ipairs(trace.fields(self.head.observation)) do
    if complete[field.name] == nil and not sees[field.name] then complete[field.name] = zeros_of(field) end
  end
  return self.head.observation:flatten(complete)
end

-- The states of a replay (where steps led), of a tensor with the numbers of a state last, or of a list of records.
local function states_of(self, source, what)
  local size = self.head.base
  if type(source) == "userdata" and not orrery.is_tensor(source) and pcall(function() return source.observation_space end)
  then
    return source:transitions().next_observation:copy()
  end
  if type(source) == "table" then
    if source.next_observation then source = source.next_observation
    elseif type(source[1]) == "table" and type(source[1][1]) ~= "number" then
      local rows = {}
      for i, record in ipairs(source) do rows[i] = flat(self, record) end
      source = orrery.stack(rows)
    else source = orrery.tensor(source) end
  end
  if not orrery.is_tensor(source) or source:axes() < 1 or source:size(-1) ~= size then
    check.fail("reward.classifier: %s must be a replay, a tensor with %d numbers for each state, or a list of "
      .. "observations, not %s", what, size, orrery.is_tensor(source) and table.concat({ source:shape() }, " x ")
      or source == nil and "nothing" or "a " .. type(source))
  end
  return source:reshape(source:count() // size, size):copy()
end

-- The states to learn from; NaN among them would only show as gradients that are not finite.
local function finite_states_of(self, source, what)
  local x = states_of(self, source, what)
  if x:all_finite() then return x end
  for i, row in ipairs(x:totable()) do
    for _, field in ipairs(trace.fields(self.head.observation)) do
      for k = 1, field.count do
        local number = row[field.offset + k]
        if number ~= number or math.abs(number) == math.huge then
          check.fail("classifier:fit: %s: row %d: %s%s is %s; leave out or mend what is not finite: look for a "
            .. "division by 0, or a root or logarithm of a negative number", what, i, field.name,
            field.count > 1 and ("[%d]"):format(k) or "", number ~= number and "NaN" or tostring(number))
        end
      end
    end
  end
end

local History = { __name = "classifier history" }

function History:__tostring()
  local losses = self.train
  return ("%d updates: loss %.4g at first, %.4g at the end"):format(self.updates, losses[1], losses[#losses])
end

local Mined = { __name = "mine report" }

function Mined:__tostring()
  return ("%d of %d states claimed as successes; of %d asked about %d are, %d are not"):format(self.claimed, self.seen,
    self.asked, self.right, self.wrong)
end

local function joined(a, b) return a and orrery.concat({ a, b }, 1) or b end

-- ---- training

local function check_fit(options)
  local o = check.options("fit options", options, { updates = 1000, batch = 64, learning_rate = 1e-3,
    weight_decay = 1e-3, mined = 0.25, mixup = 0, every = 200 })
  if o.updates < 1 or o.batch < 2 or o.updates ~= math.floor(o.updates) or o.batch ~= math.floor(o.batch) then
    check.fail("fit options: updates must be a whole number, 1 or more, and batch one of 2 or more")
  end
  if not (o.every >= 1) then check.fail("fit options: every must be 1 or more, not %g", o.every) end
  o.patience = math.huge -- nothing is held out, by which a fit could tell that it no longer gets better
  for _, name in ipairs { "mined", "mixup" } do
    if not (o[name] >= 0 and o[name] <= 1) then
      check.fail("fit options: %s must be a share, 0 to 1, not %g", name, o[name])
    end
  end
  return o
end

-- The balanced batch of every net, [rows, nets, numbers], and its labels, [rows, nets]: half successes, half others, of
-- which a share are mined ones. Of either half a share are mixed with their opposites.
local function draw(self, sets, o, stream)
  local half, members, size = o.batch // 2, #self.head.nets, self.head.base
  local of_mined = sets.mined and math.floor(o.mined * half + 0.5) or 0
  local function drawn(x, n) -- n rows for each net, with replacement
    if n == 0 then return nil end
    return x:gather(stream:integers(1, x:size(1), members * n)):reshape(members, n, size)
  end
  local yes, no = drawn(sets.yes, half), drawn(sets.no, half - of_mined)
  local mined = drawn(sets.mined, of_mined)
  if mined then no = no and orrery.concat({ no, mined }, 2) or mined end
  local mixed = math.floor(o.mixup * half + 0.5)
  local own = orrery.ones(members, half, 1) -- the part of its own that a row keeps
  if mixed > 0 then own:slice(1, mixed, 2):assign(orrery.rand(members, mixed, 1)) end
  local x = orrery.concat({ own * yes + (1 - own) * no, own * no + (1 - own) * yes }, 2)
  x = x + self.options.noise * orrery.randn(members, 2 * half, size) * self.shown
  local y = orrery.concat({ own, 1 - own }, 2):reshape(members, 2 * half)
  return { x = x:transpose(2, 1, 3):copy(), y = y:transpose(2, 1):copy() }
end

--- classifier:fit(successes, states, options): learns the examples of success against the agent's own states, from
--- where it stands. Both may be a replay (the states that its steps led to), a tensor of n observations, or a list
--- of them, by field, which may lack those that it does not see; they are added to what earlier calls gave and to what classifier:mine found, and either may be nil.
---   updates       1000, of `batch` (64) states for each net, half of them successes
---   mined         0.25: share of the others in a batch that are mined failures, where there are any; as they lie around
---                 success, many of them dig a ditch there that short plans do not cross
---   mixup         0: share of a batch whose rows are a success and another state, mixed in a part drawn evenly from
---                 0 .. 1, which is their label (Zhang et al. 2018): the reward then rises all the way to success,
---                 instead of only at its border, and short plans find it; but probabilities are no longer those of
---                 success
---   learning_rate 1e-3; weight_decay 1e-3
---   every         200: updates over which a loss in the answer is the mean
--- Answers { train }, a list of mean losses, which print shows in a line. All updates are done: no states are held out.
function Classifier:fit(successes, states, options)
  local o, head = check_fit(options), self.head
  local yes = successes ~= nil and finite_states_of(self, successes, "successes")
  local no = states ~= nil and finite_states_of(self, states, "states")
  if yes then self.yes = joined(self.yes, yes) end
  if no then self.no = joined(self.no, no) end
  if not self.yes or not self.no then
    check.fail("classifier:fit: %s are needed, as in classifier:fit(successes, states)",
      self.yes and "states of the agent's own" or "examples of success")
  end
  -- Mean and deviation stay those of the first states: successes and failures mined later must not move them.
  if not head.fitted then head:normalise(self.no) end
  self.shown = orrery.less(0, head.scale)
  local sets = { yes = head:normalised(self.yes), no = head:normalised(self.no),
                 mined = self.mined and head:normalised(self.mined) }
  local stream = orrery.stream(self.options.seed, self.fits + 1)
  self.fits = self.fits + 1
  local update = orrery.update { nets = head.nets, seed = self.options.seed,
    optimiser = orrery.adam { learning_rate = o.learning_rate, weight_decay = o.weight_decay, decay_vectors = false },
    loss = function(sample)
      local sum = 0
      for m, net in ipairs(head.nets) do sum = sum + orrery.nn.binary_cross_entropy(net(sample.x[m])[1], sample.y[m]) end
      return sum / #head.nets
    end }
  local history = head:train(o, function() return (update:step(draw(self, sets, o, stream))) end)
  history.best, history.validation, history.updates = nil, nil, o.updates
  return setmetatable(history, History)
end

--- classifier:predict(states): the probability of success of each, a tensor [n]; states as for classifier:fit.
function Classifier:predict(source)
  self.head:need_fitted()
  local x = states_of(self, source, "states")
  self.predictor = self.predictor or trace.program {
    name = "success", inputs = { { name = "next", shape = { self.head.base } } },
    fn = function(next) return { p = self:of "probability"(nil, nil, next) } end,
  }
  return self.predictor:run({ next = x }, { rows = x:size(1) }).p:copy()
end

-- ---- asking and mining

-- 1 where ask(s, a, next, t) says yes, for rows of states as `next`.
local function answers(self, ask, x)
  local head, n = self.head, x:size(1)
  local verdict = judge.new({ reward = ask }, head.observation, head.action, "classifier")
  return verdict(x, orrery.zeros(n, head.action.size), x, orrery.zeros(n)).reward:reshape(n):copy()
end

-- The states of episodes that a policy plays.
local function played(self, policy, o)
  if not self.options.env then check.fail("classifier:mine: a policy needs an environment to play in: make it with env") end
  local replay = orrery.replay { env = self.options.env }
  orrery.evaluate(self.options.env, policy, { episodes = o.episodes, seed = o.seed, steps = o.steps, replay = replay })
  return replay
end

local function has_act(source)
  if orrery.is_tensor(source) then return false end
  local ok, act = pcall(function() return source.act end)
  return type(source) == "function" or ok and act ~= nil
end

--- classifier:mine(source, options): looks for states that it takes for a success, and learns from those that are
--- none at the next classifier:fit. source: an mpc or another policy, which plays in the environment; a replay; or
--- states, such as a plan's, model:rollout(s, plan).
---   ask        function(s, a, next, t): whether the state `next` is a success, or nil: a user, or a known test;
---              successes among them become examples. Without it all are taken for failures, which only an agent
---              that seldom succeeds can afford
---   most       100: states that are asked about: of those it claims, evenly picked by how sure it is, the surest first
---   threshold  0.5: from which probability on it claims a success
---   episodes   2 that a policy plays, from `seed` (1) on, with `steps` at most; none: the environment's limit
--- Answers { seen, claimed, asked, right, wrong }: numbers of states, which print shows in a line.
function Classifier:mine(source, options)
  local o = check.options("mine options", options, { ask = "any", most = 100, threshold = 0.5, episodes = 2, seed = 1,
    steps = "optional number" })
  self.head:need_fitted()
  local x = states_of(self, has_act(source) and played(self, source, o) or source, "source")
  local p, claimed = self:predict(x):totable(), {}
  for i, chance in ipairs(p) do
    if chance > o.threshold then claimed[#claimed + 1] = i end
  end
  table.sort(claimed, function(a, b) return p[a] > p[b] or p[a] == p[b] and a < b end)
  local report = setmetatable({ seen = x:size(1), claimed = #claimed, asked = math.min(#claimed, o.most), right = 0,
    wrong = 0 }, Mined)
  if report.asked == 0 then return report end
  local picked = {} -- the surest alone would be the same place over and over: where the planner came to rest
  for k = 1, report.asked do picked[k] = claimed[1 + (k - 1) * #claimed // report.asked] end
  local chosen = x:gather(orrery.tensor(picked, "int"))
  local verdicts, right, wrong = o.ask and answers(self, o.ask, chosen) or orrery.zeros(report.asked), {}, {}
  for i = 1, report.asked do
    local list = verdicts[i] > 0.5 and right or wrong
    list[#list + 1] = i
  end
  report.right, report.wrong = #right, #wrong
  if #right > 0 then self.yes = joined(self.yes, chosen:gather(orrery.tensor(right, "int"))) end
  if #wrong > 0 then self.mined = joined(self.mined, chosen:gather(orrery.tensor(wrong, "int"))) end
  return report
end

-- As many rows of either kind, of the more frequent one evenly picked; nil where one kind is missing.
local function balanced(y)
  local kinds = { {}, {} }
  for i, label in ipairs(y) do table.insert(kinds[label == 1 and 1 or 2], i) end
  local n, index = math.min(#kinds[1], #kinds[2]), {}
  if n == 0 then return nil end
  for _, list in ipairs(kinds) do
    for k = 1, n do index[#index + 1] = list[1 + (k - 1) * #list // n] end
  end
  return index
end

--- classifier:calibrate(states, { ask =, balanced = true, bins = 10 }): whether successes are as frequent as it says,
--- on states it was not fitted to (as for classifier:fit), of which ask(s, a, next, t) tells whether they are one.
--- balanced: as many failures as successes, evenly picked, are compared, for which its probabilities are meant;
--- false: all. A table with `success`, as model:audit_events has for each event; print() shows it, :plot() draws it.
function Classifier:calibrate(source, options)
  local o = check.options("calibrate options", options, { ask = "any", balanced = true, bins = 10 })
  if o.ask == nil then check.fail("classifier:calibrate: ask is needed, a function that tells true successes") end
  if math.type(o.bins) ~= "integer" or o.bins < 1 then check.fail("calibrate options: bins must be 1 or more") end
  local x = states_of(self, source, "states")
  local y = answers(self, o.ask, x):totable()
  local index = balanced(y)
  if o.balanced then
    if not index then check.fail("classifier:calibrate: of %d states all are alike; balanced = false takes them as they are", #y) end
    local kept = {}
    for k, i in ipairs(index) do kept[k] = y[i] end
    x, y = x:gather(orrery.tensor(index, "int")), kept
  end
  local found = calibration.of_probabilities(self:predict(x):totable(), y, o.bins)
  return calibration.report({ "success" }, { success = found }, {
    title = "Reliability: are successes as frequent as the classifier says?", x = "predicted probability, %",
    y = "were a success, %" })
end

--- classifier:save(path), classifier:load(path): nets and normaliser as safetensors, for a classifier of the same
--- options. Examples and mined states are not in it.
function Classifier:save(path)
  self.head:save(path)
  return self
end
function Classifier:load(path)
  self.head:load(path)
  return self
end

function Classifier:__tostring()
  local function count(x) return x and x:size(1) or 0 end
  return ("reward classifier: %d nets, %d successes, %d states, %d mined failures"):format(#self.head.nets,
    count(self.yes), count(self.no), count(self.mined))
end

return new
