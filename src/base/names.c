/* names.c - near misses: "no field 'velocty'; did you mean 'velocity'?" */
#include <string.h>

#include "base/base.h"

enum { LONGEST = 64 };

/* Edit distance (Levenshtein), one row at a time; names longer than LONGEST never match. */
static int distance(const char *a, const char *b) {
  size_t m = strlen(a), n = strlen(b);
  if (m >= LONGEST || n >= LONGEST) return LONGEST;
  int row[LONGEST + 1];
  for (size_t j = 0; j <= n; j++) row[j] = (int)j;
  for (size_t i = 1; i <= m; i++) {
    int diagonal = row[0];
    row[0] = (int)i;
    for (size_t j = 1; j <= n; j++) {
      int best = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      if (row[j] + 1 < best) best = row[j] + 1;
      if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
      row[j] = best;
    }
  }
  return row[n];
}

const char *nearest_name(const char *wanted, const char *const *names, int count) {
  const char *best = NULL;
  int least = LONGEST;
  for (int i = 0; i < count; i++) {
    int d = distance(wanted, names[i]);
    if (d < least) least = d, best = names[i];
  }
  int allowed = (int)strlen(wanted) / 3 + 1;
  return least <= allowed ? best : NULL;
}

const char *orr_nearest_name(const char *wanted, const char *const *names, int count) {
  return nearest_name(wanted, names, count);
}
