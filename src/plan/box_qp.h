/* box_qp.h - the least quadratic function inside bounds: see box_qp.c. */
#ifndef PLAN_BOX_QP_H
#define PLAN_BOX_QP_H

#include "base/base.h"

typedef struct box_qp {
  int n;
  double *h, *g;                     /* [n][n], symmetric, and [n]: to be set ... */
  double *low, *high;                /* [n]: ... and the bounds, which may be infinite */
  double *x;                         /* [n]: the result */
  bool *free;                        /* [n]: which of its numbers are not held by a bound */
  int free_count;                    /* of these */
  int *places;                       /* [free_count]: where they are in x */
  double *factor;                    /* [n][n]: of the free rows and columns of h */
  double *slope, *direction, *trial; /* [n] to work in */
} box_qp;

/* False: h, without the rows and columns that bounds hold, is not positive definite. */
bool box_qp_solve(box_qp *qp);
/* After that: solves h x = given, for the free rows and columns; x[free_count] in place. */
void box_qp_solve_free(const box_qp *qp, double *x);

#endif
