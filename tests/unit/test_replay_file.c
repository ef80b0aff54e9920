/* test_replay_file.c - saving and loading: exact, whole or not at all, and any damage found. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "replay_plain.h"

static char path[64], broken[64];

static void make_paths(void) {
  snprintf(path, sizeof path, "/tmp/orrery_replay_%ld.replay", (long)getpid());
  snprintf(broken, sizeof broken, "/tmp/orrery_replay_%ld.broken", (long)getpid());
}

static void remove_paths(void) {
  unlink(path);
  unlink(broken);
}

TestSuite(replay_file, .init = make_paths, .fini = remove_paths);

static uint8_t *read_file(size_t *size) {
  FILE *file = fopen(path, "rb");
  cr_assert(file);
  fseek(file, 0, SEEK_END);
  *size = (size_t)ftell(file);
  rewind(file);
  uint8_t *bytes = malloc(*size);
  cr_assert_eq(fread(bytes, 1, *size, file), *size);
  fclose(file);
  return bytes;
}

static void write_broken(const uint8_t *bytes, size_t size) {
  FILE *file = fopen(broken, "wb");
  cr_assert(file && fwrite(bytes, 1, size, file) == size);
  fclose(file);
}

static void fill(plain *p, int episodes, int longest) {
  orr_random random = orr_random_new(11, 0);
  for (int i = 0; i < episodes; i++)
    plain_add(p, &random, 1 + (int)orr_random_index(&random, (uint64_t)longest), i % 2);
}

Test(replay_file, comes_back_exactly_after_wrapping) {
  orr_engine *engine = orr_engine_new(NULL);
  plain p = plain_new(engine, 70);
  fill(&p, 50, 9);
  orr_replay_counts before = orr_replay_count(p.replay);
  orr_episode_info first, last;
  orr_replay_episode(p.replay, 0, &first);
  cr_assert_eq(orr_replay_save(p.replay, path), ORR_OK, "%s", orr_engine_message(engine));
  orr_replay_report report;
  orr_replay *loaded = orr_replay_load(engine, path, NULL, &report);
  cr_assert(loaded, "%s", orr_engine_message(engine));
  cr_assert(!report.torn && !report.damaged && !report.message[0]);
  cr_assert_eq(report.transitions, plain_total(&p));
  cr_assert(orr_space_equal(orr_replay_observation_space(loaded), p.observation));
  cr_assert(orr_space_equal(orr_replay_action_space(loaded), p.action));
  orr_replay_counts after = orr_replay_count(loaded);
  cr_assert_arr_eq(&before, &after, sizeof before);
  orr_replay_episode(loaded, 0, &last);
  cr_assert(first.number == last.number && first.length == last.length && last.first == 0);
  orr_replay_free(p.replay);
  p.replay = loaded;
  plain_compare(&p);
  fill(&p, 30, 9); /* goes on as the original would */
  plain_compare(&p);
  cr_assert_eq(orr_replay_count(loaded).episodes, before.episodes + 30);
  plain_free(&p);
  orr_engine_free(engine);
}

Test(replay_file, an_empty_one_and_other_capacities) {
  orr_engine *engine = orr_engine_new(NULL);
  plain p = plain_new(engine, 70);
  cr_assert_eq(orr_replay_save(p.replay, path), ORR_OK);
  orr_replay *loaded = orr_replay_load(engine, path, NULL, NULL);
  cr_assert(loaded && orr_replay_episodes(loaded) == 0 && orr_replay_capacity(loaded) == 70);
  orr_replay_free(loaded);
  fill(&p, 40, 9);
  cr_assert_eq(orr_replay_save(p.replay, path), ORR_OK);
  orr_replay_load_options options = orr_replay_load_options_defaults();
  options.capacity = 20;
  loaded = orr_replay_load(engine, path, &options, NULL);
  cr_assert(loaded && orr_replay_transitions(loaded) <= 20 && orr_replay_capacity(loaded) == 20);
  orr_replay_free(loaded);
  options.capacity = 3;
  cr_assert_null(orr_replay_load(engine, path, &options, NULL));
  options.capacity = -1;
  cr_assert_null(orr_replay_load(engine, path, &options, NULL));
  plain_free(&p);
  orr_engine_free(engine);
}

