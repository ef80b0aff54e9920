/* optimiser.c - what all optimisers share: state, the length of all gradients, clipping, skipping
   of updates that are not finite, the learning rate. Parameters of each level form a group with
   numbers of its own, in an ensemble one of each per member. */
#include <stdio.h>
#include <string.h>

#include "nn/nn.h"

#define OPTIMISER(name, doc) extern const optimiser_type optimiser_##name;
#include "orrery/optimisers.def"
#undef OPTIMISER

static const optimiser_type *const types[] = {
#define OPTIMISER(name, doc) &optimiser_##name,
#include "orrery/optimisers.def"
#undef OPTIMISER
};

static const char *const names[] = {
#define OPTIMISER(name, doc) #name,
#include "orrery/optimisers.def"
#undef OPTIMISER
};

static const char *const docs[] = {
#define OPTIMISER(name, doc) doc,
#include "orrery/optimisers.def"
#undef OPTIMISER
};

static bool known(orr_optimiser_kind kind) { return (int)kind >= 0 && kind < ORR_OPTIMISER_COUNT; }
const optimiser_type *optimiser_type_of(orr_optimiser_kind kind) {
  return known(kind) ? types[kind] : NULL;
}
const char *orr_optimiser_name(orr_optimiser_kind kind) { return known(kind) ? names[kind] : NULL; }
const char *orr_optimiser_doc(orr_optimiser_kind kind) { return known(kind) ? docs[kind] : NULL; }

/* A group's own numbers, one of each per member. */
enum { STEP, IN_A_ROW, SKIPPED, LENGTH, GROUP_STATES };
static const char *const group_states[GROUP_STATES] = {"step", "skipped_in_a_row", "skipped",
                                                       "length"};
enum { GROUPS = 2 };
static const orr_level group_level[GROUPS] = {ORR_UNIFORM, ORR_MEMBER};
static const char *const group_name[GROUPS] = {"uniform", "member"};

typedef struct state {
  char name[40];
  orr_tensor *tensor;
  bool setting; /* kept by a reset */
} state;

struct orr_optimiser {
  atomic_int references;
  orr_engine *engine;
  orr_optimiser_options options;
  const optimiser_type *type;
  int parameters, states;
  orr_tensor **parameter;
  orr_level *level;
  state *state;                          /* all of them */
  orr_tensor *scale;                     /* on the learning rate */
  orr_tensor *own[GROUPS][GROUP_STATES]; /* NULL: the group is empty */
  int first_state;                       /* of parameter 0's */
};

orr_optimiser_options orr_optimiser_options_defaults(void) {
  return (orr_optimiser_options){.size = sizeof(orr_optimiser_options),
                                 .kind = ORR_OPTIMISER_adam,
                                 .learning_rate = 1e-3,
                                 .beta1 = 0.9,
                                 .beta2 = 0.999,
                                 .epsilon = 1e-8,
                                 .decay_vectors = true};
}

void orr_optimiser_free(orr_optimiser *optimiser) {
  if (!optimiser || atomic_fetch_sub(&optimiser->references, 1) > 1) return;
  orr_engine *engine = optimiser->engine;
  for (int i = 0; i < optimiser->states; i++) orr_tensor_free(optimiser->state[i].tensor);
  for (int i = 0; optimiser->parameter && i < optimiser->parameters; i++)
    orr_tensor_free(optimiser->parameter[i]);
  engine_free_memory(engine, optimiser->state);
  engine_free_memory(engine, optimiser->level);
  engine_free_memory(engine, optimiser->parameter);
  engine_free_memory(engine, optimiser);
  orr_engine_free(engine);
}

orr_optimiser *orr_optimiser_retain(orr_optimiser *optimiser) {
  if (optimiser) atomic_fetch_add(&optimiser->references, 1);
  return optimiser;
}

