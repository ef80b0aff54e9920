/* env_callbacks.c - environments written in Lua. Their functions run on a Lua thread of their own,
   so that they can be called from any place of the engine; errors end there and become the engine's
   message. The thread, the definition and self are kept in the registry for as long as the
   environment lives. */
#include <string.h>

#include "lua/callback.h"
#include "lua/canvas.h"
#include "lua/env.h"
#include "lua/space.h"

/* Stack slots of the thread; what a call needs comes above them. */
enum { DEFINITION = 1, SELF, RANDOM, SLOTS = RANDOM };

typedef struct lua_env {
  orr_engine *engine;
  lua_State *L;                            /* the environment's own thread */
  int anchor;                              /* of it, in the registry */
  orr_space *observation, *action, *state; /* lent by the environment, which outlives this */
  orr_real *observed;                      /* the last observation; [observation size] */
  bool has_observed, running;
} lua_env;

/* ---- random: the stream of the environment, borrowed for one call */

#define RANDOM_TYPE "orrery.random"

static orr_random *check_random(lua_State *L) {
  orr_random **random = luaL_checkudata(L, 1, RANDOM_TYPE);
  if (!*random) lua_complain(L, "random is only usable inside reset and step");
  return *random;
}

/*** random:uniform(low, high): a number in low .. high, by default in 0 .. 1. Inside reset and step
of an environment only, as all of random's methods. */
static int uniform(lua_State *L) {
  double low = luaL_optnumber(L, 2, 0), high = luaL_optnumber(L, 3, 1);
  lua_pushnumber(L, low + (high - low) * orr_random_uniform(check_random(L)));
  return 1;
}

/*** random:normal(mean, deviation): a normal number, standard by default. */
static int normal(lua_State *L) {
  double mean = luaL_optnumber(L, 2, 0), deviation = luaL_optnumber(L, 3, 1);
  lua_pushnumber(L, mean + deviation * orr_random_normal(check_random(L)));
  return 1;
}

/*** random:integer(low, high): a whole number low .. high; random:integer(n): 1 .. n. */
static int integer(lua_State *L) {
  lua_Integer low = luaL_checkinteger(L, 2), high = luaL_optinteger(L, 3, low);
  if (lua_isnoneornil(L, 3)) low = 1;
  luaL_argcheck(L, low <= high && (uint64_t)high - (uint64_t)low < UINT64_MAX, 2, "an empty range");
  lua_pushinteger(L, (lua_Integer)((uint64_t)low +
                                   orr_random_index(check_random(L),
                                                    (uint64_t)high - (uint64_t)low + 1)));
  return 1;
}

void lua_open_random(lua_State *L) {
  static const luaL_Reg methods[] = {{"uniform", uniform},
                                     {"normal", normal},
                                     {"integer", integer},
                                     {NULL, NULL}};
  if (luaL_newmetatable(L, RANDOM_TYPE)) {
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
  }
  lua_pop(L, 1);
}

/* ---- calling */

/* What a call works on; handed through lua_pcall as a light userdata. */
typedef struct job {
  const char *name; /* of the function */
  lua_env *e;
  const orr_real *action;
  double *state;
  const double *given;
  orr_env_result *result;
  orr_canvas *canvas;
} job;

/* Runs `body` with the job in protected mode, random usable meanwhile. */
static orr_status run(lua_env *e, lua_CFunction body, job *j, orr_random *random) {
  lua_State *L = e->L;
  if (e->running)
    return orr_engine_fail(e->engine, ORR_CALLBACK,
                           "its functions call the environment they belong to");
  orr_random **borrowed = lua_touserdata(L, RANDOM);
  *borrowed = random;
  e->running = true;
  j->e = e;
  lua_settop(L, SLOTS);
  lua_pushcfunction(L, body);
  lua_pushvalue(L, DEFINITION);
  lua_pushvalue(L, SELF);
  lua_pushvalue(L, RANDOM);
  lua_pushlightuserdata(L, j);
  orr_status status = lua_call_back(L, e->engine, j->name, 4);
  lua_settop(L, SLOTS);
  *borrowed = NULL;
  e->running = false;
  return status;
}

/* The bodies find definition, self and random at 1, 2 and 3, and the job at 4. */
static job *take_job(lua_State *L) { return lua_touserdata(L, 4); }

/* Pushes the definition's function and self; false, and nothing, when there is none. */
static bool push_function(lua_State *L, const char *name) {
  if (lua_getfield(L, 2, name) == LUA_TNIL) {
    lua_pop(L, 1);
    return false;
  }
  lua_pushvalue(L, 2);
  return true;
}

/* The result on top is the observation that `from` returned. */
static void take_observation(lua_State *L, lua_env *e, const char *from) {
  if (lua_isnil(L, -1)) lua_complain(L, "%s returned no observation", from);
  const char *what = lua_pushfstring(L, "observation returned by %s", from);
  lua_read_record(L, -2, e->observation, what, e->observed);
  lua_pop(L, 1);
  e->has_observed = true;
}

