/* font.c - a stroke font: a glyph is a path of lines and arcs, drawn with a round pen, so that text
   is sharp at every size and angle.

   Units: a capital letter is 40 high, a small x 28; y is up, 0 the baseline; x runs from 0 to
   `width`.
     m x y                  begins a stroke          l x y ...   goes on with lines
     a cx cy rx ry from to  begins with an arc of an ellipse, degrees counter-clockwise
     A ...                  goes on with one         d x y       a dot */
#include <math.h>
#include <string.h>

#include "image/image.h"

enum { CAPITAL = 40, GAP = 11, SEGMENTS = 160 };
static const double pen = 4.7, dot_pen = 6.6;

typedef struct glyph {
  uint32_t code;
  int width;
  const char *path;
} glyph;

/* clang-format off */
static const glyph glyphs[] = {
    {' ', 3, ""},
    {'!', 0, "m 0 40 l 0 13 d 0 1"},
    {'"', 8, "m 0 40 l 0 29 m 8 40 l 8 29"},
    {'#', 27, "m 6 2 l 11 38 m 16 2 l 21 38 m 0 13 l 25 13 m 2 27 l 27 27"},
    {'$', 23, "a 12 30 11 10 30 270 A 12 10 12 10 90 -150 m 12 45 l 12 -5"},
    {'%', 34, "a 8 31 8 9 0 360 a 26 9 8 9 0 360 m 28 40 l 6 0"},
    {'&', 29, "m 29 0 l 6 27 A 12 33 7 7 225 -40 l 5 18 A 11 10 11 10 145 325 l 28 20"},
    {'\'', 0, "m 0 40 l 0 29"},
    {'(', 8, "a 20 17 20 32 130 230"},
    {')', 8, "a -12 17 20 32 50 -50"},
    {'*', 16, "m 8 40 l 8 24 m 1 36 l 15 28 m 1 28 l 15 36"},
    {'+', 22, "m 11 7 l 11 29 m 0 18 l 22 18"},
    {',', 3, "d 3 1 m 3 1 l 0 -7"},
    {'-', 12, "m 0 16 l 12 16"},
    {'.', 0, "d 0 1"},
    {'/', 16, "m 0 -5 l 16 43"},
    {'0', 22, "a 11 28 11 12 0 180 A 11 12 11 12 180 360 l 22 28"},
    {'1', 22, "m 3 32 l 13 40 l 13 0"},
    {'2', 22, "a 11 29 11 11 170 -40 l 0 0 l 22 0"},
    {'3', 22, "a 11 31 9 9 150 -90 l 8 22 m 11 22 A 11 11 11 11 90 -155"},
    {'4', 22, "m 17 0 l 17 40 l 0 11 l 23 11"},
    {'5', 22, "m 20 40 l 4 40 l 2 21 A 11 13 11 13 130 -152"},
    {'6', 22, "a 11 12 11 12 0 360 a 22 12 22 28 180 100"},
    {'7', 22, "m 0 40 l 22 40 l 8 0"},
    {'8', 22, "a 11 31 9 9 0 360 a 11 11 11 11 0 360"},
    {'9', 22, "a 11 28 11 12 0 360 a 0 28 22 28 0 -80"},
    {':', 0, "d 0 1 d 0 24"},
    {';', 3, "d 3 24 d 3 1 m 3 1 l 0 -7"},
    {'<', 20, "m 20 30 l 0 18 l 20 6"},
    {'=', 22, "m 0 12 l 22 12 m 0 24 l 22 24"},
    {'>', 20, "m 0 30 l 20 18 l 0 6"},
    {'?', 20, "a 10 30 10 10 165 -45 l 11 17 l 11 12 d 11 1"},
    {'@', 40, "a 20 15 8 9 0 360 m 28 24 l 28 12 A 34 12 6 6 180 360 l 40 16 A 20 16 20 22 0 300"},
    {'A', 28, "m 0 0 l 14 40 l 28 0 m 5 13 l 23 13"},
    {'B', 24, "m 0 0 l 0 40 l 13 40 A 13 31 9 9 90 -90 l 0 22 m 13 22 A 13 11 11 11 90 -90 l 0 0"},
    {'C', 26, "a 15 20 15 20 48 312"},
    {'D', 26, "m 0 0 l 0 40 l 9 40 A 9 20 17 20 90 -90 l 0 0"},
    {'E', 20, "m 20 40 l 0 40 l 0 0 l 20 0 m 0 21 l 17 21"},
    {'F', 19, "m 19 40 l 0 40 l 0 0 m 0 20 l 16 20"},
    {'G', 29, "a 15 20 15 20 50 356 l 17 19"},
    {'H', 26, "m 0 0 l 0 40 m 26 0 l 26 40 m 0 21 l 26 21"},
    {'I', 0, "m 0 0 l 0 40"},
    {'J', 17, "m 17 40 l 17 9 A 8 9 9 9 0 -160"},
    {'K', 24, "m 0 0 l 0 40 m 23 40 l 0 15 m 8 24 l 24 0"},
    {'L', 19, "m 0 40 l 0 0 l 19 0"},
    {'M', 32, "m 0 0 l 0 40 l 16 12 l 32 40 l 32 0"},
    {'N', 26, "m 0 0 l 0 40 l 26 0 l 26 40"},
    {'O', 32, "a 16 20 16 20 0 360"},
    {'P', 23, "m 0 0 l 0 40 l 12 40 A 12 29 11 11 90 -90 l 0 18"},
    {'Q', 32, "a 16 20 16 20 0 360 m 19 10 l 31 -4"},
    {'R', 24, "m 0 0 l 0 40 l 12 40 A 12 29 11 11 90 -90 l 0 18 m 12 18 l 24 0"},
    {'S', 24, "a 12 30 11 10 30 270 A 12 10 12 10 90 -150"},
    {'T', 26, "m 0 40 l 26 40 m 13 40 l 13 0"},
    {'U', 26, "m 0 40 l 0 13 A 13 13 13 13 180 360 l 26 40"},
    {'V', 26, "m 0 40 l 13 0 l 26 40"},
    {'W', 38, "m 0 40 l 9 0 l 19 32 l 29 0 l 38 40"},
    {'X', 25, "m 0 0 l 25 40 m 0 40 l 25 0"},
    {'Y', 26, "m 0 40 l 13 19 l 26 40 m 13 19 l 13 0"},
    {'Z', 23, "m 0 40 l 23 40 l 0 0 l 23 0"},
    {'[', 8, "m 8 43 l 0 43 l 0 -7 l 8 -7"},
    {'\\', 16, "m 0 43 l 16 -5"},
    {']', 8, "m 0 43 l 8 43 l 8 -7 l 0 -7"},
    {'^', 18, "m 0 25 l 9 40 l 18 25"},
    {'_', 18, "m 0 -5 l 18 -5"},
    {'`', 6, "m 0 40 l 6 32"},
    {'a', 22, "a 11 14 11 14 0 360 m 22 28 l 22 0"},
    {'b', 22, "m 0 42 l 0 0 a 11 14 11 14 0 360"},
    {'c', 18, "a 11 14 11 14 50 310"},
    {'d', 22, "a 11 14 11 14 0 360 m 22 42 l 22 0"},
    {'e', 22, "m 1 15 l 22 15 A 11 14 11 14 4 318"},
    {'f', 13, "m 4 0 l 4 32 A 13 32 9 9 180 85 m -1 27 l 12 27"},
    {'g', 22, "a 11 14 11 14 0 360 m 22 28 l 22 0 A 11 0 11 11 0 -150"},
    {'h', 20, "m 0 42 l 0 0 m 0 17 A 10 18 10 10 180 0 l 20 0"},
    {'i', 0, "m 0 28 l 0 0 d 0 39"},
    {'j', 6, "m 6 28 l 6 -4 A -1 -4 7 7 0 -90 d 6 39"},
    {'k', 18, "m 0 42 l 0 0 m 17 28 l 0 11 m 6 17 l 18 0"},
    {'l', 6, "m 0 42 l 0 7 A 7 7 7 7 180 265"},
    {'m', 34, "m 0 28 l 0 0 m 0 18 A 9 19 9 9 180 0 l 18 0 m 18 18 A 26 19 8 9 180 0 l 34 0"},
    {'n', 20, "m 0 28 l 0 0 m 0 17 A 10 18 10 10 180 0 l 20 0"},
    {'o', 24, "a 12 14 12 14 0 360"},
    {'p', 22, "m 0 28 l 0 -11 a 11 14 11 14 0 360"},
    {'q', 22, "a 11 14 11 14 0 360 m 22 28 l 22 -11"},
    {'r', 12, "m 0 28 l 0 0 m 0 15 A 11 17 11 11 180 80"},
    {'s', 18, "a 9 21 8 7 25 270 A 9 7 9 7 90 -155"},
    {'t', 13, "m 5 37 l 5 8 A 13 8 8 8 180 275 m 0 28 l 13 28"},
    {'u', 20, "m 0 28 l 0 10 A 10 10 10 10 180 360 m 20 28 l 20 0"},
    {'v', 20, "m 0 28 l 10 0 l 20 28"},
    {'w', 30, "m 0 28 l 8 0 l 15 24 l 22 0 l 30 28"},
    {'x', 19, "m 0 0 l 19 28 m 0 28 l 19 0"},
    {'y', 20, "m 0 28 l 10 0 m 20 28 l 6 -11"},
    {'z', 18, "m 0 28 l 18 28 l 0 0 l 18 0"},
    {'{', 11, "a 11 37 6 6 90 180 l 5 24 l 0 18 l 5 12 l 5 -1 A 11 -1 6 6 180 270"},
    {'|', 0, "m 0 43 l 0 -9"},
    {'}', 11, "a 0 37 6 6 90 0 l 6 24 l 11 18 l 6 12 l 6 -1 A 0 -1 6 6 0 -90"},
    {'~', 22, "m 0 14 l 3 19 l 7 21 l 11 18 l 15 15 l 19 17 l 22 22"},
    {0xb0, 12, "a 6 34 6 6 0 360"},                                        /* degree */
    {0xb1, 22, "m 11 13 l 11 35 m 0 24 l 22 24 m 0 4 l 22 4"},             /* plus-minus */
    {0xb2, 11, "a 6 37 5 5 170 -40 l 0 22 l 11 22"},                       /* squared */
    {0xb3, 11, "a 5 37 5 5 150 -90 l 4 32 m 5 32 A 5 27 6 5 90 -150"},     /* cubed */
    {0xb5, 20, "m 0 28 l 0 -11 m 0 10 A 10 10 10 10 180 360 m 20 28 l 20 0"}, /* micro */
    {0xb7, 0, "d 0 18"},                                                   /* middle dot */
    {0xd7, 18, "m 0 9 l 18 27 m 0 27 l 18 9"},                             /* times */
    {0x394, 30, "m 0 0 l 15 40 l 30 0 l 0 0"},                             /* Delta */
    {0x3a3, 22, "m 22 40 l 0 40 l 14 20 l 0 0 l 22 0"},                    /* Sigma */
    {0x3b1, 24, "a 11 14 11 14 30 330 l 24 28 m 20 20 l 25 0"},            /* alpha */
    {0x3b2, 21, "m 0 -11 l 0 31 A 10 31 10 10 180 -60 m 8 23 A 10 11 11 11 90 -180"}, /* beta */
    {0x3b3, 20, "m 0 28 l 10 2 l 10 -11 m 20 28 l 10 2"},                  /* gamma */
    {0x3b4, 22, "a 11 13 11 13 0 360 m 8 26 l 4 36 A 11 36 7 6 180 20"},   /* delta */
    {0x3b5, 17, "a 9 22 8 6 30 270 A 9 7 9 8 90 325"},                     /* epsilon */
    {0x3b8, 22, "a 11 21 11 21 0 360 m 1 21 l 21 21"},                     /* theta */
    {0x3bb, 22, "m 0 42 l 5 42 l 22 0 m 12 24 l 1 0"},                     /* lambda */
    {0x3bc, 20, "m 0 28 l 0 -11 m 0 10 A 10 10 10 10 180 360 m 20 28 l 20 0"}, /* mu */
    {0x3c0, 24, "m 0 28 l 24 28 m 6 28 l 6 0 m 18 28 l 18 0"},             /* pi */
    {0x3c1, 22, "m 0 -11 l 0 14 a 11 14 11 14 0 360"},                     /* rho */
    {0x3c3, 26, "a 11 13 11 13 0 360 m 10 26 l 26 27"},                    /* sigma */
    {0x3c4, 18, "m 0 28 l 18 28 m 9 28 l 9 0"},                            /* tau */
    {0x3c6, 26, "a 13 14 13 14 0 360 m 13 38 l 13 -11"},                   /* phi */
    {0x3c9, 30, "a 8 12 8 12 130 360 l 16 18 m 16 18 l 15 12 A 22 12 8 12 180 410"}, /* omega */
    {0x2013, 18, "m 0 16 l 18 16"},                                        /* en dash */
    {0x2014, 34, "m 0 16 l 34 16"},                                        /* em dash */
    {0x2019, 3, "m 3 41 l 0 32"},                                          /* apostrophe */
    {0x2026, 24, "d 0 1 d 12 1 d 24 1"},                                   /* ellipsis */
    {0x2192, 30, "m 0 18 l 30 18 m 20 28 l 30 18 l 20 8"},                 /* arrow */
    {0x2212, 22, "m 0 18 l 22 18"},                                        /* minus */
    {0x2248, 22, "m 0 10 l 4 14 l 8 14 l 14 10 l 18 10 l 22 14 m 0 22 l 4 26 l 8 26 l 14 22 l "
                 "18 22 l 22 26"},
    {0x2264, 20, "m 20 36 l 0 24 l 20 12 m 0 3 l 20 3"},                   /* at most */
    {0x2265, 20, "m 0 36 l 20 24 l 0 12 m 0 3 l 20 3"},                    /* at least */
};

