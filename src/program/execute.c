/* execute.c - one instruction after another, on a tile of rows, on single values, or on a chunk. */
#include "program/execute.h"

#include <string.h>

/* What the instructions of one tile (or of the single values) share. */
typedef struct frame {
  orr_run *run;
  worker *worker;
  orr_real **pointer;
  const kernels *kernels;
  int lanes, blocks, rows; /* blocks in use */
  int block;               /* the first of them, in the batch */
  int64_t row;
  uint32_t step;
  bool stops; /* loops, once the run is over: those over rows */
} frame;

static void run_code(frame *f, const code *c);

/* ---- tiles ---- */

orr_real *kept_pointer(const orr_run *run, int v, int which) {
  const orr_program *p = run->program;
  return run->kept +
         (which * p->kept_features + p->values[v].offset) * p->lanes * (int64_t)run->blocks;
}

orr_real *held_pointer(const orr_run *run, const worker *w, int v, int block) {
  const value *x = &run->program->values[v];
  const orr_program *p = run->program;
  return w->held + (x->offset * p->batch_blocks + x->stored * block) * p->lanes;
}

void enter_unit(orr_run *run, const stage *st, worker *w, const tile *t, int unit) {
  const orr_program *p = run->program;
  int64_t lanes = (int64_t)p->lanes * run->blocks;
  int entry = run->entries ? run->entries[t->group] : t->group;
  for (int i = 0; i < p->value_count; i++) {
    const value *v = &p->values[i];
    if (v->place == PLACE_TILE) w->pointer[i] = w->tile + v->offset * lanes;
    else if (v->place == PLACE_CHUNK) w->pointer[i] = w->chunk + v->offset * CHUNK;
    else if (v->place == PLACE_ROWS)
      w->pointer[i] = w->held + v->offset * p->lanes * p->batch_blocks;
    else if (v->place == PLACE_SUM && &p->stages[v->stage] == st)
      w->pointer[i] = run->sums + unit * st->sum_numbers + v->offset;
    else if (v->level == ORR_MEMBER && v->place == PLACE_TENSOR)
      w->pointer[i] = run->base[i] + entry * v->stored;
    else if (v->level == ORR_MEMBER) w->pointer[i] = run->base[i] + t->group * v->stored;
  }
  if (st->sum_count)
    memset(run->sums + unit * st->sum_numbers, 0, (size_t)st->sum_numbers * sizeof *run->sums);
}

void execute_tile(orr_run *run, const stage *st, worker *w, int which) {
  const orr_program *p = run->program;
  const tile *t = &run->tiles[which];
  for (int i = 0; i < p->value_count; i++) {
    const value *v = &p->values[i];
    if (v->place == PLACE_KEPT) w->pointer[i] = kept_pointer(run, i, which);
    else if (v->place == PLACE_HELD) w->pointer[i] = held_pointer(run, w, i, t->block);
  }
  frame f = {.run = run,
             .worker = w,
             .pointer = w->pointer,
             .kernels = engine_kernels(run->engine),
             .lanes = p->lanes,
             .blocks = (t->rows + p->lanes - 1) / p->lanes,
             .rows = t->rows,
             .block = t->block,
             .row = t->row,
             .stops = true};
  run_code(&f, &st->code);
}

/* Bytes and int32 become reals on the way in. */
static void load_converted(const frame *f, const bound *b, orr_real *y, int64_t row, int valid,
                           int64_t count) {
  const int32_t *index = b->index ? orr_tensor_data(b->index) : NULL,
                *ints = orr_tensor_data(b->tensor);
  const uint8_t *bytes = orr_tensor_data(b->tensor);
  bool byte = orr_tensor_dtype(b->tensor) == ORR_BYTE;
  for (int l = 0; l < f->lanes; l++) {
    int64_t r = row + (l < valid ? l : valid - 1), at = (index ? index[r] : r) * count;
    for (int64_t k = 0; k < count; k++)
      y[k * f->lanes + l] = byte ? (orr_real)bytes[at + k] : (orr_real)ints[at + k];
  }
}

