/* describe.c - what a replay is, as JSON: the first record of its file. */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "replay/file.h"

static const char *const dtype_names[] = {"real", "byte", "int"};
static const char *const role_names[] = {"observation", "action", "observation_extras",
                                         "step_extras"};

/* One number where all are equal, null where there is none; in lists null is infinity. */
static json_t *describe_bound(const orr_real *bound, int64_t count) {
  bool equal = true;
  for (int64_t i = 1; i < count; i++) equal &= bound[i] == bound[0];
  if (equal) return isfinite(bound[0]) ? json_real((double)bound[0]) : json_null();
  json_t *list = json_array();
  for (int64_t i = 0; list && i < count; i++)
    json_array_append_new(list, isfinite(bound[i]) ? json_real((double)bound[i]) : json_null());
  return list;
}

static json_t *describe_space(const orr_space *space) {
  if (!space) return json_null();
  json_t *fields = json_array();
  for (int i = 0; fields && i < orr_space_fields(space); i++) {
    const orr_field *f = orr_space_field(space, i);
    json_t *shape = json_array();
    for (int axis = 0; axis < f->axes; axis++)
      json_array_append_new(shape, json_integer(f->shape[axis]));
    json_t *field =
        json_pack("{s:s, s:o, s:I, s:s, s:o, s:o}", "name", f->name, "shape", shape, "n",
                  (json_int_t)f->n, "dtype", dtype_names[f->dtype], "low",
                  describe_bound(f->low, f->count), "high", describe_bound(f->high, f->count));
    json_array_append_new(fields, field);
  }
  return fields;
}

static const orr_space *space_of(const orr_replay *replay, int which) {
  const orr_space *spaces[] = {replay->observation, replay->action, replay->observation_extras,
                               replay->step_extras};
  return spaces[which];
}

char *replay_describe(const orr_replay *replay) {
  json_t *root = json_object();
  for (int i = 0; i < 4; i++)
    json_object_set_new(root, role_names[i], describe_space(space_of(replay, i)));
  json_object_set_new(root, "capacity", json_integer(replay->capacity));
  json_object_set_new(root, "bad_numbers", json_integer(replay->bad_numbers));
  json_object_set_new(root, "real_bytes", json_integer(sizeof(orr_real)));
  json_object_set_new(root, "episodes", json_integer(replay->counts.episodes));
  json_object_set_new(root, "transitions", json_integer(replay->counts.transitions));
  json_object_set_new(root, "first", json_integer(replay->next_first - replay->transitions));
  json_object_set_new(root, "discarded", json_integer(replay->counts.discarded));
  json_object_set_new(root, "clipped", json_integer(replay->counts.clipped));
  char *text = json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(17));
  json_decref(root);
  if (!text)
    engine_fail(replay->engine, ORR_MEMORY, "out of memory for the description of a replay");
  return text;
}

/* ---- reading, as hostile input: every value has its type and range checked */

typedef struct field_memory { /* for one field while its space is made */
  orr_real *low, *high;
} field_memory;

static bool read_bound(orr_engine *engine, const json_t *from, int64_t count, orr_real otherwise,
                       orr_real **bound) {
  *bound = engine_new(engine, (size_t)count, sizeof **bound);
  if (!*bound) return false;
  bool list = json_is_array(from);
  if (list && json_array_size(from) != (size_t)count) return false;
  for (int64_t i = 0; i < count; i++) {
    const json_t *x = list ? json_array_get(from, (size_t)i) : from;
    if (!json_is_null(x) && !json_is_number(x)) return false;
    (*bound)[i] = json_is_null(x) ? otherwise : (orr_real)json_number_value(x);
  }
  return true;
}

static bool read_shape(const json_t *from, orr_field *field, size_t *count) {
  const json_t *shape = json_object_get(from, "shape");
  if (!json_is_array(shape) || json_array_size(shape) > ORR_AXES) return false;
  field->axes = (int)json_array_size(shape);
  *count = 1;
  for (int i = 0; i < field->axes; i++) {
    json_int_t length = json_integer_value(json_array_get(shape, (size_t)i));
    if (length < 1 || !multiply_sizes(*count, (size_t)length, count) || *count > MOST_NUMBERS)
      return false;
    field->shape[i] = length;
  }
  return true;
}