static orr_status check(orr_engine *engine, const orr_optimiser_options *o) {
#define NEED(condition, name, value, range)                                                 \
  if (!(condition))                                                                         \
  return engine_fail(engine, ORR_ARGUMENT, "optimiser: %s must be %s, not %g", name, range, \
                     (double)(value))
  if (!optimiser_type_of(o->kind))
    return engine_fail(engine, ORR_ARGUMENT, "no such kind of optimiser");
  NEED(o->learning_rate >= 0 && o->learning_rate < 1e30, "learning_rate", o->learning_rate,
       "0 or more");
  NEED(o->momentum >= 0 && o->momentum < 1, "momentum", o->momentum, "in [0, 1)");
  NEED(!o->nesterov || o->momentum > 0, "momentum", o->momentum, "above 0 for nesterov");
  NEED(o->beta1 >= 0 && o->beta1 < 1, "beta1", o->beta1, "in [0, 1)");
  NEED(o->beta2 >= 0 && o->beta2 < 1, "beta2", o->beta2, "in [0, 1)");
  NEED(o->epsilon > 0 && o->epsilon < 1, "epsilon", o->epsilon, "above 0 and below 1");
  NEED(o->weight_decay >= 0 && o->weight_decay < 1e30, "weight_decay", o->weight_decay,
       "0 or more");
  NEED(o->clip >= 0 && o->clip < 1e30, "clip", o->clip, "0 (no clipping) or more");
  NEED((int)o->schedule >= 0 && o->schedule <= ORR_SCHEDULE_COSINE, "schedule", o->schedule,
       "a known one");
  NEED(o->warmup >= 0 && o->warmup < 1 << 24, "warmup", o->warmup, "0 .. 16777215");
  NEED(o->schedule == ORR_SCHEDULE_CONSTANT || (o->steps > 0 && o->steps < 1 << 24), "steps",
       o->steps, "1 .. 16777215 for this schedule");
  NEED(o->final >= 0 && o->final < 1e30, "final", o->final, "0 or more");
#undef NEED
  return ORR_OK;
}

/* A new state tensor of that shape, zero at first. */
static orr_tensor *add_state(orr_optimiser *o, bool setting, int axes, const int64_t *shape,
                             const char *format, const char *a, int number) {
  state *to = &o->state[o->states];
  if (number >= 0) snprintf(to->name, sizeof to->name, "%s.%d", a, number);
  else snprintf(to->name, sizeof to->name, "%s.%s", a, format);
  to->setting = setting;
  to->tensor = orr_tensor_new(o->engine, ORR_REAL, axes, shape);
  if (to->tensor) o->states++;
  return to->tensor;
}

/* The group's numbers; its members are the first axis of its parameters, which must agree. */
static orr_status make_group(orr_optimiser *o, int group) {
  int64_t members = 0;
  bool any = false;
  for (int i = 0; i < o->parameters; i++) {
    if (o->level[i] != group_level[group]) continue;
    if (group_level[group] == ORR_MEMBER) {
      int64_t own = orr_tensor_axes(o->parameter[i]) ? orr_tensor_shape(o->parameter[i])[0] : 0;
      if (own == 0 || (any && own != members))
        return engine_fail(o->engine, ORR_SHAPE,
                           "optimiser: parameter %d has %lld members, not %lld", i + 1,
                           (long long)own, (long long)members);
      members = own;
    }
    any = true;
  }
  for (int s = 0; any && s < GROUP_STATES; s++) {
    o->own[group][s] = add_state(o, false, group_level[group] == ORR_MEMBER, &members,
                                 group_states[s], group_name[group], -1);
    if (!o->own[group][s]) return orr_engine_status(o->engine);
  }
  return ORR_OK;
}

static orr_status make_states(orr_optimiser *o) {
  o->scale = add_state(o, true, 0, NULL, "scale", "rate", -1);
  if (!o->scale) return orr_engine_status(o->engine);
  orr_status status = orr_tensor_fill(o->scale, 1);
  for (int g = 0; g < GROUPS && !status; g++) status = make_group(o, g);
  o->first_state = o->states;
  for (int i = 0; i < o->parameters && !status; i++)
    for (int s = 0; s < o->type->states && !status; s++)
      if (!add_state(o, false, orr_tensor_axes(o->parameter[i]), orr_tensor_shape(o->parameter[i]),
                     NULL, o->type->state_names[s], i + 1))
        status = orr_engine_status(o->engine);
  return status;
}

static orr_status hold_parameters(orr_optimiser *o, orr_tensor *const *parameters,
                                  const orr_level *levels) {
  for (int i = 0; i < o->parameters; i++) {
    if (!parameters[i] || orr_tensor_dtype(parameters[i]) != ORR_REAL || levels[i] == ORR_ROW)
      return engine_fail(o->engine, ORR_ARGUMENT,
                         "optimiser: parameter %d must be a tensor of reals that rows share",
                         i + 1);
    for (int j = 0; j < i; j++)
      if (parameters[j] == parameters[i])
        return engine_fail(o->engine, ORR_ARGUMENT,
                           "optimiser: parameters %d and %d are the same tensor", j + 1, i + 1);
  }
  for (int i = 0; i < o->parameters; i++) {
    o->parameter[i] = orr_tensor_retain(parameters[i]);
    o->level[i] = levels[i];
  }
  return ORR_OK;
}

