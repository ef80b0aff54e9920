/* limited_memory.h - an engine whose allocations are counted, and fail once `left` are used up. */
#ifndef LIMITED_MEMORY_H
#define LIMITED_MEMORY_H

#include <stdlib.h>
#include <string.h>

#include "orrery/base.h"

struct memory {
  long left, live, asked;
};

static void *allocate(void *user, void *old, size_t old_size, size_t new_size) {
  struct memory *memory = user;
  if (new_size == 0) {
    memory->live -= old != NULL;
    free(old);
    return NULL;
  }
  memory->asked++;
  if (memory->left-- <= 0) return NULL;
  void *made = aligned_alloc(64, (new_size + 63) / 64 * 64);
  if (old) memcpy(made, old, old_size < new_size ? old_size : new_size);
  if (old) free(old);
  else memory->live++;
  return made;
}

static orr_engine *new_engine(struct memory *memory) {
  orr_engine_options options = orr_engine_options_defaults();
  options.threads = 1;
  options.allocate = allocate;
  options.allocate_user = memory;
  return orr_engine_new(&options);
}

#endif
