/* layer_linear.c - y = x W + b on the last axis; W is [inputs, outputs]. */
#include <math.h>

#include "nn/nn.h"

static orr_status prepare(orr_engine *engine, const orr_layer *layer, layer_plan *plan) {
  if (layer->outputs < 1)
    return engine_fail(engine, ORR_ARGUMENT, "needs at least one output, not %lld",
                       (long long)layer->outputs);
  if (plan->axes < 1)
    return engine_fail(engine, ORR_SHAPE, "needs a vector, its input is a number");
  int64_t inputs = plan->shape[plan->axes - 1];
  plan->parameters[plan->count++] = (layer_parameter){"weight", 2, {inputs, layer->outputs}};
  if (!layer->no_bias)
    plan->parameters[plan->count++] = (layer_parameter){"bias", 1, {layer->outputs}};
  plan->shape[plan->axes - 1] = layer->outputs;
  return ORR_OK;
}

static orr_status initialise(const orr_layer *layer, orr_tensor *const *parameters,
                             orr_random *random) {
  orr_tensor *weight = parameters[0], *bias = layer->no_bias ? NULL : parameters[1];
  int64_t inputs = orr_tensor_shape(weight)[orr_tensor_axes(weight) - 2];
  double gain = layer->gain != 0 ? layer->gain : 1,
         size = gain / sqrt(inputs > 0 ? (double)inputs : 1);
  switch (layer->init) {
  case ORR_INIT_normal: return orr_init_normal(weight, random, 0, size);
  case ORR_INIT_truncated_normal:
    return orr_init_truncated_normal(weight, random, 0, 0.5 * size, -size, size);
  case ORR_INIT_orthogonal: return orr_init_orthogonal(weight, random, gain);
  case ORR_INIT_zero: return orr_tensor_fill(weight, 0);
  default: break;
  }
  orr_status status = orr_init_uniform(weight, random, -size, size);
  return status || !bias ? status : orr_init_uniform(bias, random, -size / gain, size / gain);
}

static orr_node apply(const orr_layer *layer, orr_graph *graph, orr_node x,
                      const orr_node *parameters) {
  orr_node y = orr_matmul(graph, x, parameters[0]);
  return layer->no_bias ? y : nn_add(graph, y, parameters[1]);
}

const layer_type layer_linear = {prepare, initialise, apply};
