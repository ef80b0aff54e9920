/* plot.c - line plots: title, legend under it, the field with quiet grid lines, labelled axes. */
#include <math.h>
#include <string.h>

#include "image/axis.h"
#include "image/image.h"

enum { INK = 0x22262bff, QUIET = 0x5b636dff, GRID = 0xe6e8ebff, FRAME = 0xa7adb5ff };

typedef struct series {
  struct series *next;
  char *label;
  double *numbers; /* x, y and, where has_band, low, high: `count` each */
  int count;
  bool has_band, dots, dashed;
  orr_color color;
} series;

struct orr_plot {
  orr_engine *engine;
  orr_plot_options options;
  char *title, *x_label, *y_label;
  char *names[TICKS];
  series *first, **last;
  int added;
};

/* Sizes in pixels, all from the height of the text. */
typedef struct layout {
  double text, heading;
  double left, top, right, bottom; /* of the field */
  int legend_rows;
  axis x, y;
} layout;

orr_plot_options orr_plot_options_defaults(void) {
  return (orr_plot_options){.size = sizeof(orr_plot_options),
                            .width = 960,
                            .height = 600,
                            .x_low = NAN,
                            .x_high = NAN,
                            .y_low = NAN,
                            .y_high = NAN};
}

/* Okabe and Ito's palette, without its yellow, which is too pale for lines, and two more. */
orr_color orr_palette(int index) {
  static const orr_color colors[] = {0x0072b2ff, 0xd55e00ff, 0x009e73ff, 0xcc79a7ff, 0xe69f00ff,
                                     0x56b4e9ff, 0x555b66ff, 0x6a3d9aff, 0x8c4b2fff};
  return colors[(unsigned)index % COUNT(colors)];
}

static bool copy_text(orr_engine *engine, const char *text, char **copy) {
  *copy = text && *text ? engine_copy_string(engine, text) : NULL;
  return *copy || !text || !*text;
}

orr_plot *orr_plot_new(orr_engine *engine, const orr_plot_options *given) {
  orr_plot_options options = orr_plot_options_defaults();
  if (READ_OPTIONS(engine, orr_plot_options, &options, given)) return NULL;
  if (options.width < 240 || options.height < 180) {
    engine_fail(engine, ORR_ARGUMENT,
                "a plot of %d x %d pixels is too small to read; 240 x 180 is the least",
                options.width, options.height);
    return NULL;
  }
  if (options.x_names_count < 0 || options.x_names_count > TICKS) {
    engine_fail(engine, ORR_ARGUMENT, "a plot of %d names on its x axis; %d at most",
                options.x_names_count, TICKS);
    return NULL;
  }
  if (!image_size_allowed(engine, "a plot", options.width, options.height)) return NULL;
  orr_plot *plot = engine_new_zeroed(engine, 1, sizeof *plot);
  if (!plot) return NULL;
  plot->engine = orr_engine_retain(engine);
  plot->options = options;
  plot->last = &plot->first;
  bool copied = copy_text(engine, options.title, &plot->title) &&
                copy_text(engine, options.x_label, &plot->x_label) &&
                copy_text(engine, options.y_label, &plot->y_label);
  for (int i = 0; i < options.x_names_count && copied; i++)
    copied = copy_text(engine, options.x_names[i], &plot->names[i]);
  if (copied) return plot;
  orr_plot_free(plot);
  return NULL;
}

static void series_free(orr_engine *engine, series *s) {
  if (!s) return;
  engine_free_memory(engine, s->label);
  engine_free_memory(engine, s->numbers);
  engine_free_memory(engine, s);
}

void orr_plot_free(orr_plot *plot) {
  if (!plot) return;
  orr_engine *engine = plot->engine;
  while (plot->first) {
    series *next = plot->first->next;
    series_free(engine, plot->first);
    plot->first = next;
  }
  engine_free_memory(engine, plot->title);
  engine_free_memory(engine, plot->x_label);
  engine_free_memory(engine, plot->y_label);
  for (int i = 0; i < TICKS; i++) engine_free_memory(engine, plot->names[i]);
  engine_free_memory(engine, plot);
  orr_engine_free(engine);
}

