/* pool.c - threads that share out numbered tasks through one atomic counter, and sleep between
   jobs: a pool that spins is a bad neighbour. */
#include <pthread.h>

#include "base/base.h"

struct pool {
  int threads; /* workers including the caller */
  pthread_t *handles;
  struct worker *workers;
  pthread_mutex_t lock;
  pthread_cond_t wake, done;
  uint64_t job; /* generation; a worker that sees a new one joins in */
  int busy;     /* workers inside the current job */
  bool stop;
  pool_work work;
  void *context;
  int tasks;
  atomic_int next;
};

struct worker {
  struct pool *pool;
  int index;
};

static void take_tasks(struct pool *pool, int worker) {
  for (int task; (task = atomic_fetch_add(&pool->next, 1)) < pool->tasks;)
    pool->work(pool->context, task, worker);
}

static void *worker_main(void *argument) {
  struct worker *self = argument;
  struct pool *pool = self->pool;
  uint64_t seen = 0;
  pthread_mutex_lock(&pool->lock);
  for (;;) {
    while (!pool->stop && pool->job == seen) pthread_cond_wait(&pool->wake, &pool->lock);
    if (pool->stop) break;
    seen = pool->job;
    pthread_mutex_unlock(&pool->lock);
    take_tasks(pool, self->index);
    pthread_mutex_lock(&pool->lock);
    if (--pool->busy == 0) pthread_cond_signal(&pool->done);
  }
  pthread_mutex_unlock(&pool->lock);
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
    pool->workers[index] = (struct worker){pool, index};
    if (pthread_create(&pool->handles[index], NULL, worker_main, &pool->workers[index])) break;
    pool->threads++;
  }
  return pool;
}

void pool_free(orr_engine *engine, struct pool *pool) {
  if (!pool) return;
  pthread_mutex_lock(&pool->lock);
  pool->stop = true;
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

void pool_run(orr_engine *engine, int tasks, pool_work work, void *context) {
  struct pool *pool = engine->pool;
  if (pool->threads == 1 || tasks <= 1) {
    for (int task = 0; task < tasks; task++) work(context, task, 0);
    return;
  }
  pthread_mutex_lock(&pool->lock);
  pool->work = work;
  pool->context = context;
  pool->tasks = tasks;
  atomic_store(&pool->next, 0);
  pool->busy = pool->threads - 1;
  pool->job++;
  pthread_cond_broadcast(&pool->wake);
  pthread_mutex_unlock(&pool->lock);
  take_tasks(pool, 0);
  pthread_mutex_lock(&pool->lock);
  while (pool->busy > 0) pthread_cond_wait(&pool->done, &pool->lock);
  pthread_mutex_unlock(&pool->lock);
}
