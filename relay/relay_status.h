/* Status numbers of the relay protocol (docs/spec/relay.md §1): the wire contract, never
 * renumbered. Those below 500 are libp2p's circuit relay v2. */
#ifndef PX_RELAY_RELAY_STATUS_H
#define PX_RELAY_RELAY_STATUS_H

#include "proto/base/base.h"

/* X(name, value, what a caller inside the program is told) */
#define PX_RELAY_STATUS_TABLE(X)                                                                   \
    X(PX_RELAY_OK, 100, 0)                                                                         \
    X(PX_RELAY_RESERVATION_REFUSED, 200, PX_EPERM)                                                 \
    X(PX_RELAY_RESOURCE_LIMIT_EXCEEDED, 201, PX_ELIMIT)                                            \
    X(PX_RELAY_PERMISSION_DENIED, 202, PX_EPERM)                                                   \
    X(PX_RELAY_CONNECTION_FAILED, 203, PX_EOFFLINE)                                                \
    X(PX_RELAY_NO_RESERVATION, 204, PX_EOFFLINE)                                                   \
    X(PX_RELAY_MALFORMED_MESSAGE, 400, PX_EPARSE)                                                  \
    X(PX_RELAY_UNEXPECTED_MESSAGE, 401, PX_EPROTO)                                                 \
    X(PX_RELAY_DECLINED, 500, PX_EREFUSED)                                                         \
    X(PX_RELAY_NO_ANSWER, 501, PX_ETIMEDOUT)                                                       \
    X(PX_RELAY_IDLE, 502, PX_ETIMEDOUT)                                                            \
    X(PX_RELAY_TIME_USED, 503, PX_ELIMIT)                                                          \
    X(PX_RELAY_BYTES_USED, 504, PX_ELIMIT)                                                         \
    X(PX_RELAY_PEER_ENDED, 505, PX_ECLOSED)                                                        \
    X(PX_RELAY_REVOKED, 506, PX_EREVOKED)                                                          \
    X(PX_RELAY_RESTARTING, 507, PX_ECLOSED)                                                        \
    X(PX_RELAY_RATE_LIMITED, 508, PX_EBUSY)                                                        \
    X(PX_RELAY_NOT_FOUND, 509, PX_ENOENT)                                                          \
    X(PX_RELAY_NAME_TAKEN, 510, PX_EEXIST)                                                         \
    X(PX_RELAY_BAD_RECORD, 511, PX_ECRYPTO)                                                        \
    X(PX_RELAY_STALE, 512, PX_EEXIST)                                                              \
    X(PX_RELAY_DATA_NEEDED, 513, PX_EAGAIN)                                                        \
    X(PX_RELAY_UNREACHABLE, 514, PX_EOFFLINE)                                                      \
    X(PX_RELAY_INTERNAL, 515, PX_EIO)

enum px_relay_status {
#define X(name, value, err) name = value,
    PX_RELAY_STATUS_TABLE(X)
#undef X
};

/* The bare name, "UNKNOWN" for a number of no row. */
const char *px_relay_status_name(uint64_t status);
/* 0 for OK, the error of the table; PX_EPROTO for a number of no row. */
int px_relay_status_error(uint64_t status);

/* What a node is to the relay (spec §2). */
enum px_relay_class {
    PX_RELAY_UNKNOWN = 0,
    PX_RELAY_MEMBER = 1,
    PX_RELAY_VOUCHED = 2,
    PX_RELAY_JOINER = 3,
    PX_RELAY_STRANGER = 4,
};
const char *px_relay_class_name(enum px_relay_class c);

#endif
