/* choose.c - which table of kernels an engine uses, and the names of the elementwise ops. */
#include <string.h>

#include "kernel/kernel.h"

extern const kernels kernels_portable;
/* Weak: absent where the build does not make them (other processors, quick partial builds). */
#if defined(__x86_64__)
extern const kernels kernels_avx2 __attribute__((weak));
extern const kernels kernels_avx512 __attribute__((weak));
#endif

/* The i-th best that is linked and runs here; NULL past the last. */
static const kernels *table_at(int i) {
  const kernels *const all[] = {
#if defined(__x86_64__)
    &kernels_avx512,
    &kernels_avx2,
#endif
    &kernels_portable,
  };
  for (size_t k = 0; k < COUNT(all); k++)
    if (all[k] && all[k]->supported() && i-- == 0) return all[k];
  return NULL;
}

const kernels *kernels_named(const char *name) {
  for (int i = 0; table_at(i); i++)
    if (strcmp(table_at(i)->name, name) == 0) return table_at(i);
  return NULL;
}

/* Workers may race here, but each would store the same pointer. */
const kernels *engine_kernels(orr_engine *engine) {
  const kernels *table = __atomic_load_n(&engine->kernels, __ATOMIC_ACQUIRE);
  if (table) return table;
  if (engine->kernel_name) table = kernels_named(engine->kernel_name);
  if (!table) {
    table = table_at(0);
    if (engine->kernel_name)
      engine_log(engine, ORR_LOG_WARNING,
                 "kernel \"%s\" is unknown or does not run on this processor; using \"%s\"",
                 engine->kernel_name, table->name);
  }
  __atomic_store_n(&engine->kernels, table, __ATOMIC_RELEASE);
  return table;
}

size_t packed_count(size_t in, size_t out) { return in * out; }

static size_t whole_blocks(size_t n) { return (n + BLOCK - 1) / BLOCK * BLOCK; }

/* An odd number of cache lines: with 1024 bytes from row to row, a column of rows would fall on 4
   of the first-level cache's 64 sets. */
size_t outer_stride(size_t out) {
  size_t line = 64 / sizeof(orr_real);
  return (whole_blocks(out) / line | 1) * line;
}

size_t outer_scratch(size_t out, int rows) {
  return outer_stride(out) * whole_blocks((size_t)rows);
}

const char *unary_name(unary_op op) {
  static const char *const names[] = {
#define UNARY(name, ...) #name,
#define BINARY(...)
#define STRUCTURED(...)
#include "orrery/ops.def"
#undef UNARY
#undef BINARY
  };
  return (size_t)op < COUNT(names) ? names[op] : "unknown";
}

const char *binary_name(binary_op op) {
  static const char *const names[] = {
#define UNARY(...)
#define BINARY(name, ...) #name,
#include "orrery/ops.def"
#undef UNARY
#undef BINARY
#undef STRUCTURED
  };
  return (size_t)op < COUNT(names) ? names[op] : "unknown";
}
