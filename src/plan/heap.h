/* heap.h - heapsort in place, as qsort may allocate: of anything with a total order that can be
   swapped. The root of a heap comes last in the order. */
#ifndef PLAN_HEAP_H
#define PLAN_HEAP_H

#include <stdbool.h>

typedef struct heap {
  bool (*before)(const void *keys, const void *items, int a, int b); /* items at a and at b */
  void (*swap)(void *items, int a, int b);
  const void *keys; /* what `before` looks at besides */
  void *items;
} heap;

/* Moves the root of a part down to where it belongs, among the first n items. */
static inline void heap_sink(heap h, int root, int n) {
  for (int child; (child = 2 * root + 1) < n; root = child) {
    if (child + 1 < n && h.before(h.keys, h.items, child, child + 1)) child++;
    if (!h.before(h.keys, h.items, root, child)) return;
    h.swap(h.items, root, child);
  }
}

static inline void heap_make(heap h, int n) {
  for (int root = n / 2; root-- > 0;) heap_sink(h, root, n);
}

/* The items in order, of what is a heap already. */
static inline void heap_sort(heap h, int n) {
  for (int end = n; end-- > 1;) {
    h.swap(h.items, 0, end);
    heap_sink(h, 0, end);
  }
}

#endif
