/* risk.c - from the returns of a plan's particles to what the plan is worth
   (include/orrery/risks.def).

   CVaR is exact for any share: of n returns in rising order the worst alpha n are averaged, the
   last of them with the part of it that is still within the share. */
#include "plan/risk.h"

#include <math.h>
#include <string.h>

#include "plan/heap.h"

static const struct {
  const char *name, *parameter, *doc;
  double value, low, high;
} rows[] = {
#define RISK(name, parameter, value, low, high, doc) {#name, parameter, doc, value, low, high},
#include "orrery/risks.def"
#undef RISK
};

int orr_risk_count(void) { return COUNT(rows); }

static bool is_known(int risk) { return risk >= 0 && risk < orr_risk_count(); }
const char *orr_risk_name(int risk) { return is_known(risk) ? rows[risk].name : NULL; }
const char *orr_risk_parameter(int risk) { return is_known(risk) ? rows[risk].parameter : NULL; }
const char *orr_risk_doc(int risk) { return is_known(risk) ? rows[risk].doc : NULL; }
double orr_risk_default(int risk) { return is_known(risk) ? rows[risk].value : 0; }

orr_status risk_check(orr_engine *engine, const orr_risk_options *options) {
  int risk = (int)options->measure;
  if (!is_known(risk))
    return engine_fail(engine, ORR_ARGUMENT, "risk: measure %d is none of the %d that there are",
                       risk, orr_risk_count());
  if (*rows[risk].parameter &&
      !(options->parameter >= rows[risk].low && options->parameter <= rows[risk].high))
    return engine_fail(engine, ORR_ARGUMENT, "risk '%s': %s must be within %g .. %g, not %g",
                       rows[risk].name, rows[risk].parameter, rows[risk].low, rows[risk].high,
                       options->parameter);
  return ORR_OK;
}

static bool is_less(const void *keys, const void *items, int a, int b) {
  const double *values = items;
  (void)keys;
  return values[a] < values[b];
}

static void swap(void *items, int a, int b) {
  double *values = items, held = values[a];
  values[a] = values[b];
  values[b] = held;
}

static void sort(double *values, int count) {
  heap all = {is_less, swap, NULL, values};
  heap_make(all, count);
  heap_sort(all, count);
}

static double mean_of(const double *values, int count) {
  double sum = 0;
  for (int i = 0; i < count; i++) sum += values[i];
  return sum / count;
}

/* Of the returns at hand, not an estimate for others: divides by their number. */
static double deviation_of(const double *values, int count, double mean) {
  double sum = 0;
  for (int i = 0; i < count; i++) sum += (values[i] - mean) * (values[i] - mean);
  return sqrt(sum / count);
}

static double worst_of(const double *values, int count) {
  double worst = values[0];
  for (int i = 1; i < count; i++)
    if (values[i] < worst) worst = values[i];
  return worst;
}

static double cvar_of(double *values, int count, double alpha) {
  double share = alpha * count, sum = 0;
  int whole = (int)share;
  sort(values, count);
  if (share <= 1) return values[0]; /* less than one of them is the worst one */
  for (int i = 0; i < whole; i++) sum += values[i];
  if (whole < count) sum += (share - whole) * values[whole];
  return sum / share;
}

double risk_measure(const orr_risk_options *options, double *values, int count) {
  for (int i = 0; i < count; i++)
    if (!isfinite(values[i])) return NAN;
  double mean = mean_of(values, count);
  switch (options->measure) {
  case ORR_RISK_mean: break;
  case ORR_RISK_worst: return worst_of(values, count);
  case ORR_RISK_cvar: return cvar_of(values, count, options->parameter);
  case ORR_RISK_mean_minus_deviations:
    return mean - options->parameter * deviation_of(values, count, mean);
  case ORR_RISK_optimistic: return mean + options->parameter * deviation_of(values, count, mean);
  }
  return mean;
}

double risk_measure_groups(const orr_risk_options *options, double *values, const int *sizes,
                           int groups) {
  const double *group = values;
  for (int g = 0; g < groups; g++) {
    int size = sizes[g];
    values[g] = mean_of(group, size); /* group g starts at or after its own number */
    group += size;
  }
  return risk_measure(options, values, groups);
}

orr_real violations_of(const double *probabilities, const double *limits, int count) {
  double sum = 0;
  for (int i = 0; i < count; i++) {
    double above = probabilities[i] - limits[i];
    if (above > 0) sum += above;
    else if (isnan(above)) return INFINITY;
  }
  return (orr_real)sum;
}

/* ---- derivatives ---- */

/* Returns that are equal share what falls to them, where they are the last within the share. */
static void cvar_weights(const double *values, int count, double alpha, double *sorted,
                         double *weights) {
  double share = fmax(alpha * count, 1);
  int below = 0, equal = 0, last = (int)ceil(share) - 1;
  memcpy(sorted, values, (size_t)count * sizeof *sorted);
  sort(sorted, count);
  double limit = sorted[last < count ? last : count - 1];
  for (int i = 0; i < count; i++) {
    below += values[i] < limit;
    equal += values[i] == limit;
  }
  for (int i = 0; i < count; i++)
    weights[i] = values[i] < limit    ? 1 / share
                 : values[i] == limit ? (share - below) / (share * equal)
                                      : 0;
}

void risk_weights(const orr_risk_options *options, const double *values, int count, double *sorted,
                  double *weights) {
  double mean = mean_of(values, count), deviation = deviation_of(values, count, mean), k = 0;
  switch (options->measure) {
  case ORR_RISK_mean: break;
  case ORR_RISK_worst: cvar_weights(values, count, 0, sorted, weights); return;
  case ORR_RISK_cvar: cvar_weights(values, count, options->parameter, sorted, weights); return;
  case ORR_RISK_mean_minus_deviations: k = -options->parameter; break;
  case ORR_RISK_optimistic: k = options->parameter; break;
  }
  for (int i = 0; i < count; i++)
    weights[i] = (1 + (deviation > 0 ? k * (values[i] - mean) / deviation : 0)) / count;
}

void risk_weights_groups(const orr_risk_options *options, double *values, const int *sizes,
                         int groups, double *sorted, double *weights) {
  const double *group = values;
  int count = 0;
  for (int g = 0; g < groups; g++) {
    count += sizes[g];
    values[g] = mean_of(group, sizes[g]);
    group += sizes[g];
  }
  risk_weights(options, values, groups, sorted, weights);
  /* from the last one on, as groups overlap with what is to be written */
  for (int g = groups; g-- > 0;) {
    double each = weights[g] / sizes[g];
    for (int i = 0; i < sizes[g]; i++) weights[--count] = each;
  }
}
