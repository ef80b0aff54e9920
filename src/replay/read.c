/* read.c - from transitions to tensors: each place is looked up once, then read for every output.
   Relabeled, a row is copied as it is, and then the goal over it, from wherever it comes. */
#include <math.h>
#include <string.h>

#include "orrery/relabel.h"

#include "replay/replay.h"

enum { MOST_OUTPUTS = 64 }; /* fields read at once */

typedef enum source_kind {
  FROM_ROWS,
  FROM_TERMINATED,
  FROM_TRUNCATED,
  FROM_EPISODE,
  FROM_TIME,
  FROM_LENGTH,
  FROM_MASK
} source_kind;

typedef struct reader { /* one output, understood */
  source_kind kind;
  bool next;           /* reads the row after */
  bool is_observation; /* exists T + 1 times */
  segment one;
  const segment *segments;
  int segments_count;
  int64_t count; /* numbers at each step */
  int axes;
  int64_t shape[ORR_AXES];
  orr_dtype dtype; /* of the field */
  orr_dtype into;  /* of the tensor */
  int64_t steps;   /* per window */
  uint8_t *data;
  size_t element; /* bytes of one in the tensor */
  segment goal;   /* what a goal's numbers are, and where they go; count 0: nowhere */
} reader;

typedef struct request {
  orr_replay *replay;
  const orr_relabel *relabel; /* NULL: nothing is */
  const column *desired;
  segment goal;          /* of the row that a goal is read from; `place` is each output's own */
  const uint8_t *values; /* rows of goals, goal_bytes each; NULL: rows of the replay */
  size_t goal_bytes;
  int64_t count, length; /* length 0: transitions, without a time axis */
  int outputs;
  reader readers[MOST_OUTPUTS];
} request;

static void read_flat(reader *r, const flat *f, int64_t size, bool is_observation) {
  r->segments = f->segments;
  r->segments_count = f->count;
  r->count = size;
  r->axes = 1;
  r->shape[0] = size;
  r->is_observation = is_observation;
}

static void read_column(reader *r, const column *c) {
  r->one = (segment){c->offset, 0, c->count, c->dtype};
  r->segments = &r->one;
  r->segments_count = 1;
  r->count = c->count;
  r->axes = c->axes;
  memcpy(r->shape, c->shape, sizeof r->shape);
  r->dtype = c->dtype;
  r->is_observation = !role_is_step(c->role);
}

/* Names that are no column. */
static bool understand_word(const char *name, reader *r) {
  static const struct {
    const char *name;
    source_kind kind;
    orr_dtype dtype;
  } words[] = {{"terminated", FROM_TERMINATED, ORR_REAL}, {"truncated", FROM_TRUNCATED, ORR_REAL},
               {"episode", FROM_EPISODE, ORR_INT},        {"time", FROM_TIME, ORR_INT},
               {"length", FROM_LENGTH, ORR_INT},          {"mask", FROM_MASK, ORR_REAL}};
  for (size_t i = 0; i < COUNT(words); i++) {
    if (strcmp(name, words[i].name)) continue;
    r->kind = words[i].kind;
    r->dtype = words[i].dtype;
    r->count = 1;
    return true;
  }
  return false;
}

static orr_status understand(const request *q, const char *name, reader *r) {
  orr_replay *replay = q->replay;
  memset(r, 0, sizeof *r);
  r->dtype = ORR_REAL;
  if (!strncmp(name, "next_", 5) && replay_column(replay, name) < 0) {
    r->next = true;
    name += 5;
  }
  const column *desired = q->desired;
  if (!strcmp(name, "observation")) {
    read_flat(r, &replay->flat_observation, orr_space_size(replay->observation), true);
    if (desired && desired->role == ROLE_OBSERVATION)
      r->goal = q->goal, r->goal.place = desired->flat;
  } else if (!strcmp(name, "action"))
    read_flat(r, &replay->flat_action, orr_space_size(replay->action), false);
  else if (!strcmp(name, "reward")) read_column(r, &replay->columns[replay->reward]);
  else if (!understand_word(name, r)) {
    int found = replay_need_column(replay, name);
    if (found < 0) return replay->engine->status;
    read_column(r, &replay->columns[found]);
    if (desired == &replay->columns[found]) r->goal = q->goal;
  }
  if (r->next && !r->is_observation)
    return engine_fail(replay->engine, ORR_FIELD,
                       "replay: 'next_%s': only fields of observations have a next", name);
  if (r->kind == FROM_MASK && !q->length)
    return engine_fail(replay->engine, ORR_FIELD,
                       "replay: 'mask' belongs to windows; transitions have none");
  r->steps = !q->length ? 1 : q->length + (r->is_observation && !r->next);
  return ORR_OK;
}

