/* program.c - compiled programs for scripts: bind tensors by name, run, read outputs. */
#include <string.h>

#include "lua/symbol.h"

static void free_program(void *object) {
  lua_program *p = object;
  orr_run_free(p->run);
  orr_program_free(p->program);
  p->run = NULL;
  p->program = NULL;
}

/* The pair lives in the handle's userdata, behind it: it goes when the userdata goes. */
typedef struct program_handle {
  lua_handle handle;
  lua_program pair;
} program_handle;

/* User value of the handle: the table of output tensors that the last run returned. */
enum { OUTPUTS = 1 };

static lua_program *pair_at(lua_State *L, int index) {
  return lua_check_object(L, index, &lua_program_class);
}

orr_program *lua_check_program(lua_State *L, int index) { return pair_at(L, index)->program; }
orr_run *lua_check_program_run(lua_State *L, int index) { return pair_at(L, index)->run; }

lua_handle *lua_new_program(lua_State *L) {
  program_handle *made = lua_newuserdatauv(L, sizeof *made, 1);
  *made = (program_handle){{NULL, &lua_program_class}, {NULL, NULL, false}};
  luaL_setmetatable(L, lua_program_class.name);
  return &made->handle;
}

int lua_fill_program(lua_State *L, lua_handle *handle, orr_program *program) {
  if (!program) return lua_raise(L);
  lua_program *pair = &((program_handle *)handle)->pair;
  *pair = (lua_program){program, orr_run_new(program), false};
  if (!pair->run) {
    orr_program_free(program);
    return lua_raise(L);
  }
  return lua_fill(L, handle, pair);
}

/* ---- running ---- */

static int *integers_option(lua_State *L, const char *name, int *count) {
  *count = 0;
  if (lua_option_push(L, 2, name) == LUA_TNIL) return NULL;
  luaL_checktype(L, -1, LUA_TTABLE);
  *count = (int)luaL_len(L, -1);
  int *values = lua_newuserdatauv(L, ((size_t)*count + 1) * sizeof *values, 0);
  for (int i = 0; i < *count; i++) {
    lua_geti(L, -2, i + 1);
    values[i] = (int)luaL_checkinteger(L, -1);
    lua_pop(L, 1);
  }
  return values;
}

static void set_groups(lua_State *L, lua_program *p, int64_t rows, int members) {
  orr_run *run = p->run;
  int groups, count;
  int *sizes = integers_option(L, "groups", &groups);
  if (sizes) {
    int64_t *wide = lua_newuserdatauv(L, ((size_t)groups + 1) * sizeof *wide, 0);
    for (int i = 0; i < groups; i++) wide[i] = sizes[i];
    lua_check_status(L, orr_run_groups(run, groups, wide));
  } else {
    lua_check_status(L, orr_run_rows(run, rows, members));
  }
  int *entries = integers_option(L, "entries", &count);
  for (int i = 0; i < count; i++) entries[i]--;
  if (entries && count != (sizes ? groups : members))
    lua_complain(L, "run: entries names %d members for %d groups", count, sizes ? groups : members);
  if (!entries && !p->entries) return; /* choosing anew unsettles what follows from parameters */
  p->entries = entries != NULL;
  lua_check_status(L, orr_run_members(run, entries));
}

/* Binds the tensors of the table at 2, with those of `indices` (0: none); answers the rows they
   have, or -1. The program's own list of inputs is walked: it may not need all that is given. */
static int64_t bind_inputs(lua_State *L, lua_program *p, int indices) {
  int64_t rows = -1;
  int top = lua_gettop(L);
  for (int i = 0; i < orr_program_inputs(p->program); i++) {
    const char *name = orr_program_input_name(p->program, i);
    if (lua_getfield(L, 2, name) == LUA_TNIL) lua_complain(L, "run: input '%s' is missing", name);
    orr_tensor *x = lua_to_tensor(L, top + 1), *index = NULL;
    if (indices && lua_getfield(L, indices, name) != LUA_TNIL) index = lua_check_tensor(L, -1);
    lua_check_status(L, orr_run_input(p->run, name, x, index));
    const orr_tensor *counted = index ? index : x;
    if (orr_program_input_level(p->program, i) == ORR_ROW && rows < 0 && orr_tensor_axes(counted))
      rows = orr_tensor_shape(counted)[0];
    lua_settop(L, top);
  }
  return rows;
}

/* The table of outputs of the program at 1; a new one of the same tensors, as the script may have
   changed the last. */
static int push_outputs(lua_State *L, lua_program *p) {
  int count = orr_program_outputs(p->program), top = lua_gettop(L);
  if (lua_getiuservalue(L, 1, OUTPUTS) == LUA_TNIL) {
    lua_createtable(L, count, 0);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, OUTPUTS);
    lua_replace(L, top + 1);
  }
  lua_createtable(L, 0, count);
  for (int i = 0; i < count; i++) {
    const char *name = orr_program_output_name(p->program, i);
    orr_tensor *output = orr_run_output(p->run, name);
    lua_rawgeti(L, top + 1, i + 1);
    lua_handle *handle = lua_touserdata(L, -1);
    if (!handle || handle->object != output) { /* the first time, of other rows, or closed */
      handle = lua_new_handle(L, &lua_tensor_class);
      lua_fill(L, handle, orr_tensor_retain(output));
      lua_pushvalue(L, -1);
      lua_rawseti(L, top + 1, i + 1);
    }
    lua_setfield(L, top + 2, name);
    lua_settop(L, top + 2);
  }
  return 1;
}

