/* schedule.c - the learning rate over the updates k = 0, 1, 2 ..., as a factor.

   warmup    (k + 1) / warmup until it is 1; the rest counts from there
   linear    1 + (final - 1) p,                          p = min(k / steps, 1)
   cosine    final + (1 - final) (1 + cos(pi p)) / 2     (Loshchilov and Hutter 2016) */
#include "nn/nn.h"

static orr_node least(orr_graph *g, orr_node x, double most) {
  return orr_binary(g, ORR_OP_min, x, orr_number(g, most));
}

static orr_node decay(const orr_optimiser_options *options, orr_graph *g, orr_node k) {
  orr_node part = least(g, nn_scale(g, 1 / (double)options->steps, k), 1);
  if (options->schedule == ORR_SCHEDULE_LINEAR)
    return nn_add(g, orr_number(g, 1), nn_scale(g, options->final - 1, part));
  orr_node half =
      nn_scale(g, 0.5, orr_unary(g, ORR_OP_cos, nn_scale(g, 3.14159265358979323846, part)));
  return nn_add(g, orr_number(g, options->final),
                nn_scale(g, 1 - options->final, nn_add(g, half, orr_number(g, 0.5))));
}

orr_node schedule_factor(const orr_optimiser_options *options, orr_graph *g, orr_node k) {
  orr_node factor = orr_number(g, 1);
  if (options->warmup > 0) {
    double warmup = (double)options->warmup;
    factor = least(g, nn_scale(g, 1 / warmup, nn_add(g, k, orr_number(g, 1))), 1);
    k = orr_binary(g, ORR_OP_max, nn_sub(g, k, orr_number(g, warmup)), orr_number(g, 0));
  }
  if (options->schedule == ORR_SCHEDULE_CONSTANT) return factor;
  return nn_mul(g, factor, decay(options, g, k));
}
