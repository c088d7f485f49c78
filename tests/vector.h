/* Reads a file of tests/vectors whole; a test without its vector fails. */
#ifndef PX_TESTS_VECTOR_H
#define PX_TESTS_VECTOR_H

#include "proto/base/buf.h"
#include "tests/test.h"

/* name is relative to tests/vectors; out is initialised here, the caller ends it. */
static inline void px_test_vector(const char *name, struct px_buf *out)
{
    char path[1000];
    snprintf(path, sizeof(path), "%s/vectors/%s", PX_TEST_DIR, name);
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        px_test_fail(__FILE__, __LINE__, "cannot open %s", path);
    px_buf_init(out, (size_t)64 << 20);
    for (size_t n = 1; n > 0;) {
        uint8_t *at = px_buf_reserve(out, 65536);
        n = at != NULL ? fread(at, 1, 65536, f) : 0;
        if (n > 0)
            px_buf_commit(out, n);
    }
    bool failed = ferror(f) != 0 || out->err != 0;
    fclose(f);
    if (failed)
        px_test_fail(__FILE__, __LINE__, "cannot read %s", path);
}

#endif
