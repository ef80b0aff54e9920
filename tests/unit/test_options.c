/* test_options.c - options structs that did not start from their _defaults() are refused by every
   maker; those of hosts that know fewer fields are taken. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "orrery/orrery.h"

typedef struct parts { /* what the makers need besides options */
  orr_engine *engine;
  orr_env *env;
  orr_objective *objective;
  orr_planner *planner;
  orr_tensor *parameter;
} parts;

static parts open_parts(void) {
  parts p = {.engine = orr_engine_new(NULL)};
  p.env = orr_env_new(p.engine, "pendulum", NULL);
  p.objective = orr_objective_env(p.engine, p.env, NULL);
  p.planner = orr_planner_new(p.engine, "random_shooting", orr_env_action_space(p.env), NULL, 0);
  p.parameter = orr_tensor_new(p.engine, ORR_REAL, 1, (int64_t[]){3});
  cr_assert(p.env && p.objective && p.planner && p.parameter, "%s", orr_engine_message(p.engine));
  return p;
}

static void close_parts(parts *p) {
  orr_tensor_free(p->parameter);
  orr_planner_free(p->planner);
  orr_objective_free(p->objective);
  orr_env_free(p->env);
  orr_engine_free(p->engine);
}

/* Each makes something by `options` and drops it; whether that went well. */
static bool env(parts *p, const void *options) {
  orr_env *made = orr_env_new(p->engine, "cartpole", options);
  orr_env_free(made);
  return made != NULL;
}

static bool callbacks_env(parts *p, const void *options) {
  orr_env *made = orr_env_from_callbacks(p->engine, options);
  orr_env_free(made);
  return made != NULL;
}

static bool replay(parts *p, const void *options) {
  orr_replay *made = orr_replay_new(p->engine, options);
  orr_replay_free(made);
  return made != NULL;
}

static bool load(parts *p, const void *options) {
  orr_replay *made = orr_replay_load(p->engine, "nowhere/none.orrery", options, NULL);
  orr_replay_free(made);
  return made != NULL;
}

static bool plot(parts *p, const void *options) {
  orr_plot *made = orr_plot_new(p->engine, options);
  orr_plot_free(made);
  return made != NULL;
}

static bool optimiser(parts *p, const void *options) {
  orr_level level = ORR_UNIFORM;
  orr_optimiser *made = orr_optimiser_new(p->engine, options, 1, &p->parameter, &level);
  orr_optimiser_free(made);
  return made != NULL;
}

static bool objective(parts *p, orr_objective *made) {
  (void)p;
  orr_objective_free(made);
  return made != NULL;
}

static bool simulator(parts *p, const void *options) {
  return objective(p, orr_objective_env(p->engine, p->env, options));
}

static bool rollout(parts *p, const void *options) {
  return objective(p, orr_objective_program(p->engine, NULL, options));
}

static bool callbacks_objective(parts *p, const void *options) {
  return objective(p, orr_objective_function(p->engine, options));
}

static bool mpc(parts *p, const void *options) {
  orr_mpc *made = orr_mpc_new(p->engine, p->objective, p->planner, options);
  orr_mpc_free(made);
  return made != NULL;
}

static bool plan(parts *p, const void *options) {
  orr_plan_request request = orr_plan_request_defaults();
  orr_real observation[3];
  orr_env_reset(p->env, 1, observation);
  memcpy(&request, options, request.size); /* a struct of any size has room for the greatest */
  request.observation = observation;
  return orr_planner_plan(p->planner, p->objective, &request, NULL) == ORR_OK;
}

static bool vector_env(parts *p, const void *options) {
  orr_vector_env *made = orr_vector_env_new(p->env, 2, options);
  orr_vector_env_free(made);
  return made != NULL;
}