orr_status orr_plot_add(orr_plot *plot, const orr_series *given) {
  orr_engine *engine = plot->engine;
  if (given->count < 1 || !given->y)
    return engine_fail(engine, ORR_ARGUMENT, "series '%.80s' has no points",
                       given->label ? given->label : "?");
  series *s = engine_new_zeroed(engine, 1, sizeof *s);
  if (!s) return engine->status;
  s->count = given->count;
  s->has_band = given->low && given->high;
  s->dots = given->dots;
  s->dashed = given->dashed;
  s->color = given->color ? given->color : orr_palette(plot->added);
  s->numbers =
      engine_new_zeroed(engine, (size_t)s->count, (s->has_band ? 4 : 2) * sizeof *s->numbers);
  if (!s->numbers || !copy_text(engine, given->label, &s->label)) {
    series_free(engine, s);
    return engine->status;
  }
  size_t n = (size_t)s->count, bytes = n * sizeof *s->numbers;
  for (size_t i = 0; i < n; i++) s->numbers[i] = given->x ? given->x[i] : (double)(i + 1);
  memcpy(s->numbers + n, given->y, bytes);
  if (s->has_band) {
    memcpy(s->numbers + 2 * n, given->low, bytes);
    memcpy(s->numbers + 3 * n, given->high, bytes);
  }
  *plot->last = s;
  plot->last = &s->next;
  plot->added++;
  return ORR_OK;
}

static void widen(double range[2], double value, bool logarithmic) {
  if (!isfinite(value) || (logarithmic && value <= 0)) return;
  range[0] = fmin(range[0], value);
  range[1] = fmax(range[1], value);
}

/* Ticks at 1, 2, ... instead of the axis' own, half a place of room at either end. */
static void name_ticks(const orr_plot *plot, axis *x) {
  x->ticks = plot->options.x_names_count;
  for (int i = 0; i < x->ticks; i++) x->tick[i] = (tick){.value = i + 1, .text = "."};
}

static void fit_axes(const orr_plot *plot, layout *l) {
  const orr_plot_options *o = &plot->options;
  double x[2] = {INFINITY, -INFINITY}, y[2] = {INFINITY, -INFINITY};
  for (const series *s = plot->first; s; s = s->next) {
    for (int i = 0; i < s->count; i++) {
      widen(x, s->numbers[i], o->log_x);
      for (int k = 1; k < (s->has_band ? 4 : 2); k++)
        widen(y, s->numbers[k * s->count + i], o->log_y);
    }
  }
  l->x.logarithmic = o->log_x;
  l->y.logarithmic = o->log_y;
  if (o->x_names_count) x[0] = 0.5, x[1] = o->x_names_count + 0.5;
  bool named = o->x_names_count > 0;
  axis_fit(&l->x, isnan(o->x_low) ? x[0] : o->x_low, isnan(o->x_high) ? x[1] : o->x_high,
           named || !isnan(o->x_low), named || !isnan(o->x_high), o->width / 130 + 1);
  if (named) name_ticks(plot, &l->x);
  axis_fit(&l->y, isnan(o->y_low) ? y[0] : o->y_low, isnan(o->y_high) ? y[1] : o->y_high,
           !isnan(o->y_low), !isnan(o->y_high), o->height / 95 + 1);
}

static double tick_width(const layout *l, const tick *t) {
  return orr_text_width(l->text, t->text) +
         (t->power[0] ? 2 + orr_text_width(0.75 * l->text, t->power) : 0);
}

static double legend_entry(const layout *l, const series *s) {
  return s->label ? 2.6 * l->text + 8 + orr_text_width(l->text, s->label) + 2.2 * l->text : 0;
}

/* Rows that the legend needs between left and right. */
static int legend_rows(const orr_plot *plot, const layout *l) {
  double x = 0, room = plot->options.width - l->left - l->text;
  int rows = 0;
  for (const series *s = plot->first; s; s = s->next) {
    double wide = legend_entry(l, s);
    if (wide == 0) continue;
    if (rows == 0 || x + wide > room) rows++, x = 0;
    x += wide;
  }
  return rows;
}

