/* canvas.c - anti-aliased shapes: how much of a pixel a shape covers follows from the signed
   distance of the pixel's middle to the shape's edge. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "image/image.h"

bool image_size_allowed(orr_engine *engine, const char *what, int64_t width, int64_t height) {
  if (width >= 1 && height >= 1 && width <= ORR_IMAGE_SIDE && height <= ORR_IMAGE_SIDE &&
      width * height <= ORR_IMAGE_PIXELS)
    return true;
  engine_fail(engine, ORR_SHAPE,
              "%s of %lld x %lld pixels: sides are 1 to %d pixels, %d Mpx at most", what,
              (long long)width, (long long)height, ORR_IMAGE_SIDE, ORR_IMAGE_PIXELS >> 20);
  return false;
}

orr_canvas *orr_canvas_new(orr_engine *engine, int width, int height) {
  if (!image_size_allowed(engine, "a canvas", width, height)) return NULL;
  orr_canvas *canvas = engine_new_zeroed(engine, 1, sizeof *canvas);
  if (!canvas) return NULL;
  size_t bytes = (size_t)width * (size_t)height * 3;
  canvas->pixels = engine_new(engine, bytes, 1);
  if (!canvas->pixels) {
    engine_free_memory(engine, canvas);
    return NULL;
  }
  memset(canvas->pixels, 255, bytes);
  canvas->engine = orr_engine_retain(engine);
  atomic_init(&canvas->references, 1);
  canvas->width = width;
  canvas->height = height;
  canvas_clip_none(canvas);
  return canvas;
}

orr_canvas *orr_canvas_retain(orr_canvas *canvas) {
  if (canvas) atomic_fetch_add(&canvas->references, 1);
  return canvas;
}

void orr_canvas_free(orr_canvas *canvas) {
  if (!canvas || atomic_fetch_sub(&canvas->references, 1) != 1) return;
  orr_engine *engine = canvas->engine;
  engine_free_memory(engine, canvas->pixels);
  engine_free_memory(engine, canvas);
  orr_engine_free(engine);
}

orr_engine *orr_canvas_engine(const orr_canvas *canvas) { return canvas->engine; }
int orr_canvas_width(const orr_canvas *canvas) { return canvas->width; }
int orr_canvas_height(const orr_canvas *canvas) { return canvas->height; }
uint8_t *orr_canvas_pixels(orr_canvas *canvas) { return canvas->pixels; }

orr_status orr_canvas_save(orr_canvas *canvas, const char *path) {
  return orr_png_save(canvas->engine, path, canvas->pixels, canvas->width, canvas->height, 3);
}

static int inside(double x, int low, int high) {
  return x <= low ? low : x >= high ? high : (int)x;
}

bool canvas_box(const orr_canvas *canvas, double left, double top, double right, double bottom,
                int box[4]) {
  if (!(left <= right && top <= bottom)) return false; /* also NaN */
  box[0] = inside(floor(left), canvas->clip[0], canvas->clip[2]);
  box[1] = inside(floor(top), canvas->clip[1], canvas->clip[3]);
  box[2] = inside(ceil(right), canvas->clip[0], canvas->clip[2]);
  box[3] = inside(ceil(bottom), canvas->clip[1], canvas->clip[3]);
  return box[0] < box[2] && box[1] < box[3];
}

void canvas_clip(orr_canvas *canvas, double left, double top, double right, double bottom) {
  canvas_clip_none(canvas);
  if (!canvas_box(canvas, left, top, right, bottom, canvas->clip))
    memset(canvas->clip, 0, sizeof canvas->clip);
}

void canvas_clip_none(orr_canvas *canvas) {
  canvas->clip[0] = canvas->clip[1] = 0;
  canvas->clip[2] = canvas->width;
  canvas->clip[3] = canvas->height;
}

void canvas_blend(orr_canvas *canvas, int x, int y, double covered, orr_color color) {
  if (!(covered > 0)) return; /* also NaN */
  int alpha = (int)(fmin(covered, 1) * (color & 255) + 0.5);
  uint8_t *pixel = canvas->pixels + ((size_t)y * (size_t)canvas->width + (size_t)x) * 3;
  for (int c = 0; c < 3; c++) {
    int ink = (int)(color >> (24 - 8 * c) & 255);
    pixel[c] = (uint8_t)((ink * alpha + pixel[c] * (255 - alpha) + 127) / 255);
  }
}

void orr_canvas_clear(orr_canvas *canvas, orr_color color) {
  uint8_t rgb[3] = {(uint8_t)(color >> 24), (uint8_t)(color >> 16), (uint8_t)(color >> 8)};
  size_t n = (size_t)canvas->width * (size_t)canvas->height;
  for (size_t i = 0; i < n; i++) memcpy(canvas->pixels + 3 * i, rgb, 3);
}

