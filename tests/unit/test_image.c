/* test_image.c - the canvas and what is drawn with it: areas, blending, text, plots, film
   strips. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "orrery/image.h"

static orr_engine *engine;

static void open_engine(void) {
  orr_engine_options options = orr_engine_options_defaults();
  options.threads = 1;
  engine = orr_engine_new(&options);
}

static void close_engine(void) { orr_engine_free(engine); }

TestSuite(canvas, .init = open_engine, .fini = close_engine);
TestSuite(plot, .init = open_engine, .fini = close_engine);
TestSuite(film_strip, .init = open_engine, .fini = close_engine);

enum { BLACK = 0x000000ff };

static const uint8_t *pixel(orr_canvas *canvas, int x, int y) {
  return orr_canvas_pixels(canvas) + ((size_t)y * (size_t)orr_canvas_width(canvas) + (size_t)x) * 3;
}

/* Ink on a white canvas, in pixels. */
static double ink(orr_canvas *canvas) {
  double sum = 0;
  size_t n = (size_t)orr_canvas_width(canvas) * (size_t)orr_canvas_height(canvas);
  for (size_t i = 0; i < n; i++) sum += 1 - orr_canvas_pixels(canvas)[3 * i + 1] / 255.0;
  return sum;
}

Test(canvas, shapes_cover_their_area) {
  const double pi = 3.14159265358979;
  double square[] = {10, 10, 30.5, 10, 30.5, 20.25, 10, 20.25},
         star[] = {50, 0, 80, 90, 0, 35, 100, 35, 20, 90};
  orr_canvas *c = orr_canvas_new(engine, 100, 100);
  cr_assert(c);
  cr_expect_eq(ink(c), 0);
  orr_canvas_rectangle(c, 10, 20, 30.5, 10.25, 0, BLACK);
  cr_expect_float_eq(ink(c), 30.5 * 10.25, 0.5);
  cr_expect_eq(*pixel(c, 10, 20), 0);
  cr_expect_float_eq(*pixel(c, 40, 25), 127, 2);
  cr_expect_eq(*pixel(c, 9, 20), 255);
  orr_canvas_clear(c, 0xffffffff);
  orr_canvas_disc(c, 50, 50, 30, BLACK);
  cr_expect_float_eq(ink(c), pi * 900, 10);
  orr_canvas_clear(c, 0xffffffff);
  orr_canvas_ring(c, 50.3, 49.6, 30, 4, BLACK);
  cr_expect_float_eq(ink(c), 2 * pi * 30 * 4, 5);
  orr_canvas_clear(c, 0xffffffff);
  orr_canvas_line(c, 20, 20, 80, 60, 5, BLACK);
  cr_expect_float_eq(ink(c), 5 * hypot(60, 40) + pi * 6.25, 6);
  orr_canvas_clear(c, 0xffffffff);
  orr_canvas_rectangle(c, 10, 10, 50, 40, 10, BLACK);
  cr_expect_float_eq(ink(c), 2000 - (4 - pi) * 100, 5);
  orr_canvas_clear(c, 0xffffffff);
  cr_expect_eq(orr_canvas_polygon(c, square, 4, BLACK), ORR_OK);
  cr_expect_float_eq(ink(c), 20.5 * 10.25, 1);
  orr_canvas_clear(c, 0xffffffff);
  orr_canvas_polygon(c, star, 5, BLACK);
  cr_expect_eq(*pixel(c, 50, 50), 255, "the middle of a star is outside by the even-odd rule");
  orr_canvas_free(c);
}

Test(canvas, thin_lines_are_faint_not_missing) {
  orr_canvas *c = orr_canvas_new(engine, 100, 20);
  orr_canvas_line(c, 10, 10.5, 90, 10.5, 0.5, BLACK);
  cr_expect_float_eq(ink(c), 40, 1);
  orr_canvas_free(c);
}

