/* layout.h - room for a program's values, and the order of instructions on single ones. */
#ifndef LAYOUT_H
#define LAYOUT_H

#include "program/compile.h"

bool layout_program(orr_program *program);
/* Sorts an even stage into phases and groups; makes what it can happen in place. */
bool order_singles(orr_program *program, int stage);

#endif
