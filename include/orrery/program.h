/* program.h - functions of one sample, as graphs of ops, compiled and run over rows.

   Build a graph from inputs and ops, name its outputs, compile it, bind tensors, run. Gradients are
   graph transforms: they add nodes to the same graph and nest. A node is a number; building calls
   answer ORR_NONE after a failure and pass ORR_NONE on, so an expression is checked once.

   Levels say how often a value exists: once (ORR_UNIFORM), once per ensemble member (ORR_MEMBER),
   or once per row (ORR_ROW). Shapes never include the member or the row axis: they speak of one
   sample. An op's result has the highest level of its operands; a lower one is given to every row.
   Binary ops broadcast over sample axes as NumPy does. Axes count from 0; negative ones from the
   end. */
#ifndef ORR_PROGRAM_H
#define ORR_PROGRAM_H

#include "orrery/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct orr_graph orr_graph;
typedef struct orr_program orr_program;
typedef struct orr_run orr_run;

typedef int32_t orr_node;
#define ORR_NONE (-1)

typedef enum orr_level { ORR_UNIFORM, ORR_MEMBER, ORR_ROW } orr_level;

typedef enum orr_op {
#define UNARY(name, ...) ORR_OP_##name,
#define BINARY(name, ...) ORR_OP_##name,
#define STRUCTURED(name, ...) ORR_OP_##name,
#include "orrery/ops.def"
#undef UNARY
#undef BINARY
#undef STRUCTURED
  ORR_OP_COUNT
} orr_op;

ORR_API const char *orr_op_name(orr_op op);
ORR_API const char *orr_op_doc(orr_op op);
ORR_API int orr_op_arity(orr_op op); /* 1 unary, 2 binary, 0 structured */

/* ---- graphs ---- */
ORR_API orr_graph *orr_graph_new(orr_engine *engine);
ORR_API void orr_graph_free(orr_graph *graph); /* accepts NULL; programs made of it live on */
ORR_API orr_engine *orr_graph_engine(const orr_graph *graph);

ORR_API int orr_node_axes(const orr_graph *graph, orr_node node);
ORR_API const int64_t *orr_node_shape(const orr_graph *graph, orr_node node);
ORR_API int64_t orr_node_count(const orr_graph *graph, orr_node node); /* numbers in one sample */
ORR_API orr_level orr_node_level(const orr_graph *graph, orr_node node);
ORR_API orr_op orr_node_op(const orr_graph *graph, orr_node node);
/* True, and the number, when the node is a constant. */
ORR_API bool orr_node_number(const orr_graph *graph, orr_node node, double *number);

/* A value bound by name when the program runs. */
ORR_API orr_node orr_input(orr_graph *graph, const char *name, orr_level level, int axes,
                           const int64_t *shape);
/* A tensor that the program reads each time it runs; retained. The same tensor gives the same node.
   At ORR_MEMBER its first axis is the members'. */
ORR_API orr_node orr_parameter(orr_graph *graph, orr_tensor *tensor, orr_level level);
ORR_API orr_node orr_number(orr_graph *graph, double number);

/* ---- ops; each is documented by its row in ops.def ---- */
ORR_API orr_node orr_unary(orr_graph *graph, orr_op op, orr_node x);
ORR_API orr_node orr_binary(orr_graph *graph, orr_op op, orr_node a, orr_node b);
ORR_API orr_node orr_select(orr_graph *graph, orr_node condition, orr_node a, orr_node b);
ORR_API orr_node orr_sum(orr_graph *graph, orr_node x, int axis,
                         bool keep); /* keep: leave axis as length 1 */
ORR_API orr_node orr_sum_all(orr_graph *graph, orr_node x);
ORR_API orr_node orr_mean(orr_graph *graph, orr_node x, int axis, bool keep);
ORR_API orr_node orr_max_along(orr_graph *graph, orr_node x, int axis, bool keep);
ORR_API orr_node orr_min_along(orr_graph *graph, orr_node x, int axis, bool keep);
ORR_API orr_node orr_argmax(orr_graph *graph, orr_node x, int axis);
ORR_API orr_node orr_argsort(orr_graph *graph, orr_node x);
ORR_API orr_node orr_cumsum(orr_graph *graph, orr_node x, int axis, bool backwards);
ORR_API orr_node orr_softmax(orr_graph *graph, orr_node x, int axis);
ORR_API orr_node orr_logsumexp(orr_graph *graph, orr_node x, int axis, bool keep);
ORR_API orr_node orr_reshape(orr_graph *graph, orr_node x, int axes, const int64_t *shape);
ORR_API orr_node orr_broadcast(orr_graph *graph, orr_node x, int axes, const int64_t *shape);
ORR_API orr_node orr_transpose(orr_graph *graph, orr_node x,
                               const int *order); /* axes(x) entries */