static void lay_out(const orr_plot *plot, layout *l) {
  const orr_plot_options *o = &plot->options;
  l->text = o->width < 480 || o->height < 300 ? 8 : 10;
  l->heading = 1.4 * l->text;
  fit_axes(plot, l);
  double widest = 0;
  for (int i = 0; i < l->y.ticks; i++) widest = fmax(widest, tick_width(l, &l->y.tick[i]));
  l->left = floor(1.6 * l->text + (plot->y_label ? 2.2 * l->text : 0) + widest + 0.9 * l->text);
  l->legend_rows = legend_rows(plot, l);
  l->top = floor(1.6 * l->text + (plot->title ? l->heading + 1.4 * l->text : 0) +
                 l->legend_rows * 2.1 * l->text + (l->legend_rows ? 0.4 * l->text : 0));
  l->right = o->width - floor(2.4 * l->text);
  l->bottom = o->height -
              floor((o->x_names_count ? 5.2 : 3.6) * l->text + (plot->x_label ? 2.3 * l->text : 0));
  l->x.from = l->left, l->x.to = l->right;
  l->y.from = l->bottom, l->y.to = l->top;
}

static void draw_tick_text(orr_canvas *canvas, const layout *l, const tick *t, double x, double y,
                           orr_align align) {
  double wide = tick_width(l, t), start = align == ORR_CENTER ? x - wide / 2 : x - wide;
  orr_canvas_text(canvas, start, y, l->text, ORR_LEFT, 0, QUIET, t->text);
  if (t->power[0])
    orr_canvas_text(canvas, start + orr_text_width(l->text, t->text) + 2, y - 0.55 * l->text,
                    0.75 * l->text, ORR_LEFT, 0, QUIET, t->power);
}

/* A name under its place, in two lines where a blank or underscore lets it. */
static void draw_name(orr_canvas *canvas, const layout *l, const char *name, double x) {
  char text[TICK_TEXT];
  size_t length = strcspn(name, " _");
  if (length >= sizeof text) length = sizeof text - 1;
  memcpy(text, name, length);
  text[length] = 0;
  orr_canvas_text(canvas, x, l->bottom + 2.1 * l->text, l->text, ORR_CENTER, 0, QUIET, text);
  if (name[length])
    orr_canvas_text(canvas, x, l->bottom + 3.7 * l->text, l->text, ORR_CENTER, 0, QUIET,
                    name + length + 1);
}

static void draw_axes(orr_canvas *canvas, const orr_plot *plot, const layout *l) {
  double last = -INFINITY;
  for (int i = 0; i < l->x.ticks; i++) {
    const tick *t = &l->x.tick[i];
    double x = floor(axis_pixel(&l->x, t->value)) + 0.5, half = tick_width(l, t) / 2;
    if (x < l->left || x > l->right + 1) continue;
    if (t->text[0]) orr_canvas_line(canvas, x, l->top, x, l->bottom, 1, GRID);
    orr_canvas_line(canvas, x, l->bottom, x, l->bottom + (t->text[0] ? 5 : 3), 1, FRAME);
    if (plot->options.x_names_count) {
      if (plot->names[i]) draw_name(canvas, l, plot->names[i], x);
      continue;
    }
    if (!t->text[0] || x - half < last + l->text) continue;
    draw_tick_text(canvas, l, t, x, l->bottom + 2.1 * l->text, ORR_CENTER);
    last = x + half;
  }
  for (int i = 0; i < l->y.ticks; i++) {
    const tick *t = &l->y.tick[i];
    double y = floor(axis_pixel(&l->y, t->value)) + 0.5;
    if (y < l->top - 1 || y > l->bottom + 1) continue;
    if (t->text[0]) orr_canvas_line(canvas, l->left, y, l->right, y, 1, GRID);
    orr_canvas_line(canvas, l->left - (t->text[0] ? 5 : 3), y, l->left, y, 1, FRAME);
    if (t->text[0])
      draw_tick_text(canvas, l, t, l->left - 0.9 * l->text, y + l->text / 2, ORR_RIGHT);
  }
  orr_canvas_line(canvas, l->left + 0.5, l->top, l->left + 0.5, l->bottom + 0.5, 1, FRAME);
  orr_canvas_line(canvas, l->left, l->bottom + 0.5, l->right, l->bottom + 0.5, 1, FRAME);
  if (plot->x_label)
    orr_canvas_text(canvas, (l->left + l->right) / 2,
                    l->bottom + (plot->options.x_names_count ? 6.2 : 4.6) * l->text, l->text,
                    ORR_CENTER, 0, INK, plot->x_label);
  if (plot->y_label)
    orr_canvas_text(canvas, 2.2 * l->text, (l->top + l->bottom) / 2, l->text, ORR_CENTER, 90, INK,
                    plot->y_label);
}

