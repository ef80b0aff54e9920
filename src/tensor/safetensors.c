/* safetensors.c - the file form of a bundle: the length of a JSON header (64 bits), the header, the
   numbers. A header entry is "name": {"dtype", "shape", "data_offsets": [first, end]}, offsets from
   the end of the header; together they cover the rest of the file without gap or overlap.
   (https://huggingface.co/docs/safetensors, "Format") */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "tensor/bundle.h"

/* Room for more than 100,000 tensors; a header is parsed in memory of several times its size. */
enum { LONGEST_HEADER = 1 << 24, LONGEST_SHOWN = 80 };

static const char *const wire_names[WIRE_COUNT] = {
    [WIRE_F16] = "F16",   [WIRE_BF16] = "BF16", [WIRE_F32] = "F32", [WIRE_F64] = "F64",
    [WIRE_BOOL] = "BOOL", [WIRE_U8] = "U8",     [WIRE_I8] = "I8",   [WIRE_I16] = "I16",
    [WIRE_U16] = "U16",   [WIRE_I32] = "I32",   [WIRE_U32] = "U32", [WIRE_I64] = "I64",
    [WIRE_U64] = "U64"};

typedef struct entry {
  const char *name; /* the JSON object's */
  wire type;
  int axes;
  int64_t shape[ORR_AXES];
  size_t first, end;
} entry;

static orr_status fail(source *from, const char *name, const char *what) {
  return engine_fail(from->engine, ORR_FORMAT, "%s: tensor '%.*s': %s", from->label, LONGEST_SHOWN,
                     name, what);
}

/* A JSON number as a size: whole, not negative. */
static bool read_size(const json_t *value, int64_t *size) {
  *size = json_integer_value(value);
  return json_is_integer(value) && *size >= 0;
}

static orr_status read_entry(source *from, const char *name, const json_t *value, entry *e) {
  const char *type = json_string_value(json_object_get(value, "dtype"));
  const json_t *shape = json_object_get(value, "shape"),
               *offsets = json_object_get(value, "data_offsets");
  int64_t count, first, end;
  size_t bytes;
  if (!type || !json_is_array(shape) || !json_is_array(offsets) || json_object_size(value) != 3)
    return fail(from, name, "its entry is not dtype, shape and data_offsets");
  e->name = name;
  for (e->type = 0; e->type < WIRE_COUNT; e->type++)
    if (strcmp(wire_names[e->type], type) == 0) break;
  if (e->type == WIRE_COUNT) return fail(from, name, "no tensor can hold its dtype");
  if (json_array_size(shape) > ORR_AXES) return fail(from, name, "it has more than 8 axes");
  e->axes = (int)json_array_size(shape);
  for (int i = 0; i < e->axes; i++)
    if (!read_size(json_array_get(shape, (size_t)i), &e->shape[i]))
      return fail(from, name, "a bad shape");
  if (json_array_size(offsets) != 2 || !read_size(json_array_get(offsets, 0), &first) ||
      !read_size(json_array_get(offsets, 1), &end) || first > end)
    return fail(from, name, "bad offsets");
  if (!shape_count(from->engine, e->axes, e->shape, &count))
    return engine_fail_in(from->engine, "%s: tensor '%.*s'", from->label, LONGEST_SHOWN, name);
  if (!multiply_sizes((size_t)count, wire_size(e->type), &bytes) || bytes != (size_t)(end - first))
    return engine_fail(from->engine, ORR_FORMAT,
                       "%s: tensor '%.*s': shape and dtype ask for %zu bytes, offsets for %lld",
                       from->label, LONGEST_SHOWN, name, bytes, (long long)(end - first));
  e->first = (size_t)first;
  e->end = (size_t)end;
  return ORR_OK;
}

static int compare_entries(const void *a, const void *b) {
  const entry *p = a, *q = b;
  if (p->first != q->first) return p->first < q->first ? -1 : 1;
  if (p->end != q->end) return p->end < q->end ? -1 : 1;
  return strcmp(p->name, q->name);
}

