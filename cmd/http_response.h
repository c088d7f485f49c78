/* The head of an HTTP/1.x response, as the control API gives it: status line and header lines.
 *
 * Parses bytes, reads no socket. Bodies end by Content-Length or with the connection; a transfer
 * coding is refused, because a request of HTTP/1.0 never gets one. */
#ifndef PX_CMD_HTTP_RESPONSE_H
#define PX_CMD_HTTP_RESPONSE_H

#include "proto/base/slice.h"

#define PX_HTTP_HEAD_MAX ((size_t)16 * 1024)

struct px_http_response {
    unsigned status; /* 200..599 */
    bool has_length;
    uint64_t length; /* of the body, when has_length */
};

/* Parses the head at the beginning of `input`; *ret_len is its length with the empty line.
 * PX_ETRUNC while more bytes are needed, PX_ELIMIT when it is longer than PX_HTTP_HEAD_MAX,
 * PX_EPARSE, PX_EUNSUPPORTED (transfer coding). */
PX_MUST_CHECK int px_http_response_parse(struct px_slice input, struct px_http_response *ret,
                                         size_t *ret_len);

#endif
