/* animation.c - animated PNG (APNG 1.0, https://wiki.mozilla.org/APNG_Specification): the first
   frame is an ordinary PNG, each later one covers only the box of pixels that changed. A frame like
   the one before makes that one last longer. */
#include <math.h>
#include <string.h>
#include <zlib.h>

#include "base/file.h"
#include "image/image.h"

struct orr_animation {
  orr_engine *engine;
  file_writer *file;
  int width, height;
  double seconds;              /* of a frame */
  uint32_t frames;             /* written */
  uint32_t sequence;           /* number of the next fcTL or fdAT */
  uint64_t control_at;         /* where the last frame's fcTL is */
  uint8_t control[26];         /* and its contents */
  double lasts;                /* seconds it is shown */
  uint8_t *previous, *present; /* [height][width][3] */
  uint8_t *raw, *packed;       /* a filtered frame, and its compressed form behind 4 spare bytes */
  size_t packed_size;
};

static void put32(uint8_t *out, uint32_t value) {
  for (int i = 0; i < 4; i++) out[i] = (uint8_t)(value >> (24 - 8 * i));
}

static void put16(uint8_t *out, unsigned value) {
  out[0] = (uint8_t)(value >> 8);
  out[1] = (uint8_t)value;
}

/* length, type, data, CRC of type and data; small ones go to `at` when it is not 0. */
static orr_status write_chunk(orr_animation *a, uint64_t at, const char *type, const uint8_t *data,
                              size_t size) {
  uint8_t head[8], tail[4];
  put32(head, (uint32_t)size);
  memcpy(head + 4, type, 4);
  uLong crc = crc32(crc32(0, NULL, 0), head + 4, 4);
  if (size) crc = crc32(crc, data, (uInt)size);
  put32(tail, (uint32_t)crc);
  if (at) {
    file_rewrite(a->file, at, head, 8);
    file_rewrite(a->file, at + 8, data, size);
    return file_rewrite(a->file, at + 8 + size, tail, 4);
  }
  file_write(a->file, head, 8);
  file_write(a->file, data, size);
  return file_write(a->file, tail, 4);
}

enum { HEADER_AT = 8, CONTROL_AT = HEADER_AT + 12 + 13 }; /* where IHDR and acTL are */

static orr_status write_frame_count(orr_animation *a, uint64_t at) {
  uint8_t data[8];
  put32(data, a->frames);
  put32(data + 4, 0); /* plays for ever */
  return write_chunk(a, at, "acTL", data, sizeof data);
}

static orr_status begin_file(orr_animation *a) {
  static const uint8_t signature[8] = {137, 'P', 'N', 'G', '\r', '\n', 26, '\n'};
  uint8_t header[13] = {[8] = 8, [9] = 2}; /* 8 bits, RGB */
  put32(header, (uint32_t)a->width);
  put32(header + 4, (uint32_t)a->height);
  file_write(a->file, signature, 8);
  write_chunk(a, 0, "IHDR", header, sizeof header);
  return write_frame_count(a, 0);
}

static void release(orr_animation *a) {
  orr_engine *engine = a->engine;
  engine_free_memory(engine, a->previous);
  engine_free_memory(engine, a->present);
  engine_free_memory(engine, a->raw);
  engine_free_memory(engine, a->packed);
  engine_free_memory(engine, a);
  orr_engine_free(engine);
}

void orr_animation_abandon(orr_animation *a) {
  if (!a) return;
  file_abandon(a->file);
  release(a);
}

orr_animation *orr_animation_new(orr_engine *engine, const char *path, int width, int height,
                                 double frames_per_second) {
  if (!(frames_per_second >= 0.1 && frames_per_second <= 1000)) {
    engine_fail(engine, ORR_ARGUMENT, "frames per second must be 0.1 to 1000, got %g",
                frames_per_second);
    return NULL;
  }
  if (!image_size_allowed(engine, "an animation", width, height)) return NULL;
  orr_animation *a = engine_new_zeroed(engine, 1, sizeof *a);
  if (!a) return NULL;
  a->engine = orr_engine_retain(engine);
  a->width = width;
  a->height = height;
  a->seconds = 1 / frames_per_second;
  size_t pixels = (size_t)width * (size_t)height * 3, raw = pixels + (size_t)height;
  a->packed_size = raw + raw / 1000 + 1024; /* more than zlib's worst case */
  a->previous = engine_new(engine, pixels, 1);
  a->present = engine_new(engine, pixels, 1);
  a->raw = engine_new(engine, raw, 1);
  a->packed = engine_new(engine, a->packed_size + 4, 1);
  if (a->previous && a->present && a->raw && a->packed) a->file = file_create(engine, path);
  if (a->file && !begin_file(a)) return a;
  orr_animation_abandon(a);
  return NULL;
}

static void to_rgb(uint8_t *out, const uint8_t *pixels, size_t count, int channels) {
  for (size_t i = 0; i < count; i++, out += 3, pixels += channels)
    for (int c = 0; c < 3; c++) out[c] = pixels[channels < 3 ? 0 : c];
}

/* The box of pixels in which the frames differ: left, top, right, bottom. */
static bool find_change(const orr_animation *a, int box[4]) {
  size_t row = (size_t)a->width * 3;
  box[0] = a->width, box[1] = a->height, box[2] = 0, box[3] = 0;
  for (int y = 0; y < a->height; y++) {
    const uint8_t *old = a->previous + (size_t)y * row, *new = a->present + (size_t)y *row;
    if (memcmp(old, new, row) == 0) continue;
    if (y < box[1]) box[1] = y;
    box[3] = y + 1;
    for (int x = 0; x < box[0]; x++)
      if (memcmp(old + 3 * x, new + 3 * x, 3) != 0) box[0] = x;
    for (int x = a->width - 1; x >= box[2]; x--)
      if (memcmp(old + 3 * x, new + 3 * x, 3) != 0) box[2] = x + 1;
  }
  return box[3] > 0;
}