orr_optimiser *orr_optimiser_new(orr_engine *engine, const orr_optimiser_options *given, int count,
                                 orr_tensor *const *parameters, const orr_level *levels) {
  if (!engine) return NULL;
  orr_optimiser_options o = orr_optimiser_options_defaults();
  if (READ_OPTIONS(engine, orr_optimiser_options, &o, given)) return NULL;
  if (count < 1) {
    engine_fail(engine, ORR_ARGUMENT, "an optimiser needs parameters, none are given");
    return NULL;
  }
  if (check(engine, &o)) return NULL;
  orr_optimiser *made = engine_new_zeroed(engine, 1, sizeof *made);
  if (!made) return NULL;
  atomic_init(&made->references, 1);
  made->engine = orr_engine_retain(engine);
  made->options = o;
  made->type = optimiser_type_of(o.kind);
  made->parameters = count;
  made->parameter = engine_new_zeroed(engine, (size_t)count, sizeof *made->parameter);
  made->level = engine_new_zeroed(engine, (size_t)count, sizeof *made->level);
  size_t states = 1 + (size_t)GROUPS * GROUP_STATES + (size_t)count * OPTIMISER_STATES;
  made->state = engine_new_zeroed(engine, states, sizeof *made->state);
  if (made->parameter && made->level && made->state && !hold_parameters(made, parameters, levels) &&
      !make_states(made))
    return made;
  orr_optimiser_free(made);
  return NULL;
}

/* ---- the update as ops ---- */

/* Numbers of a group before any parameter is touched; answers the factor on every gradient:
   clipping, or 0 when the update is skipped. */
static orr_node build_group(orr_optimiser *o, orr_graph *g, int which, const orr_node *gradients,
                            optimiser_group *group) {
  orr_level level = group_level[which];
  orr_node own[GROUP_STATES], square = ORR_NONE;
  for (int s = 0; s < GROUP_STATES; s++) own[s] = orr_parameter(g, o->own[which][s], level);
  for (int i = 0; i < o->parameters; i++) {
    if (o->level[i] != level) continue;
    orr_node part = orr_sum_all(g, orr_unary(g, ORR_OP_square, gradients[i]));
    square = square == ORR_NONE ? part : nn_add(g, square, part);
    if (square == ORR_NONE) return ORR_NONE;
  }
  orr_node one = orr_number(g, 1), length = orr_unary(g, ORR_OP_sqrt, square);
  orr_node alive = orr_unary(g, ORR_OP_is_finite, square), dead = nn_sub(g, one, alive);
  orr_node factor = alive;
  if (o->options.clip > 0) { /* torch.nn.utils.clip_grad_norm_ */
    orr_node ratio =
        nn_div(g, orr_number(g, o->options.clip), nn_add(g, length, orr_number(g, 1e-6)));
    factor = orr_select(g, alive, orr_binary(g, ORR_OP_min, ratio, one), orr_number(g, 0));
  }
  orr_node scale = nn_scale(g, o->options.learning_rate, orr_parameter(g, o->scale, ORR_UNIFORM));
  group->alive = alive;
  group->number = nn_add(g, own[STEP], one);
  group->rate = nn_mul(g, nn_mul(g, scale, schedule_factor(&o->options, g, own[STEP])), alive);
  o->type->prepare(&o->options, g, group);
  orr_status status = orr_update(g, own[STEP], nn_add(g, own[STEP], alive));
  if (!status)
    status = orr_update(g, own[IN_A_ROW], nn_mul(g, dead, nn_add(g, own[IN_A_ROW], one)));
  if (!status) status = orr_update(g, own[SKIPPED], nn_add(g, own[SKIPPED], dead));
  if (!status) status = orr_update(g, own[LENGTH], orr_binary(g, ORR_OP_masked_mul, alive, length));
  return status ? ORR_NONE : factor;
}

