/* optimiser_adamw.c - Adam, the parameters shrinking on their own (Loshchilov and Hutter 2017):
   p = p (1 - rate decay), then Adam's step. */
#include "nn/adam.h"

static orr_node step(const orr_optimiser_options *options, orr_graph *g,
                     const optimiser_group *group, orr_node p, orr_node gradient, double decay,
                     orr_node *state) {
  if (decay > 0) {
    orr_node keep = nn_sub(g, orr_number(g, 1), nn_scale(g, decay, group->rate));
    p = nn_mul(g, keep, p);
  }
  return adam_move(options, g, group, p, gradient, state);
}

const optimiser_type optimiser_adamw = {2, {"first", "second"}, adam_prepare, step};
