/* columns.c - how fields lie in a row: each column of a space in its own dtype, one after the
   other. */
#include <stdio.h>
#include <string.h>

#include "replay/replay.h"

static const char *const reserved[] = {"observation", "action", "reward", "terminated", "truncated",
                                       "episode",     "time",   "length", "mask"};

static bool is_reserved(const char *name) {
  for (size_t i = 0; i < COUNT(reserved); i++)
    if (!strcmp(name, reserved[i])) return true;
  return !strncmp(name, "next_", 5);
}

static const char *role_noun(role which) {
  static const char *const nouns[] = {"observation", "extra field of observations", "action",
                                      "reward", "extra field of steps"};
  return nouns[which];
}

static void place_column(orr_replay *replay, column *c) {
  size_t size = element_size(c->dtype);
  c->offset = (replay->row_bytes + size - 1) / size * size;
  replay->row_bytes = c->offset + column_bytes(c);
}

static orr_status add_space(orr_replay *replay, const orr_space *space, role which) {
  int fields = space ? orr_space_fields(space) : 0;
  bool extra = which == ROLE_OBSERVATION_EXTRA || which == ROLE_STEP_EXTRA;
  if (space && orr_space_size(space) > MOST_NUMBERS)
    return engine_fail(replay->engine, ORR_SHAPE,
                       "replay: %lld numbers are too many for one %s; at most %d are allowed",
                       (long long)orr_space_size(space), role_noun(which), MOST_NUMBERS);
  for (int i = 0; i < fields; i++) {
    const orr_field *field = orr_space_field(space, i);
    int clash = extra ? replay_column(replay, field->name) : -1;
    if (extra && is_reserved(field->name))
      return engine_fail(replay->engine, ORR_FIELD,
                         "replay: an extra field cannot be called '%s': that name "
                         "has a meaning of its own",
                         field->name);
    if (clash >= 0)
      return engine_fail(replay->engine, ORR_FIELD,
                         "replay: the extra field '%s' is there already, as %s", field->name,
                         role_noun(replay->columns[clash].role));
    column *c = &replay->columns[replay->columns_count];
    snprintf(c->name, sizeof c->name, "%s", field->name);
    c->role = which;
    c->dtype = field->dtype;
    c->axes = field->axes;
    memcpy(c->shape, field->shape, sizeof c->shape);
    c->count = field->count;
    c->flat = field->offset;
    c->low = field->low;
    c->high = field->high;
    place_column(replay, c);
    replay->columns_count++;
  }
  return ORR_OK;
}

static orr_status make_flat(orr_replay *replay, role which, int fields, flat *f) {
  f->segments = engine_new(replay->engine, (size_t)fields, sizeof *f->segments);
  if (!f->segments) return ORR_MEMORY;
  for (int i = 0; i < replay->columns_count; i++) {
    const column *c = &replay->columns[i];
    if (c->role != which) continue;
    segment *last = f->count ? &f->segments[f->count - 1] : NULL;
    if (last && last->dtype == c->dtype &&
        c->offset == last->offset + (size_t)last->count * element_size(c->dtype))
      last->count += c->count;
    else f->segments[f->count++] = (segment){c->offset, c->flat, c->count, c->dtype};
  }
  return ORR_OK;
}

orr_status replay_make_columns(orr_replay *replay) {
  const orr_space *extras[] = {replay->observation_extras, replay->step_extras};
  int observations = orr_space_fields(replay->observation),
      actions = orr_space_fields(replay->action);
  int count = observations + actions + 1;
  for (int i = 0; i < 2; i++) count += extras[i] ? orr_space_fields(extras[i]) : 0;
  replay->columns = engine_new_zeroed(replay->engine, (size_t)count, sizeof *replay->columns);
  if (!replay->columns) return ORR_MEMORY;
  if (add_space(replay, replay->observation, ROLE_OBSERVATION)) return replay->engine->status;
  if (add_space(replay, extras[0], ROLE_OBSERVATION_EXTRA)) return replay->engine->status;
  if (add_space(replay, replay->action, ROLE_ACTION)) return replay->engine->status;
  replay->reward = replay->columns_count;
  column *reward = &replay->columns[replay->columns_count++];
  *reward = (column){.name = "reward", .role = ROLE_REWARD, .dtype = ORR_REAL, .count = 1};
  place_column(replay, reward);
  if (add_space(replay, extras[1], ROLE_STEP_EXTRA)) return replay->engine->status;
  replay->row_bytes = (replay->row_bytes + 7) / 8 * 8;
  if (replay->row_bytes > (size_t)1 << 30)
    return engine_fail(replay->engine, ORR_SHAPE,
                       "replay: an observation with its step takes %zu bytes; at "
                       "most 1 GiB is allowed",
                       replay->row_bytes);
  if (make_flat(replay, ROLE_OBSERVATION, observations, &replay->flat_observation))
    return replay->engine->status;
  return make_flat(replay, ROLE_ACTION, actions, &replay->flat_action);
}

/* Observations first, whatever the order of columns. */
int replay_column(const orr_replay *replay, const char *name) {
  for (int i = 0; i < replay->columns_count; i++)
    if (!strcmp(replay->columns[i].name, name)) return i;
  return -1;
}

int replay_need_column(const orr_replay *replay, const char *name) {
  int found = replay_column(replay, name);
  if (found >= 0) return found;
  enum { MOST = 256 };
  const char *names[MOST];
  int count = 0;
  for (size_t i = 0; i < COUNT(reserved); i++) names[count++] = reserved[i];
  names[count++] = "next_observation";
  for (int i = 0; i < replay->columns_count && count < MOST; i++)
    names[count++] = replay->columns[i].name;
  const char *near = nearest_name(name, names, count);
  char observation[300], action[200];
  orr_space_describe(replay->observation, observation, sizeof observation);
  orr_space_describe(replay->action, action, sizeof action);
  engine_fail(replay->engine, ORR_FIELD,
              "replay: no field '%.80s' (observation: %s; action: %s)%s%s%s", name, observation,
              action, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
  return -1;
}