ORR_API orr_node orr_slice(orr_graph *graph, orr_node x, int axis, int64_t first, int64_t count);
ORR_API orr_node orr_pad(orr_graph *graph, orr_node x, int axis, int64_t before, int64_t after);
ORR_API orr_node orr_concat(orr_graph *graph, int count, const orr_node *parts, int axis);
ORR_API orr_node orr_stack(orr_graph *graph, int count, const orr_node *parts, int axis);
/* table[n, ...] by index[...]: shape index + table without its first axis. Out-of-range indices are
   clamped. Indices are whole numbers held as reals. */
ORR_API orr_node orr_gather(orr_graph *graph, orr_node table, orr_node index);
ORR_API orr_node orr_scatter(orr_graph *graph, orr_node values, orr_node index, int64_t n);
/* x[..., n] by index[..., m], the leading axes being equal. */
ORR_API orr_node orr_gather_along(orr_graph *graph, orr_node x, orr_node index);
ORR_API orr_node orr_scatter_along(orr_graph *graph, orr_node values, orr_node index, int64_t n);
/* a[..., n, k] b[..., k, m]; a vector a is a row, a vector b a column; leading axes equal or
   absent. */
ORR_API orr_node orr_matmul(orr_graph *graph, orr_node a, orr_node b);
ORR_API orr_node orr_solve(orr_graph *graph, orr_node a, orr_node b); /* a[n, n], b[n] or b[n, m] */
/* Draws at ORR_ROW; every call is a draw of its own. */
ORR_API orr_node orr_normal(orr_graph *graph, int axes, const int64_t *shape);
ORR_API orr_node orr_uniform(orr_graph *graph, int axes, const int64_t *shape);
ORR_API orr_node orr_stop_gradient(orr_graph *graph, orr_node x);
ORR_API orr_node orr_copy(orr_graph *graph, orr_node x); /* never merged with x or folded */
/* Over rows, down to a level: all rows, or each member's own. */
ORR_API orr_node orr_row_sum(orr_graph *graph, orr_node x, orr_level level);
ORR_API orr_node orr_row_mean(orr_graph *graph, orr_node x, orr_level level);
ORR_API orr_node orr_row_count(orr_graph *graph, orr_level level);

/* d y / d wrt[i], y having one number; where y does not depend on wrt[i], zeros. For a ROW y and a
   lower-level wrt this is the gradient of the sum over rows. */
ORR_API orr_status orr_gradient(orr_graph *graph, orr_node y, int count, const orr_node *wrt,
                                orr_node *gradients);
/* The same with a given cotangent for each y: vector-Jacobian products. seeds[i] may be
   ORR_NONE. */
ORR_API orr_status orr_gradient_from(orr_graph *graph, int outputs, const orr_node *y,
                                     const orr_node *seeds, int count, const orr_node *wrt,
                                     orr_node *gradients);

/* ---- scan: a loop of `length` steps with carried state ---- body = orr_scan_begin(...); make
   carries, slices and captures in it, compute, then orr_scan_end. */
ORR_API orr_graph *orr_scan_begin(orr_graph *graph, int64_t length, bool backwards);
ORR_API orr_graph *orr_graph_parent(const orr_graph *body);
ORR_API orr_node orr_scan_carry(orr_graph *body, orr_node initial); /* of the parent graph */
ORR_API orr_node orr_scan_slice(orr_graph *body,
                                orr_node sequence); /* [length, ...] of the parent */
ORR_API orr_node orr_scan_capture(orr_graph *body, orr_node outer); /* unchanged through the loop */
ORR_API orr_node orr_scan_step(orr_graph *body);                    /* 0, 1, ... length - 1 */
/* next[i] follows carry i (in the order of orr_scan_carry). Answers, in the parent graph, the last
   carries and then the outputs, stacked [length, ...]. Frees the body, also on failure. */