/* Fills the flat state from get_state, or from the fields of self. */
static void take_state(lua_State *L, lua_env *e, double *state) {
  if (!e->state) return;
  int top = lua_gettop(L);
  if (push_function(L, "get_state")) {
    lua_call(L, 1, 1);
    lua_read_exact_record(L, -1, e->state, "state returned by get_state", state);
  } else {
    int fields = orr_space_fields(e->state);
    lua_createtable(L, 0, fields);
    for (int i = 0; i < fields; i++) {
      const char *name = orr_space_field(e->state, i)->name;
      lua_getfield(L, 2, name);
      lua_setfield(L, -2, name);
    }
    lua_read_exact_record(L, -1, e->state, "state in the fields of self", state);
  }
  lua_settop(L, top);
}

static int reset_body(lua_State *L) {
  job *j = take_job(L);
  push_function(L, "reset");
  lua_pushvalue(L, 3);
  lua_call(L, 2, 1);
  take_observation(L, j->e, "reset");
  take_state(L, j->e, j->state);
  return 0;
}

static int step_body(lua_State *L) {
  job *j = take_job(L);
  push_function(L, "step");
  lua_push_record(L, j->e->action, j->action);
  lua_pushvalue(L, 3);
  lua_call(L, 3, 4); /* observation, reward, terminated, truncated */
  int first = lua_gettop(L) - 3, is_number;
  j->result->reward = (orr_real)lua_tonumberx(L, first + 1, &is_number);
  if (!is_number || lua_type(L, first + 1) != LUA_TNUMBER)
    lua_complain(L, "step returned %s%s as the reward, its second result; a number is needed",
                 lua_isnil(L, first + 1) ? "" : "a ", luaL_typename(L, first + 1));
  for (int i = 2; i <= 3; i++)
    if (!lua_isnil(L, first + i) && !lua_isboolean(L, first + i))
      lua_complain(L, "step returned a %s as %s; true or false is needed",
                   luaL_typename(L, first + i),
                   i == 2 ? "terminated, its third result" : "truncated, its fourth result");
  j->result->terminated = lua_toboolean(L, first + 2);
  j->result->truncated = lua_toboolean(L, first + 3);
  lua_settop(L, first);
  take_observation(L, j->e, "step");
  take_state(L, j->e, j->state);
  return 0;
}

static int restore_body(lua_State *L) {
  job *j = take_job(L);
  lua_env *e = j->e;
  e->has_observed = false;
  lua_push_exact_record(L, e->state, j->given);
  int record = lua_gettop(L);
  if (push_function(L, "set_state")) {
    lua_pushvalue(L, record);
    lua_call(L, 2, 1);
    if (!lua_isnil(L, -1)) take_observation(L, e, "set_state");
    return 0;
  }
  for (int i = 0; i < orr_space_fields(e->state); i++) {
    const char *name = orr_space_field(e->state, i)->name;
    lua_getfield(L, record, name);
    lua_setfield(L, 2, name);
  }
  return 0;
}

static int observe_body(lua_State *L) {
  job *j = take_job(L);
  if (!push_function(L, "observe"))
    lua_complain(
        L,
        "there is no observation of a state that was set: let set_state return it, or add observe");
  lua_call(L, 1, 1);
  take_observation(L, j->e, "observe");
  return 0;
}

static int draw_body(lua_State *L) {
  job *j = take_job(L);
  push_function(L, "draw");
  lua_push_object(L, &lua_canvas_class, orr_canvas_retain(j->canvas));
  lua_call(L, 2, 0);
  return 0;
}

static orr_status reset(void *user, orr_random *random, double *state) {
  job j = {.name = "reset", .state = state};
  return run(user, reset_body, &j, random);
}

static orr_status step(void *user, double *state, const orr_real *action, orr_random *random,
                       orr_env_result *result) {
  job j = {.name = "step", .state = state, .action = action, .result = result};
  return run(user, step_body, &j, random);
}

static orr_status observe(void *user, const double *state, orr_real *observation) {
  (void)state;
  lua_env *e = user;
  job j = {.name = "observe"};
  orr_status status = e->has_observed ? ORR_OK : run(e, observe_body, &j, NULL);
  if (!status)
    memcpy(observation, e->observed, (size_t)orr_space_size(e->observation) * sizeof *observation);
  return status;
}

static orr_status restore(void *user, const double *state) {
  job j = {.name = "set_state", .given = state};
  return run(user, restore_body, &j, NULL);
}

static orr_status draw(void *user, const double *state, orr_canvas *canvas) {
  (void)state;
  job j = {.name = "draw", .canvas = canvas};
  return run(user, draw_body, &j, NULL);
}

static void free_user(void *user) {
  lua_env *e = user;
  luaL_unref(e->L, LUA_REGISTRYINDEX, e->anchor);
}

/* ---- making */