Test(replay_file, what_is_not_there_or_no_replay) {
  orr_engine *engine = orr_engine_new(NULL);
  cr_assert_null(orr_replay_load(engine, "/nowhere/at/all", NULL, NULL));
  cr_assert_eq(orr_engine_status(engine), ORR_IO);
  cr_assert(strstr(orr_engine_message(engine), "/nowhere/at/all"));
  cr_assert_null(orr_replay_load(engine, "/tmp", NULL, NULL));
  cr_assert_eq(orr_engine_status(engine), ORR_IO);
  cr_assert_null(orr_replay_load(engine, "/dev/null", NULL, NULL));
  write_broken((const uint8_t *)"a text that has nothing to do with replays, but is long enough",
               60);
  cr_assert_null(orr_replay_load(engine, broken, NULL, NULL));
  cr_assert_eq(orr_engine_status(engine), ORR_FORMAT);
  plain p = plain_new(engine, 7);
  cr_assert_eq(orr_replay_save(p.replay, "/nowhere/at/all"), ORR_IO);
  plain_free(&p);
  orr_engine_free(engine);
}

/* Whatever was loaded must be the plain one's episodes, in order, some missing. */
static void check_subset(plain *p, orr_replay *loaded) {
  orr_replay_output outputs[] = {{"observation", NULL}, {"action", NULL}, {"label", NULL}};
  int64_t n = orr_replay_transitions(loaded),
          oldest = orr_replay_count(p->replay).episodes - p->count;
  cr_assert_eq(orr_replay_read(loaded, n, NULL, 3, outputs), ORR_OK);
  for (int64_t i = 0; i < orr_replay_episodes(loaded); i++) {
    orr_episode_info info;
    cr_assert_eq(orr_replay_episode(loaded, i, &info), ORR_OK);
    const plain_episode *e = &p->episodes[info.number - oldest];
    cr_assert(e->length == info.length && e->terminated == info.terminated);
    for (int64_t t = 0; t < info.length; t++) {
      cr_assert_arr_eq(PLAIN_REAL(0, info.first + t, PLAIN_OBSERVATION), e->observation[t],
                       sizeof *e->observation);
      cr_assert_arr_eq(PLAIN_REAL(1, info.first + t, PLAIN_ACTION), e->action[t],
                       sizeof *e->action);
      cr_assert_eq(*PLAIN_BYTE(2, info.first + t, 1), e->label[t]);
    }
  }
  plain_free_outputs(outputs, 3);
}

Test(replay_file, every_truncation) {
  orr_engine *engine = orr_engine_new(NULL);
  plain p = plain_new(engine, 30);
  fill(&p, 20, 5);
  cr_assert_eq(orr_replay_save(p.replay, path), ORR_OK);
  size_t size;
  uint8_t *bytes = read_file(&size);
  int64_t most = -1;
  for (size_t n = 0; n < size; n++) {
    write_broken(bytes, n);
    orr_replay_report report;
    orr_replay *loaded = orr_replay_load(engine, broken, NULL, &report);
    if (!loaded) {
      cr_assert_eq(orr_engine_status(engine), ORR_FORMAT);
      cr_assert_eq(most, -1, "%zu of %zu bytes: %s", n, size, orr_engine_message(engine));
      continue;
    }
    cr_assert(report.torn && report.message[0] && !report.damaged);
    int64_t episodes = orr_replay_episodes(loaded);
    cr_assert(episodes == most || episodes == most + 1 || most < 0);
    most = episodes;
    check_subset(&p, loaded);
    orr_replay_free(loaded);
  }
  cr_assert_eq(most, p.count);
  free(bytes);
  plain_free(&p);
  orr_engine_free(engine);
}

Test(replay_file, every_bit_flip, .timeout = 300) {
  orr_engine *engine = orr_engine_new(NULL);
  plain p = plain_new(engine, 12);
  fill(&p, 20, 5);
  cr_assert_eq(orr_replay_save(p.replay, path), ORR_OK);
  size_t size;
  uint8_t *bytes = read_file(&size);
  int refused = 0, salvaged = 0;
  orr_replay_load_options salvage = orr_replay_load_options_defaults();
  salvage.salvage = true;
  for (size_t bit = 0; bit < 8 * size; bit++) {
    bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    write_broken(bytes, size);
    bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    orr_replay_report report;
    orr_replay *loaded = orr_replay_load(engine, broken, NULL, &report);
    bool end = bit / 8 >= size - 40; /* the end record: nothing is lost with it */
    cr_assert_eq(loaded != NULL, end, "bit %zu of %zu", bit, 8 * size);
    if (loaded) cr_assert(report.torn && orr_replay_episodes(loaded) == p.count);
    else cr_assert_eq(orr_engine_status(engine), ORR_FORMAT);
    refused += !loaded;
    orr_replay_free(loaded);
    loaded = orr_replay_load(engine, broken, &salvage, &report);
    if (!loaded) continue; /* the description */
    salvaged++;
    cr_assert(report.message[0]);
    cr_assert_geq(orr_replay_episodes(loaded), p.count - 1);
    check_subset(&p, loaded);
    orr_replay_free(loaded);
  }
  cr_assert(refused > 0 && salvaged > 0);
  free(bytes);
  plain_free(&p);
  orr_engine_free(engine);
}

