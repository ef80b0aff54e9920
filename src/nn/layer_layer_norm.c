/* layer_layer_norm.c - y = (x - mean) / sqrt(variance + epsilon) * scale + offset, over the last
   axis (Ba et al. 2016). */
#include "nn/nn.h"

static orr_status prepare(orr_engine *engine, const orr_layer *layer, layer_plan *plan) {
  if (plan->axes < 1)
    return engine_fail(engine, ORR_SHAPE, "needs a vector, its input is a number");
  if (layer->epsilon < 0)
    return engine_fail(engine, ORR_ARGUMENT, "needs an epsilon above 0, not %g", layer->epsilon);
  int64_t features = plan->shape[plan->axes - 1];
  plan->parameters[plan->count++] = (layer_parameter){"scale", 1, {features}};
  plan->parameters[plan->count++] = (layer_parameter){"offset", 1, {features}};
  return ORR_OK;
}

static orr_status initialise(const orr_layer *layer, orr_tensor *const *parameters,
                             orr_random *random) {
  (void)layer;
  (void)random;
  orr_status status = orr_tensor_fill(parameters[0], 1);
  return status ? status : orr_tensor_fill(parameters[1], 0);
}

static orr_node apply(const orr_layer *layer, orr_graph *graph, orr_node x,
                      const orr_node *parameters) {
  double epsilon = layer->epsilon > 0 ? layer->epsilon : 1e-5;
  orr_node centred = nn_sub(graph, x, orr_mean(graph, x, -1, true));
  orr_node variance = orr_mean(graph, orr_unary(graph, ORR_OP_square, centred), -1, true);
  orr_node deviation =
      orr_unary(graph, ORR_OP_sqrt, nn_add(graph, variance, orr_number(graph, epsilon)));
  return nn_add(graph, nn_mul(graph, nn_div(graph, centred, deviation), parameters[0]),
                parameters[1]);
}

const layer_type layer_layer_norm = {prepare, initialise, apply};