ORR_API orr_status orr_scan_end(orr_graph *body, const orr_node *next, int outputs,
                                const orr_node *output, orr_node *results);
ORR_API void orr_scan_abandon(orr_graph *body);

/* ---- outputs ---- */
ORR_API orr_status orr_output(orr_graph *graph, const char *name, orr_node node);
/* After a run the parameter's tensor holds the node's value. */
ORR_API orr_status orr_update(orr_graph *graph, orr_node parameter, orr_node value);
/* What the parameter will hold after a run: the value that it was given so far, or itself. */
ORR_API orr_node orr_updated(const orr_graph *graph, orr_node parameter);

/* ---- programs ---- */
ORR_API orr_program *orr_compile(orr_graph *graph);
ORR_API orr_program *orr_program_retain(orr_program *program);
ORR_API void orr_program_free(orr_program *program);
ORR_API orr_engine *orr_program_engine(const orr_program *program);
ORR_API int orr_program_inputs(const orr_program *program);
ORR_API const char *orr_program_input_name(const orr_program *program, int input);
ORR_API orr_level orr_program_input_level(const orr_program *program, int input);
ORR_API int orr_program_input_axes(const orr_program *program, int input);
ORR_API const int64_t *orr_program_input_shape(const orr_program *program, int input);
ORR_API int orr_program_outputs(const orr_program *program);
ORR_API const char *orr_program_output_name(const orr_program *program, int output);
ORR_API orr_level orr_program_output_level(const orr_program *program, int output);
ORR_API int orr_program_output_axes(const orr_program *program, int output);
ORR_API const int64_t *orr_program_output_shape(const orr_program *program, int output);
ORR_API int orr_program_instructions(const orr_program *program);
ORR_API const char *
orr_program_listing(orr_program *program); /* for a person; owned by the program */

/* A run holds the bindings and the workspace of one caller; it allocates when rows grow, and in
   steady state not at all. */
ORR_API orr_run *orr_run_new(orr_program *program);
ORR_API void orr_run_free(orr_run *run);
/* Binds a tensor, which is retained. ROW inputs are [n, ...] and are read row by row, or, with an
   int32 index[rows], at those rows. UNIFORM inputs have the input's shape, MEMBER ones a member
   axis in front. Bytes and int32 are converted on the way in. */
ORR_API orr_status orr_run_input(orr_run *run, const char *name, orr_tensor *tensor,
                                 orr_tensor *index);
/* Lets go of what is bound to an input, if anything is; without it the run does not go. */
ORR_API void orr_run_release(orr_run *run, const char *name);
/* Rows in total; members > 1 cuts them into that many equal groups, in order. */
ORR_API orr_status orr_run_rows(orr_run *run, int64_t rows, int members);
/* Groups of unequal size, in member order: sizes[members], adding up to the rows. */
ORR_API orr_status orr_run_groups(orr_run *run, int members, const int64_t *sizes);
/* Which entry of the MEMBER parameters each group uses; NULL: group i uses entry i. */
ORR_API orr_status orr_run_members(orr_run *run, const int *entries);
ORR_API void orr_run_seed(orr_run *run, uint64_t seed, uint32_t iteration);
/* The run stops with ORR_LATE once orr_clock() is past `deadline`; 0, at first: never. It looks at
   the clock between tiles of rows and between the steps of their loops. Its outputs are then
   undefined; nothing that it updates has changed. */
ORR_API void orr_run_until(orr_run *run, double deadline);
/* Makes the memory for the rows as they are set, as orr_run_go does where it is not there. It
   suffices for fewer rows, too (of every group no more than now). */
ORR_API orr_status orr_run_prepare(orr_run *run);
ORR_API orr_status orr_run_go(orr_run *run);
/* The output's tensor, owned by the run and overwritten by the next one: [rows, ...] for ROW,
   [members, ...] for MEMBER. A run of other rows writes to another tensor where somebody holds this
   one. NULL when there is no such output or before the first run. */
ORR_API orr_tensor *orr_run_output(orr_run *run, const char *name);

#ifdef __cplusplus
}
#endif
#endif
