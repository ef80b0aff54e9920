/* optimiser.c - the part of orrery.update that adds to a graph: gradients of a loss, and the update
   of every parameter. */
#include <string.h>

#include "lua/symbol.h"
#include "orrery/nn.h"

extern const lua_class lua_optimiser_class;

static void free_optimiser(void *object) { orr_optimiser_free(object); }

static orr_optimiser *check_optimiser(lua_State *L, int index) {
  return lua_check_object(L, index, &lua_optimiser_class);
}

/* Options of every kind, those of sgd alone, those of the others. The recipe adds `kind`. */
#define COMMON \
  "learning_rate", "weight_decay", "decay_vectors", "clip", "schedule", "warmup", "steps", "final"
static const char *const momentum_names[] = {COMMON, "momentum", "nesterov", NULL};
static const char *const moments_names[] = {COMMON, "beta1", "beta2", "epsilon", NULL};
static const char *const all_names[] = {"kind",  COMMON,  "momentum", "nesterov",
                                        "beta1", "beta2", "epsilon",  NULL};
#undef COMMON

static orr_optimiser_options read_options(lua_State *L, int at) {
  static const char *const schedules[] = {"constant", "linear", "cosine", NULL};
  const char *kinds[ORR_OPTIMISER_COUNT + 1] = {NULL};
  for (int i = 0; i < ORR_OPTIMISER_COUNT; i++)
    kinds[i] = orr_optimiser_name((orr_optimiser_kind)i);
  lua_check_options(L, at, "optimiser options", all_names);
  orr_optimiser_options o = orr_optimiser_options_defaults();
  o.kind = (orr_optimiser_kind)lua_option_choice(L, at, "kind", (int)o.kind, kinds);
  o.learning_rate = lua_option_number(L, at, "learning_rate", o.learning_rate, 0, 1e6);
  o.momentum = lua_option_number(L, at, "momentum", o.momentum, 0, 1);
  o.nesterov = lua_option_boolean(L, at, "nesterov", o.nesterov);
  o.beta1 = lua_option_number(L, at, "beta1", o.beta1, 0, 1);
  o.beta2 = lua_option_number(L, at, "beta2", o.beta2, 0, 1);
  o.epsilon = lua_option_number(L, at, "epsilon", o.epsilon, 1e-30, 1);
  o.weight_decay = lua_option_number(L, at, "weight_decay", o.weight_decay, 0, 1e6);
  o.decay_vectors = lua_option_boolean(L, at, "decay_vectors", o.decay_vectors);
  o.clip = lua_option_number(L, at, "clip", o.clip, 0, 1e30);
  o.schedule = (orr_schedule)lua_option_choice(L, at, "schedule", (int)o.schedule, schedules);
  o.warmup = lua_option_integer(L, at, "warmup", o.warmup, 0, (1 << 24) - 1);
  o.steps = lua_option_integer(L, at, "steps", o.steps, 0, (1 << 24) - 1);
  o.final = lua_option_number(L, at, "final", o.final, 0, 1e6);
  return o;
}

/* orrery.optimiser(options, tensors, levels): levels[i] is "uniform" or "member". The two lists
   stay with the object: minimise needs them. */
static int new_optimiser(lua_State *L) {
  luaL_checktype(L, 2, LUA_TTABLE);
  luaL_checktype(L, 3, LUA_TTABLE);
  lua_settop(L, 3);
  orr_optimiser_options options = read_options(L, 1);
  int count = (int)luaL_len(L, 2);
  luaL_argcheck(L, count >= 1 && count == (int)luaL_len(L, 3), 2,
                "parameters and as many levels are needed");
  orr_tensor **tensors = lua_newuserdatauv(L, (size_t)count * sizeof *tensors, 0);
  orr_level *levels = lua_newuserdatauv(L, (size_t)count * sizeof *levels, 0);
  lua_createtable(L, count, 0); /* a list of our own: the caller's may change */
  for (int i = 0; i < count; i++) {
    lua_geti(L, 3, i + 1);
    levels[i] = !strcmp(luaL_checkstring(L, -1), "member") ? ORR_MEMBER : ORR_UNIFORM;
    lua_geti(L, 2, i + 1);
    tensors[i] = lua_check_tensor(L, -1);
    lua_seti(L, 6, i + 1);
    lua_pop(L, 1);
  }
  lua_handle *handle = lua_new_handle_holding(L, &lua_optimiser_class, 3);
  for (int i = 0; i < 3; i++) { /* tensors, levels and what keeps them alive */
    lua_pushvalue(L, 4 + i);
    lua_setiuservalue(L, -2, i + 1);
  }
  return lua_fill(L, handle, orr_optimiser_new(lua_engine(L), &options, count, tensors, levels));
}

/* How many of the gradients are more than the 0 of what a loss does not depend on: equal nodes of a
   graph are one, so such gradients are those of a constant. Memory for count nodes at zeros. */
static int count_reached(lua_State *L, orr_graph *graph, int count, const orr_node *wrt,
                         const orr_node *gradients, orr_node *zeros) {
  int reached = 0;
  lua_check_status(L, orr_gradient(graph, orr_number(graph, 1), count, wrt, zeros));
  for (int i = 0; i < count; i++) reached += gradients[i] != zeros[i];
  return reached;
}

/* optimiser:minimise(loss): adds to the loss's graph its gradients and the update of every
   parameter. Outermost graphs only: an update is done once per run. Answers on how many of the
   parameters the loss depends. */
