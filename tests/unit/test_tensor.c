/* test_tensor.c - arithmetic against plain loops, views, reductions, orders, products, text. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "limited_memory.h"
#include "orrery/tensor.h"

static orr_engine *engine;

/* Tests let most of their tensors lie: this allocator collects what is left at the end. Those that
   look for leaks compare orr_engine_bytes. */
static void *blocks[4096];

static void *collecting(void *user, void *old, size_t old_size, size_t new_size) {
  size_t i = 0;
  (void)user, (void)old_size;
  while (i < sizeof blocks / sizeof *blocks - 1 && blocks[i] != old) i++;
  if (new_size == 0) return free(old), blocks[i] = NULL;
  return blocks[i] = realloc(old, new_size);
}

static void open_engine(void) {
  orr_engine_options options = orr_engine_options_defaults();
  options.allocate = collecting;
  options.threads = 1;
  engine = orr_engine_new(&options);
}

static void close_engine(void) {
  for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) free(blocks[i]);
}

TestSuite(tensor, .init = open_engine, .fini = close_engine);

static orr_tensor *ramp(int axes, const int64_t *shape) {
  orr_tensor *x = orr_tensor_new(engine, ORR_REAL, axes, shape);
  orr_real *values = orr_tensor_data(x);
  for (int64_t i = 0; i < orr_tensor_count(x); i++)
    values[i] = (orr_real)(0.25 * (double)(i % 17) - 1.5);
  return x;
}

#define SHAPE(...) \
  (sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]) { __VA_ARGS__ }

/* The element of x that belongs to `position` of a result of that shape, by NumPy's rule. */
static double broadcast_value(const orr_tensor *x, int axes, const int64_t *shape,
                              int64_t position) {
  int64_t own = 0, stride = 1;
  const int64_t *lengths = orr_tensor_shape(x);
  for (int i = axes - 1; i >= 0; i--) {
    int64_t index = position % shape[i];
    position /= shape[i];
    int mine = i - (axes - orr_tensor_axes(x));
    if (mine < 0) continue;
    own += (lengths[mine] == 1 ? 0 : index) * stride;
    stride *= lengths[mine];
  }
  return orr_tensor_get(x, own);
}

static void check_sub(const orr_tensor *a, const orr_tensor *b) {
  orr_tensor *y = orr_tensor_sub(a, b);
  cr_assert_not_null(y, "%s", orr_engine_message(engine));
  const int64_t *shape = orr_tensor_shape(y);
  int axes = orr_tensor_axes(y);
  for (int64_t i = 0; i < orr_tensor_count(y); i++) {
    double wanted = broadcast_value(a, axes, shape, i) - broadcast_value(b, axes, shape, i);
    cr_assert_eq(orr_tensor_get(y, i), wanted, "element %ld: %g, not %g", (long)i,
                 orr_tensor_get(y, i), wanted);
  }
  orr_tensor_free(y);
}

Test(tensor, broadcasting_is_numpys) {
  static const int64_t shapes[][4] = {{2, 3, 4, 5}, {1, 3, 1, 5}, {2, 1, 4, 1}, {1, 1, 1, 1},
                                      {2, 3, 4, 1}, {2, 3, 1, 1}, {1, 3, 4, 5}, {2, 1, 1, 5}};
  size_t before = orr_engine_bytes(engine);
  for (int i = 0; i < 8; i++)
    for (int j = 0; j < 8; j++)
      for (int cut = 0; cut < 5; cut++) { /* the second operand also with fewer axes */
        orr_tensor *a = ramp(4, shapes[i]), *b = ramp(4 - cut, shapes[j] + cut);
        check_sub(a, b);
        check_sub(b, a);
        orr_tensor_free(a);
        orr_tensor_free(b);
      }
  cr_assert_eq(orr_engine_bytes(engine), before);
}

Test(tensor, strided_operands) {
  orr_tensor *a = ramp(SHAPE(6, 7, 8)), *turned = orr_tensor_transpose(a, (int[]){2, 0, 1});
  orr_tensor *part = orr_tensor_slice(turned, 0, 1, 8, 3), *b = ramp(SHAPE(3, 6, 7));
  orr_tensor *column = orr_tensor_slice(b, 2, 2, 3, 1);
  check_sub(part, b);
  check_sub(part, column);
  check_sub(column, part);
  check_sub(part, part);
  orr_tensor *copy = orr_tensor_copy(part), *tanh_of_view = orr_tensor_tanh(part);
  orr_tensor *tanh_of_copy = orr_tensor_tanh(copy);
  cr_assert(orr_tensor_same(tanh_of_view, tanh_of_copy));
  cr_assert(orr_tensor_is_contiguous(copy) && !orr_tensor_is_contiguous(part));
  orr_tensor *all[] = {a, turned, part, b, column, copy, tanh_of_view, tanh_of_copy};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) orr_tensor_free(all[i]);
}

