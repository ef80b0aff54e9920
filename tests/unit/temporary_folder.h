/* temporary_folder.h - for tests of files: an engine, and a folder that is removed afterwards. */
#ifndef TEMPORARY_FOLDER_H
#define TEMPORARY_FOLDER_H

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "orrery/base.h"

static orr_engine *engine;
static char folder[] = "/tmp/orrery-test-XXXXXX", path[64]; /* path: of the file under test */

static void begin_in_folder(const char *name) {
  orr_engine_options options = orr_engine_options_defaults();
  options.threads = 1;
  engine = orr_engine_new(&options);
  cr_assert(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/%s", folder, name);
}

static void end(void) {
  unlink(path);
  rmdir(folder);
  orr_engine_free(engine);
}

/* Files in the folder: temporaries would show. */
static int files(void) {
  int count = 0;
  DIR *open = opendir(folder);
  for (struct dirent *entry; (entry = readdir(open));) count += entry->d_name[0] != '.';
  closedir(open);
  return count;
}

#endif
