/* A configuration with lock hooks, as a firmware has them: here a mutex. */

#ifndef LOCK_CONFIG_H
#define LOCK_CONFIG_H

#include <pthread.h>

#ifdef MTRACE_IMPLEMENTATION
static pthread_mutex_t lock_config_mutex = PTHREAD_MUTEX_INITIALIZER;
#define MTRACE_LOCK()   ((void)pthread_mutex_lock(&lock_config_mutex))
#define MTRACE_UNLOCK() ((void)pthread_mutex_unlock(&lock_config_mutex))
#endif

#endif
