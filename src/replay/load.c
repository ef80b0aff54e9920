/* load.c - reads a replay's file as hostile input: nothing is believed before its CRC and its size
   are checked, and memory is taken only for what the file is long enough to hold. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "orrery/priority.h"
#include "replay/file.h"

typedef struct loader {
  orr_engine *engine;
  const char *path;
  FILE *file;
  uint64_t size, at; /* of the file, and where the next record is */
  bool salvage, ended;
  orr_replay *replay;
  orr_episode *episode; /* where an episode is put together */
  int real_bytes;
  orr_replay_counts counts;
  orr_replay_report report;
} loader;

orr_replay_load_options orr_replay_load_options_defaults(void) {
  return (orr_replay_load_options){.size = sizeof(orr_replay_load_options)};
}

static orr_status fail_read(loader *l) {
  return engine_fail(l->engine, ORR_IO, "replay '%s': cannot read at byte %llu: %s", l->path,
                     (unsigned long long)l->at,
                     ferror(l->file) ? strerror(errno) : "the file became shorter");
}

static orr_status read_at(loader *l, uint64_t at, void *bytes, size_t size) {
  if (fseeko(l->file, (off_t)at, SEEK_SET) || fread(bytes, 1, size, l->file) != size)
    return fail_read(l);
  return ORR_OK;
}

static bool header_good(const record *header) {
  return !memcmp(header->magic, "ORRr", 4) && header->header_crc == record_header_crc(header);
}

/* The next place from `from` with a good header, or the size of the file. */
static orr_status find_header(loader *l, uint64_t from, uint64_t *found) {
  enum { WINDOW = 65536 };
  uint8_t *window = engine_new(l->engine, WINDOW, 1);
  orr_status status = window ? ORR_OK : ORR_MEMORY;
  *found = l->size;
  while (!status && from + sizeof(record) <= l->size && *found == l->size) {
    size_t have = l->size - from < WINDOW ? (size_t)(l->size - from) : WINDOW;
    status = read_at(l, from, window, have);
    for (size_t i = 0; !status && i + sizeof(record) <= have; i++) {
      record header;
      if (window[i] != 'O') continue;
      memcpy(&header, window + i, sizeof header);
      if (!header_good(&header)) continue;
      *found = from + i;
      break;
    }
    from += have - sizeof(record) + 1;
  }
  engine_free_memory(l->engine, window);
  return status;
}

static void lose(loader *l, uint64_t next) {
  l->report.lost_bytes += (int64_t)(next - l->at);
  l->at = next;
}

/* Something is wrong with the bytes up to `next`. Last in the file: a torn tail. Otherwise an
   error, or, when salvaging, a loss. */
static orr_status damaged(loader *l, const char *what, uint64_t next) {
  if (next >= l->size && !l->ended) {
    l->report.torn = true;
    lose(l, l->size);
    return ORR_OK;
  }
  if (!l->salvage)
    return engine_fail(l->engine, ORR_FORMAT,
                       "replay '%s': %s at byte %llu of %llu; load it with salvage to take "
                       "what is undamaged",
                       l->path, l->ended ? "something follows the end" : what,
                       (unsigned long long)l->at, (unsigned long long)l->size);
  l->report.damaged++;
  lose(l, next);
  return ORR_OK;
}

/* ---- episodes */

static void widen(orr_real *to, const uint8_t *from, int real_bytes, int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    double wide = 0;
    float narrow = 0;
    if (real_bytes == 8) memcpy(&wide, from + 8 * i, 8);
    else memcpy(&narrow, from + 4 * i, 4);
    to[i] = real_bytes == 8 ? (orr_real)wide : (orr_real)narrow;
  }
}

static size_t stored_bytes(const loader *l, const column *c) {
  return (size_t)c->count * (c->dtype == ORR_REAL ? (size_t)l->real_bytes : element_size(c->dtype));
}

/* Whether a payload of this size holds an episode of this length. */
static bool size_fits(const loader *l, int64_t length, uint64_t size) {
  const orr_replay *replay = l->replay;
  if (length < 1 || (uint64_t)length > size) return false;
  size_t bytes = sizeof(episode_head);
  for (int i = 0; i < replay->columns_count; i++) {
    const column *c = &replay->columns[i];
    size_t part;
    if (!multiply_sizes(stored_bytes(l, c), (size_t)(length + !role_is_step(c->role)), &part))
      return false;
    if (part > size || (bytes += part) > size) return false;
  }
  return bytes == size;
}

static bool all_finite(const orr_real *values, int64_t count) {
  for (int64_t i = 0; i < count; i++)
    if (!isfinite(values[i])) return false;
  return true;
}

