/* The limits of docs/spec/relay.md §7 by name, and how often each was hit: what an operator looks
 * at to see which one is too low, or who presses against it. */
#ifndef PX_RELAY_LIMIT_HITS_H
#define PX_RELAY_LIMIT_HITS_H

#include "proto/base/base.h"

#define PX_RELAY_LIMITS(X)                                                                         \
    X(LINKS, "links")                                                                              \
    X(LINKS_PER_SOURCE, "links_per_source")                                                        \
    X(LINKS_PER_ASN, "links_per_asn")                                                              \
    X(UNKNOWN_NODES, "unknown_nodes")                                                              \
    X(UNKNOWN_TIME, "unknown_time")                                                                \
    X(UNKNOWN_BYTES, "unknown_bytes")                                                              \
    X(REQUESTS, "requests")                                                                        \
    X(RESERVATIONS, "reservations")                                                                \
    X(RESERVATIONS_PER_SOURCE, "reservations_per_source")                                          \
    X(RESERVATIONS_PER_ASN, "reservations_per_asn")                                                \
    X(DISPLACED, "displaced")                                                                      \
    X(CIRCUITS, "circuits")                                                                        \
    X(CIRCUIT_TIME, "circuit_time")                                                                \
    X(CIRCUIT_BYTES, "circuit_bytes")                                                              \
    X(CIRCUIT_IDLE, "circuit_idle")                                                                \
    X(CIRCUIT_BIND_TIME, "circuit_bind_time")                                                      \
    X(RECORDS, "records")                                                                          \
    X(WATCHES, "watches")                                                                          \
    X(INVITES, "invites")                                                                          \
    X(VOUCHED, "vouched")                                                                          \
    X(PROBES, "probes")                                                                            \
    X(SLOW_READERS, "slow_readers")                                                                \
    X(REFUSED_SOURCES, "refused_sources")                                                          \
    X(QUESTIONS, "questions")                                                                      \
    X(WAITING, "waiting")                                                                          \
    X(PIPES, "pipes")                                                                              \
    X(PIPE_QUEUES, "pipe_queues")

enum px_relay_limit {
#define PX_RELAY_LIMIT_ENUM(name, text) PX_RELAY_LIMIT_##name,
    PX_RELAY_LIMITS(PX_RELAY_LIMIT_ENUM)
#undef PX_RELAY_LIMIT_ENUM
        PX_RELAY_LIMIT_COUNT
};

/* "links_per_source" … as metrics and status say it. */
const char *px_relay_limit_name(enum px_relay_limit limit);

#endif
