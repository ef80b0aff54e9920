/* ilqr.c - iterative linear-quadratic regulation with bounds on actions (Tassa, Mansard and Todorov
   2014): along the plan so far the dynamics are linear and the rewards quadratic; the plan that is
   best then, u + alpha k + K dx, is tried with several step sizes alpha in one batch, and the
   objective decides. In costs, the rewards' negatives, with decisions in halves of their range:

     Q = cost + V'(A dx + B du)          for each of the steps that a decision is held
     k = argmin Q inside the bounds (box_qp.c), on Q_uu + mu I
     K = - Q_uu^-1 Q_ux, rows of what bounds hold being 0

   mu falls after a step that gains, and grows after one that does not, or where Q_uu is not
   positive definite. The first batch has random plans besides the plan so far, and the best of them
   begins. */
#include <math.h>
#include <string.h>

#include "plan/box_qp.h"
#include "plan/plan.h"

#define MU_LEAST 1e-6 /* Tassa, Erez and Todorov 2012, section II-F */
#define MU_MOST 1e10
#define MU_FACTOR 2.0

typedef struct ilqr_state {
  double mu, factor;
  bool begun, stuck; /* a plan to begin with was chosen; no step can be made from it */
} ilqr_state;

/* Made when the size of the model's state is known; for one search at a time. */
typedef struct ilqr_shared {
  int states; /* S; 0: nothing is made */
  void *memory;
  orr_linearisation along;
  orr_real *wide;               /* [horizon][actions] */
  const search *linear_of;      /* whose mean `along` is about; NULL: none */
  double *k, *gain;             /* [length][actions], [length][actions][S] */
  double *v, *vv;               /* [S], [S][S]: of the cost to go */
  double *q, *qq, *f, *product; /* [m], and [m][m] for m = S + actions: (dx, du) */
  double *dx, *moved;           /* [S] */
  box_qp qp;
} ilqr_shared;

static orr_status open(orr_planner *planner) {
  const ilqr_options *options = planner->options;
  planner->population = (int)options->population;
  planner->iterations = (int)options->iterations + 1; /* and one to choose where to begin */
  planner->state_size = sizeof(ilqr_state);
  planner->shared = engine_new_zeroed(planner->engine, 1, sizeof(ilqr_shared));
  return planner->shared ? ORR_OK : ORR_MEMORY;
}

static void close(orr_planner *planner) {
  ilqr_shared *shared = planner->shared;
  if (shared) engine_free_memory(planner->engine, shared->memory);
}

static void begin(orr_planner *planner, search *s) {
  ilqr_state *state = s->state;
  ilqr_shared *shared = planner->shared;
  *state = (ilqr_state){.factor = 1};
  shared->linear_of = NULL;
}

/* ---- memory ---- */

/* Places arrays one after the other; without memory it only counts their bytes. */
typedef struct placing {
  char *memory;
  size_t used;
} placing;

static void *take(placing *p, size_t count, size_t size) {
  void *taken = p->memory ? p->memory + p->used : NULL;
  p->used += count * size;
  return taken;
}

static double *doubles(placing *p, size_t count) { return take(p, count, sizeof(double)); }
static orr_real *reals(placing *p, size_t count) { return take(p, count, sizeof(orr_real)); }

/* Answers the bytes that all of it takes; the most aligned come first. */
static size_t place(ilqr_shared *shared, const orr_planner *planner, size_t s, char *memory) {
  placing p = {memory, 0};
  size_t a = (size_t)planner->actions, m = s + a, length = (size_t)planner->length;
  size_t horizon = (size_t)planner->horizon;
  shared->k = doubles(&p, length * a);
  shared->gain = doubles(&p, length * a * s);
  shared->v = doubles(&p, s), shared->vv = doubles(&p, s * s);
  shared->q = doubles(&p, m), shared->qq = doubles(&p, m * m);
  shared->f = doubles(&p, m * m), shared->product = doubles(&p, m * m);
  shared->dx = doubles(&p, s), shared->moved = doubles(&p, s);
  box_qp *qp = &shared->qp;
  qp->h = doubles(&p, a * a), qp->factor = doubles(&p, a * a);
  double **vectors[] = {&qp->g,     &qp->low,       &qp->high, &qp->x,
                        &qp->slope, &qp->direction, &qp->trial};
  for (size_t i = 0; i < COUNT(vectors); i++) *vectors[i] = doubles(&p, a);
  orr_linearisation *along = &shared->along;
  shared->wide = reals(&p, horizon * a);
  along->states = reals(&p, (horizon + 1) * s);
  along->next_s = reals(&p, horizon * s * s), along->next_a = reals(&p, horizon * s * a);
  along->reward_s = reals(&p, horizon * s), along->reward_a = reals(&p, horizon * a);
  along->reward_ss = reals(&p, horizon * s * s);
  along->reward_as = reals(&p, horizon * a * s);
  along->reward_aa = reals(&p, horizon * a * a);
  along->value_s = reals(&p, s), along->value_ss = reals(&p, s * s);
  qp->places = take(&p, a, sizeof(int));
  qp->free = take(&p, a, sizeof(bool));
  return p.used;
}

