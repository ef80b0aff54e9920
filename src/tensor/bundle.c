/* bundle.c - named tensors and texts in memory. */
#include <string.h>

#include "tensor/bundle.h"

orr_bundle *orr_bundle_new(orr_engine *engine) {
  orr_bundle *bundle = engine_new_zeroed(engine, 1, sizeof *bundle);
  if (bundle) bundle->engine = orr_engine_retain(engine);
  return bundle;
}

void orr_bundle_free(orr_bundle *bundle) {
  if (!bundle) return;
  orr_engine *engine = bundle->engine;
  for (int i = 0; i < bundle->count; i++) {
    engine_free_memory(engine, bundle->items[i].name);
    orr_tensor_free(bundle->items[i].tensor);
  }
  for (int i = 0; i < bundle->texts; i++) {
    engine_free_memory(engine, bundle->keys[i]);
    engine_free_memory(engine, bundle->values[i]);
  }
  engine_free_memory(engine, bundle->items);
  engine_free_memory(engine, bundle->keys);
  engine_free_memory(engine, bundle->values);
  engine_free_memory(engine, bundle);
  orr_engine_free(engine);
}

static int position(const orr_bundle *bundle, const char *name) {
  for (int i = 0; i < bundle->count; i++)
    if (strcmp(bundle->items[i].name, name) == 0) return i;
  return -1;
}

/* Makes room for one more of `used`, doubling at powers of two; false when there is no memory. */
static bool grow(orr_engine *engine, void *array, int used, size_t size) {
  void *old, *larger;
  if (used & (used - 1)) return true;
  memcpy(&old, array, sizeof old);
  larger = engine_resize(engine, old, used ? 2 * (size_t)used : 1, size);
  if (larger) memcpy(array, &larger, sizeof larger);
  return larger != NULL;
}

orr_status bundle_append(orr_bundle *bundle, const char *name, orr_tensor *x) {
  if (!grow(bundle->engine, &bundle->items, bundle->count, sizeof *bundle->items))
    return bundle->engine->status;
  char *copy = engine_copy_string(bundle->engine, name);
  if (!copy) return bundle->engine->status;
  bundle->items[bundle->count++] = (bundle_item){copy, orr_tensor_retain(x)};
  return ORR_OK;
}

orr_status orr_bundle_add(orr_bundle *bundle, const char *name, orr_tensor *x) {
  if (!x) return bundle->engine->status;
  if (!name[0] || strcmp(name, "__metadata__") == 0)
    return engine_fail(bundle->engine, ORR_FIELD, "'%s' cannot be the name of a tensor", name);
  if (position(bundle, name) >= 0)
    return engine_fail(bundle->engine, ORR_FIELD, "there is a tensor '%s' already", name);
  return bundle_append(bundle, name, x);
}

orr_status bundle_append_text(orr_bundle *bundle, const char *key, const char *text) {
  orr_engine *engine = bundle->engine;
  if (!grow(engine, &bundle->keys, bundle->texts, sizeof *bundle->keys) ||
      !grow(engine, &bundle->values, bundle->texts, sizeof *bundle->values))
    return engine->status;
  char *key_copy = engine_copy_string(engine, key),
       *copy = key_copy ? engine_copy_string(engine, text) : NULL;
  if (!copy) {
    engine_free_memory(engine, key_copy);
    return engine->status;
  }
  bundle->keys[bundle->texts] = key_copy;
  bundle->values[bundle->texts++] = copy;
  return ORR_OK;
}

orr_status orr_bundle_add_text(orr_bundle *bundle, const char *key, const char *text) {
  if (orr_bundle_text(bundle, key))
    return engine_fail(bundle->engine, ORR_FIELD, "there is a text '%s' already", key);
  return bundle_append_text(bundle, key, text);
}

int orr_bundle_count(const orr_bundle *bundle) { return bundle->count; }
const char *orr_bundle_name(const orr_bundle *bundle, int i) { return bundle->items[i].name; }
orr_tensor *orr_bundle_tensor(const orr_bundle *bundle, int i) { return bundle->items[i].tensor; }
int orr_bundle_text_count(const orr_bundle *bundle) { return bundle->texts; }
const char *orr_bundle_text_key(const orr_bundle *bundle, int i) { return bundle->keys[i]; }
const char *orr_bundle_text_at(const orr_bundle *bundle, int i) { return bundle->values[i]; }

orr_tensor *orr_bundle_find(const orr_bundle *bundle, const char *name) {
  int i = position(bundle, name);
  if (i >= 0) return bundle->items[i].tensor;
  const char *names[64];
  int known = bundle->count < 64 ? bundle->count : 64;
  for (i = 0; i < known; i++) names[i] = bundle->items[i].name;
  const char *near = nearest_name(name, names, known);
  engine_fail(bundle->engine, ORR_FIELD, "no tensor '%s' among %d%s%s%s", name, bundle->count,
              near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
  return NULL;
}

const char *orr_bundle_text(const orr_bundle *bundle, const char *key) {
  for (int i = 0; i < bundle->texts; i++)
    if (strcmp(bundle->keys[i], key) == 0) return bundle->values[i];
  return NULL;
}
