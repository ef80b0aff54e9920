/* pool.c - threads that share out numbered tasks through one atomic counter. Between jobs they
   sleep, for a pool that spins is a bad neighbour; only after a job of a pool that is held, as in a
   run that has many jobs one after another, do they first look out for the next one for some
   microseconds.

   The state of a job is one number: how many workers are in it, whether it is open, its generation.
   A worker joins an open job that it has not been in; who comes too late stays out, so that nobody
   waits for a thread that is not running. There is one job at a time: a second thread of the host's
   that brings one does it alone. */
#include <pthread.h>
#include <time.h>

#include "base/base.h"

#if defined(__x86_64__)
#define PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define PAUSE() __asm__ volatile("yield")
#else
#define PAUSE() (void)0
#endif

enum { LOOK_OUT = 100000, PAUSES = 8 }; /* nanoseconds before a thread sleeps; pauses per look */

#define ONE_IN ((uint64_t)1)
#define ALL_IN ((uint64_t)0xffff)
#define OPEN ((uint64_t)1 << 16)
#define GENERATION ((uint64_t)1 << 17)

struct pool {
  int threads; /* workers including the caller */
  pthread_t *handles;
  struct worker *workers;
  pthread_mutex_t lock;
  pthread_cond_t wake, done;
  _Atomic uint64_t state;
  atomic_int sleepers, waiting, next;
  atomic_bool held, stop;
  atomic_bool taken; /* by the thread whose job it does */
  pool_work work;
  void *context;
  int tasks;
};

struct worker {
  struct pool *pool;
  int index;
  thread_message
      *message; /* what fails in a task is the task's to report: it never reaches the host's */
};

static int64_t nanoseconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void pause_a_moment(void) {
  for (int i = 0; i < PAUSES; i++) PAUSE();
}

static void take_tasks(struct pool *pool, int worker) {
  for (int task; (task = atomic_fetch_add(&pool->next, 1)) < pool->tasks;)
    pool->work(pool->context, task, worker);
}

static bool is_new(uint64_t state, uint64_t seen) {
  return (state & OPEN) && state / GENERATION != seen;
}

/* Who finds nothing first says that he sleeps, then looks again; who brings work does so first, and
   then looks for sleepers. One of them sees the other. */
static void sleep_until_new(struct pool *pool, uint64_t seen) {
  pthread_mutex_lock(&pool->lock);
  atomic_fetch_add(&pool->sleepers, 1);
  while (!atomic_load(&pool->stop) && !is_new(atomic_load(&pool->state), seen))
    pthread_cond_wait(&pool->wake, &pool->lock);
  atomic_fetch_sub(&pool->sleepers, 1);
  pthread_mutex_unlock(&pool->lock);
}

static bool join_job(struct pool *pool, uint64_t *seen) {
  uint64_t state = atomic_load(&pool->state);
  while (is_new(state, *seen))
    if (atomic_compare_exchange_weak(&pool->state, &state, state + ONE_IN)) {
      *seen = state / GENERATION;
      return true;
    }
  return false;
}

static void leave_job(struct pool *pool) {
  uint64_t left = atomic_fetch_sub(&pool->state, ONE_IN) - ONE_IN;
  if ((left & ALL_IN) || (left & OPEN) || !atomic_load(&pool->waiting)) return;
  pthread_mutex_lock(&pool->lock);
  pthread_cond_signal(&pool->done);
  pthread_mutex_unlock(&pool->lock);
}

static void *worker_main(void *argument) {
  struct worker *self = argument;
  struct pool *pool = self->pool;
  uint64_t seen = 0;
  engine_claim_message(self->message);
  for (int64_t until = 0; !atomic_load(&pool->stop);) {
    if (join_job(pool, &seen)) {
      bool held = atomic_load(&pool->held);
      take_tasks(pool, self->index);
      leave_job(pool);
      until = held ? nanoseconds() + LOOK_OUT : 0;
    } else if (until && nanoseconds() < until) {
      pause_a_moment();
    } else {
      sleep_until_new(pool, seen);
    }
  }
  engine_return_message(self->message);
  return NULL;
}

struct pool *pool_new(orr_engine *engine, int threads) {
  struct pool *pool = engine_new_zeroed(engine, 1, sizeof *pool);
  if (!pool) return NULL;
  pool->threads = 1;
  pthread_mutex_init(&pool->lock, NULL);
  pthread_cond_init(&pool->wake, NULL);
  pthread_cond_init(&pool->done, NULL);
  pool->handles = engine_new_zeroed(engine, (size_t)threads, sizeof *pool->handles);
  pool->workers = engine_new_zeroed(engine, (size_t)threads, sizeof *pool->workers);
  if (!pool->handles || !pool->workers) {
    pool_free(engine, pool);
    return NULL;
  }
  /* fewer threads than asked for is no failure: results do not depend on the number */
  while (pool->threads < threads) {
    int index = pool->threads;
    thread_message *message = engine_new_message(engine);
    if (!message) break;
    pool->workers[index] = (struct worker){pool, index, message};
    if (pthread_create(&pool->handles[index], NULL, worker_main, &pool->workers[index])) {
      engine_return_message(message);
      break;
    }
    pool->threads++;
  }
  return pool;
}

void pool_free(orr_engine *engine, struct pool *pool) {
  if (!pool) return;
  pthread_mutex_lock(&pool->lock);
  atomic_store(&pool->stop, true);
  pthread_cond_broadcast(&pool->wake);
  pthread_mutex_unlock(&pool->lock);
  for (int i = 1; i < pool->threads; i++) pthread_join(pool->handles[i], NULL);
  pthread_mutex_destroy(&pool->lock);
  pthread_cond_destroy(&pool->wake);
  pthread_cond_destroy(&pool->done);
  engine_free_memory(engine, pool->handles);
  engine_free_memory(engine, pool->workers);
  engine_free_memory(engine, pool);
}

int pool_threads(const struct pool *pool) { return pool->threads; }

void pool_hold(orr_engine *engine, bool hold) { atomic_store(&engine->pool->held, hold); }

bool pool_is_awake(const orr_engine *engine) {
  return engine->pool->threads > 1 && atomic_load(&engine->pool->sleepers) == 0;
}

static void wait_for_workers(struct pool *pool) {
  int64_t until = atomic_load(&pool->held) ? nanoseconds() + LOOK_OUT : 0;
  while (atomic_load(&pool->state) & ALL_IN) {
    if (until && nanoseconds() < until) {
      PAUSE();
      continue;
    }
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->waiting, 1);
    while (atomic_load(&pool->state) & ALL_IN) pthread_cond_wait(&pool->done, &pool->lock);
    atomic_store(&pool->waiting, 0);
    pthread_mutex_unlock(&pool->lock);
  }
}

void pool_run(orr_engine *engine, int tasks, pool_work work, void *context) {
  struct pool *pool = engine->pool;
  if (pool->threads == 1 || tasks <= 1 || atomic_exchange(&pool->taken, true)) {
    for (int task = 0; task < tasks; task++) work(context, task, 0);
    return;
  }
  pool->work = work;
  pool->context = context;
  pool->tasks = tasks;
  atomic_store(&pool->next, 0);
  uint64_t generation = atomic_load(&pool->state) / GENERATION + 1;
  atomic_store(&pool->state, generation * GENERATION | OPEN);
  if (atomic_load(&pool->sleepers)) {
    pthread_mutex_lock(&pool->lock);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
  }
  take_tasks(pool, 0);
  atomic_fetch_and(&pool->state, ~OPEN);
  wait_for_workers(pool);
  atomic_store(&pool->taken, false);
}
