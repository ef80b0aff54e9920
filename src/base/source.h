/* source.h - bytes to parse, from a file or from memory: every read is checked against the size. */
#ifndef BASE_SOURCE_H
#define BASE_SOURCE_H

#include "base/base.h"

/* Bytes to read from: a plain file, or memory that outlives the source. Nothing is allocated. */
typedef struct source {
  orr_engine *engine;
  const char *label;  /* the path, for messages */
  const char *memory; /* NULL: the file */
  int file;           /* -1: memory */
  size_t size;
} source;
orr_status source_open(source *from, orr_engine *engine, const char *path);
void source_open_memory(source *from, orr_engine *engine, const void *bytes, size_t size,
                        const char *label);
/* All of offset .. offset + size - 1; the message of a truncated file says what was wanted. */
orr_status source_read(source *from, size_t offset, void *bytes, size_t size);
void source_close(source *from);

#endif
