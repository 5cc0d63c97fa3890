/* The tracer's configuration in wrapped.c and tools/wrap.c: MTRACE_CONFIG_FILE. */

#ifndef WRAPPED_H
#define WRAPPED_H

#include "board.h"

#define MTRACE_LOCK_STATE       uint32_t
#define MTRACE_LOCK(state)      ((state) = board_disable_interrupts())
#define MTRACE_UNLOCK(state)    board_restore_interrupts(state)
#define MTRACE_MAX_DOMAIN_NAMES 1
#define MTRACE_NO_RECORDER
#define MTRACE_NO_PROFILE
#define MTRACE_NO_USAGE
#define MTRACE_NO_ENVIRONMENT

#endif
