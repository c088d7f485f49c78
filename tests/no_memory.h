/* One allocation of ours after the other fails. The linker sends malloc and its kin of our own
 * objects to no_memory.c (tests/CMakeLists.txt, programs named test_no_memory*); those of the
 * libraries go on as ever, unless a library is told to use ours. */
#ifndef PX_TESTS_NO_MEMORY_H
#define PX_TESTS_NO_MEMORY_H

#include <stdlib.h>

#include "tests/test.h"

/* They never fail: for a test's own bookkeeping. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_reallocarray(void *old, size_t count, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t max);

extern struct no_memory {
    unsigned armed; /* inside code under test, and not in a callback of the test */
    size_t seen, fail_at;
    bool lasting; /* all from fail_at on fail, not just the one */
} heap;

#define ARMED(statement)                                                                           \
    do {                                                                                           \
        heap.armed++;                                                                              \
        statement;                                                                                 \
        heap.armed--;                                                                              \
    } while (0)

/* A callback of the test: its own allocations are none of the sweep's business. */
#define DISARMED(statement)                                                                        \
    do {                                                                                           \
        unsigned was_armed = heap.armed;                                                           \
        heap.armed = 0;                                                                            \
        statement;                                                                                 \
        heap.armed = was_armed;                                                                    \
    } while (0)

/* Nothing has failed so far in this run. */
static inline bool heap_was_whole(void)
{
    return heap.seen < heap.fail_at;
}

/* Runs it with each allocation failing in turn until none does; `least` of them there must be. */
void sweep(void (*scenario)(void), size_t least);
/* The end of a call that may fail for want of memory alone, and only if there was some. */
#define CHECK_SWEPT(err)                                                                           \
    do {                                                                                           \
        int swept_ = (err);                                                                        \
        if (heap_was_whole() || swept_ != 0)                                                       \
            CHECK_ERR(swept_, heap_was_whole() ? 0 : PX_ENOMEM);                                   \
    } while (0)

#endif
