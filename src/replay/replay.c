/* replay.c - the store of episodes: rows in chunks, episodes in a circular table. */
#include <string.h>

#include "replay/replay.h"

enum { CHUNK_BYTES = 256 * 1024 };

orr_replay_options orr_replay_options_defaults(void) {
  return (orr_replay_options){.size = sizeof(orr_replay_options), .capacity = 1000000};
}

static orr_status check_options(orr_engine *engine, const orr_replay_options *options) {
  if (!options->observation || !options->action)
    return engine_fail(engine, ORR_ARGUMENT, "replay: the %s space is missing",
                       options->observation ? "action" : "observation");
  if (options->capacity < 1 || options->capacity > ORR_REPLAY_CAPACITY)
    return engine_fail(engine, ORR_ARGUMENT,
                       "replay: capacity must be 1 to %d transitions, got %lld",
                       ORR_REPLAY_CAPACITY, (long long)options->capacity);
  if ((unsigned)options->bad_numbers > ORR_BAD_CLIP)
    return engine_fail(engine, ORR_ARGUMENT, "replay: bad_numbers must be error, discard or clip");
  return ORR_OK;
}

/* The circular arrays start small and double. */
static orr_status make_tables(orr_replay *replay) {
  enum { FIRST = 16 };
  replay->chunks = engine_new_zeroed(replay->engine, FIRST, sizeof *replay->chunks);
  replay->spare = engine_new_zeroed(replay->engine, FIRST, sizeof *replay->spare);
  replay->entries = engine_new(replay->engine, FIRST, sizeof *replay->entries);
  if (!replay->chunks || !replay->spare || !replay->entries) return ORR_MEMORY;
  replay->directory = replay->room = FIRST;
  while ((replay->row_bytes << (replay->shift + 1)) <= CHUNK_BYTES) replay->shift++;
  return ORR_OK;
}

orr_replay *orr_replay_new(orr_engine *engine, const orr_replay_options *given) {
  orr_replay_options options = orr_replay_options_defaults();
  if (READ_OPTIONS(engine, orr_replay_options, &options, given)) return NULL;
  if (check_options(engine, &options)) return NULL;
  orr_replay *replay = engine_new_zeroed(engine, 1, sizeof *replay);
  if (!replay) return NULL;
  replay->engine = orr_engine_retain(engine);
  atomic_init(&replay->references, 1);
  replay->observation = orr_space_retain(options.observation);
  replay->action = orr_space_retain(options.action);
  if (options.observation_extras)
    replay->observation_extras = orr_space_retain(options.observation_extras);
  if (options.step_extras) replay->step_extras = orr_space_retain(options.step_extras);
  replay->capacity = options.capacity;
  replay->bad_numbers = options.bad_numbers;
  replay->window_version = -1;
  if (replay_make_columns(replay) || make_tables(replay)) {
    orr_replay_free(replay);
    return NULL;
  }
  return replay;
}

orr_replay *orr_replay_retain(orr_replay *replay) {
  if (replay) atomic_fetch_add(&replay->references, 1);
  return replay;
}

static void free_chunks(orr_replay *replay) {
  for (uint64_t i = replay->first_chunk; i < replay->next_chunk; i++)
    engine_free_memory(replay->engine, replay->chunks[i & (replay->directory - 1)]);
  while (replay->spares) engine_free_memory(replay->engine, replay->spare[--replay->spares]);
}

void orr_replay_free(orr_replay *replay) {
  if (!replay || atomic_fetch_sub(&replay->references, 1) != 1) return;
  orr_engine *engine = replay->engine;
  free_chunks(replay);
  engine_free_memory(engine, replay->chunks);
  engine_free_memory(engine, replay->spare);
  engine_free_memory(engine, replay->entries);
  engine_free_memory(engine, replay->window_ends);
  engine_free_memory(engine, replay->tree);
  engine_free_memory(engine, replay->flat_observation.segments);
  engine_free_memory(engine, replay->flat_action.segments);
  engine_free_memory(engine, replay->columns);
  orr_space_free(replay->observation);
  orr_space_free(replay->action);
  orr_space_free(replay->observation_extras);
  orr_space_free(replay->step_extras);
  engine_free_memory(engine, replay);
  orr_engine_free(engine);
}

