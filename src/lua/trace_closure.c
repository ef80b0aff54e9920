/* trace_closure.c - looking into Lua functions: taking one apart and putting together a copy whose
   upvalues are others (lua/orrery/trace_capture.lua), and watching the copy run.

   Lua does not call a metamethod for `symbol == 3` or `t[symbol]`: the one is false, the other nil,
   and nothing tells. So while a copy runs, a hook looks at each instruction first. Copies carry
   line numbers of their own, one for each instruction (lua/orrery/trace_bytecode.lua), which is how
   the hook knows what comes next; operands are read as the frame's local variables. Where a symbol
   is compared with a number for equality and the tracer wants the outcome "equal", the hook puts
   the number into the symbol's register for that one instruction. Nor does Lua ask about a symbol
   and itself, which differ where the value is NaN: there the hook puts NaN.

   Lua names the variable whose value cannot be computed with ("global 'gain'") only where it finds
   no metamethod, and symbols have them all. So before such an error the hook puts a number into the
   symbol's register, and Lua words the error itself. */
#include <math.h>
#include <string.h>

#include "lua/symbol.h"

void lua_add_closure_functions(lua_State *L, int index);

/* Instructions of Lua 5.4 (lopcodes.h): 7 bits of operation, then A 8, k 1, B 8, C 8. */
enum {
  OP_SETUPVAL = 10,
  OP_GETTABLE = 12,
  OP_SETTABLE = 16,
  OP_MMBIN = 46, /* the metamethod of the arithmetic just before, which has failed */
  OP_EQ = 57,
  OP_LT = 58,
  OP_LE = 59,
  OP_EQK = 60,
  OP_EQI = 61
};
#define OPERATION(i) ((int)((i)&0x7f))
#define ARGUMENT_A(i) ((int)((i) >> 7 & 0xff))
#define ARGUMENT_B(i) ((int)((i) >> 16 & 0xff))
#define ARGUMENT_C(i) ((int)((i) >> 24 & 0xff))

enum {
  FIRST_LINE = LUA_COPY_LINES,
  STRIDE = 10000,             /* instructions of a plain run between two looks at its limit */
  SPARE_INSTRUCTIONS = 100000 /* granted once after the budget is spent, to handle the error */
};

typedef struct code_range {
  int first, count; /* lines first + 1 .. first + count */
  const char *code; /* of 4 bytes each */
} code_range;

/* A plain function that runs under a limit; what it calls counts as its own. */
typedef struct limit {
  lua_Hook previous;
  int previous_mask, previous_count;
  int64_t left, spare, previous_left;
} limit;

/* Of the state being traced; its user value is the table of callbacks and constants. */
typedef struct watcher {
  int depth;
  lua_State *thread;
  lua_Hook previous;
  int previous_mask, previous_count, previous_left;
  int pending; /* register to give its symbol back, or -1 */
  limit *limit;
  int64_t budget, spare;
  code_range *ranges;
  int count, room;
} watcher;

static const char watcher_key = 0;

static watcher *push_watcher(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &watcher_key);
  return lua_touserdata(L, -1);
}

/* ---- functions ---- */

static int write_chunk(lua_State *L, const void *bytes, size_t size, void *buffer) {
  (void)L;
  luaL_addlstring(buffer, bytes, size);
  return 0;
}

/* core.dump(f): its bytecode, or nil for a C function. */
static int dump(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  if (lua_iscfunction(L, 1)) return 0;
  /* lua_dump wants the function on top, luaL_Buffer the stack above it: so a thread of its own. */
  lua_State *other = lua_newthread(L);
  lua_pushvalue(L, 1);
  lua_xmove(L, other, 1);
  luaL_Buffer buffer;
  luaL_buffinit(L, &buffer);
  lua_dump(other, write_chunk, &buffer, 0);
  luaL_pushresult(&buffer);
  return 1;
}

/* core.undump(bytes, name): a function with upvalues of its own. */
static int undump(lua_State *L) {
  size_t size;
  const char *bytes = luaL_checklstring(L, 1, &size);
  if (luaL_loadbufferx(L, bytes, size, luaL_checkstring(L, 2), "b") != LUA_OK) return lua_error(L);
  return 1;
}

