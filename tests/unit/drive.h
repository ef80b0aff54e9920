/* drive.h - a closed loop whose best action is known, for tests of the mpc. */
#ifndef DRIVE_H
#define DRIVE_H

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include "orrery/mpc.h"
#include "orrery/rollout.h"

enum { HORIZON = 5 };

/* One number x is driven to `target`: -sum over steps of (x + running sum of actions - target)^2. */
struct drive {
  double target;
  bool all_bad;
  orr_status fail;
  int64_t calls, last_step, plans;
  int late_call;        /* the call from which it answers that time is up; 0: none */
  double last_deadline; /* that it was told */
  double sleep;         /* seconds a call ... */
  double each;          /* ... and a plan */
  double now;           /* what the rig's clock says, when the options ask for that one */
};

static inline orr_status score_drive(void *user, const orr_scoring *scoring) {
  struct drive *drive = user;
  drive->calls++;
  drive->last_step = scoring->step;
  drive->last_deadline = scoring->deadline;
  if (drive->late_call && drive->calls >= drive->late_call) return ORR_LATE;
  drive->plans += scoring->n;
  if (drive->fail) return drive->fail;
  double sleep = drive->sleep + drive->each * scoring->n;
  if (sleep > 0) {
    struct timespec wait = {.tv_sec = (time_t)sleep, .tv_nsec = (long)(fmod(sleep, 1) * 1e9)};
    nanosleep(&wait, NULL);
  }
  for (int i = 0; i < scoring->n; i++) {
    int state = scoring->states > 1 ? i / (scoring->n / scoring->states) : 0;
    double x = (double)scoring->observation[state], cost = 0;
    for (int t = 0; t < scoring->horizon; t++) {
      x += (double)scoring->plans[i * scoring->horizon + t];
      cost += (x - drive->target) * (x - drive->target);
    }
    scoring->returns[i] = drive->all_bad ? (orr_real)(i % 2 ? NAN : -INFINITY) : (orr_real)-cost;
  }
  return ORR_OK;
}

/* For options.clock: drive.now of the rig. */
static inline double drive_clock(void *user) { return ((struct drive *)user)->now; }

struct rig {
  orr_engine *engine;
  struct drive drive;
  orr_mpc *mpc;
};

static inline void open_rig(struct rig *rig, const char *planner, const char *option, double value,
                            const orr_mpc_options *options) {
  orr_mpc_options given = options ? *options : orr_mpc_options_defaults();
  if (given.clock == drive_clock) given.clock_user = &rig->drive;
  orr_engine_options engine_options = orr_engine_options_defaults();
  engine_options.threads = 1;
  *rig = (struct rig){.engine = orr_engine_new(&engine_options), .drive = {.target = 1}};
  orr_real low = -0.5f, high = 0.5f;
  orr_field push = {.name = "push", .low = &low, .high = &high}, position = {.name = "x"};
  orr_objective_callbacks callbacks = orr_objective_callbacks_defaults();
  callbacks.user = &rig->drive;
  callbacks.score = score_drive;
  callbacks.any_thread = callbacks.many_states = true;
  callbacks.observation = orr_space_new(rig->engine, &position, 1);
  callbacks.action = orr_space_new(rig->engine, &push, 1);
  orr_objective *objective = orr_objective_function(rig->engine, &callbacks);
  orr_planner_setting settings[] = {{"horizon", HORIZON}, {option, value}};
  orr_planner *p =
      orr_planner_new(rig->engine, planner, callbacks.action, settings, option ? 2 : 1);
  rig->mpc = orr_mpc_new(rig->engine, objective, p, &given);
  cr_assert(rig->mpc, "%s", orr_engine_message(rig->engine));
  orr_space_free(callbacks.observation);
  orr_space_free(callbacks.action);
  orr_objective_free(objective);
  orr_planner_free(p);
}

static inline void close_rig(struct rig *rig) {
  orr_mpc_free(rig->mpc);
  orr_engine_free(rig->engine);
}

static inline orr_real act(struct rig *rig, orr_real x, orr_status wanted, orr_mpc_source source) {
  orr_real action = NAN;
  orr_mpc_info info;
  orr_status status = orr_mpc_act(rig->mpc, &x, &action, &info);
  cr_assert_eq(status, wanted, "status %s: %s", orr_status_name(status),
               orr_engine_message(rig->engine));
  cr_expect_eq(info.source, source, "source %d", (int)info.source);
  cr_assert(isfinite(action) && action >= -0.5f && action <= 0.5f);
  return action;
}

#endif
