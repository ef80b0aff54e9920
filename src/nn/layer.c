/* layer.c - the table of layers. */
#include "nn/nn.h"

#define LAYER(name, doc) extern const layer_type layer_##name;
#include "orrery/layers.def"
#undef LAYER

static const layer_type *const types[] = {
#define LAYER(name, doc) &layer_##name,
#include "orrery/layers.def"
#undef LAYER
};

static const char *const names[] = {
#define LAYER(name, doc) #name,
#include "orrery/layers.def"
#undef LAYER
};

static const char *const docs[] = {
#define LAYER(name, doc) doc,
#include "orrery/layers.def"
#undef LAYER
};

static bool known(orr_layer_kind kind) { return (int)kind >= 0 && kind < ORR_LAYER_COUNT; }

const layer_type *layer_type_of(orr_layer_kind kind) { return known(kind) ? types[kind] : NULL; }
const char *orr_layer_name(orr_layer_kind kind) { return known(kind) ? names[kind] : NULL; }
const char *orr_layer_doc(orr_layer_kind kind) { return known(kind) ? docs[kind] : NULL; }
