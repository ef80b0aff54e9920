/* optimiser_adam.c - Adam (Kingma and Ba 2014), as torch.optim.Adam computes it:

     m = m + (1 - b1) (g - m)        v = v + (1 - b2) (g^2 - v)
     p = p - rate / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + epsilon)

   A skipped update has rate, 1 - b1 and 1 - b2 multiplied by 0, which leaves p, m and v as they are
   to the bit, for a few operations on single numbers instead of a select per parameter. */
#include <math.h>

#include "nn/adam.h"

enum { M_SHARE, V_SHARE, SIZE, ROOT }; /* of optimiser_group.extra */

/* 1 - beta^t, accurate where beta^t is near 1: float32 holds neither 0.999 nor 0.999^2 well. */
static orr_node bias_correction(orr_graph *g, double beta, orr_node t) {
  if (beta == 0) return orr_number(g, 1);
  return orr_unary(g, ORR_OP_neg, orr_unary(g, ORR_OP_expm1, nn_scale(g, log(beta), t)));
}

void adam_prepare(const orr_optimiser_options *options, orr_graph *g, optimiser_group *group) {
  group->extra[M_SHARE] = nn_scale(g, 1 - options->beta1, group->alive);
  group->extra[V_SHARE] = nn_scale(g, 1 - options->beta2, group->alive);
  group->extra[SIZE] = nn_div(g, group->rate, bias_correction(g, options->beta1, group->number));
  group->extra[ROOT] =
      orr_unary(g, ORR_OP_reciprocal,
                orr_unary(g, ORR_OP_sqrt, bias_correction(g, options->beta2, group->number)));
}

orr_node adam_move(const orr_optimiser_options *options, orr_graph *g, const optimiser_group *group,
                   orr_node p, orr_node gradient, orr_node *state) {
  orr_node m = state[0], v = state[1];
  m = nn_add(g, m, nn_mul(g, group->extra[M_SHARE], nn_sub(g, gradient, m)));
  v = nn_add(g, v,
             nn_mul(g, group->extra[V_SHARE], nn_sub(g, orr_unary(g, ORR_OP_square, gradient), v)));
  orr_node root = nn_mul(g, group->extra[ROOT], orr_unary(g, ORR_OP_sqrt, v));
  orr_node direction = nn_div(g, m, nn_add(g, root, orr_number(g, options->epsilon)));
  state[0] = m;
  state[1] = v;
  return nn_sub(g, p, nn_mul(g, group->extra[SIZE], direction));
}

static orr_node step(const orr_optimiser_options *options, orr_graph *g,
                     const optimiser_group *group, orr_node p, orr_node gradient, double decay,
                     orr_node *state) {
  if (decay > 0) gradient = nn_add(g, gradient, nn_scale(g, decay, p));
  return adam_move(options, g, group, p, gradient, state);
}

const optimiser_type optimiser_adam = {2, {"first", "second"}, adam_prepare, step};