/* Sorts the entries by offset and checks that they cover the data, `size` bytes, once. */
static orr_status check_cover(source *from, entry *entries, size_t count, size_t size) {
  size_t at = 0;
  qsort(entries, count, sizeof *entries, compare_entries);
  for (size_t i = 0; i < count; i++) {
    if (entries[i].first != at)
      return fail(from, entries[i].name,
                  entries[i].first < at ? "overlaps another one" : "there is a gap before it");
    at = entries[i].end;
  }
  if (at == size) return ORR_OK;
  return engine_fail(from->engine, ORR_FORMAT,
                     "%s: %s: the tensors take %zu bytes behind the header, the file has %zu",
                     from->label, at > size ? "truncated" : "too long", at, size);
}

static orr_status load_tensor(source *from, orr_bundle *bundle, const entry *e, size_t data,
                              bool allow_not_finite) {
  orr_tensor *x = tensor_new_raw(from->engine, wire_dtype(e->type), e->axes, e->shape);
  if (!x)
    return engine_fail_in(from->engine, "%s: tensor '%.*s'", from->label, LONGEST_SHOWN, e->name);
  orr_status status = wire_read(from, data + e->first, e->type, x);
  if (!status && !allow_not_finite && !orr_tensor_all_finite(x)) {
    fail(from, e->name, "it holds a number that is not finite");
    status = from->engine->status = ORR_NUMBER;
  }
  if (!status) status = bundle_append(bundle, e->name, x);
  orr_tensor_free(x);
  return status;
}

static orr_status load_texts(source *from, orr_bundle *bundle, json_t *texts) {
  const char *key;
  json_t *value;
  json_object_foreach(texts, key, value) {
    if (!json_is_string(value))
      return engine_fail(from->engine, ORR_FORMAT,
                         "%s: __metadata__ holds something that is not text", from->label);
    orr_status status = bundle_append_text(bundle, key, json_string_value(value));
    if (status) return status;
  }
  return ORR_OK;
}

static orr_status load_entries(source *from, orr_bundle *bundle, json_t *root, entry *entries,
                               size_t data, bool allow_not_finite) {
  const char *name;
  json_t *value;
  size_t count = 0;
  orr_status status = ORR_OK;
  json_object_foreach(root, name, value) {
    if (strcmp(name, "__metadata__") == 0) status = load_texts(from, bundle, value);
    else status = read_entry(from, name, value, &entries[count++]);
    if (status) return status;
  }
  status = check_cover(from, entries, count, from->size - data);
  for (size_t i = 0; i < count && !status; i++)
    status = load_tensor(from, bundle, &entries[i], data, allow_not_finite);
  return status;
}

/* The JSON header; NULL with a message. *data: where the numbers start. */
static json_t *read_header(source *from, size_t *data) {
  unsigned char start[8];
  uint64_t length = 0;
  if (source_read(from, 0, start, sizeof start)) return NULL;
  for (int i = 7; i >= 0; i--) length = length << 8 | start[i];
  if (length > LONGEST_HEADER) {
    engine_fail(from->engine, ORR_FORMAT, "%s: not a safetensors file: a header of %llu bytes",
                from->label, (unsigned long long)length);
    return NULL;
  }
  char *text = engine_new(from->engine, length + 1, 1);
  if (!text) return NULL;
  json_t *root = NULL;
  json_error_t error;
  if (!source_read(from, sizeof start, text, length)) {
    root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(root)) {
      engine_fail(from->engine, ORR_FORMAT, "%s: its header is not a JSON object%s%s", from->label,
                  root ? "" : ": ", root ? "" : error.text);
      json_decref(root);
      root = NULL;
    }
  }
  engine_free_memory(from->engine, text);
  *data = sizeof start + length;
  return root;
}

