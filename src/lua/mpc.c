/* mpc.c - the MPC runtime in Lua. lua/orrery/mpc.lua builds the objective; here is what it builds
   on, and what a closed loop calls. */
#include "orrery/mpc.h"

#include <math.h>
#include <string.h>

#include "lua/objective.h"
#include "lua/space.h"

/* User values of a handle: the objective's handle, whose functions it runs; the functions of
   lua/orrery/mpc.lua, by name: enter, called before each act, and those behind the methods set_...;
   the planner's description. */
enum { OBJECTIVE = 1, FUNCTIONS, PLANNER, USER_VALUES = PLANNER };

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

static void read_options(lua_State *L, orr_space *actions, orr_mpc_options *options) {
  options->seed = (uint64_t)lua_option_integer(L, 3, "seed", 0, INT64_MIN, INT64_MAX);
  options->warm_start = lua_option_boolean(L, 3, "warm_start", true);
  options->iterations = (int)lua_option_integer(L, 3, "iterations", 0, 0, INT32_MAX);
  options->seconds = lua_option_number(L, 3, "seconds", 0, 0, 1e9);
  options->step_seconds = lua_option_number(L, 3, "step_seconds", 0, 0, 1e9);
  options->background = lua_option_boolean(L, 3, "background", false);
  options->batch = (int)lua_option_integer(L, 3, "batch", 1, 1, 1 << 20);
  options->disagreement = lua_option_boolean(L, 3, "disagreement", false);
  if (lua_option_push(L, 3, "safe_action") == LUA_TNIL) return;
  orr_real *safe = lua_newuserdatauv(L, (size_t)orr_space_size(actions) * sizeof *safe, 0);
  lua_read_flat(L, -2, actions, "safe action", safe);
  options->safe_action = safe;
}

