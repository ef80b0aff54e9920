/* layout.h - room for a program's values, and the order of instructions on single ones. */
#ifndef LAYOUT_H
#define LAYOUT_H

#include "program/compile.h"

bool layout_program(orr_program *program);
/* Room for a value that lives within a group only: marks it PLACE_CHUNK, in the lowest room that is
   free at instruction i; `busy_until` holds, per room, the last position at which it is needed. */
void place_in_chunk(orr_program *program, const instruction *i, int *busy_until, int *rooms);
/* Sorts an even stage into phases and groups; makes what it can happen in place. */
bool order_singles(orr_program *program, int stage, int *busy_until);

#endif