static orr_status make_output(const request *q, reader *r, orr_replay_output *output) {
  orr_engine *engine = q->replay->engine;
  int64_t shape[ORR_AXES + 2] = {q->count, r->steps};
  int outer = q->length ? 2 : 1;
  if (r->axes + outer > ORR_AXES)
    return engine_fail(engine, ORR_SHAPE, "replay: '%s' has too many axes", output->field);
  memcpy(shape + outer, r->shape, (size_t)r->axes * sizeof *shape);
  output->tensor = orr_tensor_new(engine, r->dtype, r->axes + outer, shape);
  return output->tensor ? ORR_OK : engine->status;
}

static orr_status check_output(const request *q, reader *r, orr_replay_output *output) {
  orr_engine *engine = q->replay->engine;
  orr_tensor *x = output->tensor;
  size_t count;
  if (!multiply_sizes((size_t)q->count, (size_t)r->steps, &count) ||
      !multiply_sizes(count, (size_t)r->count, &count) || count != (size_t)orr_tensor_count(x))
    return engine_fail(engine, ORR_SHAPE,
                       "replay: '%s' needs a tensor of %lld x %lld x %lld numbers, got one of "
                       "%lld",
                       output->field, (long long)q->count, (long long)r->steps, (long long)r->count,
                       (long long)orr_tensor_count(x));
  if (!orr_tensor_is_contiguous(x))
    return engine_fail(engine, ORR_SHAPE, "replay: the tensor for '%s' must be contiguous",
                       output->field);
  if (orr_tensor_dtype(x) != ORR_REAL && orr_tensor_dtype(x) != r->dtype)
    return engine_fail(engine, ORR_SHAPE,
                       "replay: the tensor for '%s' has another type than the field; give one "
                       "of reals",
                       output->field);
  return ORR_OK;
}

/* A byte or int32 of a real: rounded, and moved into its range; 0 of NaN. */
static void narrow(orr_dtype into, uint8_t *to, const orr_real *from, int64_t count) {
  double low = into == ORR_BYTE ? 0 : INT32_MIN, high = into == ORR_BYTE ? UINT8_MAX : INT32_MAX;
  for (int64_t j = 0; j < count; j++) {
    double x = isnan(from[j]) ? 0 : rint((double)from[j]);
    x = x < low ? low : x > high ? high : x;
    if (into == ORR_BYTE) to[j] = (uint8_t)x;
    else ((int32_t *)to)[j] = (int32_t)x;
  }
}

static void copy_segment(const reader *r, const segment *s, const uint8_t *row, uint8_t *out) {
  const uint8_t *from = row + s->offset;
  uint8_t *to = out + (size_t)s->place * r->element;
  if (s->dtype == r->into) {
    memcpy(to, from, (size_t)s->count * r->element);
  } else if (s->dtype == ORR_BYTE) {
    for (int64_t j = 0; j < s->count; j++) ((orr_real *)to)[j] = from[j];
  } else if (s->dtype == ORR_INT) {
    for (int64_t j = 0; j < s->count; j++)
      ((orr_real *)to)[j] = (orr_real)((const int32_t *)from)[j];
  } else {
    narrow(r->into, to, (const orr_real *)from, s->count);
  }
}

static void copy_row(const reader *r, const uint8_t *row, const uint8_t *goal, uint8_t *out) {
  for (int i = 0; i < r->segments_count; i++) copy_segment(r, &r->segments[i], row, out);
  if (goal && r->goal.count) copy_segment(r, &r->goal, goal, out);
}

static void write_number(const reader *r, uint8_t *out, int64_t x) {
  if (r->into == ORR_INT) *(int32_t *)out = (int32_t)x;
  else *(orr_real *)out = (orr_real)x;
}

static int64_t word_value(const reader *r, const entry *e, int64_t episode, int64_t t) {
  bool last = t == e->length - 1;
  switch (r->kind) {
  case FROM_TERMINATED: return last && e->terminated;
  case FROM_TRUNCATED: return last && e->truncated;
  case FROM_EPISODE: return episode;
  case FROM_TIME: return t;
  case FROM_LENGTH: return e->length;
  default: return 1; /* mask */
  }
}

