/* image.h - the canvas from inside. */
#ifndef IMAGE_H
#define IMAGE_H

#include "base/base.h"
#include "orrery/image.h"

struct orr_canvas {
  orr_engine *engine;
  atomic_int references;
  int width, height;
  int clip[4]; /* left, top, right, bottom: nothing is drawn outside; right and bottom excluded */
  uint8_t *pixels;
};

/* Whether a picture of that size is allowed; a message when not. */
bool image_size_allowed(orr_engine *engine, const char *what, int64_t width, int64_t height);

/* The part of the canvas that a box of pixels covers, in bounds; false when none. */
bool canvas_box(const orr_canvas *canvas, double left, double top, double right, double bottom,
                int box[4]);
/* Mixes the colour in with the share 0 .. 1 of the pixel that is covered. */
void canvas_blend(orr_canvas *canvas, int x, int y, double covered, orr_color color);
void canvas_clip(orr_canvas *canvas, double left, double top, double right, double bottom);
void canvas_clip_none(orr_canvas *canvas);

/* Distance of (x, y) to the segment. */
double segment_distance(double x, double y, double x0, double y0, double x1, double y1);
/* Share of a pixel at `distance` from the middle of a stroke of that width. */
double stroke_coverage(double distance, double width);

#endif