static orr_bundle *load(source *from, bool allow_not_finite) {
  size_t data;
  json_t *root = read_header(from, &data);
  if (!root) return NULL;
  entry *entries = engine_new(from->engine, json_object_size(root) + 1, sizeof *entries);
  orr_bundle *bundle = entries ? orr_bundle_new(from->engine) : NULL;
  if (bundle && load_entries(from, bundle, root, entries, data, allow_not_finite)) {
    orr_bundle_free(bundle);
    bundle = NULL;
  }
  engine_free_memory(from->engine, entries);
  json_decref(root);
  return bundle;
}

orr_bundle *orr_bundle_read(orr_engine *engine, const char *path, bool allow_not_finite) {
  source from;
  if (source_open(&from, engine, path)) return NULL;
  orr_bundle *bundle = load(&from, allow_not_finite);
  source_close(&from);
  return bundle;
}

orr_bundle *orr_bundle_parse(orr_engine *engine, const void *bytes, size_t size, const char *label,
                             bool allow_not_finite) {
  source from;
  source_open_memory(&from, engine, bytes, size, label);
  return load(&from, allow_not_finite);
}

/* "name": {...} for one tensor; NULL when the name is not UTF-8 or memory ran out. */
static json_t *describe(const orr_tensor *x, size_t first, size_t end) {
  json_t *shape = json_array();
  for (int i = 0; i < x->axes; i++) json_array_append_new(shape, json_integer(x->shape[i]));
  return json_pack("{s:s, s:o, s:[I, I]}", "dtype", wire_names[wire_of(x->dtype)], "shape", shape,
                   "data_offsets", (json_int_t)first, (json_int_t)end);
}

/* The header as text, to be freed with free(). */
static char *header_text(const orr_bundle *bundle) {
  json_t *root = json_object(), *texts = bundle->texts ? json_object() : NULL;
  size_t at = 0;
  bool good = root != NULL;
  for (int i = 0; i < bundle->texts && good; i++)
    good = json_object_set_new(texts, bundle->keys[i], json_string(bundle->values[i])) == 0;
  if (good && texts) good = json_object_set(root, "__metadata__", texts) == 0;
  for (int i = 0; i < bundle->count && good; i++) {
    const orr_tensor *x = bundle->items[i].tensor;
    size_t end = at + (size_t)x->count * dtype_size(x->dtype);
    good = json_object_set_new(root, bundle->items[i].name, describe(x, at, end)) == 0;
    at = end;
  }
  char *text = good ? json_dumps(root, JSON_COMPACT) : NULL;
  json_decref(root);
  json_decref(texts);
  return text;
}

static orr_status write_bundle(const orr_bundle *bundle, const char *text, file_writer *file) {
  size_t length = strlen(text), padding = (8 - length % 8) % 8;
  unsigned char start[8];
  for (int i = 0; i < 8; i++) start[i] = (unsigned char)((uint64_t)(length + padding) >> 8 * i);
  file_write(file, start, sizeof start);
  file_write(file, text, length);
  file_write(file, "        ", padding);
  for (int i = 0; i < bundle->count; i++) {
    const orr_tensor *x = bundle->items[i].tensor;
    orr_tensor *packed = orr_tensor_contiguous(x);
    if (!packed) {
      file_abandon(file);
      return bundle->engine->status;
    }
    file_write(file, tensor_const_data(packed), (size_t)x->count * dtype_size(x->dtype));
    orr_tensor_free(packed);
  }
  return file_commit(file);
}

orr_status orr_bundle_write(const orr_bundle *bundle, const char *path) {
  orr_engine *engine = bundle->engine;
  char *text = header_text(bundle);
  if (!text)
    return engine_fail(engine, ORR_FIELD,
                       "%s: a name or text to write is not UTF-8, or memory ran out", path);
  orr_status status;
  if (strlen(text) > LONGEST_HEADER - 8) {
    status = engine_fail(engine, ORR_FORMAT, "%s: %d tensors are too many for one file", path,
                         bundle->count);
  } else {
    file_writer *file = file_create(engine, path);
    status = file ? write_bundle(bundle, text, file) : engine->status;
  }
  free(text);
  return status;
}
