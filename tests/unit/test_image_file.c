/* test_image_file.c - PNG files and animations: what is written is read back, damage is refused,
   and a file that cannot be finished leaves the old one alone. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "orrery/image.h"
#include "temporary_folder.h"

static void begin(void) { begin_in_folder("picture.png"); }

TestSuite(png, .init = begin, .fini = end);
TestSuite(animation, .init = begin, .fini = end);

static uint8_t *noise(size_t n) {
  uint8_t *bytes = malloc(n);
  uint32_t x = 12345;
  for (size_t i = 0; i < n; i++) {
    x = x * 1664525u + 1013904223u;
    bytes[i] = (uint8_t)(x >> 24);
  }
  return bytes;
}

static uint8_t *read_file(size_t *size) {
  FILE *file = fopen(path, "rb");
  cr_assert(file);
  fseek(file, 0, SEEK_END);
  *size = (size_t)ftell(file);
  rewind(file);
  uint8_t *bytes = malloc(*size + 1);
  cr_assert_eq(fread(bytes, 1, *size, file), *size);
  fclose(file);
  return bytes;
}

Test(png, comes_back_as_it_was) {
  uint8_t *pixels = noise(33 * 21 * 4);
  for (int channels = 1; channels <= 4; channels++) {
    cr_assert_eq(orr_png_save(engine, path, pixels, 33, 21, channels), ORR_OK, "%s",
                 orr_engine_message(engine));
    orr_tensor *image = orr_png_load(engine, path, 0);
    cr_assert(image, "%s", orr_engine_message(engine));
    const int64_t *shape = orr_tensor_shape(image);
    cr_expect(shape[0] == 21 && shape[1] == 33 && shape[2] == channels);
    cr_expect_eq(orr_tensor_dtype(image), ORR_BYTE);
    cr_expect_arr_eq(orr_tensor_data(image), pixels, (size_t)(33 * 21 * channels));
    orr_tensor_free(image);
  }
  free(pixels);
}

Test(png, converts_channels) {
  uint8_t rgba[2 * 4] = {10, 20, 30, 255, 200, 100, 50, 0}, grey[2] = {7, 200};
  orr_png_save(engine, path, rgba, 2, 1, 4);
  orr_tensor *three = orr_png_load(engine, path, 3), *one = orr_png_load(engine, path, 1);
  cr_expect_arr_eq(orr_tensor_data(three), ((uint8_t[]){10, 20, 30, 200, 100, 50}), 6);
  cr_expect_eq(orr_tensor_shape(one)[2], 1);
  orr_tensor_free(three);
  orr_tensor_free(one);
  orr_png_save(engine, path, grey, 2, 1, 1);
  orr_tensor *four = orr_png_load(engine, path, 4);
  cr_expect_arr_eq(orr_tensor_data(four), ((uint8_t[]){7, 7, 7, 255, 200, 200, 200, 255}), 8);
  orr_tensor_free(four);
  cr_expect_null(orr_png_load(engine, path, 2));
  cr_expect_eq(orr_engine_status(engine), ORR_ARGUMENT);
}

Test(png, every_truncation_is_an_error) {
  uint8_t *pixels = noise(20 * 15 * 3);
  size_t size;
  orr_png_save(engine, path, pixels, 20, 15, 3);
  uint8_t *bytes = read_file(&size);
  for (size_t n = 0; n < size; n++) {
    uint8_t *part = malloc(n ? n : 1); /* exact, so that the sanitizer sees reads past the end */
    memcpy(part, bytes, n);
    cr_assert_null(orr_png_decode(engine, part, n, 0), "%zu of %zu bytes were accepted", n, size);
    cr_assert_eq(orr_engine_status(engine), ORR_FORMAT);
    free(part);
  }
  orr_tensor *whole = orr_png_decode(engine, bytes, size, 0);
  cr_expect(whole);
  orr_tensor_free(whole);
  free(bytes);
  free(pixels);
}

Test(png, every_flipped_bit_is_an_error) {
  uint8_t *pixels = noise(8 * 5 * 3);
  size_t size, before = 0;
  orr_png_save(engine, path, pixels, 8, 5, 3);
  uint8_t *bytes = read_file(&size);
  for (size_t bit = 0; bit < 8 * size; bit++) {
    bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    orr_tensor *image = orr_png_decode(engine, bytes, size, 0);
    cr_assert_null(image, "bit %zu of byte %zu went unnoticed", bit % 8, bit / 8);
    bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    if (bit == 100) before = orr_engine_bytes(engine);
  }
  cr_expect_eq(orr_engine_bytes(engine), before, "refused files leak");
  free(bytes);
  free(pixels);
}

