/* mpc.c - a planning thread and everything a host may do meanwhile, for the thread sanitizer, which cannot
   run under Criterion: a plain program that fails by its exit code. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "orrery/mpc.h"
#include "orrery/rollout.h"

enum { HORIZON = 6, MEMBERS = 2, STATE = 3 };

static int failures;

#define EXPECT(condition, engine)                                                             \
  do {                                                                                        \
    if (!(condition)) {                                                                       \
      printf("%s:%d: %s (%s)\n", __FILE__, __LINE__, #condition, orr_engine_message(engine)); \
      failures++;                                                                             \
    }                                                                                         \
  } while (0)

static orr_node weights(orr_engine *engine, orr_graph *graph, int64_t rows, int64_t columns) {
  int64_t shape[3] = {MEMBERS, rows, columns};
  orr_tensor *tensor = orr_tensor_new(engine, ORR_REAL, 3, shape);
  orr_real *values = orr_tensor_data(tensor);
  orr_random random = orr_random_new(3, 0);
  for (int64_t i = 0; i < MEMBERS * rows * columns; i++)
    values[i] = (orr_real)(0.3 * orr_random_normal(&random));
  orr_node node = orr_parameter(graph, tensor, ORR_MEMBER);
  orr_tensor_free(tensor);
  return node;
}

/* s' = s + tanh([s, a] W) V of an ensemble, and -|s' - goal|^2 as the reward. */
static orr_objective *new_learned(orr_engine *engine, orr_space *seen, orr_space *done) {
  int64_t state_shape = STATE, plan_shape[2] = {HORIZON, 1};
  orr_graph *graph = orr_graph_new(engine);
  orr_node state = orr_input(graph, "state", ORR_UNIFORM, 1, &state_shape);
  orr_node plan = orr_input(graph, "plan", ORR_ROW, 2, plan_shape);
  orr_node goal = orr_input(graph, "goal", ORR_UNIFORM, 0, NULL);
  orr_node first = weights(engine, graph, STATE + 1, 16), last = weights(engine, graph, 16, STATE);
  orr_graph *body = orr_scan_begin(graph, HORIZON, false);
  orr_node s = orr_scan_carry(body, state), total = orr_scan_carry(body, orr_number(graph, 0));
  orr_node both[2] = {s, orr_scan_slice(body, plan)};
  orr_node hidden = orr_matmul(body, orr_concat(body, 2, both, 0), orr_scan_capture(body, first));
  hidden = orr_matmul(body, orr_unary(body, ORR_OP_tanh, hidden), orr_scan_capture(body, last));
  orr_node next = orr_binary(body, ORR_OP_add, s, hidden);
  orr_node apart = orr_binary(body, ORR_OP_sub, next, orr_scan_capture(body, goal));
  orr_node cost = orr_sum_all(body, orr_unary(body, ORR_OP_square, apart));
  orr_node carries[2] = {next, orr_binary(body, ORR_OP_sub, total, cost)}, results[2];
  orr_scan_end(body, carries, 0, NULL, results);
  orr_output(graph, "return", results[1]);
  orr_program *program = orr_compile(graph);
  orr_graph_free(graph);
  orr_rollout_options options = orr_rollout_options_defaults();
  options.members = MEMBERS;
  options.particles = 4;
  options.observation = seen;
  options.action = done;
  orr_objective *objective = orr_objective_program(engine, program, &options);
  orr_program_free(program);
  orr_tensor *wanted = orr_tensor_number(engine, 0);
  if (objective) orr_objective_set_input(objective, "goal", wanted);
  orr_tensor_free(wanted);
  return objective;
}

static orr_planner *new_planner(orr_engine *engine, orr_space *actions, const char *name,
                                int population) {
  orr_planner_setting settings[] = {{"horizon", HORIZON}, {"population", population}};
  orr_planner *planner = orr_planner_new(engine, name, actions, settings, 2);
  EXPECT(planner, engine);
  return planner;
}

