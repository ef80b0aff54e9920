/* image.h - pictures: PNG files, an anti-aliased canvas, line plots, film strips, animations. */
#ifndef ORR_IMAGE_H
#define ORR_IMAGE_H

#include "orrery/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { ORR_IMAGE_SIDE = 16384, ORR_IMAGE_PIXELS = 64 * 1024 * 1024 }; /* largest picture */

/* PNG files. Pixels are rows from the top, `channels` bytes each: 1 grey, 2 grey and alpha, 3 RGB,
   4 RGBA. Files are written whole or not at all. */
ORR_API orr_status orr_png_save(orr_engine *engine, const char *path, const uint8_t *pixels,
                                int width, int height, int channels);
/* A byte tensor [height][width][channels]; channels 0: as the file has them (palettes become RGB,
   16 bits become 8), else 1, 3 or 4. NULL with a message for anything that is not a whole PNG
   within the limits. */
ORR_API orr_tensor *orr_png_load(orr_engine *engine, const char *path, int channels);
ORR_API orr_tensor *orr_png_decode(orr_engine *engine, const void *bytes, size_t size,
                                   int channels);

/* A canvas of RGB bytes. Coordinates are pixels, x to the right and y DOWN from the top left
   corner; (0.5, 0.5) is the middle of the first pixel. Edges are smooth. A colour is 0xRRGGBBAA. */
typedef struct orr_canvas orr_canvas;
typedef uint32_t orr_color;

ORR_API orr_canvas *orr_canvas_new(orr_engine *engine, int width, int height); /* white */
ORR_API orr_canvas *orr_canvas_retain(orr_canvas *canvas);
ORR_API void orr_canvas_free(orr_canvas *canvas); /* drops one hold; accepts NULL */
ORR_API orr_engine *orr_canvas_engine(const orr_canvas *canvas);
ORR_API int orr_canvas_width(const orr_canvas *canvas);
ORR_API int orr_canvas_height(const orr_canvas *canvas);
ORR_API uint8_t *orr_canvas_pixels(orr_canvas *canvas); /* [height][width][3] */
ORR_API orr_status orr_canvas_save(orr_canvas *canvas, const char *path);

ORR_API void orr_canvas_clear(orr_canvas *canvas, orr_color color);
ORR_API void orr_canvas_line(orr_canvas *canvas, double x0, double y0, double x1, double y1,
                             double width, orr_color color); /* with round ends */
/* One stroke through `count` points, xy pairs: translucent colours do not double up at the
   joints. */
ORR_API orr_status orr_canvas_polyline(orr_canvas *canvas, const double *xy, int count,
                                       double width, orr_color color);
ORR_API void orr_canvas_disc(orr_canvas *canvas, double x, double y, double radius,
                             orr_color color);
ORR_API void orr_canvas_ring(orr_canvas *canvas, double x, double y, double radius, double width,
                             orr_color color);
/* Corners rounded by `radius`; 0: sharp. */
ORR_API void orr_canvas_rectangle(orr_canvas *canvas, double x, double y, double width,
                                  double height, double radius, orr_color color);
/* Filled by the even-odd rule; `count` xy pairs, closed by itself. */
ORR_API orr_status orr_canvas_polygon(orr_canvas *canvas, const double *xy, int count,
                                      orr_color color);

typedef enum orr_align { ORR_LEFT, ORR_CENTER, ORR_RIGHT } orr_align;
/* UTF-8 text in the built-in stroke font. size: height of a capital letter in pixels; y is the
   baseline; turn: degrees counter-clockwise. */
ORR_API void orr_canvas_text(orr_canvas *canvas, double x, double y, double size, orr_align align,
                             double turn, orr_color color, const char *text);
ORR_API double orr_text_width(double size, const char *text);
/* Copies a picture of `channels` bytes a pixel, each pixel drawn as a square of `scale` pixels. */
ORR_API void orr_canvas_picture(orr_canvas *canvas, int x, int y, const uint8_t *pixels, int width,
                                int height, int channels, int scale);

/* Line plots. */
typedef struct orr_plot_options {
  size_t size;                           /* of this struct, set by _defaults */
  int width, height;                     /* pixels, 960 x 600 */
  const char *title, *x_label, *y_label; /* NULL: none */
  bool log_x, log_y;
  double x_low, x_high, y_low, y_high; /* NaN: from the data */
  const char *const
      *x_names; /* NULL, or what stands under x = 1, 2, ... x_names_count (32 at most) */
  int x_names_count;
} orr_plot_options;

typedef struct orr_series {
  const char *label;        /* NULL: not in the legend */
  const double *x;          /* NULL: 1, 2, 3 ... */
  const double *y;          /* NaN leaves a gap */
  const double *low, *high; /* NULL or a shaded band; with dots, bars */
  int count;
  orr_color color; /* 0: the next of the palette */
  bool dots;       /* dots instead of a line */
  bool dashed;
} orr_series;

typedef struct orr_plot orr_plot;

ORR_API orr_plot_options orr_plot_options_defaults(void);
ORR_API orr_plot *orr_plot_new(orr_engine *engine, const orr_plot_options *options);
ORR_API void orr_plot_free(orr_plot *plot);                                /* accepts NULL */
ORR_API orr_status orr_plot_add(orr_plot *plot, const orr_series *series); /* copies */
ORR_API orr_canvas *orr_plot_draw(orr_plot *plot);                         /* a new canvas */
ORR_API orr_color orr_palette(int index); /* colours that people with colour-blindness tell apart */

/* Film strips: pictures of one size in rows of `columns` (0: all in one row), each with a caption
   below it (captions, and each of them, may be NULL). Small pictures are enlarged. */
typedef struct orr_picture {
  const uint8_t *pixels; /* [height][width][channels] */
  int width, height, channels;
} orr_picture;

ORR_API orr_canvas *orr_film_strip(orr_engine *engine, const orr_picture *frames,
                                   const char *const *captions, int count, int columns,
                                   const char *title);

/* Animated PNG, which browsers and GitHub play. Frames go to disk as they come; the file appears
   when it is closed, whole. */
typedef struct orr_animation orr_animation;

ORR_API orr_animation *orr_animation_new(orr_engine *engine, const char *path, int width,
                                         int height, double frames_per_second);
ORR_API orr_status orr_animation_add(orr_animation *animation, const uint8_t *pixels, int channels);
/* Finishes the file and frees the animation, whatever comes out. */
ORR_API orr_status orr_animation_close(orr_animation *animation);
/* Leaves no file; accepts NULL. */
ORR_API void orr_animation_abandon(orr_animation *animation);

#ifdef __cplusplus
}
#endif
#endif
