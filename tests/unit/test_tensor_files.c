/* test_tensor_files.c - .npy and safetensors: round trips, every truncation, hostile headers. Files
   come from disk: whatever they hold, the answer is a tensor or a message, and no memory stays. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "orrery/tensor.h"

static orr_engine *engine;
static char folder[64], path[96];
static size_t before;

static void open_all(void) {
  engine = orr_engine_new(NULL);
  snprintf(folder, sizeof folder, "/tmp/orrery-test-XXXXXX");
  cr_assert_not_null(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/file", folder);
  before = orr_engine_bytes(engine);
}

static int files_in_folder(void) {
  int n = 0;
  DIR *all = opendir(folder);
  for (struct dirent *entry = readdir(all); entry; entry = readdir(all))
    n += entry->d_name[0] != '.';
  closedir(all);
  return n;
}

static void close_all(void) {
  cr_assert_eq(orr_engine_bytes(engine), before, "%zu bytes leaked",
               orr_engine_bytes(engine) - before);
  cr_assert_leq(files_in_folder(), 1, "temporary files stay behind");
  unlink(path);
  rmdir(folder);
  orr_engine_free(engine);
}

TestSuite(tensor_files, .init = open_all, .fini = close_all);

#define SHAPE(...) \
  (sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]) { __VA_ARGS__ }

static void write_bytes(const void *bytes, size_t size) {
  FILE *file = fopen(path, "wb");
  cr_assert_eq(fwrite(bytes, 1, size, file), size);
  fclose(file);
}

static size_t read_bytes(void *bytes, size_t size) {
  FILE *file = fopen(path, "rb");
  size_t n = fread(bytes, 1, size, file);
  fclose(file);
  return n;
}

static orr_tensor *some(orr_dtype dtype, int axes, const int64_t *shape) {
  orr_tensor *x = orr_tensor_new(engine, dtype, axes, shape);
  double *values = malloc(((size_t)orr_tensor_count(x) + 1) * sizeof *values);
  for (int64_t i = 0; i < orr_tensor_count(x); i++) values[i] = (double)(i * 7 % 31);
  orr_tensor_write(x, values);
  free(values);
  return x;
}

Test(tensor_files, npy_round_trip) {
  static const int64_t shape[] = {2, 3, 1, 4};
  for (int axes = 0; axes <= 4; axes++)
    for (int dtype = ORR_REAL; dtype <= ORR_INT; dtype++) {
      orr_tensor *x = some((orr_dtype)dtype, axes, shape), *turned = orr_tensor_transpose(x, NULL);
      cr_assert_eq(orr_npy_write(turned, path), ORR_OK);
      orr_tensor *y = orr_npy_read(engine, path);
      cr_assert_not_null(y, "%s", orr_engine_message(engine));
      cr_assert(orr_tensor_same(turned, y) && orr_tensor_dtype(y) == (orr_dtype)dtype);
      orr_tensor_free(x), orr_tensor_free(turned), orr_tensor_free(y);
    }
}

/* A file as numpy.save writes it, from its header's text. */
static size_t npy_bytes(char *bytes, const char *header, const void *numbers, size_t size) {
  size_t length = strlen(header);
  memcpy(bytes, "\x93NUMPY\x01\x00", 8);
  bytes[8] = (char)(length & 255), bytes[9] = (char)(length >> 8);
  memcpy(bytes + 10, header, length);
  memcpy(bytes + 10 + length, numbers, size);
  return 10 + length + size;
}

static orr_tensor *npy_from(const char *header, const void *numbers, size_t size) {
  char bytes[1024];
  write_bytes(bytes, npy_bytes(bytes, header, numbers, size));
  return orr_npy_read(engine, path);
}

static void check_values(orr_tensor *x, orr_dtype dtype, const double *wanted, int count) {
  cr_assert_not_null(x, "%s", orr_engine_message(engine));
  cr_assert_eq(orr_tensor_dtype(x), dtype);
  cr_assert_eq(orr_tensor_count(x), count);
  for (int i = 0; i < count; i++)
    cr_assert_eq(orr_tensor_get(x, i), wanted[i], "%d: %g", i, orr_tensor_get(x, i));
  orr_tensor_free(x);
}

