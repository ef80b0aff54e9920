/* net.c - a chain of layers and the tensors they own. */
#include <stdio.h>
#include <string.h>

#include "nn/nn.h"

typedef struct owned_parameter {
  char name[48];
  orr_tensor *tensor;
} owned_parameter;

struct orr_net {
  atomic_int references;
  orr_engine *engine;
  int members, layers, parameters;
  orr_layer *layer;
  int *first; /* [layers]: each layer's first parameter */
  owned_parameter *parameter;
  int input_axes, output_axes;
  int64_t input_shape[ORR_AXES], output_shape[ORR_AXES];
};

void orr_net_free(orr_net *net) {
  if (!net || atomic_fetch_sub(&net->references, 1) > 1) return;
  orr_engine *engine = net->engine;
  for (int i = 0; i < net->parameters; i++) orr_tensor_free(net->parameter[i].tensor);
  engine_free_memory(engine, net->parameter);
  engine_free_memory(engine, net->first);
  engine_free_memory(engine, net->layer);
  engine_free_memory(engine, net);
  orr_engine_free(engine);
}

orr_net *orr_net_retain(orr_net *net) {
  if (net) atomic_fetch_add(&net->references, 1);
  return net;
}

/* A net without parameters yet, but with room for them. */
static orr_net *empty_net(orr_engine *engine, int layers, const orr_layer *layer, int members) {
  orr_net *net = engine_new_zeroed(engine, 1, sizeof *net);
  if (!net) return NULL;
  atomic_init(&net->references, 1);
  net->engine = orr_engine_retain(engine);
  net->members = members > 1 ? members : 1;
  net->layers = layers;
  net->layer = engine_new(engine, (size_t)layers, sizeof *net->layer);
  net->first = engine_new_zeroed(engine, (size_t)layers, sizeof *net->first);
  net->parameter =
      engine_new_zeroed(engine, (size_t)layers * LAYER_PARAMETERS, sizeof *net->parameter);
  if (!net->layer || !net->first || !net->parameter) {
    orr_net_free(net);
    return NULL;
  }
  memcpy(net->layer, layer, (size_t)layers * sizeof *layer);
  return net;
}

static orr_status make_parameter(orr_net *net, const char *name, const layer_parameter *p) {
  owned_parameter *to = &net->parameter[net->parameters];
  int64_t shape[ORR_AXES];
  int axes = 0;
  if (net->members > 1) shape[axes++] = net->members;
  for (int i = 0; i < p->axes; i++) shape[axes++] = p->shape[i];
  snprintf(to->name, sizeof to->name, "%s.%s", name, p->name);
  to->tensor = orr_tensor_new(net->engine, ORR_REAL, axes, shape);
  if (!to->tensor) return orr_engine_status(net->engine);
  net->parameters++;
  return ORR_OK;
}

/* One past the layer's last parameter. */
static int first_after(const orr_net *net, int layer) {
  return layer + 1 < net->layers ? net->first[layer + 1] : net->parameters;
}

/* Member by member, so that member 1 of an ensemble starts as a single net from the same seed. */
static orr_status initialise_layer(orr_net *net, int index, int member, orr_random *random) {
  const layer_type *type = layer_type_of(net->layer[index].kind);
  int first = net->first[index], count = first_after(net, index) - first;
  orr_tensor *own[LAYER_PARAMETERS] = {NULL};
  orr_status status = ORR_OK;
  for (int i = 0; i < count && !status; i++) {
    orr_tensor *tensor = net->parameter[first + i].tensor;
    own[i] = net->members > 1 ? orr_tensor_at(tensor, 0, member) : orr_tensor_retain(tensor);
    if (!own[i]) status = orr_engine_status(net->engine);
  }
  if (!status) status = type->initialise(&net->layer[index], own, random);
  for (int i = 0; i < count; i++) orr_tensor_free(own[i]);
  return status;
}

static orr_status make_layers(orr_net *net, layer_plan *plan) {
  int of_kind[ORR_LAYER_COUNT] = {0};
  for (int i = 0; i < net->layers; i++) {
    const orr_layer *layer = &net->layer[i];
    const layer_type *type = layer_type_of(layer->kind);
    if (!type) return engine_fail(net->engine, ORR_ARGUMENT, "layer %d is of no known kind", i + 1);
    char name[32];
    snprintf(name, sizeof name, "%s%d", orr_layer_name(layer->kind), ++of_kind[layer->kind]);
    plan->count = 0;
    orr_status status = type->prepare(net->engine, layer, plan);
    if (status)
      return engine_fail_in(net->engine, "layer %d (%s)", i + 1, orr_layer_name(layer->kind));
    net->first[i] = net->parameters;
    for (int j = 0; j < plan->count; j++)
      if ((status = make_parameter(net, name, &plan->parameters[j]))) return status;
  }
  return ORR_OK;
}

orr_net *orr_net_new(orr_engine *engine, int input_axes, const int64_t *input_shape, int count,
                     const orr_layer *layers, int members, orr_random *random) {
  if (!engine) return NULL;
  if (count < 1 || members < 0 || input_axes < 0 || input_axes > ORR_AXES - 1) {
    engine_fail(engine, ORR_ARGUMENT,
                "a net needs a layer (%d given), at least 0 members (%d) and 0 to %d axes (%d)",
                count, members, ORR_AXES - 1, input_axes);
    return NULL;
  }
  orr_net *net = empty_net(engine, count, layers, members);
  if (!net) return NULL;
  layer_plan plan = {.axes = input_axes};
  net->input_axes = input_axes;
  for (int i = 0; i < input_axes; i++) net->input_shape[i] = plan.shape[i] = input_shape[i];
  orr_status status = make_layers(net, &plan);
  net->output_axes = plan.axes;
  memcpy(net->output_shape, plan.shape, sizeof plan.shape);
  for (int m = 0; m < net->members && !status; m++)
    for (int i = 0; i < count && !status; i++)
      if (layer_type_of(layers[i].kind)->initialise) status = initialise_layer(net, i, m, random);
  if (!status) return net;
  orr_net_free(net);
  return NULL;
}