/* clang-format on */
static const glyph unknown = {0, 20, "m 0 0 l 20 0 l 20 40 l 0 40 l 0 0"};

static const glyph *find_glyph(uint32_t code) {
  size_t low = 0, high = COUNT(glyphs);
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (glyphs[middle].code < code) low = middle + 1;
    else high = middle;
  }
  return low < COUNT(glyphs) && glyphs[low].code == code ? &glyphs[low] : &unknown;
}

/* The next code point of UTF-8 text; a byte that fits nowhere stands for itself. */
static uint32_t next_code(const char **text) {
  const unsigned char *t = (const unsigned char *)*text;
  int more = t[0] >= 0xf0 ? 3 : t[0] >= 0xe0 ? 2 : t[0] >= 0xc0 ? 1 : 0;
  uint32_t code = more ? t[0] & (0x3fu >> more) : t[0];
  for (int i = 1; i <= more; i++) {
    if ((t[i] & 0xc0) != 0x80) {
      more = 0;
      code = t[0];
      break;
    }
    code = code << 6 | (t[i] & 0x3fu);
  }
  *text += more + 1;
  return code;
}

double orr_text_width(double size, const char *text) {
  int width = 0;
  for (const char *rest = text; *rest;) width += find_glyph(next_code(&rest))->width + GAP;
  return width ? (width - GAP) * size / CAPITAL : 0;
}

