/* base.h - engines, status codes, messages, threads and random numbers.

   Everything hangs from an orr_engine; there are no globals. Several engines live in one
   process, each with its own allocator, log callback, thread pool and last error. One engine is
   used from one thread at a time; distinct engines run in parallel. */
#ifndef ORR_BASE_H
#define ORR_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ORR_VERSION_MAJOR 0
#define ORR_VERSION_MINOR 1
#define ORR_VERSION_PATCH 0

#if defined(_WIN32)
#define ORR_API
#else
#define ORR_API __attribute__((visibility("default")))
#endif

#ifdef ORR_DOUBLE
typedef double orr_real; /* the build that checks gradients */
#else
typedef float orr_real;
#endif

/* Status codes are permanent: numbers are never reused. */
typedef enum orr_status {
  ORR_OK = 0,
  ORR_MEMORY = 1,   /* an allocation failed, or a memory limit was reached */
  ORR_ARGUMENT = 2, /* an option or argument is out of range */
  ORR_SHAPE = 3,    /* shapes or levels do not fit together */
  ORR_FIELD = 4,    /* no such field, option or name */
  ORR_IO = 5,       /* the operating system refused */
  ORR_FORMAT = 6,   /* a file is not what it claims to be */
  ORR_NUMBER = 7,   /* a value that must be finite is not */
  ORR_BUSY = 8,     /* a planning thread is at work on the engine: see orr_mpc_pause */
  ORR_INTERRUPTED = 9,
  ORR_CALLBACK = 10, /* a callback of the host failed */
  ORR_STATE = 11,    /* the call does not fit the object's state */
  ORR_LATE = 12      /* the deadline passed; the result is the best so far */
} orr_status;

typedef enum orr_log_level { ORR_LOG_DEBUG, ORR_LOG_INFO, ORR_LOG_WARNING } orr_log_level;

typedef struct orr_engine orr_engine;

/* allocate(user, NULL, 0, n) allocates, allocate(user, p, old, n) resizes,
   allocate(user, p, old, 0) frees and returns NULL. It may be called from any of the engine's threads. */
typedef void *(*orr_allocator)(void *user, void *old, size_t old_size, size_t new_size);

typedef struct orr_engine_options {
  size_t size; /* of this struct, set by _defaults: lets it grow without breaking hosts. Structs
                  that did not start from their _defaults are refused by whoever reads them. */
  int threads; /* worker threads including the caller; 0: one per core */
  uint64_t seed;
  size_t memory_limit; /* bytes; 0: none */
  const char *kernel;  /* "avx512", "avx2", "portable"; NULL: the best this processor runs.
                          Must outlive the engine. Bits are equal within one kernel only. */
  orr_allocator allocate;
  void *allocate_user;
  void (*log)(void *user, orr_log_level level, const char *message);
  void *log_user;
} orr_engine_options;

ORR_API orr_engine_options orr_engine_options_defaults(void);
/* NULL when memory ran out or an option is out of range. */
ORR_API orr_engine *orr_engine_new(const orr_engine_options *options);
/* Drops the caller's hold. Objects made by the engine hold it too, so memory goes with the last of
   them. Accepts NULL. */
ORR_API void orr_engine_free(orr_engine *engine);
ORR_API orr_engine *orr_engine_retain(orr_engine *engine);

/* The last failure, for a person to read; names sizes, fields, files and offsets. Never NULL. What fails
   in a planning thread (mpc.h) is kept apart: it never takes the place of the host's. */
ORR_API const char *orr_engine_message(const orr_engine *engine);
ORR_API orr_status orr_engine_status(const orr_engine *engine);
ORR_API const char *orr_status_name(orr_status status);
/* For callbacks of a host: leaves what went wrong in the engine; returns the status. Not from the
   callbacks of something that runs on several threads. */
ORR_API orr_status orr_engine_fail(orr_engine *engine, orr_status status, const char *message);

ORR_API int orr_engine_threads(const orr_engine *engine);
/* Changes the number of threads; results do not depend on it. */
ORR_API orr_status orr_engine_set_threads(orr_engine *engine, int threads);
/* How many planning threads (mpc.h) are at work or may begin to; what they read must not change. */
ORR_API int orr_engine_planning(const orr_engine *engine);
ORR_API size_t orr_engine_bytes(const orr_engine *engine);
ORR_API size_t orr_engine_allocations(const orr_engine *engine); /* calls to the allocator so far */

/* Asks whatever runs to stop at the next safe point with ORR_INTERRUPTED. Async-signal-safe. */
ORR_API void orr_interrupt(orr_engine *engine);
ORR_API bool orr_interrupted(const orr_engine *engine);
ORR_API void orr_interrupt_clear(orr_engine *engine);

/* Seconds of the system's monotonic clock, in which deadlines are given. */
ORR_API double orr_clock(void);

ORR_API const char *orr_version(void);

/* The name nearest to `wanted` by edit distance, for messages; NULL when none is near. */
ORR_API const char *orr_nearest_name(const char *wanted, const char *const *names, int count);

/* A stream of random numbers: Philox 4x32-10 (Salmon et al., SC 2011), a counter and a key, so a
   stream can be copied, saved, split and replayed. */
typedef struct orr_random {
  uint64_t key, stream, counter;
} orr_random;

ORR_API orr_random orr_random_new(uint64_t seed, uint64_t stream);
ORR_API orr_random orr_random_split(orr_random *parent); /* an independent child stream */
ORR_API uint32_t orr_random_bits(orr_random *random);
ORR_API double orr_random_uniform(orr_random *random); /* in [0, 1) */
ORR_API double orr_random_normal(orr_random *random);
ORR_API uint64_t orr_random_index(orr_random *random,
                                  uint64_t n); /* in 0 .. n-1, unbiased; n > 0 */
/* count draws of orr_random_index, plus `first`. */
ORR_API void orr_random_indices(orr_random *random, uint64_t n, int32_t first, int64_t count,
                                int32_t *indices);
/* Fisher and Yates: every order of the list is equally likely. */
ORR_API void orr_random_shuffle(orr_random *random, int32_t *list, int64_t count);
/* The engine's own stream: what eager draws take from. */
ORR_API orr_random *orr_engine_random(orr_engine *engine);
ORR_API void orr_engine_seed(orr_engine *engine, uint64_t seed);
ORR_API uint64_t orr_engine_seed_value(const orr_engine *engine);

#ifdef __cplusplus
}
#endif
#endif
