/* sample.c - choosing transitions. Everything drawn is a transition's number; reading is apart. */
#include "replay/replay.h"

static orr_status check_filled(const orr_replay *replay) {
  if (replay->transitions) return ORR_OK;
  return engine_fail(replay->engine, ORR_STATE,
                     "replay: it is empty; add episodes before sampling");
}

orr_status orr_replay_sample(orr_replay *replay, orr_random *random, int64_t count,
                             int64_t *transitions) {
  if (check_filled(replay)) return ORR_STATE;
  if (!random) random = orr_engine_random(replay->engine);
  for (int64_t i = 0; i < count; i++)
    transitions[i] = (int64_t)orr_random_index(random, (uint64_t)replay->transitions);
  return ORR_OK;
}

/* window_ends[e]: windows that fit into episodes 0 .. e. Kept until the replay or the length
   changes. */
static orr_status count_windows(orr_replay *replay, int64_t length) {
  if (replay->window_version == replay->version && replay->window_length == length) return ORR_OK;
  int64_t *ends =
      engine_resize(replay->engine, replay->window_ends, (size_t)replay->episodes, sizeof *ends);
  if (!ends) return ORR_MEMORY;
  replay->window_ends = ends;
  int64_t sum = 0;
  for (int64_t e = 0; e < replay->episodes; e++) {
    int64_t fit = replay_entry(replay, e)->length - length + 1;
    if (fit > 0) sum += fit;
    ends[e] = sum;
  }
  replay->window_length = length;
  replay->window_version = replay->version;
  return ORR_OK;
}

int64_t orr_replay_windows(orr_replay *replay, int64_t length) {
  if (length < 1 || !replay->episodes || count_windows(replay, length)) return 0;
  return replay->window_ends[replay->episodes - 1];
}

/* The first transition of the window with number `which` among those that fit. */
static int64_t window_at(const orr_replay *replay, int64_t which) {
  int64_t low = 0, high = replay->episodes - 1; /* the first e with ends[e] > which */
  while (low < high) {
    int64_t middle = low + (high - low) / 2;
    if (replay->window_ends[middle] > which) high = middle;
    else low = middle + 1;
  }
  int64_t before = low ? replay->window_ends[low - 1] : 0;
  return replay_entry(replay, low)->first - replay_entry(replay, 0)->first + which - before;
}

static orr_status fail_too_long(const orr_replay *replay, int64_t length) {
  int64_t longest = 0;
  for (int64_t e = 0; e < replay->episodes; e++)
    if (replay_entry(replay, e)->length > longest) longest = replay_entry(replay, e)->length;
  return engine_fail(replay->engine, ORR_STATE,
                     "replay: no window of %lld steps fits: the longest of %lld episodes "
                     "has %lld; ask for shorter windows or allow partial ones",
                     (long long)length, (long long)replay->episodes, (long long)longest);
}

orr_status orr_replay_sample_windows(orr_replay *replay, orr_random *random, int64_t length,
                                     bool full, int64_t count, int64_t *transitions) {
  if (length < 1)
    return engine_fail(replay->engine, ORR_ARGUMENT,
                       "replay: windows have at least 1 step, got %lld", (long long)length);
  if (check_filled(replay)) return ORR_STATE;
  if (!full) return orr_replay_sample(replay, random, count, transitions);
  if (count_windows(replay, length)) return ORR_MEMORY;
  int64_t windows = replay->window_ends[replay->episodes - 1];
  if (!windows) return fail_too_long(replay, length);
  if (!random) random = orr_engine_random(replay->engine);
  for (int64_t i = 0; i < count; i++)
    transitions[i] = window_at(replay, (int64_t)orr_random_index(random, (uint64_t)windows));
  return ORR_OK;
}
