/* latency.h - how long calls take: a histogram of constant size with buckets of 2.2 %, so that
   percentiles cost nothing while acting. */
#ifndef LATENCY_H
#define LATENCY_H

#include <stdint.h>

enum { LATENCY_PER_OCTAVE = 32, LATENCY_OCTAVES = 40 };

typedef struct latency {
  int64_t count;
  double sum, max; /* seconds */
  int64_t buckets[LATENCY_PER_OCTAVE * LATENCY_OCTAVES];
} latency;

void latency_add(latency *histogram, double seconds);
/* The smallest bucket's upper edge below which a share `q` of the calls lies; 0 without calls. */
double latency_quantile(const latency *histogram, double q);

#endif