orr_net *orr_net_copy(const orr_net *net) {
  if (!net) return NULL;
  orr_net *copy = empty_net(net->engine, net->layers, net->layer, net->members);
  if (!copy) return NULL;
  copy->input_axes = net->input_axes;
  copy->output_axes = net->output_axes;
  memcpy(copy->input_shape, net->input_shape, sizeof net->input_shape);
  memcpy(copy->output_shape, net->output_shape, sizeof net->output_shape);
  memcpy(copy->first, net->first, (size_t)net->layers * sizeof *net->first);
  for (int i = 0; i < net->parameters; i++) {
    copy->parameter[i] = net->parameter[i];
    copy->parameter[i].tensor = orr_tensor_copy(net->parameter[i].tensor);
    if (!copy->parameter[i].tensor) {
      orr_net_free(copy);
      return NULL;
    }
    copy->parameters++;
  }
  return copy;
}

orr_engine *orr_net_engine(const orr_net *net) { return net ? net->engine : NULL; }
int orr_net_members(const orr_net *net) { return net ? net->members : 0; }
orr_level orr_net_level(const orr_net *net) {
  return net && net->members > 1 ? ORR_MEMBER : ORR_UNIFORM;
}
int orr_net_layers(const orr_net *net) { return net ? net->layers : 0; }
int orr_net_input_axes(const orr_net *net) { return net ? net->input_axes : 0; }
const int64_t *orr_net_input_shape(const orr_net *net) { return net ? net->input_shape : NULL; }
int orr_net_output_axes(const orr_net *net) { return net ? net->output_axes : 0; }
const int64_t *orr_net_output_shape(const orr_net *net) { return net ? net->output_shape : NULL; }
int orr_net_parameters(const orr_net *net) { return net ? net->parameters : 0; }

const orr_layer *orr_net_layer(const orr_net *net, int index) {
  return net && index >= 0 && index < net->layers ? &net->layer[index] : NULL;
}

const char *orr_net_parameter_name(const orr_net *net, int index) {
  return net && index >= 0 && index < net->parameters ? net->parameter[index].name : NULL;
}

orr_tensor *orr_net_parameter(const orr_net *net, int index) {
  return net && index >= 0 && index < net->parameters ? net->parameter[index].tensor : NULL;
}

orr_node orr_parameter_within(orr_graph *graph, orr_tensor *tensor, orr_level level) {
  orr_graph *parent = orr_graph_parent(graph);
  if (!parent) return orr_parameter(graph, tensor, level);
  return orr_scan_capture(graph, orr_parameter_within(parent, tensor, level));
}

/* x must end in the net's input shape: nothing is broadcast silently. */
static bool input_fits(const orr_net *net, orr_graph *graph, orr_node x) {
  int axes = orr_node_axes(graph, x), extra = axes - net->input_axes;
  const int64_t *shape = orr_node_shape(graph, x);
  bool fits = extra >= 0;
  for (int i = 0; fits && i < net->input_axes; i++) fits = shape[extra + i] == net->input_shape[i];
  if (fits) return true;
  char wanted[NN_SHAPE_TEXT], given[NN_SHAPE_TEXT];
  engine_fail(net->engine, ORR_SHAPE, "the net takes %s, not %s",
              nn_shape_text(wanted, net->input_axes, net->input_shape),
              nn_shape_text(given, axes, shape));
  return false;
}

static bool parameters_fit(const orr_net *net, orr_graph *graph, const orr_node *parameters) {
  for (int i = 0; i < net->parameters; i++) {
    if (parameters[i] == ORR_NONE) return false;
    const orr_tensor *own = net->parameter[i].tensor;
    int skip = net->members > 1, axes = orr_tensor_axes(own) - skip;
    const int64_t *shape = orr_tensor_shape(own) + skip,
                  *given = orr_node_shape(graph, parameters[i]);
    bool fits = orr_node_axes(graph, parameters[i]) == axes;
    for (int j = 0; fits && j < axes; j++) fits = given[j] == shape[j];
    if (fits) continue;
    char wanted[NN_SHAPE_TEXT], other[NN_SHAPE_TEXT];
    engine_fail(net->engine, ORR_SHAPE, "the net's %s is %s, not %s", net->parameter[i].name,
                nn_shape_text(wanted, axes, shape),
                nn_shape_text(other, orr_node_axes(graph, parameters[i]), given));
    return false;
  }
  return true;
}

orr_node orr_net_apply(const orr_net *net, orr_graph *graph, orr_node x,
                       const orr_node *parameters) {
  if (!net || !graph || x == ORR_NONE || !input_fits(net, graph, x)) return ORR_NONE;
  if (parameters && !parameters_fit(net, graph, parameters)) return ORR_NONE;
  orr_level level = orr_net_level(net);
  for (int i = 0; i < net->layers && x != ORR_NONE; i++) {
    int first = net->first[i], last = first_after(net, i);
    orr_node nodes[LAYER_PARAMETERS];
    for (int j = first; j < last; j++)
      nodes[j - first] =
          parameters ? parameters[j] : orr_parameter_within(graph, net->parameter[j].tensor, level);
    x = layer_type_of(net->layer[i].kind)->apply(&net->layer[i], graph, x, nodes);
  }
  return x;
}
