/* What every file needs: assertion, container_of, array length, time and randomness as values.
 *
 * Cores never read a clock or a generator themselves: `now` and a struct px_rng are handed in. */
#ifndef PX_PROTO_BASE_BASE_H
#define PX_PROTO_BASE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/error.h"

/* Nanoseconds on the monotonic clock that counts suspended time (CLOCK_BOOTTIME). */
typedef uint64_t px_nsec;
#define PX_USEC  ((px_nsec)1000)
#define PX_MSEC  (1000 * PX_USEC)
#define PX_SEC   (1000 * PX_MSEC)
#define PX_NEVER UINT64_MAX /* a deadline that never comes */

/* A source of cryptographic randomness; tests hand in a seeded one. `fill` cannot fail. */
struct px_rng {
    void (*fill)(void *ctx, void *buf, size_t len);
    void *ctx;
};

#define PX_ARRAY_LEN(a)                    (sizeof(a) / sizeof((a)[0]))
#define PX_CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define PX_PRINTF(fmt, args)               __attribute__((format(printf, fmt, args)))
#define PX_MIN(a, b)                       ((a) < (b) ? (a) : (b))
#define PX_MAX(a, b)                       ((a) > (b) ? (a) : (b))

/* Stays on in release. For programmer errors only: no input from outside can reach one. */
#define px_assert(cond) ((cond) ? (void)0 : px_assert_failed(#cond, __FILE__, __LINE__))
_Noreturn void px_assert_failed(const char *cond, const char *file, int line);

#endif
