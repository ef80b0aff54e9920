/* handover.h - the newest of something from one thread to another, without a lock and without
   waiting: of three places one is the writer's, one the reader's, and the one between them changes
   hands. */
#ifndef HANDOVER_H
#define HANDOVER_H

#include <stdatomic.h>
#include <stdbool.h>

enum { HANDOVER_PLACES = 3, HANDOVER_FRESH = 4 };

typedef struct handover {
  _Atomic unsigned between;
  unsigned back, front; /* the places that writer and reader have to themselves */
} handover;

static inline void handover_open(handover *h) {
  h->back = 0;
  h->front = 1;
  atomic_init(&h->between, 2);
}

/* What the writer put into `back` is there for the reader; what it had not taken yet is lost. */
static inline void handover_give(handover *h) {
  h->back = atomic_exchange(&h->between, h->back | HANDOVER_FRESH) % HANDOVER_FRESH;
}

/* Whether something new is in `front`. */
static inline bool handover_take(handover *h) {
  if (!(atomic_load(&h->between) & HANDOVER_FRESH)) return false;
  h->front = atomic_exchange(&h->between, h->front) % HANDOVER_FRESH;
  return true;
}

#endif
