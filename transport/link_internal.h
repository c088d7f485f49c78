/* What transport/link*.c (one link: streams, stream 0, producers) and transport/overlay.c (the set
 * of them: who comes up, who goes) share. Nobody else includes it.
 *
 * Callbacks of QUIC record facts and put the link on its overlay's `due` list; px_overlay_run
 * settles the list: decides, brings links up, tells the owner, frees. */
#ifndef PX_TRANSPORT_LINK_INTERNAL_H
#define PX_TRANSPORT_LINK_INTERNAL_H

#include "proto/base/list.h"
#include "proto/base/map.h"
#include "transport/chunk.h"
#include "transport/link.h"
#include "transport/link_handshake.h"
#include "transport/link_park.h"
#include "transport/link_rivalry.h"
#include "transport/link_roam.h"

#define PX_LINK_CONTROL_STREAM 0
/* Bytes of ours on stream 0 that the peer has not acknowledged, beyond which its pings get no
 * answer: whoever keeps to PX_LINK_PINGS_MAX is far from it. */
#define PX_LINK_CONTROL_OUT_MAX 4096

enum px_link_state {
    PX_LINK_TLS,     /* QUIC and TLS are under way */
    PX_LINK_NOISE,   /* TLS is done, Noise is under way */
    PX_LINK_WAITING, /* incoming and proved; what happens depends on our own dial */
    PX_LINK_EARLY,   /* our dial has sent message 3: our streams may go, `accepted` is awaited */
    PX_LINK_UP,
    PX_LINK_SHELVED, /* another link took over; the peer is to close this one */
    PX_LINK_CLOSING, /* we closed it; QUIC is not done yet */
    PX_LINK_GONE,    /* QUIC is done: conn is NULL */
    PX_LINK_STATES,  /* how many there are */
};

enum px_stream_state {
    PX_STREAM_NEW, /* of the peer; its type byte has not come */
    PX_STREAM_OWNED,
    PX_STREAM_REFUSED, /* what still comes is dropped */
    PX_STREAM_STATES,
};

struct px_link_stream {
    struct px_map_node by_id; /* key: id */
    struct px_list node;
    int64_t id;
    enum px_stream_state state;
    const struct px_stream_ops *ops;
    void *ctx;
};

/* Who made the offer QUIC is working on. */
enum px_offer { PX_OFFER_NONE, PX_OFFER_CONTROL, PX_OFFER_PRODUCER };

/* A ping of ours that has no answer yet. */
struct px_link_asked {
    uint64_t nonce;
    px_nsec sent_at; /* 0: not yet on its way */
};

struct px_link {
    struct px_overlay *overlay;
    struct px_quic_conn *conn; /* NULL once GONE */
    enum px_link_state state;
    bool guest;                        /* ours: dialled to be let in though we may not be listed */
    bool ours;                         /* we dialled: QUIC client, Noise initiator */
    bool busy;                         /* accepted only to be told BUSY */
    bool proved;                       /* `peer` has proved itself */
    bool was_up;                       /* `up` was called */
    bool ended;                        /* `down` or `refused` was called */
    bool event_proved, event_accepted; /* facts not yet settled */
    struct px_list all, due, timed;    /* in the overlay's lists */
    struct px_map_node by_peer;        /* while UP */
    px_nsec deadline;                  /* while in `timed` */
    px_nsec up_since;
    struct px_peer_id peer;     /* dialled, or proved */
    struct px_path path;        /* the first one */
    struct px_quic_stats stats; /* the final ones, once GONE */
    void *user;
    int end_err; /* why it ends; 0 while it does not */
    bool end_by_peer;
    struct px_clone_watch clones; /* handed on from link to link of the peer */

    struct px_link_handshake *handshake;
    int64_t control_id; /* 0 once known, -1 before */
    struct px_send_queue control_out;
    bool control_blocked;
    struct px_buf control_in;                      /* came while the verdict was open */
    struct px_link_asked pings[PX_LINK_PINGS_MAX]; /* the first ping_count are unanswered */
    size_t ping_count;

