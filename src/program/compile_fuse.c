/* compile_fuse.c - what the kernel of a linear layer does on the way: the sum starts from the bias,
   and a unary op is applied to a panel of results while it is in the first-level cache. */
#include "program/compiler.h"

/* The value that is added to the product `product` to make node n, or ORR_NONE. */
static orr_node bias_of(const scope *s, const node *n, orr_node product) {
  const node *p = node_at(s->graph, product);
  if (n->op != ORR_OP_add || n->level != ORR_ROW || p->op != ORR_OP_linear || p->inputs != 2 ||
      s->uses[product] != 1)
    return ORR_NONE;
  orr_node bias = n->in[0] == product ? n->in[1] : n->in[0];
  const node *b = node_at(s->graph, bias);
  bool fits = b->level != ORR_ROW && b->axes == 1 &&
              b->count == node_at(s->graph, p->in[1])->shape[1] &&
              shape_equal(n->axes, n->shape, p->axes, p->shape);
  return fits ? bias : ORR_NONE;
}

const node *compiler_fuse_bias(compiler *c, scope *s, const node *n) {
  for (int j = 0; compiler_by_rows(c) && n->op == ORR_OP_add && j < 2; j++) {
    orr_node bias = bias_of(s, n, n->in[j]);
    if (bias == ORR_NONE) continue;
    const node *p = node_at(s->graph, n->in[j]);
    orr_node in[3] = {p->in[0], p->in[1], bias};
    return compiler_node_like(c, p, p->op, 3, in);
  }
  return NULL;
}

/* The first needed node after `at` that uses it; rarely far. */
static const node *first_user(const scope *s, orr_node at, orr_node *index) {
  for (int i = at + 1; i < s->graph->count; i++) {
    const node *n = node_at(s->graph, i);
    for (int j = 0; s->needed[i] && j < n->inputs; j++)
      if (n->in[j] == at) {
        *index = i;
        return n;
      }
  }
  return NULL;
}

bool compiler_waits_for_bias(const compiler *c, const scope *s, orr_node at) {
  orr_node index;
  if (!compiler_by_rows(c) || node_at(s->graph, at)->op != ORR_OP_linear) return false;
  const node *user = first_user(s, at, &index);
  return user && bias_of(s, user, at) != ORR_NONE;
}

/* The unary op that is to be done with the product just written for node `at`, or ORR_NONE. A
   sigmoid comes first: it gives silu for one multiplication. */
static orr_node activation_of(const compiler *c, const scope *s, orr_node at) {
  orr_node found = ORR_NONE;
  for (int i = at + 1; i < s->graph->count; i++) {
    const node *n = node_at(s->graph, i);
    if (s->needed[i] && op_is_unary(n->op) && n->in[0] == at && s->number[i] < 0 &&
        (s->outer || c->stage[i] == c->current) && (found == ORR_NONE || n->op == ORR_OP_sigmoid))
      found = i;
  }
  return found;
}

const node *compiler_silu_by_sigmoid(compiler *c, const scope *s, const node *n) {
  for (int i = n->in[0] + 1; i < s->graph->count; i++) {
    const node *other = node_at(s->graph, i);
    if (other->op != ORR_OP_sigmoid || other->in[0] != n->in[0] || s->number[i] < 0 ||
        c->program->values[s->number[i]].stage != c->current)
      continue;
    orr_node in[2] = {n->in[0], i};
    return compiler_node_like(c, n, ORR_OP_mul, 2, in);
  }
  return NULL;
}

bool compiler_fuse_activation(compiler *c, scope *s, orr_node at) {
  instruction *i = s->code->count ? &s->code->list[s->code->count - 1] : NULL;
  if (!compiler_by_rows(c) || !i || i->kind != DO_OP || i->y != s->number[at] ||
      i->node->op != ORR_OP_linear)
    return true;
  orr_node activation = activation_of(c, s, at);
  if (activation == ORR_NONE) return true;
  const node *n = node_at(s->graph, activation);
  bool alone = s->uses[at] == 1; /* nothing else asks for the product: take its place */
  int y = alone ? i->y : compiler_new_result(c, n->level, n->stored);
  if (y < 0) return false;
  i->activation = n->op;
  i->activated = s->number[activation] = y;
  return true;
}
