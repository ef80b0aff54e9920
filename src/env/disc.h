/* disc.h - discs that slide on a table and push each other: what push.c and ball_game.c share. Rims are
   smooth, so that nothing spins. */
#ifndef ENV_DISC_H
#define ENV_DISC_H

#include <stdbool.h>

typedef struct disc {
  double x[2], v[2]; /* m, m/s */
} disc;

typedef struct disc_kind {
  double radius, mass; /* m, kg */
} disc_kind;

/* v' = (v + dt force / mass) / (1 + dt damping / mass), held below `top` along each axis: damping takes
   the speed at the end of the time, which is stable for any. */
void disc_drive(disc *d, double mass, const double force[2], double damping, double top, double dt);
/* Dry friction: the speed falls by deceleration dt, to 0 at least. */
void disc_slow(disc *d, double deceleration, double dt);
void disc_move(disc *d, double dt);
/* Two discs that overlap: an impulse along the line of centres, which leaves `restitution` of the speed
   with which they met, and each is moved out of the other, the lighter one farther. Whether they
   touched. */
bool disc_hit(disc *a, const disc_kind *as, disc *b, const disc_kind *bs, double restitution);
/* The same for one that cannot move b, which is held by a wall: a alone gives way. */
void disc_yield(disc *a, const disc_kind *as, const disc *b, const disc_kind *bs);
/* Off the wall that bounds axis at low .. high, as seen from the middle of the disc. */
void disc_keep(disc *d, int axis, double low, double high, double restitution);

#endif