Test(tensor, shapes_that_do_not_fit_are_named) {
  orr_tensor *a = ramp(SHAPE(3, 4)), *b = ramp(SHAPE(5, 4));
  cr_assert_null(orr_tensor_add(a, b));
  cr_assert_eq(orr_engine_status(engine), ORR_SHAPE);
  cr_assert_str_eq(orr_engine_message(engine), "cannot add 3x4 and 5x4: axis 1 is 3 against 5");
  cr_assert_null(orr_tensor_tanh(orr_tensor_add(a, b)), "a failed operand fails the expression");
  cr_assert_null(orr_tensor_matmul(a, b));
  cr_assert_null(orr_tensor_reshape(a, SHAPE(5, -1)));
  cr_assert_null(orr_tensor_broadcast(a, SHAPE(3, 8)));
  cr_assert_null(orr_tensor_slice(a, 0, 2, 4, 1));
  cr_assert_null(orr_tensor_at(a, 1, 4));
  cr_assert_null(orr_tensor_sum(a, 2, false));
  cr_assert_null(orr_tensor_concat((const orr_tensor *[]){a, b}, 2, 1));
  orr_tensor_free(a);
  orr_tensor_free(b);
}

Test(tensor, sizes_no_memory_holds_are_refused) {
  size_t before = orr_engine_bytes(engine);
  int64_t most = INT64_MAX;
  cr_assert_null(orr_tensor_new(engine, ORR_REAL, SHAPE(most)));
  cr_assert_null(orr_tensor_new(engine, ORR_REAL, SHAPE((int64_t)1 << 32, (int64_t)1 << 32)));
  cr_assert_null(orr_tensor_new(engine, ORR_BYTE, SHAPE(most, 2, most)));
  cr_assert_null(orr_tensor_new(engine, ORR_BYTE, SHAPE(0, most, most)), "strides would overflow");
  cr_assert_null(orr_tensor_new(engine, ORR_REAL, SHAPE(-1)));
  cr_assert_null(orr_tensor_new(engine, ORR_REAL, 9, (int64_t[9]){0}));
  cr_assert_null(orr_tensor_arange(engine, 0, 1, 0));
  cr_assert_eq(orr_engine_bytes(engine), before);
}

Test(tensor, a_memory_limit_is_kept) {
  orr_engine_options options = orr_engine_options_defaults();
  options.memory_limit = 1 << 20;
  orr_engine *small = orr_engine_new(&options);
  orr_tensor *x = orr_tensor_new(small, ORR_BYTE, SHAPE(900000));
  cr_assert_not_null(x);
  cr_assert_null(orr_tensor_copy(x));
  cr_assert_eq(orr_engine_status(small), ORR_MEMORY);
  cr_assert_eq(strncmp(orr_engine_message(small), "a tensor of 900000: out of memory", 33), 0);
  orr_tensor_free(x);
  orr_engine_free(small);
}

Test(tensor, views_share_memory_and_version) {
  orr_tensor *a = orr_tensor_new(engine, ORR_INT, SHAPE(4, 3)), *row = orr_tensor_at(a, 0, -1);
  orr_tensor *turned = orr_tensor_transpose(a, NULL);
  uint64_t version = orr_tensor_version(a);
  orr_tensor_fill(row, 7);
  cr_assert_neq(orr_tensor_version(turned), version);
  cr_assert_eq(orr_tensor_get(turned, 3), 7);
  cr_assert_eq(orr_tensor_get(turned, 2), 0);
  /* Overlapping: the transposed square is read before it is written. */
  orr_tensor *square = ramp(SHAPE(3, 3)), *mirror = orr_tensor_transpose(square, NULL);
  orr_tensor *wanted = orr_tensor_copy(mirror);
  cr_assert_eq(orr_tensor_assign(square, mirror), ORR_OK);
  cr_assert(orr_tensor_same(square, wanted));
  orr_tensor *all[] = {a, row, turned, square, mirror, wanted};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) orr_tensor_free(all[i]);
}

