/* The test harness: TEST(name) { … } registers itself; CHECK* ends the test at the first failure.
 *
 * Output is one line a test, `ok - name` or `not ok - name (file:line: what)`; the exit code is 1
 * if any failed. A program's arguments, if any, name the tests to run. */
#ifndef PX_TESTS_TEST_H
#define PX_TESTS_TEST_H

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/slice.h"

struct px_test_case {
    const char *name;
    void (*run)(void);
    struct px_test_case *next;
};

void px_test_register(struct px_test_case *t);
_Noreturn void px_test_fail(const char *file, int line, const char *fmt, ...) PX_PRINTF(3, 4);
/* Ends the test as skipped; the reason is printed and counted. */
_Noreturn void px_test_skip(const char *reason);

#define TEST(name)                                                                                 \
    static void test_##name(void);                                                                 \
    static struct px_test_case case_##name = {#name, test_##name, NULL};                           \
    __attribute__((constructor)) static void register_##name(void)                                 \
    {                                                                                              \
        px_test_register(&case_##name);                                                            \
    }                                                                                              \
    static void test_##name(void)

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            px_test_fail(__FILE__, __LINE__, "%s", #cond);                                         \
    } while (0)

#define CHECK_INT(a, b)                                                                            \
    do {                                                                                           \
        intmax_t a_ = (intmax_t)(a), b_ = (intmax_t)(b);                                           \
        if (a_ != b_)                                                                              \
            px_test_fail(__FILE__, __LINE__, "%s is %jd, not %jd (%s)", #a, a_, b_, #b);           \
    } while (0)

/* For error codes: prints their names. */
#define CHECK_ERR(a, b)                                                                            \
    do {                                                                                           \
        int a_ = (a), b_ = (b);                                                                    \
        if (a_ != b_)                                                                              \
            px_test_fail(__FILE__, __LINE__, "%s is %s, not %s", #a, px_errname(a_),               \
                         px_errname(b_));                                                          \
    } while (0)

#define CHECK_OK(a) CHECK_ERR(a, 0)

#define CHECK_STR(a, b)                                                                            \
    do {                                                                                           \
        const char *a_ = (a), *b_ = (b);                                                           \
        if (strcmp(a_, b_) != 0)                                                                   \
            px_test_fail(__FILE__, __LINE__, "%s is \"%s\", not \"%s\"", #a, a_, b_);              \
    } while (0)

#define CHECK_SLICE(a, b)                                                                          \
    do {                                                                                           \
        struct px_slice a_ = (a), b_ = (b);                                                        \
        if (!px_slice_eq(a_, b_))                                                                  \
            px_test_fail(__FILE__, __LINE__, "%s is \"%.*s\", not \"%.*s\"", #a, (int)a_.len,      \
                         (const char *)a_.data, (int)b_.len, (const char *)b_.data);               \
    } while (0)

/* A seeded generator for reproducible tests (splitmix64); not for keys that matter. */
struct px_test_rng {
    uint64_t state;
};
struct px_rng px_test_rng(struct px_test_rng *r, uint64_t seed);
uint64_t px_test_rng_next(struct px_test_rng *r);

#endif
