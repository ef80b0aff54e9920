/* files.c - whole files: written by temporary file, fsync, rename and fsync of the folder; read with
   every size checked. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"

enum { BUFFER = 1 << 16, TRIES = 100 };

struct file_writer {
  orr_engine *engine;
  const char *path; /* for messages */
  int file;
  size_t used;
  char buffer[BUFFER];
};

static orr_status fail_io(orr_engine *engine, const char *path, const char *what) {
  return engine_fail(engine, ORR_IO, "%s: cannot %s: %s", path, what, strerror(errno));
}

static orr_status flush(file_writer *writer) {
  size_t done = 0;
  while (done < writer->used) {
    ssize_t n = write(writer->file, writer->buffer + done, writer->used - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_io(writer->engine, writer->path, "write");
    done += (size_t)n;
  }
  writer->used = 0;
  return ORR_OK;
}

orr_status file_put(file_writer *writer, const void *bytes, size_t size) {
  const char *from = bytes;
  while (size > 0) {
    size_t room = BUFFER - writer->used, n = size < room ? size : room;
    memcpy(writer->buffer + writer->used, from, n);
    writer->used += n;
    from += n;
    size -= n;
    if (writer->used == BUFFER && flush(writer)) return writer->engine->status;
  }
  return ORR_OK;
}

/* Opens a new file beside path; its name is put into temporary. */
static int open_beside(const char *path, char *temporary, size_t size) {
  for (int i = 0; i < TRIES; i++) {
    snprintf(temporary, size, "%s.%ld-%d.tmp", path, (long)getpid(), i);
    int file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file >= 0 || errno != EEXIST) return file;
  }
  return -1;
}

/* Makes the rename last. A file system that cannot sync a folder does not undo the write. */
static void sync_folder(char *path) {
  char *slash = strrchr(path, '/');
  if (slash) slash[slash == path] = 0;
  int folder = open(slash ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return;
  fsync(folder);
  close(folder);
}

static orr_status fill_and_rename(file_writer *writer, const char *temporary,
                                  orr_status (*fill)(void *, file_writer *), void *context) {
  orr_status status = fill(context, writer);
  if (!status) status = flush(writer);
  if (!status && fsync(writer->file)) status = fail_io(writer->engine, writer->path, "sync");
  if (close(writer->file) && !status) status = fail_io(writer->engine, writer->path, "close");
  if (!status && rename(temporary, writer->path))
    status = fail_io(writer->engine, writer->path, "take its place");
  return status;
}

orr_status file_write_whole(orr_engine *engine, const char *path,
                            orr_status (*fill)(void *context, file_writer *file), void *context) {
  size_t size = strlen(path) + 64;
  char *temporary = engine_new(engine, size, 1);
  file_writer *writer = temporary ? engine_new(engine, 1, sizeof *writer) : NULL;
  orr_status status = engine->status;
  if (writer) {
    writer->engine = engine;
    writer->path = path;
    writer->used = 0;
    writer->file = open_beside(path, temporary, size);
    if (writer->file < 0) {
      status = fail_io(engine, path, "write");
    } else {
      status = fill_and_rename(writer, temporary, fill, context);
      if (status)
        unlink(temporary);
      else
        sync_folder(temporary);
    }
  }
  engine_free_memory(engine, writer);
  engine_free_memory(engine, temporary);
  return status;
}

orr_status source_open(source *from, orr_engine *engine, const char *path) {
  struct stat info;
  *from = (source){engine, path, NULL, -1, 0};
  int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) return fail_io(engine, path, "open");
  if (fstat(file, &info) || !S_ISREG(info.st_mode)) {
    close(file);
    return engine_fail(engine, ORR_IO, "%s: not a plain file", path);
  }
  from->file = file;
  from->size = (size_t)info.st_size;
  return ORR_OK;
}

void source_open_memory(source *from, orr_engine *engine, const void *bytes, size_t size,
                        const char *label) {
  *from = (source){engine, label, bytes ? bytes : "", -1, size};
}

static orr_status fail_truncated(source *from, size_t offset, size_t wanted) {
  return engine_fail(from->engine, ORR_FORMAT,
                     "%s: truncated: wanted %zu bytes at offset %zu, the file has %zu bytes",
                     from->label, wanted, offset, from->size);
}

orr_status source_read(source *from, size_t offset, void *bytes, size_t size) {
  if (offset > from->size || size > from->size - offset) return fail_truncated(from, offset, size);
  if (from->memory) {
    if (size) memcpy(bytes, from->memory + offset, size);
    return ORR_OK;
  }
  size_t done = 0;
  while (done < size) {
    ssize_t n = pread(from->file, (char *)bytes + done, size - done, (off_t)(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_io(from->engine, from->label, "read");
    if (n == 0) return fail_truncated(from, offset + done, size - done);
    done += (size_t)n;
  }
  return ORR_OK;
}

void source_close(source *from) {
  if (from->file >= 0) close(from->file);
  from->file = -1;
}

char *file_read_whole(orr_engine *engine, const char *path, size_t limit, size_t *size) {
  source from;
  if (source_open(&from, engine, path)) return NULL;
  char *text = NULL;
  if (from.size > limit)
    engine_fail(engine, ORR_FORMAT, "%s: %zu bytes are more than the %zu that are allowed", path,
                from.size, limit);
  else
    text = engine_new(engine, from.size + 1, 1);
  if (text && source_read(&from, 0, text, from.size)) {
    engine_free_memory(engine, text);
    text = NULL;
  }
  source_close(&from);
  if (!text) return NULL;
  text[from.size] = 0;
  *size = from.size;
  return text;
}