Test(tensor, reductions) {
  orr_tensor *x = ramp(SHAPE(3, 5, 4));
  for (int axis = 0; axis < 3; axis++) {
    orr_tensor *sum = orr_tensor_sum(x, axis, true), *most = orr_tensor_max_along(x, axis, true);
    orr_tensor *least = orr_tensor_min_along(x, axis, true), *at = orr_tensor_argmax(x, axis, true);
    const int64_t *shape = orr_tensor_shape(x);
    for (int64_t i = 0; i < orr_tensor_count(sum); i++) {
      double total = 0, high = -INFINITY, low = INFINITY, place = -1, k = 0;
      for (int64_t j = 0; j < 60; j++) {
        int64_t index[3] = {j / 20, j / 4 % 5, j % 4};
        int64_t own = 0;
        for (int d = 0; d < 3; d++)
          own = own * (d == axis ? 1 : shape[d]) + (d == axis ? 0 : index[d]);
        if (own != i) continue;
        double value = orr_tensor_get(x, j);
        total += value;
        if (value > high) place = k;
        high = fmax(high, value), low = fmin(low, value);
        k++;
      }
      cr_assert_float_eq(orr_tensor_get(sum, i), total, 1e-5);
      cr_assert_eq(orr_tensor_get(most, i), high);
      cr_assert_eq(orr_tensor_get(least, i), low);
      cr_assert_eq(orr_tensor_get(at, i), place);
    }
    orr_tensor_free(sum), orr_tensor_free(most), orr_tensor_free(least), orr_tensor_free(at);
  }
  orr_tensor_free(x);
}

/* A million times 0.1: adding one by one in float32 gives 100958, by pieces the digits stay. */
Test(tensor, long_sums_keep_their_digits) {
  double value;
  orr_tensor *x = orr_tensor_full(engine, ORR_REAL, SHAPE(1000000), 0.1);
  orr_tensor *sum = orr_tensor_sum(x, ORR_ALL_AXES, false), *std = orr_tensor_std(x, 0, false, 0);
  orr_tensor_item(sum, &value);
  cr_assert_float_eq(value, 100000, 0.2, "%f", value);
  orr_tensor_item(std, &value);
  cr_assert_lt(value, 1e-6);
  orr_tensor_free(x), orr_tensor_free(sum), orr_tensor_free(std);
}

Test(tensor, nan_is_not_hidden) {
  orr_tensor *x = orr_tensor_from(engine, SHAPE(5), (orr_real[]){1, (orr_real)NAN, 3, 3, -1});
  double sum, most, at;
  orr_tensor *a = orr_tensor_sum(x, 0, false), *b = orr_tensor_max_along(x, 0, false);
  orr_tensor *c = orr_tensor_argmax(x, 0, false), *d = orr_tensor_argsort(x, 0),
             *e = orr_tensor_sort(x, 0);
  orr_tensor_item(a, &sum), orr_tensor_item(b, &most), orr_tensor_item(c, &at);
  cr_assert(isnan(sum) && isnan(most));
  cr_assert_eq(at, 2, "NaN ranks last, the first of equals wins");
  static const double order[] = {4, 0, 2, 3, 1};
  for (int i = 0; i < 5; i++) cr_assert_eq(orr_tensor_get(d, i), order[i]);
  cr_assert(isnan(orr_tensor_get(e, 4)) && orr_tensor_get(e, 0) == -1);
  cr_assert_not(orr_tensor_all_finite(x));
  orr_tensor *all[] = {x, a, b, c, d, e};
  for (size_t i = 0; i < 6; i++) orr_tensor_free(all[i]);
}

Test(tensor, softmax_and_logsumexp_do_not_overflow) {
  orr_tensor *x =
      orr_tensor_from(engine, SHAPE(2, 2), (orr_real[]){1000, 1000, (orr_real)-INFINITY, -5});
  orr_tensor *y = orr_tensor_softmax(x, -1), *z = orr_tensor_logsumexp(x, 1, false);
  static const double wanted[] = {0.5, 0.5, 0, 1};
  for (int i = 0; i < 4; i++) cr_assert_float_eq(orr_tensor_get(y, i), wanted[i], 1e-6);
  cr_assert_float_eq(orr_tensor_get(z, 0), 1000 + log(2), 1e-3);
  cr_assert_float_eq(orr_tensor_get(z, 1), -5, 1e-5);
  orr_tensor_free(x), orr_tensor_free(y), orr_tensor_free(z);
}