static bool read_field(orr_engine *engine, const json_t *from, size_t count, orr_field *field,
                       field_memory *memory) {
  const json_t *n = json_object_get(from, "n");
  const char *dtype = json_string_value(json_object_get(from, "dtype"));
  field->name = json_string_value(json_object_get(from, "name"));
  if (!field->name || !dtype || !json_is_integer(n)) return false;
  int kind = -1;
  for (int i = 0; i < 3; i++)
    if (!strcmp(dtype, dtype_names[i])) kind = i;
  if (kind < 0) return false;
  field->dtype = (orr_dtype)kind;
  field->n = json_integer_value(n);
  const json_t *low = json_object_get(from, "low"), *high = json_object_get(from, "high");
  if (!read_bound(engine, low, (int64_t)count, -(orr_real)INFINITY, &memory->low) ||
      !read_bound(engine, high, (int64_t)count, (orr_real)INFINITY, &memory->high))
    return false;
  field->low = memory->low;
  field->high = memory->high;
  return true;
}

/* False also when they are too many, before memory is taken for bounds. */
static bool read_fields(orr_engine *engine, const json_t *from, orr_field *fields,
                        field_memory *memory) {
  size_t total = 0;
  for (size_t i = 0; i < json_array_size(from); i++) {
    size_t count;
    const json_t *field = json_array_get(from, i);
    if (!read_shape(field, &fields[i], &count)) return false;
    total += count;
    if (total > MOST_NUMBERS || !read_field(engine, field, count, &fields[i], &memory[i]))
      return false;
  }
  return true;
}

/* NULL without a space or on failure, then *good is false. */
static orr_space *read_space(orr_engine *engine, const json_t *from, bool needed, bool *good) {
  enum { MOST = 1024 };
  if (json_is_null(from) && !needed) return NULL;
  *good = false;
  size_t count = json_array_size(from);
  if (!json_is_array(from) || count < 1 || count > MOST) return NULL;
  orr_field *fields = engine_new_zeroed(engine, count, sizeof *fields);
  field_memory *memory = engine_new_zeroed(engine, count, sizeof *memory);
  orr_space *space = NULL;
  if (fields && memory && read_fields(engine, from, fields, memory))
    space = orr_space_new(engine, fields, (int)count);
  for (size_t i = 0; memory && i < count; i++) {
    engine_free_memory(engine, memory[i].low);
    engine_free_memory(engine, memory[i].high);
  }
  engine_free_memory(engine, memory);
  engine_free_memory(engine, fields);
  *good = space != NULL;
  return space;
}

static bool read_count(const json_t *root, const char *name, int64_t *count) {
  const json_t *x = json_object_get(root, name);
  *count = json_integer_value(x);
  return json_is_integer(x) && *count >= 0 && *count <= (int64_t)1 << 53;
}

static orr_replay *make_replay(orr_engine *engine, const json_t *root, int64_t capacity,
                               int *real_bytes, orr_replay_counts *counts) {
  orr_replay_options options = orr_replay_options_defaults();
  orr_space *spaces[4] = {NULL};
  int64_t bad = 0, wide = 0, first = 0;
  bool good = read_count(root, "capacity", &options.capacity) &&
              read_count(root, "bad_numbers", &bad) && read_count(root, "real_bytes", &wide) &&
              read_count(root, "episodes", &counts->episodes) &&
              read_count(root, "transitions", &counts->transitions) &&
              (!json_object_get(root, "first") || read_count(root, "first", &first)) &&
              read_count(root, "discarded", &counts->discarded) &&
              read_count(root, "clipped", &counts->clipped) && (wide == 4 || wide == 8) &&
              bad <= ORR_BAD_CLIP;
  for (int i = 0; good && i < 4; i++)
    spaces[i] = read_space(engine, json_object_get(root, role_names[i]), i < 2, &good);
  orr_replay *replay = NULL;
  if (good) {
    options.observation = spaces[0];
    options.action = spaces[1];
    options.observation_extras = spaces[2];
    options.step_extras = spaces[3];
    options.bad_numbers = (orr_bad_numbers)bad;
    if (capacity) options.capacity = capacity;
    *real_bytes = (int)wide;
    replay = orr_replay_new(engine, &options);
    if (replay) replay->next_first = first; /* of the transition that is read first */
  }
  for (int i = 0; i < 4; i++) orr_space_free(spaces[i]);
  return replay;
}

orr_replay *replay_from_description(orr_engine *engine, const char *text, size_t size,
                                    int64_t capacity, const char *path, int *real_bytes,
                                    orr_replay_counts *counts) {
  json_error_t error;
  json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
  engine_fail(engine, ORR_FORMAT, "the description of the fields is damaged");
  orr_replay *replay =
      json_is_object(root) ? make_replay(engine, root, capacity, real_bytes, counts) : NULL;
  json_decref(root);
  if (!replay) engine_fail_in(engine, "replay '%s'", path);
  return replay;
}
