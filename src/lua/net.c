/* net.c - nets for scripts: a chain of layers with the parameters it owns. Called on a symbol a net
   adds its ops to the graph being traced; anything else is left to orrery.nn, which runs it. */
#include <stdio.h>
#include <string.h>

#include "lua/net.h"
#include "lua/symbol.h"

static void free_net(void *object) { orr_net_free(object); }

orr_net *lua_check_net(lua_State *L, int index) {
  return lua_check_object(L, index, &lua_net_class);
}

/* ---- making ---- */

static int find_layer(const char *name) {
  for (int i = 0; i < ORR_LAYER_COUNT; i++)
    if (!strcmp(orr_layer_name((orr_layer_kind)i), name)) return i;
  return -1;
}

/* "relu" is short for an activation layer of that op. */
static int find_unary(const char *name) {
  for (int i = 0; i < ORR_OP_COUNT; i++)
    if (orr_op_arity((orr_op)i) == 1 && !strcmp(orr_op_name((orr_op)i), name)) return i;
  return -1;
}

/* The activations that nets are mostly made with, and names that others have for them. */
static const char *const usual[] = {"relu", "tanh", "silu", "gelu", "softplus", "sigmoid", NULL};
static const char *const other_names[][2] = {{"swish", "silu"},
                                             {"logistic", "sigmoid"},
                                             {"layernorm", "layer_norm"}};

static void refuse_kind(lua_State *L, const char *name, int number) {
  const char *meant = NULL;
  for (size_t i = 0; i < sizeof other_names / sizeof *other_names; i++)
    if (!strcmp(other_names[i][0], name)) meant = other_names[i][1];
  if (meant)
    lua_complain(L, "net: layer %d: there is no '%s'; it is called '%s' here", number, name, meant);
  int count = (int)(sizeof usual / sizeof *usual) - 1;
  meant = orr_nearest_name(name, usual, count);
  if (meant)
    lua_complain(L, "net: layer %d: there is no '%s'; did you mean '%s'?", number, name, meant);
  lua_complain(L,
               "net: layer %d: there is no layer and no op of one operand called '%s'; "
               "activations are relu, tanh, silu, gelu, softplus, sigmoid and all other ops of "
               "one operand",
               number, name);
}

static void read_kind(lua_State *L, orr_layer *layer, const char *name, int number) {
  int kind = find_layer(name), op = kind < 0 ? find_unary(name) : -1;
  if (kind < 0 && op < 0) refuse_kind(L, name, number);
  layer->kind = kind < 0 ? ORR_LAYER_activation : (orr_layer_kind)kind;
  if (op >= 0) layer->op = (orr_op)op;
}

/* One layer's description at the top of the stack: a name, or a table. */
static void read_layer(lua_State *L, orr_layer *layer, int number) {
  static const char *const names[] = {"kind", "outputs", "bias",    "init",
                                      "gain", "op",      "epsilon", NULL};
  const char *inits[ORR_INIT_COUNT + 1] = {NULL};
  for (int i = 0; i < ORR_INIT_COUNT; i++) inits[i] = orr_init_name((orr_init)i);
  memset(layer, 0, sizeof *layer);
  if (lua_type(L, -1) == LUA_TSTRING) {
    read_kind(L, layer, lua_tostring(L, -1), number);
    return;
  }
  int at = lua_gettop(L);
  lua_check_options(L, at, "net layer", names);
  const char *kind = lua_option_string(L, at, "kind", "linear");
  read_kind(L, layer, kind, number);
  layer->outputs = lua_option_integer(L, at, "outputs", 0, 1, 1 << 30);
  layer->no_bias = !lua_option_boolean(L, at, "bias", true);
  layer->init = (orr_init)lua_option_choice(L, at, "init", ORR_INIT_default, inits);
  layer->gain = lua_option_number(L, at, "gain", 1, -1e6, 1e6);
  layer->epsilon = lua_option_number(L, at, "epsilon", 1e-5, 1e-30, 1);
  const char *op = lua_option_string(L, at, "op", NULL);
  if (!op) return;
  int found = find_unary(op);
  if (found < 0)
    lua_complain(L, "net: layer %d: there is no op of one operand called '%s'", number, op);
  layer->op = (orr_op)found;
}

