/* What a warm mpc asks of the system while it acts, on one thread: nothing. Counted are the
   engine's allocations, malloc, locks and waits (this program's own functions stand in front of the
   C library's), and system calls, which a filter of the kernel turns into a signal. Each case runs
   in a process of its own, because such a filter stays. */
#include <dlfcn.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "drive.h"

static _Atomic long mallocs, locks, calls, last_call;

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)
#define COUNTS_CALLS 1
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
void *malloc(size_t size) {
  mallocs++;
  return __libc_malloc(size);
}
void *calloc(size_t count, size_t size) {
  mallocs++;
  return __libc_calloc(count, size);
}
void *realloc(void *old, size_t size) {
  mallocs++;
  return __libc_realloc(old, size);
}
#define IN_FRONT(name, parameters, arguments)             \
  int name parameters {                                   \
    static int(*real) parameters;                         \
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name); \
    locks++;                                              \
    return real arguments;                                \
  }
IN_FRONT(pthread_mutex_lock, (pthread_mutex_t * m), (m))
IN_FRONT(pthread_mutex_trylock, (pthread_mutex_t * m), (m))
IN_FRONT(pthread_cond_wait, (pthread_cond_t * c, pthread_mutex_t *m), (c, m))
IN_FRONT(pthread_cond_broadcast, (pthread_cond_t * c), (c))
IN_FRONT(pthread_rwlock_rdlock, (pthread_rwlock_t * l), (l))
IN_FRONT(pthread_rwlock_wrlock, (pthread_rwlock_t * l), (l))
IN_FRONT(sem_wait, (sem_t * s), (s))
IN_FRONT(sem_post, (sem_t * s), (s))
#else
#define COUNTS_CALLS 0
#endif

/* ---- system calls ---- */

static void count_call(int number, siginfo_t *info, void *context) {
  (void)number;
  (void)context;
  calls++;
  last_call = info->si_syscall;
}

/* Every call but those with which the process ends and the signal returns. Reading the clock is
   none where the kernel maps it into the process; elsewhere a deadline needs it. */
