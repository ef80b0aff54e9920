/* objective.c - the objective interface, and objectives of the host. Learned rollouts and
   simulators are made on the same callbacks (objective_program.c, objective_env.c). */
#include <string.h>

#include "plan/plan.h"

struct orr_objective {
  atomic_int references;
  orr_engine *engine;
  orr_objective_callbacks callbacks;
  char *name;
  int prepared, prepared_horizon;
  differences differences;
  atomic_bool busy;
};

orr_objective_callbacks orr_objective_callbacks_defaults(void) {
  return (orr_objective_callbacks){.size = sizeof(orr_objective_callbacks)};
}

orr_objective *orr_objective_function(orr_engine *engine, const orr_objective_callbacks *given) {
  orr_objective_callbacks callbacks = orr_objective_callbacks_defaults();
  if (READ_OPTIONS(engine, orr_objective_callbacks, &callbacks, given)) return NULL;
  if (!callbacks.score || callbacks.horizon < 0) {
    engine_fail(engine, ORR_ARGUMENT,
                "an objective needs a score function and no negative horizon");
    return NULL;
  }
  if (callbacks.differences && !callbacks.action) {
    engine_fail(engine, ORR_ARGUMENT,
                "an objective whose gradients are differences needs an action space");
    return NULL;
  }
  if (!callbacks.take_snapshot != !callbacks.use_snapshot) {
    engine_fail(engine, ORR_ARGUMENT, "an objective takes snapshots and uses them, or neither");
    return NULL;
  }
  orr_objective *objective = engine_new_zeroed(engine, 1, sizeof *objective);
  char *name = engine_copy_string(engine, callbacks.name ? callbacks.name : "function");
  if (!objective || !name) {
    engine_free_memory(engine, objective);
    engine_free_memory(engine, name);
    return NULL;
  }
  atomic_init(&objective->references, 1);
  objective->engine = orr_engine_retain(engine);
  objective->callbacks = callbacks;
  objective->callbacks.observation = orr_space_retain(callbacks.observation);
  objective->callbacks.action = orr_space_retain(callbacks.action);
  objective->name = name;
  return objective;
}

orr_objective *orr_objective_retain(orr_objective *objective) {
  if (objective) atomic_fetch_add(&objective->references, 1);
  return objective;
}

void orr_objective_free(orr_objective *objective) {
  if (!objective || atomic_fetch_sub(&objective->references, 1) > 1) return;
  orr_engine *engine = objective->engine;
  if (objective->callbacks.free_user) objective->callbacks.free_user(objective->callbacks.user);
  differences_free(&objective->differences, engine);
  orr_space_free(objective->callbacks.observation);
  orr_space_free(objective->callbacks.action);
  engine_free_memory(engine, objective->name);
  engine_free_memory(engine, objective);
  orr_engine_free(engine);
}

orr_engine *orr_objective_engine(const orr_objective *objective) { return objective->engine; }
const char *orr_objective_name(const orr_objective *objective) { return objective->name; }
int64_t orr_objective_action_size(const orr_objective *objective) {
  const orr_objective_callbacks *callbacks = &objective->callbacks;
  return callbacks->action ? orr_space_size(callbacks->action) : callbacks->action_size;
}

int orr_objective_horizon(const orr_objective *objective) { return objective->callbacks.horizon; }

orr_space *orr_objective_observation_space(const orr_objective *objective) {
  return objective->callbacks.observation;
}

orr_space *orr_objective_action_space(const orr_objective *objective) {
  return objective->callbacks.action;
}

bool orr_objective_has_gradients(const orr_objective *objective) {
  return objective->callbacks.gradients || objective->callbacks.differences;
}

orr_status orr_objective_set_input(orr_objective *objective, const char *name, orr_tensor *tensor) {
  if (!objective->callbacks.set_input)
    return engine_fail(objective->engine, ORR_FIELD, "objective '%s' has no inputs, so no '%s'",
                       objective->name, name);
  return objective->callbacks.set_input(objective->callbacks.user, name, tensor);
}

static orr_status check_batch(const orr_objective *objective, int n, int horizon) {
  int only = objective->callbacks.horizon;
  if (n < 1 || horizon < 1)
    return engine_fail(objective->engine, ORR_ARGUMENT, "objective '%s': %d plans of %d steps",
                       objective->name, n, horizon);
  if (only && horizon != only)
    return engine_fail(objective->engine, ORR_SHAPE,
                       "objective '%s' scores plans of %d steps, not of %d", objective->name, only,
                       horizon);
  return ORR_OK;
}

/* Its functions do not call each other. */
static orr_status enter(orr_objective *objective) {
  if (atomic_exchange(&objective->busy, true))
    return engine_fail(objective->engine, ORR_STATE, "objective '%s' is already scoring",
                       objective->name);
  return ORR_OK;
}

/* Buffers are not replaced under who works in them. */
orr_status orr_objective_prepare(orr_objective *objective, int n, int horizon) {
  if (n <= objective->prepared && horizon == objective->prepared_horizon) return ORR_OK;
  orr_status status = check_batch(objective, n, horizon);
  if (!status) status = enter(objective);
  if (status) return status;
  if (objective->callbacks.prepare) {
    objective->prepared = 0;
    status = objective->callbacks.prepare(objective->callbacks.user, n, horizon);
  }
  if (!status) {
    objective->prepared = n;
    objective->prepared_horizon = horizon;
  }
  objective->busy = false;
  return status;
}

