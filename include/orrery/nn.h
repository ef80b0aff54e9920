/* nn.h - nets and their training, as builders of graphs.

   A net is a chain of layers and the named parameter tensors they own; applying it adds ops to a
   graph. An ensemble is a net whose every parameter has a member axis in front and is read at
   ORR_MEMBER. An optimiser owns its state tensors and adds the update of every parameter to a graph
   that already has the gradients, so a whole training step is one compiled program:

     orr_node loss = orr_row_mean(graph, row_loss, ORR_UNIFORM);
     orr_gradient(graph, loss, count, parameters, gradients);
     orr_optimiser_build(optimiser, graph, gradients); */
#ifndef ORR_NN_H
#define ORR_NN_H

#include "orrery/program.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- initialisers ----
   Fill a tensor of reals, drawing from the stream. Axes before the last two are separate matrices
   (the members of an ensemble); a weight is [inputs, outputs]. */
ORR_API orr_status orr_init_uniform(orr_tensor *x, orr_random *random, double low, double high);
ORR_API orr_status orr_init_normal(orr_tensor *x, orr_random *random, double mean,
                                   double deviation);
/* Redraws what falls outside low .. high (in the units of x). */
ORR_API orr_status orr_init_truncated_normal(orr_tensor *x, orr_random *random, double mean,
                                             double deviation, double low, double high);
/* Rows or columns, whichever are fewer, are orthogonal and of length `gain` (Saxe et al. 2013). */
ORR_API orr_status orr_init_orthogonal(orr_tensor *x, orr_random *random, double gain);

/* How a linear layer's weight starts; see src/nn/inits.def for each. */
typedef enum orr_init {
#define INIT(name, ...) ORR_INIT_##name,
#include "orrery/inits.def"
#undef INIT
  ORR_INIT_COUNT
} orr_init;
ORR_API const char *orr_init_name(orr_init init); /* NULL past the end */
ORR_API const char *orr_init_doc(orr_init init);

/* ---- layers ---- */
typedef enum orr_layer_kind {
#define LAYER(name, ...) ORR_LAYER_##name,
#include "orrery/layers.def"
#undef LAYER
  ORR_LAYER_COUNT
} orr_layer_kind;
ORR_API const char *orr_layer_name(orr_layer_kind kind); /* NULL past the end */
ORR_API const char *orr_layer_doc(orr_layer_kind kind);

/* Zeros give every default. */
typedef struct orr_layer {
  orr_layer_kind kind;
  int64_t outputs; /* linear */
  bool no_bias;    /* linear */
  orr_init init;   /* linear */
  double gain;     /* linear: factor on the initial weight; 0: 1 */
  orr_op op;       /* activation: any unary op */
  double epsilon;  /* layer_norm: added to the variance; 0: 1e-5 */
} orr_layer;

/* ---- nets ---- */
typedef struct orr_net orr_net;

/* members: 0 or 1 for a single net; more make an ensemble. The stream is advanced; each member
   starts from draws of its own. */
ORR_API orr_net *orr_net_new(orr_engine *engine, int input_axes, const int64_t *input_shape,
                             int count, const orr_layer *layers, int members, orr_random *random);
ORR_API orr_net *orr_net_retain(orr_net *net);
ORR_API void orr_net_free(orr_net *net); /* drops one hold; accepts NULL */
/* A net with parameters of its own, equal to this one's. */
ORR_API orr_net *orr_net_copy(const orr_net *net);

ORR_API orr_engine *orr_net_engine(const orr_net *net);
ORR_API int orr_net_members(const orr_net *net); /* at least 1 */
ORR_API orr_level orr_net_level(const orr_net *net);
ORR_API int orr_net_layers(const orr_net *net);
ORR_API const orr_layer *orr_net_layer(const orr_net *net, int index);
ORR_API int orr_net_input_axes(const orr_net *net);
ORR_API const int64_t *orr_net_input_shape(const orr_net *net);
ORR_API int orr_net_output_axes(const orr_net *net);
ORR_API const int64_t *orr_net_output_shape(const orr_net *net);

/* Parameters in order: "linear1.weight" [inputs, outputs], "linear1.bias" ..., each with the member
   axis in front in an ensemble. */
ORR_API int orr_net_parameters(const orr_net *net);
ORR_API const char *orr_net_parameter_name(const orr_net *net, int index);
ORR_API orr_tensor *orr_net_parameter(const orr_net *net, int index); /* lent */

/* The net's output for x. parameters: NULL for the net's own, or orr_net_parameters() nodes of the
   same shapes (fast weights, a target network). x may have further axes in front. */
ORR_API orr_node orr_net_apply(const orr_net *net, orr_graph *graph, orr_node x,
                               const orr_node *parameters);