static void swap_something(orr_mpc *mpc, orr_engine *engine, orr_objective *others[2], int t) {
  orr_space *actions = orr_planner_action_space(orr_mpc_planner(mpc));
  orr_mpc_statistics statistics;
  if (t % 7 == 0) {
    orr_tensor *goal = orr_tensor_number(engine, t * 0.01);
    EXPECT(orr_mpc_set_input(mpc, "goal", goal) == ORR_OK, engine);
    orr_tensor_free(goal);
  }
  if (t % 11 == 0) EXPECT(orr_mpc_set_objective(mpc, others[t % 2]) == ORR_OK, engine);
  if (t % 13 == 0) EXPECT(orr_mpc_set_budget(mpc, 1 + t % 3, 0.01) == ORR_OK, engine);
  if (t % 17 == 0) {
    orr_planner *planner =
        new_planner(engine, actions, t % 2 ? "cem" : "random_shooting", 20 + t % 5);
    EXPECT(orr_mpc_set_planner(mpc, planner, NULL) == ORR_OK, engine);
    orr_planner_free(planner);
  }
  if (t % 19 == 0) orr_mpc_seed(mpc, (uint64_t)t);
  if (t % 23 == 0) orr_mpc_reset(mpc);
  if (t % 29 == 0) orr_mpc_pause(mpc);
  if (t % 29 == 5) orr_mpc_resume(mpc);
  if (t % 5 == 0) orr_mpc_get_statistics(mpc, &statistics);
  if (t % 37 == 0) orr_mpc_clear_statistics(mpc);
}

/* What the host does with its engine while the thread plans: other plans, tensors, failures. */
static void work_beside(orr_engine *engine, orr_mpc *other, int t) {
  orr_real observation[STATE] = {(orr_real)(0.01 * t)}, action;
  if (t % 3 == 0) EXPECT(orr_mpc_act(other, observation, &action, NULL) == ORR_OK, engine);
  if (t % 4 == 0) {
    EXPECT(orr_mpc_set_budget(other, -1, 0) == ORR_ARGUMENT, engine);
    EXPECT(strstr(orr_engine_message(engine), "a budget of -1"), engine);
  }
  orr_tensor_free(orr_tensor_number(engine, t));
}

static void run(int threads, int acts) {
  orr_engine_options engine_options = orr_engine_options_defaults();
  engine_options.threads = threads;
  orr_engine *engine = orr_engine_new(&engine_options);
  orr_env *env = orr_env_new(engine, "pendulum", NULL);
  orr_space *seen = orr_env_observation_space(env), *done = orr_env_action_space(env);
  orr_objective *objectives[3];
  for (int i = 0; i < 3; i++) objectives[i] = new_learned(engine, seen, done);
  orr_planner *planner = new_planner(engine, done, "cem", 30),
              *second = new_planner(engine, done, "cem", 30);
  orr_mpc_options options = orr_mpc_options_defaults();
  orr_mpc *other = orr_mpc_new(engine, objectives[2], second, &options);
  options.background = true;
  options.seconds = 0.05;
  orr_mpc *mpc = orr_mpc_new(engine, objectives[0], planner, &options);
  EXPECT(mpc && other, engine);
  orr_real observation[STATE], action = 0;
  orr_env_reset(env, 1, observation);
  for (int t = 1; t < acts && mpc; t++) {
    bool unseen = t % 31 == 0;
    orr_real kept = observation[0];
    if (unseen) observation[0] = NAN;
    orr_status status = orr_mpc_act(mpc, observation, &action, NULL);
    EXPECT(status == ORR_OK || status == ORR_LATE || (unseen && status == ORR_NUMBER), engine);
    EXPECT(action >= -2 && action <= 2, engine);
    observation[0] = kept;
    orr_env_result step;
    if (orr_env_step(env, &action, observation, &step) || step.truncated || step.terminated)
      orr_env_reset(env, (uint64_t)t, observation);
    work_beside(engine, other, t);
    swap_something(mpc, engine, objectives, t);
  }
  orr_mpc_free(mpc);
  orr_mpc_free(other);
  orr_planner_free(planner);
  orr_planner_free(second);
  for (int i = 0; i < 3; i++) orr_objective_free(objectives[i]);
  orr_env_free(env);
  orr_engine_free(engine);
}

int main(void) {
  run(1, 300);
  run(3, 600);
  if (!failures) puts("tests/threads/mpc.c: ok");
  return failures > 0;
}