Test(replay_file, something_behind_the_end) {
  orr_engine *engine = orr_engine_new(NULL);
  plain p = plain_new(engine, 12);
  fill(&p, 20, 5);
  cr_assert_eq(orr_replay_save(p.replay, path), ORR_OK);
  size_t size;
  uint8_t *bytes = read_file(&size), *twice = malloc(2 * size);
  memcpy(twice, bytes, size);
  memcpy(twice + size, bytes, size);
  orr_replay_load_options salvage = orr_replay_load_options_defaults();
  salvage.salvage = true;
  for (size_t n = size + 1; n < 2 * size; n += 37) {
    write_broken(twice, n);
    cr_assert_null(orr_replay_load(engine, broken, NULL, NULL));
    orr_replay *loaded = orr_replay_load(engine, broken, &salvage, NULL);
    cr_assert(loaded && orr_replay_episodes(loaded) == p.count);
    orr_replay_free(loaded);
  }
  free(twice), free(bytes);
  plain_free(&p);
  orr_engine_free(engine);
}

/* Makes every checksum right again, as far as the records can be followed. */
static void forge(uint8_t *bytes, size_t size) {
  for (size_t at = 16; at + 24 <= size;) {
    uint64_t length;
    memcpy(&length, bytes + at + 8, 8);
    if (length > size - at - 24) length = size - at - 24;
    uint32_t crc = (uint32_t)crc32_z(0, bytes + at + 24, (size_t)length);
    memcpy(bytes + at + 16, &crc, 4);
    crc = (uint32_t)crc32_z(0, bytes + at, 20);
    memcpy(bytes + at + 20, &crc, 4);
    at += 24 + (size_t)length;
  }
}

/* Nonsense whose checksums are right must be refused, or give a replay that can be read. */
Test(replay_file, forged, .timeout = 300) {
  orr_engine_options limited = orr_engine_options_defaults();
  limited.memory_limit = 1 << 30;
  orr_engine *engine = orr_engine_new(&limited);
  plain p = plain_new(engine, 12);
  fill(&p, 20, 5);
  cr_assert_eq(orr_replay_save(p.replay, path), ORR_OK);
  size_t size;
  uint8_t *bytes = read_file(&size), *bad = malloc(size);
  orr_random random = orr_random_new(12, 0);
  orr_replay_load_options options = orr_replay_load_options_defaults();
  int loaded_count = 0;
  for (int i = 0; i < 3000; i++) {
    memcpy(bad, bytes, size);
    for (int k = 0; k < 1 + i % 3; k++) {
      size_t at = 16 + orr_random_index(&random, i % 2 ? size - 16 : 900);
      bad[at] = i % 4 == 1 ? (uint8_t) "0123456789[]{}-,"[orr_random_index(&random, 16)]
                           : (uint8_t)orr_random_index(&random, 256);
    }
    forge(bad, size);
    write_broken(bad, size);
    options.salvage = i % 5 == 0;
    orr_replay *loaded = orr_replay_load(engine, broken, &options, NULL);
    if (!loaded) {
      cr_assert(orr_engine_message(engine)[0]);
      continue;
    }
    loaded_count++;
    orr_replay_output outputs[] = {{"observation", NULL}, {"reward", NULL}};
    int64_t n = orr_replay_transitions(loaded);
    cr_assert_eq(orr_replay_read(loaded, n, NULL, 2, outputs), ORR_OK);
    const orr_real *reward = orr_tensor_data(outputs[1].tensor);
    for (int64_t k = 0; k < n; k++) cr_assert(isfinite(reward[k]));
    plain_free_outputs(outputs, 2);
    orr_replay_free(loaded);
  }
  cr_assert_gt(loaded_count, 100);
  free(bad), free(bytes);
  plain_free(&p);
  orr_engine_free(engine);
}
