/* bundle.h - named tensors and texts, between bundle.c and its file form, safetensors.c. */
#ifndef TENSOR_BUNDLE_H
#define TENSOR_BUNDLE_H

#include "tensor/tensor.h"

typedef struct bundle_item {
  char *name;
  orr_tensor *tensor;
} bundle_item;

struct orr_bundle {
  orr_engine *engine;
  bundle_item *items;
  int count;
  char **keys, **values;
  int texts;
};

/* orr_bundle_add and _add_text where the caller knows that the name is new. */
orr_status bundle_append(orr_bundle *bundle, const char *name, orr_tensor *x);
orr_status bundle_append_text(orr_bundle *bundle, const char *key, const char *text);

#endif
