/* orrery.h - the whole C API. Start with base.h: engines, errors, threads. The bindings for hosts that
   run Lua are apart, in lua.h. */
#ifndef ORR_ORRERY_H
#define ORR_ORRERY_H

#include "orrery/base.h"
#include "orrery/env.h"
#include "orrery/image.h"
#include "orrery/mpc.h"
#include "orrery/nn.h"
#include "orrery/objective.h"
#include "orrery/plan.h"
#include "orrery/priority.h"
#include "orrery/program.h"
#include "orrery/relabel.h"
#include "orrery/replay.h"
#include "orrery/rollout.h"
#include "orrery/space.h"
#include "orrery/tensor.h"
#include "orrery/vector_env.h"

#endif
