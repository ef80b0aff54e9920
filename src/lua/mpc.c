/* mpc.c - the MPC runtime in Lua. lua/orrery/mpc.lua builds the objective; here is what it builds on,
   and what a closed loop calls. */
#include "orrery/mpc.h"

#include <string.h>

#include "lua/objective.h"
#include "lua/space.h"

/* User values of a handle: the objective's handle, whose functions it runs; a function called with the
   mpc before each act, or nil; the planner's description. */
enum { OBJECTIVE = 1, ENTRY, PLANNER, USER_VALUES = PLANNER };

static void free_mpc(void *mpc) { orr_mpc_free(mpc); }

static const lua_class mpc_class;

static orr_mpc *check_mpc(lua_State *L, int index) {
  return lua_check_object(L, index, &mpc_class);
}

/* What a call works with that may raise after it was made. */
typedef struct parts {
  orr_planner *planner;
} parts;

static int free_parts(lua_State *L) {
  parts *p = luaL_checkudata(L, 1, "orrery.mpc_parts");
  orr_planner_free(p->planner);
  p->planner = NULL;
  return 0;
}

/* core.new(objective, planner, options, entry): see orrery.mpc. */
static int new_mpc(lua_State *L) {
  static const char *const names[] = {"seed",    "warm_start",  "iterations",
                                      "seconds", "safe_action", NULL};
  lua_settop(L, 4);
  orr_objective *objective = lua_check_objective(L, 1);
  orr_space *actions = orr_objective_action_space(objective);
  lua_check_options(L, 3, "mpc options", names);
  if (!actions) return lua_complain(L, "mpc: the objective does not know its action space");
  orr_mpc_options options = orr_mpc_options_defaults();
  options.seed = (uint64_t)lua_option_integer(L, 3, "seed", 0, INT64_MIN, INT64_MAX);
  options.warm_start = lua_option_boolean(L, 3, "warm_start", true);
  options.iterations = (int)lua_option_integer(L, 3, "iterations", 0, 0, INT32_MAX);
  options.seconds = lua_option_number(L, 3, "seconds", 0, 0, 1e9);
  if (lua_option_push(L, 3, "safe_action") != LUA_TNIL) {
    orr_real *safe = lua_newuserdatauv(L, (size_t)orr_space_size(actions) * sizeof *safe, 0);
    lua_read_flat(L, -2, actions, "safe action", safe);
    options.safe_action = safe;
  }
  lua_handle *handle = lua_new_handle_holding(L, &mpc_class, USER_VALUES);
  int at = lua_gettop(L);
  for (int i = 0; i < 3; i++) {
    static const int from[] = {1, 4, 2}, to[] = {OBJECTIVE, ENTRY, PLANNER};
    lua_pushvalue(L, from[i]);
    lua_setiuservalue(L, at, to[i]);
  }
  parts *p = lua_newuserdatauv(L, sizeof *p, 0);
  p->planner = NULL;
  luaL_setmetatable(L, "orrery.mpc_parts");
  p->planner = lua_make_planner(L, 2, actions);
  orr_mpc *mpc = orr_mpc_new(lua_engine(L), objective, p->planner, &options);
  orr_planner_free(p->planner);
  p->planner = NULL;
  lua_settop(L, at);
  return lua_fill(L, handle, mpc);
}

/* core.set_objective(mpc, objective): scores with another one from now on. */
static int set_objective(lua_State *L) {
  orr_mpc *mpc = check_mpc(L, 1);
  lua_check_status(L, orr_mpc_set_objective(mpc, lua_check_objective(L, 2)));
  lua_settop(L, 2);
  lua_setiuservalue(L, 1, OBJECTIVE);
  return 0;
}

static void enter(lua_State *L) {
  if (lua_getiuservalue(L, 1, ENTRY) == LUA_TNIL) {
    lua_pop(L, 1);
    return;
  }
  lua_pushvalue(L, 1);
  lua_call(L, 1, 0);
}

static orr_real *room(lua_State *L, const orr_space *space, orr_real *small, size_t small_count) {
  size_t count = space ? (size_t)orr_space_size(space) : 1;
  return count <= small_count ? small : lua_newuserdatauv(L, count * sizeof(orr_real), 0);
}

/*** mpc:act(observation): plans, and returns the action to take, a record as env:step takes it; and a note when
something was the matter: "late", when planning took longer than its limit; "last plan", when no plan had a finite
return or the observation was not finite, and the last plan goes on; "safe action", when that is used up too. The
observation is a record, or its numbers as a flat tensor. An error in a reward function is raised. */
static int act(lua_State *L) {
  orr_real small_seen[64], small_done[64];
  orr_mpc *mpc = check_mpc(L, 1);
  lua_settop(L, 2);
  enter(L);
  mpc = check_mpc(L, 1);
  orr_space *seen = orr_objective_observation_space(orr_mpc_objective(mpc));
  orr_space *done = orr_planner_action_space(orr_mpc_planner(mpc));
  orr_real *observation = room(L, seen, small_seen, 64), *action = room(L, done, small_done, 64);
  if (seen) lua_read_flat(L, 2, seen, "observation", observation);
  else observation[0] = 0;
  orr_mpc_info info;
  orr_mpc_retain(mpc); /* a script's function may close it meanwhile */
  orr_status status = orr_mpc_act(mpc, observation, action, &info);
  bool closed = !((lua_handle *)lua_touserdata(L, 1))->object;
  orr_mpc_free(mpc);
  if (closed) return lua_complain(L, "mpc: closed by a function that it called");
  if (status && status != ORR_LATE && status != ORR_NUMBER) return lua_raise(L);
  lua_push_record(L, done, action);
  if (status == ORR_LATE) lua_pushliteral(L, "late");
  else if (info.source == ORR_MPC_LAST) lua_pushliteral(L, "last plan");
  else if (info.source == ORR_MPC_SAFE) lua_pushliteral(L, "safe action");
  else lua_pushnil(L);
  return 2;
}

