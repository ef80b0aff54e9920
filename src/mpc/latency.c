/* latency.c - a log-spaced histogram of seconds, from 100 ns upwards. */
#include "mpc/latency.h"

#include <math.h>

static const double shortest = 1e-7;

void latency_add(latency *histogram, double seconds) {
  int last = LATENCY_PER_OCTAVE * LATENCY_OCTAVES - 1;
  double place = seconds > shortest ? log2(seconds / shortest) * LATENCY_PER_OCTAVE : 0;
  histogram->buckets[place < last ? (int)place : last]++;
  histogram->count++;
  histogram->sum += seconds;
  if (seconds > histogram->max) histogram->max = seconds;
}

double latency_quantile(const latency *histogram, double q) {
  int64_t below = 0, wanted = (int64_t)ceil(q * (double)histogram->count);
  if (!histogram->count) return 0;
  for (int i = 0; i < LATENCY_PER_OCTAVE * LATENCY_OCTAVES; i++) {
    below += histogram->buckets[i];
    if (below < wanted) continue;
    double edge = shortest * exp2((double)(i + 1) / LATENCY_PER_OCTAVE);
    return edge < histogram->max ? edge : histogram->max;
  }
  return histogram->max;
}
