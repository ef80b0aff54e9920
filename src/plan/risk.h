/* risk.h - what a plan is worth whose particles differ, and by how much it breaks constraints. */
#ifndef PLAN_RISK_H
#define PLAN_RISK_H

#include "plan/plan.h"

/* Refuses unknown measures, and parameters out of range. */
orr_status risk_check(orr_engine *engine, const orr_risk_options *options);
/* Of `count` returns, which may be left in another order; NaN when one is not finite. */
double risk_measure(const orr_risk_options *options, double *values, int count);
/* The same of the means of groups, which follow each other; each group weighs the same. Overwrites
   values. */
double risk_measure_groups(const orr_risk_options *options, double *values, const int *sizes,
                           int groups);
/* The derivative of a measure by each of the returns, which are finite; sorted: [count] to work
   in. */
void risk_weights(const orr_risk_options *options, const double *values, int count, double *sorted,
                  double *weights);
/* The same by groups; weights of all returns. Overwrites values. */
void risk_weights_groups(const orr_risk_options *options, double *values, const int *sizes,
                         int groups, double *sorted, double *weights);
/* By how much probabilities exceed their limits, in sum. */
orr_real violations_of(const double *probabilities, const double *limits, int count);

#endif
