/* When to announce, whom to believe, and how much work strangers may cause: everything of
 * docs/spec/lan.md but the sockets. A core: packets and `now` go in; send orders, found peers and
 * the next deadline come out. Behind both multicast and DNS-SD. */
#ifndef PX_NODE_LAN_ANNOUNCE_H
#define PX_NODE_LAN_ANNOUNCE_H

#include "node/lan_packet.h"

#define PX_LAN_SOURCES_MAX  256  /* sources whose rate is remembered */
#define PX_LAN_SOURCE_RATE  8    /* packets a second of one source, */
#define PX_LAN_SOURCE_BURST 32   /* and at once */
#define PX_LAN_PACKET_RATE  1000 /* of all together */
#define PX_LAN_PACKET_BURST 2000
#define PX_LAN_TAG_RATE     500000 /* tags computed a second */
#define PX_LAN_TAG_BURST    1000000
#define PX_LAN_FOUND_MAX                                                                           \
    256 /* found peers that wait for their jitter; further ones are dropped                        \
         */
#define PX_LAN_FOUND_JITTER  (200 * PX_MSEC)
#define PX_LAN_ANSWER_JITTER (200 * PX_MSEC)
#define PX_LAN_ANSWER_GAP    PX_SEC
#define PX_LAN_SEND_GAP      (300 * PX_MSEC)
#define PX_LAN_PERIOD        (60 * PX_SEC)
#define PX_LAN_RESTART_GAP   (5 * PX_SEC) /* between two times all starts over, */
#define PX_LAN_RESTART_BURST 12           /* after as many at once */
#define PX_LAN_OWN_MAX       64 /* nonces of ours that are recognised when they come back */
#define PX_LAN_DERIVE_SLICE  32 /* keys derived in one go */

struct px_lan_ops {
    /* Announce now: px_lan_announce_packets packets from every address of ours. */
    void (*send)(void *ctx, enum px_lan_kind kind);
    /* A listed peer is at addr. */
    void (*found)(void *ctx, const struct px_peer_id *id, const struct px_addr *addr);
};

struct px_lan_config {
    const struct px_identity *identity; /* borrowed */
    struct px_slice network;            /* copied */
    struct px_rng rng;
    uint16_t port; /* that is announced */
    bool once; /* say it once after each change instead of again and again; nobody is answered */
    const struct px_lan_ops *ops;
    void *ctx;
};

struct px_lan_stats {
    uint64_t sent;       /* orders to announce */
    uint64_t received;   /* datagrams */
    uint64_t malformed;  /* of them */
    uint64_t limited;    /* of them dropped by a limit */
    uint64_t recognised; /* of them from listed peers */
    uint64_t tags;       /* computed for received ones */
    uint64_t found;      /* peers told */
};

struct px_lan_announce;

/* Knows nobody yet. PX_ENOMEM, PX_ELIMIT. */
PX_MUST_CHECK int px_lan_announce_new(const struct px_lan_config *config, px_nsec now,
                                      struct px_lan_announce **ret);
void px_lan_announce_free(struct px_lan_announce *a);

/* The allowlist now. Starts over when somebody is new. PX_ENOMEM: the old one stays. */
PX_MUST_CHECK int px_lan_announce_set_peers(struct px_lan_announce *a,
                                            const struct px_authorized_keys *list, px_nsec now);
/* Starts over: the network changed, or a peer is missed. */
void px_lan_announce_refresh(struct px_lan_announce *a, px_nsec now);

/* One datagram that came on link from `source` (its port is not looked at). */
void px_lan_announce_input(struct px_lan_announce *a, struct px_slice datagram,
                           const struct px_addr *source, px_nsec now);
/* Until when nothing that comes in would be looked at; `now` or earlier: read on. */
px_nsec px_lan_announce_deaf_until(const struct px_lan_announce *a, px_nsec now);

/* Does what is due. */
void px_lan_announce_run(struct px_lan_announce *a, px_nsec now);
/* When to call it next; PX_NEVER. */
px_nsec px_lan_announce_deadline(const struct px_lan_announce *a);

/* Within `send`: how many packets go out from each address, and each of them. */
size_t px_lan_announce_packets(const struct px_lan_announce *a);
size_t px_lan_announce_write(struct px_lan_announce *a, size_t nth, enum px_lan_kind kind,
                             const struct px_addr *source, uint8_t ret[PX_LAN_PACKET_MAX]);

void px_lan_announce_stats(const struct px_lan_announce *a, struct px_lan_stats *ret);
/* Tells them as struct px_discovery_ops.stats does. */
void px_lan_announce_each_stat(const struct px_lan_announce *a,
                               void (*each)(void *ctx, const char *name, uint64_t value),
                               void *ctx);

#endif