static void check_keys(lua_State *L, int index, const char *what) {
  static const char *const needed[] = {"reset", "step", NULL};
  static const char *const optional[] = {"get_state", "set_state", "observe", "draw", NULL};
  for (int i = 0; needed[i]; i++) {
    if (lua_getfield(L, index, needed[i]) != LUA_TFUNCTION)
      lua_complain(L, "%s: %s must be a function, not %s; see orrery.check_env", what, needed[i],
                   luaL_typename(L, -1));
    lua_pop(L, 1);
  }
  for (int i = 0; optional[i]; i++) {
    int type = lua_getfield(L, index, optional[i]);
    if (type != LUA_TNIL && type != LUA_TFUNCTION)
      lua_complain(L, "%s: %s must be a function, not a %s", what, optional[i],
                   luaL_typename(L, -1));
    lua_pop(L, 1);
  }
}

static int64_t read_max_steps(lua_State *L, int index, const char *what) {
  int is_whole = 1, type = lua_getfield(L, index, "max_steps");
  lua_Integer steps = type == LUA_TNIL ? 0 : lua_tointegerx(L, -1, &is_whole);
  lua_pop(L, 1);
  if (!is_whole || steps < 0)
    lua_complain(L, "%s: max_steps must be a whole number, 0 or none for no limit", what);
  return steps;
}

/* Pushes the space of the definition's field list `name`; NULL and nil when there is none. */
static orr_space *make_space(lua_State *L, int index, const char *name, const char *what) {
  const char *message = lua_pushfstring(L, "%s: %s", what, name);
  orr_space *space = NULL;
  if (lua_getfield(L, index, name) == LUA_TNIL) return NULL;
  space = lua_make_space(L, -1, message);
  lua_remove(L, -2);
  return space;
}

/* A new thread with its slots filled, in the registry; pushes the memory of lua_env, which the
   thread's table of the registry keeps. */
static lua_env *new_callbacks(lua_State *L, int index) {
  lua_createtable(L, 3, 0); /* what the registry keeps */
  lua_State *own = lua_newthread(L);
  lua_rawseti(L, -2, 1);
  lua_env *e = lua_newuserdatauv(L, sizeof *e, 0);
  memset(e, 0, sizeof *e);
  lua_rawseti(L, -2, 2);
  lua_pushvalue(L, index);  /* definition */
  lua_createtable(L, 0, 8); /* self, which inherits from it */
  lua_createtable(L, 0, 1);
  lua_pushvalue(L, index);
  lua_setfield(L, -2, "__index");
  lua_setmetatable(L, -2);
  orr_random **random = lua_newuserdatauv(L, sizeof *random, 0);
  *random = NULL;
  luaL_setmetatable(L, RANDOM_TYPE);
  lua_xmove(L, own, SLOTS);
  e->engine = lua_engine(L);
  e->L = own;
  return e;
}

int lua_make_env(lua_State *L, int index) {
  index = lua_absindex(L, index);
  luaL_checkstack(L, 20, "environment");
  lua_getfield(L, index, "name");
  const char *name = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "lua";
  const char *what = lua_pushfstring(L, "environment '%s'", name);
  check_keys(L, index, what);
  orr_env_callbacks calls = orr_env_callbacks_defaults();
  calls.name = name;
  calls.max_steps = read_max_steps(L, index, what);
  calls.observation = make_space(L, index, "observation", what);
  if (!calls.observation) lua_complain(L, "%s: observation, a list of fields, is missing", what);
  calls.action = make_space(L, index, "action", what);
  if (!calls.action) lua_complain(L, "%s: action, a list of fields, is missing", what);
  calls.state = make_space(L, index, "state", what);
  lua_env *e = new_callbacks(L, index);
  e->observed =
      lua_newuserdatauv(L, (size_t)orr_space_size(calls.observation) * sizeof(orr_real), 0);
  lua_rawseti(L, -2, 3);
  e->observation = calls.observation;
  e->action = calls.action;
  e->state = calls.state;
  calls.user = e;
  calls.reset = reset;
  calls.step = step;
  calls.observe = observe;
  calls.restore = calls.state ? restore : NULL;
  calls.free_user = free_user;
  if (lua_getfield(L, index, "draw") != LUA_TNIL) calls.draw = draw;
  lua_pop(L, 1);
  lua_handle *handle = lua_new_handle_holding(L, &lua_env_class, 1);
  lua_pushvalue(L, index);
  lua_setiuservalue(L, -2, 1);
  lua_insert(L, -2);
  e->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
  orr_env *env = orr_env_from_callbacks(e->engine, &calls);
  if (!env) luaL_unref(L, LUA_REGISTRYINDEX, e->anchor);
  return lua_fill(L, handle, env);
}

bool lua_push_definition(lua_State *L, int index) {
  if (lua_getiuservalue(L, index, 1) == LUA_TTABLE) return true;
  lua_pop(L, 1);
  return false;
}