double segment_distance(double x, double y, double x0, double y0, double x1, double y1) {
  double dx = x1 - x0, dy = y1 - y0, length2 = dx * dx + dy * dy;
  double t = length2 > 0 ? ((x - x0) * dx + (y - y0) * dy) / length2 : 0;
  t = t < 0 ? 0 : t > 1 ? 1 : t;
  dx = x - x0 - t * dx;
  dy = y - y0 - t * dy;
  return sqrt(dx * dx + dy * dy);
}

/* Overlap of the pixel [d - 1/2, d + 1/2] with the stroke [-w/2, w/2]. */
double stroke_coverage(double distance, double width) {
  double covered = fmin(distance + 0.5, width / 2) - fmax(distance - 0.5, -width / 2);
  return covered > 0 ? covered : 0;
}

/* Long segments are cut into pieces, so that the boxes looked at stay small. */
static int pieces(double x0, double y0, double x1, double y1) {
  double across = fabs(x1 - x0), down = fabs(y1 - y0), least = fmin(across, down);
  double n = least / 24 + 1;
  return n < 1024 ? (int)n : 1024;
}

/* Where strokes gather before they are mixed in: the greatest coverage of each pixel. */
typedef struct mask {
  int left, top, width, height;
  uint8_t *covered;
} mask;

static void put_mask(mask *m, int x, int y, double covered) {
  if (!(covered > 0)) return;
  uint8_t *cell = m->covered + (size_t)(y - m->top) * (size_t)m->width + (size_t)(x - m->left);
  int value = (int)(255 * covered + 0.5);
  if (value > *cell) *cell = (uint8_t)(value > 255 ? 255 : value);
}

static void walk_segment(const orr_canvas *canvas, double x0, double y0, double x1, double y1,
                         double width, mask *m) {
  double reach = width / 2 + 1;
  int n = pieces(x0, y0, x1, y1);
  for (int i = 0; i < n; i++) {
    double ax = x0 + (x1 - x0) * i / n, ay = y0 + (y1 - y0) * i / n;
    double bx = x0 + (x1 - x0) * (i + 1) / n, by = y0 + (y1 - y0) * (i + 1) / n;
    int box[4];
    if (!canvas_box(canvas, fmin(ax, bx) - reach, fmin(ay, by) - reach, fmax(ax, bx) + reach,
                    fmax(ay, by) + reach, box))
      continue;
    for (int y = box[1]; y < box[3]; y++)
      for (int x = box[0]; x < box[2]; x++)
        put_mask(m, x, y,
                 stroke_coverage(segment_distance(x + 0.5, y + 0.5, ax, ay, bx, by), width));
  }
}

static bool box_of_points(const orr_canvas *canvas, const double *xy, int count, double reach,
                          int box[4]) {
  double low[2] = {INFINITY, INFINITY}, high[2] = {-INFINITY, -INFINITY};
  for (int i = 0; i < 2 * count; i++) {
    low[i % 2] = fmin(low[i % 2], xy[i]);
    high[i % 2] = fmax(high[i % 2], xy[i]);
  }
  return canvas_box(canvas, low[0] - reach, low[1] - reach, high[0] + reach, high[1] + reach, box);
}

orr_status orr_canvas_polyline(orr_canvas *canvas, const double *xy, int count, double width,
                               orr_color color) {
  int box[4];
  if (count < 1 || !box_of_points(canvas, xy, count, width / 2 + 1, box)) return ORR_OK;
  mask m = {box[0], box[1], box[2] - box[0], box[3] - box[1], NULL};
  m.covered = engine_new_zeroed(canvas->engine, (size_t)m.width, (size_t)m.height);
  if (!m.covered) return ORR_MEMORY;
  int clip[4];
  memcpy(clip, canvas->clip, sizeof clip);
  memcpy(canvas->clip, box, sizeof box); /* pieces of far segments are rounded, and may stray */
  for (int i = 0; i < count; i++) {
    const double *a = xy + 2 * (i ? i - 1 : 0), *b = xy + 2 * i;
    if (isfinite(a[0] + a[1] + b[0] + b[1]))
      walk_segment(canvas, a[0], a[1], b[0], b[1], width, &m);
  }
  memcpy(canvas->clip, clip, sizeof clip);
  for (int y = 0; y < m.height; y++)
    for (int x = 0; x < m.width; x++)
      canvas_blend(canvas, x + m.left, y + m.top,
                   m.covered[(size_t)y * (size_t)m.width + (size_t)x] / 255.0, color);
  engine_free_memory(canvas->engine, m.covered);
  return ORR_OK;
}

void orr_canvas_line(orr_canvas *canvas, double x0, double y0, double x1, double y1, double width,
                     orr_color color) {
  double xy[4] = {x0, y0, x1, y1};
  orr_canvas_polyline(canvas, xy, 2, width, color);
}