/*** orrery.net { inputs = 3, layers = { { kind = "linear", outputs = 64 }, "tanh", ... },
members = 0, seed = }: a chain of layers. `inputs` is a size or a list of sizes; a layer is a table
(kind, outputs, bias, init, gain, op, epsilon) or a name: "layer_norm", or any op of one operand.
`members` above 1 make an ensemble. Without a seed the engine's stream is drawn from. See also
orrery.nn.mlp. */
static int new_net(lua_State *L) {
  static const char *const names[] = {"inputs", "layers", "members", "seed", NULL};
  lua_settop(L, 1);
  lua_check_options(L, 1, "net options", names);
  int64_t shape[ORR_AXES];
  lua_option_need(L, 1, "inputs", "net options");
  int axes = lua_check_shape(L, 2, shape);
  if (lua_option_need(L, 1, "layers", "net options") != LUA_TTABLE)
    lua_complain(L, "net options: layers must be a list");
  int count = (int)luaL_len(L, 3);
  luaL_argcheck(L, count >= 1 && count <= 1000, 1,
                "net options: layers must be a list of 1 to 1000 layers");
  orr_layer *layers = lua_newuserdatauv(L, (size_t)count * sizeof *layers, 0);
  for (int i = 0; i < count; i++) {
    lua_geti(L, 3, i + 1);
    read_layer(L, &layers[i], i + 1);
    lua_pop(L, 1);
  }
  int members = (int)lua_option_integer(L, 1, "members", 0, 0, 10000);
  orr_engine *engine = lua_engine(L);
  orr_random stream;
  if (lua_option_push(L, 1, "seed") == LUA_TNIL)
    stream = orr_random_split(orr_engine_random(engine));
  else stream = orr_random_new((uint64_t)luaL_checkinteger(L, -1), 0);
  lua_handle *handle = lua_new_handle(L, &lua_net_class);
  return lua_fill(L, handle, orr_net_new(engine, axes, shape, count, layers, members, &stream));
}

/* ---- applying ---- */

/* The nodes of explicit parameters, a list at index 3, as userdata on the stack. */
static const orr_node *parameter_nodes(lua_State *L, const orr_net *net, lua_graph *graph) {
  if (lua_isnoneornil(L, 3)) return NULL;
  luaL_checktype(L, 3, LUA_TTABLE);
  int count = orr_net_parameters(net);
  if ((int)luaL_len(L, 3) != count)
    lua_complain(L, "net: %d parameters are needed, %d are given", count, (int)luaL_len(L, 3));
  orr_node *nodes = lua_newuserdatauv(L, (size_t)(count ? count : 1) * sizeof *nodes, 0);
  for (int i = 0; i < count; i++) {
    lua_geti(L, 3, i + 1);
    orr_tensor *tensor = lua_test_tensor(L, -1);
    nodes[i] = tensor ? orr_parameter_within(graph->graph, tensor, orr_net_level(net))
                      : lua_to_node(L, lua_gettop(L), graph);
    if (nodes[i] == ORR_NONE) lua_raise(L);
    lua_pop(L, 1);
  }
  return nodes;
}

static int apply_symbol(lua_State *L) {
  orr_net *net = lua_check_net(L, 1);
  lua_settop(L, 3);
  lua_graph *graph = lua_target_graph(L, 2, 3);
  orr_node x = lua_to_node(L, 2, graph);
  const orr_node *parameters = parameter_nodes(L, net, graph);
  return lua_push_symbol(L, graph, orr_net_apply(net, graph->graph, x, parameters));
}

