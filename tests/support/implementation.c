/* The implementation of both headers, for all test files of a configuration without their own
   implementation. See test.h. */

#define TEST_IMPLEMENTATION
#include "test.h"

#include "ext.h"
