--- relabel.lua - hindsight: transitions sampled from a replay as if another goal had been wanted.
---
---   local relabel = orrery.relabel.future { k = 4, task = task }
---   local batch = replay:sample(256, { relabel = relabel, gamma = 0.98 })
---
--- Episodes are stored once and stay as they were; on the way out a strategy replaces the desired goal of a
--- share of the transitions by one that was achieved (Andrychowicz et al., "Hindsight experience replay",
--- 2017), in the field `desired_goal`, in `next_desired_goal`, and where they lie in the flat `observation` and
--- `next_observation`. Reward and terminated of these are computed anew by the task, from where the step led;
--- without a termination of the task, they are not terminated. All other transitions keep what was recorded, unless
--- replay:sample is told to compute all of them anew.
---
--- Options that all strategies take:
---   task      { reward =, termination = }, functions of (s, a, next, t): what rewards are computed by; it may
---             also be given to replay:sample, and there instead tasks, a list of { reward =, termination =, z = }:
---             each transition is rewarded by the one whose z the replay holds for it, in the extra field z
---   share     of transitions that are relabeled, 0 to 1
---   keep_ends true: an end that was recorded stays with another goal, which is right where the environment ends
---             episodes by accidents, and wrong where it ends them at the goal; without it, it says once what it drops
---   desired   "desired_goal": the field that is replaced
---   achieved  "achieved_goal": the field that its new value is taken from
local check = require "orrery.check"
local identifiers = require "orrery.identifiers"
local orrery = require "orrery"

local relabel = {}

local Relabel = { __name = "orrery.relabeling" }
Relabel.__index = Relabel

function Relabel:__tostring() return "relabeling " .. self.name end

--- relabel.is(x): library code: whether it is a relabeling.
function relabel.is(x) return getmetatable(x) == Relabel end

local common = { task = "any", share = "optional number", keep_ends = "optional boolean",
                 desired = "desired_goal", achieved = "achieved_goal" }

local function read_options(name, given, more)
  local defaults = {}
  for key, value in pairs(common) do defaults[key] = value end
  for key, value in pairs(more or {}) do defaults[key] = value end
  local o = check.options("relabel." .. name, given, defaults)
  if o.share and not (o.share >= 0 and o.share <= 1) then
    check.fail("relabel.%s: share must be 0 to 1, got %s", name, o.share)
  end
  return o
end

local function new(name, o, rest)
  rest.name, rest.task, rest.desired, rest.achieved, rest.keep_ends = name, o.task, o.desired, o.achieved, o.keep_ends
  return setmetatable(rest, Relabel)
end

-- ---- strategies that are built in

-- The strategy for a share, and for the rest what was wanted.
local function parts_of(name, share)
  if share == 1 then return { name, 1 } end
  return { name, share, "none", 1 - share }
end

local function share_of_k(name, given)
  local o = read_options(name, given, { k = 4 })
  if o.share and given.k ~= nil then
    check.fail("relabel.%s: k = %s is a share of %g; give k or share, not both", name, given.k, o.k / (o.k + 1))
  end
  if not (o.k >= 0 and o.k < math.huge) then check.fail("relabel.%s: k must be 0 or more, got %s", name, o.k) end
  return o, o.share or o.k / (o.k + 1)
end

--- relabel.final { share = 0.5 }: the goal achieved at the episode's end: half as it was, half in hindsight.
function relabel.final(given)
  local o = read_options("final", given, { share = 0.5 })
  return new("final", o, { parts = parts_of("final", o.share) })
end

--- relabel.future { k = 4 }: a goal achieved later in the episode, each of the observations t + 1 .. T equally
--- likely; so it may be the very one that the step leads to. k relabeled transitions for each that is not: a
--- share of k / (k + 1).
function relabel.future(given)
  local o, share = share_of_k("future", given)
  return new("future", o, { parts = parts_of("future", share) })
end

--- relabel.episode { k = 4 }: a goal achieved at any time of the episode: observations 1 .. T.
function relabel.episode(given)
  local o, share = share_of_k("episode", given)
  return new("episode", o, { parts = parts_of("episode", share) })
end

--- relabel.random { k = 4 }: a goal achieved at any time of any episode in the replay.
function relabel.random(given)
  local o, share = share_of_k("random", given)
  return new("random", o, { parts = parts_of("random", share) })
end

--- relabel.none {}: the goals that were wanted.
function relabel.none(given)
  return new("none", read_options("none", given), { parts = { "none", 1 } })
end