static bool forbid_calls(void) {
  struct sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 3, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clock_gettime, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
  struct sigaction action = {.sa_flags = SA_SIGINFO};
  action.sa_sigaction = count_call;
  sigaction(SIGSYS, &action, NULL);
  return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
         !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

/* ---- what is planned with ---- */

enum { MEMBERS = 3, STATE = 3, WIDTH = 16 };

struct net {
  orr_tensor *first, *last;
};

static orr_tensor *new_weights(orr_engine *engine, int64_t rows, int64_t columns) {
  int64_t shape[3] = {MEMBERS, rows, columns};
  orr_tensor *tensor = orr_tensor_new(engine, ORR_REAL, 3, shape);
  orr_real *values = orr_tensor_data(tensor);
  orr_random random = orr_random_new(3, 0);
  for (int64_t i = 0; i < MEMBERS * rows * columns; i++)
    values[i] = (orr_real)(0.3 * orr_random_normal(&random));
  return tensor;
}

/* s + tanh([s, a] W) V, of an ensemble. */
static orr_node next_of(orr_graph *graph, orr_node first, orr_node last, orr_node s, orr_node a) {
  orr_node both[2] = {s, a};
  orr_node hidden =
      orr_unary(graph, ORR_OP_tanh, orr_matmul(graph, orr_concat(graph, 2, both, 0), first));
  return orr_binary(graph, ORR_OP_add, s, orr_matmul(graph, hidden, last));
}

static orr_node reward_of(orr_graph *graph, orr_node next) {
  return orr_unary(graph, ORR_OP_neg, orr_sum_all(graph, orr_unary(graph, ORR_OP_square, next)));
}

/* A plan rolled out with noise; with its gradient; or its path, without noise. */
enum rollout { RETURN, GRADIENT, PATH };

static orr_program *new_rollout(orr_engine *engine, const struct net *net, int horizon,
                                enum rollout what) {
  int64_t state_shape = STATE, plan_shape[2] = {horizon, 1}, start_shape[2] = {1, STATE};
  orr_graph *graph = orr_graph_new(engine);
  orr_node state =
      orr_input(graph, "state", what == RETURN ? ORR_UNIFORM : ORR_ROW, 1, &state_shape);
  orr_node plan = orr_input(graph, "plan", ORR_ROW, 2, plan_shape);
  orr_node first = orr_parameter(graph, net->first, ORR_MEMBER),
           last = orr_parameter(graph, net->last, ORR_MEMBER);
  orr_graph *body = orr_scan_begin(graph, horizon, false);
  orr_node s = orr_scan_carry(body, state), total = orr_scan_carry(body, orr_number(graph, 0));
  orr_node next = next_of(body, orr_scan_capture(body, first), orr_scan_capture(body, last), s,
                          orr_scan_slice(body, plan));
  if (what != PATH)
    next = orr_binary(body, ORR_OP_add, next,
                      orr_binary(body, ORR_OP_mul, orr_number(body, 0.01),
                                 orr_normal(body, 1, &state_shape)));
  orr_node carries[2] = {next, orr_binary(body, ORR_OP_add, total, reward_of(body, next))};
  orr_node results[3], slope;
  cr_assert_eq(orr_scan_end(body, carries, 1, &next, results), ORR_OK, "%s",
               orr_engine_message(engine));
  if (what == PATH) {
    orr_node path[2] = {orr_reshape(graph, state, 2, start_shape), results[2]};
    orr_output(graph, "states", orr_concat(graph, 2, path, 0));
  } else {
    orr_output(graph, "return", results[1]);
  }
  if (what == GRADIENT) {
    cr_assert_eq(orr_gradient(graph, results[1], 1, &plan, &slope), ORR_OK);
    orr_output(graph, "gradient", slope);
  }
  orr_program *program = orr_compile(graph);
  cr_assert(program, "%s", orr_engine_message(engine));
  orr_graph_free(graph);
  return program;
}

/* [numbers of y, numbers of x] */
static orr_node jacobian(orr_graph *graph, orr_node y, int numbers, orr_node x) {
  orr_node rows[STATE];
  for (int i = 0; i < numbers; i++) {
    orr_node one = orr_sum_all(graph, orr_slice(graph, y, 0, i, 1));
    cr_assert_eq(orr_gradient(graph, one, 1, &x, &rows[i]), ORR_OK);
  }
  return orr_stack(graph, numbers, rows, 0);
}

/* One step's derivatives. */
static orr_program *new_linear(orr_engine *engine, const struct net *net) {
  int64_t state_shape = STATE, action_shape = 1;
  orr_graph *graph = orr_graph_new(engine);
  orr_node s = orr_input(graph, "s", ORR_ROW, 1, &state_shape),
           a = orr_input(graph, "a", ORR_ROW, 1, &action_shape);
  orr_input(graph, "t", ORR_ROW, 0, NULL);
  orr_input(graph, "last", ORR_ROW, 0, NULL);
  orr_node next = next_of(graph, orr_parameter(graph, net->first, ORR_MEMBER),
                          orr_parameter(graph, net->last, ORR_MEMBER), s, a);
  orr_node reward = reward_of(graph, next), both[2] = {s, a}, slopes[2];
  cr_assert_eq(orr_gradient(graph, reward, 2, both, slopes), ORR_OK);
  orr_output(graph, "next_s", jacobian(graph, next, STATE, s));
  orr_output(graph, "next_a", jacobian(graph, next, STATE, a));
  orr_output(graph, "reward_s", slopes[0]);
  orr_output(graph, "reward_a", slopes[1]);
  orr_output(graph, "reward_ss", jacobian(graph, slopes[0], STATE, s));
  orr_output(graph, "reward_as", jacobian(graph, slopes[1], 1, s));
  orr_output(graph, "reward_aa", jacobian(graph, slopes[1], 1, a));
  orr_program *program = orr_compile(graph);
  cr_assert(program, "%s", orr_engine_message(engine));
  orr_graph_free(graph);
  return program;
}

/* Everything that a planner may want of a learned rollout. */
static orr_objective *new_learned(orr_engine *engine, orr_space *seen, orr_space *done,
                                  int horizon) {
  struct net net = {new_weights(engine, STATE + 1, WIDTH), new_weights(engine, WIDTH, STATE)};
  orr_program *program = new_rollout(engine, &net, horizon, RETURN);
  orr_rollout_options options = orr_rollout_options_defaults();
  options.members = MEMBERS;
  options.particles = 6;
  options.observation = seen;
  options.action = done;
  options.gradient = new_rollout(engine, &net, horizon, GRADIENT);
  options.path = new_rollout(engine, &net, horizon, PATH);
  options.linear = new_linear(engine, &net);
  orr_objective *objective = orr_objective_program(engine, program, &options);
  cr_assert(objective, "%s", orr_engine_message(engine));
  orr_program_free(program);
  orr_program_free(options.gradient);
  orr_program_free(options.path);
  orr_program_free(options.linear);
  orr_tensor_free(net.first);
  orr_tensor_free(net.last);
  return objective;
}

/* ---- a case ---- */

struct findings { /* shared with the child */
  bool ran, filtered;
  long allocations, mallocs, locks, calls, last_call, probe_mallocs, probe_locks, probe_calls;
  orr_status status;
};

struct costs {
  const char *planner;
  bool learned, hurts; /* hurts: the counters are tried out while it acts */
  double seconds;
};

static void probe(void) {
  pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  void *volatile memory = malloc(1);
  free(memory);
  pthread_mutex_lock(&lock);
  pthread_mutex_unlock(&lock);
  syscall(SYS_getppid);
}

static void run_case(const struct costs *c, struct findings *found) {
  orr_engine_options options = orr_engine_options_defaults();
  options.threads = 1;
  orr_engine *engine = orr_engine_new(&options);
  orr_env *env = orr_env_new(engine, "pendulum", NULL);
  orr_space *seen = orr_env_observation_space(env), *done = orr_env_action_space(env);
  orr_planner_setting settings[] = {{"horizon", 6}, {"population", 40}};
  orr_planner *planner = orr_planner_new(engine, c->planner, done, settings, 2);
  if (!planner) planner = orr_planner_new(engine, c->planner, done, settings, 1);
  if (!planner) planner = orr_planner_new(engine, c->planner, done, NULL, 0);
  orr_objective *objective = c->learned
                                 ? new_learned(engine, seen, done, orr_planner_horizon(planner))
                                 : orr_objective_env(engine, env, NULL);
  orr_mpc_options given = orr_mpc_options_defaults();
  given.seconds = c->seconds;
  orr_mpc *mpc = orr_mpc_new(engine, objective, planner, &given);
  orr_real observation[STATE], action[1];
  orr_env_reset(env, 1, observation);
  for (int t = 0; t < 3 && mpc && !found->status; t++)
    found->status = orr_mpc_act(mpc, observation, action, NULL);
  if (!mpc || found->status) return;
  found->filtered =
      COUNTS_CALLS && forbid_calls(); /* a sanitizer asks the system for things itself */
  size_t allocations = orr_engine_allocations(engine);
  mallocs = locks = calls = 0;
  for (int t = 0; t < 5; t++) {
    orr_status status = orr_mpc_act(mpc, observation, action, NULL);
    if (status) found->status = status;
    if (t == 2) orr_mpc_reset(mpc);
    if (c->hurts) probe();
  }
  found->mallocs = mallocs;
  found->locks = locks;
  found->calls = calls;
  found->last_call = last_call;
  found->allocations = (long)(orr_engine_allocations(engine) - allocations);
  found->ran = true;
}

static struct findings measure(struct costs c) {
  struct findings *found =
      mmap(NULL, sizeof *found, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  memset(found, 0, sizeof *found);
  pid_t child = fork();
  if (child == 0) {
    run_case(&c, found);
    _exit(0);
  }
  int status;
  waitpid(child, &status, 0);
  cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s: status %x", c.planner, status);
  struct findings result = *found;
  munmap(found, sizeof *found);
  return result;
}

static void expect_nothing(struct costs c) {
  struct findings found = measure(c);
  const char *with = c.learned ? "a learned model" : "the simulator";
  cr_expect(found.ran, "%s on %s", c.planner, with);
  cr_expect_eq(found.status, ORR_OK, "%s on %s", c.planner, with);
  cr_expect_eq(found.allocations, 0, "%s on %s: %ld allocations", c.planner, with,
               found.allocations);
  cr_expect_eq(found.mallocs, 0, "%s on %s: %ld mallocs", c.planner, with, found.mallocs);
  cr_expect_eq(found.locks, 0, "%s on %s: %ld locks", c.planner, with, found.locks);
  cr_expect_eq(found.calls, 0, "%s on %s: %ld system calls, such as number %ld", c.planner, with,
               found.calls, found.last_call);
}

Test(mpc_pure, the_counters_count) {
  struct findings found = measure((struct costs){.planner = "cem", .hurts = true});
  cr_expect(found.ran);
  if (!COUNTS_CALLS) return;
  cr_expect_eq(found.mallocs, 5);
  cr_expect_eq(found.locks, 5);
  cr_expect(found.filtered, "the kernel refuses to filter system calls: they are not counted");
  cr_expect_eq(found.calls, 5);
  cr_expect_eq(found.last_call, SYS_getppid);
}

Test(mpc_pure, a_warm_mpc_asks_nothing_of_the_system) {
  for (int i = 0; i < orr_planner_count(); i++)
    for (int learned = 0; learned < 2; learned++)
      expect_nothing((struct costs){.planner = orr_planner_name_at(i), .learned = learned});
}

Test(mpc_pure, nor_does_it_with_a_deadline) {
  for (int learned = 0; learned < 2; learned++)
    expect_nothing((struct costs){.planner = "cem", .learned = learned, .seconds = 1000});
}

/* On several threads it still allocates nothing. */
Test(mpc_pure, acting_on_two_threads_does_not_allocate) {
  for (int learned = 0; learned < 2; learned++) {
    orr_engine_options options = orr_engine_options_defaults();
    options.threads = 2;
    orr_engine *engine = orr_engine_new(&options);
    orr_env *env = orr_env_new(engine, "pendulum", NULL);
    orr_space *seen = orr_env_observation_space(env), *done = orr_env_action_space(env);
    orr_planner *planner = orr_planner_new(engine, "cem", done, NULL, 0);
    orr_objective *objective = learned
                                   ? new_learned(engine, seen, done, orr_planner_horizon(planner))
                                   : orr_objective_env(engine, env, NULL);
    orr_mpc *mpc = orr_mpc_new(engine, objective, planner, NULL);
    orr_real observation[STATE], action[1];
    orr_env_reset(env, 0, observation);
    orr_mpc_act(mpc, observation, action, NULL);
    size_t before = orr_engine_allocations(engine);
    for (int t = 0; t < 5; t++) cr_expect_eq(orr_mpc_act(mpc, observation, action, NULL), ORR_OK);
    cr_expect_eq(orr_engine_allocations(engine), before);
    orr_mpc_free(mpc);
    orr_planner_free(planner);
    orr_objective_free(objective);
    orr_env_free(env);
    orr_engine_free(engine);
  }
}
