/* episode.c - building an episode aside; every number is checked before it is put into a row. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "replay/replay.h"

orr_episode *orr_episode_new(orr_replay *replay) {
  orr_episode *episode = engine_new_zeroed(replay->engine, 1, sizeof *episode);
  if (!episode) return NULL;
  episode->replay = orr_replay_retain(replay);
  episode->length = -1;
  return episode;
}

void orr_episode_free(orr_episode *episode) {
  if (!episode) return;
  orr_replay *replay = episode->replay;
  engine_free_memory(replay->engine, episode->rows);
  engine_free_memory(replay->engine, episode);
  orr_replay_free(replay);
}

int64_t orr_episode_length(const orr_episode *episode) { return episode->length; }

orr_status episode_reserve(orr_episode *episode, int64_t rows) {
  if ((size_t)rows <= episode->room) return ORR_OK;
  size_t room = 2 * episode->room > (size_t)rows ? 2 * episode->room : (size_t)rows;
  size_t bytes;
  if (!multiply_sizes(room, episode->replay->row_bytes, &bytes)) bytes = SIZE_MAX;
  uint8_t *grown = engine_resize(episode->replay->engine, episode->rows, bytes, 1);
  if (!grown) return ORR_MEMORY;
  episode->rows = grown;
  episode->room = room;
  return ORR_OK;
}

static uint8_t *place_of(const orr_episode *episode, const column *c, int64_t step) {
  return episode->rows + (size_t)step * episode->replay->row_bytes + c->offset;
}

/* Where a bad number goes when clipping. */
static orr_real clipped(const column *c, int64_t i, orr_real x) {
  orr_real largest = (orr_real)ORR_REPLAY_LARGEST;
  orr_real low = c->low && isfinite(c->low[i]) ? c->low[i] : -largest;
  orr_real high = c->high && isfinite(c->high[i]) ? c->high[i] : largest;
  if (isnan(x)) x = 0;
  return x < low ? low : x > high ? high : x;
}

static orr_status refuse(orr_episode *episode, const column *c, int64_t step, int64_t i,
                         orr_real x) {
  static const char *const roles[] = {"observation ", "", "action ", "", ""};
  char index[32] = "";
  if (c->axes) snprintf(index, sizeof index, "[%lld]", (long long)i + 1);
  const char *what = isnan(x) ? "NaN" : x > 0 ? "infinite" : "-infinite";
  return engine_fail(
      episode->replay->engine, ORR_NUMBER,
      "replay: episode %lld, step %lld: %s'%s%s' is %s; numbers must be finite (bad_numbers = "
      "\"discard\" drops such episodes, \"clip\" keeps them)",
      (long long)episode->replay->counts.episodes + 1, (long long)step, roles[c->role], c->name,
      index, what);
}

/* Whether all are finite, or may become so; nothing is changed. */
static orr_status check(orr_episode *episode, const column *c, int64_t step,
                        const orr_real *values) {
  if (episode->replay->bad_numbers != ORR_BAD_ERROR) return ORR_OK;
  for (int64_t i = 0; i < c->count; i++)
    if (!isfinite(values[i])) return refuse(episode, c, step, i, values[i]);
  return ORR_OK;
}

/* Puts checked reals into a column, converting to its dtype. */
static void put_reals(orr_episode *episode, const column *c, int64_t step, const orr_real *values) {
  uint8_t *place = place_of(episode, c, step);
  for (int64_t i = 0; i < c->count; i++) {
    orr_real x = values[i];
    if (!isfinite(x)) {
      if (episode->replay->bad_numbers == ORR_BAD_CLIP) episode->clipped++;
      else episode->bad = true;
      x = clipped(c, i, x);
    }
    if (c->dtype == ORR_REAL) {
      ((orr_real *)place)[i] = x;
    } else if (c->dtype == ORR_BYTE) {
      place[i] = (uint8_t)(x <= 0 ? 0 : x >= 255 ? 255 : x + (orr_real)0.5);
    } else {
      double rounded = nearbyint((double)x);
      ((int32_t *)place)[i] = (int32_t)fmin(fmax(rounded, INT32_MIN), INT32_MAX);
    }
  }
}

orr_status episode_put(orr_episode *episode, const column *c, int64_t step, const void *values) {
  if (c->dtype != ORR_REAL) {
    memcpy(place_of(episode, c, step), values, column_bytes(c));
    return ORR_OK;
  }
  if (check(episode, c, step, values)) return ORR_NUMBER;
  put_reals(episode, c, step, values);
  return ORR_OK;
}

orr_status episode_put_reals(orr_episode *episode, const column *c, int64_t step,
                             const orr_real *values) {
  if (check(episode, c, step, values)) return ORR_NUMBER;
  put_reals(episode, c, step, values);
  return ORR_OK;
}