static void check_matmul(const orr_tensor *a, const orr_tensor *b, int m, int k, int n,
                         int batches) {
  orr_tensor *y = orr_tensor_matmul(a, b);
  cr_assert_not_null(y, "%s", orr_engine_message(engine));
  cr_assert_eq(orr_tensor_count(y), (int64_t)batches * m * n);
  for (int s = 0; s < batches; s++)
    for (int i = 0; i < m; i++)
      for (int j = 0; j < n; j++) {
        double sum = 0;
        int64_t left = orr_tensor_count(a) == m * k ? 0 : (int64_t)s * m * k;
        int64_t right = orr_tensor_count(b) == k * n ? 0 : (int64_t)s * k * n;
        for (int c = 0; c < k; c++)
          sum += orr_tensor_get(a, left + i * k + c) * orr_tensor_get(b, right + c * n + j);
        cr_assert_float_eq(orr_tensor_get(y, ((int64_t)s * m + i) * n + j), sum, 1e-4);
      }
  orr_tensor_free(y);
}

Test(tensor, matmul) {
  orr_tensor *a = ramp(SHAPE(4, 6)), *b = ramp(SHAPE(6, 3)), *v = ramp(SHAPE(6)),
             *u = ramp(SHAPE(4));
  orr_tensor *many = ramp(SHAPE(5, 4, 6)), *more = ramp(SHAPE(5, 6, 3));
  orr_tensor *turned = orr_tensor_transpose(ramp(SHAPE(6, 4)), NULL); /* read by gemm as it lies */
  orr_tensor *thin = orr_tensor_slice(many, 2, 0, 6, 2);              /* must be packed first */
  orr_tensor *short_b = orr_tensor_slice(b, 0, 0, 3, 1);
  check_matmul(a, b, 4, 6, 3, 1);
  check_matmul(a, v, 4, 6, 1, 1);
  check_matmul(u, a, 1, 4, 6, 1);
  check_matmul(v, v, 1, 6, 1, 1);
  check_matmul(many, more, 4, 6, 3, 5);
  check_matmul(many, b, 4, 6, 3, 5);
  check_matmul(a, more, 4, 6, 3, 5);
  check_matmul(turned, b, 4, 6, 3, 1);
  check_matmul(thin, short_b, 4, 3, 3, 5);
  orr_tensor *none = orr_tensor_new(engine, ORR_REAL, SHAPE(4, 0)),
             *no_rows = orr_tensor_transpose(none, NULL);
  orr_tensor *zeros = orr_tensor_matmul(none, no_rows);
  cr_assert(zeros && orr_tensor_count(zeros) == 16 && orr_tensor_get(zeros, 5) == 0);
}

Test(tensor, solve) {
  orr_tensor *a = orr_tensor_from(engine, SHAPE(3, 3), (orr_real[]){0, 2, 1, 1, 1, 0, 3, 0, 4});
  orr_tensor *x = orr_tensor_from(engine, SHAPE(3), (orr_real[]){1, -2, 0.5}),
             *b = orr_tensor_matmul(a, x);
  orr_tensor *found = orr_tensor_solve(a, b);
  cr_assert(orr_tensor_close(found, x, 1e-6), "needs a row exchange: the first pivot is 0");
  orr_tensor *singular = orr_tensor_full(engine, ORR_REAL, SHAPE(3, 3), 1);
  cr_assert_null(orr_tensor_solve(singular, b));
  cr_assert_eq(orr_engine_status(engine), ORR_NUMBER);
}