/* core.new(objective, planner, options, functions): see orrery.mpc. */
static int new_mpc(lua_State *L) {
  static const char *const names[] = {"seed",         "warm_start",  "iterations", "seconds",
                                      "step_seconds", "safe_action", "background", "batch",
                                      "disagreement", NULL};
  lua_settop(L, 4);
  orr_objective *objective = lua_check_objective(L, 1);
  orr_space *actions = orr_objective_action_space(objective);
  lua_check_options(L, 3, "mpc options", names);
  if (!actions) return lua_complain(L, "mpc: the objective does not know its action space");
  orr_mpc_options options = orr_mpc_options_defaults();
  read_options(L, actions, &options);
  lua_handle *handle = lua_new_handle_holding(L, &mpc_class, USER_VALUES);
  int at = lua_gettop(L);
  for (int i = 0; i < 3; i++) {
    static const int from[] = {1, 4, 2}, to[] = {OBJECTIVE, FUNCTIONS, PLANNER};
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
static int set_objective_now(lua_State *L) {
  orr_mpc *mpc = check_mpc(L, 1);
  lua_check_status(L, orr_mpc_set_objective(mpc, lua_check_objective(L, 2)));
  lua_settop(L, 2);
  lua_setiuservalue(L, 1, OBJECTIVE);
  return 0;
}

/* core.set_planner(mpc, planner, objective): plans with another one from now on; objective: nil, or
   one that goes with it. */
static int set_planner_now(lua_State *L) {
  orr_mpc *mpc = check_mpc(L, 1);
  lua_settop(L, 3);
  orr_objective *made = lua_isnil(L, 3) ? NULL : lua_check_objective(L, 3);
  orr_planner *planner = lua_make_planner(L, 2, orr_planner_action_space(orr_mpc_planner(mpc)));
  orr_status status = orr_mpc_set_planner(mpc, planner, made);
  orr_planner_free(planner);
  lua_check_status(L, status);
  if (made) lua_setiuservalue(L, 1, OBJECTIVE);
  lua_settop(L, 2);
  lua_setiuservalue(L, 1, PLANNER);
  return 0;
}

/* Calls one of the functions with the mpc and the arguments behind it; nothing when there is no
   such. */
static bool call_function(lua_State *L, const char *name) {
  int given = lua_gettop(L);
  lua_getiuservalue(L, 1, FUNCTIONS);
  if (!lua_istable(L, -1) || lua_getfield(L, -1, name) == LUA_TNIL) {
    lua_settop(L, given);
    return false;
  }
  for (int i = 1; i <= given; i++) lua_pushvalue(L, i);
  lua_call(L, given, 0);
  lua_settop(L, given);
  return true;
}

static orr_real *room(lua_State *L, const orr_space *space, orr_real *small, size_t small_count) {
  size_t count = space ? (size_t)orr_space_size(space) : 1;
  return count <= small_count ? small : lua_newuserdatauv(L, count * sizeof(orr_real), 0);
}

static void push_note(lua_State *L, orr_status status, const orr_mpc_info *info) {
  if (info->source == ORR_MPC_LAST) lua_pushliteral(L, "last plan");
  else if (info->source == ORR_MPC_SAFE) lua_pushliteral(L, "safe action");
  else if (info->violation > 0) lua_pushliteral(L, "breaks a constraint");
  else if (status == ORR_LATE) lua_pushliteral(L, "late");
  else lua_pushnil(L);
}

/*** mpc:act(observation): plans, and returns the action to take, a record as env:step takes it; and
a note when something was the matter, the first of: "safe action", when nothing could be planned and
the last plan is used up; "last plan", when no plan had a finite return, none could be scored before
the deadline, or the observation was not finite, and the last plan goes on; "breaks a constraint",
when no plan was found that keeps them all, and the one that breaks them least is executed; "late",
when planning took longer than its limit. The observation is a record, or its numbers as a flat
tensor. An error in a reward function is raised. */
static int act(lua_State *L) {
  orr_real small_seen[64], small_done[64];
  orr_mpc *mpc = check_mpc(L, 1);
  lua_settop(L, 1 + !lua_isnone(L, 2));
  call_function(L, "enter");
  lua_settop(L, 2);
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
  push_note(L, status, &info);
  return 2;
}

/* The observations at index 2, a tensor or a list of records, as numbers of the batch. */
static orr_real *read_batch(lua_State *L, const orr_space *seen, int batch) {
  int size = (int)orr_space_size(seen), states;
  orr_tensor *x = lua_test_tensor(L, 2);
  if (x && (orr_tensor_axes(x) != 2 || orr_tensor_shape(x)[0] != batch ||
            orr_tensor_shape(x)[1] != size))
    lua_complain(L,
                 "act_many: observations must be a tensor of %d x %d; how many there are is the "
                 "option `batch`",
                 batch, size);
  orr_real *values = !x && !lua_istable(L, 2) ? NULL : lua_read_observations(L, 2, seen, &states);
  if (!values || states != batch)
    lua_complain(
        L,
        "act_many: a tensor or list of %d observations is wanted; how many is the option `batch`",
        batch);
  return values;
}

/*** mpc:act_many(observations): plans for all states of a batch at once (option `batch`).
Observations are a tensor of batch x numbers of an observation, or a list of records; the answer is
a tensor of batch x numbers of an action, and a list of notes, see mpc:act: false where nothing was
the matter. */
static int act_many(lua_State *L) {
  check_mpc(L, 1);
  luaL_checkany(L, 2);
  lua_settop(L, 2);
  call_function(L, "enter");
  orr_mpc *mpc = check_mpc(L, 1);
  orr_space *seen = orr_objective_observation_space(orr_mpc_objective(mpc));
  orr_space *done = orr_planner_action_space(orr_mpc_planner(mpc));
  int batch = orr_mpc_batch(mpc);
  if (!seen) return lua_complain(L, "act_many: the objective does not know its observation space");
  orr_real *observations = read_batch(L, seen, batch);
  int64_t shape[2] = {batch, orr_space_size(done)};
  lua_push_tensor(L, orr_tensor_new(lua_engine(L), ORR_REAL, 2, shape));
  orr_tensor *actions = lua_check_tensor(L, -1);
  orr_mpc_info *infos = lua_newuserdatauv(L, (size_t)batch * sizeof *infos, 0);
  lua_insert(L, -2);
  orr_mpc_retain(mpc);
  orr_status status = orr_mpc_act_many(mpc, observations, orr_tensor_data(actions), infos);
  bool closed = !((lua_handle *)lua_touserdata(L, 1))->object;
  orr_mpc_free(mpc);
  if (closed) return lua_complain(L, "mpc: closed by a function that it called");
  if (status && status != ORR_LATE && status != ORR_NUMBER) return lua_raise(L);
  lua_createtable(L, batch, 0);
  for (int i = 0; i < batch; i++) {
    push_note(L, status, &infos[i]);
    if (lua_isnil(L, -1)) {
      lua_pop(L, 1);
      lua_pushboolean(L, false);
    }
    lua_rawseti(L, -2, i + 1);
  }
  return 2;
}

/*** mpc:reset(seed): a new episode: forgets plan, elites and time. With a seed, its random numbers
start anew, and the same observations give the same actions. */
static int reset(lua_State *L) {
  orr_mpc *mpc = check_mpc(L, 1);
  orr_mpc_reset(mpc);
  if (!lua_isnoneornil(L, 2)) orr_mpc_seed(mpc, (uint64_t)luaL_checkinteger(L, 2));
  lua_settop(L, 1);
  return 1;
}

/*** mpc:reset_one(i): a new episode for state i of a batch, the first being 1. Steps (t of a
reward) are counted for all together, and go on. */
static int reset_one(lua_State *L) {
  orr_mpc *mpc = check_mpc(L, 1);
  lua_Integer i = luaL_checkinteger(L, 2);
  if (i < 1 || i > orr_mpc_batch(mpc))
    return lua_complain(L, "reset_one: there is no state %I in a batch of %d", (LUAI_UACINT)i,
                        orr_mpc_batch(mpc));
  lua_check_status(L, orr_mpc_reset_one(mpc, (int)i - 1));
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

/*** mpc:set_budget { iterations =, seconds = }: limits of each plan from now on; what is not given
is as it was when the mpc was made. */
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
  lua_check_status(L, orr_mpc_set_input(mpc, name, lua_to_tensor(L, 3)));
  if (lua_getiuservalue(L, 1, FUNCTIONS) == LUA_TTABLE &&
      lua_getfield(L, -1, "set_input") == LUA_TFUNCTION) {
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 3);
    lua_call(L, 2, 0);
  }
  lua_settop(L, 1);
  return 1;
}

/* Calls the function behind a method; answers the mpc. */
static int swap(lua_State *L, const char *method) {
  check_mpc(L, 1);
  luaL_checkany(L, 2);
  lua_settop(L, 2);
  if (!call_function(L, method))
    return lua_complain(L,
                        "%s: the objective of this mpc was given to it; give it another one with "
                        "set_objective",
                        method);
  lua_settop(L, 1);
  return 1;
}

/*** mpc:set_task(task): plans for another reward from now on, as orrery.mpc takes it; the last plan
is where it starts, and named inputs are as the new task has them. When the new reward has an error,
that is raised and the old one stays. */
static int set_task(lua_State *L) { return swap(L, "set_task"); }

/*** mpc:set_objective(objective): scores plans with another objective from now on: see
orrery.objective. */
static int set_objective(lua_State *L) {
  check_mpc(L, 1);
  lua_check_objective(L, 2);
  return swap(L, "set_objective");
}

/*** mpc:set_planner(planner): plans with another planner, or other settings of it, from now on, as
in mpc:set_planner(orrery.plan.cem { horizon = 30 }). What is left of the last plan is where it
starts; its random numbers start with the seed that the mpc was made with. */
static int set_planner(lua_State *L) { return swap(L, "set_planner"); }

/*** mpc:pause(): with option `background`: the planning thread rests, so that models may be
trained; mpc:act goes on with the last plan. */
static int pause_planning(lua_State *L) {
  orr_mpc_pause(check_mpc(L, 1));
  lua_settop(L, 1);
  return 1;
}

/*** mpc:resume(): the planning thread goes on. */
static int resume_planning(lua_State *L) {
  orr_mpc_resume(check_mpc(L, 1));
  lua_settop(L, 1);
  return 1;
}

/*** mpc:pace(): seconds of a step that whoever steps its environment should keep to: its
step_seconds where it plans in the background; else 0, any pace will do. */
static int pace(lua_State *L) {
  lua_pushnumber(L, orr_mpc_pace(check_mpc(L, 1)));
  return 1;
}

/*** mpc:disagreement(): how far the members of the model are apart along the last plan: a tensor of
a number for each step, the standard deviation of the predicted state in units of what it usually
is. Measured when asked for. */
static int disagreement(lua_State *L) {
  orr_mpc *mpc = check_mpc(L, 1);
  int64_t horizon = orr_planner_horizon(orr_mpc_planner(mpc));
  lua_push_tensor(L, orr_tensor_new(lua_engine(L), ORR_REAL, 1, &horizon));
  lua_check_status(L, orr_mpc_disagreement(mpc, orr_tensor_data(lua_check_tensor(L, -1))));
  return 1;
}

/*** mpc:statistics(): since it was made: acts, plans, iterations, late, fallbacks; violations, acts
that planned, and found no plan that keeps all constraints; shrunk, plans for which there was no time
to score a whole population, so that a smaller one stood for it (fewer plans, fewer steps or more
time help); plans scored, of these non_finite, iterations_per_plan; the seconds of an act: p50, p99,
max, mean, and `margin`, the seconds before its limit at which planning ends, as learned;
planned_return of the last plan; with option `disagreement`, its mean over all plans and
max_disagreement. */
static int statistics(lua_State *L) {
  orr_mpc_statistics s;
  orr_mpc_get_statistics(check_mpc(L, 1), &s);
  const struct {
    const char *name;
    int64_t value;
  } counts[] = {{"acts", s.acts},     {"plans", s.plans},         {"iterations", s.iterations},
                {"late", s.late},     {"fallbacks", s.fallbacks}, {"violations", s.violations},
                {"shrunk", s.shrunk}, {"scored", s.scored},       {"non_finite", s.non_finite}};
  const struct {
    const char *name;
    double value;
  } numbers[] = {{"p50", s.p50},
                 {"p99", s.p99},
                 {"max", s.max},
                 {"mean", s.mean},
                 {"margin", s.margin},
                 {"planned_return", (double)s.planned_return},
                 {"iterations_per_plan", s.plans ? (double)s.iterations / (double)s.plans : NAN},
                 {"disagreement", s.disagreement},
                 {"max_disagreement", s.max_disagreement}};
  lua_createtable(L, 0, 16);
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    lua_pushinteger(L, counts[i].value);
    lua_setfield(L, -2, counts[i].name);
  }
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    if (isnan(numbers[i].value)) continue; /* nil says that there is none */
    lua_pushnumber(L, numbers[i].value);
    lua_setfield(L, -2, numbers[i].name);
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
                                   {"act_many", act_many},
                                   {"reset", reset},
                                   {"reset_one", reset_one},
                                   {"set_task", set_task},
                                   {"set_objective", set_objective},
                                   {"set_planner", set_planner},
                                   {"pause", pause_planning},
                                   {"resume", resume_planning},
                                   {"pace", pace},
                                   {"disagreement", disagreement},
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
                                       {"set_objective", set_objective_now},
                                       {"set_planner", set_planner_now},
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