/* All columns of one role from a flat vector: first only checks, then puts. */
static orr_status check_flat(orr_episode *episode, role which, int64_t step,
                             const orr_real *values) {
  const orr_replay *replay = episode->replay;
  for (int i = 0; i < replay->columns_count; i++) {
    const column *c = &replay->columns[i];
    if (c->role == which && check(episode, c, step, values + c->flat)) return ORR_NUMBER;
  }
  return ORR_OK;
}

static void put_flat(orr_episode *episode, role which, int64_t step, const orr_real *values) {
  const orr_replay *replay = episode->replay;
  for (int i = 0; i < replay->columns_count; i++) {
    const column *c = &replay->columns[i];
    if (c->role == which) put_reals(episode, c, step, values + c->flat);
  }
}

static void clear_row(orr_episode *episode, int64_t row) {
  memset(episode->rows + (size_t)row * episode->replay->row_bytes, 0, episode->replay->row_bytes);
}

orr_status orr_episode_start(orr_episode *episode, const orr_real *observation) {
  if (check_flat(episode, ROLE_OBSERVATION, 0, observation)) return ORR_NUMBER;
  if (episode_reserve(episode, 64)) return ORR_MEMORY;
  clear_row(episode, 0);
  episode->length = 0;
  episode->bad = false;
  episode->clipped = 0;
  put_flat(episode, ROLE_OBSERVATION, 0, observation);
  return ORR_OK;
}

orr_status orr_episode_step(orr_episode *episode, const orr_real *action, orr_real reward,
                            const orr_real *next_observation) {
  orr_replay *replay = episode->replay;
  int64_t step = episode->length;
  if (step < 0)
    return engine_fail(replay->engine, ORR_STATE, "replay: the episode has not been started");
  if (step >= replay->capacity)
    return engine_fail(replay->engine, ORR_ARGUMENT,
                       "replay: the episode has reached the capacity of %lld "
                       "transitions: finish it, or give the replay a larger capacity",
                       (long long)replay->capacity);
  const column *reward_column = &replay->columns[replay->reward];
  if (check_flat(episode, ROLE_ACTION, step, action) ||
      check(episode, reward_column, step, &reward) ||
      check_flat(episode, ROLE_OBSERVATION, step + 1, next_observation))
    return ORR_NUMBER;
  if (episode_reserve(episode, step + 2)) return ORR_MEMORY;
  clear_row(episode, step + 1);
  put_flat(episode, ROLE_ACTION, step, action);
  put_reals(episode, reward_column, step, &reward);
  put_flat(episode, ROLE_OBSERVATION, step + 1, next_observation);
  episode->length++;
  return ORR_OK;
}

orr_status orr_episode_set(orr_episode *episode, const char *field, const void *values) {
  orr_replay *replay = episode->replay;
  int found = replay_need_column(replay, field);
  if (found < 0) return replay->engine->status;
  const column *c = &replay->columns[found];
  if (c->role != ROLE_OBSERVATION_EXTRA && c->role != ROLE_STEP_EXTRA)
    return engine_fail(replay->engine, ORR_FIELD,
                       "replay: '%s' is no extra field; observation, action and "
                       "reward are given with the step",
                       field);
  int64_t step = role_is_step(c->role) ? episode->length - 1 : episode->length;
  if (step < 0)
    return engine_fail(replay->engine, ORR_STATE,
                       "replay: the episode has no step yet to keep '%s' with", field);
  return episode_put(episode, c, step, values);
}

orr_status orr_episode_finish(orr_episode *episode, bool terminated, bool truncated) {
  orr_replay *replay = episode->replay;
  if (episode->length < 1)
    return engine_fail(replay->engine, ORR_STATE, "replay: an episode needs at least one step");
  if (episode->bad) {
    replay->counts.discarded++;
  } else {
    if (replay_take(replay, episode->rows, episode->length, terminated, truncated || !terminated))
      return replay->engine->status;
    replay->counts.clipped += episode->clipped;
  }
  episode->length = -1;
  return ORR_OK;
}

/* The tensor of a column, or of a whole space, in orr_replay_add. */
static orr_status check_input(orr_replay *replay, const orr_replay_input *input, int64_t rows,
                              int64_t count, orr_dtype dtype) {
  orr_tensor *x = input->tensor;
  if (!orr_tensor_is_contiguous(x))
    return engine_fail(replay->engine, ORR_SHAPE, "replay: '%s' must be contiguous", input->field);
  if (orr_tensor_dtype(x) != ORR_REAL && orr_tensor_dtype(x) != dtype)
    return engine_fail(replay->engine, ORR_SHAPE, "replay: '%s' has the wrong type of numbers",
                       input->field);
  if (orr_tensor_axes(x) < 1 || orr_tensor_shape(x)[0] != rows ||
      orr_tensor_count(x) != rows * count)
    return engine_fail(replay->engine, ORR_SHAPE,
                       "replay: '%s' has %lld numbers in %lld rows; %lld rows of %lld "
                       "are expected",
                       input->field, (long long)orr_tensor_count(x),
                       (long long)(orr_tensor_axes(x) ? orr_tensor_shape(x)[0] : 0),
                       (long long)rows, (long long)count);
  return ORR_OK;
}

