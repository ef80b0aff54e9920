/* test_gradient_losses.c - gradients of the losses of lua/orrery/nn.lua against central
   differences; a gradient check, so that it runs in the double build too. */
#include <criterion/criterion.h>
#include <lauxlib.h>
#include <lualib.h>

#include "orrery/lua.h"

static const char script[] =
    "local double = ...\n"
    "local orrery = require 'orrery'\n"
    "local nn, trace = orrery.nn, require 'orrery.trace'\n"
    "local step, tolerance = double and 1e-5 or 1e-2, double and 1e-6 or 2e-2\n"
    "local cases = {\n"
    "  mse = { { 0.3, -1.2, 2 }, function(p, t) return nn.mse(p, t) end, { 1, -1, 0.5 } },\n"
    "  huber = { { 0.3, -1.2, 2.5 }, function(p, t) return nn.huber(p, t, 0.6) end, { 0.1, -1, 0.5 "
    "} },\n"
    "  nll_mean = { { 0.3, -1.2, 2 }, function(p, t) return nn.gaussian_nll(p, orrery.tensor { "
    "0.2, -1, 1 }, t) end,\n"
    "    { 1, -1, 0.5 } },\n"
    "  nll_variance = { { 0.3, -1.2, 1 }, function(v, t) return nn.gaussian_nll(orrery.tensor { 0, "
    "1, 2 }, v, t) end,\n"
    "    { 1, -1, 0.5 } },\n"
    "  cross_entropy = { { 0.3, -1.2, 2 }, function(p) return nn.cross_entropy(p, 2) end, {} },\n"
    "  cross_entropy_rows = { { 0.3, -1.2, 2, 0.1, 0.4, -1 }, function(p, t)\n"
    "    return nn.cross_entropy(p:reshape(2, 3), t) end, { 3, 1 } },\n"
    "  binary_cross_entropy = { { 0.3, -1.2, 4 }, function(p, t) return nn.binary_cross_entropy(p, "
    "t) end, { 1, 0, 0 } },\n"
    "  bound = { { -3, -0.5, 2 }, function(x) return orrery.sum(nn.bound(x, -1, 1)) end, {} },\n"
    "  bound_low = { { -3, -0.5, -2 }, function(low) return orrery.sum(nn.bound(orrery.tensor { "
    "0.1, -0.4, -3 }, low, 1)) end, {} },\n"
    "  bound_high = { { 3, 0.5, 2 }, function(high) return orrery.sum(nn.bound(orrery.tensor { "
    "0.1, 0.4, 3 }, -4, high)) end, {} },\n"
    "}\n"
    "local checked = 0\n"
    "for _, name in ipairs(orrery.check.sorted_keys(cases)) do\n"
    "  local x, f, t = table.unpack(cases[name])\n"
    "  local inputs = { { name = 'x', level = 'uniform', shape = { #x } } }\n"
    "  if #t > 0 then inputs[2] = { name = 't', level = 'uniform', shape = { #t } } end\n"
    "  local compiled = trace.program { name = name, inputs = inputs, fn = function(p, q)\n"
    "    local gradient, value = orrery.grad(f)(p, q)\n"
    "    return { gradient = gradient, value = value }\n"
    "  end }\n"
    "  local function run(values)\n"
    "    return compiled:run { x = orrery.tensor(values), t = #t > 0 and orrery.tensor(t) or nil "
    "}\n"
    "  end\n"
    "  local claimed = run(x).gradient:totable()\n"
    "  for i = 1, #x do\n"
    "    local sides = {}\n"
    "    for s = -1, 1, 2 do\n"
    "      local moved = table.move(x, 1, #x, 1, {})\n"
    "      moved[i] = moved[i] + s * step\n"
    "      sides[s] = run(moved).value:item()\n"
    "    end\n"
    "    local found = (sides[1] - sides[-1]) / (2 * step)\n"
    "    assert(math.abs(found - claimed[i]) <= tolerance * (1 + math.abs(found)),\n"
    "      ('%s: number %d: %.9g, by differences %.9g'):format(name, i, claimed[i], found))\n"
    "    checked = checked + 1\n"
    "  end\n"
    "end\n"
    "return checked\n";

Test(gradient_losses, against_differences) {
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, luaopen_orrery);
  lua_setfield(L, -2, "orrery");
  cr_assert_eq(luaL_loadbufferx(L, script, sizeof script - 1, "=losses", "t"), LUA_OK, "%s",
               lua_tostring(L, -1));
#ifdef ORR_DOUBLE
  lua_pushboolean(L, 1);
#else
  lua_pushboolean(L, 0);
#endif
  cr_assert_eq(lua_pcall(L, 1, 1, 0), LUA_OK, "%s", lua_tostring(L, -1));
  cr_expect_eq(lua_tointeger(L, -1), 33);
  lua_close(L);
}
