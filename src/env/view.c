/* view.c - the box of the world that a drawing shows. */
#include <assert.h>

#include "env/env.h"

env_view env_view_new(orr_canvas *canvas, double x_low, double x_high, double y_low,
                      double y_high) {
  double width = orr_canvas_width(canvas), height = orr_canvas_height(canvas);
  double across = width / (x_high - x_low), down = height / (y_high - y_low);
  double scale = across < down ? across : down;
  orr_canvas_clear(canvas, ENV_PAPER);
  return (env_view){canvas, scale, width / 2 - scale * (x_low + x_high) / 2,
                    height / 2 + scale * (y_low + y_high) / 2};
}

void env_view_line(const env_view *view, double x0, double y0, double x1, double y1, double width,
                   orr_color color) {
  orr_canvas_line(view->canvas, view->x + view->scale * x0, view->y - view->scale * y0,
                  view->x + view->scale * x1, view->y - view->scale * y1, view->scale * width,
                  color);
}

void env_view_disc(const env_view *view, double x, double y, double radius, orr_color color) {
  orr_canvas_disc(view->canvas, view->x + view->scale * x, view->y - view->scale * y,
                  view->scale * radius, color);
}

void env_view_ring(const env_view *view, double x, double y, double radius, double width,
                   orr_color color) {
  orr_canvas_ring(view->canvas, view->x + view->scale * x, view->y - view->scale * y,
                  view->scale * radius, view->scale * width, color);
}

void env_view_box(const env_view *view, double x_low, double x_high, double y_low, double y_high,
                  double radius, orr_color color) {
  orr_canvas_rectangle(view->canvas, view->x + view->scale * x_low, view->y - view->scale * y_high,
                       view->scale * (x_high - x_low), view->scale * (y_high - y_low),
                       view->scale * radius, color);
}

void env_view_polygon(const env_view *view, const double *xy, int count, orr_color color) {
  double at[2 * 16];
  assert(count <= 16);
  for (int i = 0; i < count; i++) {
    at[2 * i] = view->x + view->scale * xy[2 * i];
    at[2 * i + 1] = view->y - view->scale * xy[2 * i + 1];
  }
  orr_canvas_polygon(view->canvas, at, count, color);
}