/*** program:run(inputs, options): binds tensors by input name, runs over all rows and returns a
table of output tensors, which the next run overwrites. options: rows, members, groups (sizes),
entries (members, from 1), seed, iteration, index = { name = int tensor of rows to read, from 0
}. */
static int program_run(lua_State *L) {
  static const char *const names[] = {"rows", "members",   "groups", "entries",
                                      "seed", "iteration", "index",  NULL};
  lua_settop(L, 3);
  lua_program *p = pair_at(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  if (lua_isnil(L, 3)) {
    lua_newtable(L);
    lua_replace(L, 3);
  }
  lua_check_options(L, 3, "run options", names);
  int indices = lua_option_push(L, 3, "index") == LUA_TNIL ? 0 : 4;
  int64_t rows = bind_inputs(L, p, indices);
  lua_settop(L, 3);
  lua_remove(L, 2); /* 1 program, 2 options */
  rows = lua_option_integer(L, 2, "rows", rows < 0 ? 1 : rows, 0, INT64_MAX);
  set_groups(L, p, rows, (int)lua_option_integer(L, 2, "members", 1, 1, 1 << 20));
  orr_run_seed(p->run, (uint64_t)lua_option_integer(L, 2, "seed", 0, INT64_MIN, INT64_MAX),
               (uint32_t)lua_option_integer(L, 2, "iteration", 0, 0, UINT32_MAX));
  lua_check_status(L, orr_run_go(p->run));
  return push_outputs(L, p);
}

/* program:call(inputs, rows, seed, iteration): program:run with these options and no others, for
   library code that calls often. */
static int program_call(lua_State *L) {
  lua_program *p = pair_at(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_Integer rows = luaL_checkinteger(L, 3), seed = luaL_checkinteger(L, 4),
              iteration = luaL_checkinteger(L, 5);
  lua_settop(L, 2);
  bind_inputs(L, p, 0);
  lua_check_status(L, orr_run_rows(p->run, rows, 1));
  if (p->entries) lua_check_status(L, orr_run_members(p->run, NULL));
  p->entries = false;
  orr_run_seed(p->run, (uint64_t)seed, (uint32_t)iteration);
  lua_check_status(L, orr_run_go(p->run));
  return push_outputs(L, p);
}

/*** program:listing(): its instructions, for a person to read. */
static int program_listing(lua_State *L) {
  const char *text = orr_program_listing(pair_at(L, 1)->program);
  if (!text) return lua_raise(L);
  lua_pushstring(L, text);
  return 1;
}

static void push_signature(lua_State *L, orr_level level, int axes, const int64_t *shape) {
  static const char *const levels[] = {"uniform", "member", "row"};
  lua_createtable(L, axes, 1);
  for (int i = 0; i < axes; i++) {
    lua_pushinteger(L, shape[i]);
    lua_rawseti(L, -2, i + 1);
  }
  lua_pushstring(L, levels[level]);
  lua_setfield(L, -2, "level");
}

/*** program:inputs(): a table by name; each entry is the shape, with its level as field `level`. */
static int program_inputs(lua_State *L) {
  const orr_program *p = lua_check_program(L, 1);
  lua_newtable(L);
  for (int i = 0; i < orr_program_inputs(p); i++) {
    push_signature(L, orr_program_input_level(p, i), orr_program_input_axes(p, i),
                   orr_program_input_shape(p, i));
    lua_setfield(L, -2, orr_program_input_name(p, i));
  }
  return 1;
}

/*** program:outputs(): as inputs. */
static int program_outputs(lua_State *L) {
  const orr_program *p = lua_check_program(L, 1);
  lua_newtable(L);
  for (int i = 0; i < orr_program_outputs(p); i++) {
    push_signature(L, orr_program_output_level(p, i), orr_program_output_axes(p, i),
                   orr_program_output_shape(p, i));
    lua_setfield(L, -2, orr_program_output_name(p, i));
  }
  return 1;
}

/*** program:instructions(): how many there are. */
static int program_instructions(lua_State *L) {
  lua_pushinteger(L, orr_program_instructions(lua_check_program(L, 1)));
  return 1;
}

static int program_text(lua_State *L) {
  const orr_program *p = lua_check_program(L, 1);
  lua_pushfstring(L, "program: %d inputs, %d outputs, %d instructions", orr_program_inputs(p),
                  orr_program_outputs(p), orr_program_instructions(p));
  return 1;
}

/* clang-format off */
static const luaL_Reg methods[] = {{"run", program_run}, {"call", program_call},
                                   {"listing", program_listing},
                                   {"inputs", program_inputs},   {"outputs", program_outputs},
                                   {"instructions", program_instructions}, {NULL, NULL}};
/* clang-format on */
/* clang-format off */
static const luaL_Reg metamethods[] = {{"__tostring", program_text}, {NULL, NULL}};
/* clang-format on */

const lua_class lua_program_class = {"orrery.program", "program", free_program, methods,
                                     metamethods};

void open_program(lua_State *L, int module);

void open_program(lua_State *L, int module) {
  (void)module;
  lua_new_class(L, &lua_program_class);
}