Test(tensor_files, npy_of_other_kinds) {
  double f8[] = {1.5, -2};
  check_values(npy_from("{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }\n", f8, 16),
               ORR_REAL, f8, 2);
  /* 1, -2, 0.000060975552 (subnormal), 65504 in half precision */
  uint16_t f2[] = {0x3C00, 0xC000, 0x03FF, 0x7BFF};
  double halves[] = {1, -2, (double)(1023 / 16777216.0f), 65504};
  check_values(npy_from("{'shape': (2, 2), 'descr': '<f2', 'fortran_order': False}", f2, 8),
               ORR_REAL, halves, 4);
  int64_t i8[] = {-5, 2147483647};
  double whole[] = {-5, 2147483647};
  check_values(npy_from("{'descr': '<i8', 'fortran_order': False, 'shape': (2,)}", i8, 16), ORR_INT,
               whole, 2);
  int8_t i1[] = {-5, 100};
  double small[] = {-5, 100};
  check_values(npy_from("{'descr': '|i1', 'fortran_order': False, 'shape': (2,)}", i1, 2), ORR_INT,
               small, 2);
  i8[0] = INT64_MIN;
  cr_assert_null(npy_from("{'descr': '<i8', 'fortran_order': False, 'shape': (2,)}", i8, 16));
  cr_assert_eq(orr_engine_status(engine), ORR_NUMBER);
  /* Columns behind each other: 1 2 3 over 4 5 6. */
  uint8_t columns[] = {1, 4, 2, 5, 3, 6};
  double rows[] = {1, 2, 3, 4, 5, 6};
  check_values(npy_from("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3)}", columns, 6),
               ORR_BYTE, rows, 6);
}

Test(tensor_files, hostile_npy_headers) {
  static const char *const headers[] = {
      "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,)}",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4)}",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999999,)}",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1)}",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (1}",
      "{'descr': '>f4', 'fortran_order': False, 'shape': (1,)}",
      "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
      "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}",
      "{'descr': '<f4', 'fortran_order': Maybe, 'shape': (1,)}",
      "{'descr': '<f4', 'shape': (1,)}",
      "{'descr': '<f4' 'fortran_order': False, 'shape': (1,)}",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'evil': 1}",
      "{'descr': '<f4",
      "",
      "{",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 3)}", /* 4 bytes too many */
  };
  for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
    cr_assert_null(npy_from(headers[i], "\0\0\0\0", 4), "accepted: %s", headers[i]);
    cr_assert_not_null(strstr(orr_engine_message(engine), path), "%s", orr_engine_message(engine));
  }
  write_bytes("\x93NUMPY\x03\x00\xff\xff\xff\xff{", 13);
  cr_assert_null(orr_npy_read(engine, path), "a header of 4 GiB");
  cr_assert_not_null(strstr(orr_engine_message(engine), "header is too long"),
                     "before it is allocated");
}

Test(tensor_files, every_truncation_of_npy) {
  char bytes[512];
  orr_tensor *x = some(ORR_REAL, SHAPE(3, 2));
  cr_assert_eq(orr_npy_write(x, path), ORR_OK);
  size_t size = read_bytes(bytes, sizeof bytes);
  cr_assert(size > 80 && size < sizeof bytes);
  for (size_t n = 0; n < size; n++) {
    write_bytes(bytes, n);
    cr_assert_null(orr_npy_read(engine, path), "accepted with %zu of %zu bytes", n, size);
    cr_assert_eq(orr_engine_status(engine), ORR_FORMAT);
  }
  cr_assert_not_null(strstr(orr_engine_message(engine), "truncated"), "%s",
                     orr_engine_message(engine));
  orr_tensor_free(x);
}