/* core.upvalue(f, i): name, value; nothing past the last. */
static int upvalue(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  const char *name = lua_getupvalue(L, 1, (int)luaL_checkinteger(L, 2));
  if (!name) return 0;
  lua_pushstring(L, name);
  lua_insert(L, -2);
  return 2;
}

static int set_upvalue(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 3);
  lua_setupvalue(L, 1, (int)luaL_checkinteger(L, 2));
  return 0;
}

/* core.upvalue_id(f, i): names the variable itself: equal for functions that share it. */
static int upvalue_id(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  void *id = lua_upvalueid(L, 1, (int)luaL_checkinteger(L, 2));
  if (!id) return 0;
  lua_pushlightuserdata(L, id);
  return 1;
}

/* core.join(f, i, g, j): from now on f's i-th upvalue is g's j-th. */
static int join(lua_State *L) {
  lua_upvaluejoin(L, 1, (int)luaL_checkinteger(L, 2), 3, (int)luaL_checkinteger(L, 4));
  return 0;
}

/* core.info(f): what, source, short source, line, number of upvalues. */
static int info(lua_State *L) {
  lua_Debug ar;
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  lua_pushvalue(L, 1);
  lua_getinfo(L, ">Su", &ar);
  lua_pushstring(L, ar.what);
  lua_pushstring(L, ar.source);
  lua_pushstring(L, ar.short_src);
  lua_pushinteger(L, ar.linedefined);
  lua_pushinteger(L, ar.nups);
  return 5;
}

/* core.parameters(f): how many parameters f names. */
static int parameters(lua_State *L) {
  lua_Debug ar;
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  lua_getinfo(L, ">u", &ar);
  lua_pushinteger(L, ar.nparams);
  return 1;
}

/* core.protect(f, handler, ...): as xpcall, but f cannot yield out of it: a trace must end. */
static int protect(lua_State *L) {
  int top = lua_gettop(L);
  lua_rotate(L, 1, -1); /* handler, ..., f */
  lua_insert(L, 2);     /* handler, f, ... */
  bool good = lua_pcall(L, top - 2, LUA_MULTRET, 1) == LUA_OK;
  lua_pushboolean(L, good);
  lua_replace(L, 1);
  return lua_gettop(L);
}

/* core.metatable(x): the real one, or nil. */
static int metatable(lua_State *L) { return lua_getmetatable(L, 1); }

/* core.where(prefix): "file:line" of the nearest running script function whose source does not
   start with prefix. */
static int where(lua_State *L) {
  const char *prefix = luaL_checkstring(L, 1);
  lua_Debug ar;
  for (int level = 0; lua_getstack(L, level, &ar); level++) {
    lua_getinfo(L, "Sl", &ar);
    if (ar.currentline <= 0 || strncmp(ar.source, prefix, strlen(prefix)) == 0) continue;
    lua_pushfstring(L, "%s:%d", ar.short_src, ar.currentline);
    return 1;
  }
  lua_pushliteral(L, "?");
  return 1;
}

/* ---- the hook ---- */

static const code_range *find_range(const watcher *w, int line) {
  int low = 0, high = w->count;
  while (low < high) {
    int middle = (low + high) / 2;
    if (w->ranges[middle].first < line) low = middle + 1;
    else high = middle;
  }
  const code_range *range = low ? &w->ranges[low - 1] : NULL;
  return range && line <= range->first + range->count ? range : NULL;
}

static bool is_symbol_at(lua_State *L, int index) { return lua_test_symbol(L, index) != NULL; }

/* Raises, by the callback: refuse(kind, detail), detail being on top of the stack. */
static void refuse(lua_State *L, int table, const char *kind) {
  lua_getfield(L, table, "refuse");
  lua_pushstring(L, kind);
  lua_pushvalue(L, -3);
  lua_call(L, 2, 0);
}

/* Gives a register the value on top for one instruction; kept: index of what it holds now. */
static void replace_register(lua_State *L, lua_Debug *ar, watcher *w, int table, int reg,
                             int kept) {
  lua_pushvalue(L, kept);
  lua_setfield(L, table, "pending");
  w->pending = reg;
  lua_setlocal(L, ar, reg + 1);
}