static orr_status build_parameter(orr_optimiser *o, orr_graph *g, int index,
                                  const optimiser_group *group, orr_node factor,
                                  orr_node gradient) {
  int axes = orr_tensor_axes(o->parameter[index]) - (o->level[index] == ORR_MEMBER);
  double decay = axes > 1 || o->options.decay_vectors ? o->options.weight_decay : 0;
  orr_node parameter = orr_parameter(g, o->parameter[index], o->level[index]);
  orr_node old[OPTIMISER_STATES], next[OPTIMISER_STATES];
  for (int s = 0; s < o->type->states; s++)
    next[s] = old[s] =
        orr_parameter(g, o->state[o->first_state + index * o->type->states + s].tensor,
                      o->level[index]);
  /* 0 times NaN is 0 here. */
  gradient = orr_binary(g, ORR_OP_masked_mul, factor, gradient);
  orr_node value = o->type->step(&o->options, g, group, parameter, gradient, decay, next);
  orr_status status = orr_update(g, parameter, value);
  for (int s = 0; s < o->type->states && !status; s++)
    if (next[s] != old[s]) status = orr_update(g, old[s], next[s]);
  return status;
}

orr_status orr_optimiser_build(orr_optimiser *o, orr_graph *graph, const orr_node *gradients) {
  if (!o || !graph || !gradients) return ORR_ARGUMENT;
  optimiser_group groups[GROUPS];
  orr_node factor[GROUPS] = {ORR_NONE, ORR_NONE};
  for (int i = 0; i < o->parameters; i++) {
    if (gradients[i] == ORR_NONE) return ORR_ARGUMENT;
    if (orr_node_level(graph, gradients[i]) > o->level[i])
      return engine_fail(o->engine, ORR_SHAPE,
                         "optimiser: the gradient of parameter %d differs by %s", i + 1,
                         orr_node_level(graph, gradients[i]) == ORR_ROW ? "row" : "member");
  }
  for (int w = 0; w < GROUPS; w++) {
    if (!o->own[w][STEP]) continue;
    factor[w] = build_group(o, graph, w, gradients, &groups[w]);
    if (factor[w] == ORR_NONE) return orr_engine_status(o->engine);
  }
  /* Parameter by parameter: the executor runs each one's elementwise ops in one pass. */
  for (int i = 0; i < o->parameters; i++) {
    int w = o->level[i] == ORR_MEMBER;
    orr_status status = build_parameter(o, graph, i, &groups[w], factor[w], gradients[i]);
    if (status) return status;
  }
  return ORR_OK;
}

/* ---- state ---- */

int orr_optimiser_states(const orr_optimiser *optimiser) {
  return optimiser ? optimiser->states : 0;
}

const char *orr_optimiser_state_name(const orr_optimiser *optimiser, int index) {
  return optimiser && index >= 0 && index < optimiser->states ? optimiser->state[index].name : NULL;
}

orr_tensor *orr_optimiser_state(const orr_optimiser *optimiser, int index) {
  return optimiser && index >= 0 && index < optimiser->states ? optimiser->state[index].tensor
                                                              : NULL;
}

orr_status orr_optimiser_reset(orr_optimiser *optimiser) {
  if (!optimiser) return ORR_ARGUMENT;
  orr_status status = ORR_OK;
  for (int i = 0; i < optimiser->states && !status; i++)
    if (!optimiser->state[i].setting) status = orr_tensor_fill(optimiser->state[i].tensor, 0);
  return status;
}

orr_status orr_optimiser_set_scale(orr_optimiser *optimiser, double scale) {
  if (!optimiser) return ORR_ARGUMENT;
  if (!(scale >= 0 && scale < 1e30))
    return engine_fail(optimiser->engine, ORR_ARGUMENT,
                       "optimiser: the scale must be 0 or more, not %g", scale);
  return orr_tensor_fill(optimiser->scale, scale);
}

static int64_t most(const orr_optimiser *optimiser, int which) {
  double greatest = 0;
  for (int g = 0; optimiser && g < GROUPS; g++)
    for (int64_t i = 0; optimiser->own[g][which] && i < orr_tensor_count(optimiser->own[g][which]);
         i++) {
      double value = orr_tensor_get(optimiser->own[g][which], i);
      if (value > greatest) greatest = value;
    }
  return (int64_t)greatest;
}

int64_t orr_optimiser_skipped_in_a_row(const orr_optimiser *optimiser) {
  return most(optimiser, IN_A_ROW);
}

int64_t orr_optimiser_skipped(const orr_optimiser *optimiser) {
  double total = 0;
  for (int g = 0; optimiser && g < GROUPS; g++)
    for (int64_t i = 0;
         optimiser->own[g][SKIPPED] && i < orr_tensor_count(optimiser->own[g][SKIPPED]); i++)
      total += orr_tensor_get(optimiser->own[g][SKIPPED], i);
  return (int64_t)total;
}
