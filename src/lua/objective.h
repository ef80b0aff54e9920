/* objective.h - objectives and planner descriptions, as the bindings that take them share them. */
#ifndef LUA_OBJECTIVE_H
#define LUA_OBJECTIVE_H

#include "lua/lua_orrery.h"
#include "orrery/plan.h"
#include "orrery/rollout.h"

extern const lua_class lua_objective_class;

orr_objective *lua_check_objective(lua_State *L, int index);

/* A planner for these actions, of the description at index that orrery.plan.<name> made. The caller
   owns it; raises when the description is none, or was changed into nonsense. */
orr_planner *lua_make_planner(lua_State *L, int index, orr_space *actions);

/* Reads a record (see lua_read_record), or all its numbers as a flat tensor. */
void lua_read_flat(lua_State *L, int index, const orr_space *space, const char *what,
                   orr_real *values);

/* Option `risk`: a name, or a table of it and its parameter (objective_options.c). */
orr_risk_options lua_option_risk(lua_State *L, int index);
/* A list of numbers, pushed to be kept alive; NULL and 0 when absent. */
double *lua_option_numbers(lua_State *L, int index, const char *name, int *count);
int lua_objective_risks(lua_State *L);

/* Methods that are in objective_score.c. */
int lua_objective_score(lua_State *L);
int lua_objective_propose(lua_State *L);
int lua_objective_disagree(lua_State *L);

/* Lua functions that score: they run on a Lua thread of their own, errors end there and become the
   engine's message. See scorer.c. */
typedef struct lua_scorer lua_scorer;

/* Pushes what keeps the scorer alive: functions at `index` and, unless 0, at `termination`. */
lua_scorer *lua_push_scorer(lua_State *L, int index, int termination);
/* Lends it the spaces of records; observation may be NULL. */
void lua_scorer_spaces(lua_scorer *scorer, orr_space *observation, orr_space *action);
/* f(observation, plans): an orr_objective_callbacks.score. */
orr_status lua_score_plans(void *scorer, const orr_scoring *scoring);
/* f(s, a, next, t) of each row: a reward_function. */
orr_status lua_score_rows(void *scorer, int rows, const orr_real *s, const orr_real *a,
                          const orr_real *next, const orr_real *t, orr_real *rewards,
                          orr_real *terminated);

#endif