/* Rows of the bound tensor into blocks; padding lanes repeat the last row. */
static void load(frame *f, const instruction *i) {
  const bound *b = &f->run->bound[i->binding];
  int64_t count = f->run->program->inputs[i->binding].count;
  const int32_t *index = b->index ? orr_tensor_data(b->index) : NULL;
  const orr_real *data = orr_tensor_data(b->tensor);
  orr_real *y = f->pointer[i->y];
  for (int block = 0; block < f->blocks; block++, y += count * f->lanes) {
    const orr_real *rows[BLOCK];
    int64_t row = f->row + block * f->lanes;
    int valid = f->rows - block * f->lanes < f->lanes ? f->rows - block * f->lanes : f->lanes;
    if (orr_tensor_dtype(b->tensor) != ORR_REAL) {
      load_converted(f, b, y, row, valid, count);
      continue;
    }
    for (int l = 0; l < valid; l++) rows[l] = data + (index ? index[row + l] : row + l) * count;
    if (f->lanes == 1) memcpy(y, rows[0], (size_t)count * sizeof *y);
    else f->kernels->load_block(y, rows, valid, (size_t)count);
  }
}

static void store(frame *f, const instruction *i) {
  const binding *b = &f->run->program->outputs[i->binding];
  orr_real *data = orr_tensor_data(f->run->outputs[i->binding]);
  const orr_real *x = f->pointer[i->y];
  for (int block = 0; block < f->blocks; block++, x += b->count * f->lanes) {
    orr_real *rows[BLOCK];
    int valid = f->rows - block * f->lanes < f->lanes ? f->rows - block * f->lanes : f->lanes;
    for (int l = 0; l < valid; l++) rows[l] = data + (f->row + block * f->lanes + l) * b->count;
    if (f->lanes == 1) memcpy(rows[0], x, (size_t)b->count * sizeof *x);
    else f->kernels->store_block(rows, x, valid, (size_t)b->count);
  }
}

/* Blocks as the rows of a batch, for sums that run faster over those. */
static void make_rows(const frame *f, const instruction *i) {
  int64_t width = i->width, stride = (int64_t)outer_stride((size_t)width);
  orr_real *y = f->pointer[i->y] + (int64_t)f->block * f->lanes * stride;
  const orr_real *x = f->pointer[i->x[0]];
  for (int64_t v = 0; v < i->vectors; v++) {
    if (f->lanes == 1) {
      memcpy(y, x, (size_t)width * sizeof *y);
      memset(y + width, 0, (size_t)(stride - width) * sizeof *y);
    } else {
      f->kernels->transpose_rows(y, (size_t)stride, x, (size_t)(i->vectors * width * f->lanes),
                                 (size_t)width, f->rows);
    }
    x += width * f->lanes;
    y += f->run->program->batch_blocks * f->lanes * stride;
  }
}

/* ---- ops ---- */

/* `many`: which operands step along; the others are numbers. */
static void run_elementwise(const op_call *call, orr_op op, const bool *many, int64_t numbers) {
  const kernels *k = call->kernels;
  if (op_is_unary(op)) k->unary[op](call->y, call->x[0], (size_t)numbers);
  else if (op == ORR_OP_select)
    k->select(call->y, call->x[0], call->x[1], call->x[2], (size_t)numbers);
  else if (many[0] && many[1])
    k->binary[binary_of(op)](call->y, call->x[0], call->x[1], (size_t)numbers);
  else if (many[0])
    k->binary_by_number[binary_of(op)](call->y, call->x[0], *call->x[1], (size_t)numbers);
  else k->number_by_binary[binary_of(op)](call->y, *call->x[0], call->x[1], (size_t)numbers);
}

/* Elementwise instructions one after another on a chunk that stays in the first-level cache. */
static void run_group(const frame *f, const instruction *first) {
  const value *values = f->run->program->values;
  int64_t numbers = values[first->y].stored * f->lanes * f->blocks;
  op_call call;
  call.kernels = f->kernels;
  for (int64_t at = 0; at < numbers; at += CHUNK) {
    int64_t n = numbers - at < CHUNK ? numbers - at : CHUNK;
    for (const instruction *i = first; i < first + first->grouped; i++) {
      call.y = f->pointer[i->y] + (values[i->y].place == PLACE_CHUNK ? 0 : at);
      for (int j = 0; j < i->inputs; j++) {
        bool steps = i->by_row[j] && values[i->x[j]].place != PLACE_CHUNK;
        call.x[j] = f->pointer[i->x[j]] + (steps ? at : 0);
      }
      run_elementwise(&call, i->node->op, i->by_row, n);
    }
  }
}

static void call_op(op_call *call, const instruction *i) {
  if (op_is_binary(i->node->op)) elementwise_run(call, &i->plan);
  else if (op_is_unary(i->node->op))
    call->kernels->unary[i->node->op](call->y, call->x[0], (size_t)(i->node->count * call->lanes));
  else i->class->forward(call);
}

