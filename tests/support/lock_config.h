/* A configuration with lock hooks, as a firmware has them: here a mutex. */

#ifndef LOCK_CONFIG_H
#define LOCK_CONFIG_H

#include <pthread.h>

#ifdef __cplusplus
extern "C" int lock_config_taken; /* how often the lock was */
#else
extern int lock_config_taken; /* how often the lock was */
#endif

#ifdef MTRACE_IMPLEMENTATION
int lock_config_taken;
static pthread_mutex_t lock_config_mutex = PTHREAD_MUTEX_INITIALIZER;
static void lock(void) { /* a user's likely name: none of the library's may hide it */
    pthread_mutex_lock(&lock_config_mutex);
    lock_config_taken++;
}
static void unlock(void) {
    pthread_mutex_unlock(&lock_config_mutex);
}
#define MTRACE_LOCK()   lock()
#define MTRACE_UNLOCK() unlock()
#endif

#endif
