/* layout.h - room for a program's values. */
#ifndef LAYOUT_H
#define LAYOUT_H

#include "program/compile.h"

bool layout_program(orr_program *program);

#endif