static orr_status prepare(orr_planner *planner) {
  ilqr_shared *shared = planner->shared;
  int states = orr_objective_state_size(planner->objective);
  if (states < 1)
    return engine_fail(planner->engine, ORR_ARGUMENT,
                       "ilqr plans with the derivatives of the dynamics, which objective '%s' does "
                       "not have",
                       orr_objective_name(planner->objective));
  if (planner->states > 1 && !orr_objective_observation_space(planner->objective))
    return engine_fail(planner->engine, ORR_ARGUMENT,
                       "ilqr plans for %d states, but objective '%s' does not tell their size",
                       planner->states, orr_objective_name(planner->objective));
  if (shared->states == states) return ORR_OK;
  double m = (double)states + planner->actions;
  if (8.0 * m * m * (planner->horizon + 8.0 * planner->length) > 1e9)
    return engine_fail(planner->engine, ORR_ARGUMENT,
                       "ilqr: the derivatives of %d steps of %d states and %d actions are too many",
                       planner->horizon, states, planner->actions);
  engine_free_memory(planner->engine, shared->memory);
  shared->memory = NULL;
  shared->states = 0;
  size_t size = place(shared, planner, (size_t)states, NULL);
  shared->memory = engine_new_zeroed(planner->engine, size, 1);
  if (!shared->memory) return ORR_MEMORY;
  place(shared, planner, (size_t)states, shared->memory);
  shared->states = states;
  shared->qp.n = planner->actions;
  return ORR_OK;
}

/* ---- the model along the plan ---- */

static orr_status linearise(orr_planner *planner, search *s) {
  ilqr_shared *shared = planner->shared;
  if (shared->linear_of == s) return ORR_OK;
  orr_space *space = orr_objective_observation_space(planner->objective);
  int64_t seen = space ? orr_space_size(space) : 0;
  size_t actions = (size_t)planner->actions;
  for (int step = 0; step < planner->horizon; step++)
    memcpy(shared->wide + (size_t)step * actions,
           s->mean + (size_t)(step / planner->repeat) * actions, actions * sizeof(orr_real));
  orr_linearisation *along = &shared->along;
  along->observation = planner->request->observation;
  if (along->observation) along->observation += (s - planner->searches) * seen;
  along->plan = shared->wide;
  along->horizon = planner->horizon;
  along->step = planner->request->step;
  along->deadline = planner->deadline;
  orr_status status = orr_objective_linearise(planner->objective, along);
  shared->linear_of = status ? NULL : s;
  return status;
}

/* out[m][m] = a' b, or a b. */
static void multiply(double *out, const double *a, const double *b, int m, bool transposed) {
  for (int i = 0; i < m; i++)
    for (int j = 0; j < m; j++) {
      double sum = 0;
      for (int k = 0; k < m; k++) sum += (transposed ? a[k * m + i] : a[i * m + k]) * b[k * m + j];
      out[i * m + j] = sum;
    }
}

/* Q of (dx, du) one step earlier, the decision being the same. */
static void step_back(const orr_planner *planner, int t) {
  ilqr_shared *shared = planner->shared;
  const orr_linearisation *along = &shared->along;
  int s = shared->states, a = planner->actions, m = s + a;
  double *f = shared->f, *q = shared->q, *qq = shared->qq;
  memset(f, 0, (size_t)m * (size_t)m * sizeof(double));
  for (int i = 0; i < s; i++) {
    for (int j = 0; j < s; j++) f[i * m + j] = (double)along->next_s[(t * s + i) * s + j];
    for (int j = 0; j < a; j++)
      f[i * m + s + j] = (double)along->next_a[(t * s + i) * a + j] * (double)planner->half[j];
  }
  for (int j = s; j < m; j++) f[j * m + j] = 1;
  multiply(shared->product, qq, f, m, false);
  multiply(qq, f, shared->product, m, true);
  for (int j = 0; j < m; j++) {
    shared->product[j] = 0;
    for (int i = 0; i < m; i++) shared->product[j] += f[i * m + j] * q[i];
  }
  memcpy(q, shared->product, (size_t)m * sizeof(double));
  for (int i = 0; i < s; i++) {
    q[i] -= (double)along->reward_s[t * s + i];
    for (int j = 0; j < s; j++) qq[i * m + j] -= (double)along->reward_ss[(t * s + i) * s + j];
  }
  for (int i = 0; i < a; i++) {
    double half = (double)planner->half[i];
    q[s + i] -= (double)along->reward_a[t * a + i] * half;
    for (int j = 0; j < s; j++) {
      double mixed = (double)along->reward_as[(t * a + i) * s + j] * half;
      qq[(s + i) * m + j] -= mixed;
      qq[j * m + s + i] -= mixed;
    }
    for (int j = 0; j < a; j++)
      qq[(s + i) * m + s + j] -=
          (double)along->reward_aa[(t * a + i) * a + j] * half * (double)planner->half[j];
  }
}