/* Whether the symbols left and right, which are the same one, are to be equal. */
static bool same_is_equal(lua_State *L, int table, int left) {
  lua_getfield(L, table, "equal");
  lua_pushvalue(L, left);
  lua_pushvalue(L, left);
  lua_call(L, 2, 1);
  return lua_toboolean(L, -1);
}

/* Left and right of == are on top, and their registers, -1 where there is none. */
static void on_equal(lua_State *L, lua_Debug *ar, watcher *w, int table, int left, int right) {
  int top = lua_gettop(L);
  bool left_symbol = is_symbol_at(L, top - 1), right_symbol = is_symbol_at(L, top);
  if (left_symbol && right_symbol) { /* of two that are not the same, the metamethod is called */
    if (!lua_rawequal(L, top - 1, top) || same_is_equal(L, table, top)) return;
    lua_pushnumber(L, NAN);
    replace_register(L, ar, w, table, left, top);
    return;
  }
  if (!left_symbol && !right_symbol) return;
  int other = left_symbol ? top : top - 1, symbol = left_symbol ? top - 1 : top;
  if (lua_type(L, other) != LUA_TNUMBER) return; /* a number never equals it either */
  lua_getfield(L, table, "equal");
  lua_pushvalue(L, symbol);
  lua_pushvalue(L, other);
  lua_call(L, 2, 1);
  if (!lua_toboolean(L, -1)) return;
  lua_pushvalue(L, other);
  replace_register(L, ar, w, table, left_symbol ? left : right, symbol);
}

static void push_register(lua_State *L, lua_Debug *ar, int reg) {
  if (!lua_getlocal(L, ar, reg + 1)) lua_pushnil(L);
}

/* What plain Lua cannot compute with, nor a symbol's metamethod: the error is Lua's own. A text is
   given away as an empty object called "string", as Lua would first try to read it as a number. */
static void on_operands(lua_State *L, lua_Debug *ar, int left, int right) {
  push_register(L, ar, left);
  push_register(L, ar, right);
  int top = lua_gettop(L);
  bool left_symbol = is_symbol_at(L, top - 1), right_symbol = is_symbol_at(L, top);
  if (left_symbol == right_symbol) return;
  int other = left_symbol ? top : top - 1, kind = lua_type(L, other);
  bool text = kind == LUA_TSTRING && !lua_stringtonumber(L, lua_tostring(L, other));
  if (!text && kind != LUA_TNIL && kind != LUA_TBOOLEAN && kind != LUA_TFUNCTION) return;
  if (!text && lua_getmetatable(L, other)) return;
  if (text) {
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "string");
    lua_setfield(L, -2, "__name");
    lua_setmetatable(L, -2);
    lua_setlocal(L, ar, (left_symbol ? right : left) + 1);
  }
  lua_pushnumber(L, 1);
  lua_setlocal(L, ar, (left_symbol ? left : right) + 1);
}

static void on_key(lua_State *L, lua_Debug *ar, int table, int object, int index) {
  push_register(L, ar, object);
  push_register(L, ar, index);
  if (lua_type(L, -2) == LUA_TTABLE && is_symbol_at(L, -1))
    refuse(L, table, "key"); /* detail unused */
}

/* Assignment to a variable from outside of what is traced. */
static void on_assign(lua_State *L, lua_Debug *ar, int table, int index) {
  lua_getfield(L, table, "cells");
  lua_getinfo(L, "f", ar);
  void *id = lua_upvalueid(L, -1, index + 1);
  if (id && lua_rawgetp(L, -2, id) != LUA_TNIL) refuse(L, table, "assign");
}

