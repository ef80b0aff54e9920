/* background.c - a thread that plans while the host executes. The host hands in its newest
   observation and takes the newest plan, each through a handover, so that neither waits for the
   other. Only who changes something that planning reads waits, until the thread rests. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>
#include <time.h>

#include "mpc/handover.h"
#include "mpc/mpc.h"

typedef struct sighting {
  int64_t step, episode;
  orr_real *values; /* [observation] */
  void *snapshot;   /* what the objective takes with it */
} sighting;

struct background {
  orr_mpc *mpc; /* which waits for the thread before it goes: no hold */
  pthread_t thread;
  thread_message *message;
  sem_t wake; /* posted when there may be something to do */
  atomic_bool stop;
  pthread_mutex_t lock; /* of the next two; not taken by who acts */
  pthread_cond_t rested;
  bool working;
  int resting; /* how many want it to rest */
  handover seen, made;
  sighting sightings[HANDOVER_PLACES];
  size_t snapshot_room; /* bytes of each snapshot */
  attempt attempts[HANDOVER_PLACES];
};

/* ---- the thread ---- */

static bool begin_work(background *b) {
  pthread_mutex_lock(&b->lock);
  b->working = !b->resting && !atomic_load(&b->stop);
  bool may = b->working;
  pthread_mutex_unlock(&b->lock);
  return may;
}

static void end_work(background *b) {
  pthread_mutex_lock(&b->lock);
  b->working = false;
  pthread_cond_broadcast(&b->rested);
  pthread_mutex_unlock(&b->lock);
}

static bool plan_newest(background *b) {
  if (!handover_take(&b->seen)) return false;
  const sighting *from = &b->sightings[b->seen.front];
  attempt *made = &b->attempts[b->made.back];
  made->episode = from->episode;
  orr_objective_use_snapshot(b->mpc->objective, from->snapshot);
  plan_for(b->mpc, from->values, from->step, b->mpc->seconds, made);
  orr_objective_use_snapshot(b->mpc->objective, NULL); /* the host may score when it rests */
  made->message[0] = 0;
  if (made->status)
    strncat(made->message, orr_engine_message(b->mpc->engine), sizeof made->message - 1);
  handover_give(&b->made);
  return true;
}

static void *thread_main(void *argument) {
  background *b = argument;
  engine_claim_message(b->message);
  while (!atomic_load(&b->stop)) {
    if (sem_wait(&b->wake)) continue; /* a signal of the host's */
    bool more = true;
    while (more && begin_work(b)) {
      more = plan_newest(b);
      end_work(b);
    }
  }
  engine_return_message(b->message);
  return NULL;
}

/* ---- who executes ---- */

void background_rest(orr_mpc *mpc) {
  background *b = mpc->background;
  if (!b) return;
  pthread_mutex_lock(&b->lock);
  b->resting++;
  while (b->working) pthread_cond_wait(&b->rested, &b->lock);
  pthread_mutex_unlock(&b->lock);
}

void background_go_on(orr_mpc *mpc) {
  background *b = mpc->background;
  if (!b) return;
  pthread_mutex_lock(&b->lock);
  b->resting--;
  pthread_mutex_unlock(&b->lock);
  sem_post(&b->wake);
}

void background_forget(orr_mpc *mpc) {
  if (mpc->background) handover_take(&mpc->background->seen);
}

void background_clear_counts(orr_mpc *mpc) {
  background *b = mpc->background;
  for (int i = 0; i < HANDOVER_PLACES && b; i++) b->attempts[i].counts = mpc->counts;
}

static const attempt *take_newest(background *b) {
  while (handover_take(&b->made)) {
    const attempt *made = &b->attempts[b->made.front];
    if (made->episode == b->mpc->episode) return made;
  }
  return NULL;
}

orr_status background_show(orr_mpc *mpc, const orr_real *observation) {
  background *b = mpc->background;
  sighting *to = &b->sightings[b->seen.back];
  orr_status status = orr_objective_take_snapshot(mpc->objective, observation, to->snapshot);
  if (status) return status;
  to->step = mpc->step;
  to->episode = mpc->episode;
  if (mpc->observation)
    memcpy(to->values, observation, (size_t)mpc->observation * sizeof(orr_real));
  handover_give(&b->seen);
  sem_post(&b->wake);
  return ORR_OK;
}

