/* arena.c - a bump allocator: many small things that die together. */
#include <string.h>

#include "base/base.h"

enum { CHUNK = 16384 };

typedef struct arena_chunk {
  struct arena_chunk *previous;
  size_t used, size;
} arena_chunk;

static arena_chunk *add_chunk(arena *a, size_t bytes) {
  size_t size = bytes > CHUNK ? bytes : CHUNK;
  arena_chunk *chunk = engine_new(a->engine, 1, sizeof(arena_chunk) + size);
  if (!chunk) return NULL;
  *chunk = (arena_chunk){a->chunk, 0, size};
  return a->chunk = chunk;
}

void *arena_new(arena *a, size_t count, size_t size) {
  size_t bytes;
  if (!multiply_sizes(count, size, &bytes) || bytes > SIZE_MAX / 2) {
    engine_fail(a->engine, ORR_MEMORY, "out of memory: asked for %zu x %zu bytes", count, size);
    return NULL;
  }
  bytes = (bytes + 15) & ~(size_t)15;
  arena_chunk *chunk = a->chunk;
  if (!chunk || chunk->used + bytes > chunk->size) chunk = add_chunk(a, bytes);
  if (!chunk) return NULL;
  void *memory = (char *)(chunk + 1) + chunk->used;
  chunk->used += bytes;
  return memset(memory, 0, bytes);
}

char *arena_copy_string(arena *a, const char *text) {
  size_t n = strlen(text) + 1;
  char *copy = arena_new(a, n, 1);
  return copy ? memcpy(copy, text, n) : NULL;
}

void arena_free(arena *a) {
  while (a->chunk) {
    arena_chunk *previous = a->chunk->previous;
    engine_free_memory(a->engine, a->chunk);
    a->chunk = previous;
  }
}