/* Runs of points between gaps, in pixels. Returns the index behind the run; *n is its length. */
static int next_run(const series *s, const layout *l, int from, const double *values, double *xy,
                    int *n) {
  int i = from;
  *n = 0;
  for (; i < s->count; i++) {
    double x = axis_pixel(&l->x, s->numbers[i]), y = axis_pixel(&l->y, values[i]);
    if (!isfinite(x) || !isfinite(y)) {
      if (*n) break;
      continue;
    }
    xy[2 * *n] = x;
    xy[2 * *n + 1] = fmin(fmax(y, -1e6), 1e6);
    ++*n;
  }
  return i;
}

static void draw_dashes(orr_canvas *canvas, const double *xy, int n, double width,
                        orr_color color) {
  double on = 4.5 * width, off = 3 * width, done = 0;
  for (int i = 1; i < n; i++) {
    double x0 = xy[2 * i - 2], y0 = xy[2 * i - 1], dx = xy[2 * i] - x0, dy = xy[2 * i + 1] - y0;
    double length = hypot(dx, dy);
    if (length > 1e5) continue;
    for (double at = 0; at < length;) {
      double phase = fmod(done + at, on + off), left = phase < on ? on - phase : on + off - phase;
      double end = fmin(at + left + 1e-6, length);
      if (phase < on)
        orr_canvas_line(canvas, x0 + dx * at / length, y0 + dy * at / length,
                        x0 + dx * end / length, y0 + dy * end / length, width, color);
      at = end;
    }
    done += length;
  }
}

static orr_status draw_line(orr_canvas *canvas, const series *s, const layout *l, double *xy) {
  const double *y = s->numbers + s->count;
  orr_status status = ORR_OK;
  double width = l->text / 4.5;
  for (int at = 0, n; at < s->count && !status;) {
    at = next_run(s, l, at, y, xy, &n);
    if (s->dots || n == 1)
      for (int i = 0; i < n; i++)
        orr_canvas_disc(canvas, xy[2 * i], xy[2 * i + 1], 1.5 * width, s->color);
    else if (s->dashed) draw_dashes(canvas, xy, n, width, s->color);
    else if (n) status = orr_canvas_polyline(canvas, xy, n, width, s->color);
  }
  return status;
}

static orr_status draw_band(orr_canvas *canvas, const series *s, const layout *l, double *xy) {
  const double *low = s->numbers + 2 * s->count, *high = s->numbers + 3 * s->count;
  int n = 0;
  orr_status status = ORR_OK;
  for (int i = 0; i <= s->count && !status; i++) {
    double x = i < s->count ? axis_pixel(&l->x, s->numbers[i]) : (double)NAN;
    double a = x, b = x;
    if (i < s->count) {
      a = axis_pixel(&l->y, l->y.logarithmic ? fmax(low[i], l->y.low / 10) : low[i]);
      b = axis_pixel(&l->y, high[i]);
    }
    if (isfinite(x + a +
                 b)) { /* up the list the low ends, down the end of the list the high ones */
      xy[2 * n] = x, xy[2 * n + 1] = fmin(fmax(a, -1e6), 1e6);
      xy[4 * s->count - 2 * n - 2] = x, xy[4 * s->count - 2 * n - 1] = fmin(fmax(b, -1e6), 1e6);
      n++;
      continue;
    }
    memmove(xy + 2 * n, xy + 4 * s->count - 2 * n, (size_t)n * 2 * sizeof *xy);
    if (n > 1) status = orr_canvas_polygon(canvas, xy, 2 * n, (s->color & 0xffffff00u) | 0x38);
    n = 0;
  }
  return status;
}

