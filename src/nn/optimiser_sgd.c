/* optimiser_sgd.c - gradient descent, as torch.optim.SGD:

     b = momentum b + g,  g = g + momentum b (Nesterov) or b,  p = p - rate g

   A skipped update must leave b alone: b = b + alive ((momentum - 1) b + g). */
#include "nn/nn.h"

static void prepare(const orr_optimiser_options *options, orr_graph *g, optimiser_group *group) {
  group->extra[0] = nn_scale(g, options->momentum - 1, group->alive);
}

static orr_node step(const orr_optimiser_options *options, orr_graph *g,
                     const optimiser_group *group, orr_node p, orr_node gradient, double decay,
                     orr_node *state) {
  if (decay > 0) gradient = nn_add(g, gradient, nn_scale(g, decay, p));
  if (options->momentum > 0) {
    orr_node fresh = nn_mul(g, group->alive, gradient);
    state[0] = nn_add(g, state[0], nn_add(g, nn_mul(g, group->extra[0], state[0]), fresh));
    gradient = options->nesterov ? nn_add(g, gradient, nn_scale(g, options->momentum, state[0]))
                                 : state[0];
  }
  return nn_sub(g, p, nn_mul(g, group->rate, gradient));
}

const optimiser_type optimiser_sgd = {1, {"velocity"}, prepare, step};