/* All but the operands, of which there may be many: a program of small ops feels it. */
static void begin_call(op_call *call, const frame *f, const instruction *i) {
  call->node = i->node;
  call->graph = i->graph;
  call->activate = NULL;
  call->activated = NULL;
  call->by_row = i->by_row;
  call->lanes = f->lanes;
  call->kernels = f->kernels;
  call->rows = f->rows;
  call->valid = f->rows < f->lanes ? f->rows : f->lanes;
  call->scratch = f->worker->scratch;
  call->key = f->run->key;
  call->iteration = f->run->iteration;
  call->step = f->step;
  call->row = (uint32_t)f->row;
}

static void run_op(frame *f, const instruction *i) {
  const value *values = f->run->program->values;
  op_call call;
  begin_call(&call, f, i);
  call.y = f->pointer[i->y];
  for (int j = 0; j < i->inputs; j++) call.x[j] = f->pointer[i->x[j]];
  if (i->activated >= 0) {
    call.activate = f->kernels->unary[i->activation];
    call.activated = f->pointer[i->activated];
  }
  if (i->flat) {
    run_elementwise(&call, i->node->op, i->by_row, values[i->y].stored * f->lanes * f->blocks);
    return;
  }
  if (i->class->reduces) { /* takes all blocks at once */
    i->class->forward(&call);
    return;
  }
  for (int block = 0; block < f->blocks; block++) {
    call_op(&call, i);
    call.y += values[i->y].stored * f->lanes;
    if (call.activate) call.activated += values[i->y].stored * f->lanes;
    for (int j = 0; j < i->inputs; j++)
      if (i->by_row[j]) call.x[j] += values[i->x[j]].stored * f->lanes;
    call.row += (uint32_t)f->lanes;
    int left = f->rows - (block + 1) * f->lanes;
    call.valid = left < f->lanes ? left : f->lanes;
  }
}

/* ---- scan ---- */

/* Copies each block's `count` numbers per lane between a plain value and step t of a stacked one. */
static void move_step(const frame *f, orr_real *stacked, orr_real *plain, int64_t count,
                      int64_t length, int64_t t, bool take) {
  int64_t n = count * f->lanes;
  for (int block = 0; block < f->blocks; block++) {
    orr_real *at = stacked + (block * length + t) * n, *y = plain + block * n;
    if (take) memcpy(y, at, (size_t)n * sizeof *y);
    else memcpy(at, y, (size_t)n * sizeof *y);
  }
}

static void copy_value(const frame *f, int to, int from) {
  int64_t n = f->run->program->values[to].stored * f->lanes * f->blocks;
  memcpy(f->pointer[to], f->pointer[from], (size_t)n * sizeof(orr_real));
}

static void run_step(frame *f, const instruction *i, int64_t t) {
  const scan_code *s = i->scan;
  const value *values = f->run->program->values;
  for (int j = 0; j < s->carries; j++)
    if (s->state[j] >= 0)
      move_step(f, f->pointer[s->state[j]], f->pointer[s->carry[j]], values[s->carry[j]].stored,
                s->length, t, false);
  for (int j = 0; j < s->slices; j++)
    move_step(f, f->pointer[s->sequence[j]], f->pointer[s->slice[j]], values[s->slice[j]].stored,
              s->length, t, true);
  if (s->step >= 0)
    for (int64_t k = 0; k < (int64_t)f->lanes * f->blocks; k++)
      f->pointer[s->step][k] = (orr_real)t;
  run_code(f, i->body);
  for (int j = 0; j < s->outputs; j++)
    if (s->stacked[j] >= 0)
      move_step(f, f->pointer[s->stacked[j]], f->pointer[s->output[j]], values[s->output[j]].stored,
                s->length, t, false);
  for (int j = 0; j < s->carries; j++) copy_value(f, s->carry[j], s->next[j]);
}

static void run_scan(frame *f, const instruction *i) {
  const scan_code *s = i->scan;
  uint32_t outer = f->step;
  for (int j = 0; j < s->carries; j++) copy_value(f, s->carry[j], s->initial[j]);
  for (int64_t k = 0; k < s->length && !(f->stops && run_is_over(f->run)); k++) {
    int64_t t = s->backwards ? s->length - 1 - k : k;
    f->step = outer * (uint32_t)s->length + (uint32_t)t;
    run_step(f, i, t);
  }
  f->step = outer;
}

