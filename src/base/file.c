/* file.c - temporary, fsync, rename, fsync of the folder. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

struct file_writer {
  orr_engine *engine;
  int fd;
  char *path, *temporary;
  uint64_t position;
  orr_status status;
};

static orr_status fail_io(file_writer *writer, const char *doing, int error) {
  char text[128];
  const char *reason =
      strerror_r(error, text, sizeof text); /* the GNU form, as _GNU_SOURCE is set */
  if (!writer->status)
    writer->status =
        engine_fail(writer->engine, ORR_IO, "%s '%s': %s", doing, writer->path, reason);
  return writer->status;
}

static void release(file_writer *writer) {
  engine_free_memory(writer->engine, writer->temporary);
  engine_free_memory(writer->engine, writer->path);
  engine_free_memory(writer->engine, writer);
}

file_writer *file_create(orr_engine *engine, const char *path) {
  file_writer *writer = engine_new_zeroed(engine, 1, sizeof *writer);
  if (!writer) return NULL;
  size_t size = strlen(path) + 64;
  writer->engine = engine;
  writer->path = engine_copy_string(engine, path);
  writer->temporary = engine_new(engine, size, 1);
  writer->fd = -1;
  if (writer->path && writer->temporary) {
    for (int i = 0; i < 100 && writer->fd < 0;
         i++) { /* a name that a killed run left is passed over */
      snprintf(writer->temporary, size, "%s.%ld.%d.tmp", path, (long)getpid(), i);
      writer->fd = open(writer->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (writer->fd < 0 && errno != EEXIST) break;
    }
    if (writer->fd >= 0) return writer;
    fail_io(writer, "cannot write", errno);
  }
  release(writer);
  return NULL;
}

orr_status file_write(file_writer *writer, const void *bytes, size_t size) {
  const char *rest = bytes;
  while (size && !writer->status) {
    ssize_t wrote = write(writer->fd, rest, size);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return fail_io(writer, "cannot write", errno);
    rest += wrote;
    size -= (size_t)wrote;
    writer->position += (uint64_t)wrote;
  }
  return writer->status;
}

orr_status file_rewrite(file_writer *writer, uint64_t offset, const void *bytes, size_t size) {
  const char *rest = bytes;
  while (size && !writer->status) {
    ssize_t wrote = pwrite(writer->fd, rest, size, (off_t)offset);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return fail_io(writer, "cannot write", errno);
    rest += wrote;
    offset += (uint64_t)wrote;
    size -= (size_t)wrote;
  }
  return writer->status;
}

uint64_t file_position(const file_writer *writer) { return writer->position; }

/* So that the rename survives a power loss; folders that cannot be synced are no failure. */
static void sync_folder(const char *temporary) {
  char folder[4096];
  const char *slash = strrchr(temporary, '/');
  size_t n = slash ? (size_t)(slash - temporary) + 1 : 0;
  if (n >= sizeof folder) return;
  memcpy(folder, temporary, n);
  folder[n] = 0;
  int fd = open(n ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  fsync(fd);
  close(fd);
}

orr_status file_commit(file_writer *writer) {
  if (!writer->status && fsync(writer->fd)) fail_io(writer, "cannot flush", errno);
  if (close(writer->fd)) fail_io(writer, "cannot close", errno);
  if (!writer->status && rename(writer->temporary, writer->path))
    fail_io(writer, "cannot replace", errno);
  orr_status status = writer->status;
  if (status) unlink(writer->temporary);
  else sync_folder(writer->temporary);
  release(writer);
  return status;
}

void file_abandon(file_writer *writer) {
  if (!writer) return;
  close(writer->fd);
  unlink(writer->temporary);
  release(writer);
}

static char *read_open(orr_engine *engine, const char *path, int fd, size_t limit, size_t *size) {
  struct stat info;
  char reason[128];
  if (fstat(fd, &info) || !S_ISREG(info.st_mode)) {
    engine_fail(engine, ORR_IO, "cannot read '%s': not a file", path);
    return NULL;
  }
  if (info.st_size < 0 || (uint64_t)info.st_size > limit) {
    engine_fail(engine, ORR_FORMAT, "'%s' has %lld bytes; at most %zu are read", path,
                (long long)info.st_size, limit);
    return NULL;
  }
  size_t want = (size_t)info.st_size, have = 0;
  char *bytes = engine_new(engine, want + 1, 1);
  while (bytes && have < want) {
    ssize_t got = read(fd, bytes + have, want - have);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      engine_fail(engine, ORR_IO, "cannot read '%s' at byte %zu: %s", path, have,
                  got ? strerror_r(errno, reason, sizeof reason) : "it became shorter");
      engine_free_memory(engine, bytes);
      return NULL;
    }
    have += (size_t)got;
  }
  if (!bytes) return NULL;
  bytes[want] = 0;
  *size = want;
  return bytes;
}

void *file_read(orr_engine *engine, const char *path, size_t limit, size_t *size) {
  char reason[128];
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    engine_fail(engine, ORR_IO, "cannot read '%s': %s", path,
                strerror_r(errno, reason, sizeof reason));
    return NULL;
  }
  char *bytes = read_open(engine, path, fd, limit, size);
  close(fd);
  return bytes;
}