Test(tensor, gather_concat_select) {
  orr_tensor *x = ramp(SHAPE(5, 2)),
             *index = orr_tensor_from(engine, SHAPE(2, 2), (orr_real[]){4, 0, 1, 4});
  orr_tensor *y = orr_tensor_gather(x, index);
  cr_assert(orr_tensor_axes(y) == 3 && orr_tensor_get(y, 0) == orr_tensor_get(x, 8) &&
            orr_tensor_get(y, 5) == orr_tensor_get(x, 3));
  orr_tensor *outside = orr_tensor_from(engine, SHAPE(1), (orr_real[]){5});
  cr_assert_null(orr_tensor_gather(x, outside));
  cr_assert_str_eq(orr_engine_message(engine),
                   "gather: index 1 asks for entry 6 of 5 (counted from 1)");
  orr_tensor *broken = orr_tensor_from(engine, SHAPE(1), (orr_real[]){0.5});
  cr_assert_null(orr_tensor_gather(x, broken));
  orr_tensor *order = orr_tensor_argsort(x, 1), *sorted = orr_tensor_sort(x, 1);
  orr_tensor *picked = orr_tensor_gather_along(x, order);
  cr_assert(orr_tensor_same(picked, sorted));
  orr_tensor *joined = orr_tensor_concat((const orr_tensor *[]){x, sorted, x}, 3, 1);
  orr_tensor *last = orr_tensor_slice(joined, 1, 4, 6, 1),
             *stack = orr_tensor_stack((const orr_tensor *[]){x, sorted}, 2, 2);
  cr_assert(orr_tensor_same(last, x));
  orr_tensor *second = orr_tensor_at(stack, -1, 1);
  cr_assert(orr_tensor_same(second, sorted));
  orr_tensor *zero = orr_tensor_number(engine, 0), *mask = orr_tensor_less(x, zero);
  orr_tensor *negative = orr_tensor_select(mask, x, zero), *by_min = orr_tensor_min(x, zero);
  cr_assert(orr_tensor_same(negative, by_min));
}

Test(tensor, dtypes_round_and_clip) {
  orr_tensor *x = orr_tensor_from(engine, SHAPE(6),
                                  (orr_real[]){-3, 0.5, 1.5, 300, (orr_real)NAN, (orr_real)3e9});
  orr_tensor *bytes = orr_tensor_convert(x, ORR_BYTE), *ints = orr_tensor_convert(x, ORR_INT);
  static const double as_bytes[] = {0, 0, 2, 255, 0, 255},
                      as_ints[] = {-3, 0, 2, 300, 0, 2147483647};
  for (int i = 0; i < 6; i++) {
    cr_assert_eq(orr_tensor_get(bytes, i), as_bytes[i]);
    cr_assert_eq(orr_tensor_get(ints, i), as_ints[i]);
  }
  orr_tensor *half = orr_tensor_mul(bytes, ints);
  cr_assert_eq(orr_tensor_dtype(half), ORR_REAL);
  cr_assert_eq(orr_tensor_get(half, 3), 255 * 300);
}

Test(tensor, draws) {
  orr_engine_seed(engine, 7);
  orr_tensor *x = orr_tensor_normal(engine, SHAPE(20000), 1, 2),
             *low = orr_tensor_integers(engine, SHAPE(5000), -1, 1);
  double mean, deviation, least, most;
  orr_tensor_item(orr_tensor_mean(x, 0, false), &mean);
  orr_tensor_item(orr_tensor_std(x, 0, false, 1), &deviation);
  cr_assert_float_eq(mean, 1, 0.05);
  cr_assert_float_eq(deviation, 2, 0.05);
  orr_tensor_item(orr_tensor_min_along(low, 0, false), &least);
  orr_tensor_item(orr_tensor_max_along(low, 0, false), &most);
  cr_assert(least == -1 && most == 1);
  orr_tensor *order = orr_tensor_permutation(engine, 100), *sorted = orr_tensor_sort(order, 0);
  orr_tensor *ramp_of_100 = orr_tensor_arange(engine, 0, 100, 1);
  cr_assert(orr_tensor_same(sorted, ramp_of_100) && !orr_tensor_same(order, ramp_of_100));
  orr_engine_seed(engine, 7);
  cr_assert(orr_tensor_same(orr_tensor_normal(engine, SHAPE(20000), 1, 2), x), "the seed replays");
}

Test(tensor, text) {
  char text[512];
  orr_tensor *x = orr_tensor_from(engine, SHAPE(2, 3), (orr_real[]){1, -0.5, 100, 2.25, 3, 4});
  size_t n = orr_tensor_text(x, text, sizeof text);
  cr_assert_str_eq(text, "tensor 2x3 real\n[[  1.00,  -0.50, 100.00],\n [  2.25,   3.00,   4.00]]");
  cr_assert_eq(n, strlen(text));
  cr_assert_eq(orr_tensor_text(x, text, 10), n, "as snprintf: the length it wants");
  cr_assert_str_eq(text, "tensor 2x");
  orr_tensor *large = orr_tensor_arange(engine, 0, 5000, 1);
  orr_tensor_text(large, text, sizeof text);
  cr_assert_str_eq(text, "tensor 5000 real\n[   0,    1,    2, ..., 4997, 4998, 4999]");
}