/* ---- the backward pass ---- */

/* k and K of a decision; false: Q_uu is not positive definite. */
static bool choose(const orr_planner *planner, const search *now, double mu, int decision) {
  ilqr_shared *shared = planner->shared;
  box_qp *qp = &shared->qp;
  int s = shared->states, a = planner->actions, m = s + a;
  const orr_real *u = now->mean + decision * a;
  double *gain = shared->gain + (size_t)decision * (size_t)a * (size_t)s;
  for (int i = 0; i < a; i++) {
    double half = (double)planner->half[i];
    for (int j = 0; j < a; j++) qp->h[i * a + j] = shared->qq[(s + i) * m + s + j];
    qp->h[i * a + i] += mu;
    qp->g[i] = shared->q[s + i];
    qp->low[i] = half > 0 ? ((double)planner->low[i] - (double)u[i]) / half : 0;
    qp->high[i] = half > 0 ? ((double)planner->high[i] - (double)u[i]) / half : 0;
  }
  if (!box_qp_solve(qp)) return false;
  memcpy(shared->k + decision * a, qp->x, (size_t)a * sizeof(double));
  memset(gain, 0, (size_t)a * (size_t)s * sizeof(double));
  for (int j = 0; j < s; j++) {
    for (int i = 0; i < qp->free_count; i++)
      qp->trial[i] = -shared->qq[(s + qp->places[i]) * m + j];
    box_qp_solve_free(qp, qp->trial);
    for (int i = 0; i < qp->free_count; i++) gain[qp->places[i] * s + j] = qp->trial[i];
  }
  return true;
}

/* The cost to go from before a decision: Q with du = k + K dx. */
static void go_back(const orr_planner *planner, int decision) {
  ilqr_shared *shared = planner->shared;
  int s = shared->states, a = planner->actions, m = s + a;
  const double *k = shared->k + decision * a, *q = shared->q, *qq = shared->qq;
  const double *gain = shared->gain + (size_t)decision * (size_t)a * (size_t)s;
  for (int i = 0; i < s; i++) {
    double slope = q[i];
    for (int u = 0; u < a; u++) {
      double along_u = q[s + u];
      for (int w = 0; w < a; w++) along_u += qq[(s + u) * m + s + w] * k[w];
      slope += gain[u * s + i] * along_u + qq[(s + u) * m + i] * k[u];
    }
    shared->v[i] = slope;
    for (int j = 0; j < s; j++) {
      double sum = qq[i * m + j];
      for (int u = 0; u < a; u++) {
        double row = qq[(s + u) * m + j];
        for (int w = 0; w < a; w++) row += qq[(s + u) * m + s + w] * gain[w * s + j];
        sum += gain[u * s + i] * row + qq[(s + u) * m + i] * gain[u * s + j];
      }
      shared->vv[i * s + j] = sum;
    }
  }
  for (int i = 0; i < s; i++)
    for (int j = 0; j < i; j++)
      shared->vv[i * s + j] = shared->vv[j * s + i] =
          (shared->vv[i * s + j] + shared->vv[j * s + i]) / 2;
}

static bool backward(const orr_planner *planner, const search *now, double mu) {
  ilqr_shared *shared = planner->shared;
  int s = shared->states, m = s + planner->actions;
  for (int i = 0; i < s; i++) shared->v[i] = -(double)shared->along.value_s[i];
  for (int i = 0; i < s * s; i++) shared->vv[i] = -(double)shared->along.value_ss[i];
  for (int decision = planner->length; decision-- > 0;) {
    memset(shared->q, 0, (size_t)m * sizeof(double));
    memset(shared->qq, 0, (size_t)m * (size_t)m * sizeof(double));
    memcpy(shared->q, shared->v, (size_t)s * sizeof(double));
    for (int i = 0; i < s; i++)
      memcpy(shared->qq + i * m, shared->vv + i * s, (size_t)s * sizeof(double));
    for (int t = (decision + 1) * planner->repeat; t-- > decision * planner->repeat;)
      step_back(planner, t);
    if (!choose(planner, now, mu, decision)) return false;
    go_back(planner, decision);
  }
  return true;
}