static void look(lua_State *L, lua_Debug *ar, watcher *w, int table, const code_range *range) {
  uint32_t i;
  memcpy(&i, range->code + (size_t)(ar->currentline - range->first - 1) * sizeof i, sizeof i);
  switch (OPERATION(i)) {
  case OP_EQ:
    push_register(L, ar, ARGUMENT_A(i));
    push_register(L, ar, ARGUMENT_B(i));
    on_equal(L, ar, w, table, ARGUMENT_A(i), ARGUMENT_B(i));
    break;
  case OP_EQI:
    push_register(L, ar, ARGUMENT_A(i));
    lua_pushinteger(L, ARGUMENT_B(i) - 127);
    on_equal(L, ar, w, table, ARGUMENT_A(i), -1);
    break;
  case OP_EQK:
    push_register(L, ar, ARGUMENT_A(i));
    if (!is_symbol_at(L, -1)) break;
    lua_getfield(L, table, "constant");
    lua_pushinteger(L, range->first);
    lua_pushinteger(L, ARGUMENT_B(i));
    lua_call(L, 2, 1);
    on_equal(L, ar, w, table, ARGUMENT_A(i), -1);
    break;
  case OP_MMBIN:
  case OP_LT:
  case OP_LE: on_operands(L, ar, ARGUMENT_A(i), ARGUMENT_B(i)); break;
  case OP_GETTABLE: on_key(L, ar, table, ARGUMENT_B(i), ARGUMENT_C(i)); break;
  case OP_SETTABLE: on_key(L, ar, table, ARGUMENT_A(i), ARGUMENT_B(i)); break;
  case OP_SETUPVAL: on_assign(L, ar, table, ARGUMENT_B(i)); break;
  default: break;
  }
}

/* The host's own hook goes on, at its own pace. */
static void forward(lua_State *L, lua_Debug *ar, watcher *w) {
  if (!w->previous) return;
  if (ar->event != LUA_HOOKCOUNT) {
    w->previous(L, ar);
  } else if (w->previous_mask & LUA_MASKCOUNT && --w->previous_left <= 0) {
    w->previous_left = w->previous_count;
    w->previous(L, ar);
  }
}

static void hook(lua_State *L, lua_Debug *ar) {
  int top = lua_gettop(L);
  watcher *w = push_watcher(L);
  lua_getinfo(L, "l", ar);
  if (w && ar->event == LUA_HOOKCOUNT) {
    lua_getiuservalue(L, -1, 1);
    int table = lua_gettop(L);
    if (w->pending >= 0) {
      lua_getfield(L, table, "pending");
      lua_setlocal(L, ar, w->pending + 1);
      w->pending = -1;
    }
    const code_range *range = ar->currentline >= FIRST_LINE ? find_range(w, ar->currentline) : NULL;
    if (--w->budget < 0 && range) {
      w->budget = w->spare;
      w->spare = 0;
      lua_pushnil(L);
      refuse(L, table, "budget");
    }
    if (range) look(L, ar, w, table, range);
  }
  if (w && !(ar->event == LUA_HOOKLINE && ar->currentline >= FIRST_LINE)) forward(L, ar, w);
  lua_settop(L, top);
}

/* core.watch(instructions): starts watching this thread, at most for that many instructions.
   Nests. */
static int watch(lua_State *L) {
  int64_t budget = luaL_checkinteger(L, 1);
  watcher *w = push_watcher(L);
  if (w->depth++ > 0) return 0;
  w->thread = L;
  w->pending = -1;
  w->budget = budget;
  w->spare = SPARE_INSTRUCTIONS;
  w->previous = lua_gethook(L);
  w->previous_mask = lua_gethookmask(L);
  w->previous_count = w->previous_left = lua_gethookcount(L);
  lua_sethook(L, hook, w->previous_mask | LUA_MASKCOUNT, 1);
  return 0;
}

/* core.unwatch(): undoes one watch. */
static int unwatch(lua_State *L) {
  watcher *w = push_watcher(L);
  if (w->depth == 0 || --w->depth > 0) return 0;
  lua_sethook(w->thread, w->previous, w->previous_mask, w->previous_count);
  w->thread = NULL;
  return 0;
}

/* ---- plain runs ---- */

/* Looks at the limit now and then; the hook that was there before goes on. A coroutine that the
   function made has this hook, too, and may outlive the limit. */
