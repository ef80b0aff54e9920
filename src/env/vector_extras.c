/* vector_extras.c - extra fields of a replay that many environments record into: values by copy, put with
   every row from then on. */
#include <math.h>
#include <string.h>

#include "env/vector_env.h"

static size_t bytes_of(const orr_field *field) {
  size_t size = field->dtype == ORR_REAL  ? sizeof(orr_real)
                : field->dtype == ORR_INT ? sizeof(int32_t)
                                          : 1;
  return (size_t)field->count * size;
}

static const void *values_of(const vector_extra *extra, int64_t copy) {
  return extra->values + (size_t)copy * bytes_of(extra->field);
}

orr_status vector_put_extras(orr_vector_env *many, int64_t copy, bool step) {
  orr_episode *episode = many->copies[copy].episode;
  orr_status status = ORR_OK;
  for (int i = 0; i < many->extras_count && !status; i++) {
    const vector_extra *extra = &many->extras[i];
    if (!extra->step || step)
      status = orr_episode_set(episode, extra->field->name, values_of(extra, copy));
  }
  return status;
}

void vector_free_extras(orr_vector_env *many) {
  for (int i = 0; i < many->extras_count; i++)
    engine_free_memory(many->engine, many->extras[i].values);
  engine_free_memory(many->engine, many->extras);
}

static const orr_field *find_field(orr_vector_env *many, const char *name, bool *step) {
  if (!many->replay) {
    engine_fail(many->engine, ORR_STATE,
                "vector environment: '%s' has nowhere to go: there is no replay", name);
    return NULL;
  }
  const orr_space *spaces[] = {orr_replay_observation_extras(many->replay),
                               orr_replay_step_extras(many->replay)};
  for (int i = 0; i < 2; i++) {
    int found = spaces[i] ? orr_space_find(spaces[i], name) : -1;
    *step = i == 1;
    if (found >= 0) return orr_space_field(spaces[i], found);
  }
  char known[2][200] = {"none", "none"};
  for (int i = 0; i < 2; i++)
    if (spaces[i]) orr_space_describe(spaces[i], known[i], sizeof known[i]);
  engine_fail(
      many->engine, ORR_FIELD,
      "vector environment: the replay has no extra field '%.64s'; with observations: %s; with "
      "steps: %s",
      name, known[0], known[1]);
  return NULL;
}

/* The extra of that field, made on first use; its values are not set yet. */
static vector_extra *extra_of(orr_vector_env *many, const orr_field *field, bool step) {
  for (int i = 0; i < many->extras_count; i++)
    if (many->extras[i].field == field) return &many->extras[i];
  uint8_t *values = engine_new_zeroed(many->engine, (size_t)many->copies_count, bytes_of(field));
  vector_extra *grown = values ? engine_resize(many->engine, many->extras,
                                               (size_t)many->extras_count + 1, sizeof *grown)
                               : NULL;
  if (!grown) {
    engine_free_memory(many->engine, values);
    return NULL;
  }
  many->extras = grown;
  grown[many->extras_count] = (vector_extra){field, step, values};
  return &grown[many->extras_count++];
}

orr_status orr_vector_env_set(orr_vector_env *many, const char *name, const void *values) {
  bool step;
  const orr_field *field = find_field(many, name, &step);
  if (!field) return many->engine->status;
  const orr_real *numbers = values;
  for (int64_t i = 0; field->dtype == ORR_REAL && i < many->copies_count * field->count; i++)
    if (!isfinite(numbers[i]))
      return engine_fail(many->engine, ORR_NUMBER, "vector environment, copy %lld: '%s' is %s",
                         (long long)(i / field->count) + 1, name,
                         isnan(numbers[i]) ? "NaN" : "infinite");
  orr_status status = vector_enter(many);
  if (status) return status;
  vector_extra *extra = extra_of(many, field, step);
  if (extra) memcpy(extra->values, values, (size_t)many->copies_count * bytes_of(field));
  else status = ORR_MEMORY;
  for (int64_t i = 0; i < many->copies_count && !status && !step; i++)
    if (orr_episode_length(many->copies[i].episode) >= 0)
      status = orr_episode_set(many->copies[i].episode, name, values_of(extra, i));
  many->busy = false;
  return status;
}
