/* engine.c - what a script asks of the engine itself. */
#include <errno.h>
#include <math.h>
#include <time.h>

#include "lua/lua_orrery.h"

/*** orrery.seed(seed): starts the engine's stream of random numbers anew. Without an argument
returns the seed in use. `seed` is a whole number. */
static int seed(lua_State *L) {
  orr_engine *engine = lua_engine(L);
  if (!lua_isnoneornil(L, 1)) orr_engine_seed(engine, (uint64_t)luaL_checkinteger(L, 1));
  lua_pushinteger(L, (lua_Integer)orr_engine_seed_value(engine));
  return 1;
}

/*** orrery.threads(n): how many threads the engine uses from now on (0: one per core); results do
not depend on it. Without an argument only returns the number. */
static int threads(lua_State *L) {
  orr_engine *engine = lua_engine(L);
  if (!lua_isnoneornil(L, 1)) {
    lua_Integer n = luaL_checkinteger(L, 1);
    lua_check_status(L, orr_engine_set_threads(engine, n < 0 || n > 1024 ? -1 : (int)n));
  }
  lua_pushinteger(L, orr_engine_threads(engine));
  return 1;
}

/*** orrery.planning(): how many mpcs plan in the background, and are not paused. Models must not be
trained then, nor tensors written that planning reads. */
static int planning(lua_State *L) {
  lua_pushinteger(L, orr_engine_planning(lua_engine(L)));
  return 1;
}

/*** orrery.memory(): bytes that the engine holds in C, all objects together, and how many times it
asked its allocator so far. */
static int memory(lua_State *L) {
  orr_engine *engine = lua_engine(L);
  lua_pushinteger(L, (lua_Integer)orr_engine_bytes(engine));
  lua_pushinteger(L, (lua_Integer)orr_engine_allocations(engine));
  return 2;
}

/*** orrery.random(): a number drawn uniformly from [0, 1) out of the engine's stream;
orrery.random(n): a whole number from 1 to n; orrery.random(low, high): a whole number from low to
high. As math.random, but seeded by orrery.seed. */
static int random_number(lua_State *L) {
  orr_random *stream = orr_engine_random(lua_engine(L));
  if (lua_isnoneornil(L, 1)) {
    lua_pushnumber(L, orr_random_uniform(stream));
    return 1;
  }
  lua_Integer low = luaL_checkinteger(L, 1), high = luaL_optinteger(L, 2, low);
  if (lua_isnoneornil(L, 2)) low = 1;
  if (low > high) lua_complain(L, "random: there is no whole number from %I to %I", low, high);
  uint64_t range = (uint64_t)high - (uint64_t)low + 1; /* 0: all of them */
  uint64_t draw = range ? orr_random_index(stream, range)
                        : (uint64_t)orr_random_bits(stream) << 32 | orr_random_bits(stream);
  lua_pushinteger(L, (lua_Integer)((uint64_t)low + draw));
  return 1;
}

/*** orrery.clock(): seconds of wall-clock time since some fixed moment; never goes back. The
difference of two is how long something took; os.clock() counts the processor's time of all
threads. */
static int wall_clock(lua_State *L) {
  lua_pushnumber(L, orr_clock());
  return 1;
}

/* Interrupts of the engine raise no signal, so they are looked for this often. */
#define SLICE 0.02

/*** orrery.sleep(seconds): waits that long, without using the processor; not at all for 0 or less.
Ctrl-C ends it with the error "interrupted", which a pcall holds no further than to the next line:
see run:finally. */
static int sleep_for(lua_State *L) {
  orr_engine *engine = lua_engine(L);
  lua_Number seconds = luaL_checknumber(L, 1);
  double end = orr_clock() + seconds, left = seconds;
  if (isnan(seconds)) return lua_complain(L, "sleep: seconds is not a number");
  for (; left > 0; left = end - orr_clock()) {
    if (orr_interrupted(engine))
      lua_check_status(L, orr_engine_fail(engine, ORR_INTERRUPTED, "interrupted"));
    double slice = left < SLICE ? left : SLICE;
    nanosleep(&(struct timespec){.tv_nsec = (long)(slice * 1e9)},
              NULL); /* a signal ends it early */
  }
  return 0;
}

void open_engine(lua_State *L, int module) {
  static const luaL_Reg functions[] = {{"seed", seed},
                                       {"threads", threads},
                                       {"planning", planning},
                                       {"memory", memory},
                                       {"random", random_number},
                                       {"clock", wall_clock},
                                       {"sleep", sleep_for},
                                       {NULL, NULL}};
  lua_add_functions(L, module, functions);
  lua_pushstring(L, orr_version());
  lua_setfield(L, module, "version");
}