/*** mpc:reset(seed): a new episode: forgets plan, elites and time. With a seed, its random numbers start anew,
and the same observations give the same actions. */
static int reset(lua_State *L) {
  orr_mpc *mpc = check_mpc(L, 1);
  orr_mpc_reset(mpc);
  if (!lua_isnoneornil(L, 2)) orr_mpc_seed(mpc, (uint64_t)luaL_checkinteger(L, 2));
  lua_settop(L, 1);
  return 1;
}

/*** mpc:plan(): the last plan, a tensor of horizon x numbers of an action; nil before the first. */
static int plan(lua_State *L) {
  orr_mpc *mpc = check_mpc(L, 1);
  const orr_planner *planner = orr_mpc_planner(mpc);
  int64_t shape[2] = {orr_planner_horizon(planner),
                      orr_space_size(orr_planner_action_space(planner))};
  const orr_real *values = orr_mpc_plan(mpc);
  if (values) return lua_push_tensor(L, orr_tensor_from(lua_engine(L), 2, shape, values));
  lua_pushnil(L);
  return 1;
}

/*** mpc:set_budget { iterations =, seconds = }: limits of each plan from now on; what is not given is as it was
when the mpc was made. */
static int set_budget(lua_State *L) {
  static const char *const names[] = {"iterations", "seconds", NULL};
  orr_mpc *mpc = check_mpc(L, 1);
  lua_check_options(L, 2, "budget", names);
  int iterations = (int)lua_option_integer(L, 2, "iterations", 0, 0, INT32_MAX);
  lua_check_status(L, orr_mpc_set_budget(mpc, iterations,
                                         lua_option_number(L, 2, "seconds", 0, 0, 1e9)));
  lua_settop(L, 1);
  return 1;
}

/*** mpc:set_input(name, value): sets a named input of its objective, such as a goal. */
static int set_input(lua_State *L) {
  orr_mpc *mpc = check_mpc(L, 1);
  const char *name = luaL_checkstring(L, 2);
  lua_check_status(L, orr_objective_set_input(orr_mpc_objective(mpc), name, lua_to_tensor(L, 3)));
  lua_settop(L, 1);
  return 1;
}

/*** mpc:statistics(): since it was made: acts, plans, iterations, late, fallbacks, plans scored, of these
non_finite, and the seconds of an act: p50, p99, max, mean. */
static int statistics(lua_State *L) {
  orr_mpc_statistics s;
  orr_mpc_get_statistics(check_mpc(L, 1), &s);
  const struct {
    const char *name;
    int64_t value;
  } counts[] = {{"acts", s.acts},
                {"plans", s.plans},
                {"iterations", s.iterations},
                {"late", s.late},
                {"fallbacks", s.fallbacks},
                {"scored", s.scored},
                {"non_finite", s.non_finite}};
  const struct {
    const char *name;
    double value;
  } times[] = {{"p50", s.p50}, {"p99", s.p99}, {"max", s.max}, {"mean", s.mean}};
  lua_createtable(L, 0, 11);
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    lua_pushinteger(L, counts[i].value);
    lua_setfield(L, -2, counts[i].name);
  }
  for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
    lua_pushnumber(L, times[i].value);
    lua_setfield(L, -2, times[i].name);
  }
  return 1;
}

/*** mpc:clear_statistics(): starts counting anew. */
static int clear_statistics(lua_State *L) {
  orr_mpc_clear_statistics(check_mpc(L, 1));
  lua_settop(L, 1);
  return 1;
}

/*** mpc:objective(): what scores its plans. */
static int objective(lua_State *L) {
  check_mpc(L, 1);
  lua_getiuservalue(L, 1, OBJECTIVE);
  return 1;
}

static int mpc_text(lua_State *L) {
  orr_mpc *mpc = check_mpc(L, 1);
  lua_getiuservalue(L, 1, PLANNER);
  lua_pushfstring(L, "mpc: %s; %s", orr_objective_name(orr_mpc_objective(mpc)),
                  luaL_tolstring(L, -1, NULL));
  return 1;
}

static const luaL_Reg methods[] = {{"act", act},
                                   {"reset", reset},
                                   {"plan", plan},
                                   {"set_budget", set_budget},
                                   {"set_input", set_input},
                                   {"statistics", statistics},
                                   {"clear_statistics", clear_statistics},
                                   {"objective", objective},
                                   {NULL, NULL}};
static const luaL_Reg metamethods[] = {{"__tostring", mpc_text}, {NULL, NULL}};

static const lua_class mpc_class = {"orrery.mpc", "mpc", free_mpc, methods, metamethods};

void open_mpc(lua_State *L, int module) {
  static const luaL_Reg functions[] = {{"new", new_mpc},
                                       {"set_objective", set_objective},
                                       {NULL, NULL}};
  module = lua_absindex(L, module);
  lua_new_class(L, &mpc_class);
  luaL_newmetatable(L, "orrery.mpc_parts");
  lua_pushcfunction(L, free_parts);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
  lua_createtable(L, 0, 2);
  lua_add_functions(L, lua_gettop(L), functions);
  lua_setfield(L, module, "mpc_core");
}