typedef struct stroke {
  double x0, y0, x1, y1, width;
} stroke;

/* From font units to pixels: turn, scale, shift. */
typedef struct pose {
  double x, y, cosine, sine; /* the last two are scaled */
} pose;

typedef struct outline {
  pose pose;
  int count;
  stroke strokes[SEGMENTS];
  double x, y; /* the pen, in font units */
} outline;

static void add_stroke(outline *o, double x, double y, double width) {
  const pose *p = &o->pose;
  if (o->count < SEGMENTS)
    o->strokes[o->count++] =
        (stroke){p->x + p->cosine * o->x - p->sine * o->y, p->y - p->sine * o->x - p->cosine * o->y,
                 p->x + p->cosine * x - p->sine * y, p->y - p->sine * x - p->cosine * y, width};
  o->x = x;
  o->y = y;
}

static void add_arc(outline *o, const double v[6], bool go_on) {
  const double degree = 3.14159265358979323846 / 180;
  int n = (int)(fabs(v[5] - v[4]) / 15) + 1;
  for (int i = 0; i <= n; i++) {
    double angle = degree * (v[4] + (v[5] - v[4]) * i / n);
    double x = v[0] + v[2] * cos(angle), y = v[1] + v[3] * sin(angle);
    if (i || go_on) add_stroke(o, x, y, pen);
    o->x = x;
    o->y = y;
  }
}

