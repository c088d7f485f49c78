/* The stream of a pipe as anybody may send it, in any pieces. What comes out of it, queued and
 * taken again, must be the very bytes that went in. */
#include <stdlib.h>

#include "transport/tls_pipe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Reads all; returns how many bytes of whole frames there were. */
static size_t read_all(struct px_tls_pipe *p, struct px_slice all, size_t piece,
                       struct px_tls_pipe *again)
{
    size_t whole = 0;
    int err = PX_EAGAIN;
    while (all.len > 0 && err == PX_EAGAIN) {
        struct px_slice part = px_slice_take(all, piece);
        uint8_t *datagram;
        size_t n;
        all = px_slice_skip(all, part.len);
        while ((err = px_tls_pipe_read(p, &part, PX_SEC, &datagram, &n)) == 0) {
            px_assert(n > 0 && n <= PX_TLS_PIPE_DATAGRAM_MAX);
            px_tls_pipe_queue(again, px_slice(datagram, n), n);
            memset(datagram, 0, n); /* it is ours to change */
            whole += 2 + n;
        }
        px_assert(err == PX_EAGAIN || err == PX_EPROTO || err == PX_EOVERRUN);
    }
    return whole;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static uint8_t out[PX_TLS_PIPE_QUEUE];
    struct px_tls_pipe p, again;
    if (len == 0)
        return 0;
    px_tls_pipe_init(&p, PX_SEC);
    px_tls_pipe_init(&again, PX_SEC);
    size_t whole = read_all(&p, px_slice(data + 1, len - 1), 1 + data[0], &again);
    size_t n = px_tls_pipe_take(&again, out, sizeof(out));
    px_assert(whole <= PX_TLS_PIPE_UNPROVED_BYTES && n == whole && memcmp(out, data + 1, n) == 0);
    px_tls_pipe_deinit(&p);
    px_tls_pipe_deinit(&again);
    return 0;
}
