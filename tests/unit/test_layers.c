/* test_layers.c - who may include whom. A folder includes itself and folders to its left:

     base, kernel | tensor | program | nn, image, replay | env | plan | mpc | lua | cli

   lua, ext and cli see public headers and their own only; Lua files require "orrery" only. */
#include <criterion/criterion.h>
#include <ctype.h>
#include <glob.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

typedef struct layer {
  const char *folder;
  int rank;            /* sees lower ranks */
  const char *headers; /* its public headers, separated by spaces */
} layer;

/* Spaces belong to env by folder, but are the vocabulary of replay too. */
static const layer layers[] = {
    {"base", 0, "base.h"},
    {"kernel", 1, "ops.def"},
    {"tensor", 2, "tensor.h"},
    {"program", 3, "program.h"},
    {"nn", 4, "nn.h layers.def inits.def optimisers.def"},
    {"image", 4, "image.h"},
    {"replay", 4, "priority.h relabel.h replay.h space.h"},
    {"env", 5, "env.h vector_env.h"},
    {"plan", 6, "objective.h rollout.h plan.h planners.def risks.def"},
    {"mpc", 7, "mpc.h"},
    {"ext", 8, ""},
    {"lua", 8, "lua.h"},
    {"cli", 9, ""},
};

static const layer *layer_of(const char *folder, size_t length) {
  for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++)
    if (strlen(layers[i].folder) == length && strncmp(layers[i].folder, folder, length) == 0)
      return &layers[i];
  return NULL;
}

static const layer *layer_of_header(const char *header) {
  size_t length = strlen(header);
  for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++)
    for (const char *at = layers[i].headers; (at = strstr(at, header)) != NULL; at++)
      if ((at == layers[i].headers || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0'))
        return &layers[i];
  return NULL;
}

static bool is_lua_header(const char *name) {
  return strcmp(name, "lua.h") == 0 || strcmp(name, "lauxlib.h") == 0 ||
         strcmp(name, "lualib.h") == 0;
}

/* May a file of src/<folder> include this? system: in angle brackets. */
static bool may_include(const char *folder, const char *name, bool system) {
  const layer *from = layer_of(folder, strlen(folder));
  if (from == NULL) return false;
  bool outside = from->rank >= 8;
  if (system) return outside || !is_lua_header(name);
  const char *slash = strchr(name, '/');
  if (slash == NULL) return true; /* a neighbour in the same folder */
  if (strncmp(name, "orrery/", 7) == 0) {
    if (strcmp(slash + 1, "orrery.h") == 0) return outside;
    const layer *to = layer_of_header(slash + 1);
    return to != NULL && (to == from || to->rank < from->rank);
  }
  const layer *to = layer_of(name, (size_t)(slash - name));
  return to != NULL && (to == from || (!outside && to->rank < from->rank));
}

/* The name in an #include line; false when the line is none. */
static bool included(const char *line, char name[128], bool *system) {
  char open, close;
  return sscanf(line, " # include %c%127[^\">]%c", &open, name, &close) == 3 &&
         ((*system = open == '<') || open == '"');
}

static void check_file(const char *path) {
  char folder[64], line[512], name[128];
  bool system;
  cr_assert(sscanf(path, "src/%63[^/]", folder) == 1);
  FILE *file = fopen(path, "r");
  cr_assert_not_null(file, "%s", path);
  for (int number = 1; fgets(line, sizeof line, file); number++)
    if (included(line, name, &system))
      cr_expect(may_include(folder, name, system), "%s:%d: src/%s may not include %s", path, number,
                folder, name);
  fclose(file);
}

static size_t check_files(const char *pattern, void (*check)(const char *path)) {
  glob_t found = {0};
  glob(pattern, 0, NULL, &found);
  for (size_t i = 0; i < found.gl_pathc; i++) check(found.gl_pathv[i]);
  size_t count = found.gl_pathc;
  globfree(&found);
  return count;
}

Test(layers, includes) {
  cr_expect(check_files("src/*/*.c", check_file) > 20, "run this from the top of the source tree");
  cr_expect(check_files("src/*/*.h", check_file) > 5);
}

/* Every require with a literal name, one per line in this project. */
static void check_requires(const char *path) {
  char line[1024], name[128];
  FILE *file = fopen(path, "r");
  cr_assert_not_null(file, "%s", path);
  for (int number = 1; fgets(line, sizeof line, file); number++) {
    char *comment = strstr(line, "--");
    if (comment != NULL) *comment = '\0';
    char *call = strstr(line, "require");
    if (call == NULL || sscanf(call, "require%*[ (]%*[\"']%127[^\"']", name) != 1) continue;
    cr_expect(strcmp(name, "orrery") == 0 || strncmp(name, "orrery.", 7) == 0,
              "%s:%d: requires '%s'", path, number, name);
  }
  fclose(file);
}

Test(layers, requires) {
  cr_expect(check_files("lua/orrery/*.lua", check_requires) > 0);
  check_files("experiments/*.lua", check_requires);
}

Test(layers, the_check_can_fail) {
  char name[128];
  bool system;
  cr_expect(!may_include("tensor", "program/graph.h", false));
  cr_expect(!may_include("tensor", "orrery/program.h", false));
  cr_expect(!may_include("nn", "replay/replay.h", false));
  cr_expect(!may_include("plan", "lua.h", true));
  cr_expect(!may_include("lua", "tensor/tensor.h", false));
  cr_expect(!may_include("cli", "lua/lua_orrery.h", false));
  cr_expect(!may_include("nowhere", "base/base.h", false));
  cr_expect(may_include("plan", "program/graph.h", false));
  cr_expect(may_include("lua", "orrery/mpc.h", false));
  cr_expect(included("#  include \"a/b.h\"", name, &system) && !system);
  cr_expect_str_eq(name, "a/b.h");
  cr_expect(included("#include <math.h>", name, &system) && system);
}