/* orr_parameter, also inside the body of a scan. */
ORR_API orr_node orr_parameter_within(orr_graph *graph, orr_tensor *tensor, orr_level level);

/* ---- checkpoints ----
   safetensors files, written whole or not at all. Loading reads aside and compares every name, type
   and shape; anything missing, unknown, of another shape or not finite is refused with the names,
   both shapes and the file, and nothing has changed. Then the values go into the given tensors. */
ORR_API orr_status orr_checkpoint_save(orr_engine *engine, const char *path, int count,
                                       const char *const *names, orr_tensor *const *tensors);
ORR_API orr_status orr_checkpoint_load(orr_engine *engine, const char *path, int count,
                                       const char *const *names, orr_tensor *const *tensors);
ORR_API orr_status orr_net_save(const orr_net *net, const char *path);
ORR_API orr_status orr_net_load(orr_net *net, const char *path);

/* ---- optimisers ---- */
typedef enum orr_optimiser_kind {
#define OPTIMISER(name, ...) ORR_OPTIMISER_##name,
#include "orrery/optimisers.def"
#undef OPTIMISER
  ORR_OPTIMISER_COUNT
} orr_optimiser_kind;
ORR_API const char *orr_optimiser_name(orr_optimiser_kind kind); /* NULL past the end */
ORR_API const char *orr_optimiser_doc(orr_optimiser_kind kind);

/* The learning rate as a factor of the update's number k = 0, 1, 2 ... */
typedef enum orr_schedule {
  ORR_SCHEDULE_CONSTANT, /* 1 */
  ORR_SCHEDULE_LINEAR,   /* straight from 1 to `final` over `steps`, then `final` */
  ORR_SCHEDULE_COSINE    /* half a cosine from 1 to `final` over `steps`, then `final` */
} orr_schedule;

typedef struct orr_optimiser_options {
  size_t size; /* of this struct, set by _defaults */
  orr_optimiser_kind kind;
  double learning_rate;
  double momentum;              /* sgd */
  bool nesterov;                /* sgd */
  double beta1, beta2, epsilon; /* adam, adamw */
  double weight_decay;
  bool decay_vectors; /* false: only parameters with two or more axes decay, not biases */
  double clip;        /* greatest Euclidean length of all gradients together; 0: none */
  orr_schedule schedule;
  int64_t warmup; /* updates over which the factor climbs to 1, before the schedule starts */
  int64_t steps;  /* of the schedule, without the warmup */
  double final;   /* factor at its end */
} orr_optimiser_options;

/* Adam, with the defaults of PyTorch. */
ORR_API orr_optimiser_options orr_optimiser_options_defaults(void);

typedef struct orr_optimiser orr_optimiser;

/* Parameters at ORR_UNIFORM and those at ORR_MEMBER are two groups. Clipping, skipping and counting
   go by group, within ORR_MEMBER by member: members are nets that do not know of each other. */
ORR_API orr_optimiser *orr_optimiser_new(orr_engine *engine, const orr_optimiser_options *options,
                                         int count, orr_tensor *const *parameters,
                                         const orr_level *levels);
ORR_API orr_optimiser *orr_optimiser_retain(orr_optimiser *optimiser);
ORR_API void orr_optimiser_free(orr_optimiser *optimiser); /* drops one hold; accepts NULL */

/* Adds orr_update of every parameter and state. gradients[i] is that of parameter i, at its level.
   Where the length of all gradients is not finite the update is skipped: parameters and moments
   stay. */
ORR_API orr_status orr_optimiser_build(orr_optimiser *optimiser, orr_graph *graph,
                                       const orr_node *gradients);

/* State, for checkpoints that resume to the bit: "uniform.step", "member.skipped", "first.3" ... */
ORR_API int orr_optimiser_states(const orr_optimiser *optimiser);
ORR_API const char *orr_optimiser_state_name(const orr_optimiser *optimiser, int index);
ORR_API orr_tensor *orr_optimiser_state(const orr_optimiser *optimiser, int index); /* lent */
/* Forgets moments, steps and counts. The factor on the learning rate stays. */
ORR_API orr_status orr_optimiser_reset(orr_optimiser *optimiser);
/* A factor on the learning rate, looked at by every update. */
ORR_API orr_status orr_optimiser_set_scale(orr_optimiser *optimiser, double scale);
/* Of any member or group: most updates skipped in a row, and all skipped since the start. */
ORR_API int64_t orr_optimiser_skipped_in_a_row(const orr_optimiser *optimiser);
ORR_API int64_t orr_optimiser_skipped(const orr_optimiser *optimiser);

#ifdef __cplusplus
}
#endif
#endif
