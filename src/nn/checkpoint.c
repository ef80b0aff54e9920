/* checkpoint.c - named tensors to a safetensors file and back. A load is all or nothing. */
#include <string.h>

#include "nn/nn.h"

orr_status orr_checkpoint_save(orr_engine *engine, const char *path, int count,
                               const char *const *names, orr_tensor *const *tensors) {
  orr_bundle *bundle = orr_bundle_new(engine);
  if (!bundle) return orr_engine_status(engine);
  orr_status status = ORR_OK;
  for (int i = 0; i < count && !status; i++) {
    if (!orr_tensor_all_finite(tensors[i]))
      status =
          engine_fail(engine, ORR_NUMBER,
                      "%s: %s holds a value that is not finite, nothing is saved", path, names[i]);
    else status = orr_bundle_add(bundle, names[i], tensors[i]);
  }
  if (!status) status = orr_bundle_write(bundle, path);
  orr_bundle_free(bundle);
  return status;
}

/* One tensor of the file against the one that shall receive it. */
static orr_status compare(orr_engine *engine, const char *path, const char *name,
                          const orr_tensor *own, const orr_tensor *given) {
  int axes = orr_tensor_axes(own);
  bool same = axes == orr_tensor_axes(given) && orr_tensor_dtype(own) == orr_tensor_dtype(given);
  for (int i = 0; same && i < axes; i++)
    same = orr_tensor_shape(own)[i] == orr_tensor_shape(given)[i];
  if (same) return ORR_OK;
  char wanted[NN_SHAPE_TEXT], other[NN_SHAPE_TEXT];
  return engine_fail(engine, ORR_SHAPE, "%s: %s is %s (%s) in the file, but %s (%s) here", path,
                     name, nn_shape_text(other, orr_tensor_axes(given), orr_tensor_shape(given)),
                     orr_dtype_name(orr_tensor_dtype(given)),
                     nn_shape_text(wanted, axes, orr_tensor_shape(own)),
                     orr_dtype_name(orr_tensor_dtype(own)));
}

static orr_status compare_all(orr_engine *engine, const char *path, const orr_bundle *bundle,
                              int count, const char *const *names, orr_tensor *const *tensors) {
  int in_file = orr_bundle_count(bundle);
  for (int i = 0; i < in_file; i++) {
    bool found = false;
    for (int j = 0; j < count && !found; j++) found = !strcmp(names[j], orr_bundle_name(bundle, i));
    if (!found) {
      const char *near = nearest_name(orr_bundle_name(bundle, i), names, count);
      return engine_fail(engine, ORR_FIELD, "%s: holds %s, which is not known here%s%s%s", path,
                         orr_bundle_name(bundle, i), near ? " (nearest: " : "", near ? near : "",
                         near ? ")" : "");
    }
  }
  for (int j = 0; j < count; j++) {
    int at = 0;
    while (at < in_file && strcmp(names[j], orr_bundle_name(bundle, at))) at++;
    if (at == in_file) return engine_fail(engine, ORR_FIELD, "%s: has no %s", path, names[j]);
    orr_status status = compare(engine, path, names[j], tensors[j], orr_bundle_tensor(bundle, at));
    if (status) return status;
  }
  return ORR_OK;
}

orr_status orr_checkpoint_load(orr_engine *engine, const char *path, int count,
                               const char *const *names, orr_tensor *const *tensors) {
  orr_bundle *bundle = orr_bundle_read(engine, path, false);
  if (!bundle) return orr_engine_status(engine);
  orr_status status = compare_all(engine, path, bundle, count, names, tensors);
  for (int j = 0; j < count && !status; j++)
    status = orr_tensor_assign(tensors[j], orr_bundle_find(bundle, names[j]));
  orr_bundle_free(bundle);
  return status;
}

typedef struct named {
  const char **names;
  orr_tensor **tensors;
} named;

static bool net_named(const orr_net *net, named *list) {
  orr_engine *engine = orr_net_engine(net);
  int count = orr_net_parameters(net);
  list->names = engine_new(engine, (size_t)count + 1, sizeof *list->names);
  list->tensors = engine_new(engine, (size_t)count + 1, sizeof *list->tensors);
  if (!list->names || !list->tensors) return false;
  for (int i = 0; i < count; i++) {
    list->names[i] = orr_net_parameter_name(net, i);
    list->tensors[i] = orr_net_parameter(net, i);
  }
  return true;
}

orr_status orr_net_save(const orr_net *net, const char *path) {
  if (!net) return ORR_ARGUMENT;
  orr_engine *engine = orr_net_engine(net);
  named list = {NULL, NULL};
  orr_status status = ORR_MEMORY;
  if (net_named(net, &list))
    status = orr_checkpoint_save(engine, path, orr_net_parameters(net), list.names, list.tensors);
  engine_free_memory(engine, list.names);
  engine_free_memory(engine, list.tensors);
  return status;
}

orr_status orr_net_load(orr_net *net, const char *path) {
  if (!net) return ORR_ARGUMENT;
  orr_engine *engine = orr_net_engine(net);
  named list = {NULL, NULL};
  orr_status status = ORR_MEMORY;
  if (net_named(net, &list))
    status = orr_checkpoint_load(engine, path, orr_net_parameters(net), list.names, list.tensors);
  engine_free_memory(engine, list.names);
  engine_free_memory(engine, list.tensors);
  return status;
}