/* Window number k, beginning at step t of the episode; goal: the row that its goal is read from. */
static void read_one(const request *q, const reader *r, int64_t k, int64_t episode, int64_t t,
                     const uint8_t *goal) {
  const entry *e = replay_entry(q->replay, episode);
  size_t step_bytes = (size_t)r->count * r->element;
  uint8_t *out = r->data + (size_t)(k * r->steps) * step_bytes;
  for (int64_t j = 0; j < r->steps; j++, out += step_bytes) {
    int64_t at = t + j + r->next;
    if (r->is_observation) at = at > e->length ? e->length : at;
    else if (at >= e->length) {
      memset(out, 0, step_bytes * (size_t)(r->steps - j));
      return;
    }
    if (r->kind == FROM_ROWS) copy_row(r, replay_row(q->replay, e->row + (uint64_t)at), goal, out);
    else write_number(r, out, word_value(r, e, episode, at));
  }
}

/* The row that place k's goal is read from; NULL: it keeps its own. */
static const uint8_t *goal_row(const request *q, int64_t k) {
  const int64_t *source = q->relabel ? q->relabel->source : NULL;
  int64_t at = source ? source[k] : k;
  if (!q->relabel || at < 0) return NULL;
  if (q->values) return q->values + (size_t)at * q->goal_bytes;
  return replay_row(q->replay, q->replay->first_row + (uint64_t)at);
}

static orr_status read_all(request *q, const int64_t *transitions) {
  orr_replay *replay = q->replay;
  int64_t base = replay->episodes ? replay_entry(replay, 0)->first : 0, episode = 0;
  for (int64_t k = 0; k < q->count; k++) {
    int64_t transition = transitions ? transitions[k] : k;
    if (transition < 0 || transition >= replay->transitions)
      return engine_fail(replay->engine, ORR_ARGUMENT, "replay: no transition %lld; it holds %lld",
                         (long long)transition, (long long)replay->transitions);
    const entry *e = replay_entry(replay, episode);
    int64_t t = transition + base - e->first;
    if (t < 0 || t >= e->length) { /* else as the one before: reading in order */
      episode = replay_locate(replay, transition);
      t = transition + base - replay_entry(replay, episode)->first;
    }
    const uint8_t *goal = goal_row(q, k);
    for (int i = 0; i < q->outputs; i++) read_one(q, &q->readers[i], k, episode, t, goal);
  }
  return ORR_OK;
}

/* The desired field, and where goals are read from. */
static orr_status prepare_goal(request *q) {
  orr_replay *replay = q->replay;
  const orr_relabel *relabel = q->relabel;
  int desired = replay_need_column(replay, relabel->desired);
  if (desired < 0) return replay->engine->status;
  q->desired = &replay->columns[desired];
  if (role_is_step(q->desired->role))
    return engine_fail(replay->engine, ORR_FIELD,
                       "relabel: '%s' is a field of steps; goals belong to observations",
                       q->desired->name);
  q->goal = (segment){.count = q->desired->count};
  if (relabel->values) {
    const orr_tensor *x = relabel->values;
    int64_t rows = orr_tensor_axes(x) ? orr_tensor_shape(x)[0] : 0;
    q->goal.dtype = orr_tensor_dtype(x);
    if (orr_tensor_count(x) != rows * q->goal.count || !orr_tensor_is_contiguous(x) ||
        (q->goal.dtype != ORR_REAL && q->goal.dtype != q->desired->dtype))
      return engine_fail(replay->engine, ORR_SHAPE,
                         "relabel: values for '%s' need rows of %lld numbers, contiguous, real or "
                         "of the field's type, got %lld numbers in %lld rows",
                         q->desired->name, (long long)q->goal.count, (long long)orr_tensor_count(x),
                         (long long)rows);
    q->values = orr_tensor_data((orr_tensor *)x);
    q->goal_bytes = (size_t)q->goal.count * element_size(q->goal.dtype);
    return ORR_OK;
  }
  int achieved = replay_need_column(replay, relabel->achieved);
  if (achieved < 0) return replay->engine->status;
  const column *from = &replay->columns[achieved];
  if (role_is_step(from->role) || from->count != q->goal.count || from->dtype != q->desired->dtype)
    return engine_fail(replay->engine, ORR_SHAPE,
                       "relabel: '%s' has %lld numbers and '%s' %lld: they must be fields of "
                       "observations, of one size and type",
                       from->name, (long long)from->count, q->desired->name,
                       (long long)q->goal.count);
  q->goal.offset = from->offset;
  q->goal.dtype = from->dtype;
  return ORR_OK;
}

