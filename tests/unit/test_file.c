/* test_file.c - files appear whole or not at all, also when the disk is full. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/file.h"
#include "temporary_folder.h"

static void begin(void) { begin_in_folder("x"); }

TestSuite(file, .init = begin, .fini = end);

static void put(const char *text) {
  file_writer *writer = file_create(engine, path);
  cr_assert(writer);
  cr_expect_eq(file_write(writer, text, strlen(text)), ORR_OK);
  cr_expect_eq(file_commit(writer), ORR_OK);
}

static void expect(const char *text) {
  size_t size;
  char *bytes = file_read(engine, path, 1 << 20, &size);
  cr_assert(bytes, "%s", orr_engine_message(engine));
  cr_expect_eq(size, strlen(text));
  cr_expect_str_eq(bytes, text);
  engine_free_memory(engine, bytes);
  cr_expect_eq(files(), 1);
}

Test(file, replaces_the_old_one_at_once) {
  put("old");
  file_writer *writer = file_create(engine, path), *other = file_create(engine, path);
  cr_assert(writer && other); /* two at a time do not meet */
  file_write(writer, "....new", 7);
  cr_expect_eq(file_position(writer), 7);
  cr_expect_eq(file_rewrite(writer, 0, "1234", 4), ORR_OK);
  cr_expect_eq(file_position(writer), 7);
  cr_expect_eq(files(), 3);
  cr_expect_eq(file_commit(writer), ORR_OK);
  file_write(other, "other", 5);
  file_abandon(other);
  file_abandon(NULL);
  expect("1234new");
}

Test(file, a_full_disk_leaves_the_old_one) {
  char *much = calloc(1, 1 << 16);
  put("old");
  signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &(struct rlimit){1000, 1000});
  file_writer *writer = file_create(engine, path);
  cr_expect_eq(file_write(writer, much, 1 << 16), ORR_IO);
  cr_expect(strstr(orr_engine_message(engine), path));
  cr_expect_eq(file_write(writer, "x", 1), ORR_IO, "the first failure is remembered");
  cr_expect_eq(file_commit(writer), ORR_IO);
  expect("old");
  free(much);
}

Test(file, says_what_it_cannot_open) {
  size_t size;
  cr_expect_null(file_create(engine, "/tmp/no/such/folder/x"));
  cr_expect_eq(orr_engine_status(engine), ORR_IO);
  cr_expect(strstr(orr_engine_message(engine), "'/tmp/no/such/folder/x': No such file"));
  cr_expect_null(file_read(engine, path, 100, &size));
  cr_expect_eq(orr_engine_status(engine), ORR_IO);
  cr_expect_null(file_read(engine, folder, 100, &size));
  put("12345");
  cr_expect_null(file_read(engine, path, 4, &size));
  cr_expect(strstr(orr_engine_message(engine), "has 5 bytes; at most 4 are read"));
}
