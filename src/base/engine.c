/* engine.c - the root of everything: allocator, messages, interrupt flag. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"

/* Each block carries its size in front, because the allocator interface wants it back. */
typedef struct block_header {
  size_t size; /* bytes asked from the allocator */
  void *start; /* what the allocator returned */
} block_header;

static void *default_allocate(void *user, void *old, size_t old_size, size_t new_size) {
  (void)user;
  (void)old_size;
  if (new_size == 0) {
    free(old);
    return NULL;
  }
  return realloc(old, new_size);
}

orr_engine_options orr_engine_options_defaults(void) {
  return (orr_engine_options){.size = sizeof(orr_engine_options), .seed = 1};
}

static int core_count(void) {
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  return cores < 1 ? 1 : cores > 64 ? 64 : (int)cores;
}

static void free_messages(orr_engine *engine);

orr_engine *orr_engine_new(const orr_engine_options *given) {
  orr_engine_options options = orr_engine_options_defaults();
  if (given && !options_size_fits(given->size, sizeof options)) return NULL;
  if (given) memcpy(&options, given, given->size);
  if (options.threads < 0 || options.threads > 1024) return NULL;
  orr_allocator allocate = options.allocate ? options.allocate : default_allocate;
  orr_engine *engine = allocate(options.allocate_user, NULL, 0, sizeof *engine);
  if (!engine) return NULL;
  memset(engine, 0, sizeof *engine);
  atomic_init(&engine->references, 1);
  engine->allocate = allocate;
  engine->allocate_user = options.allocate_user;
  engine->log = options.log;
  engine->log_user = options.log_user;
  engine->memory_limit = options.memory_limit;
  engine->kernel_name = options.kernel;
  orr_engine_seed(engine, options.seed);
  engine->pool = pool_new(engine, options.threads ? options.threads : core_count());
  if (!engine->pool) {
    free_messages(engine);
    allocate(options.allocate_user, engine, sizeof *engine, 0);
    return NULL;
  }
  return engine;
}

/* ---- messages of planning threads */

/* That of the calling thread; NULL when it has none, and the engine's is its own. */
static thread_message *own_message(const orr_engine *engine) {
  thread_message *own = atomic_load(&engine->messages);
  if (!own) return NULL;
  uintptr_t thread = (uintptr_t)pthread_self();
  while (own && atomic_load(&own->thread) != thread) own = own->next;
  return own;
}

thread_message *engine_new_message(orr_engine *engine) {
  thread_message *own = atomic_load(&engine->messages);
  while (own && atomic_exchange(&own->taken, true)) own = own->next;
  if (own) return own;
  if (!(own = engine_new_zeroed(engine, 1, sizeof *own))) return NULL;
  atomic_init(&own->taken, true);
  own->next = atomic_load(&engine->messages);
  while (!atomic_compare_exchange_weak(&engine->messages, &own->next, own)) continue;
  return own;
}

void engine_claim_message(thread_message *own) {
  own->status = ORR_OK;
  own->message[0] = 0;
  atomic_store(&own->thread, (uintptr_t)pthread_self());
}

void engine_return_message(thread_message *own) {
  if (!own) return;
  atomic_store(&own->thread, 0);
  atomic_store(&own->taken, false);
}

static void free_messages(orr_engine *engine) {
  thread_message *own = atomic_load(&engine->messages);
  while (own) {
    thread_message *next = own->next;
    engine_free_memory(engine, own);
    own = next;
  }
}

orr_engine *orr_engine_retain(orr_engine *engine) {
  if (engine) atomic_fetch_add(&engine->references, 1);
  return engine;
}

void orr_engine_free(orr_engine *engine) {
  if (!engine || atomic_fetch_sub(&engine->references, 1) != 1) return;
  pool_free(engine, engine->pool);
  free_messages(engine);
  engine->allocate(engine->allocate_user, engine, sizeof *engine, 0);
}

const char *orr_engine_message(const orr_engine *engine) {
  const thread_message *own = own_message(engine);
  const char *message = own ? own->message : engine->message;
  return message[0] ? message : "no error";
}

orr_status orr_engine_status(const orr_engine *engine) {
  const thread_message *own = own_message(engine);
  return own ? own->status : engine->status;
}

orr_status orr_engine_fail(orr_engine *engine, orr_status status, const char *message) {
  return engine_fail(engine, status, "%s", message);
}

int orr_engine_threads(const orr_engine *engine) { return pool_threads(engine->pool); }

orr_status orr_engine_set_threads(orr_engine *engine, int threads) {
  if (threads == 0) threads = core_count();
  if (threads < 0 || threads > 1024)
    return engine_fail(engine, ORR_ARGUMENT, "threads must be 0 (one per core) to 1024, got %d",
                       threads);
  if (threads == pool_threads(engine->pool)) return ORR_OK;
  if (atomic_load(&engine->planning))
    return engine_fail(engine, ORR_BUSY,
                       "the number of threads stays as it is while an mpc plans in the background: "
                       "pause it first");
  struct pool *pool = pool_new(engine, threads);
  if (!pool) return engine->status;
  pool_free(engine, engine->pool);
  engine->pool = pool;
  return ORR_OK;
}

int orr_engine_planning(const orr_engine *engine) { return atomic_load(&engine->planning); }