static orr_bundle *sample_bundle(void) {
  orr_bundle *bundle = orr_bundle_new(engine);
  orr_tensor *w = some(ORR_REAL, SHAPE(3, 2)), *image = some(ORR_BYTE, SHAPE(5)),
             *index = some(ORR_INT, SHAPE(2, 2));
  orr_tensor *turned = orr_tensor_transpose(w, NULL), *none = some(ORR_REAL, SHAPE(0, 7));
  cr_assert_eq(orr_bundle_add(bundle, "layer.w", turned), ORR_OK);
  cr_assert_eq(orr_bundle_add(bundle, "image \"quoted\" \xc3\xa9", image), ORR_OK);
  cr_assert_eq(orr_bundle_add(bundle, "index", index), ORR_OK);
  cr_assert_eq(orr_bundle_add(bundle, "none", none), ORR_OK);
  cr_assert_eq(orr_bundle_add(bundle, "index", index), ORR_FIELD);
  cr_assert_eq(orr_bundle_add_text(bundle, "kind", "a test"), ORR_OK);
  orr_tensor_free(w), orr_tensor_free(image), orr_tensor_free(index), orr_tensor_free(turned),
      orr_tensor_free(none);
  return bundle;
}

Test(tensor_files, safetensors_round_trip) {
  orr_bundle *bundle = sample_bundle();
  cr_assert_eq(orr_bundle_write(bundle, path), ORR_OK, "%s", orr_engine_message(engine));
  orr_bundle *back = orr_bundle_read(engine, path, false);
  cr_assert_not_null(back, "%s", orr_engine_message(engine));
  cr_assert_eq(orr_bundle_count(back), 4);
  for (int i = 0; i < 4; i++) {
    orr_tensor *x = orr_bundle_tensor(bundle, i),
               *y = orr_bundle_find(back, orr_bundle_name(bundle, i));
    cr_assert(orr_tensor_same(x, y) && orr_tensor_dtype(x) == orr_tensor_dtype(y));
  }
  cr_assert_str_eq(orr_bundle_text(back, "kind"), "a test");
  cr_assert_null(orr_bundle_find(back, "indx"));
  cr_assert_str_eq(orr_engine_message(engine), "no tensor 'indx' among 4; did you mean 'index'?");
  orr_bundle_free(bundle);
  orr_bundle_free(back);
}

Test(tensor_files, every_truncation_and_bit_flip_of_safetensors) {
  char bytes[1024];
  orr_bundle *bundle = sample_bundle();
  cr_assert_eq(orr_bundle_write(bundle, path), ORR_OK);
  orr_bundle_free(bundle);
  size_t size = read_bytes(bytes, sizeof bytes);
  cr_assert(size > 200 && size < sizeof bytes);
  for (size_t n = 0; n < size; n++) {
    char *copy =
        malloc(n ? n : 1); /* of exactly n bytes, so that the sanitizer sees a step too far */
    memcpy(copy, bytes, n);
    cr_assert_null(orr_bundle_parse(engine, copy, n, "memory", false),
                   "accepted with %zu of %zu bytes", n, size);
    cr_assert_eq(orr_engine_status(engine), ORR_FORMAT);
    free(copy);
  }
  for (size_t n = 0; n < size; n++)
    for (int bit = 0; bit < 8; bit++) { /* many flips leave a good file: only memory is at stake */
      bytes[n] ^= (char)(1 << bit);
      orr_bundle_free(orr_bundle_parse(engine, bytes, size, "memory", true));
      bytes[n] ^= (char)(1 << bit);
    }
  write_bytes(bytes, size - 3);
  cr_assert_null(orr_bundle_read(engine, path, false));
  char wanted[256];
  snprintf(wanted, sizeof wanted, "%s: truncated: the tensors take ", path);
  cr_assert_eq(strncmp(orr_engine_message(engine), wanted, strlen(wanted)), 0, "%s",
               orr_engine_message(engine));
}

static orr_bundle *parse(const char *header, size_t numbers) {
  char bytes[2048] = {0};
  size_t length = strlen(header);
  bytes[0] = (char)(length & 255), bytes[1] = (char)(length >> 8);
  memcpy(bytes + 8, header, length);
  return orr_bundle_parse(engine, bytes, 8 + length + numbers, "memory", false);
}

