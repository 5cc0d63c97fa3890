/* The implementation of both headers for all test files of a configuration that do without one of
   their own: see test.h. */

#define TEST_IMPLEMENTATION
#include "test.h"

#include "ext.h"
