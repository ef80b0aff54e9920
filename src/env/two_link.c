/* two_link.c - an arm of two links in the plane: how it moves, and where its parts are. */
#include "env/two_link.h"

#include <math.h>

/* One step of semi-implicit Euler: velocities first, then angles with the new velocities. */
static void integrate(const two_link *arm, double angle[2], double velocity[2],
                      const double torque[2], double dt) {
  double ml2 = arm->mass * arm->length * arm->length, c = cos(angle[1]), w0 = velocity[0],
         w1 = velocity[1];
  double m00 = ml2 * (5.0 / 3 + c), m01 = ml2 * (1.0 / 3 + c / 2), m11 = ml2 / 3;
  double h = ml2 / 2 * sin(angle[1]);
  double f0 = torque[0] - arm->friction * w0 + h * (2 * w0 * w1 + w1 * w1);
  double f1 = torque[1] - arm->friction * w1 - h * w0 * w0;
  double determinant = m00 * m11 - m01 * m01;
  velocity[0] += dt * (m11 * f0 - m01 * f1) / determinant;
  velocity[1] += dt * (m00 * f1 - m01 * f0) / determinant;
  for (int i = 0; i < 2; i++) angle[i] += dt * velocity[i];
}

void two_link_step(const two_link *arm, double angle[2], double velocity[2], const double torque[2],
                   double seconds) {
  for (int i = 0; i < 4; i++) integrate(arm, angle, velocity, torque, seconds / 4);
}

void two_link_find(const two_link *arm, const double angle[2], double elbow[2], double tip[2]) {
  double both = angle[0] + angle[1];
  elbow[0] = arm->length * cos(angle[0]);
  elbow[1] = arm->length * sin(angle[0]);
  tip[0] = elbow[0] + arm->length * cos(both);
  tip[1] = elbow[1] + arm->length * sin(both);
}

/* Both links are as long, so the line to the tip halves the angle at the elbow. */
void two_link_observe(const two_link *arm, const double angle[2], const double velocity[2],
                      orr_real observation[8]) {
  double elbow[2], tip[2];
  two_link_find(arm, angle, elbow, tip);
  for (int i = 0; i < 2; i++) {
    observation[i] = (orr_real)cos(angle[i]);
    observation[2 + i] = (orr_real)sin(angle[i]);
    observation[4 + i] = (orr_real)velocity[i];
    observation[6 + i] = (orr_real)tip[i];
  }
}

void two_link_reach(const two_link *arm, double x, double y, double angle[2]) {
  double half = acos(fmin(hypot(x, y) / (2 * arm->length), 1));
  angle[0] = atan2(y, x) - half;
  angle[1] = 2 * half;
}

void two_link_draw(const two_link *arm, const double angle[2], const env_view *view) {
  double elbow[2], tip[2], l = arm->length;
  two_link_find(arm, angle, elbow, tip);
  env_view_line(view, 0, 0, elbow[0], elbow[1], 0.2 * l, ENV_BODY);
  env_view_line(view, elbow[0], elbow[1], tip[0], tip[1], 0.16 * l, ENV_ACCENT);
  env_view_disc(view, 0, 0, 0.05 * l, ENV_INK);
  env_view_disc(view, elbow[0], elbow[1], 0.04 * l, ENV_INK);
}