/* Whether a value at index is traced: a symbol, or a list with one. */
static bool traced(lua_State *L, int index) {
  if (lua_test_symbol(L, index)) return true;
  if (lua_type(L, index) != LUA_TTABLE) return false;
  if (lua_getmetatable(L, index)) { /* a record, say */
    lua_pop(L, 1);
    return false;
  }
  bool found = false;
  lua_Integer count = luaL_len(L, index);
  for (lua_Integer i = 1; i <= count && !found; i++) {
    lua_geti(L, index, i);
    found = lua_test_symbol(L, -1) != NULL;
    lua_pop(L, 1);
  }
  return found;
}

/* net(x [, parameters]); upvalue 1: the module table. */
static int call(lua_State *L) {
  lua_settop(L, 3);
  if (traced(L, 2) || traced(L, 3)) return apply_symbol(L);
  lua_getfield(L, lua_upvalueindex(1), "nn");
  lua_getfield(L, -1, "run");
  lua_insert(L, 1);
  lua_pop(L, 1);
  lua_call(L, 3, 1);
  return 1;
}

/* ---- the rest ---- */

/*** net:parameters(): the list of its tensors, and the list of their names: "linear1.weight" of
inputs x outputs, "linear1.bias" ..., with the member axis in front in an ensemble. They are the
net's own: what is written to them changes the net. */
static int parameters(lua_State *L) {
  orr_net *net = lua_check_net(L, 1);
  int count = orr_net_parameters(net);
  lua_createtable(L, count, 0);
  lua_createtable(L, count, 0);
  for (int i = 0; i < count; i++) {
    lua_handle *handle = lua_new_handle(L, &lua_tensor_class);
    lua_fill(L, handle, orr_tensor_retain(orr_net_parameter(net, i)));
    lua_seti(L, -3, i + 1);
    lua_pushstring(L, orr_net_parameter_name(net, i));
    lua_seti(L, -2, i + 1);
  }
  return 2;
}

/*** net:copy(): a net with parameters of its own, equal to this one's. */
static int copy(lua_State *L) {
  orr_net *net = lua_check_net(L, 1);
  lua_handle *handle = lua_new_handle(L, &lua_net_class);
  return lua_fill(L, handle, orr_net_copy(net));
}

/*** net:save(path): writes its parameters as safetensors, whole or not at all. */
static int save(lua_State *L) {
  lua_check_status(L, orr_net_save(lua_check_net(L, 1), luaL_checkstring(L, 2)));
  lua_settop(L, 1);
  return 1;
}

/*** net:load(path): reads what net:save wrote. The file is checked as a whole first; if any name or
shape differs, or a value is not finite, it is refused and the net stays as it was. */
static int load(lua_State *L) {
  lua_check_status(L, orr_net_load(lua_check_net(L, 1), luaL_checkstring(L, 2)));
  lua_settop(L, 1);
  return 1;
}

/*** net:members(): how many members the ensemble has; 1 for a single net. */
static int members(lua_State *L) {
  lua_pushinteger(L, orr_net_members(lua_check_net(L, 1)));
  return 1;
}

/*** net:level(): "uniform", or "member" for an ensemble. */
static int level(lua_State *L) {
  lua_pushstring(L, orr_net_level(lua_check_net(L, 1)) == ORR_MEMBER ? "member" : "uniform");
  return 1;
}

static int push_shape(lua_State *L, int axes, const int64_t *shape) {
  lua_createtable(L, axes, 0);
  for (int i = 0; i < axes; i++) {
    lua_pushinteger(L, (lua_Integer)shape[i]);
    lua_seti(L, -2, i + 1);
  }
  return 1;
}

/*** net:shapes(): the shape of its input and that of its output, as lists. */
static int shapes(lua_State *L) {
  orr_net *net = lua_check_net(L, 1);
  push_shape(L, orr_net_input_axes(net), orr_net_input_shape(net));
  push_shape(L, orr_net_output_axes(net), orr_net_output_shape(net));
  return 2;
}