static void put32(uint8_t *out, uint32_t value) {
  for (int i = 0; i < 4; i++) out[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* Appends a chunk to a file of `size` bytes; returns the new size. */
static size_t add_chunk(uint8_t *file, size_t size, const char *type, const void *data,
                        size_t length) {
  put32(file + size, (uint32_t)length);
  memcpy(file + size + 4, type, 4);
  memcpy(file + size + 8, data, length);
  put32(file + size + 8 + length, (uint32_t)crc32(0, file + size + 4, (uInt)(length + 4)));
  return size + 12 + length;
}

/* A grey picture of that size, of which one row of one pixel is there. */
static size_t make_file(uint8_t *file, uint32_t width, uint32_t height, const char *extra) {
  uint8_t header[13] = {[8] = 8}, packed[64];
  uLongf length = sizeof packed;
  memcpy(file, "\211PNG\r\n\032\n", 8);
  put32(header, width);
  put32(header + 4, height);
  compress(packed, &length, (const uint8_t[]){0, 99}, 2);
  size_t size = add_chunk(file, 8, "IHDR", header, 13);
  if (extra) size = add_chunk(file, size, extra, "Title\0text", 10);
  size = add_chunk(file, size, "IDAT", packed, length);
  return add_chunk(file, size, "IEND", "", 0);
}

Test(png, damage_beside_the_picture_counts_too) {
  uint8_t file[256];
  size_t size = make_file(file, 1, 1, "tEXt");
  orr_tensor *image = orr_png_decode(engine, file, size, 0);
  cr_assert(image, "%s", orr_engine_message(engine));
  cr_expect_eq(*(uint8_t *)orr_tensor_data(image), 99);
  orr_tensor_free(image);
  file[33 + 8 + 7] ^= 1; /* in the text */
  cr_expect_null(orr_png_decode(engine, file, size, 0));
}

static size_t largest;

static void *allocate(void *user, void *old, size_t old_size, size_t size) {
  (void)user, (void)old_size;
  if (size > largest) largest = size;
  if (size) return realloc(old, size);
  free(old);
  return NULL;
}

/* A file of a few bytes that claims to be huge must not be believed. */
Test(png, bombs_are_refused) {
  uint32_t sizes[][2] = {{16385, 1}, {1, 16385}, {16384, 16384}, {0x7fffffff, 0x7fffffff}, {0, 5}};
  orr_engine_options options = orr_engine_options_defaults();
  options.allocate = allocate;
  orr_engine *watched = orr_engine_new(&options);
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    uint8_t file[256];
    size_t size = make_file(file, sizes[i][0], sizes[i][1], NULL);
    largest = 0;
    cr_expect_null(orr_png_decode(watched, file, size, 0));
    cr_expect_eq(orr_engine_status(watched), ORR_FORMAT);
    cr_expect_lt(largest, 1 << 20, "%zu bytes were asked for", largest);
  }
  orr_engine_free(watched);
  cr_expect_neq(orr_png_save(engine, path, NULL, 16385, 1, 3), ORR_OK);
  cr_expect_null(orr_png_decode(engine, "GIF89a..............", 20, 0));
  cr_expect(strstr(orr_engine_message(engine), "is not a PNG file"));
}

Test(png, what_cannot_be_written_or_read_is_said) {
  uint8_t pixel[3] = {1, 2, 3};
  cr_expect_eq(orr_png_save(engine, "/tmp/no/such/folder/x.png", pixel, 1, 1, 3), ORR_IO);
  cr_expect(strstr(orr_engine_message(engine), "/tmp/no/such/folder/x.png"));
  cr_expect_null(orr_png_load(engine, "/tmp/no/such/file.png", 0));
  cr_expect_eq(orr_engine_status(engine), ORR_IO);
  cr_expect_null(orr_png_load(engine, folder, 0));
  cr_expect_eq(orr_engine_status(engine), ORR_IO);
  cr_expect_eq(orr_png_save(engine, path, pixel, 1, 1, 5), ORR_SHAPE);
}

/* ---- animations */

static uint32_t get32(const uint8_t *b) {
  return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

enum { W = 37, H = 29 };

/* Undoes zlib and PNG's filters 0, 1, 2 into the box of the picture. */
static void paint(uint8_t *picture, const uint8_t *packed, size_t size, const uint32_t box[4]) {
  size_t row = box[0] * 3;
  uLongf length = (uLongf)((row + 1) * box[1]);
  uint8_t *raw = malloc(length);
  cr_assert_eq(uncompress(raw, &length, packed, size), Z_OK);
  cr_assert_eq(length, (row + 1) * box[1]);
  for (uint32_t y = 0; y < box[1]; y++) {
    const uint8_t *in = raw + y * (row + 1);
    uint8_t *out = picture + ((box[3] + y) * W + box[2]) * 3;
    for (size_t i = 0; i < row; i++) {
      uint8_t left = i < 3 ? 0 : out[i - 3], above = y == 0 ? 0 : *(out + i - W * 3);
      cr_assert_leq(in[0], 2);
      out[i] = (uint8_t)(in[i + 1] + (in[0] == 1 ? left : in[0] == 2 ? above : 0));
    }
  }
  free(raw);
}

/* Reads the file as the APNG specification says, comparing each frame. Returns how many there are;
   fills how many milliseconds each lasts. */
static uint32_t check_animation(const uint8_t *wanted, const int *shown, int *lasts) {
  size_t size, at = 8;
  uint8_t *bytes = read_file(&size), *picture = calloc(W * H, 3);
  uint32_t frames = 0, sequence = 0, claimed = 0, box[4] = {0};
  bool ended = false;
  while (at < size) {
    uint32_t length = get32(bytes + at);
    const uint8_t *type = bytes + at + 4, *data = type + 4;
    cr_assert_leq(at + 12 + length, size);
    cr_assert_eq(get32(data + length), crc32(0, type, length + 4), "the checksum of %.4s",
                 (const char *)type);
    if (!memcmp(type, "acTL", 4)) {
      claimed = get32(data);
      cr_expect_eq(get32(data + 4), 0);
      cr_expect_eq(frames, 0);
    } else if (!memcmp(type, "fcTL", 4)) {
      cr_assert_eq(length, 26);
      cr_assert_eq(get32(data), sequence++);
      for (int i = 0; i < 4; i++) box[i] = get32(data + 4 + 4 * i);
      cr_assert(box[0] >= 1 && box[1] >= 1 && box[2] + box[0] <= W && box[3] + box[1] <= H);
      if (frames == 0) cr_assert(box[0] == W && box[1] == H);
      lasts[frames] = (data[20] << 8 | data[21]) * 1000 / (data[22] << 8 | data[23]);
    } else if (!memcmp(type, "IDAT", 4) || !memcmp(type, "fdAT", 4)) {
      size_t skip = type[0] == 'f' ? 4 : 0;
      cr_assert_eq(skip > 0, frames > 0);
      if (skip) cr_assert_eq(get32(data), sequence++);
      paint(picture, data + skip, length - skip, box);
      cr_assert_arr_eq(picture, wanted + (size_t)shown[frames] * W * H * 3, W * H * 3,
                       "frame %u differs", frames);
      frames++;
    } else if (!memcmp(type, "IEND", 4)) {
      ended = true;
    }
    at += 12 + length;
  }
  cr_expect(ended);
  cr_expect_eq(claimed, frames);
  free(bytes);
  free(picture);
  return frames;
}

Test(animation, plays_as_the_standard_says) {
  enum { N = 6 };
  uint8_t *frames = noise(N * W * H * 3);
  size_t one = W * H * 3;
  memcpy(frames + one, frames, one); /* 1 is 0 with one pixel changed */
  frames[one + (5 * W + 7) * 3] ^= 255;
  memcpy(frames + 2 * one, frames + one, one); /* 2 is 1 */
  memset(frames + 3 * one, 200, one);          /* 3 is plain, 4 with a corner */
  memset(frames + 4 * one, 200, one);
  frames[5 * one - 1] = 0;
  orr_animation *a = orr_animation_new(engine, path, W, H, 20);
  cr_assert(a);
  for (int i = 0; i < N; i++)
    cr_assert_eq(orr_animation_add(a, frames + (size_t)i * one, 3), ORR_OK);
  cr_expect_neq(access(path, F_OK), 0, "the file appears before it is whole");
  cr_assert_eq(orr_animation_close(a), ORR_OK);
  int lasts[N], shown[N] = {0, 1, 3, 4, 5}, expected[N] = {50, 100, 50, 50, 50};
  cr_expect_eq(check_animation(frames, shown, lasts), N - 1);
  cr_expect_arr_eq(lasts, expected, 5 * sizeof(int));
  orr_tensor *first =
      orr_png_load(engine, path, 0); /* and it is an ordinary PNG of the first frame */
  cr_assert(first);
  cr_expect_arr_eq(orr_tensor_data(first), frames, one);
  orr_tensor_free(first);
  free(frames);
}

Test(animation, leaves_no_half_files) {
  uint8_t *frame = noise(W * H * 3);
  orr_animation *a = orr_animation_new(engine, path, W, H, 20);
  cr_expect_eq(orr_animation_close(a), ORR_STATE); /* no frames */
  cr_expect_eq(files(), 0);
  a = orr_animation_new(engine, path, W, H, 20);
  orr_animation_add(a, frame, 3);
  orr_animation_abandon(a);
  cr_expect_eq(files(), 0);
  orr_animation_abandon(NULL);
  cr_expect_null(orr_animation_new(engine, path, 0, 5, 20));
  cr_expect_null(orr_animation_new(engine, path, 5, 5, 0));
  cr_expect_null(orr_animation_new(engine, "/tmp/no/such/folder/x.png", 5, 5, 20));
  free(frame);
}
