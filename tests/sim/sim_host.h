/* A node of ours in the virtual network: a px_overlay, what it told its owner, and streams that
 * carry checked random bytes in both directions. */
#ifndef PX_TESTS_SIM_HOST_H
#define PX_TESTS_SIM_HOST_H

#include "tests/sim/sim_net.h"
#include "transport/stream.h"

#define HOST_BULKS_MAX 600
#define HOST_LINKS_MAX 8

/* One stream: each side sends a head (seed, size) and then size bytes that follow from the seed. */
struct bulk {
    struct host *host;
    struct px_stream *stream; /* NULL once closed */
    uint64_t out_seed, out_size, out_pos;
    uint8_t head[16];
    size_t head_len;
    uint64_t in_seed, in_size, in_pos, unconsumed;
    bool in_end, closed, wrong;
    int err;
    uint64_t code;
    px_nsec began_at; /* when the first byte came in, */
    px_nsec ended_at; /* when the last byte came in */
};

struct host {
    struct sim_net *net;
    struct sim_node *node;
    uint8_t number;
    struct px_test_rng rng, overlay_rng;
    struct px_identity identity;
    const char *network;
    struct px_overlay *overlay;

    const struct px_peer_id *unlisted; /* everyone else is listed */
    bool guests_welcome;               /* the unlisted one may come as a guest */
    bool as_guest;                     /* our dials do */
    bool close_when_asked; /* closes the link to a peer whenever that peer is to be authorized */
    struct px_link *links[HOST_LINKS_MAX]; /* up */
    size_t link_count, up_count, down_count, refused_count, cloned_count;
    int down_err, refused_err; /* of the last one */
    struct px_quic_stats down_stats;
    bool down_by_peer, down_was_up, refused_by_peer, refused_proved;
    struct px_peer_id refused_id;
    uint64_t answer_max; /* bytes an answer has at most */
    uint64_t early;      /* open this many streams on every link that is early */
    uint64_t early_size; /* bytes each */
    size_t early_count;
    px_nsec early_at;
    uint64_t greet;  /* open this many streams on every link that comes up */
    bool lazy;       /* read, but give no credit back until host_wake_up */
    uint64_t window; /* of a stream; 0: the default */
    size_t available_count;
    bool any_local;     /* dial from whatever address it has */
    size_t moved_count; /* path_changed */
    size_t lost_count;
    struct px_path path; /* as it was told last */
    size_t pong_count;
    uint64_t pong_nonce; /* of the last one */
    px_nsec pong_rtt;
    struct bulk bulks[HOST_BULKS_MAX];
    size_t bulk_count;
};

void host_init(struct host *h, struct sim_net *net, uint8_t number, uint64_t identity_seed);
/* Starts its overlay; another seed gives another boot ID. */
void host_start(struct host *h, uint64_t seed);
/* Ends it without a word, as a power cut does. */
void host_kill(struct host *h);
/* kill, if need be, and forget. */
void host_deinit(struct host *h);
PX_MUST_CHECK int host_dial(struct host *h, const struct host *to);
/* The same, at whatever address. */
PX_MUST_CHECK int host_dial_at(struct host *h, const struct px_peer_id *id, uint8_t number);
struct px_link *host_link_to(const struct host *h, const struct host *to);
/* Its address changes (NULL: back to the first one), and it is told or has to find out. */
void host_move(struct host *h, const struct px_addr *address, bool told);
/* Opens a stream and sends size bytes; false when no stream may be opened now. */
bool host_send(struct host *h, struct px_link *l, uint64_t size);
/* Gives back what a lazy host held. */
void host_wake_up(struct host *h);
/* Every stream ended with all its bytes as sent. */
bool host_bulks_done(const struct host *h);
/* At most one link up a peer, and the overlay agrees. */
void host_check(const struct host *h);

#endif
