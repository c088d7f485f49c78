/* Inside the rotation service: node/rotation.c (life and time), rotation_tell.c (our new key),
 * rotation_listen.c (records of others), rotation_follow.c (peers move), rotation_control.c. */
#ifndef PX_NODE_ROTATION_INTERNAL_H
#define PX_NODE_ROTATION_INTERNAL_H

#include "node/pairing_wire.h"
#include "node/rotation.h"
#include "node/rotation_store.h"

/* What a peer knows of our new key. */
struct px_rotation_told {
    struct px_peer_id peer;
    bool acked;
    struct px_peer_id next; /* it acked a record that leads there */
    bool under_way;
    int err; /* how the latest try ended */
    px_nsec again_at;
};

/* We are telling a peer. */
struct px_rotation_call {
    struct px_rotations *p;
    struct px_rotation_call *next;
    struct px_pairing_wire wire;
    struct px_peer_id peer;
    bool withdraws;
    struct px_peer_id next_id; /* told of */
    bool answered;
    int answer; /* 0: ack */
};

/* A peer that is telling us. */
struct px_rotation_guest {
    struct px_rotations *p;
    struct px_rotation_guest *next;
    struct px_pairing_wire wire;
    struct px_peer_id peer;
};

/* The search for a new key, and what goes wrong with moving to it. One for each record that needs
 * one. */
struct px_rotation_search {
    struct px_rotations *p;
    struct px_rotation_search *next;
    struct px_rotation_move move;
    bool dialling; /* ops are with the peers */
    px_nsec pause, due, move_due;
};

struct px_rotations {
    struct px_rotations_config config;
    /* our own */
    bool has_next;
    struct px_identity next;
    struct px_rotation record;     /* with has_next */
    struct px_rotation_told *told; /* sorted by peer */
    size_t told_count, told_cap;
    struct px_rotation_call *calls;
    size_t call_count;
    px_nsec restart_at; /* 0: not */
    /* others' */
    struct px_rotation_book *book;
    struct px_rotation_guest *guests;
    size_t guest_count;
    struct px_rotation_search *searches;
    px_nsec window;
    unsigned changes; /* in it */
    uv_timer_t tick;
    bool closing, tick_closed;
    void (*done)(void *ctx);
    void *done_ctx;
};

/* rotation.c */
/* There may be something to do: the clock runs until there is not. */
void px_rotation_wake(struct px_rotations *p);
void px_rotation_check_closed(struct px_rotations *p);
int64_t px_rotation_wall(void);
/* "name", or the ID where there is none. */
const char *px_rotation_peer_name(const struct px_rotations *p, const struct px_peer_id *id,
                                  char text[PX_PEER_ID_TEXT_MAX]);

/* rotation_tell.c */
/* Loads identity-next.pem, if there is one, and who acked. */
PX_MUST_CHECK int px_rotation_tell_init(struct px_rotations *p);
/* PX_EEXIST when one is under way; errors of px_rotation_home_begin. */
PX_MUST_CHECK int px_rotation_tell_begin(struct px_rotations *p);
/* PX_ESTATE when none is. */
PX_MUST_CHECK int px_rotation_tell_abort(struct px_rotations *p);
/* The new key is in use from the restart that follows. PX_ESTATE; errors of
 * px_rotation_home_finish. */
PX_MUST_CHECK int px_rotation_tell_finish(struct px_rotations *p);
bool px_rotation_tell_is_idle(const struct px_rotations *p);
void px_rotation_tell_tick(struct px_rotations *p, px_nsec now);
/* A listed peer has another ID. */
void px_rotation_tell_moved(struct px_rotations *p, const struct px_rotation_move *m);
/* NULL when nothing is known of the peer. */
const struct px_rotation_told *px_rotation_told(const struct px_rotations *p,
                                                const struct px_peer_id *peer);
bool px_rotation_has_acked(const struct px_rotations *p, const struct px_peer_id *peer);
void px_rotation_tell_abandon(struct px_rotations *p);

/* rotation_listen.c */
const struct px_stream_ops *px_rotation_listen_stream(void *rotations, struct px_link *link,
                                                      int64_t id, void **ret_ctx);
void px_rotation_listen_abort(struct px_rotations *p);

/* rotation_follow.c */
void px_rotation_follow_tick(struct px_rotations *p, px_nsec now);
void px_rotation_follow_abort(struct px_rotations *p);

/* rotation_control.c */
PX_MUST_CHECK int px_rotation_control_routes(struct px_rotations *p);

#endif