    struct px_link_roam roam;

    struct px_map streams;
    struct px_list stream_list;
    struct px_link_stream *recent; /* looked up last; bulk data asks for it again and again */
    struct px_park park;
    size_t early_count; /* streams we opened while EARLY */

    struct px_producer *producers; /* ring; whose turn it is */
    struct px_producer *offering;
    enum px_offer offer;
    uint64_t turn_bytes; /* sent since the turn changed */
};

struct px_overlay {
    struct px_overlay_ops ops;
    void *ops_ctx;
    const struct px_identity *identity;
    struct px_slice network, agent; /* into texts */
    char texts[PX_LINK_NETWORK_MAX + PX_AGENT_MAX];
    uint8_t boot_id[PX_BOOT_ID_LEN];
    struct px_x25519_secret noise_static;
    struct px_rng rng;
    struct px_quic *quic;
    px_nsec now;
    struct px_list links, due;
    size_t link_count;
    struct px_list timed; /* by deadline: every entry has the same time to live */
    struct px_map by_peer;
    struct px_map by_index; /* struct px_link.roam */
    struct px_heap asking;  /* struct px_link.roam; has room for every link */
    struct px_quic_net net;
    size_t half_open; /* incoming links in TLS, NOISE or WAITING */
    bool freeing, passive;
};

/* link.c */
extern const struct px_quic_conn_ops px_link_quic_ops;
/* A link without connection, in the overlay's list; the deadline runs. NULL without memory. */
struct px_link *px_link_new(struct px_overlay *o, bool ours, const struct px_path *path);
/* Takes it out of all lists. */
void px_link_free(struct px_link *l);
void px_link_set_state(struct px_link *l, enum px_link_state to);
/* Ends it from our side: CONNECTION_CLOSE with `code`, `err` for our owner. Harmless when it is
 * ending already. */
void px_link_fail(struct px_link *l, int err, enum px_close_code code);
/* The same for what a limit or the heap refused. */
void px_link_fail_limit(struct px_link *l, int err);
bool px_link_is_ending(const struct px_link *l);
/* Our producers may send. */
bool px_link_may_send(const struct px_link *l);
void px_link_mark_due(struct px_link *l);
/* Delivers what was parked, and stream 0's bytes that waited. */
void px_link_deliver_parked(struct px_link *l);
/* Gives every stream `closed`, lets go of producers; at the QUIC level too if it goes on living. */
void px_link_drop_streams(struct px_link *l);

/* link_control.c */
/* Writes message 3 or `accepted`. Fails the link when it cannot. */
void px_link_proceed(struct px_link *l);
/* What came on stream 0: from QUIC, or kept while the verdict was open. */
void px_link_control_recv(struct px_link *l, struct px_slice data, bool fin);
void px_link_control_input(struct px_link *l, struct px_slice data);
void px_link_on_secured(void *ctx);
/* Bytes of stream 0 were given to QUIC: pings among them are on their way. */
void px_link_note_pings_sent(struct px_link *l);
/* Sends a ping nobody waits for, as something that has to be acknowledged. */
void px_link_poke(struct px_link *l);
/* Sends the `disco` frame. */
void px_link_tell_index(struct px_link *l, uint64_t index);

/* link_send.c: of px_quic_conn_ops */
void px_link_on_next(void *ctx, int64_t *ret_id, struct px_slice *ret_vec, size_t cap,
                     size_t *ret_count, bool *ret_fin);
void px_link_on_sent(void *ctx, int64_t id, uint64_t n, bool fin);
void px_link_on_blocked(void *ctx, int64_t id);

/* overlay.c */
/* Restarts the link's deadline, PX_LINK_HANDSHAKE_TIME from now. */
void px_overlay_start_timer(struct px_link *l);

#endif