/* One row by PNG's filter 0 (none), 1 (difference to the left) or 2 (to above); returns how large
   the numbers are that come out, a guess at how badly they compress. */
static size_t filter_row(uint8_t *out, const uint8_t *row, const uint8_t *above, size_t size,
                         int filter) {
  size_t sum = 0;
  out[0] = (uint8_t)filter;
  for (size_t i = 0; i < size; i++) {
    uint8_t from = filter == 1   ? (i < 3 ? 0 : row[i - 3])
                   : filter == 2 ? (above ? above[i] : 0)
                                 : 0;
    uint8_t value = (uint8_t)(row[i] - from);
    out[i + 1] = value;
    sum += value < 128 ? value : 256u - value;
  }
  return sum;
}

static size_t filter_box(orr_animation *a, const int box[4]) {
  size_t row = (size_t)a->width * 3, size = (size_t)(box[2] - box[0]) * 3;
  uint8_t *out = a->raw;
  for (int y = box[1]; y < box[3]; y++, out += size + 1) {
    const uint8_t *in = a->present + (size_t)y * row + (size_t)box[0] * 3;
    const uint8_t *above = y > box[1] ? in - row : NULL;
    int best = 0;
    size_t least = SIZE_MAX;
    for (int filter = 0; filter < 3; filter++) {
      size_t sum = filter_row(out, in, above, size, filter);
      if (sum < least) least = sum, best = filter;
    }
    filter_row(out, in, above, size, best);
  }
  return (size_t)(out - a->raw);
}

static voidpf zlib_new(voidpf engine, uInt count, uInt size) {
  return engine_new(engine, count, size);
}
static void zlib_free(voidpf engine, voidpf memory) { engine_free_memory(engine, memory); }

/* Compresses `size` bytes of raw into packed + 4; 0 with a message on failure. */
static size_t pack(orr_animation *a, size_t size) {
  z_stream stream = {.zalloc = zlib_new, .zfree = zlib_free, .opaque = a->engine};
  stream.next_in = a->raw;
  stream.avail_in = (uInt)size;
  stream.next_out = a->packed + 4;
  stream.avail_out = (uInt)a->packed_size;
  int code = deflateInit(&stream, 7);
  if (code == Z_OK) {
    code = deflate(&stream, Z_FINISH);
    deflateEnd(&stream);
  }
  if (code == Z_STREAM_END) return stream.total_out;
  engine_fail(a->engine, ORR_MEMORY, "an animation's frame could not be compressed (zlib code %d)",
              code);
  return 0;
}

static void set_delay(orr_animation *a) {
  double milliseconds = fmin(fmax(round(1000 * a->lasts), 1), 65535);
  put16(a->control + 20, (unsigned)milliseconds);
  put16(a->control + 22, 1000);
}

static orr_status write_frame(orr_animation *a, const int box[4]) {
  size_t size = pack(a, filter_box(a, box));
  if (!size) return a->engine->status;
  memset(a->control, 0, sizeof a->control); /* dispose 0: leave it; blend 0: replace */
  put32(a->control, a->sequence++);
  put32(a->control + 4, (uint32_t)(box[2] - box[0]));
  put32(a->control + 8, (uint32_t)(box[3] - box[1]));
  put32(a->control + 12, (uint32_t)box[0]);
  put32(a->control + 16, (uint32_t)box[1]);
  a->lasts = a->seconds;
  set_delay(a);
  a->control_at = file_position(a->file);
  write_chunk(a, 0, "fcTL", a->control, sizeof a->control);
  if (a->frames++ == 0) return write_chunk(a, 0, "IDAT", a->packed + 4, size);
  put32(a->packed, a->sequence++);
  return write_chunk(a, 0, "fdAT", a->packed, size + 4);
}

orr_status orr_animation_add(orr_animation *a, const uint8_t *pixels, int channels) {
  if (channels < 1 || channels > 4)
    return engine_fail(a->engine, ORR_SHAPE, "a frame has 1 to 4 channels, got %d", channels);
  to_rgb(a->present, pixels, (size_t)a->width * (size_t)a->height, channels);
  int box[4] = {0, 0, a->width, a->height};
  if (a->frames && !find_change(a, box) && a->lasts + a->seconds < 60) {
    a->lasts += a->seconds;
    set_delay(a);
    return write_chunk(a, a->control_at, "fcTL", a->control, sizeof a->control);
  }
  if (box[3] == 0) box[0] = box[1] = 0, box[2] = box[3] = 1; /* the same for a minute */
  orr_status status = write_frame(a, box);
  uint8_t *old = a->previous;
  a->previous = a->present;
  a->present = old;
  return status;
}

orr_status orr_animation_close(orr_animation *a) {
  orr_status status;
  if (!a->frames) {
    status = engine_fail(a->engine, ORR_STATE, "an animation needs at least one frame");
    file_abandon(a->file);
  } else {
    write_frame_count(a, CONTROL_AT);
    write_chunk(a, 0, "IEND", NULL, 0);
    status = file_commit(a->file);
  }
  release(a);
  return status;
}
