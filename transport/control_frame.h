/* Control frames: what the two ends of a link say about the link itself
 * (docs/spec/handshake.md §6). Encoding and decoding only. */
#ifndef PX_TRANSPORT_CONTROL_FRAME_H
#define PX_TRANSPORT_CONTROL_FRAME_H

#include "proto/base/buf.h"

enum px_control_type {
    PX_CONTROL_UNKNOWN, /* a well-formed frame of a later version: to be ignored */
    PX_CONTROL_ACCEPTED,
    PX_CONTROL_PING,
    PX_CONTROL_PONG,
    PX_CONTROL_DISCO,
};

struct px_control {
    enum px_control_type type;
    struct px_control_accepted {
        uint32_t version;
        uint64_t capabilities;
    } accepted;
    uint64_t nonce; /* of ping and pong */
    uint64_t index; /* of disco */
};

/* Decodes the body of one frame. PX_EPARSE or PX_ETRUNC for anything malformed. */
PX_MUST_CHECK int px_control_decode(struct px_slice body, struct px_control *ret);
/* Appends one whole frame, with its length. */
PX_MUST_CHECK int px_control_put(struct px_buf *out, const struct px_control *frame);

#endif
