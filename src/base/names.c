/* names.c - near misses: "no field 'velocty'; did you mean 'velocity'?" */
#include <string.h>

#include "base/base.h"

enum { LONGEST = 64 };

/* Edit distance (Levenshtein), counting a swap of neighbours as one; names longer than LONGEST
   never match. */
static int distance(const char *a, const char *b) {
  size_t m = strlen(a), n = strlen(b);
  if (m >= LONGEST || n >= LONGEST) return LONGEST;
  int rows[LONGEST][LONGEST];
  for (size_t j = 0; j <= n; j++) rows[0][j] = (int)j;
  for (size_t i = 1; i <= m; i++) {
    rows[i][0] = (int)i;
    for (size_t j = 1; j <= n; j++) {
      int best = rows[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
      if (rows[i - 1][j] + 1 < best) best = rows[i - 1][j] + 1;
      if (rows[i][j - 1] + 1 < best) best = rows[i][j - 1] + 1;
      bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped && rows[i - 2][j - 2] + 1 < best) best = rows[i - 2][j - 2] + 1;
      rows[i][j] = best;
    }
  }
  return rows[m][n];
}

/* How far a name may be from what was meant: nothing that shares no letter, one edit in up to 5
   letters ("foo" is not "cos"), and one more for every 3. */
static int most_edits(size_t wanted, size_t known) {
  int length = (int)(wanted < known ? wanted : known);
  int allowed = length < 6 ? 1 : length / 3;
  return allowed < length ? allowed : length - 1;
}

const char *nearest_name(const char *wanted, const char *const *names, int count) {
  const char *best = NULL;
  int least = LONGEST;
  for (int i = 0; i < count; i++) {
    int d = distance(wanted, names[i]);
    if (d < least) least = d, best = names[i];
  }
  return best && least <= most_edits(strlen(wanted), strlen(best)) ? best : NULL;
}

const char *orr_nearest_name(const char *wanted, const char *const *names, int count) {
  return nearest_name(wanted, names, count);
}
