/* QUIC application error codes of `peerix/1` (docs/spec/handshake.md): why a connection was closed.
 * These numbers are the wire contract and never change meaning. */
#ifndef PX_PROTO_CLOSE_H
#define PX_PROTO_CLOSE_H

#include "proto/base/base.h"

/* X(name, value, error the receiver of the code reports) */
#define PX_CLOSE_TABLE(X)                                                                          \
    X(PX_CLOSE_NONE, 0x00, PX_ECLOSED)          /* ended on purpose, nothing wrong */              \
    X(PX_CLOSE_SHUTDOWN, 0x01, PX_ECLOSED)      /* the node is going away */                       \
    X(PX_CLOSE_UNLISTED, 0x02, PX_EREFUSED)     /* you are not in my authorized_keys */            \
    X(PX_CLOSE_WRONG_PEER, 0x03, PX_EWRONGPEER) /* you are not who I dialled */                    \
    X(PX_CLOSE_NETWORK, 0x04, PX_ENETWORK)      /* another network id */                           \
    X(PX_CLOSE_TARGET, 0x05, PX_ETARGET)        /* no proof that you know whom you dial */         \
    X(PX_CLOSE_NOISE, 0x06, PX_ENOISE)          /* a handshake message did not decrypt */          \
    X(PX_CLOSE_BINDING, 0x07, PX_EBINDING)      /* identity signature or channel binding wrong */  \
    X(PX_CLOSE_TIMEOUT, 0x08, PX_EHANDSHAKE_TIMEOUT)                                               \
    X(PX_CLOSE_DUPLICATE, 0x09, PX_EDUPLICATE)                                                     \
    X(PX_CLOSE_OVERRUN, 0x0a, PX_EOVERRUN) /* too much before authentication */                    \
    X(PX_CLOSE_PROTOCOL, 0x0b, PX_EPROTO)  /* malformed control message */                         \
    X(PX_CLOSE_INTERNAL, 0x0c, PX_EIO)                                                             \
    X(PX_CLOSE_REVOKED, 0x0d, PX_EREVOKED)                                                         \
    X(PX_CLOSE_BUSY, 0x0e, PX_EBUSY)                                                               \
    X(PX_CLOSE_SELF, 0x0f, PX_ESELF)                                                               \
    X(PX_CLOSE_HELD, 0x10, PX_EHELD) /* hung up by hand, until told otherwise */

enum px_close_code {
#define X(name, value, err) name = value,
    PX_CLOSE_TABLE(X)
#undef X
};

/* The bare name, "UNKNOWN" for others. */
const char *px_close_name(uint64_t code);
/* What the receiver of a code reports to its caller; PX_ECLOSED for unknown codes. */
int px_close_error(uint64_t code);

#endif
