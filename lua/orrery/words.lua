--- words.lua - tasks told in words: a description becomes the identifier z of a task, by which the nets of learners
--- and of learned rewards know it.
---
---   local words = orrery.words { "pass the ball to the mate", "shoot the ball at the goal" }
---   local tasks = { { name = "pass", reward = pass, z = words:z "pass the ball to the mate" }, ... }
---
--- z is the mean of the one-hot vectors of the words. A net's first layer multiplies it by a matrix, so that each
--- word has a row of its own there, and the description the mean of its words' rows: a table of word vectors, trained
--- with the net. Descriptions that share words share what is learned of them; order means nothing (a bag of words).
local check = require "orrery.check"
local orrery = require "orrery"

local Words = {}
Words.__index = Words

-- In lower case, without punctuation.
local function split(text)
  if type(text) ~= "string" then check.fail("words: a description is a text, not a %s", type(text)) end
  local list = {}
  for word in text:lower():gmatch "[%w_'\128-\255]+" do list[#list + 1] = word end
  if #list == 0 then check.fail("words: '%s' has no words in it", text) end
  return list
end

--- orrery.words(texts): the vocabulary of a list of descriptions. Words are letters, digits and apostrophes; capital
--- letters count as small ones.
local function new(texts)
  if type(texts) == "string" then texts = { texts } end
  if type(texts) ~= "table" or #texts == 0 then
    check.fail("orrery.words: a list of descriptions is needed, as in { \"pass the ball\", \"shoot at the goal\" }")
  end
  local self = setmetatable({ places = {}, list = {} }, Words)
  for _, text in ipairs(texts) do
    for _, word in ipairs(split(text)) do
      if not self.places[word] then
        self.list[#self.list + 1] = word
        self.places[word] = #self.list
      end
    end
  end
  self.size = #self.list
  return self
end

--- words:z(text): the identifier of a description: a tensor [words.size], the mean of its words' one-hot vectors. A
--- word that is not in the vocabulary, for which nothing can have been learned, is an error.
function Words:z(text)
  local z, list = orrery.zeros(self.size), split(text)
  for _, word in ipairs(list) do
    local place = self.places[word]
    if not place then check.fail("%s", check.unknown("words: the vocabulary", word, check.sorted_keys(self.places))) end
    z[place] = z[place] + 1 / #list
  end
  return z
end

--- words:table(size, seed): such a table by itself, for nets of one's own: an orrery.net that gives the mean of the
--- word vectors, `size` numbers, for a z; net:parameters() holds the table, a row for each word.
function Words:table(size, seed)
  local net = orrery.net { inputs = self.size, seed = seed,
    layers = { { kind = "linear", outputs = size, bias = false } } }
  return net
end

--- #words, words.list: how many words there are; the words in order.
function Words:__len() return self.size end
function Words:__tostring() return ("%d words: %s"):format(self.size, table.concat(self.list, " ")) end

return new
