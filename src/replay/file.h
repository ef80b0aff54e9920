/* file.h - the file of a replay: a line that says what it is, then records.

     record: magic "ORRr", kind (u32), size of the payload (u64), CRC-32 of the payload, CRC-32 of
     these
             20 bytes; the payload
     1 description   JSON: the spaces and options (describe.c)
     2 episode       number, length (i64), flags (u32: 1 terminated, 2 truncated), 0 (u32); then
     each
                     column packed, in the order of the description: T + 1 values or T
     3 end           episodes, transitions (i64) in the file
     4 priorities    of a prioritised replay, before the end: alpha, the greatest, how many leaves
                     hold them, and one for each transition, to the power alpha (f64)

   The header's own CRC lets a reader trust the size, step over a damaged payload, and find the next
   record after a damaged header. All numbers are little-endian. */
#ifndef REPLAY_FILE_H
#define REPLAY_FILE_H

#include "replay/replay.h"

#define REPLAY_LINE "orrery replay 1\n"
enum {
  LINE_BYTES = 16,
  RECORD_DESCRIPTION = 1,
  RECORD_EPISODE = 2,
  RECORD_END = 3,
  RECORD_PRIORITIES = 4
};

typedef struct record {
  char magic[4];
  uint32_t kind;
  uint64_t size;
  uint32_t payload_crc, header_crc;
} record; /* 24 bytes, no padding */

typedef struct episode_head {
  int64_t number, length;
  uint32_t flags, zero;
} episode_head;

enum { PRIORITIES_HEAD = 3 }; /* doubles before those of the transitions */

uint32_t record_header_crc(const record *header);

/* The description as JSON, to be given to free(); NULL with a message. */
char *replay_describe(const orr_replay *replay);
/* An empty replay from a description; real_bytes: how wide reals are in the file. */
orr_replay *replay_from_description(orr_engine *engine, const char *text, size_t size,
                                    int64_t capacity, const char *path, int *real_bytes,
                                    orr_replay_counts *counts);

#endif