static int minimise(lua_State *L) {
  orr_optimiser *optimiser = check_optimiser(L, 1);
  lua_symbol *loss = lua_check_symbol(L, 2);
  orr_graph *graph = loss->owner->graph;
  lua_settop(L, 2);
  lua_getiuservalue(L, 1, 1);
  orr_tensor **tensors = lua_touserdata(L, 3);
  int count = (int)(lua_rawlen(L, 3) / sizeof *tensors);
  lua_getiuservalue(L, 1, 2);
  orr_level *levels = lua_touserdata(L, 4);
  orr_node *nodes = lua_newuserdatauv(L, 3 * (size_t)count * sizeof *nodes, 0),
           *gradients = nodes + count;
  for (int i = 0; i < count; i++) {
    nodes[i] = orr_parameter(graph, tensors[i], levels[i]);
    if (nodes[i] == ORR_NONE) lua_raise(L);
  }
  lua_check_status(L, orr_gradient(graph, loss->node, count, nodes, gradients));
  lua_check_status(L, orr_optimiser_build(optimiser, graph, gradients));
  lua_pushinteger(L, count_reached(L, graph, count, nodes, gradients, gradients + count));
  return 1;
}

static int states(lua_State *L) {
  orr_optimiser *optimiser = check_optimiser(L, 1);
  int count = orr_optimiser_states(optimiser);
  lua_createtable(L, count, 0);
  lua_createtable(L, count, 0);
  for (int i = 0; i < count; i++) {
    lua_handle *handle = lua_new_handle(L, &lua_tensor_class);
    lua_fill(L, handle, orr_tensor_retain(orr_optimiser_state(optimiser, i)));
    lua_seti(L, -3, i + 1);
    lua_pushstring(L, orr_optimiser_state_name(optimiser, i));
    lua_seti(L, -2, i + 1);
  }
  return 2;
}

static int reset(lua_State *L) {
  lua_check_status(L, orr_optimiser_reset(check_optimiser(L, 1)));
  return 0;
}

static int set_scale(lua_State *L) {
  lua_check_status(L, orr_optimiser_set_scale(check_optimiser(L, 1), luaL_checknumber(L, 2)));
  return 0;
}

static int skipped(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)orr_optimiser_skipped(check_optimiser(L, 1)));
  lua_pushinteger(L, (lua_Integer)orr_optimiser_skipped_in_a_row(check_optimiser(L, 1)));
  return 2;
}

/* optimiser:from_zero(index, room): an index counted from 1 as a program's run takes it: flat, from
   0. room: an answer of before, to be used again where it fits; or nil. */
static int from_zero(lua_State *L) {
  lua_settop(L, 3);
  orr_tensor *index = lua_check_tensor(L, 2);
  if (orr_tensor_dtype(index) != ORR_INT)
    lua_complain(L, "update: the index must be a tensor of ints");
  int64_t count = orr_tensor_count(index);
  orr_tensor *flat = lua_isnil(L, 3) ? NULL : lua_check_tensor(L, 3);
  if (!flat || orr_tensor_count(flat) != count || !orr_tensor_is_contiguous(index)) {
    orr_tensor *rows = orr_tensor_copy(index);
    flat = orr_tensor_reshape(rows, 1, &count);
    orr_tensor_free(rows);
    lua_push_tensor(L, flat);
    index = flat;
  }
  const int32_t *given = orr_tensor_data(index);
  int32_t *numbers = orr_tensor_data(flat);
  for (int64_t i = 0; i < count; i++) numbers[i] = given[i] - 1;
  orr_tensor_touch(flat);
  return 1;
}

static const luaL_Reg methods[] = {
    {"minimise", minimise}, {"states", states},       {"reset", reset}, {"set_scale", set_scale},
    {"skipped", skipped},   {"from_zero", from_zero}, {NULL, NULL}};

const lua_class lua_optimiser_class = {"orrery.optimiser", "optimiser", free_optimiser, methods,
                                       NULL};

/*** orrery.adam(options), orrery.adamw(options), orrery.sgd(options): an optimiser for
orrery.update, as torch.optim has it. learning_rate 1e-3; beta1 0.9, beta2 0.999, epsilon 1e-8
(adam, adamw); momentum 0, nesterov false (sgd); weight_decay 0, decay_vectors true (false: biases
do not decay); clip 0: the greatest length of all gradients together; schedule "constant", "linear"
or "cosine" from 1 to final (0) over steps updates, after a warmup of that many. */
static int recipe(lua_State *L) {
  lua_settop(L, 1);
  const char *kind = lua_tostring(L, lua_upvalueindex(1));
  lua_check_options(L, 1, lua_pushfstring(L, "%s options", kind),
                    strcmp(kind, "sgd") ? moments_names : momentum_names);
  lua_settop(L, 1);
  read_options(L, 1);
  lua_newtable(L);
  if (lua_istable(L, 1))
    for (lua_pushnil(L); lua_next(L, 1);) {
      lua_pushvalue(L, -2);
      lua_insert(L, -2);
      lua_settable(L, 2);
    }
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_setfield(L, 2, "kind");
  return 1;
}

void open_optimiser(lua_State *L, int module) {
  static const luaL_Reg functions[] = {{"optimiser", new_optimiser}, {NULL, NULL}};
  lua_new_class(L, &lua_optimiser_class);
  lua_add_functions(L, module, functions);
  for (int kind = 0; kind < ORR_OPTIMISER_COUNT; kind++) {
    lua_pushstring(L, orr_optimiser_name((orr_optimiser_kind)kind));
    lua_pushvalue(L, -1);
    lua_pushcclosure(L, recipe, 1);
    lua_settable(L, module);
  }
}
