/* clock.c - the time that deadlines are in. */
#include <time.h>

#include "base/base.h"

double orr_clock(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}
