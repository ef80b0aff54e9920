/* axis.c - ticks at 1, 2 or 5 times a power of ten, or at the powers on a logarithmic axis. */
#include "image/axis.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void number_text(char *text, size_t size, double value, int decimals) {
  char plain[64];
  snprintf(plain, sizeof plain, "%.*f", decimals, fabs(value));
  for (char *c = plain; *c; c++)
    if ((*c < '0' || *c > '9') && *c != 'e') *c = '.'; /* the host may have set a locale */
  bool zero = strspn(plain, "0.") == strlen(plain);
  snprintf(text, size, "%s%s", value < 0 && !zero ? "\xe2\x88\x92" : "", plain);
}

/* The least of 1, 2, 5 times a power of ten that is not below x. */
static double nice_step(double x) {
  double power = pow(10, floor(log10(x))), part = x / power;
  return power * (part <= 1.0001 ? 1 : part <= 2.0001 ? 2 : part <= 5.0001 ? 5 : 10);
}

static void add_tick(axis *a, double value, const char *text, const char *power) {
  if (a->ticks == TICKS) return;
  tick *t = &a->tick[a->ticks++];
  t->value = value;
  snprintf(t->text, sizeof t->text, "%s", text);
  snprintf(t->power, sizeof t->power, "%s", power);
}

/* Large numbers get a letter, very small ones a power of ten. */
static void linear_ticks(axis *a, int wanted) {
  double step = nice_step((a->high - a->low) / wanted), most = fmax(fabs(a->low), fabs(a->high));
  double unit = most >= 1e9 ? 1e9 : most >= 1e6 ? 1e6 : most >= 1e4 ? 1e3 : 1;
  const char *letter = most >= 1e9 ? "G" : most >= 1e6 ? "M" : most >= 1e4 ? "k" : "";
  bool tiny = most < 1e-4;
  int exponent = tiny ? (int)floor(log10(most)) : 0;
  if (tiny) unit = pow(10, exponent);
  int decimals = (int)fmax(0, ceil(-log10(step / unit) - 1e-9));
  if (decimals > 9) decimals = 9;
  for (double k = ceil(a->low / step - 1e-9); k * step <= a->high + 1e-9 * step; k++) {
    char text[TICK_TEXT], number[TICK_TEXT - 8], power[TICK_TEXT] = "";
    number_text(number, sizeof number, k * step / unit, decimals);
    snprintf(text, sizeof text, "%s%s", number,
             k == 0 ? ""
             : tiny ? "\xc3\x97"
                      "10"
                    : letter);
    if (tiny && k != 0) number_text(power, sizeof power, exponent, 0);
    add_tick(a, k * step, text, power);
    if (a->ticks == TICKS) break;
  }
}

static void power_tick(axis *a, int exponent) {
  char text[TICK_TEXT], power[TICK_TEXT] = "";
  double value = pow(10, exponent);
  if (exponent >= -3 && exponent <= 4) {
    number_text(text, sizeof text, value, exponent < 0 ? -exponent : 0);
  } else {
    snprintf(text, sizeof text, "10");
    number_text(power, sizeof power, exponent, 0);
  }
  add_tick(a, value, text, power);
}

static void log_ticks(axis *a, int wanted) {
  double low = log10(a->low), high = log10(a->high);
  int first = (int)ceil(low - 1e-9), last = (int)floor(high + 1e-9);
  if (last - first < 1) { /* within two powers: the numbers between are needed */
    linear_ticks(a, wanted);
    return;
  }
  int every = (last - first) / wanted + 1;
  for (int e = first; e <= last; e += every) power_tick(a, e);
  for (int e = first; e <= last; e++)
    if ((e - first) % every) add_tick(a, pow(10, e), "", "");
  for (int e = first - 1; e <= last && every == 1 && last - first <= 3; e++)
    for (int k = 2; k <= 9; k++)
      if (k * pow(10, e) > a->low && k * pow(10, e) < a->high) add_tick(a, k * pow(10, e), "", "");
}

void axis_fit(axis *a, double low, double high, bool fixed_low, bool fixed_high, int wanted) {
  if (a->logarithmic) {
    if (!(low > 0)) low = high > 0 ? high / 1000 : 1;
    if (!(high > 0)) high = low * 10;
  }
  if (isfinite(low) && isfinite(high)) { /* room for widening, in double */
    low = fmin(fmax(low, a->logarithmic ? 1e-200 : -1e300), 1e300);
    high = fmin(fmax(high, a->logarithmic ? 1e-200 : -1e300), 1e300);
  }
  if (!isfinite(low) || !isfinite(high))
    low = a->logarithmic ? 1 : 0, high = a->logarithmic ? 10 : 1;
  if (high < low) {
    double other = low;
    low = high, high = other;
  }
  double room = a->logarithmic ? log10(high / low) : high - low;
  double least = a->logarithmic ? 1e-3 : 1e-9 * fmax(fabs(low), fabs(high));
  if (room <= least) room = a->logarithmic ? 1 : low == 0 ? 1 : 0.2 * fabs(low), room *= 10;
  double more = fmin(0.05 * room, a->logarithmic ? 20 : INFINITY);
  if (a->logarithmic) {
    a->low = fixed_low ? low : low / pow(10, more);
    a->high = fixed_high ? high : high * pow(10, more);
  } else {
    a->low = fixed_low ? low : low - more;
    a->high = fixed_high ? high : high + more;
  }
  if (!(a->high > a->low)) a->high = a->low + (a->low == 0 ? 1 : fabs(a->low));
  a->ticks = 0;
  if (a->logarithmic) log_ticks(a, wanted);
  else linear_ticks(a, wanted);
}

double axis_pixel(const axis *a, double value) {
  double share;
  if (a->logarithmic) share = value > 0 ? log(value / a->low) / log(a->high / a->low) : (double)NAN;
  else share = (value - a->low) / (a->high - a->low);
  return a->from + share * (a->to - a->from);
}