/* false: a number is not finite. */
static bool unpack(loader *l, const uint8_t *from, int64_t length) {
  const orr_replay *replay = l->replay;
  for (int i = 0; i < replay->columns_count; i++) {
    const column *c = &replay->columns[i];
    size_t bytes = stored_bytes(l, c);
    for (int64_t t = 0; t < length + !role_is_step(c->role); t++, from += bytes) {
      uint8_t *place = l->episode->rows + (size_t)t * replay->row_bytes + c->offset;
      if (c->dtype != ORR_REAL) memcpy(place, from, bytes);
      else widen((orr_real *)place, from, l->real_bytes, c->count);
      if (c->dtype == ORR_REAL && !all_finite((orr_real *)place, c->count)) return false;
    }
  }
  return true;
}

/* *good is false when the bytes, though undamaged, are no episode of this replay. */
static orr_status take_episode(loader *l, const uint8_t *payload, uint64_t size, bool *good) {
  orr_replay *replay = l->replay;
  episode_head head;
  *good = false;
  if (size < sizeof head) return ORR_OK;
  memcpy(&head, payload, sizeof head);
  bool ends = head.flags >= 1 && head.flags <= 3;
  if (!ends || head.number < replay->counts.episodes || head.number >= l->counts.episodes ||
      !size_fits(l, head.length, size))
    return ORR_OK;
  if (episode_reserve(l->episode, head.length + 1)) return ORR_MEMORY;
  memset(l->episode->rows, 0, (size_t)(head.length + 1) * replay->row_bytes);
  if (!unpack(l, payload + sizeof head, head.length)) return ORR_OK;
  *good = true;
  replay->counts.episodes = head.number;
  orr_status status =
      replay_take(replay, l->episode->rows, head.length, head.flags & 1, head.flags >> 1 & 1);
  if (status) return engine_fail_in(l->engine, "'%s'", l->path);
  l->report.episodes++;
  l->report.transitions += head.length;
  return ORR_OK;
}

/* Of all transitions that were saved; where some were lost, priorities begin anew. */
static orr_status take_priorities(loader *l, const uint8_t *payload, uint64_t size, bool *good) {
  double head[PRIORITIES_HEAD];
  int64_t read = l->report.transitions, kept = l->replay->transitions;
  bool whole = size == ((uint64_t)read + PRIORITIES_HEAD) * sizeof(double);
  *good = whole || (l->report.damaged > 0 && size >= sizeof head);
  if (!*good) return ORR_OK;
  memcpy(head, payload, sizeof head);
  *good = head[0] >= 0 && head[0] <= PRIORITY_STEEPEST;
  if (!*good) return ORR_OK;
  orr_status status = orr_replay_prioritise(l->replay, head[0]);
  if (!status && head[2] <= 64 * (double)(kept + 64)) /* as many leaves: draws are the same again */
    status = priority_reserve(l->replay, head[2] > 0 ? (int64_t)head[2] : 0);
  if (!status && whole)
    *good = priority_write(l->replay, head[1],
                           payload + sizeof head + (size_t)(read - kept) * sizeof(double));
  return status;
}

static orr_status take_end(loader *l, const uint8_t *payload, uint64_t size, bool *good) {
  int64_t end[2];
  *good = size == sizeof end;
  if (!*good) return ORR_OK;
  memcpy(end, payload, sizeof end);
  bool whole = end[0] == l->report.episodes && end[1] == l->report.transitions;
  *good = whole || l->report.damaged > 0;
  l->ended = true;
  return ORR_OK;
}

/* ---- records */

static orr_status take_record(loader *l, const record *header) {
  uint64_t next = l->at + sizeof *header + header->size;
  uint8_t *payload = engine_new(l->engine, (size_t)header->size + 1, 1);
  if (!payload) return ORR_MEMORY;
  bool good = false;
  const char *wrong = "the checksum of a record is wrong";
  orr_status status = read_at(l, l->at + sizeof *header, payload, (size_t)header->size);
  if (!status && crc32_z(0, payload, (size_t)header->size) == header->payload_crc) {
    wrong = "a record is not what its kind ought to be";
    if (header->kind == RECORD_EPISODE && !l->ended)
      status = take_episode(l, payload, header->size, &good);
    else if (header->kind == RECORD_PRIORITIES && !l->ended)
      status = take_priorities(l, payload, header->size, &good);
    else if (header->kind == RECORD_END && !l->ended)
      status = take_end(l, payload, header->size, &good);
  }
  engine_free_memory(l->engine, payload);
  if (status) return status;
  if (!good) return damaged(l, wrong, next);
  l->at = next;
  return ORR_OK;
}