size_t orr_engine_bytes(const orr_engine *engine) { return atomic_load(&engine->bytes); }
size_t orr_engine_allocations(const orr_engine *engine) {
  return atomic_load(&engine->allocations);
}

void orr_interrupt(orr_engine *engine) { atomic_store(&engine->interrupted, true); }
bool orr_interrupted(const orr_engine *engine) { return atomic_load(&engine->interrupted); }
void orr_interrupt_clear(orr_engine *engine) { atomic_store(&engine->interrupted, false); }

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
const char *orr_version(void) {
  return TEXT(ORR_VERSION_MAJOR) "." TEXT(ORR_VERSION_MINOR) "." TEXT(ORR_VERSION_PATCH);
}

const char *orr_status_name(orr_status status) {
  static const char *const names[] = {"ok",
                                      "out of memory",
                                      "bad argument",
                                      "shape mismatch",
                                      "no such field",
                                      "i/o error",
                                      "bad format",
                                      "not finite",
                                      "busy",
                                      "interrupted",
                                      "callback failed",
                                      "wrong state",
                                      "late"};
  return (size_t)status < COUNT(names) ? names[status] : "unknown status";
}

bool multiply_sizes(size_t a, size_t b, size_t *product) {
  return !__builtin_mul_overflow(a, b, product);
}

static void *fail_memory(orr_engine *engine, size_t count, size_t size) {
  engine_fail(engine, ORR_MEMORY, "out of memory: asked for %zu x %zu bytes, %zu in use", count,
              size, orr_engine_bytes(engine));
  return NULL;
}

void *engine_new(orr_engine *engine, size_t count, size_t size) {
  size_t bytes, room = ORR_ALIGNMENT + sizeof(block_header);
  if (!multiply_sizes(count, size, &bytes) || bytes > SIZE_MAX / 2)
    return fail_memory(engine, count, size);
  bytes += room;
  if (engine->memory_limit && orr_engine_bytes(engine) + bytes > engine->memory_limit)
    return fail_memory(engine, count, size);
  char *start = engine->allocate(engine->allocate_user, NULL, 0, bytes);
  atomic_fetch_add(&engine->allocations, 1);
  if (!start) return fail_memory(engine, count, size);
  atomic_fetch_add(&engine->bytes, bytes);
  uintptr_t aligned = ((uintptr_t)start + room) & ~(uintptr_t)(ORR_ALIGNMENT - 1);
  block_header *header = (block_header *)aligned - 1;
  *header = (block_header){bytes, start};
  return (void *)aligned;
}

void *engine_new_zeroed(orr_engine *engine, size_t count, size_t size) {
  void *memory = engine_new(engine, count, size);
  return memory ? memset(memory, 0, count * size) : NULL;
}

void engine_free_memory(orr_engine *engine, void *memory) {
  if (!memory) return;
  block_header header = *((block_header *)memory - 1);
  atomic_fetch_sub(&engine->bytes, header.size);
  engine->allocate(engine->allocate_user, header.start, header.size, 0);
}

/* Moves to a fresh block: realloc would lose the alignment. */
void *engine_resize(orr_engine *engine, void *old, size_t count, size_t size) {
  void *memory = engine_new(engine, count, size);
  if (!memory || !old) return memory;
  block_header *header = (block_header *)old - 1;
  size_t old_bytes = header->size - (size_t)((char *)old - (char *)header->start);
  memcpy(memory, old, old_bytes < count * size ? old_bytes : count * size);
  engine_free_memory(engine, old);
  return memory;
}

bool engine_make_room(orr_engine *engine, void **memory, size_t count, size_t size) {
  size_t bytes;
  if (*memory && multiply_sizes(count, size, &bytes)) {
    const block_header *header = (block_header *)*memory - 1;
    if (bytes <= header->size - (size_t)((char *)*memory - (char *)header->start)) return true;
  }
  engine_free_memory(engine, *memory);
  return (*memory = engine_new(engine, count, size)) != NULL;
}

char *engine_copy_string(orr_engine *engine, const char *text) {
  size_t n = strlen(text) + 1;
  char *copy = engine_new(engine, n, 1);
  return copy ? memcpy(copy, text, n) : NULL;
}

orr_status engine_fail_v(orr_engine *engine, orr_status status, const char *format,
                         va_list arguments) {
  thread_message *own = own_message(engine);
  *(own ? &own->status : &engine->status) = status;
  vsnprintf(own ? own->message : engine->message, sizeof engine->message, format, arguments);
  return status;
}

orr_status engine_fail(orr_engine *engine, orr_status status, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  engine_fail_v(engine, status, format, arguments);
  va_end(arguments);
  return status;
}

orr_status engine_fail_in(orr_engine *engine, const char *format, ...) {
  thread_message *own = own_message(engine);
  char message[sizeof engine->message], prefix[256], *last = own ? own->message : engine->message;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(prefix, sizeof prefix, format, arguments);
  va_end(arguments);
  memcpy(message, last, sizeof message);
  snprintf(last, sizeof message, "%s: %.700s", prefix, message);
  return own ? own->status : engine->status;
}

void engine_log(orr_engine *engine, orr_log_level level, const char *format, ...) {
  if (!engine->log) return;
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  engine->log(engine->log_user, level, text);
}