/* One column from rows of `width` numbers, at `offset` in each. */
static orr_status fill_column(orr_episode *episode, const column *c, orr_tensor *x, int64_t width,
                              int64_t offset) {
  int64_t rows = episode->length + !role_is_step(c->role);
  size_t size = element_size(orr_tensor_dtype(x));
  const uint8_t *data = orr_tensor_data(x);
  for (int64_t t = 0; t < rows; t++) {
    const void *values = data + (size_t)(t * width + offset) * size;
    orr_status status = orr_tensor_dtype(x) == ORR_REAL ? episode_put_reals(episode, c, t, values)
                                                        : episode_put(episode, c, t, values);
    if (status) return status;
  }
  return ORR_OK;
}

static orr_status fill_role(orr_episode *episode, role which, const orr_space *space,
                            const orr_replay_input *input) {
  orr_replay *replay = episode->replay;
  int64_t size = orr_space_size(space);
  if (check_input(replay, input, episode->length + !role_is_step(which), size, ORR_REAL))
    return replay->engine->status;
  for (int i = 0; i < replay->columns_count; i++) {
    const column *c = &replay->columns[i];
    if (c->role == which && fill_column(episode, c, input->tensor, size, c->flat))
      return replay->engine->status;
  }
  return ORR_OK;
}

static orr_status fill_input(orr_episode *episode, const orr_replay_input *input) {
  orr_replay *replay = episode->replay;
  if (!strcmp(input->field, "observation"))
    return fill_role(episode, ROLE_OBSERVATION, replay->observation, input);
  if (!strcmp(input->field, "action"))
    return fill_role(episode, ROLE_ACTION, replay->action, input);
  int found =
      !strcmp(input->field, "reward") ? replay->reward : replay_need_column(replay, input->field);
  if (found < 0) return replay->engine->status;
  const column *c = &replay->columns[found];
  if (c->role == ROLE_OBSERVATION || c->role == ROLE_ACTION)
    return engine_fail(replay->engine, ORR_FIELD,
                       "replay: '%s' is a part of the %s, which is given as a whole", input->field,
                       c->role == ROLE_OBSERVATION ? "observation" : "action");
  if (check_input(replay, input, episode->length + !role_is_step(c->role), c->count, c->dtype))
    return replay->engine->status;
  return fill_column(episode, c, input->tensor, c->count, 0);
}

static orr_tensor *find_input(int inputs, const orr_replay_input *input, const char *field) {
  for (int i = 0; i < inputs; i++)
    if (!strcmp(input[i].field, field)) return input[i].tensor;
  return NULL;
}

static orr_status fill_all(orr_episode *episode, int64_t length, int inputs,
                           const orr_replay_input *input) {
  if (episode_reserve(episode, length + 1)) return ORR_MEMORY;
  memset(episode->rows, 0, (size_t)(length + 1) * episode->replay->row_bytes);
  episode->length = length;
  for (int i = 0; i < inputs; i++)
    if (fill_input(episode, &input[i])) return episode->replay->engine->status;
  return ORR_OK;
}

orr_status orr_replay_add(orr_replay *replay, int inputs, const orr_replay_input *input,
                          bool terminated, bool truncated) {
  static const char *const needed[] = {"observation", "action", "reward"};
  for (size_t i = 0; i < COUNT(needed); i++)
    if (!find_input(inputs, input, needed[i]))
      return engine_fail(replay->engine, ORR_FIELD, "replay: the episode has no '%s'", needed[i]);
  orr_tensor *action = find_input(inputs, input, "action");
  int64_t length = orr_tensor_axes(action) ? orr_tensor_shape(action)[0] : 0;
  if (length < 1 || length > replay->capacity)
    return engine_fail(replay->engine, ORR_SHAPE,
                       "replay: the episode has %lld actions; 1 to %lld (the capacity) "
                       "are allowed",
                       (long long)length, (long long)replay->capacity);
  orr_episode *episode = orr_episode_new(replay);
  if (!episode) return ORR_MEMORY;
  orr_status status = fill_all(episode, length, inputs, input);
  if (!status) status = orr_episode_finish(episode, terminated, truncated);
  orr_episode_free(episode);
  return status;
}
