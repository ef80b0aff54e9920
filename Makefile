# make demo    installs what is missing (Debian), builds, runs the first experiment
# make test    installs what is missing, builds, runs every test
# make all     the program, the libraries and the Lua module, in build/
#              one of them: make test TEST=test_plan, or ORRERY_TEST_LUA=trace make test TEST=test_lua
# make asan    the tests under the address and undefined-behaviour sanitizers
# make bench   speed, beside PyTorch's where make bench-peers has installed it: about ten minutes; also
#              bench-parts (kernels, replay), bench-scaling (curves), bench-instructions (counts),
#              bench-deadline (whether planning keeps its deadline on busy cores), bench-learners (whether
#              the model-free learners reach what is published for them: an hour or two)
# make docs    reference      make install   to PREFIX      make clean

# ---- settings: set them on the command line, as in `make PREFIX=$HOME/.local install`

PREFIX = /usr/local
DESTDIR =
CC = gcc
CFLAGS = -O2 -g
LDFLAGS =
# 1: warnings are errors
WERROR =
# 1: double precision, in build/double; what the gradient checks run in
DOUBLE =
# such as address,undefined or thread, in build/asan or build/tsan
SANITIZE =
# jobs at a time
JOBS = $(shell nproc 2>/dev/null || echo 2)
# options for the experiment that `make demo` runs
DEMO =
# options for `make bench`, such as BENCH="--cases=pets --reps=11"; see tests/bench/run.lua
BENCH =
# 1: show whole commands
V =

# ---- nothing below needs changing

VERSION_OF = $(shell sed -n 's/^.define ORR_VERSION_$(1) //p' include/orrery/base.h)
VERSION := $(call VERSION_OF,MAJOR).$(call VERSION_OF,MINOR).$(call VERSION_OF,PATCH)
SONAME := liborrery.so.$(call VERSION_OF,MAJOR)

q := $(if $(V),,@)
say = $(if $(V),,@echo "  $(1)")

variant := $(if $(DOUBLE),double)$(if $(SANITIZE),$(if $(findstring thread,$(SANITIZE)),tsan,asan))
BUILD := build$(if $(variant),/$(variant))

ifeq ($(MAKELEVEL),0)
  MAKEFLAGS += -j$(JOBS)
endif
MAKEFLAGS += --no-print-directory --no-builtin-rules

LUA_PC := $(shell for name in lua5.4 lua-5.4 lua54 lua; do \
	pkg-config --exists $$name 2>/dev/null && echo $$name && break; done)
ifeq ($(LUA_PC)$(filter packages demo test asan tsan bench bench-% clean,$(MAKECMDGOALS)),)
  $(error Lua 5.4 is missing, and perhaps more: `make packages` installs what is needed)
endif
CORE_PC := openblas libpng zlib jansson
CORE_LIBS := $(shell pkg-config --libs $(CORE_PC) 2>/dev/null) -lm -pthread
LUA_LIBS := $(if $(LUA_PC),$(shell pkg-config --libs $(LUA_PC)))
EDIT_LIBS := $(shell pkg-config --libs libedit 2>/dev/null)

warnings := -Wall -Wextra -Wshadow -Wpointer-arith -Wstrict-prototypes \
	$(if $(WERROR),-Werror)
sanitize := $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer -fno-sanitize-recover=all)
# -ffp-contract=off: a * b + c rounds the same on every processor unless a kernel asks for fma.
# -fno-math-errno and -fno-trapping-math let loops vectorise and change no result.
flags := -std=c11 -D_GNU_SOURCE -fPIC -fvisibility=hidden -Iinclude -Isrc \
	-ffp-contract=off -fno-math-errno -fno-trapping-math \
	$(shell pkg-config --cflags $(LUA_PC) $(CORE_PC) 2>/dev/null) \
	$(warnings) $(if $(DOUBLE),-DORR_DOUBLE) $(sanitize) -MMD -MP
link := $(sanitize) $(LDFLAGS)
object = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

# src/kernel/kernels*.c are compiled once for each instruction set; engine_kernels() chooses.
kernel_sets := portable
ifneq ($(filter x86_64%,$(shell $(CC) -dumpmachine 2>/dev/null)),)
  kernel_sets += avx2 avx512
endif
kernel_flags := -O3
kernel_flags_portable :=
kernel_flags_avx2 := -mavx2 -mfma
kernel_flags_avx512 := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mprefer-vector-width=512

# choose.c refers to the tables weakly, which would not pull them from an archive: they are one object.
kernel_sources := $(wildcard src/kernel/kernels*.c)
lua_sources := $(wildcard src/lua/*.c)
cli_sources := $(wildcard src/cli/*.c)
core_sources := $(filter-out $(kernel_sources) src/kernel/choose.c $(lua_sources) $(cli_sources) $(wildcard src/ext/*.c), \
	$(wildcard src/*/*.c))
kernel_objects := $(call object,src/kernel/choose.c) \
	$(foreach set,$(kernel_sets),$(kernel_sources:%.c=$(BUILD)/obj/%.$(set).o))