static double next_number(const char **path) {
  while (**path == ' ') ++*path;
  bool negative = **path == '-';
  double value = 0;
  for (*path += negative; **path >= '0' && **path <= '9'; ++*path)
    value = 10 * value + (**path - '0');
  return negative ? -value : value;
}

static bool at_number(const char *path) {
  while (*path == ' ') path++;
  return *path == '-' || (*path >= '0' && *path <= '9');
}

static void trace_glyph(outline *o, const char *path) {
  o->count = 0;
  while (*path) {
    char command = *path++;
    double v[6];
    int wanted = command == 'a' || command == 'A' ? 6 : 2;
    while (command != ' ' && at_number(path)) {
      for (int i = 0; i < wanted; i++) v[i] = next_number(&path);
      if (wanted == 6) add_arc(o, v, command == 'A');
      else if (command == 'l') add_stroke(o, v[0], v[1], pen);
      o->x = wanted == 6 ? o->x : v[0];
      o->y = wanted == 6 ? o->y : v[1];
      if (command == 'd') add_stroke(o, v[0], v[1], dot_pen);
    }
  }
}

/* Each pixel is covered by the stroke that covers it most, so joints are as dark as the rest. */
static void draw_glyph(orr_canvas *canvas, const outline *o, double scale, orr_color color) {
  double low[2] = {INFINITY, INFINITY}, high[2] = {-INFINITY, -INFINITY},
         reach = dot_pen * scale / 2 + 1;
  for (int i = 0; i < o->count; i++) {
    const stroke *s = &o->strokes[i];
    low[0] = fmin(low[0], fmin(s->x0, s->x1)), high[0] = fmax(high[0], fmax(s->x0, s->x1));
    low[1] = fmin(low[1], fmin(s->y0, s->y1)), high[1] = fmax(high[1], fmax(s->y0, s->y1));
  }
  int box[4];
  if (!o->count ||
      !canvas_box(canvas, low[0] - reach, low[1] - reach, high[0] + reach, high[1] + reach, box))
    return;
  for (int y = box[1]; y < box[3]; y++) {
    for (int x = box[0]; x < box[2]; x++) {
      double covered = 0;
      for (int i = 0; i < o->count; i++) {
        const stroke *s = &o->strokes[i];
        double d = segment_distance(x + 0.5, y + 0.5, s->x0, s->y0, s->x1, s->y1);
        covered = fmax(covered, stroke_coverage(d, s->width * scale));
      }
      canvas_blend(canvas, x, y, covered, color);
    }
  }
}

void orr_canvas_text(orr_canvas *canvas, double x, double y, double size, orr_align align,
                     double turn, orr_color color, const char *text) {
  double scale = size / CAPITAL, angle = turn * 3.14159265358979323846 / 180;
  double shift =
      align == ORR_LEFT ? 0 : -orr_text_width(size, text) * (align == ORR_CENTER ? 0.5 : 1);
  if (turn == 0) y = floor(y) + 0.5; /* level strokes then fill whole rows of pixels */
  if (fabs(turn) == 90) x = floor(x) + 0.5;
  outline o = {.pose = {x + shift * cos(angle), y - shift * sin(angle), scale * cos(angle),
                        scale * sin(angle)}};
  for (const char *rest = text; *rest;) {
    const glyph *g = find_glyph(next_code(&rest));
    trace_glyph(&o, g->path);
    draw_glyph(canvas, &o, scale, color);
    o.pose.x += (g->width + GAP) * o.pose.cosine;
    o.pose.y -= (g->width + GAP) * o.pose.sine;
  }
}
