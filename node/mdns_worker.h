/* The thread that speaks to the Avahi daemon. libavahi-client waits for answers of D-Bus inside its
 * calls, so it must not run on the node's loop; all that crosses over are plain values.
 *
 * The worker publishes the instances it is given and tells what announcements it sees. It knows
 * nothing of keys or peers. */
#ifndef PX_NODE_MDNS_WORKER_H
#define PX_NODE_MDNS_WORKER_H

#include <uv.h>

#include "node/lan_packet.h"

#define PX_MDNS_TYPE          "_peerix._udp"
#define PX_MDNS_INSTANCES_MAX 32 /* of ours; further addresses are not published */
#define PX_MDNS_RESOLVERS_MAX                                                                      \
    32                       /* instances of others looked up at once; further ones are left out */
#define PX_MDNS_SEEN_MAX 64  /* announcements that wait for the node; further ones are dropped */
#define PX_MDNS_CHUNK    200 /* bytes of an announcement in one TXT string */
#define PX_MDNS_NAME_LEN 16

struct px_mdns_instance {
    char name[PX_MDNS_NAME_LEN + 1];
    char host[PX_MDNS_NAME_LEN + sizeof(".local")];
    struct px_addr addr;
    unsigned ifindex;
    uint16_t port;
    size_t len;
    uint8_t packet[PX_LAN_PACKET_MAX];
};

struct px_mdns_instances {
    size_t count;
    struct px_mdns_instance all[];
};

struct px_mdns_seen {
    struct px_addr addr; /* what its host name resolved to; port 0 */
    size_t len;
    uint8_t packet[PX_LAN_PACKET_MAX];
};

enum px_mdns_status {
    PX_MDNS_STARTING,
    PX_MDNS_NO_BUS,    /* no D-Bus: tried again now and then */
    PX_MDNS_NO_DAEMON, /* D-Bus tells when it comes */
    PX_MDNS_RUNNING,
};

struct px_mdns_worker_ops {
    /* All from the node's loop. */
    void (*seen)(void *ctx, const struct px_mdns_seen *seen);
    void (*status)(void *ctx, enum px_mdns_status status);
};

struct px_mdns_worker;

/* Starts the thread. PX_EIO, PX_ENOMEM. */
PX_MUST_CHECK int px_mdns_worker_new(uv_loop_t *loop, const struct px_mdns_worker_ops *ops,
                                     void *ctx, struct px_mdns_worker **ret);
/* Replaces what is published, also across restarts of the daemon. NULL: nothing. */
void px_mdns_worker_publish(struct px_mdns_worker *w, struct px_mdns_instances *owned_instances);
/* Looks up everything that is there once more. */
void px_mdns_worker_browse(struct px_mdns_worker *w);
/* What was dropped for want of room. */
uint64_t px_mdns_worker_dropped(struct px_mdns_worker *w);
/* Takes everything back; `closed` from the loop, w is gone then. A thread that waits for a daemon
 * that does not answer is left to itself after a second. */
void px_mdns_worker_close(struct px_mdns_worker *w, void (*closed)(void *ctx), void *ctx);

#endif
