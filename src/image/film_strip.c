/* film_strip.c - pictures side by side, each with its caption below. */
#include <math.h>

#include "image/image.h"

enum { GAP = 12, MARGIN = 20, SMALLEST = 112, CAPTION = 9, TITLE = 13 };

typedef struct layout {
  int columns, rows, scale;
  int cell[2];    /* width, height, gap excluded */
  int frame[2];   /* enlarged size */
  int top;        /* where the first row begins */
  double caption; /* size of the text; 0: none */
} layout;

static bool same_size(orr_engine *engine, const orr_picture *frames, int count) {
  for (int i = 0; i < count; i++) {
    const orr_picture *f = &frames[i];
    if (f->width != frames[0].width || f->height != frames[0].height) {
      engine_fail(engine, ORR_SHAPE,
                  "film strip: frame %d is %d x %d pixels, the first one %d x %d", i + 1, f->width,
                  f->height, frames[0].width, frames[0].height);
      return false;
    }
    if (f->channels < 1 || f->channels > 4) {
      engine_fail(engine, ORR_SHAPE, "film strip: frame %d has %d channels; 1 to 4 are allowed",
                  i + 1, f->channels);
      return false;
    }
  }
  return image_size_allowed(engine, "film strip: frames", frames[0].width, frames[0].height);
}

static layout plan(const orr_picture *frames, const char *const *captions, int count, int columns,
                   const char *title) {
  layout l = {.columns = columns < 1 || columns > count ? count : columns};
  l.rows = (count + l.columns - 1) / l.columns;
  l.scale = 1 + (SMALLEST - 1) / frames[0].width;
  l.frame[0] = frames[0].width * l.scale;
  l.frame[1] = frames[0].height * l.scale;
  double widest = 0;
  for (int i = 0; captions && i < count; i++)
    if (captions[i]) widest = fmax(widest, orr_text_width(CAPTION, captions[i]));
  l.caption = widest > 0 ? CAPTION : 0;
  l.cell[0] = (int)fmax(l.frame[0], ceil(widest) + 4);
  l.cell[1] = l.frame[1] + (widest > 0 ? 2 * CAPTION + 6 : 0);
  l.top = MARGIN + (title ? TITLE + 16 : 0);
  return l;
}

orr_canvas *orr_film_strip(orr_engine *engine, const orr_picture *frames,
                           const char *const *captions, int count, int columns, const char *title) {
  if (count < 1) {
    engine_fail(engine, ORR_ARGUMENT, "a film strip needs at least one frame");
    return NULL;
  }
  if (!same_size(engine, frames, count)) return NULL;
  layout l = plan(frames, captions, count, columns, title);
  int64_t width = 2 * MARGIN - GAP + (int64_t)l.columns * (l.cell[0] + GAP);
  int64_t height = l.top + MARGIN - GAP + (int64_t)l.rows * (l.cell[1] + GAP);
  double title_width = title ? orr_text_width(TITLE, title) + 2 * MARGIN : 0;
  if (title_width > (double)width) width = (int64_t)ceil(title_width);
  if (!image_size_allowed(engine, "film strip: the strip", width, height)) return NULL;
  orr_canvas *canvas = orr_canvas_new(engine, (int)width, (int)height);
  if (!canvas) return NULL;
  if (title) orr_canvas_text(canvas, MARGIN, MARGIN + TITLE, TITLE, ORR_LEFT, 0, 0x22262bff, title);
  for (int i = 0; i < count; i++) {
    int left = MARGIN + i % l.columns * (l.cell[0] + GAP) + (l.cell[0] - l.frame[0]) / 2;
    int top = l.top + i / l.columns * (l.cell[1] + GAP);
    orr_canvas_rectangle(canvas, left - 1, top - 1, l.frame[0] + 2, l.frame[1] + 2, 0, 0xb9bec6ff);
    orr_canvas_picture(canvas, left, top, frames[i].pixels, frames[i].width, frames[i].height,
                       frames[i].channels, l.scale);
    if (captions && captions[i])
      orr_canvas_text(canvas, left + l.frame[0] / 2.0, top + l.frame[1] + 7 + CAPTION, CAPTION,
                      ORR_CENTER, 0, 0x3d434bff, captions[i]);
  }
  return canvas;
}
