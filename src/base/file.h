/* file.h - files that appear whole or not at all: written under a temporary name in the same
   folder, flushed to the disk, then renamed. Messages name the path. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include "base/base.h"

typedef struct file_writer file_writer;

file_writer *file_create(orr_engine *engine, const char *path);
/* After a failure further writes do nothing and file_commit reports the first one. */
orr_status file_write(file_writer *writer, const void *bytes, size_t size);
/* Overwrites bytes that were written before: for headers that count what follows. */
orr_status file_rewrite(file_writer *writer, uint64_t offset, const void *bytes, size_t size);
uint64_t file_position(const file_writer *writer);
/* Puts the file in place and frees the writer, whatever comes out; on failure an older file of that
   name is untouched and nothing is left behind. */
orr_status file_commit(file_writer *writer);
void file_abandon(file_writer *writer); /* accepts NULL */

/* The whole file, to be freed with engine_free_memory, one 0 byte behind it; NULL with a message,
   also when it is larger than `limit` bytes. */
void *file_read(orr_engine *engine, const char *path, size_t limit, size_t *size);

#endif