core_objects := $(call object,$(core_sources)) $(BUILD)/obj/kernel_tables.o
lua_objects := $(call object,$(lua_sources)) $(BUILD)/obj/lua_sources.o
cli_objects := $(call object,$(cli_sources))

program := $(BUILD)/orrery
static := $(BUILD)/liborrery.a
shared := $(BUILD)/$(SONAME)
module := $(BUILD)/orrery.so

unit_tests := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/test_*.c))
# Gradients are checked against differences, which only double precision can tell from rounding.
gradient_tests := $(filter $(BUILD)/tests/test_gradient%,$(unit_tests))
unit_tests := $(if $(DOUBLE),$(gradient_tests),$(filter-out $(gradient_tests),$(unit_tests)))
# Plain programs for what Criterion cannot run: threads under the thread sanitizer.
thread_tests := $(patsubst tests/threads/%.c,$(BUILD)/threads/%,$(wildcard tests/threads/*.c))
bench_programs := $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(wildcard tests/bench/*.c))

.PHONY: all lib demo test check asan tsan bench docs install uninstall clean packages format-check \
	test-programs
.DELETE_ON_ERROR:
.SECONDARY:

all: $(program) lib $(module)
	@:
lib: $(static) $(BUILD)/liborrery.so $(BUILD)/orrery.pc $(BUILD)/orrery-lua.pc

# What needs packages asks for them first, then starts over so that pkg-config sees them.
packages:
	@tools/packages

demo: packages
	@$(MAKE) all
	@$(program) run experiments/one_model_many_rewards.lua $(DEMO)

test: packages
	@$(MAKE) check

check: all test-programs $(if $(SANITIZE),,bench-programs) docs $(if $(SANITIZE),,$(if $(DOUBLE),,double-tests))
	@BUILD=$(BUILD) CC="$(CC)" MAKE="$(MAKE)" TEST="$(TEST)" SANITIZE="$(SANITIZE)" tests/run

test-programs: $(unit_tests) $(if $(DOUBLE),,$(thread_tests))

.PHONY: double-tests
double-tests:
	@$(MAKE) DOUBLE=1 test-programs

asan: packages
	@$(MAKE) SANITIZE=address,undefined CFLAGS="-O1 -g" check

# Criterion cannot run under the thread sanitizer; the Lua tests need nothing but the program.
tsan: packages
	@$(MAKE) SANITIZE=thread CFLAGS="-O1 -g" build/tsan/orrery $(thread_tests:build/%=build/tsan/%)
	@for name in $(thread_tests:build/%=build/tsan/%); do \
	  TSAN_OPTIONS=halt_on_error=1:suppressions=tests/tsan.supp $$name || exit 1; done
	@for name in tests/lua/test_*.lua; do echo "$$name"; \
	  TSAN_OPTIONS=halt_on_error=1:allocator_may_return_null=1:suppressions=tests/tsan.supp build/tsan/orrery run $$name || exit 1; done

.PHONY: bench-programs bench-peers bench-parts bench-overhead bench-scaling bench-instructions \
	bench-deadline bench-learners
bench bench-parts bench-overhead bench-scaling bench-instructions bench-deadline bench-learners: packages

bench:
	@$(MAKE) bench-programs
	@$(program) run tests/bench/run.lua $(BENCH)

bench-peers:
	@tests/bench/install_peers

bench-parts:
	@$(MAKE) bench-programs
	@for name in $(filter-out %/bench_peak,$(bench_programs)); do echo "== $$name"; $$name || exit 1; done

bench-overhead:
	@$(MAKE) bench-programs
	@$(program) run tests/bench/overhead.lua

bench-scaling:
	@$(MAKE) bench-programs
	@$(program) run tests/bench/scaling.lua

bench-deadline:
	@$(MAKE) all
	@$(program) run tests/bench/deadline.lua $(BENCH)

bench-learners:
	@$(MAKE) all
	@$(program) run tests/bench/learners.lua $(BENCH)

bench-instructions:
	@$(MAKE) bench-programs
	@tests/bench/instructions

bench-programs: all $(bench_programs)

docs: $(BUILD)/docs/reference.md

documented := $(wildcard lua/orrery/*.lua src/lua/*.c src/env/*.def src/plan/*.def include/orrery/*.def)

$(BUILD)/docs/reference.md: $(program) tools/docs.lua $(documented)
	@mkdir -p $(@D)
	$(call say,docs)
	$(q)$(program) run tools/docs.lua $(@D) $(documented)

format-check:
	clang-format --dry-run --Werror $$(git ls-files '*.c' '*.h')
	awk 'length > 100 { print FILENAME ":" FNR ": more than 100 columns"; long = 1 } END { exit long }' \
	  $$(git ls-files '*.c' '*.h')

clean:
	rm -rf build

# ---- compiling

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,cc $<)
	$(q)$(CC) $(flags) $(CFLAGS) -c $< -o $@

define kernel_rule
$(BUILD)/obj/src/kernel/%.$(1).o: src/kernel/%.c
	@mkdir -p $$(@D)
	$$(call say,cc $$< for $(1))
	$(q)$$(CC) $$(flags) $$(CFLAGS) $$(kernel_flags) $$(kernel_flags_$(1)) -DKERNELS=kernels_$(1) -c $$< -o $$@
endef
$(foreach set,$(kernel_sets),$(eval $(call kernel_rule,$(set))))

$(BUILD)/obj/kernel_tables.o: $(kernel_objects)
	$(q)$(CC) -r -nostdlib $^ -o $@

# The Lua library, lua/orrery/*.lua, as strings in C.
$(BUILD)/lua_sources.c: $(wildcard lua/orrery/*.lua) lua/orrery tools/embed_lua
	@mkdir -p $(@D)
	$(q)tools/embed_lua $(filter %.lua,$^) > $@

$(BUILD)/obj/lua_sources.o: $(BUILD)/lua_sources.c
	@mkdir -p $(@D)
	$(call say,cc $<)
	$(q)$(CC) $(flags) $(CFLAGS) -c $< -o $@

# ---- linking

$(static): $(core_objects) $(lua_objects)
	@mkdir -p $(@D)
	@rm -f $@
	$(call say,ar $@)
	$(q)ar rcs $@ $^

# The engine without Lua: a host that only plans needs none.
$(shared): $(core_objects)
	$(call say,link $@)
	$(q)$(CC) -shared -Wl,-soname,$(SONAME) $(if $(SANITIZE),,-Wl,-z,defs) $(link) $^ $(CORE_LIBS) -o $@

$(BUILD)/liborrery.so: $(shared)
	$(q)ln -sf $(SONAME) $@

# For `require "orrery"` in a stock Lua 5.4, whose symbols the host provides.
$(module): $(lua_objects) $(BUILD)/liborrery.so
	$(call say,link $@)
	$(q)$(CC) -shared -Wl,-soname,orrery.so $(link) $(lua_objects) -L$(BUILD) -lorrery -lm -Wl,-rpath,'$$ORIGIN:$$ORIGIN/../..' -o $@

# -Wl,-E: C modules that a script requires find Lua in the program.
$(program): $(cli_objects) $(static)
	$(call say,link $@)
	$(q)$(CC) $(link) -Wl,-E $(cli_objects) $(static) $(EDIT_LIBS) $(LUA_LIBS) $(CORE_LIBS) -o $@

$(BUILD)/tests/%: $(BUILD)/obj/tests/unit/%.o $(static)
	@mkdir -p $(@D)
	$(call say,link $@)
	$(q)$(CC) $(link) $< $(static) -lcriterion $(LUA_LIBS) $(CORE_LIBS) -o $@

$(BUILD)/threads/%: $(BUILD)/obj/tests/threads/%.o $(static)
	@mkdir -p $(@D)
	$(call say,link $@)
	$(q)$(CC) $(link) $< $(static) $(CORE_LIBS) -o $@

$(BUILD)/bench/%: $(BUILD)/obj/tests/bench/%.o $(static)
	@mkdir -p $(@D)
	$(call say,link $@)
	$(q)$(CC) $(link) $< $(static) $(LUA_LIBS) $(CORE_LIBS) -o $@

# ---- installing

pc = sed -e 's|@version@|$(VERSION)|' -e 's|@requires@|$(CORE_PC)|' -e 's|@libdir@|$(1)|' \
	-e 's|@includedir@|$(2)|' -e 's|@luadir@|$(3)|'

$(BUILD)/%.pc: tools/%.pc.in include/orrery/base.h Makefile
	@mkdir -p $(@D)
	$(q)$(call pc,$(CURDIR)/$(BUILD),$(CURDIR)/include,$(CURDIR)/$(BUILD)) $< > $@

install: all
	install -d $(addprefix $(DESTDIR)$(PREFIX)/,bin include/orrery lib/pkgconfig lib/lua/5.4)
	install -m 755 $(program) $(DESTDIR)$(PREFIX)/bin/
	install -m 644 $(wildcard include/orrery/*.h include/orrery/*.def) $(DESTDIR)$(PREFIX)/include/orrery/
	install -m 644 $(static) $(DESTDIR)$(PREFIX)/lib/
	install -m 755 $(shared) $(DESTDIR)$(PREFIX)/lib/
	ln -sf $(SONAME) $(DESTDIR)$(PREFIX)/lib/liborrery.so
	install -m 755 $(module) $(DESTDIR)$(PREFIX)/lib/lua/5.4/
	for name in orrery orrery-lua; do \
	  $(call pc,$(PREFIX)/lib,$(PREFIX)/include,$(PREFIX)/lib/lua/5.4) tools/$$name.pc.in \
	    > $(DESTDIR)$(PREFIX)/lib/pkgconfig/$$name.pc || exit 1; \
	done

uninstall:
	rm -rf $(DESTDIR)$(PREFIX)/include/orrery
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/,bin/orrery lib/liborrery.a lib/liborrery.so lib/$(SONAME) \
		lib/lua/5.4/orrery.so lib/pkgconfig/orrery.pc \
		lib/pkgconfig/orrery-lua.pc)

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
