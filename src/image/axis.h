/* axis.h - one axis of a plot: its range, where its ticks are and what they are called. */
#ifndef IMAGE_AXIS_H
#define IMAGE_AXIS_H

#include <stdbool.h>
#include <stddef.h>

enum { TICKS = 32, TICK_TEXT = 32 };

typedef struct tick {
  double value;
  char text[TICK_TEXT];  /* empty: a small tick without a name */
  char power[TICK_TEXT]; /* raised behind it, or empty */
} tick;

typedef struct axis {
  bool logarithmic;
  double low, high; /* of the data's values */
  double from, to;  /* pixels of low and high */
  int ticks;
  tick tick[TICKS];
} axis;

/* Fits the range to data in low .. high (widened a little unless given as fixed), and sets about
   `wanted` ticks. */
void axis_fit(axis *a, double low, double high, bool fixed_low, bool fixed_high, int wanted);
/* The pixel of a value; NaN for what a logarithmic axis cannot show. */
double axis_pixel(const axis *a, double value);
/* A number as people write it, with a true minus sign and a point whatever the locale: `decimals`
   digits behind the point. */
void number_text(char *text, size_t size, double value, int decimals);

#endif