/* A bit of everything; NULL when anything failed. */
static orr_tensor *exercise(orr_engine *e) {
  orr_tensor *a = orr_tensor_normal(e, SHAPE(6, 600), 0, 1), *b = orr_tensor_transpose(a, NULL);
  orr_tensor *c = orr_tensor_matmul(a, b), *d = orr_tensor_softmax(c, 0),
             *f = orr_tensor_logsumexp(c, 1, false);
  orr_tensor *g = orr_tensor_solve(c, f), *h = orr_tensor_argsort(d, 0),
             *i = orr_tensor_gather(d, h);
  orr_tensor *j = orr_tensor_std(i, ORR_ALL_AXES, false, 0),
             *k = orr_tensor_sum(a, ORR_ALL_AXES, false);
  orr_tensor *l = orr_tensor_select(k, j, g),
             *m = orr_tensor_concat((const orr_tensor *[]){l, g}, 2, 0);
  orr_tensor *n = orr_tensor_clamp(m, j, k);
  orr_tensor *all[] = {a, b, c, d, f, g, h, i, j, k, l, m};
  for (size_t t = 0; t < sizeof all / sizeof *all; t++) orr_tensor_free(all[t]);
  return n;
}

Test(tensor, any_allocation_may_fail) {
  struct memory memory = {.left = UNLIMITED};
  orr_engine *fragile = limited_engine(&memory, 1);
  size_t before = orr_engine_bytes(fragile);
  int failures = 0;
  for (long n = 0;; n++) {
    memory.left = n;
    orr_tensor *x = exercise(fragile);
    bool done = x != NULL;
    if (!done)
      cr_assert_eq(orr_engine_status(fragile), ORR_MEMORY, "%s", orr_engine_message(fragile));
    failures += !done;
    orr_tensor_free(x);
    cr_assert_eq(orr_engine_bytes(fragile), before, "allocation %ld leaks", n);
    if (done) break;
  }
  cr_assert_gt(failures, 50);
  orr_engine_free(fragile);
}

/* Draws in bulk are those one by one; normals of one stream never repeat. */
Test(tensor, bulk_draws) {
  enum { COUNT = 1000 };
  orr_engine *e = orr_engine_new(NULL);
  orr_random one = orr_random_new(3, 5), many = one;
  orr_random_bits(&one), orr_random_bits(&many); /* so that blocks are straddled */
  int32_t drawn[COUNT], list[COUNT], swapped[COUNT];
  orr_random_indices(&many, 17, -4, COUNT, drawn);
  for (int i = 0; i < COUNT; i++) {
    cr_assert_eq(drawn[i], -4 + (int32_t)orr_random_index(&one, 17));
    list[i] = swapped[i] = i;
  }
  orr_random_shuffle(&many, list, COUNT);
  for (int i = COUNT - 1; i > 0; i--) {
    int j = (int)orr_random_index(&one, (uint64_t)i + 1), other = swapped[i];
    swapped[i] = swapped[j];
    swapped[j] = other;
  }
  cr_assert_arr_eq(list, swapped, sizeof list);
  cr_assert_eq(one.counter, many.counter);
  uint32_t words[8];
  orr_random again = one;
  for (int i = 0; i < 8; i++) words[i] = orr_random_bits(&one);
  orr_random_uniform(&again), orr_random_normal(&again); /* two words and four */
  cr_assert_eq(orr_random_bits(&again), words[6]);

  orr_engine_seed(e, 11);
  int64_t n = 10;
  orr_tensor *a = orr_tensor_normal(e, 1, &n, 0, 1), *b = orr_tensor_normal(e, 1, &n, 0, 1);
  orr_engine_seed(e, 11);
  orr_tensor *c = orr_tensor_normal(e, 1, &n, 2, 3);
  const orr_real *x = orr_tensor_data(a), *y = orr_tensor_data(b), *z = orr_tensor_data(c);
  for (int i = 0; i < n; i++) {
    cr_assert_float_eq((double)z[i], 2 + 3 * (double)x[i], 1e-5);
    for (int j = 0; j < n; j++) cr_assert(x[i] != y[j]);
  }
  orr_tensor_free(a), orr_tensor_free(b), orr_tensor_free(c);
  orr_engine_free(e);
}
