/* text.c - a tensor for a person to read, in NumPy's manner:

     tensor 2x3 real
     [[ 0.5, 1,    2 ],
      [ 3,   4.25, 5 ]]   (with columns aligned to the right)

   Past MANY numbers, every axis longer than 2 * EDGE shows its first and last EDGE entries. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tensor/tensor.h"

enum { MANY = 200, EDGE = 3, DECIMALS = 4 };

typedef struct printer {
  const orr_tensor *x;
  char *text;
  size_t size, used;
  bool summarised, scientific;
  int width, decimals;
} printer;

static void put(printer *p, const char *text) {
  size_t n = strlen(text);
  for (size_t i = 0; i < n; i++, p->used++)
    if (p->used + 1 < p->size) p->text[p->used] = text[i];
}

static double value_at(const orr_tensor *x, int64_t offset) {
  const void *data = tensor_const_data(x);
  if (x->dtype == ORR_REAL) return (double)((const orr_real *)data)[offset];
  return x->dtype == ORR_INT ? (double)((const int32_t *)data)[offset]
                             : (double)((const uint8_t *)data)[offset];
}

static void format(const printer *p, double value, char *text, size_t size) {
  if (!isfinite(value))
    snprintf(text, size, "%s", value != value ? "nan" : value > 0 ? "inf" : "-inf");
  else if (p->scientific) snprintf(text, size, "%.*e", p->decimals, value);
  else snprintf(text, size, "%.*f", p->decimals, value == 0 ? 0.0 : value);
}

/* Calls visit for the numbers that are shown. */
static void each_shown(printer *p, int axis, int64_t offset, void (*visit)(printer *, double)) {
  const orr_tensor *x = p->x;
  if (axis == x->axes) {
    visit(p, value_at(x, offset));
    return;
  }
  int64_t n = x->shape[axis];
  for (int64_t i = 0; i < n; i++) {
    if (p->summarised && n > 2 * EDGE && i == EDGE) i = n - EDGE;
    each_shown(p, axis + 1, offset + i * x->strides[axis], visit);
  }
}

static void choose_notation(printer *p, double value) {
  double size = fabs(value);
  if (isfinite(value) && size != 0 && (size >= 1e8 || (size < 1e-4 && value != floor(value))))
    p->scientific = true;
}

/* The fewest decimals, up to DECIMALS, that lose nothing DECIMALS would show. */
static void choose_decimals(printer *p, double value) {
  char text[64];
  if (!isfinite(value)) return;
  if (p->scientific) snprintf(text, sizeof text, "%.*e", DECIMALS, value);
  else snprintf(text, sizeof text, "%.*f", DECIMALS, value);
  char *point = strchr(text, '.');
  for (int i = DECIMALS; point && i > p->decimals; i--)
    if (point[i] != '0') p->decimals = i;
}

static void choose_width(printer *p, double value) {
  char text[64];
  format(p, value, text, sizeof text);
  if ((int)strlen(text) > p->width) p->width = (int)strlen(text);
}

static void put_gap(printer *p, int axis) {
  if (axis == p->x->axes - 1) {
    put(p, ", ");
    return;
  }
  put(p, ",");
  for (int i = axis; i < p->x->axes - 1; i++) put(p, "\n"); /* an empty line between matrices */
  for (int i = 0; i <= axis; i++) put(p, " ");
}

static void put_axis(printer *p, int axis, int64_t offset) {
  const orr_tensor *x = p->x;
  if (axis == x->axes) {
    char text[64], cell[64 + 24];
    format(p, value_at(x, offset), text, sizeof text);
    snprintf(cell, sizeof cell, "%*s", p->width, text);
    put(p, cell);
    return;
  }
  put(p, "[");
  int64_t n = x->shape[axis];
  for (int64_t i = 0; i < n; i++) {
    if (i) put_gap(p, axis);
    if (p->summarised && n > 2 * EDGE && i == EDGE) {
      put(p, "...");
      put_gap(p, axis);
      i = n - EDGE;
    }
    put_axis(p, axis + 1, offset + i * x->strides[axis]);
  }
  put(p, "]");
}

size_t orr_tensor_text(const orr_tensor *x, char *text, size_t size) {
  printer p = {.x = x, .text = text, .size = size, .summarised = x->count > MANY};
  char shape[SHAPE_TEXT];
  put(&p, "tensor ");
  if (x->axes) put(&p, shape_text(shape, x->axes, x->shape));
  if (x->axes) put(&p, " ");
  put(&p, orr_dtype_name(x->dtype));
  if (x->count == 0) {
    put(&p, ", empty");
  } else {
    each_shown(&p, 0, 0, choose_notation);
    each_shown(&p, 0, 0, choose_decimals);
    each_shown(&p, 0, 0, choose_width);
    put(&p, "\n");
    put_axis(&p, 0, 0);
  }
  if (size) text[p.used < size ? p.used : size - 1] = 0;
  return p.used;
}
