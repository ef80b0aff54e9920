/* layer_activation.c - a unary op on every number. */
#include "nn/nn.h"

static orr_status prepare(orr_engine *engine, const orr_layer *layer, layer_plan *plan) {
  (void)plan;
  if ((int)layer->op < 0 || layer->op >= ORR_OP_COUNT || orr_op_arity(layer->op) != 1)
    return engine_fail(engine, ORR_ARGUMENT, "needs an op of one operand, such as relu or tanh%s%s",
                       (int)layer->op >= 0 && layer->op < ORR_OP_COUNT ? ", not " : "",
                       (int)layer->op >= 0 && layer->op < ORR_OP_COUNT ? orr_op_name(layer->op)
                                                                       : "");
  return ORR_OK;
}

static orr_node apply(const orr_layer *layer, orr_graph *graph, orr_node x,
                      const orr_node *parameters) {
  (void)parameters;
  return orr_unary(graph, layer->op, x);
}

const layer_type layer_activation = {prepare, NULL, apply};