Test(canvas, translucent_strokes_do_not_double_up) {
  double zigzag[] = {10, 10, 90, 10, 10, 10, 90, 10};
  orr_canvas *c = orr_canvas_new(engine, 100, 20);
  cr_expect_eq(orr_canvas_polyline(c, zigzag, 4, 6, 0x00000080), ORR_OK);
  cr_expect_float_eq(*pixel(c, 50, 10), 127, 1);
  orr_canvas_polyline(c, zigzag, 4, 6, 0x00000080);
  cr_expect_float_eq(*pixel(c, 50, 10), 63, 1);
  double corner[] = {10, 10.5, 50.3, 10.5, 50.3, 80};
  orr_canvas_clear(c, 0xffffffff);
  orr_canvas_polyline(c, corner, 3, 6, 0x00000080);
  for (int x = 20; x < 52; x++) cr_expect_float_eq(*pixel(c, x, 10), 127, 1, "a hole at %d", x);
  orr_canvas_free(c);
}

Test(canvas, nothing_breaks_outside) {
  orr_canvas *c = orr_canvas_new(engine, 40, 40);
  double odd[] = {NAN, INFINITY, -INFINITY, 1e300, -1e300, 1e18, 0, 39.999};
  for (int i = 0; i < 8; i++) {
    for (int j = 0; j < 8; j++) {
      double a = odd[i], b = odd[j], points[] = {a, b, 3, 4, b, a, 5, 6};
      orr_canvas_disc(c, a, b, 3, BLACK);
      orr_canvas_disc(c, 1, 1, a, 0);
      orr_canvas_line(c, a, 1, b, 2, 1, BLACK);
      orr_canvas_rectangle(c, a, b, a, b, a, BLACK);
      orr_canvas_polygon(c, points, 4, BLACK);
      orr_canvas_polyline(c, points, 4, a, BLACK);
      orr_canvas_text(c, a, b, 10, ORR_CENTER, b, BLACK, "text");
    }
  }
  orr_canvas_picture(c, -2000000000, 30, orr_canvas_pixels(c), 1, 1, 3, 2000000000);
  orr_canvas_free(c);
  cr_expect_null(orr_canvas_new(engine, 16385, 1));
  cr_expect_null(orr_canvas_new(engine, 16384, 16384));
  cr_expect_null(orr_canvas_new(engine, 0, 5));
}

Test(canvas, text_has_the_size_it_says) {
  orr_canvas *c = orr_canvas_new(engine, 400, 60);
  orr_canvas_text(c, 20, 45, 30, ORR_LEFT, 0, BLACK, "HELLO");
  int left = 400, right = 0, top = 60, bottom = 0;
  for (int y = 0; y < 60; y++)
    for (int x = 0; x < 400; x++)
      if (*pixel(c, x, y) < 128) {
        left = x < left ? x : left, right = x > right ? x : right;
        top = y < top ? y : top, bottom = y > bottom ? y : bottom;
      }
  double stroke = 4.7 * 30 / 40;
  cr_expect_float_eq(right - left + 1, orr_text_width(30, "HELLO") + stroke, 2.5);
  cr_expect_float_eq(bottom - top + 1, 30 + stroke, 2.5);
  cr_expect_float_eq(bottom, 45 + stroke / 2, 2);
  orr_canvas_free(c);
  cr_expect_eq(orr_text_width(10, ""), 0);
  cr_expect_float_eq(orr_text_width(20, "MM"), 2 * orr_text_width(10, "MM"), 1e-9);
}