/* ---- candidates ---- */

/* The plan with a step size: u + alpha k + K dx, dx following the linear dynamics. */
static void forward(const orr_planner *planner, const search *now, double alpha, orr_real *plan) {
  ilqr_shared *shared = planner->shared;
  const orr_linearisation *along = &shared->along;
  int s = shared->states, a = planner->actions;
  double *dx = shared->dx, *moved = shared->moved;
  memset(dx, 0, (size_t)s * sizeof(double));
  for (int decision = 0; decision < planner->length; decision++, plan += a) {
    const double *gain = shared->gain + (size_t)decision * (size_t)a * (size_t)s;
    const orr_real *u = now->mean + decision * a;
    for (int i = 0; i < a; i++) {
      double du = alpha * shared->k[decision * a + i];
      for (int j = 0; j < s; j++) du += gain[i * s + j] * dx[j];
      plan[i] = clamp((orr_real)((double)u[i] + (double)planner->half[i] * du), planner->low[i],
                      planner->high[i]);
    }
    for (int t = decision * planner->repeat; t < (decision + 1) * planner->repeat; t++) {
      for (int i = 0; i < s; i++) {
        moved[i] = 0;
        for (int j = 0; j < s; j++) moved[i] += (double)along->next_s[(t * s + i) * s + j] * dx[j];
        for (int j = 0; j < a; j++)
          moved[i] += (double)along->next_a[(t * s + i) * a + j] * ((double)plan[j] - (double)u[j]);
      }
      memcpy(dx, moved, (size_t)s * sizeof(double));
    }
  }
}

static void increase(ilqr_state *state) {
  state->factor = fmax(MU_FACTOR, state->factor * MU_FACTOR);
  state->mu = fmax(MU_LEAST, state->mu * state->factor);
}

static void decrease(ilqr_state *state) {
  state->factor = fmin(1 / MU_FACTOR, state->factor / MU_FACTOR);
  state->mu = state->mu * state->factor < MU_LEAST ? 0 : state->mu * state->factor;
}

/* Candidate 0 is the plan so far; the others have step sizes from 1 to 1e-3. */
static orr_status sample(orr_planner *planner, search *s) {
  ilqr_state *state = s->state;
  size_t variables = (size_t)planner->variables;
  orr_status status = prepare(planner);
  if (status) return status;
  memcpy(s->candidates, s->mean, variables * sizeof(orr_real));
  if (!state->begun) {
    planner_sample(planner, s, 1, planner->batch, shape_uniform);
    return ORR_OK;
  }
  status = s->done ? ORR_OK : linearise(planner, s);
  if (status) return status;
  bool found = false;
  while (!found && !s->done && state->mu <= MU_MOST) {
    if (planner->deadline > 0 && orr_clock() > planner->deadline)
      return engine_fail(planner->engine, ORR_LATE, "the deadline of planning has passed");
    found = backward(planner, s, state->mu);
    if (!found) increase(state);
  }
  state->stuck = !found;
  for (int i = 1; i < planner->batch; i++) {
    orr_real *plan = s->candidates + (size_t)i * variables;
    double alpha = pow(10, -3.0 * (i - 1) / fmax(1, planner->batch - 2));
    if (found) forward(planner, s, alpha, plan);
    else memcpy(plan, s->mean, variables * sizeof(orr_real));
  }
  return ORR_OK;
}

static void update(orr_planner *planner, search *s) {
  const ilqr_options *options = planner->options;
  ilqr_shared *shared = planner->shared;
  ilqr_state *state = s->state;
  int winner = s->order[0];
  double gain = (double)s->returns[winner] - (double)s->returns[0];
  double least = options->tolerance * (1 + fabs((double)s->returns[winner]));
  bool better = winner != 0;
  if (better) {
    memcpy(s->mean, s->candidates + (size_t)winner * (size_t)planner->variables,
           (size_t)planner->variables * sizeof(orr_real));
    shared->linear_of = NULL;
  }
  if (!state->begun) {
    state->begun = true;
    return;
  }
  if (better) decrease(state);
  else increase(state);
  if (better && gain < least && isfinite(gain)) s->done = true;
  if (state->stuck || state->mu > MU_MOST) s->done = true;
}

const planner_type ilqr_planner = {.open = open,
                                   .close = close,
                                   .begin = begin,
                                   .sample = sample,
                                   .update = update,
                                   .executes_best = true,
                                   .derivatives = true,
                                   .starts = true};
