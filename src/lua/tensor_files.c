/* tensor_files.c - tensors in files: NumPy's .npy for one, safetensors for several with names.
   Files are written whole or not at all. */
#include <string.h>

#include "lua/tensor.h"

/*** orrery.load_npy(path): the tensor in a .npy file. Floats of any width become real, bools and
bytes byte, other whole numbers int. A file that is truncated, damaged or of another kind is an
error that says where. */
static int load_npy(lua_State *L) {
  return lua_push_tensor(L, orr_npy_read(lua_engine(L), luaL_checkstring(L, 1)));
}

/*** orrery.save_npy(path, x): writes a tensor as .npy, whole or not at all. */
static int save_npy(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  lua_check_status(L, orr_npy_write(lua_to_tensor(L, 2), path));
  return 0;
}

static void free_bundle(void *object) { orr_bundle_free(object); }

static const lua_class bundle_class = {"orrery.bundle", "bundle", free_bundle, NULL, NULL};

/*** orrery.load_tensors(path, options): two tables, tensors by name and texts by key, out of a
safetensors file, which is checked as hostile input. options: allow_not_finite = true lets
infinities and NaN through, which are an error otherwise. */
static int load_tensors(lua_State *L) {
  static const char *const options[] = {"allow_not_finite", NULL};
  const char *path = luaL_checkstring(L, 1);
  lua_check_options(L, 2, "load_tensors", options);
  bool allow = lua_option_boolean(L, 2, "allow_not_finite", false);
  lua_push_object(L, &bundle_class, orr_bundle_read(lua_engine(L), path, allow));
  const orr_bundle *bundle = lua_check_object(L, -1, &bundle_class);
  int holder = lua_gettop(L);
  lua_createtable(L, 0, orr_bundle_count(bundle));
  for (int i = 0; i < orr_bundle_count(bundle); i++) {
    lua_handle *handle = lua_new_handle(L, &lua_tensor_class);
    lua_fill(L, handle, orr_tensor_retain(orr_bundle_tensor(bundle, i)));
    lua_setfield(L, -2, orr_bundle_name(bundle, i));
  }
  lua_createtable(L, 0, orr_bundle_text_count(bundle));
  for (int i = 0; i < orr_bundle_text_count(bundle); i++) {
    lua_pushstring(L, orr_bundle_text_at(bundle, i));
    lua_setfield(L, -2, orr_bundle_text_key(bundle, i));
  }
  lua_close_object(L, holder);
  return 2;
}

/* Pushes the sorted list of the keys, all strings, of the table at index. */
static int push_sorted_keys(lua_State *L, int index, const char *what) {
  int n = 0;
  lua_newtable(L);
  lua_pushnil(L);
  while (lua_next(L, index)) {
    lua_pop(L, 1);
    if (lua_type(L, -1) != LUA_TSTRING) lua_complain(L, "save_tensors: %s have names", what);
    const char *key = lua_tostring(L, -1);
    int place = ++n;
    for (; place > 1; place--) { /* insertion: the order of pairs() changes from run to run */
      lua_rawgeti(L, -2, place - 1);
      bool behind = strcmp(lua_tostring(L, -1), key) > 0;
      if (behind) lua_rawseti(L, -3, place);
      else lua_pop(L, 1);
      if (!behind) break;
    }
    lua_pushvalue(L, -1);
    lua_rawseti(L, -3, place);
  }
  return n;
}

/*** orrery.save_tensors(path, tensors, texts): writes a table of tensors by name, and one of texts
by key when given, as safetensors, in order of name, whole or not at all. */
static int save_tensors(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 3);
  if (lua_isnil(L, 3)) lua_newtable(L), lua_replace(L, 3);
  luaL_checktype(L, 3, LUA_TTABLE);
  lua_push_object(L, &bundle_class, orr_bundle_new(lua_engine(L)));
  orr_bundle *bundle = lua_check_object(L, 4, &bundle_class);
  int count = push_sorted_keys(L, 2, "tensors");
  for (int i = 1; i <= count; i++) {
    lua_rawgeti(L, 5, i);
    const char *name = lua_tostring(L, -1);
    lua_getfield(L, 2, name);
    orr_tensor *x = lua_test_tensor(L, -1);
    if (!x) lua_complain(L, "save_tensors: '%s' is a %s, not a tensor", name, luaL_typename(L, -1));
    lua_check_status(L, orr_bundle_add(bundle, name, x));
    lua_pop(L, 2);
  }
  count = push_sorted_keys(L, 3, "texts");
  for (int i = 1; i <= count; i++) {
    lua_rawgeti(L, 6, i);
    const char *key = lua_tostring(L, -1);
    lua_getfield(L, 3, key);
    if (lua_type(L, -1) != LUA_TSTRING)
      lua_complain(L, "save_tensors: the text '%s' is a %s", key, luaL_typename(L, -1));
    lua_check_status(L, orr_bundle_add_text(bundle, key, lua_tostring(L, -1)));
    lua_pop(L, 2);
  }
  lua_check_status(L, orr_bundle_write(bundle, path));
  lua_close_object(L, 4);
  return 0;
}

void lua_add_tensor_files(lua_State *L, int module) {
  static const luaL_Reg functions[] = {{"load_npy", load_npy},
                                       {"save_npy", save_npy},
                                       {"load_tensors", load_tensors},
                                       {"save_tensors", save_tensors},
                                       {NULL, NULL}};
  lua_new_class(L, &bundle_class);
  lua_add_functions(L, module, functions);
}
