/* disc.c - see disc.h. Contacts are found where discs overlap after a part of a step, which is short
   against their radius over their speed. */
#include <math.h>
#include <stdbool.h>

#include "env/disc.h"

static double cut(double x, double most) { return fmin(fmax(x, -most), most); }

void disc_drive(disc *d, double mass, const double force[2], double damping, double top,
                double dt) {
  for (int i = 0; i < 2; i++)
    d->v[i] = cut((d->v[i] + dt * force[i] / mass) / (1 + dt * damping / mass), top);
}

void disc_slow(disc *d, double deceleration, double dt) {
  double speed = hypot(d->v[0], d->v[1]), loss = deceleration * dt;
  double kept = speed > loss ? 1 - loss / speed : 0;
  for (int i = 0; i < 2; i++) d->v[i] *= kept;
}

void disc_move(disc *d, double dt) {
  for (int i = 0; i < 2; i++) d->x[i] += dt * d->v[i];
}

/* How deep they overlap, and the direction from a to b. */
static double depth_of(const disc *a, const disc *b, double reach, double normal[2]) {
  double x = b->x[0] - a->x[0], y = b->x[1] - a->x[1], distance = hypot(x, y);
  normal[0] = distance > 0 ? x / distance : 1;
  normal[1] = distance > 0 ? y / distance : 0;
  return reach - distance;
}

bool disc_hit(disc *a, const disc_kind *as, disc *b, const disc_kind *bs, double restitution) {
  double normal[2], depth = depth_of(a, b, as->radius + bs->radius, normal);
  if (depth <= 0) return false;
  double nearing = 0;
  for (int i = 0; i < 2; i++) nearing += (a->v[i] - b->v[i]) * normal[i];
  double impulse = nearing > 0 ? (1 + restitution) * nearing / (1 / as->mass + 1 / bs->mass) : 0;
  double share = bs->mass / (as->mass + bs->mass); /* of the way, for a */
  for (int i = 0; i < 2; i++) {
    a->v[i] -= impulse / as->mass * normal[i];
    b->v[i] += impulse / bs->mass * normal[i];
    a->x[i] -= share * depth * normal[i];
    b->x[i] += (1 - share) * depth * normal[i];
  }
  return true;
}

void disc_yield(disc *a, const disc_kind *as, const disc *b, const disc_kind *bs) {
  double normal[2], depth = depth_of(a, b, as->radius + bs->radius, normal);
  if (depth <= 0) return;
  double nearing = fmax(a->v[0] * normal[0] + a->v[1] * normal[1], 0);
  for (int i = 0; i < 2; i++) {
    a->x[i] -= depth * normal[i];
    a->v[i] -= nearing * normal[i];
  }
}

void disc_keep(disc *d, int axis, double low, double high, double restitution) {
  if (d->x[axis] < low) {
    d->x[axis] = low;
    d->v[axis] = restitution * fabs(d->v[axis]);
  } else if (d->x[axis] > high) {
    d->x[axis] = high;
    d->v[axis] = -restitution * fabs(d->v[axis]);
  }
}