/* Bars from low to high, for dots. */
static void draw_bars(orr_canvas *canvas, const series *s, const layout *l) {
  for (int i = 0; i < s->count; i++) {
    double x = axis_pixel(&l->x, s->numbers[i]);
    double low = axis_pixel(&l->y, s->numbers[2 * s->count + i]);
    double high = axis_pixel(&l->y, s->numbers[3 * s->count + i]);
    if (isfinite(x + low + high))
      orr_canvas_line(canvas, x, fmin(fmax(low, -1e6), 1e6), x, fmin(fmax(high, -1e6), 1e6),
                      l->text / 6, s->color);
  }
}

static orr_status draw_series(orr_canvas *canvas, const orr_plot *plot, const layout *l) {
  int most = 1;
  for (const series *s = plot->first; s; s = s->next) most = s->count > most ? s->count : most;
  double *xy = engine_new(plot->engine, (size_t)most, 4 * sizeof *xy);
  if (!xy) return plot->engine->status;
  orr_status status = ORR_OK;
  canvas_clip(canvas, l->left, l->top - 2, l->right + 2, l->bottom + 1);
  for (const series *s = plot->first; s && !status; s = s->next)
    if (s->has_band && s->dots) draw_bars(canvas, s, l);
    else if (s->has_band) status = draw_band(canvas, s, l, xy);
  for (const series *s = plot->first; s && !status; s = s->next)
    status = draw_line(canvas, s, l, xy);
  canvas_clip_none(canvas);
  engine_free_memory(plot->engine, xy);
  return status;
}

static void draw_legend(orr_canvas *canvas, const orr_plot *plot, const layout *l) {
  double x = l->left, room = plot->options.width - l->text, sample = 2.6 * l->text,
         width = l->text / 3.2;
  double y = l->top - l->legend_rows * 2.1 * l->text - 0.4 * l->text + 1.2 * l->text;
  for (const series *s = plot->first; s; s = s->next) {
    double wide = legend_entry(l, s);
    if (wide == 0) continue;
    if (x > l->left && x + wide > room) x = l->left, y += 2.1 * l->text;
    double middle = floor(y - l->text / 2) + 0.5, xy[4] = {x, middle, x + sample, middle};
    if (s->has_band && !s->dots)
      orr_canvas_rectangle(canvas, x, middle - 0.5 * l->text, sample, l->text, 0,
                           (s->color & 0xffffff00u) | 0x38);
    if (s->dots) orr_canvas_disc(canvas, x + sample / 2, middle, 1.1 * width, s->color);
    else if (s->dashed) draw_dashes(canvas, xy, 2, width, s->color);
    else orr_canvas_line(canvas, x, middle, x + sample, middle, width, s->color);
    orr_canvas_text(canvas, x + sample + 8, y, l->text, ORR_LEFT, 0, INK, s->label);
    x += wide;
  }
}

orr_canvas *orr_plot_draw(orr_plot *plot) {
  const orr_plot_options *o = &plot->options;
  layout l = {0};
  lay_out(plot, &l);
  if (l.right - l.left < 60 || l.bottom - l.top < 40) {
    engine_fail(plot->engine, ORR_ARGUMENT,
                "a plot of %d x %d pixels leaves no room beside its labels; make it larger",
                o->width, o->height);
    return NULL;
  }
  orr_canvas *canvas = orr_canvas_new(plot->engine, o->width, o->height);
  if (!canvas) return NULL;
  if (plot->title)
    orr_canvas_text(canvas, l.left, 1.6 * l.text + l.heading, l.heading, ORR_LEFT, 0, INK,
                    plot->title);
  draw_axes(canvas, plot, &l);
  draw_legend(canvas, plot, &l);
  if (!draw_series(canvas, plot, &l)) return canvas;
  orr_canvas_free(canvas);
  return NULL;
}