Test(canvas, every_byte_string_can_be_drawn) {
  orr_canvas *c = orr_canvas_new(engine, 200, 30);
  char text[4] = {0};
  for (int a = 1; a < 256; a++) {
    text[0] = (char)a;
    for (int b = 0; b < 256; b += 5) {
      text[1] = (char)b;
      orr_canvas_text(c, 10, 20, 10, ORR_LEFT, 0, BLACK, text);
      orr_text_width(10, text);
    }
  }
  orr_canvas_clear(c, 0xffffffff);
  for (int code = 33; code < 127; code++) { /* every letter leaves ink of its own */
    char one[2] = {(char)code, 0};
    orr_canvas_clear(c, 0xffffffff);
    orr_canvas_text(c, 50, 20, 12, ORR_LEFT, 0, BLACK, one);
    cr_expect_gt(ink(c), 1.0, "'%c' is empty", code);
  }
  orr_canvas_free(c);
}

/* ---- plots */

/* Whether a pixel of nearly that colour is in the box. */
static bool has_color(orr_canvas *c, orr_color color, int x0, int y0, int x1, int y1) {
  for (int y = y0; y < y1; y++)
    for (int x = x0; x < x1; x++) {
      const uint8_t *p = pixel(c, x, y);
      int off = 0;
      for (int k = 0; k < 3; k++) off += abs(p[k] - (int)(color >> (24 - 8 * k) & 255));
      if (off < 80) return true;
    }
  return false;
}

static orr_canvas *draw(const orr_plot_options *options, const orr_series *series, int count) {
  orr_plot *plot = orr_plot_new(engine, options);
  cr_assert(plot, "%s", orr_engine_message(engine));
  for (int i = 0; i < count; i++)
    cr_assert_eq(orr_plot_add(plot, &series[i]), ORR_OK, "%s", orr_engine_message(engine));
  orr_canvas *canvas = orr_plot_draw(plot);
  orr_plot_free(plot);
  return canvas;
}

Test(plot, draws_series_where_they_belong) {
  double x[2] = {0, 10}, up[2] = {0, 10}, flat[2] = {10, 10};
  orr_plot_options o = orr_plot_options_defaults();
  o.width = 400, o.height = 300;
  o.x_low = 0, o.x_high = 10, o.y_low = 0, o.y_high = 10;
  orr_series series[2] = {{.x = x, .y = up, .count = 2, .color = 0xff0000ff},
                          {.x = x, .y = flat, .count = 2, .color = 0x0000ffff}};
  orr_canvas *c = draw(&o, series, 2);
  cr_assert(c);
  cr_expect(has_color(c, 0xff0000ff, 200, 100, 260, 180), "the middle of the rising line");
  cr_expect_not(has_color(c, 0xff0000ff, 60, 0, 160, 80), "nothing of it top left");
  cr_expect_not(has_color(c, 0xff0000ff, 300, 200, 400, 300), "nothing of it bottom right");
  cr_expect(has_color(c, 0x0000ffff, 200, 0, 300, 40), "the flat one on top");
  cr_expect_not(has_color(c, 0x0000ffff, 0, 60, 400, 300));
  orr_canvas_free(c);
}

Test(plot, leaves_gaps_and_shades_bands) {
  double y[5] = {5, 5, NAN, 5, 5}, low[5] = {2, 2, NAN, 2, 2}, high[5] = {8, 8, NAN, 8, 8};
  orr_plot_options o = orr_plot_options_defaults();
  o.width = 500, o.height = 300;
  o.y_low = 0, o.y_high = 10, o.x_low = 1, o.x_high = 5;
  orr_series s = {.y = y, .low = low, .high = high, .count = 5, .color = 0xff0000ff};
  orr_canvas *c = draw(&o, &s, 1);
  cr_expect(has_color(c, 0xff0000ff, 60, 80, 150, 200));
  cr_expect_not(has_color(c, 0xff0000ff, 200, 80, 320, 200), "the gap");
  const uint8_t *shade = pixel(c, 110, 95);
  cr_expect(shade[0] == 255 && shade[1] > 150 && shade[1] < 230, "a light red band, not %d %d %d",
            shade[0], shade[1], shade[2]);
  orr_canvas_free(c);
}