const attempt *background_newest(orr_mpc *mpc, bool wait, double seconds) {
  background *b = mpc->background;
  double start = orr_clock();
  const attempt *made = take_newest(b);
  while (!made && wait && (seconds <= 0 || orr_clock() - start < seconds)) {
    struct timespec moment = {.tv_nsec = 50000};
    nanosleep(&moment, NULL);
    made = take_newest(b);
  }
  return made;
}

/* ---- its life ---- */

static void free_background(orr_mpc *mpc) {
  background *b = mpc->background;
  for (int i = 0; i < HANDOVER_PLACES; i++) {
    engine_free_memory(mpc->engine, b->sightings[i].values);
    engine_free_memory(mpc->engine, b->sightings[i].snapshot);
    free_plans(mpc, b->attempts[i].plans);
  }
  sem_destroy(&b->wake);
  pthread_mutex_destroy(&b->lock);
  pthread_cond_destroy(&b->rested);
  engine_free_memory(mpc->engine, b);
  mpc->background = NULL;
}

orr_status background_make_snapshots(orr_mpc *mpc, const orr_objective *objective) {
  background *b = mpc->background;
  size_t bytes = orr_objective_snapshot_size(objective);
  if (!b || bytes <= b->snapshot_room) return ORR_OK;
  void *rooms[HANDOVER_PLACES] = {0};
  bool good = true;
  for (int i = 0; i < HANDOVER_PLACES && good; i++)
    good = (rooms[i] = engine_new(mpc->engine, bytes, 1)) != NULL;
  for (int i = 0; i < HANDOVER_PLACES; i++) {
    engine_free_memory(mpc->engine, good ? b->sightings[i].snapshot : rooms[i]);
    if (good) b->sightings[i].snapshot = rooms[i];
  }
  if (!good) return ORR_MEMORY;
  b->snapshot_room = bytes;
  background_forget(mpc); /* its snapshot is gone */
  return ORR_OK;
}

static bool new_buffers(orr_mpc *mpc, background *b) {
  for (int i = 0; i < HANDOVER_PLACES; i++) {
    b->sightings[i].values =
        engine_new_zeroed(mpc->engine, (size_t)mpc->observation + 1, sizeof(orr_real));
    if (!b->sightings[i].values || !new_plans(mpc, &b->attempts[i].plans)) return false;
  }
  return background_make_snapshots(mpc, mpc->objective) == ORR_OK;
}

orr_status background_change_plans(orr_mpc *mpc) {
  background *b = mpc->background;
  made_plan *plans[HANDOVER_PLACES] = {0};
  bool good = true;
  for (int i = 0; i < HANDOVER_PLACES && b && good; i++) good = new_plans(mpc, &plans[i]);
  for (int i = 0; i < HANDOVER_PLACES && b; i++) {
    free_plans(mpc, good ? b->attempts[i].plans : plans[i]);
    if (good) b->attempts[i].plans = plans[i];
    if (good) b->attempts[i].episode = -1; /* what was made with the old planner is forgotten */
  }
  return good ? ORR_OK : ORR_MEMORY;
}

orr_status background_open(orr_mpc *mpc) {
  background *b = engine_new_zeroed(mpc->engine, 1, sizeof *b);
  if (!b) return ORR_MEMORY;
  mpc->background = b;
  b->mpc = mpc;
  handover_open(&b->seen);
  handover_open(&b->made);
  sem_init(&b->wake, 0, 0);
  pthread_mutex_init(&b->lock, NULL);
  pthread_cond_init(&b->rested, NULL);
  b->message = engine_new_message(mpc->engine);
  orr_status status = b->message && new_buffers(mpc, b) ? ORR_OK : ORR_MEMORY;
  if (!status && pthread_create(&b->thread, NULL, thread_main, b))
    status = engine_fail(mpc->engine, ORR_STATE,
                         "mpc: the system refused a thread that plans in the background");
  if (!status) {
    atomic_fetch_add(&mpc->engine->planning, 1);
    return ORR_OK;
  }
  if (b->message) engine_return_message(b->message);
  free_background(mpc);
  return status;
}

void background_close(orr_mpc *mpc) {
  background *b = mpc->background;
  if (!b) return;
  atomic_store(&b->stop, true);
  sem_post(&b->wake);
  pthread_join(b->thread, NULL);
  if (!mpc->paused) atomic_fetch_sub(&mpc->engine->planning, 1);
  free_background(mpc);
}
