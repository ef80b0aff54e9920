/* number.c - the rows of ops.def on plain doubles: what a script's own numbers go through. The
   expressions are the kernels', compiled once more with double for orr_real. */
#include "orrery/tensor.h"

#ifndef ORR_DOUBLE
#define ORR_DOUBLE
#endif
#define orr_real double
#include "kernel/math.h"

#define UNARY(name, forward, ...) \
  double orr_number_##name(double x) { return forward; }
#define BINARY(name, forward, ...) \
  double orr_number_##name(double a, double b) { return forward; }
#define STRUCTURED(...)
#include "orrery/ops.def"