void orr_canvas_ring(orr_canvas *canvas, double x, double y, double radius, double width,
                     orr_color color) {
  int box[4];
  double reach = radius + width / 2 + 1;
  if (!canvas_box(canvas, x - reach, y - reach, x + reach, y + reach, box)) return;
  for (int j = box[1]; j < box[3]; j++)
    for (int i = box[0]; i < box[2]; i++)
      canvas_blend(canvas, i, j,
                   stroke_coverage(fabs(hypot(i + 0.5 - x, j + 0.5 - y) - radius), width), color);
}

void orr_canvas_disc(orr_canvas *canvas, double x, double y, double radius, orr_color color) {
  orr_canvas_ring(canvas, x, y, 0, 2 * radius, color);
}

static double overlap(double pixel, double low, double high) {
  double covered = fmin(pixel + 1, high) - fmax(pixel, low);
  return covered > 0 ? covered : 0;
}

void orr_canvas_rectangle(orr_canvas *canvas, double x, double y, double width, double height,
                          double radius, orr_color color) {
  int box[4];
  if (!canvas_box(canvas, x, y, x + width, y + height, box)) return;
  radius = fmin(radius, fmin(width, height) / 2);
  for (int j = box[1]; j < box[3]; j++) {
    for (int i = box[0]; i < box[2]; i++) {
      double covered = overlap(i, x, x + width) * overlap(j, y, y + height);
      double dx = fabs(i + 0.5 - x - width / 2) - width / 2 + radius;
      double dy = fabs(j + 0.5 - y - height / 2) - height / 2 + radius;
      if (dx > 0 && dy > 0) covered = fmin(fmax(radius - hypot(dx, dy) + 0.5, 0), 1);
      canvas_blend(canvas, i, j, covered, color);
    }
  }
}

static int compare_numbers(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Where the horizontal line at y crosses the outline, sorted. */
static int crossings(const double *xy, int count, double y, double *found) {
  int n = 0;
  for (int i = 0; i < count; i++) {
    const double *a = xy + 2 * i, *b = xy + 2 * ((i + 1) % count);
    if ((a[1] <= y) == (b[1] <= y)) continue;
    found[n++] = a[0] + (y - a[1]) / (b[1] - a[1]) * (b[0] - a[0]);
  }
  qsort(found, (size_t)n, sizeof *found, compare_numbers);
  return n;
}

/* Each row is the mean of SLICES lines, whose ends are exact along x. */
orr_status orr_canvas_polygon(orr_canvas *canvas, const double *xy, int count, orr_color color) {
  enum { SLICES = 8 };
  int box[4];
  for (int i = 0; i < 2 * count; i++)
    if (!isfinite(xy[i])) return ORR_OK;
  if (count < 3 || !box_of_points(canvas, xy, count, 0, box)) return ORR_OK;
  int width = box[2] - box[0];
  double *found = engine_new(canvas->engine, (size_t)count + (size_t)width, sizeof *found);
  if (!found) return ORR_MEMORY;
  double *covered = found + count;
  for (int y = box[1]; y < box[3]; y++) {
    memset(covered, 0, (size_t)width * sizeof *covered);
    for (int s = 0; s < SLICES; s++) {
      int n = crossings(xy, count, y + (s + 0.5) / SLICES, found);
      for (int k = 0; k + 1 < n; k += 2) {
        int span[4];
        if (!canvas_box(canvas, found[k], y, found[k + 1], y + 1, span)) continue;
        for (int x = span[0]; x < span[2]; x++)
          covered[x - box[0]] += overlap(x, found[k], found[k + 1]) / SLICES;
      }
    }
    for (int x = 0; x < width; x++) canvas_blend(canvas, box[0] + x, y, covered[x], color);
  }
  engine_free_memory(canvas->engine, found);
  return ORR_OK;
}

void orr_canvas_picture(orr_canvas *canvas, int x, int y, const uint8_t *pixels, int width,
                        int height, int channels, int scale) {
  int box[4];
  if (scale < 1 ||
      !canvas_box(canvas, x, y, x + (double)width * scale, y + (double)height * scale, box))
    return;
  for (int j = box[1]; j < box[3]; j++) {
    for (int i = box[0]; i < box[2]; i++) {
      const uint8_t *from = pixels + ((size_t)(((int64_t)j - y) / scale) * (size_t)width +
                                      (size_t)(((int64_t)i - x) / scale)) *
                                         (size_t)channels;
      orr_color r = from[0], g = channels < 3 ? r : from[1], b = channels < 3 ? r : from[2];
      orr_color a = channels % 2 ? 255 : from[channels - 1];
      canvas_blend(canvas, i, j, 1, r << 24 | g << 16 | b << 8 | a);
    }
  }
}
