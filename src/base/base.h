/* base.h - what every folder of the engine uses from base and hosts do not see. */
#ifndef BASE_H
#define BASE_H

#include <stdarg.h>
#include <stdatomic.h>

#include "orrery/base.h"

#define ORR_ALIGNMENT 64
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#if defined(__GNUC__)
#define PRINTF_LIKE(text, first) __attribute__((format(printf, text, first)))
#else
#define PRINTF_LIKE(text, first)
#endif

struct pool;

/* What failed last in a planning thread, or in one of the pool's. Messages are given back and taken again, never freed before
   the engine, so that threads look through the list without a lock. */
typedef struct thread_message {
  atomic_uintptr_t thread; /* whose it is; 0: nobody's */
  atomic_bool taken;
  orr_status status;
  char message[1024];
  struct thread_message *next;
} thread_message;

struct orr_engine {
  atomic_int references;
  orr_allocator allocate;
  void *allocate_user;
  void (*log)(void *user, orr_log_level level, const char *message);
  void *log_user;
  size_t memory_limit;
  atomic_size_t bytes, allocations;
  atomic_bool interrupted;
  struct pool *pool;
  const char *kernel_name; /* NULL: the best this processor runs */
  const void *kernels;     /* set by kernel/, which chooses them */
  orr_status status;       /* of the host's thread */
  char message[1024];
  _Atomic(thread_message *) messages;
  atomic_int planning; /* threads that plan in the background, or may begin to */
  uint64_t seed;
  orr_random random;
};

/* Memory: 64-byte aligned; zeroed by engine_new_zeroed only. count * size is checked for overflow.
   On failure NULL, with the engine's message set. engine_free_memory accepts NULL. */
void *engine_new(orr_engine *engine, size_t count, size_t size);
void *engine_new_zeroed(orr_engine *engine, size_t count, size_t size);
void *engine_resize(orr_engine *engine, void *old, size_t count, size_t size);
void engine_free_memory(orr_engine *engine, void *memory);
/* Makes *memory hold count things at least, what it held being lost when it grows; it never shrinks. False
   when there is no memory, and *memory is NULL then. */
bool engine_make_room(orr_engine *engine, void **memory, size_t count, size_t size);
char *engine_copy_string(orr_engine *engine, const char *text);

/* Records the failure and returns its status. */
orr_status engine_fail(orr_engine *engine, orr_status status, const char *format, ...)
    PRINTF_LIKE(3, 4);
orr_status engine_fail_v(orr_engine *engine, orr_status status, const char *format,
                         va_list arguments);
/* Puts "prefix: " in front of the last failure's message; returns its status. */
orr_status engine_fail_in(orr_engine *engine, const char *format, ...) PRINTF_LIKE(2, 3);
void engine_log(orr_engine *engine, orr_log_level level, const char *format, ...) PRINTF_LIKE(3, 4);

/* A message of its own for a thread to come, NULL when there is no memory. It is used by the thread
   that claims it, until it is given back, which any thread may do once that one has ended. */
thread_message *engine_new_message(orr_engine *engine);
void engine_claim_message(thread_message *own);
void engine_return_message(thread_message *own);

/* Copies a host's struct of options over the defaults that `options` holds, as much of it as the
   host knows. NULL leaves the defaults; a `size` that no _defaults() of this library or an older
   one sets is refused. For all makers: READ_OPTIONS(engine, orr_mpc_options, &options, given). */
orr_status engine_read_options(orr_engine *engine, const char *type, void *options, size_t known,
                               const void *given);
#define READ_OPTIONS(engine, type, options, given) \
  engine_read_options(engine, #type, options, sizeof(type), given)
bool options_size_fits(size_t size, size_t known);

/* Product that refuses to overflow: false when it would. */
bool multiply_sizes(size_t a, size_t b, size_t *product);

/* Runs work(context, task, worker) for every task, on all threads of the engine; returns when all
   are done. worker is in 0 .. threads-1 and no two running tasks share it. Tasks must not fail.
   Called by two threads at a time, whoever comes second does its tasks itself. */
typedef void (*pool_work)(void *context, int task, int worker);
void pool_run(orr_engine *engine, int tasks, pool_work work, void *context);
/* After jobs between hold and release the threads look out for the next one for some microseconds. */
void pool_hold(orr_engine *engine, bool hold);
bool pool_is_awake(const orr_engine *engine); /* they are looking out: sharing costs little */

struct pool *pool_new(orr_engine *engine, int threads);
void pool_free(orr_engine *engine, struct pool *pool);
int pool_threads(const struct pool *pool);

/* One Philox 4x32-10 block: the building stone of every random number in the engine. */
void philox(uint64_t key, const uint32_t counter[4], uint32_t out[4]);
/* A 64-bit mixer (splitmix64 finaliser) for deriving keys from keys. */
uint64_t mix_bits(uint64_t x);

/* The known name nearest to `wanted` by edit distance, or NULL when none is near. */
const char *nearest_name(const char *wanted, const char *const *names, int count);

/* A bump allocator for things that die together. */
typedef struct arena {
  orr_engine *engine;
  struct arena_chunk *chunk;
} arena;

void *arena_new(arena *a, size_t count, size_t size); /* zeroed; NULL with message on failure */
char *arena_copy_string(arena *a, const char *text);
void arena_free(arena *a);

#endif