static bool relabel(parts *p, const void *options) {
  orr_replay_options spaces = orr_replay_options_defaults();
  spaces.observation = orr_env_observation_space(p->env);
  spaces.action = orr_env_action_space(p->env);
  orr_replay *made = orr_replay_new(p->engine, &spaces);
  orr_status status = orr_replay_read_relabeled(made, 0, NULL, 0, options, 0, NULL);
  orr_replay_free(made);
  return status == ORR_OK;
}

typedef struct maker {
  const char *type;
  bool (*make)(parts *p, const void *options);
  size_t size;
  bool complete; /* whether the defaults alone make something */
} maker;

#define MAKER(type, make, complete) \
  { #type, make, sizeof(type), complete }
static const maker makers[] = {
    MAKER(orr_env_options, env, true),
    MAKER(orr_env_callbacks, callbacks_env, false),
    MAKER(orr_replay_options, replay, false),
    MAKER(orr_replay_load_options, load, false),
    MAKER(orr_plot_options, plot, true),
    MAKER(orr_optimiser_options, optimiser, true),
    MAKER(orr_simulator_options, simulator, true),
    MAKER(orr_rollout_options, rollout, false),
    MAKER(orr_objective_callbacks, callbacks_objective, false),
    MAKER(orr_mpc_options, mpc, true),
    MAKER(orr_plan_request, plan, true),
    MAKER(orr_vector_env_options, vector_env, true),
    MAKER(orr_relabel, relabel, false),
};

/* As the _defaults() of each writes it. */
static void write_defaults(const char *type, void *options) {
#define DEFAULTS(known)                  \
  if (strcmp(type, #known) == 0) {       \
    known made = known##_defaults();     \
    memcpy(options, &made, sizeof made); \
  }
  DEFAULTS(orr_env_options)
  DEFAULTS(orr_plot_options)
  DEFAULTS(orr_optimiser_options)
  DEFAULTS(orr_simulator_options)
  DEFAULTS(orr_mpc_options)
  DEFAULTS(orr_plan_request)
  DEFAULTS(orr_vector_env_options)
}

Test(options, sizes_that_no_defaults_set_are_refused) {
  parts p = open_parts();
  for (size_t i = 0; i < sizeof makers / sizeof makers[0]; i++) {
    const maker *m = &makers[i];
    size_t wrong[] = {0, sizeof(size_t), m->size - 1, m->size + sizeof(size_t), (size_t)-1};
    for (size_t w = 0; w < sizeof wrong / sizeof wrong[0]; w++) {
      size_t options[64] = {0};
      char size[64], way_out[64];
      write_defaults(m->type, options);
      options[0] = wrong[w];
      cr_expect(!m->make(&p, options), "%s of %zu bytes", m->type, wrong[w]);
      snprintf(size, sizeof size, "%s.size is %zu,", m->type, wrong[w]);
      snprintf(way_out, sizeof way_out, "start from %s_defaults()", m->type);
      const char *message = orr_engine_message(p.engine);
      cr_expect(strstr(message, size) && strstr(message, way_out), "%s", message);
    }
  }
  close_parts(&p);
}

Test(options, defaults_and_shorter_structs_are_taken) {
  parts p = open_parts();
  for (size_t i = 0; i < sizeof makers / sizeof makers[0]; i++) {
    const maker *m = &makers[i];
    size_t options[64] = {0};
    if (!m->complete) continue;
    write_defaults(m->type, options);
    cr_expect(m->make(&p, options), "%s: %s", m->type, orr_engine_message(p.engine));
    options[m->size / sizeof(size_t) - 1] = (size_t)-1; /* behind what this host knows */
    options[0] = m->size - sizeof(size_t);
    cr_expect(m->make(&p, options), "%s: %s", m->type, orr_engine_message(p.engine));
  }
  close_parts(&p);
}

/* An engine that is not made has no message. */
Test(options, of_an_engine) {
  orr_engine_options options = orr_engine_options_defaults();
  options.size = 0;
  cr_expect_null(orr_engine_new(&options));
}