void orr_replay_clear(orr_replay *replay) {
  free_chunks(replay);
  priority_fill(replay, replay->next_first - replay->transitions, replay->transitions, 0);
  replay->first_chunk = replay->next_chunk = 0;
  replay->first_row = replay->next_row = 0;
  replay->head = 0;
  replay->episodes = replay->transitions = 0;
  replay->version++;
}

orr_engine *orr_replay_engine(const orr_replay *replay) { return replay->engine; }
orr_space *orr_replay_observation_space(const orr_replay *replay) { return replay->observation; }
orr_space *orr_replay_action_space(const orr_replay *replay) { return replay->action; }
orr_space *orr_replay_observation_extras(const orr_replay *replay) {
  return replay->observation_extras;
}
orr_space *orr_replay_step_extras(const orr_replay *replay) { return replay->step_extras; }
int64_t orr_replay_capacity(const orr_replay *replay) { return replay->capacity; }
int64_t orr_replay_transitions(const orr_replay *replay) { return replay->transitions; }
int64_t orr_replay_episodes(const orr_replay *replay) { return replay->episodes; }
orr_replay_counts orr_replay_count(const orr_replay *replay) { return replay->counts; }

size_t orr_replay_bytes(const orr_replay *replay) {
  return ((size_t)(replay->next_chunk - replay->first_chunk) + replay->spares) *
         (replay->row_bytes << replay->shift);
}

/* entries[].first counts from the first transition taken; the oldest one's is subtracted. Episodes
   are mostly alike, so the search starts where it would be if all were, and widens from there. */
int64_t replay_locate(const orr_replay *replay, int64_t transition) {
  int64_t wanted = replay_entry(replay, 0)->first + transition;
  int64_t low =
      (int64_t)((double)transition / (double)replay->transitions * (double)replay->episodes);
  if (low >= replay->episodes) low = replay->episodes - 1;
  int64_t high = low + 1, step = 1; /* the answer will be in low .. high - 1 */
  while (low > 0 && replay_entry(replay, low)->first > wanted) {
    high = low;
    low = low > step ? low - step : 0;
    step *= 2;
  }
  while (high < replay->episodes && replay_entry(replay, high)->first <= wanted) {
    low = high;
    high = high + step < replay->episodes ? high + step : replay->episodes;
    step *= 2;
  }
  while (high - low > 1) {
    int64_t middle = low + (high - low) / 2;
    if (replay_entry(replay, middle)->first <= wanted) low = middle;
    else high = middle;
  }
  return low;
}

orr_status orr_replay_episode(const orr_replay *replay, int64_t episode, orr_episode_info *info) {
  if (episode < 0 || episode >= replay->episodes)
    return engine_fail(replay->engine, ORR_ARGUMENT, "replay: no episode %lld; it holds %lld",
                       (long long)episode, (long long)replay->episodes);
  const entry *e = replay_entry(replay, episode);
  *info = (orr_episode_info){e->number, e->first - replay_entry(replay, 0)->first, e->length,
                             e->terminated, e->truncated};
  return ORR_OK;
}

orr_status orr_replay_episode_of(const orr_replay *replay, int64_t transition, int64_t *episode) {
  if (transition < 0 || transition >= replay->transitions)
    return engine_fail(replay->engine, ORR_ARGUMENT, "replay: no transition %lld; it holds %lld",
                       (long long)transition, (long long)replay->transitions);
  *episode = replay_locate(replay, transition);
  return ORR_OK;
}