Test(tensor_files, hostile_safetensors_headers) {
  static const char *const headers[] = {
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[-8,0]}}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8,9]}}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[2.0],\"data_offsets\":[0,8]}}",
      "{\"a\":{\"dtype\":\"F31\",\"shape\":[2],\"data_offsets\":[0,8]}}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"more\":1}}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,8]}}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[0,9223372036854775807,9223372036854775807],\"data_"
      "offsets\":[0,0]}}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,2],\"data_offsets\":[0,8]}}",
      "{\"a\":{\"dtype\":\"U8\",\"shape\":[1000000000000],\"data_offsets\":[0,1000000000000]}}",
      /* overlap, gap, twice the same name, data left over */
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\","
      "\"shape\":[1],\"data_offsets\":[4,8]}}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
      "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"a\":{\"dtype\":\"U8\","
      "\"shape\":[4],\"data_offsets\":[4,8]}}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
      "{\"a\":5}",
      "{\"__metadata__\":{\"k\":5}}",
      "[]",
      "{\"a\":",
  };
  for (size_t i = 0; i < sizeof headers / sizeof *headers; i++)
    cr_assert_null(parse(headers[i], 8), "accepted: %s", headers[i]);
  cr_assert_null(
      orr_bundle_parse(engine, "\xff\xff\xff\xff\xff\xff\xff\x7f{}", 10, "memory", false));
  cr_assert_null(
      orr_bundle_parse(engine, "\xff\xff\xff\x00\x00\x00\x00\x00{}", 10, "memory", false));
  orr_bundle *good = parse("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8);
  cr_assert_not_null(good, "%s", orr_engine_message(engine));
  orr_bundle_free(good);
}

Test(tensor_files, numbers_that_are_not_finite_are_refused) {
  orr_bundle *bundle = orr_bundle_new(engine);
  orr_tensor *x = orr_tensor_full(engine, ORR_REAL, SHAPE(3), (double)NAN);
  orr_bundle_add(bundle, "w", x);
  orr_bundle_write(bundle, path);
  cr_assert_null(orr_bundle_read(engine, path, false));
  cr_assert_eq(orr_engine_status(engine), ORR_NUMBER);
  orr_bundle *back = orr_bundle_read(engine, path, true);
  cr_assert(orr_tensor_same(orr_bundle_find(back, "w"), x));
  orr_bundle_free(bundle), orr_bundle_free(back), orr_tensor_free(x);
}

Test(tensor_files, a_failed_write_leaves_the_old_file) {
  orr_tensor *x = some(ORR_INT, SHAPE(4)), *y = NULL;
  cr_assert_eq(orr_npy_write(x, path), ORR_OK);
  orr_bundle *bundle = orr_bundle_new(engine);
  orr_bundle_add(bundle, "not \xff UTF-8", x);
  cr_assert_neq(orr_bundle_write(bundle, path), ORR_OK, "its names are no JSON");
  /* The disk is full after 100 bytes. */
  signal(SIGXFSZ, SIG_IGN);
  struct rlimit limit = {100, RLIM_INFINITY};
  setrlimit(RLIMIT_FSIZE, &limit);
  orr_tensor *large = some(ORR_REAL, SHAPE(500));
  cr_assert_eq(orr_npy_write(large, path), ORR_IO);
  orr_tensor_free(large);
  limit.rlim_cur = RLIM_INFINITY;
  setrlimit(RLIMIT_FSIZE, &limit);
  cr_assert_eq(files_in_folder(), 1);
  y = orr_npy_read(engine, path);
  cr_assert(orr_tensor_same(x, y));
  cr_assert_eq(orr_npy_write(x, folder), ORR_IO, "a folder is no file");
  char nowhere[128];
  snprintf(nowhere, sizeof nowhere, "%s/missing/file", folder);
  cr_assert_eq(orr_npy_write(x, nowhere), ORR_IO);
  cr_assert_null(orr_npy_read(engine, folder));
  cr_assert_null(orr_npy_read(engine, nowhere));
  cr_assert_not_null(strstr(orr_engine_message(engine), "missing/file: cannot open"));
  cr_assert_null(orr_npy_read(engine, "/dev/zero"), "endless");
  char beside[128];
  snprintf(beside, sizeof beside, "%s.%ld.0.tmp", folder, (long)getpid());
  cr_assert_neq(access(beside, F_OK), 0, "the temporary of a failed rename is gone");
  orr_tensor_free(x), orr_tensor_free(y), orr_bundle_free(bundle);
}
