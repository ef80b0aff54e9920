/* options.c - options structs of hosts: `size`, their first field, tells how much of a struct the
   host knows, so that structs can grow without breaking hosts. It is also what tells a struct that
   was made without its `_defaults()`, and may hold anything, from one that was not. */
#include <string.h>

#include "base/base.h"

/* The structs hold pointers or sizes, so they end at a multiple of one. */
bool options_size_fits(size_t size, size_t known) {
  return size > sizeof size && size <= known && size % sizeof size == 0;
}

orr_status engine_read_options(orr_engine *engine, const char *type, void *options, size_t known,
                               const void *given) {
  if (!given) return ORR_OK;
  size_t size;
  memcpy(&size, given, sizeof size);
  if (!options_size_fits(size, known))
    return engine_fail(engine, ORR_ARGUMENT,
                       "%s.size is %zu, where this library knows %zu bytes; start from "
                       "%s_defaults() and change fields of what it returns",
                       type, size, known, type);
  memcpy(options, given, size);
  memcpy(options, &known, sizeof known);
  return ORR_OK;
}
