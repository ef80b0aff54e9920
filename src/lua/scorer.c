/* scorer.c - objectives and rewards that are plain Lua functions. They are called from inside a
   planner, so on a Lua thread of their own and in protected mode: an error becomes the engine's
   message, with its traceback. */
#include <string.h>

#include "lua/callback.h"
#include "lua/objective.h"
#include "lua/space.h"

/* Stack slots of the thread. */
enum { FUNCTION = 1, TERMINATION, SLOTS = TERMINATION };

struct lua_scorer {
  orr_engine *engine;
  lua_State *L;                    /* its own thread */
  orr_space *observation, *action; /* lent by the objective */
  bool running;
};

typedef struct job {
  lua_scorer *scorer;
  const orr_scoring *scoring;
  int rows;
  const orr_real *s, *a, *next, *t;
  orr_real *rewards, *terminated;
} job;

/* The body finds function and termination at 1 and 2, and the job at 3. */
static orr_status run(lua_scorer *scorer, lua_CFunction body, job *j) {
  lua_State *L = scorer->L;
  if (scorer->running)
    return orr_engine_fail(scorer->engine, ORR_CALLBACK,
                           "the function plans with the objective it belongs to");
  scorer->running = true;
  j->scorer = scorer;
  lua_settop(L, SLOTS);
  lua_pushcfunction(L, body);
  lua_pushvalue(L, FUNCTION);
  lua_pushvalue(L, TERMINATION);
  lua_pushlightuserdata(L, j);
  orr_status status = lua_call_back(L, scorer->engine, "the objective", 3);
  lua_settop(L, SLOTS);
  scorer->running = false;
  return status;
}

/* ---- whole batches */

/* The second result, on top. */
static void read_gradients(lua_State *L, const orr_scoring *scoring, int actions) {
  int64_t count = (int64_t)scoring->n * scoring->horizon * actions;
  if (lua_isnil(L, -1))
    lua_complain(L, "the objective's function returned no gradients, a tensor of %d x %d x %d",
                 scoring->n, scoring->horizon, actions);
  orr_tensor *gradients = lua_to_tensor(L, lua_gettop(L));
  if (orr_tensor_count(gradients) != count)
    lua_complain(
        L, "the objective's function returned gradients of %I numbers for %d plans of %d x %d",
        (LUAI_UACINT)orr_tensor_count(gradients), scoring->n, scoring->horizon, actions);
  for (int64_t i = 0; i < count; i++)
    scoring->gradients[i] = (orr_real)orr_tensor_get(gradients, i);
}

static int plans_body(lua_State *L) {
  job *j = lua_touserdata(L, 3);
  const orr_scoring *scoring = j->scoring;
  orr_engine *engine = j->scorer->engine;
  int64_t shape[3] = {scoring->n, scoring->horizon, orr_space_size(j->scorer->action)};
  lua_pushvalue(L, 1);
  if (j->scorer->observation) lua_push_record(L, j->scorer->observation, scoring->observation);
  else lua_pushnil(L);
  lua_push_tensor(L, orr_tensor_from(engine, 3, shape, scoring->plans));
  lua_pushboolean(L, scoring->gradients != NULL);
  lua_call(L, 3, 2);
  if (scoring->gradients) read_gradients(L, scoring, (int)shape[2]);
  lua_pop(L, 1);
  if (lua_isnil(L, -1))
    return lua_complain(
        L, "the objective's function returned nothing; a tensor or list of %d returns is needed",
        scoring->n);
  orr_tensor *returns = lua_to_tensor(L, lua_gettop(L));
  if (orr_tensor_count(returns) != scoring->n)
    return lua_complain(L, "the objective's function returned %I numbers for %d plans",
                        (LUAI_UACINT)orr_tensor_count(returns), scoring->n);
  for (int i = 0; i < scoring->n; i++) scoring->returns[i] = (orr_real)orr_tensor_get(returns, i);
  return 0;
}

orr_status lua_score_plans(void *scorer, const orr_scoring *scoring) {
  job j = {.scoring = scoring};
  return run(scorer, plans_body, &j);
}

/* ---- sample by sample */

static void push_row(lua_State *L, const job *j, int row) {
  size_t seen = (size_t)orr_space_size(j->scorer->observation),
         done = (size_t)orr_space_size(j->scorer->action);
  lua_push_record(L, j->scorer->observation, j->s + (size_t)row * seen);
  lua_push_record(L, j->scorer->action, j->a + (size_t)row * done);
  lua_push_record(L, j->scorer->observation, j->next + (size_t)row * seen);
  lua_pushnumber(L, (double)j->t[row]);
}

static orr_real number_at(lua_State *L, int index) {
  if (lua_isboolean(L, index)) return (orr_real)lua_toboolean(L, index);
  if (lua_type(L, index) == LUA_TNUMBER) return (orr_real)lua_tonumber(L, index);
  orr_tensor *x = lua_test_tensor(L, index);
  if (x && orr_tensor_count(x) == 1) return (orr_real)orr_tensor_get(x, 0);
  lua_complain(L, "the reward returned %s; it must return a number",
               lua_isnil(L, index) ? "nothing" : luaL_typename(L, index));
  return 0;
}

static int rows_body(lua_State *L) {
  job *j = lua_touserdata(L, 3);
  bool ends = !lua_isnil(L, 2);
  for (int row = 0; row < j->rows; row++) {
    lua_pushvalue(L, 1);
    push_row(L, j, row);
    lua_call(L, 4, 1);
    j->rewards[row] = number_at(L, -1);
    if (ends) {
      lua_pushvalue(L, 2);
      push_row(L, j, row);
      lua_call(L, 4, 1);
      j->terminated[row] =
          lua_toboolean(L, -1) && !(lua_type(L, -1) == LUA_TNUMBER && lua_tonumber(L, -1) == 0);
    }
    lua_settop(L, 3);
  }
  return 0;
}

orr_status lua_score_rows(void *scorer, int rows, const orr_real *s, const orr_real *a,
                          const orr_real *next, const orr_real *t, orr_real *rewards,
                          orr_real *terminated) {
  job j = {.rows = rows,
           .s = s,
           .a = a,
           .next = next,
           .t = t,
           .rewards = rewards,
           .terminated = terminated};
  return run(scorer, rows_body, &j);
}

/* ---- making */

lua_scorer *lua_push_scorer(lua_State *L, int index, int termination) {
  lua_createtable(L, 2, 0); /* the thread, and the memory of the scorer */
  lua_scorer *scorer = lua_newuserdatauv(L, sizeof *scorer, 0);
  memset(scorer, 0, sizeof *scorer);
  lua_rawseti(L, -2, 1);
  scorer->L = lua_newthread(L);
  lua_rawseti(L, -2, 2);
  lua_pushvalue(L, index);
  if (termination) lua_pushvalue(L, termination);
  else lua_pushnil(L);
  lua_xmove(L, scorer->L, SLOTS);
  scorer->engine = lua_engine(L);
  return scorer;
}

void lua_scorer_spaces(lua_scorer *scorer, orr_space *observation, orr_space *action) {
  scorer->observation = observation;
  scorer->action = action;
}
