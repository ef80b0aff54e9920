/* two_link.h - the arm that reacher and pencil share: two uniform rods in the plane, each driven by
   a motor in its joint, without gravity, with friction in the joints. The second angle is measured
   from the first link. Equations of motion of a two-link manipulator (Spong, Hutchinson,
   Vidyasagar, Robot Modeling and Control, chapter 7):

     M(q) q'' + C(q, q') + friction q' = torque */
#ifndef TWO_LINK_H
#define TWO_LINK_H

#include "env/env.h"

typedef struct two_link {
  double length, mass, friction; /* of each link in m and kg, of each joint in N m s */
} two_link;

/* Moves angles (rad) and velocities (rad/s) on by `seconds` under constant torques (N m), in four
   parts. */
void two_link_step(const two_link *arm, double angle[2], double velocity[2], const double torque[2],
                   double seconds);

void two_link_find(const two_link *arm, const double angle[2], double elbow[2], double tip[2]);

/* What is seen of it, each for both links: cosines and sines of the angles, velocities; the tip. */
void two_link_observe(const two_link *arm, const double angle[2], const double velocity[2],
                      orr_real observation[8]);

/* Angles that put the tip to x, y, the elbow to the right of the line from shoulder to tip. What is
   out of reach is pointed at. */
void two_link_reach(const two_link *arm, double x, double y, double angle[2]);

/* Both links and the joints; the tip is left to the caller. */
void two_link_draw(const two_link *arm, const double angle[2], const env_view *view);

#endif