static void count_down(lua_State *L, lua_Debug *ar) {
  int top = lua_gettop(L);
  watcher *w = push_watcher(L);
  limit *l = w->limit;
  if (!l) {
    lua_sethook(L, NULL, 0, 0);
  } else {
    bool counts = ar->event == LUA_HOOKCOUNT;
    int passed = lua_gethookcount(L);
    if (counts && (l->left -= passed) < 0) {
      /* A function that catches errors meets the next one at once, where it does not. */
      if (!l->spare) lua_sethook(L, count_down, lua_gethookmask(L), 1);
      l->left = l->spare;
      l->spare = 0;
      lua_getiuservalue(L, -1, 1);
      lua_pushnil(L);
      refuse(L, top + 2, "plain budget");
    }
    if (!counts) {
      if (l->previous) l->previous(L, ar); /* a coroutine's mask may be of an earlier limit */
    } else if (l->previous_mask & LUA_MASKCOUNT && (l->previous_left -= passed) <= 0) {
      l->previous_left = l->previous_count;
      l->previous(L, ar);
    }
  }
  lua_settop(L, top);
}

/* core.limited(instructions, f, ...): what f(...) returns, f being a plain function that may run so
   many instructions, and a few more. Within another limited function that one's limit goes on. */
static int limited(lua_State *L) {
  watcher *w = push_watcher(L);
  lua_pop(L, 1);
  limit l = {.left = luaL_checkinteger(L, 1), .spare = SPARE_INSTRUCTIONS};
  if (w->limit) {
    lua_call(L, lua_gettop(L) - 2, LUA_MULTRET);
    return lua_gettop(L) - 1;
  }
  l.previous = lua_gethook(L);
  l.previous_mask = lua_gethookmask(L);
  l.previous_left = l.previous_count = lua_gethookcount(L);
  bool counted = l.previous_mask & LUA_MASKCOUNT && l.previous_count < STRIDE;
  w->limit = &l;
  lua_sethook(L, count_down, l.previous_mask | LUA_MASKCOUNT, counted ? l.previous_count : STRIDE);
  int failed = lua_pcall(L, lua_gettop(L) - 2, LUA_MULTRET, 0);
  w->limit = NULL;
  /* Another hook was set meanwhile, from a signal handler, to stop the script: it stays. */
  if (lua_gethook(L) == count_down || !lua_gethook(L))
    lua_sethook(L, l.previous, l.previous_mask, l.previous_count);
  return failed ? lua_error(L) : lua_gettop(L) - 1;
}

/* core.add_code(first, bytes): what runs as lines first + 1 and on; ranges come in order. The bytes
   are kept alive by the caller until core.forget_code(). */
static int add_code(lua_State *L) {
  size_t size;
  int first = (int)luaL_checkinteger(L, 1);
  const char *bytes = luaL_checklstring(L, 2, &size);
  lua_settop(L, 2);
  watcher *w = push_watcher(L);
  if (w->count == w->room) {
    int room = w->room ? w->room * 2 : 32;
    code_range *ranges = lua_newuserdatauv(L, (size_t)room * sizeof *ranges, 0);
    if (w->count) memcpy(ranges, w->ranges, (size_t)w->count * sizeof *ranges);
    lua_setiuservalue(L, -2, 2);
    w->ranges = ranges;
    w->room = room;
  }
  w->ranges[w->count++] = (code_range){first, (int)(size / 4), bytes};
  return 0;
}

static int forget_code(lua_State *L) {
  push_watcher(L)->count = 0;
  return 0;
}

/* core.on_watch(callbacks): { equal =, refuse =, constant =, cells = }. */
static int on_watch(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  push_watcher(L);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  return 0;
}

/* clang-format off */
static const luaL_Reg functions[] = {
    {"dump", dump}, {"undump", undump}, {"upvalue", upvalue}, {"set_upvalue", set_upvalue},
    {"upvalue_id", upvalue_id}, {"join", join}, {"info", info}, {"metatable", metatable},
    {"protect", protect},
    {"parameters", parameters},
    {"where", where}, {"watch", watch}, {"unwatch", unwatch}, {"add_code", add_code},
    {"forget_code", forget_code}, {"limited", limited}, {"on_watch", on_watch}, {NULL, NULL}};
/* clang-format on */

void lua_add_closure_functions(lua_State *L, int index) {
  index = lua_absindex(L, index);
  watcher *w = lua_newuserdatauv(L, sizeof *w, 2);
  memset(w, 0, sizeof *w);
  w->pending = -1;
  lua_rawsetp(L, LUA_REGISTRYINDEX, &watcher_key);
  lua_pushvalue(L, index);
  luaL_setfuncs(L, functions, 0);
  lua_pop(L, 1);
}