static int text(lua_State *L) {
  orr_net *net = lua_check_net(L, 1);
  int64_t numbers = 0;
  for (int i = 0; i < orr_net_parameters(net); i++)
    numbers += orr_tensor_count(orr_net_parameter(net, i));
  luaL_Buffer buffer;
  luaL_buffinit(L, &buffer);
  luaL_addstring(&buffer, "net: ");
  for (int i = 0; i < orr_net_layers(net); i++) {
    const orr_layer *layer = orr_net_layer(net, i);
    if (i) luaL_addstring(&buffer, ", ");
    if (layer->kind == ORR_LAYER_activation) {
      luaL_addstring(&buffer, orr_op_name(layer->op));
      continue;
    }
    luaL_addstring(&buffer, orr_layer_name(layer->kind));
    if (layer->kind != ORR_LAYER_linear) continue;
    char size[32];
    lua_Integer outputs = (lua_Integer)layer->outputs;
    snprintf(size, sizeof size, " %lld", (long long)outputs);
    luaL_addstring(&buffer, size);
  }
  char tail[96];
  snprintf(tail, sizeof tail, "; %lld parameters", (long long)numbers);
  luaL_addstring(&buffer, tail);
  if (orr_net_members(net) > 1) {
    snprintf(tail, sizeof tail, " in %d members", orr_net_members(net));
    luaL_addstring(&buffer, tail);
  }
  luaL_pushresult(&buffer);
  return 1;
}

/* orrery.checkpoint.save(path, names, tensors) and load: upvalue 1 says which. */
static int checkpoint(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  luaL_checktype(L, 3, LUA_TTABLE);
  lua_settop(L, 3);
  int count = (int)luaL_len(L, 2);
  luaL_argcheck(L, count >= 0 && count == (int)luaL_len(L, 3), 3,
                "as many tensors as names are needed");
  const char **names = lua_newuserdatauv(L, (size_t)(count + 1) * sizeof *names, 0);
  orr_tensor **tensors = lua_newuserdatauv(L, (size_t)(count + 1) * sizeof *tensors, 0);
  for (int i = 0; i < count; i++) { /* both lists keep their entries alive */
    if (lua_geti(L, 2, i + 1) != LUA_TSTRING) luaL_error(L, "checkpoint: names must be texts");
    names[i] = lua_tostring(L, -1);
    lua_geti(L, 3, i + 1);
    tensors[i] = lua_check_tensor(L, -1);
    lua_pop(L, 2);
  }
  bool saves = lua_toboolean(L, lua_upvalueindex(1));
  orr_engine *engine = lua_engine(L);
  lua_check_status(L, saves ? orr_checkpoint_save(engine, path, count, names, tensors)
                            : orr_checkpoint_load(engine, path, count, names, tensors));
  return 0;
}

static const luaL_Reg methods[] = {
    {"parameters", parameters}, {"copy", copy},   {"save", save},     {"load", load},
    {"members", members},       {"level", level}, {"shapes", shapes}, {NULL, NULL}};
static const luaL_Reg metamethods[] = {{"__tostring", text}, {NULL, NULL}};

const lua_class lua_net_class = {"orrery.net", "net", free_net, methods, metamethods};

void open_net(lua_State *L, int module) {
  static const luaL_Reg functions[] = {{"net", new_net}, {NULL, NULL}};
  lua_new_class(L, &lua_net_class);
  lua_add_functions(L, module, functions);
  luaL_getmetatable(L, lua_net_class.name);
  lua_pushvalue(L, module);
  lua_pushcclosure(L, call, 1);
  lua_setfield(L, -2, "__call");
  lua_pop(L, 1);
  lua_createtable(L, 0, 2);
  for (int saves = 0; saves < 2; saves++) {
    lua_pushboolean(L, saves);
    lua_pushcclosure(L, checkpoint, 1);
    lua_setfield(L, -2, saves ? "save" : "load");
  }
  lua_setfield(L, module, "checkpoint");
}
