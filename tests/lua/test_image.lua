-- Pictures from Lua: canvas, PNG files, plots, film strips, animations.
local orrery = require "orrery"
local fails = require "tests.lua.fails"

local path = os.tmpname()

local canvas = orrery.canvas(60, 40, "#102030")
assert(canvas.width == 60 and canvas.height == 40 and tostring(canvas) == "canvas(60 x 40)")
canvas:disc(20, 20, 8, "#ff0000"):line(0, 0, 59, 39):polyline { 1, 1, 30, 5, 50, 30 }:ring(30, 20, 5)
  :polygon({ { 40, 10 }, { 55, 10 }, { 50, 30 } }, "blue"):rectangle(2, 30, 10, 5, 3, 2)
  :text(30, 36, "é text", { size = 8, align = "center", color = "white" })
local pixels = canvas:tensor()
assert(pixels:size(1) == 40 and pixels:size(2) == 60 and pixels[21][17][1] == 255 and pixels[1][60][3] == 0x30)

canvas:save(path)
local back = orrery.load_png(path)
for _, at in ipairs { { 1, 1 }, { 21, 21 }, { 40, 60 } } do
  for c = 1, 3 do assert(back[at[1]][at[2]][c] == pixels[at[1]][at[2]][c]) end
end
assert(orrery.load_png(path, 1):size(3) == 1 and orrery.load_png(path, 4):size(3) == 4)

orrery.save_png(path, orrery.full(0.5, 8, 9))          -- reals of 0 .. 1, grey
local grey = orrery.load_png(path)
assert(grey:size(1) == 8 and grey:size(2) == 9 and grey:size(3) == 1 and grey[3][4][1] == 128)
orrery.save_png(path, orrery.full(7, 4, 5, 4, "byte"))
assert(orrery.load_png(path):size(3) == 4)
canvas:picture(10, 10, orrery.full(1, 2, 2), 3)
assert(canvas:tensor()[11][11][2] == 255)

fails("cannot read '/nonexistent/x.png'", orrery.load_png, "/nonexistent/x.png")
fails("cannot write '/nonexistent/x.png'", canvas.save, canvas, "/nonexistent/x.png")
fails("1 to 4 channels", orrery.save_png, path, orrery.zeros(2, 2, 7))
fails("picture", orrery.save_png, path, "text")
fails("a colour is", canvas.disc, canvas, 1, 1, 1, "#12")
fails("cannot be drawn on itself", canvas.picture, canvas, 0, 0, canvas)
fails("sides are 1 to 16384", orrery.canvas, 0, 10)
fails("canvas has no 'widht'", function() return canvas.widht end)
fails("did you mean 'size'", canvas.text, canvas, 0, 0, "x", { sise = 1 })

local plot = orrery.plot { title = "Title", x = "steps", y = "return", width = 400, height = 300, log_x = true,
  series = {
    { label = "list", y = { 1, 2, 4, false, 3 } },
    { label = "tensor", x = orrery.arange(3), y = orrery.tensor { 3, 2, 1 }, low = { 2, 1, 0 }, high = { 4, 3, 2 } },
    { y = { 1, 1 }, color = "#123456", dashed = true }, { y = { 2, 0 / 0 }, dots = true, color = 2 } } }
assert(plot.width == 400 and plot.height == 300)
plot:save(path)
fails("series", orrery.plot, {})
fails("plot, series 1: y, a list of numbers or a tensor, is missing", orrery.plot, { series = { {} } })
fails("plot, series 1: x has 2 numbers where y has 3", orrery.plot, { series = { { x = { 1, 2 }, y = { 1, 2, 3 } } } })
fails("plot, series 1: y[2] is a string", orrery.plot, { series = { { y = { 1, "a" } } } })
fails("a band needs both", orrery.plot, { series = { { y = { 1 }, low = { 1 } } } })
fails("did you mean 'title'", orrery.plot, { titel = "", series = {} })

local frames = {}
for i = 1, 5 do frames[i] = orrery.canvas(30, 20):disc(5 * i, 10, 4, "red") end
local strip = orrery.film_strip(frames, { captions = { "one", false, "three" }, columns = 3, title = "Frames" })
assert(strip.width > 3 * 100)
fails("frame 6 is 7 x 7 pixels, the first one 30 x 20", orrery.film_strip,
  { frames[1], frames[2], frames[3], frames[4], frames[5], orrery.canvas(7, 7) })

orrery.save_animation(path, frames, { fps = 10 })
local first = orrery.load_png(path)
assert(first:size(1) == 20 and first[11][6][1] > 150 and first[11][6][2] < 100)
local function bytes()
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end
local function count(name)
  local n = 0
  for _ in bytes():gmatch(name) do n = n + 1 end
  return n
end
assert(count "acTL" == 1 and count "fcTL" == 5 and count "fdAT" == 4)
local whole = bytes()
orrery.save_animation(path, function(i) return frames[i] end, { fps = 10 })
assert(bytes() == whole, "a list and a function give the same file")
fails("stop here", orrery.save_animation, path, function(i)
  if i == 3 then error "stop here" end
  return frames[i]
end)
assert(bytes() == whole, "the old file stays when the frames fail")
fails("there are no frames", orrery.save_animation, path, {})
fails("frame 2 is 7 x 7", orrery.save_animation, path, { frames[1], orrery.canvas(7, 7) })
os.remove(path)