Test(plot, survives_all_numbers) {
  double sets[][3] = {{0, 0, 0},          {NAN, NAN, NAN},     {INFINITY, 1, -INFINITY},
                      {1e308, -1e308, 0}, {1e-320, 2e-320, 0}, {1e9, 1e9 + 1, 1e9},
                      {-5, -6, -7},       {1, 1, 1},           {1e-8, 2e-8, 3e-8},
                      {0, 1e15, 2e15}};
  for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
    for (int logs = 0; logs < 4; logs++) {
      orr_plot_options o = orr_plot_options_defaults();
      o.width = 320, o.height = 240, o.title = "title", o.x_label = "x", o.y_label = "y";
      o.log_x = logs & 1, o.log_y = logs & 2;
      orr_series s[2] = {{.label = "a", .x = sets[i], .y = sets[(i + 3) % 10], .count = 3},
                         {.label = "b",
                          .y = sets[i],
                          .low = sets[i],
                          .high = sets[(i + 1) % 10],
                          .count = 3,
                          .dashed = true}};
      orr_canvas *c = draw(&o, s, 2);
      cr_expect(c, "set %zu, logs %d: %s", i, logs, orr_engine_message(engine));
      orr_canvas_free(c);
    }
  }
}

Test(plot, refuses_what_cannot_be_read) {
  orr_plot_options o = orr_plot_options_defaults();
  o.width = 100;
  cr_expect_null(orr_plot_new(engine, &o));
  o = orr_plot_options_defaults();
  orr_plot *plot = orr_plot_new(engine, &o);
  orr_series none = {.label = "empty"};
  cr_expect_eq(orr_plot_add(plot, &none), ORR_ARGUMENT);
  orr_canvas *c = orr_plot_draw(plot); /* an empty field is a picture too */
  cr_expect(c);
  orr_canvas_free(c);
  orr_plot_free(plot);
}

/* The text columns of axis labels must not run into each other or off the picture. */
Test(plot, a_wide_legend_takes_more_rows) {
  double y[2] = {1, 2};
  orr_plot_options o = orr_plot_options_defaults();
  o.width = 480, o.height = 320;
  orr_series s[9];
  for (int i = 0; i < 9; i++)
    s[i] = (orr_series){.label = "a rather long name", .y = y, .count = 2};
  orr_canvas *c = draw(&o, s, 9);
  for (int row = 0; row < 320; row++)
    cr_assert_eq(*pixel(c, 479, row), 255, "ink at the right edge, row %d", row);
  orr_canvas_free(c);
}

/* ---- film strips */

Test(film_strip, shows_each_frame) {
  uint8_t red[4 * 4 * 3], grey[4 * 4];
  for (int i = 0; i < 16; i++) red[3 * i] = 250, red[3 * i + 1] = red[3 * i + 2] = 10;
  memset(grey, 77, sizeof grey);
  orr_picture frames[3] = {{red, 4, 4, 3}, {grey, 4, 4, 1}, {red, 4, 4, 3}};
  const char *captions[3] = {"one", NULL, "three"};
  orr_canvas *c = orr_film_strip(engine, frames, captions, 3, 2, "Title");
  cr_assert(c);
  cr_expect(has_color(c, 0xfa0a0aff, 0, 0, 80, 120));
  cr_expect(has_color(c, 0x4d4d4dff, 140, 0, 250, 120));
  cr_expect(has_color(c, 0xfa0a0aff, 0, 180, 80, orr_canvas_height(c)));
  int enlarged = 0;
  for (int x = 0; x < orr_canvas_width(c); x++) enlarged += *pixel(c, x, 100) == 250;
  cr_expect_geq(enlarged, 100);
  orr_canvas_free(c);
  frames[1].width = 3;
  cr_expect_null(orr_film_strip(engine, frames, NULL, 3, 0, NULL));
  cr_expect(strstr(orr_engine_message(engine), "frame 2 is 3 x 4 pixels, the first one 4 x 4"));
  cr_expect_null(orr_film_strip(engine, frames, NULL, 0, 0, NULL));
}
