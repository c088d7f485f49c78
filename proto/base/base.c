/* Where a broken invariant ends: a message and abort(). */
#include "proto/base/base.h"

#include <stdio.h>
#include <stdlib.h>

void px_assert_failed(const char *cond, const char *file, int line)
{
    fprintf(stderr, "peerix: %s:%d: assertion failed: %s\n", file, line, cond);
    abort();
}
