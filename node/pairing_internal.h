/* Inside the pairing service: node/pairing.c (invites, time, life), pairing_guest.c (those who
 * come), pairing_join.c (we go), pairing_control.c (endpoints). */
#ifndef PX_NODE_PAIRING_INTERNAL_H
#define PX_NODE_PAIRING_INTERNAL_H

#include "node/pairing.h"
#include "node/pairing_commit.h"
#include "node/pairing_store.h"
#include "node/pairing_wire.h"

/* A peer that opened a pairing stream. */
struct px_pairing_guest {
    struct px_pairings *p;
    struct px_pairing_guest *next;
    struct px_pairing core;
    struct px_pairing_wire wire;
    struct px_pairing_card card;
    char seen[PX_AUTH_ADDR_MAX]; /* where it comes from */
    bool proved;                 /* knows the invite: among PX_PAIRING_GUESTS_MAX */
    bool verify, approved;       /* short authentication string: wanted, said yes to */
};

/* An invite of somebody else that we join. */
struct px_pairing_going {
    struct px_pairings *p;
    struct px_pairing_going *next;
    struct px_pairing_join join;
    struct px_pairing core;
    struct px_pairing_wire wire;
    struct px_control_call *call; /* who waits for it; NULL: nobody (any more) */
    char seen[PX_AUTH_ADDR_MAX];
    bool probing;          /* a link of before is asked whether it lives */
    bool dialled;          /* ops are with the peers */
    bool wire_open;        /* `ended` is still to come */
    bool verify, approved; /* as above */
    bool over;             /* the caller was told */
    int linger;            /* ticks until the link is handed back */
    /* it went well: ticks until that is told at the latest */
    int settling;
    struct px_pairing_written written;
};

struct px_pairing_watcher {
    struct px_pairings *p;
    struct px_pairing_watcher *next;
    struct px_control_call *call;
    uint8_t id[PX_INVITE_ID_LEN];
};

struct px_pairings {
    struct px_pairings_config config;
    struct px_pairing_invite invites[PX_PAIRING_INVITES_MAX];
    size_t invite_count;
    struct px_pairing_guest *guests;
    struct px_pairing_going *going;
    struct px_pairing_watcher *watchers;
    struct { /* of the invite used last, for those who waited for it */
        uint8_t id[PX_INVITE_ID_LEN];
        char nix_key[PX_PAIRING_KEY_MAX];
        struct px_pairing_written written;
        struct px_peer_id joiner;
        int settling; /* as above */
        bool connected;
    } last;
    uv_timer_t tick; /* stopped while nothing waits for a time */
    unsigned ticks;  /* since the last look at stored joins */
    unsigned wrong;  /* hellos, less one a second */
    bool closing, tick_closed;
    void (*done)(void *ctx);
    void *done_ctx;
};

/* In ticks of 250 ms: a new member's link is waited for before people are told `paired`. */
#define PX_PAIRING_SETTLE_TICKS 12

/* pairing.c */
int64_t px_pairing_now(void); /* wall seconds */
struct px_pairing_invite *px_pairings_find(struct px_pairings *p,
                                           const uint8_t id[PX_INVITE_ID_LEN]);
/* Stores an invite after a change and tells those who watch it. What goes wrong is logged; it
 * matters only where something depends on its being stored. */
int px_pairings_changed(struct px_pairings *p, const struct px_pairing_invite *i);
/* Makes one. PX_ELIMIT with PX_PAIRING_INVITES_MAX remembered, PX_EINVAL (addresses), PX_ENOMEM,
 * errors of the store. ret_code holds a secret. */
struct px_pairing_wish {
    int64_t ttl;
    const char *name;
    uint32_t grants;
    bool verify;
    size_t addr_count; /* 0: ours */
    char addrs[PX_INVITE_ADDRS_MAX][PX_INVITE_ADDR_MAX];
};
PX_MUST_CHECK int px_pairings_invite(struct px_pairings *p, const struct px_pairing_wish *wish,
                                     const struct px_pairing_invite **ret,
                                     struct px_invite *ret_code);
int px_pairings_withdraw(struct px_pairings *p, struct px_pairing_invite *i);
/* What we say of ourselves. */
void px_pairings_card(const struct px_pairings *p, uint32_t grants, bool verify,
                      struct px_pairing_card *ret);
/* The link's other end as HOST:PORT, "" when it means nothing elsewhere. */
void px_pairings_seen(const struct px_link *link, char ret[PX_AUTH_ADDR_MAX]);
PX_MUST_CHECK int px_pairings_commit(struct px_pairings *p, const struct px_peer_id *peer,
                                     const char *name, const struct px_pairing_card *card,
                                     const char *seen, uint32_t grants,
                                     struct px_pairing_written *ret);
/* The invite is used; those who wait for it are told when the joiner's link is up, or soon. */
void px_pairings_used(struct px_pairings *p, const struct px_pairing_invite *i,
                      const struct px_pairing_card *card, const struct px_pairing_written *written);
/* Is it the invite whose joiner is still waited for? */
bool px_pairings_is_settling(const struct px_pairings *p, const struct px_pairing_invite *i);
/* Something waits for a time from now on. */
void px_pairings_wake(struct px_pairings *p);
/* After each end of something: finishes px_pairings_close when nothing is left. */
void px_pairings_check_closed(struct px_pairings *p);

/* pairing_guest.c */
const struct px_stream_ops *px_pairing_guest_stream(void *pairings, struct px_link *link,
                                                    int64_t id, void **ret_ctx);
/* The people at this end compared the strings. PX_ENOENT, PX_ESTATE. */
PX_MUST_CHECK int px_pairing_guest_answer(struct px_pairings *p, const uint8_t id[PX_INVITE_ID_LEN],
                                          bool yes);
/* The guest of this invite that waits for an answer, or NULL. */
struct px_pairing_guest *px_pairing_guest_asking(struct px_pairings *p,
                                                 const uint8_t id[PX_INVITE_ID_LEN]);
void px_pairing_guests_abort(struct px_pairings *p);

/* pairing_join.c */
/* Begins; `call` (may be NULL) is answered with lines. PX_EBUSY, PX_ENOMEM and what
 * px_peers_dial_guest says; call is then still the caller's. */
PX_MUST_CHECK int px_pairing_go(struct px_pairings *p, const struct px_pairing_join *join,
                                bool resumed, struct px_control_call *call);
PX_MUST_CHECK int px_pairing_go_answer(struct px_pairings *p, const uint8_t id[PX_INVITE_ID_LEN],
                                       bool yes);
void px_pairing_go_tick(struct px_pairings *p);
void px_pairing_go_peer_up(struct px_pairings *p, const struct px_peer_id *id);
void px_pairing_go_abort(struct px_pairings *p);
/* Tries stored joins that are not under way. False: none are stored any more. */
bool px_pairing_go_resume(struct px_pairings *p);

/* pairing_control.c */
PX_MUST_CHECK int px_pairing_control_routes(struct px_pairings *p);
json_t *px_pairing_invite_json(struct px_pairings *p, const struct px_pairing_invite *i);
void px_pairing_watchers_tell(struct px_pairings *p, const struct px_pairing_invite *i);
void px_pairing_watchers_abort(struct px_pairings *p);
/* Progress and end of a join. */
void px_pairing_say(struct px_pairing_going *g, const char *state, json_t *owned_more);
void px_pairing_say_paired(struct px_pairing_going *g, bool connected);
void px_pairing_say_failed(struct px_pairing_going *g, int err);

#endif
