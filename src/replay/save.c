/* save.c - writes a replay's file, one episode at a time. */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/file.h"
#include "replay/file.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "replay files are written as memory stands, which must be little-endian"
#endif

_Static_assert(sizeof(record) == 24 && sizeof(episode_head) == 24, "no padding in a file");

uint32_t record_header_crc(const record *header) {
  return (uint32_t)crc32_z(0, (const Bytef *)header, offsetof(record, header_crc));
}

static void write_record(file_writer *file, uint32_t kind, const void *payload, size_t size) {
  record header = {{'O', 'R', 'R', 'r'}, kind, size, (uint32_t)crc32_z(0, payload, size), 0};
  header.header_crc = record_header_crc(&header);
  file_write(file, &header, sizeof header);
  file_write(file, payload, size);
}

static size_t payload_bytes(const orr_replay *replay, int64_t length) {
  size_t bytes = sizeof(episode_head);
  for (int i = 0; i < replay->columns_count; i++) {
    const column *c = &replay->columns[i];
    bytes += column_bytes(c) * (size_t)(length + !role_is_step(c->role));
  }
  return bytes;
}

static void pack_episode(const orr_replay *replay, const entry *e, uint8_t *out) {
  episode_head head = {e->number, e->length, (uint32_t)(e->terminated | e->truncated << 1), 0};
  memcpy(out, &head, sizeof head);
  out += sizeof head;
  for (int i = 0; i < replay->columns_count; i++) {
    const column *c = &replay->columns[i];
    size_t bytes = column_bytes(c);
    int64_t rows = e->length + !role_is_step(c->role);
    for (int64_t t = 0; t < rows; t++, out += bytes)
      memcpy(out, replay_row(replay, e->row + (uint64_t)t) + c->offset, bytes);
  }
}

static orr_status write_episodes(orr_replay *replay, file_writer *file) {
  uint8_t *payload = NULL;
  size_t room = 0;
  orr_status status = ORR_OK;
  for (int64_t i = 0; i < replay->episodes && !status; i++) {
    const entry *e = replay_entry(replay, i);
    size_t bytes = payload_bytes(replay, e->length);
    if (bytes > room) {
      engine_free_memory(replay->engine, payload);
      payload = engine_new(replay->engine, bytes, 1);
      room = payload ? bytes : 0;
      if (!payload) return ORR_MEMORY;
    }
    pack_episode(replay, e, payload);
    write_record(file, RECORD_EPISODE, payload, bytes);
    if (orr_interrupted(replay->engine))
      status = engine_fail(replay->engine, ORR_INTERRUPTED, "saving the replay was interrupted");
  }
  engine_free_memory(replay->engine, payload);
  return status;
}

static orr_status write_priorities(orr_replay *replay, file_writer *file) {
  if (!replay->tree) return ORR_OK;
  size_t count = PRIORITIES_HEAD + (size_t)replay->transitions;
  double *payload = engine_new(replay->engine, count, sizeof *payload);
  if (!payload) return ORR_MEMORY;
  payload[0] = replay->alpha;
  payload[1] = replay->greatest;
  payload[2] = (double)replay->leaves;
  priority_read(replay, payload + PRIORITIES_HEAD);
  write_record(file, RECORD_PRIORITIES, payload, count * sizeof *payload);
  engine_free_memory(replay->engine, payload);
  return ORR_OK;
}

orr_status orr_replay_save(orr_replay *replay, const char *path) {
  char *description = replay_describe(replay);
  if (!description) return replay->engine->status;
  file_writer *file = file_create(replay->engine, path);
  if (!file) {
    free(description);
    return replay->engine->status;
  }
  file_write(file, REPLAY_LINE, LINE_BYTES);
  write_record(file, RECORD_DESCRIPTION, description, strlen(description));
  free(description);
  orr_status status = write_episodes(replay, file);
  if (!status) status = write_priorities(replay, file);
  if (status) {
    file_abandon(file);
    return status;
  }
  int64_t end[2] = {replay->episodes, replay->transitions};
  write_record(file, RECORD_END, end, sizeof end);
  return file_commit(file);
}