static bool by_differences(const orr_objective *objective) {
  return objective->callbacks.differences && !objective->callbacks.gradients;
}

orr_status objective_prepare_gradients(orr_objective *objective, int n, int horizon) {
  const orr_objective_callbacks *calls = &objective->callbacks;
  if (!by_differences(objective)) return orr_objective_prepare(objective, n, horizon);
  int batch = differences_batch(horizon, orr_space_size(calls->action));
  orr_status status = orr_objective_prepare(objective, batch > n ? batch : n, horizon);
  return status ? status
                : differences_prepare(&objective->differences, objective->engine, horizon,
                                      orr_space_size(calls->action));
}

bool orr_objective_has_violations(const orr_objective *objective) {
  return objective->callbacks.violations;
}

bool orr_objective_has_proposals(const orr_objective *objective) {
  return objective->callbacks.propose != NULL;
}

bool orr_objective_many_states(const orr_objective *objective) {
  return objective->callbacks.many_states;
}

bool orr_objective_any_thread(const orr_objective *objective) {
  return objective->callbacks.any_thread;
}

bool orr_objective_has_disagreement(const orr_objective *objective) {
  return objective->callbacks.disagree != NULL;
}

size_t orr_objective_snapshot_size(const orr_objective *objective) {
  return objective->callbacks.take_snapshot ? objective->callbacks.snapshot_size : 0;
}

orr_status orr_objective_take_snapshot(orr_objective *objective, const orr_real *observation,
                                       void *snapshot) {
  if (!orr_objective_snapshot_size(objective)) return ORR_OK;
  return objective->callbacks.take_snapshot(objective->callbacks.user, observation, snapshot);
}

void orr_objective_use_snapshot(orr_objective *objective, const void *snapshot) {
  if (orr_objective_snapshot_size(objective))
    objective->callbacks.use_snapshot(objective->callbacks.user, snapshot);
}

int orr_objective_state_size(const orr_objective *objective) {
  return objective->callbacks.linearise ? objective->callbacks.state_size : 0;
}

static orr_status cannot(const orr_objective *objective, const char *what) {
  return engine_fail(objective->engine, ORR_ARGUMENT, "objective '%s' %s", objective->name, what);
}

static orr_status check_states(const orr_objective *objective, int states, int n) {
  if (states > 1 && !objective->callbacks.many_states)
    return cannot(objective, "scores plans from one state at a time");
  if (states < 0 || (states > 1 && n % states))
    return engine_fail(objective->engine, ORR_ARGUMENT, "objective '%s': %d plans from %d states",
                       objective->name, n, states);
  return ORR_OK;
}

orr_status orr_objective_propose(orr_objective *objective, const orr_proposing *proposing) {
  if (!objective->callbacks.propose) return cannot(objective, "has no policy to propose plans");
  orr_status status = check_batch(objective, proposing->n, proposing->horizon);
  if (!status) status = check_states(objective, proposing->states, proposing->n);
  if (!status) status = enter(objective);
  if (status) return status;
  status = objective->callbacks.propose(objective->callbacks.user, proposing);
  objective->busy = false;
  return status;
}

orr_status orr_objective_linearise(orr_objective *objective, const orr_linearisation *along) {
  if (!objective->callbacks.linearise)
    return cannot(objective, "does not know the derivatives of its dynamics");
  orr_status status = orr_objective_prepare(objective, 1, along->horizon);
  if (!status) status = enter(objective);
  if (status) return status;
  status = objective->callbacks.linearise(objective->callbacks.user, along);
  objective->busy = false;
  return status;
}

orr_status orr_objective_disagree(orr_objective *objective, const orr_real *observation,
                                  const orr_real *plan, int horizon, orr_real *disagreement) {
  if (!objective->callbacks.disagree)
    return cannot(objective, "has no members that could disagree");
  orr_status status = check_batch(objective, 1, horizon);
  if (!status) status = enter(objective);
  if (status) return status;
  status = objective->callbacks.disagree(objective->callbacks.user, observation, plan, horizon,
                                         disagreement);
  objective->busy = false;
  return status;
}

orr_status orr_objective_score(orr_objective *objective, const orr_scoring *scoring) {
  const orr_objective_callbacks *calls = &objective->callbacks;
  bool differs = scoring->gradients && by_differences(objective);
  orr_status status = check_batch(objective, scoring->n, scoring->horizon);
  if (!status) status = check_states(objective, scoring->states, scoring->n);
  if (!status && scoring->gradients && !orr_objective_has_gradients(objective))
    status = cannot(objective, "has no gradients");
  if (!status)
    status = (differs ? objective_prepare_gradients : orr_objective_prepare)(objective, scoring->n,
                                                                             scoring->horizon);
  if (status) return status;
  if (scoring->violations && !objective->callbacks.violations)
    return cannot(objective, "has no side constraints");
  status = enter(objective);
  if (status) return status;
  orr_scoring given = *scoring;
  if (differs) given.gradients = NULL;
  status = calls->score(calls->user, &given);
  if (!status && differs) status = differences_gradients(&objective->differences, calls, scoring);
  objective->busy = false;
  return status;
}
