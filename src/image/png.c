/* png.c - PNG files through libpng's low-level interface, with the engine's allocator, our limits
   and our own error function: it jumps back to `guarded`, never out of this file. */
#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "image/image.h"

typedef struct png_job {
  orr_engine *engine;
  const char *name; /* for messages */
  png_structp png;
  png_infop info;
  char reason[160];
  orr_status status;
  const uint8_t *bytes; /* reading: the file, and how far we are */
  size_t size, position;
  int channels;
  orr_tensor *image;
  file_writer *file; /* writing */
  const uint8_t *pixels;
  int width, height;
} png_job;

static void on_error(png_structp png, png_const_charp reason) {
  png_job *job = png_get_error_ptr(png);
  if (!job->reason[0]) snprintf(job->reason, sizeof job->reason, "%s", reason);
  png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp reason) {
  (void)png;
  (void)reason;
}

static png_voidp on_malloc(png_structp png, png_alloc_size_t size) {
  png_job *job = png_get_mem_ptr(png);
  void *memory = engine_new(job->engine, size, 1);
  if (!memory) job->status = ORR_MEMORY;
  return memory;
}

static void on_free(png_structp png, png_voidp memory) {
  png_job *job = png_get_mem_ptr(png);
  engine_free_memory(job->engine, memory);
}

static void on_read(png_structp png, png_bytep out, size_t count) {
  png_job *job = png_get_io_ptr(png);
  if (count > job->size - job->position) png_error(png, "the file ends too early");
  memcpy(out, job->bytes + job->position, count);
  job->position += count;
}

static void on_write(png_structp png, png_bytep bytes, size_t count) {
  png_job *job = png_get_io_ptr(png);
  if (file_write(job->file, bytes, count)) png_error(png, "cannot write");
}

static void on_flush(png_structp png) { (void)png; }

/* Runs work; false when libpng gave up inside it. */
static bool guarded(png_job *job, void (*work)(png_job *)) {
  if (setjmp(png_jmpbuf(job->png))) return false;
  work(job);
  return true;
}

/* Turns whatever the file has into 8-bit channels, `channels` of them unless 0. */
static void set_transforms(png_job *job) {
  png_structp png = job->png;
  int type = png_get_color_type(png, job->info);
  bool alpha = (type & PNG_COLOR_MASK_ALPHA) || png_get_valid(png, job->info, PNG_INFO_tRNS);
  bool color = type & PNG_COLOR_MASK_COLOR;
  png_set_expand(png);
  png_set_scale_16(png);
  if (job->channels == 1 && color) png_set_rgb_to_gray_fixed(png, 1, -1, -1);
  if (job->channels >= 3 && !color) png_set_gray_to_rgb(png);
  if ((job->channels == 1 || job->channels == 3) && alpha) png_set_strip_alpha(png);
  if (job->channels == 4 && !alpha) png_set_add_alpha(png, 255, PNG_FILLER_AFTER);
}

static void read_image(png_job *job) {
  png_structp png = job->png;
  png_set_read_fn(png, job, on_read);
  png_set_user_limits(png, ORR_IMAGE_SIDE, ORR_IMAGE_SIDE);
  png_set_chunk_cache_max(png, 64);
  png_set_chunk_malloc_max(png, 8 << 20);
  png_set_crc_action(png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
  png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, 0);
  png_read_info(png, job->info);
  int64_t width = png_get_image_width(png, job->info),
          height = png_get_image_height(png, job->info);
  if (!image_size_allowed(job->engine, job->name, width, height)) {
    job->status = ORR_FORMAT;
    png_error(png, orr_engine_message(job->engine));
  }
  set_transforms(job);
  int passes = png_set_interlace_handling(png);
  png_read_update_info(png, job->info);
  int64_t shape[3] = {height, width, png_get_channels(png, job->info)};
  size_t row = (size_t)(shape[1] * shape[2]);
  if (png_get_rowbytes(png, job->info) != row) png_error(png, "rows of an unexpected size");
  job->image = orr_tensor_new(job->engine, ORR_BYTE, 3, shape);
  if (!job->image) {
    job->status = orr_engine_status(job->engine);
    png_error(png, orr_engine_message(job->engine));
  }
  uint8_t *pixels = orr_tensor_data(job->image);
  for (int pass = 0; pass < passes; pass++)
    for (int64_t y = 0; y < height; y++) png_read_row(png, pixels + (size_t)y * row, NULL);
  png_read_end(png, NULL);
  orr_tensor_touch(job->image);
}

