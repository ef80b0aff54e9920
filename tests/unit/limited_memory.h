/* limited_memory.h - an engine whose memory is counted, and whose allocations fail at will. */
#ifndef LIMITED_MEMORY_H
#define LIMITED_MEMORY_H

#include <stdbool.h>
#include <stdlib.h>

#include "orrery/base.h"

enum { UNLIMITED = -1 };

struct memory {
  long left;          /* allocations until they fail: all from there on ... */
  bool once;          /* ... or the first of them only */
  long asked, failed; /* allocations so far */
  long live;          /* bytes not yet freed, by the sizes that the engine tells */
};

/* Counts one allocation; whether it is to fail. */
static inline bool runs_out(struct memory *memory) {
  memory->asked++;
  if (memory->left != 0) {
    if (memory->left > 0) memory->left--;
    return false;
  }
  memory->failed++;
  if (memory->once) memory->left = UNLIMITED;
  return true;
}

static inline void *allocate(void *user, void *old, size_t old_size, size_t new_size) {
  struct memory *memory = user;
  if (new_size > 0 && runs_out(memory)) return NULL;
  memory->live += (long)new_size - (long)old_size;
  if (new_size > 0) return realloc(old, new_size);
  free(old);
  return NULL;
}

static inline orr_engine *limited_engine(struct memory *memory, int threads) {
  orr_engine_options options = orr_engine_options_defaults();
  options.threads = threads;
  options.allocate = allocate;
  options.allocate_user = memory;
  return orr_engine_new(&options);
}

#endif