static orr_status next_record(loader *l) {
  record header;
  uint64_t next = l->size;
  if (l->size - l->at < sizeof header) return damaged(l, "a record is cut off", l->size);
  if (read_at(l, l->at, &header, sizeof header)) return ORR_IO;
  if (!header_good(&header)) {
    if (find_header(l, l->at + 1, &next)) return l->engine->status;
    return damaged(l, "the head of a record is damaged", next);
  }
  if (header.size > l->size - l->at - sizeof header)
    return damaged(l, "a record is cut off", l->size);
  return take_record(l, &header);
}

static orr_status read_description(loader *l, int64_t capacity) {
  char line[LINE_BYTES];
  record header;
  if (l->size < LINE_BYTES + sizeof header || read_at(l, 0, line, sizeof line) ||
      memcmp(line, REPLAY_LINE, LINE_BYTES))
    return engine_fail(l->engine, ORR_FORMAT,
                       "'%s' is no replay file of this version: it does not begin with "
                       "\"orrery replay 1\"",
                       l->path);
  if (read_at(l, LINE_BYTES, &header, sizeof header)) return ORR_IO;
  l->at = LINE_BYTES + sizeof header;
  if (!header_good(&header) || header.kind != RECORD_DESCRIPTION || header.size > l->size - l->at)
    return engine_fail(l->engine, ORR_FORMAT,
                       "replay '%s': the description of its fields, which nothing can be "
                       "read without, is damaged or cut off",
                       l->path);
  char *text = engine_new(l->engine, (size_t)header.size + 1, 1);
  if (!text) return ORR_MEMORY;
  orr_status status = read_at(l, l->at, text, (size_t)header.size);
  if (!status && crc32_z(0, (Bytef *)text, (size_t)header.size) != header.payload_crc)
    status = engine_fail(l->engine, ORR_FORMAT,
                         "replay '%s': the checksum of the description is wrong", l->path);
  if (!status) {
    l->replay = replay_from_description(l->engine, text, (size_t)header.size, capacity, l->path,
                                        &l->real_bytes, &l->counts);
    if (!l->replay) status = l->engine->status;
  }
  engine_free_memory(l->engine, text);
  l->at += header.size;
  return status;
}

static void finish_report(loader *l) {
  orr_replay_report *r = &l->report;
  r->torn |= !l->ended;
  if (!r->torn && !r->damaged) return;
  char damage[64] = "";
  if (r->damaged)
    snprintf(damage, sizeof damage, "%lld damaged place%s", (long long)r->damaged,
             r->damaged == 1 ? "" : "s");
  snprintf(r->message, sizeof r->message,
           "replay '%.100s': %s%s%s; %lld bytes lost, %lld whole episodes read", l->path, damage,
           r->damaged && r->torn ? ", and " : "", r->torn ? "the end is missing" : "",
           (long long)r->lost_bytes, (long long)r->episodes);
  engine_log(l->engine, ORR_LOG_WARNING, "%s", r->message);
}

static orr_status open_file(loader *l) {
  int fd = open(l->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not make us wait */
  struct stat info;
  if (fd < 0) return engine_fail(l->engine, ORR_IO, "replay '%s': %s", l->path, strerror(errno));
  bool regular = !fstat(fd, &info) && S_ISREG(info.st_mode);
  l->file = regular ? fdopen(fd, "rb") : NULL;
  if (l->file) {
    l->size = (uint64_t)info.st_size;
    return ORR_OK;
  }
  close(fd);
  return engine_fail(l->engine, ORR_IO, "replay '%s': not a file", l->path);
}

static orr_status load_all(loader *l, int64_t capacity) {
  orr_status status = read_description(l, capacity);
  if (status) return status;
  l->episode = orr_episode_new(l->replay);
  if (!l->episode) return ORR_MEMORY;
  while (l->at < l->size) {
    if (orr_interrupted(l->engine))
      return engine_fail(l->engine, ORR_INTERRUPTED, "loading the replay was interrupted");
    status = next_record(l);
    if (status) return status;
  }
  l->replay->counts = l->counts;
  finish_report(l);
  return ORR_OK;
}

orr_replay *orr_replay_load(orr_engine *engine, const char *path,
                            const orr_replay_load_options *given, orr_replay_report *report) {
  orr_replay_load_options options = orr_replay_load_options_defaults();
  loader l = {.engine = engine, .path = path};
  if (report) *report = l.report;
  if (READ_OPTIONS(engine, orr_replay_load_options, &options, given)) return NULL;
  if (options.capacity < 0) {
    engine_fail(engine, ORR_ARGUMENT, "replay: capacity must be 0 (as saved) to %d",
                ORR_REPLAY_CAPACITY);
    return NULL;
  }
  l.salvage = options.salvage;
  if (open_file(&l)) return NULL;
  orr_status status = load_all(&l, options.capacity);
  fclose(l.file);
  orr_episode_free(l.episode);
  if (report) *report = l.report;
  if (!status) return l.replay;
  orr_replay_free(l.replay);
  return NULL;
}