static orr_tensor *decode(png_job *job) {
  if (job->channels != 0 && job->channels != 1 && job->channels != 3 && job->channels != 4) {
    engine_fail(job->engine, ORR_ARGUMENT, "channels must be 0 (as the file), 1, 3 or 4, got %d",
                job->channels);
    return NULL;
  }
  if (job->size < 8 || png_sig_cmp(job->bytes, 0, 8)) {
    engine_fail(job->engine, ORR_FORMAT, "%s is not a PNG file", job->name);
    return NULL;
  }
  job->png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, job, on_error, on_warning, job,
                                      on_malloc, on_free);
  job->info = job->png ? png_create_info_struct(job->png) : NULL;
  bool whole = job->info && guarded(job, read_image);
  if (job->png) png_destroy_read_struct(&job->png, &job->info, NULL);
  if (whole) return job->image;
  orr_tensor_free(job->image);
  engine_fail(job->engine, job->status ? job->status : ORR_FORMAT, "%s, byte %zu: %s", job->name,
              job->position, job->reason[0] ? job->reason : "libpng could not start");
  return NULL;
}

orr_tensor *orr_png_decode(orr_engine *engine, const void *bytes, size_t size, int channels) {
  png_job job = {
      .engine = engine, .name = "PNG data", .bytes = bytes, .size = size, .channels = channels};
  return decode(&job);
}

orr_tensor *orr_png_load(orr_engine *engine, const char *path, int channels) {
  char name[300];
  snprintf(name, sizeof name, "'%.280s'", path);
  png_job job = {.engine = engine, .name = name, .channels = channels};
  void *bytes = file_read(engine, path, (size_t)1 << 30, &job.size);
  if (!bytes) return NULL;
  job.bytes = bytes;
  orr_tensor *image = decode(&job);
  engine_free_memory(engine, bytes);
  return image;
}

static void write_image(png_job *job) {
  static const int types[] = {PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA, PNG_COLOR_TYPE_RGB,
                              PNG_COLOR_TYPE_RGB_ALPHA};
  png_set_write_fn(job->png, job, on_write, on_flush);
  png_set_IHDR(job->png, job->info, (png_uint_32)job->width, (png_uint_32)job->height, 8,
               types[job->channels - 1], PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  png_write_info(job->png, job->info);
  size_t row = (size_t)job->width * (size_t)job->channels;
  for (int y = 0; y < job->height; y++) png_write_row(job->png, job->pixels + (size_t)y * row);
  png_write_end(job->png, job->info);
}

orr_status orr_png_save(orr_engine *engine, const char *path, const uint8_t *pixels, int width,
                        int height, int channels) {
  if (channels < 1 || channels > 4)
    return engine_fail(engine, ORR_SHAPE, "'%s': a picture has 1 to 4 channels, got %d", path,
                       channels);
  if (!image_size_allowed(engine, "a picture", width, height)) return engine->status;
  png_job job = {.engine = engine,
                 .name = path,
                 .pixels = pixels,
                 .width = width,
                 .height = height,
                 .channels = channels};
  job.file = file_create(engine, path);
  if (!job.file) return engine->status;
  job.png = png_create_write_struct_2(PNG_LIBPNG_VER_STRING, &job, on_error, on_warning, &job,
                                      on_malloc, on_free);
  job.info = job.png ? png_create_info_struct(job.png) : NULL;
  bool whole = job.info && guarded(&job, write_image);
  if (job.png) png_destroy_write_struct(&job.png, &job.info);
  if (whole) return file_commit(job.file);
  orr_status failed = file_write(job.file, "", 0); /* what the file met, if that was it */
  file_abandon(job.file);
  if (failed) return failed;
  return engine_fail(engine, job.status ? job.status : ORR_IO, "'%s': %s", path,
                     job.reason[0] ? job.reason : "libpng could not start");
}