/* Room in the directory for chunks first_chunk .. last. */
static orr_status grow_directory(orr_replay *replay, uint64_t last) {
  size_t size = replay->directory;
  while (last - replay->first_chunk >= size) size *= 2;
  if (size == replay->directory) return ORR_OK;
  uint8_t **spare = engine_resize(replay->engine, replay->spare, size, sizeof *spare);
  if (!spare) return ORR_MEMORY;
  replay->spare = spare;
  uint8_t **chunks = engine_new_zeroed(replay->engine, size, sizeof *chunks);
  if (!chunks) return ORR_MEMORY;
  for (uint64_t i = replay->first_chunk; i < replay->next_chunk; i++)
    chunks[i & (size - 1)] = replay->chunks[i & (replay->directory - 1)];
  engine_free_memory(replay->engine, replay->chunks);
  replay->chunks = chunks;
  replay->directory = size;
  return ORR_OK;
}

/* Memory for rows up to `last`. What a failure leaves behind is used by the next call. */
static orr_status reserve_rows(orr_replay *replay, uint64_t last) {
  uint64_t last_chunk = last >> replay->shift;
  if (grow_directory(replay, last_chunk)) return ORR_MEMORY;
  while (replay->next_chunk <= last_chunk) {
    uint8_t *chunk =
        replay->spares ? replay->spare[--replay->spares]
                       : engine_new(replay->engine, (size_t)1 << replay->shift, replay->row_bytes);
    if (!chunk) return ORR_MEMORY;
    replay->chunks[replay->next_chunk++ & (replay->directory - 1)] = chunk;
  }
  return ORR_OK;
}

static orr_status reserve_entry(orr_replay *replay) {
  if ((size_t)replay->episodes < replay->room) return ORR_OK;
  entry *entries = engine_new(replay->engine, 2 * replay->room, sizeof *entries);
  if (!entries) return ORR_MEMORY;
  for (int64_t i = 0; i < replay->episodes; i++) entries[i] = *replay_entry(replay, i);
  engine_free_memory(replay->engine, replay->entries);
  replay->entries = entries;
  replay->room *= 2;
  replay->head = 0;
  return ORR_OK;
}

static void drop_oldest(orr_replay *replay) {
  const entry *oldest = replay_entry(replay, 0);
  priority_fill(replay, oldest->first, oldest->length, 0);
  replay->transitions -= oldest->length;
  replay->episodes--;
  replay->first_row = oldest->row + (uint64_t)oldest->length + 1;
  replay->head = (replay->head + 1) & (replay->room - 1);
  while (replay->first_chunk < replay->first_row >> replay->shift)
    replay->spare[replay->spares++] =
        replay->chunks[replay->first_chunk++ & (replay->directory - 1)];
}

orr_status replay_take(orr_replay *replay, const uint8_t *rows, int64_t length, bool terminated,
                       bool truncated) {
  if (length > replay->capacity)
    return engine_fail(replay->engine, ORR_ARGUMENT,
                       "replay: an episode of %lld steps does not fit into a "
                       "capacity of %lld transitions",
                       (long long)length, (long long)replay->capacity);
  int64_t most = replay->transitions + length; /* transitions there will be */
  if (most > replay->capacity) most = replay->capacity;
  if (reserve_rows(replay, replay->next_row + (uint64_t)length) || reserve_entry(replay) ||
      priority_reserve(replay, most))
    return ORR_MEMORY;
  while (replay->transitions + length > replay->capacity) drop_oldest(replay);
  for (int64_t i = 0; i <= length;) {
    uint64_t row = replay->next_row + (uint64_t)i;
    int64_t here = (int64_t)(((row >> replay->shift) + 1) << replay->shift) - (int64_t)row;
    if (here > length + 1 - i) here = length + 1 - i;
    memcpy(replay_row(replay, row), rows + (size_t)i * replay->row_bytes,
           (size_t)here * replay->row_bytes);
    i += here;
  }
  *replay_entry(replay, replay->episodes) = (entry){.number = replay->counts.episodes,
                                                    .row = replay->next_row,
                                                    .first = replay->next_first,
                                                    .length = length,
                                                    .terminated = terminated,
                                                    .truncated = truncated};
  replay->episodes++;
  priority_fill(replay, replay->next_first, length, replay->greatest);
  replay->transitions += length;
  replay->next_first += length;
  replay->counts.episodes++;
  replay->counts.transitions += length;
  replay->next_row += (uint64_t)length + 1;
  replay->version++;
  return ORR_OK;
}