static orr_status check_sources(const request *q) {
  const orr_relabel *relabel = q->relabel;
  int64_t most =
      q->values ? orr_tensor_shape(relabel->values)[0] : orr_replay_observations(q->replay);
  if (!relabel->source && (!q->values || most < q->count))
    return engine_fail(q->replay->engine, ORR_ARGUMENT,
                       "relabel: %lld goals for %lld transitions, and no sources to choose them by",
                       q->values ? (long long)most : 0, (long long)q->count);
  for (int64_t k = 0; relabel->source && k < q->count; k++)
    if (relabel->source[k] >= most)
      return engine_fail(q->replay->engine, ORR_ARGUMENT, "relabel: no %s %lld; there are %lld",
                         q->values ? "row of values" : "observation", (long long)relabel->source[k],
                         (long long)most);
  return ORR_OK;
}

static orr_status prepare(request *q, orr_replay_output *output) {
  if (q->relabel && (prepare_goal(q) || check_sources(q))) return q->replay->engine->status;
  for (int i = 0; i < q->outputs; i++)
    if (understand(q, output[i].field, &q->readers[i])) return q->replay->engine->status;
  for (int i = 0; i < q->outputs; i++) {
    reader *r = &q->readers[i];
    if (output[i].tensor ? check_output(q, r, &output[i]) : make_output(q, r, &output[i]))
      return q->replay->engine->status;
    r->into = orr_tensor_dtype(output[i].tensor);
    r->element = element_size(r->into);
    r->data = orr_tensor_data(output[i].tensor);
  }
  return ORR_OK;
}

static orr_status read_request(request *q, const int64_t *transitions, orr_replay_output *output) {
  if (q->outputs < 0 || q->outputs > MOST_OUTPUTS || q->count < 0)
    return engine_fail(q->replay->engine, ORR_ARGUMENT,
                       "replay: %d outputs of %lld places asked for; at most %d "
                       "outputs, and no negative count",
                       q->outputs, (long long)q->count, MOST_OUTPUTS);
  bool given[MOST_OUTPUTS];
  for (int i = 0; i < q->outputs; i++) given[i] = output[i].tensor != NULL;
  orr_status status = prepare(q, output);
  if (!status) status = read_all(q, transitions);
  for (int i = 0; i < q->outputs; i++) {
    if (output[i].tensor && !status) orr_tensor_touch(output[i].tensor);
    if (status && !given[i]) {
      orr_tensor_free(output[i].tensor);
      output[i].tensor = NULL;
    }
  }
  return status;
}

orr_status orr_replay_read(orr_replay *replay, int64_t count, const int64_t *transitions,
                           int outputs, orr_replay_output *output) {
  request q = {.replay = replay, .count = count, .outputs = outputs};
  return read_request(&q, transitions, output);
}

static orr_status check_length(orr_replay *replay, int64_t length) {
  if (length >= 1 && length <= ORR_REPLAY_CAPACITY) return ORR_OK;
  return engine_fail(replay->engine, ORR_ARGUMENT, "replay: windows have 1 to %d steps, got %lld",
                     ORR_REPLAY_CAPACITY, (long long)length);
}

orr_status orr_replay_read_windows(orr_replay *replay, int64_t count, const int64_t *transitions,
                                   int64_t length, int outputs, orr_replay_output *output) {
  if (check_length(replay, length)) return ORR_ARGUMENT;
  request q = {.replay = replay, .count = count, .length = length, .outputs = outputs};
  return read_request(&q, transitions, output);
}

orr_status orr_replay_read_relabeled(orr_replay *replay, int64_t count, const int64_t *transitions,
                                     int64_t length, const orr_relabel *given, int outputs,
                                     orr_replay_output *output) {
  orr_relabel relabel = orr_relabel_defaults();
  if (READ_OPTIONS(replay->engine, orr_relabel, &relabel, given)) return ORR_ARGUMENT;
  if (length && check_length(replay, length)) return ORR_ARGUMENT;
  request q = {
      .replay = replay, .relabel = &relabel, .count = count, .length = length, .outputs = outputs};
  return read_request(&q, transitions, output);
}
