/* Keeps a link on a path that works (docs/spec/paths.md §4 to §6): doubts, asks, answers, proves,
 * and says when the connection is to move. A pure machine: time and messages come in, what is to
 * be sent or done goes out through ops. Sealing is transport/disco, moving is QUIC's. */
#ifndef PX_TRANSPORT_LINK_PATH_H
#define PX_TRANSPORT_LINK_PATH_H

#include "transport/disco.h"
#include "transport/link_places.h"

#define PX_LINK_QUESTIONS_MAX 4            /* outstanding on paths that are not proved */
#define PX_LINK_QUESTION_SAME (2 * PX_SEC) /* so long it is repeated with the same nonce */
#define PX_LINK_QUESTION_TIME (5 * PX_SEC) /* an answer later than this proves nothing */
#define PX_LINK_OUTAGE        PX_SEC /* after a silence this long QUIC's timers wait for too long */
#define PX_LINK_GREETINGS_MAX 4
#define PX_LINK_GREETING_GAP  (250 * PX_MSEC)
#define PX_LINK_STRAYS_MAX    4               /* unproved sources of QUIC packets remembered */
#define PX_LINK_STRAY_GAP     (200 * PX_MSEC) /* between two questions to one of them */
#define PX_LINK_ANSWERS_BURST 32              /* packets the peer's packets make us send, */
#define PX_LINK_ANSWERS_GAP   (PX_SEC / 16)   /* and how often in the long run */
#define PX_LINK_PROBE_AGAIN   (50 * PX_MSEC)  /* between two probes, whatever renews the doubt */
#define PX_LINK_LOST_TIME     (500 * PX_MSEC) /* in doubt for so long, the owner is told, */
#define PX_LINK_LOST_AGAIN    PX_SEC          /* and again after so long, doubled up to */
#define PX_LINK_LOST_RARELY   (8 * PX_SEC)

struct px_link_path_ops {
    void (*send)(void *ctx, const struct px_path *path, const struct px_disco_packet *packet);
    /* The path QUIC sends on now. */
    void (*current)(void *ctx, struct px_path *ret);
    /* May QUIC be read on it? */
    bool (*is_proved)(void *ctx, const struct px_path *path);
    void (*proved)(void *ctx, const struct px_path *path);
    /* Client: move to a proved path, or anew to the present one. 0; else it cannot now. */
    int (*migrate)(void *ctx, const struct px_path *path);
    /* The path in use works: have QUIC send something now. */
    void (*poke)(void *ctx);
    /* In doubt for a while: other places where the peer may be are wanted. */
    void (*lost)(void *ctx);
};

struct px_path_stray {
    struct px_path path; /* remote family 0: none */
    size_t credit;       /* bytes that came and were not answered */
    px_nsec asked_at, seen_at;
};

enum px_link_path_state {
    PX_LINK_PATH_STEADY,
    PX_LINK_PATH_DOUBT, /* asking until something comes back */
    PX_LINK_PATH_STATES,
};

struct px_link_path {
    const struct px_link_path_ops *ops;
    void *ctx;
    struct px_rng rng;
    bool client;
    enum px_link_path_state state;
    px_nsec doubt_began; /* the first of doubts that followed each other */
    px_nsec doubt_since, asked_at, next_probe;
    px_nsec lost_at, lost_gap; /* in doubt: when the owner is told (again) */
    unsigned tries;
    px_nsec greet_at; /* when the first question is asked (again); 0: answered, or given up */
    unsigned greetings;
    struct px_path_question own[2]; /* on the path in use; from any local address */
    struct px_addr in_use;          /* the other end of the path in use, as of the last move */
    struct px_link_places places;
    struct px_path_question questions[PX_LINK_QUESTIONS_MAX];
    struct px_path_stray strays[PX_LINK_STRAYS_MAX];
    px_nsec answers_until;   /* GCRA: the theoretical arrival time */
    struct px_addr observed; /* how the peer sees us on the path in use; may be no address */
};

void px_link_path_init(struct px_link_path *p, bool client, const struct px_rng *rng,
                       const struct px_link_path_ops *ops, void *ctx);
/* Disco works from now on. A client asks how the peer sees it, as soon as the peer can answer. */
void px_link_path_start(struct px_link_path *p, px_nsec now);
/* The path may be lost. Cheap; probes leave with px_link_path_run. */
void px_link_path_doubt(struct px_link_path *p, px_nsec now);
/* In doubt since PX_LINK_LOST_TIME or longer? */
bool px_link_path_is_lost(const struct px_link_path *p, px_nsec now);
/* QUIC sends on another path now. */
void px_link_path_moved(struct px_link_path *p, px_nsec now);
/* The network is another one: a link on a circuit asks for its way back at once. */
void px_link_path_hurry(struct px_link_path *p, px_nsec now);
/* The peer may be found here too: asked in doubt, and if the path in use is a circuit and this is
 * none, now and then. Remembered as transport/link_places says. */
void px_link_path_suggest(struct px_link_path *p, const struct px_addr *remote, px_nsec now);
/* The peer is asked here now, doubt or not; if it answers, the link moves here. */
void px_link_path_prefer(struct px_link_path *p, const struct px_addr *remote, px_nsec now);
/* Does what is due. `heard_at`: when QUIC last heard anything on the path in use. */
void px_link_path_run(struct px_link_path *p, px_nsec heard_at, px_nsec now);
px_nsec px_link_path_deadline(const struct px_link_path *p);
/* An authentic disco packet came. */
void px_link_path_input(struct px_link_path *p, const struct px_path *path,
                        const struct px_disco_packet *packet, px_nsec now);
/* A QUIC packet of `len` bytes for this connection came on a path that is not proved. */
void px_link_path_stray(struct px_link_path *p, const struct px_path *path, size_t len,
                        px_nsec now);

#endif
