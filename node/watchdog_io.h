/* The checks of watchdog.h, made as others see us: a datagram to our own UDP port that QUIC must
 * answer, a request to the substituter or for /healthz, one to the control socket; then WATCHDOG=1.
 * Off without WATCHDOG_USEC. */
#ifndef PX_NODE_WATCHDOG_IO_H
#define PX_NODE_WATCHDOG_IO_H

#include <uv.h>

#include "proto/addr.h"
#include "proto/base/log.h"

struct px_watchdog_io;

struct px_watchdog_io_config {
    uv_loop_t *loop;
    const struct px_log *log;
    uint64_t allowed_usec; /* px_service_watchdog_usec */
    struct px_addr overlay;
    struct px_addr substituter, health; /* port 0: this program has no such part */
    const char *control;                /* path of the Unix socket; copied */
    void (*alive)(void *ctx);           /* tells the service manager */
    void *ctx;
};

/* *ret is NULL when it is off. */
PX_MUST_CHECK int px_watchdog_io_new(const struct px_watchdog_io_config *config,
                                     struct px_watchdog_io **ret);
/* Asynchronous; freed by the loop. NULL is fine. */
void px_watchdog_io_close(struct px_watchdog_io *w);

#endif
