/* source.c - reading with every size checked; see source.h. */
#include "base/source.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static orr_status fail_io(source *from, const char *what) {
  char text[128];
  const char *reason = strerror_r(errno, text, sizeof text); /* the GNU form */
  return engine_fail(from->engine, ORR_IO, "%s: cannot %s: %s", from->label, what, reason);
}

orr_status source_open(source *from, orr_engine *engine, const char *path) {
  struct stat info;
  *from = (source){engine, path, NULL, -1, 0};
  int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) return fail_io(from, "open");
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
    if (n < 0) return fail_io(from, "read");
    if (n == 0) return fail_truncated(from, offset + done, size - done);
    done += (size_t)n;
  }
  return ORR_OK;
}

void source_close(source *from) {
  if (from->file >= 0) close(from->file);
  from->file = -1;
}