static void run_code(frame *f, const code *c) {
  for (int i = 0; i < c->count; i++) {
    const instruction *x = &c->list[i];
    if (x->grouped) {
      run_group(f, x);
      i += x->grouped - 1;
      continue;
    }
    switch (x->kind) {
    case DO_OP: run_op(f, x); break;
    case DO_LOAD: load(f, x); break;
    case DO_STORE: store(f, x); break;
    case DO_SCAN: run_scan(f, x); break;
    case DO_ROWS: make_rows(f, x); break;
    }
  }
}

/* ---- single values ---- */

orr_real *single_pointer(const orr_run *run, int v, int member) {
  const value *x = &run->program->values[v];
  if (x->level != ORR_MEMBER) return run->base[v];
  int at = x->place == PLACE_TENSOR && run->entries ? run->entries[member] : member;
  return run->base[v] + at * x->stored;
}

static int64_t rows_counted(const orr_run *run, const instruction *i, int member) {
  return i->node->level == ORR_MEMBER ? run->sizes[member] : run->rows;
}

static void scan_single(orr_run *run, const instruction *i, worker *w, int member) {
  const orr_program *p = run->program;
  for (int v = 0; v < p->value_count; v++)
    w->pointer[v] = run->base[v] ? single_pointer(run, v, member) : NULL;
  for (int j = 0; j < i->scan->reduced; j++) {
    int sum = i->scan->sum[j]; /* one over all members starts with the first */
    if (sum >= 0 && (member == 0 || p->values[sum].level == ORR_MEMBER))
      memset(w->pointer[sum], 0, (size_t)p->values[sum].stored * sizeof(orr_real));
  }
  frame f = {.run = run,
             .worker = w,
             .pointer = w->pointer,
             .kernels = engine_kernels(run->engine),
             .lanes = 1,
             .blocks = 1,
             .rows = 1};
  run_scan(&f, i);
}

void execute_single(orr_run *run, const instruction *i, worker *w, int member) {
  if (i->kind == DO_SCAN) {
    scan_single(run, i, w, member);
    return;
  }
  frame f = {.run = run,
             .worker = w,
             .kernels = engine_kernels(run->engine),
             .lanes = 1,
             .blocks = 1,
             .rows = 1};
  op_call call;
  begin_call(&call, &f, i);
  call.y = single_pointer(run, i->y, member);
  for (int j = 0; j < i->inputs; j++) call.x[j] = single_pointer(run, i->x[j], member);
  if (i->node->op == ORR_OP_row_count) call.rows = (int)rows_counted(run, i, member);
  if (i->class->reduces && member == 0)
    memset(call.y, 0, (size_t)run->program->values[i->y].stored * sizeof *call.y);
  call_op(&call, i);
}

/* ---- chunks of grouped elementwise instructions ---- */

static orr_real *chunk_pointer(const orr_run *run, const worker *w, int v, int member,
                               int64_t first) {
  const value *x = &run->program->values[v];
  if (x->place == PLACE_CHUNK) return w->chunk + x->offset * CHUNK;
  return single_pointer(run, v, member) + (x->stored > 1 ? first : 0);
}

orr_real *chunk_partial(const orr_run *run, const group *g, int sum, int member, int64_t chunk) {
  int64_t chunks = group_chunks(g);
  return run->partials + g->partials * run->members + (sum * run->members + member) * chunks +
         chunk;
}

void execute_chunk(orr_run *run, const stage *st, const group *g, worker *w, int member,
                   int64_t chunk) {
  const kernels *k = engine_kernels(run->engine);
  const value *values = run->program->values;
  int64_t first = chunk * CHUNK, n = g->count - first < CHUNK ? g->count - first : CHUNK;
  int sum = 0;
  for (int j = g->first; j < g->last; j++) {
    const instruction *i = &st->code.list[j];
    op_call call;
    call.kernels = k;
    bool many[3];
    for (int a = 0; a < i->inputs; a++) {
      call.x[a] = chunk_pointer(run, w, i->x[a], member, first);
      many[a] = values[i->x[a]].stored > 1;
    }
    if (i->node->op == ORR_OP_sum) {
      k->sum(chunk_partial(run, g, sum++, member, chunk), call.x[0], 1, (size_t)n, 1);
      continue;
    }
    call.y = chunk_pointer(run, w, i->y, member, first);
    if (i->node->op == ORR_OP_select && !many[0])
      memcpy(call.y, call.x[*call.x[0] != 0 ? 1 : 2], (size_t)n * sizeof *call.y);
    else run_elementwise(&call, i->node->op, many, n);
  }
}
