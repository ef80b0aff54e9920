/* box_qp.c - the least quadratic function inside bounds, by projected Newton steps (Bertsekas 1982;
   Tassa, Mansard and Todorov 2014, section III-B):

     minimise  x' H x / 2 + g' x   where   low <= x <= high

   Numbers at a bound that the slope pushes against are clamped; the others, the free ones, make a
   Newton step, shortened until the function falls enough. */
#include <math.h>

#include "plan/box_qp.h"

/* Lower triangle of the rows and columns of h that are free; false: not positive definite. */
static bool factor_free(box_qp *qp) {
  int n = qp->n, count = 0;
  double *l = qp->factor;
  for (int i = 0; i < n; i++)
    if (qp->free[i]) qp->places[count++] = i;
  qp->free_count = count;
  for (int i = 0; i < count; i++) {
    for (int j = 0; j <= i; j++) {
      double sum = qp->h[qp->places[i] * n + qp->places[j]];
      for (int k = 0; k < j; k++) sum -= l[i * n + k] * l[j * n + k];
      if (i > j) l[i * n + j] = sum / l[j * n + j];
      else if (!(sum > 1e-12)) return false;
      else l[i * n + i] = sqrt(sum);
    }
  }
  return true;
}

void box_qp_solve_free(const box_qp *qp, double *x) {
  int n = qp->n, count = qp->free_count;
  const double *l = qp->factor;
  for (int i = 0; i < count; i++) {
    for (int k = 0; k < i; k++) x[i] -= l[i * n + k] * x[k];
    x[i] /= l[i * n + i];
  }
  for (int i = count; i-- > 0;) {
    for (int k = i + 1; k < count; k++) x[i] -= l[k * n + i] * x[k];
    x[i] /= l[i * n + i];
  }
}

static double value_at(const box_qp *qp, const double *x) {
  double sum = 0;
  for (int i = 0; i < qp->n; i++) {
    double row = 0;
    for (int j = 0; j < qp->n; j++) row += qp->h[i * qp->n + j] * x[j];
    sum += x[i] * (row / 2 + qp->g[i]);
  }
  return sum;
}

/* Fills slope, and which numbers are free; answers whether these are others than before. */
static bool find_free(box_qp *qp) {
  bool changed = false;
  for (int i = 0; i < qp->n; i++) {
    double slope = qp->g[i];
    for (int j = 0; j < qp->n; j++) slope += qp->h[i * qp->n + j] * qp->x[j];
    bool clamped = (qp->x[i] <= qp->low[i] && slope > 0) || (qp->x[i] >= qp->high[i] && slope < 0);
    changed = changed || qp->free[i] == clamped;
    qp->free[i] = !clamped;
    qp->slope[i] = slope;
  }
  return changed;
}

/* Along the Newton direction as far as the function falls enough; answers how far numbers moved. */
static double step(box_qp *qp) {
  double decrease = 0, moved = 0;
  for (int i = 0; i < qp->n; i++) qp->direction[i] = 0;
  for (int i = 0; i < qp->free_count; i++) qp->trial[i] = -qp->slope[qp->places[i]];
  box_qp_solve_free(qp, qp->trial);
  for (int i = 0; i < qp->free_count; i++) {
    qp->direction[qp->places[i]] = qp->trial[i];
    decrease += qp->trial[i] * qp->slope[qp->places[i]];
  }
  double before = value_at(qp, qp->x);
  for (double length = 1; length > 1e-10; length *= 0.6) {
    for (int i = 0; i < qp->n; i++) {
      double x = qp->x[i] + length * qp->direction[i];
      qp->trial[i] = fmin(fmax(x, qp->low[i]), qp->high[i]);
    }
    if (value_at(qp, qp->trial) - before > 0.1 * length * decrease) continue;
    for (int i = 0; i < qp->n; i++) {
      moved = fmax(moved, fabs(qp->trial[i] - qp->x[i]));
      qp->x[i] = qp->trial[i];
    }
    break;
  }
  return moved;
}

bool box_qp_solve(box_qp *qp) {
  enum { STEPS = 100 };
  for (int i = 0; i < qp->n; i++) {
    qp->x[i] = fmin(fmax(0, qp->low[i]), qp->high[i]);
    qp->free[i] = true;
  }
  for (int i = 0; i < STEPS; i++) {
    bool changed = find_free(qp);
    if ((changed || i == 0) && !factor_free(qp)) return false;
    if (qp->free_count == 0 || step(qp) < 1e-12) return true;
  }
  return true;
}
