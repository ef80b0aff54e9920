/* compiler.h - what compile.c and compile_scan.c share while a program is being made. Functions
   that answer a value's number answer -1 on failure, makers NULL, others false. */
#ifndef COMPILER_H
#define COMPILER_H

#include "program/compile.h"

/* Where the nodes of one graph find their values: the outermost graph, or one body of a scan. */
typedef struct scope {
  orr_graph *graph;
  struct scope *outer;
  int *number;         /* value of each node, or -1 */
  scan_code **scan_of; /* for scan nodes */
  bool *needed;
  int *uses;
  code *code;
} scope;

typedef struct compiler {
  orr_program *program;
  orr_graph *graph;
  arena memory; /* scratch, freed after compiling */
  scope top;
  int *stage, *ready;
  int *loaded; /* value of each row input in this stage, or -1 */
  int current; /* stage being written */
  bool defers; /* its sums over rows wait for the end of a batch */
  int position;
} compiler;

bool compiler_by_rows(const compiler *c);
int *compiler_numbers(compiler *c, int count, int fill);
int compiler_new_result(compiler *c, orr_level level, int64_t stored);
instruction *compiler_emit(compiler *c, code *where, instruction_kind kind);
void compiler_touch(compiler *c, int v);
void compiler_mark_needed(scope *s);
int compiler_value(compiler *c, scope *s, orr_node at);
bool compiler_find_operands(compiler *c, scope *s, int count, const orr_node *in);
bool compiler_add_operands(compiler *c, scope *s, instruction *i, int count, const orr_node *in);
bool compiler_write_reduction(compiler *c, scope *s, orr_node at);
/* A node like n, but another op of other operands; made for the program alone. */
node *compiler_node_like(compiler *c, const node *n, orr_op op, int inputs, const orr_node *in);
/* An instruction that copies the value of node `at`; its y is still to be made. */
instruction *compiler_emit_copy(compiler *c, scope *s, code *where, orr_node at);
bool compiler_write_op(compiler *c, scope *s, orr_node at, const node *n, orr_graph *graph);
/* x W + b as one op, when n is its sum; else NULL. The product then waits for its bias. */
const node *compiler_fuse_bias(compiler *c, scope *s, const node *n);
bool compiler_waits_for_bias(const compiler *c, const scope *s, orr_node at);
/* Lets the product just written for `at` do the unary op that follows it. */
bool compiler_fuse_activation(compiler *c, scope *s, orr_node at);
/* silu x as x times the sigmoid of x, where that is there already; else NULL. */
const node *compiler_silu_by_sigmoid(compiler *c, const scope *s, const node *n);
bool compiler_write_node(compiler *c, scope *s, orr_node at);
bool compiler_write_scan(compiler *c, scope *s, orr_node at);
bool compiler_open_scope(compiler *c, scope *inner, scope *outer, orr_graph *graph);

#endif