--- relabel.mix { { 0.8, relabel.future {} }, { 0.2, relabel.final {} }, task = nil }: strategies that are built
--- in, mixed by weight; the weights' sum counts as 1, and each part keeps its own share of transitions as they
--- were. There is one task, and one pair of fields, for all of them: the mix's, or that of the parts.
function relabel.mix(given)
  if type(given) ~= "table" or #given == 0 then
    check.fail("relabel.mix: a list is needed, as in { { 0.8, orrery.relabel.future {} }, { 0.2, ... } }")
  end
  local named, parts = {}, {}
  for key, value in pairs(given) do
    if type(key) ~= "number" then named[key] = value end
  end
  local o, sum, seen = read_options("mix", named), 0, {}
  for i, entry in ipairs(given) do
    local weight, part = table.unpack(type(entry) == "table" and entry or {})
    if type(weight) ~= "number" or not relabel.is(part) or not (weight >= 0) then
      check.fail("relabel.mix: entry %d must be { weight, strategy }", i)
    end
    if not part.parts then
      check.fail("relabel.mix: %s is not built in; a strategy of one's own can choose among several by itself",
        tostring(part))
    end
    local total = 0
    for k = 2, #part.parts, 2 do total = total + part.parts[k] end
    for k = 1, #part.parts, 2 do
      parts[#parts + 1], parts[#parts + 2] = part.parts[k], weight * part.parts[k + 1] / total
    end
    for _, key in ipairs { "task", "keep_ends", "desired", "achieved" } do -- one for all, the mix's or that of parts
      local own = part[key]
      if own ~= nil and part.name ~= "none" and named[key] == nil then
        if seen[key] ~= nil and seen[key] ~= own then
          check.fail("relabel.mix: parts with another %s each cannot be mixed; give one with the mix", key)
        end
        seen[key], o[key] = own, own
      end
    end
    sum = sum + weight
  end
  if sum <= 0 then check.fail("relabel.mix: the weights add up to %g; they must be positive", sum) end
  if o.share then
    for k = 2, #parts, 2 do parts[k] = parts[k] * o.share / sum end
    parts[#parts + 1], parts[#parts + 2] = "none", 1 - o.share
  end
  return new("mix", o, { parts = parts })
end

-- ---- strategies of one's own, and other tasks

--- relabel.custom(function(episode, t, random) ... end, { share = 1 }): a strategy of one's own: the goal for
--- transition t (1 is the first) of an episode.
---   episode:at(t)      the observation with that number, 1 .. episode.length + 1, by field, extra fields
---                      included: episode:at(t + 1).achieved_goal is what step t achieved
---   episode:action(t)  by field; episode:reward(t): the number; t of 1 .. episode.length
---   episode.length     steps
---   random:uniform()   in [0, 1); random:integer(low, high): whole, both included
--- So `future`, with k = 4, is
---
---   orrery.relabel.custom(function(episode, t, random)
---     return episode:at(random:integer(t + 1, episode.length + 1)).achieved_goal
---   end, { share = 0.8 })
---
--- It may also return { goal =, reward =, done =, weight = }, all but the goal may be left out: reward and done
--- take the place of the task's, weight, 0 or more, is the batch's `weight`. Functions that can be traced run compiled,
--- for the whole batch; others are called for each transition, which a warning tells once (the
--- orrery program shows it; elsewhere warn "@on" does), and may return nil: the transition stays as it was.
function relabel.custom(fn, given)
  local trace = require "orrery.trace"
  local plain = trace.is_interpreted(fn)
  if type(fn) ~= "function" and not plain then
    check.fail("relabel.custom: a function of (episode, t, random) is needed, not a %s", type(fn))
  end
  local o = read_options("custom", given, { share = 1 })
  return new("custom", o, { share = o.share, strategy = require "orrery.relabel_custom".new(fn) })
end

--- relabel.tasks { tasks = { { name =, reward =, z = }, ... }, choose = nil, share = 1, field = "z" }:
--- transitions collected for one task become those of another: its identifier is written over the field z, its
--- reward and termination are computed. Where no task has an identifier, they are one-hot, in this order. An end that
--- was recorded where none of the tasks ends was the environment's, and stays. choose: function(episode, t, random), as
--- of relabel.custom, which gives
--- the number of a task; without one, each is equally likely.
function relabel.tasks(given)
  local o = check.options("relabel.tasks", given,
    { tasks = "any", choose = "any", share = 1, field = "z" })
  if type(o.tasks) ~= "table" or #o.tasks == 0 then
    check.fail("relabel.tasks: a list of tasks is needed, as in { tasks = { { reward =, z = }, ... } }")
  end
  local rows = identifiers.read(o.tasks, "relabel.tasks")
  if not (o.share >= 0 and o.share <= 1) then check.fail("relabel.tasks: share must be 0 to 1, got %s", o.share) end
  return new("tasks", { desired = o.field }, {
    tasks = o.tasks, values = orrery.stack(rows), share = o.share,
    strategy = o.choose and require "orrery.relabel_custom".new(o.choose, #o.tasks) or nil,
  })
end

return setmetatable(relabel, { __index = function(_, name)
  check.fail("%s", check.unknown("orrery.relabel", name, check.sorted_keys(relabel)))
end })
