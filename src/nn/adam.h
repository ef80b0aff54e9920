/* adam.h - what Adam and AdamW share. */
#ifndef NN_ADAM_H
#define NN_ADAM_H

#include "nn/nn.h"

void adam_prepare(const orr_optimiser_options *options, orr_graph *graph, optimiser_group *group);
/* p - rate * mhat / (sqrt(vhat) + epsilon); state[] = m, v. */
orr_node adam_move(const orr_optimiser_options *options, orr_graph *graph,
                   const optimiser_group *group, orr_node parameter, orr_node gradient,
                   orr_node *state);

#endif
