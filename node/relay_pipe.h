/* The way to a relay where UDP does not pass (docs/spec/relay-tls.md §7): when a dial gets no
 * answer a pipe is opened and the link dialled in it; once there, UDP is asked again and again, and
 * the link moves when it answers. For node/relays*; nobody else includes it. */
#ifndef PX_NODE_RELAY_PIPE_H
#define PX_NODE_RELAY_PIPE_H

#include "proto/addr.h"

struct px_relay;

#define PX_RELAY_TCP_PORT       443
#define PX_RELAY_PIPE_WAIT      (1500 * PX_MSEC) /* for an answer by UDP */
#define PX_RELAY_PIPE_WAIT_NEXT (500 * PX_MSEC)  /* the same, if a pipe was what worked last */
#define PX_RELAY_PIPE_ASK_FIRST (5 * PX_SEC)     /* by UDP, after the link came up in a pipe */
#define PX_RELAY_PIPE_ASK       (30 * PX_SEC)
#define PX_RELAY_PIPE_GRACE     (2 * PX_SEC) /* that a pipe stays after the link left it */
#define PX_RELAY_PIPE_PONG_TIME (5 * PX_SEC) /* behind a queue pongs take longer */

enum px_relay_pipe_state {
    PX_RELAY_PIPE_NONE,
    PX_RELAY_PIPE_PLANNED,    /* opened at `at` if UDP does not answer before */
    PX_RELAY_PIPE_CONNECTING, /* TCP and TLS; UDP may still answer first */
    PX_RELAY_PIPE_USED,       /* the link is in it, or dialled; asks by UDP at `at` */
    PX_RELAY_PIPE_LEFT,       /* the link moved to UDP; closed at `at` */
    PX_RELAY_PIPE_STATES,
};

struct px_relay_pipe {
    enum px_relay_pipe_state state;
    struct px_addr udp;  /* where the relay was dialled */
    struct px_addr addr; /* of the pipe; from CONNECTING on */
    px_nsec at;          /* PX_NEVER: nothing is due */
    bool worked;         /* the link before this one came by a pipe */
};

/* A dial by UDP has begun. */
void px_relay_pipe_plan(struct px_relay *r, const struct px_addr *udp, px_nsec now);
/* The link is up, r->path is where. */
void px_relay_pipe_up(struct px_relay *r, px_nsec now);
/* The link moved to r->path. */
void px_relay_pipe_moved(struct px_relay *r, px_nsec now);
/* The dial by UDP failed: does a pipe go on with it? */
bool px_relay_pipe_takes_over(struct px_relay *r, int err);
/* Neither link nor dial any more. */
void px_relay_pipe_end(struct px_relay *r);
void px_relay_pipe_network_changed(struct px_relay *r, px_nsec now);
void px_relay_pipe_run(struct px_relay *r, px_nsec now);
px_nsec px_relay_pipe_deadline(const struct px_relay *r);

#endif
