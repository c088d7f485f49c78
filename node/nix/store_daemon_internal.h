/* What store_daemon.c (queue, roots, which connections there are) and store_daemon_conn.c (one
 * connection) share. Nobody else includes it. */
#ifndef PX_NODE_NIX_STORE_DAEMON_INTERNAL_H
#define PX_NODE_NIX_STORE_DAEMON_INTERNAL_H

#include "node/nix/store_backend.h"
#include "node/nix/worker_proto.h"

#define PX_STORE_READ_SIZE (64u * 1024)

struct px_store_daemon {
    struct px_store_backend base;
    uv_loop_t *loop;
    const struct px_log *log;
    char socket[sizeof(((struct px_store_uri *)NULL)->socket)];
    char store_dir[sizeof(((struct px_store_uri *)NULL)->store_dir)];
    struct px_list conns;
    size_t query_conns;
    struct px_list queue; /* queries not on a connection */
    size_t queued;
    struct px_store_daemon_conn *root_conn; /* the one new roots go to, or NULL */
    uv_idle_t turn;                         /* hands out work from the loop, never from a caller */
    size_t live;                            /* connections not freed, and the handle above */
    uint64_t dial_after;                    /* more connections not before, in ms */
    bool closing;
    void (*closed)(void *ctx);
    void *closed_ctx;
    uint8_t read_buf[PX_STORE_READ_SIZE]; /* shared: used up within the read callback */
};

struct px_store_daemon_conn {
    struct px_list node;
    struct px_store_daemon *daemon;
    enum conn_state { CONN_DIALING, CONN_GREETING, CONN_IDLE, CONN_BUSY, CONN_CLOSING } state;
    bool for_roots;
    bool retired; /* takes no new roots */
    uv_pipe_t pipe;
    uv_timer_t timer;
    unsigned handles;
    uv_connect_t connect;
    uv_write_t write;
    bool writing;
    struct px_buf sending;
    struct px_worker worker;
    uint64_t born;                /* ms of the loop's clock */
    struct px_store_query *query; /* asked; NULL if cancelled meanwhile */
    struct px_list roots;         /* wanted, asked or held through this connection */
    struct px_store_root *root;   /* asked; NULL if released meanwhile */
    size_t asked_roots;           /* ever */
};

/* store_daemon.c */
/* The first query of the queue, which must not be empty. */
struct px_store_query *px_store_daemon_dequeue(struct px_store_daemon *d);
void px_store_daemon_finish_query(struct px_store_query *q, int err,
                                  struct px_path_info *owned_info);
/* Gives out work at the next turn of the loop. */
void px_store_daemon_schedule(struct px_store_daemon *d);
/* A connection failed and is closed; q (may be NULL) is what it was asked. */
void px_store_daemon_lost(const struct px_store_daemon_conn *c, bool greeted,
                          struct px_store_query *q, int err);
/* One part less to wait for at the end. */
void px_store_daemon_let_go(struct px_store_daemon *d);

/* store_daemon_conn.c */
/* Opens one; failures come later, by px_store_daemon_lost. NULL without memory. */
struct px_store_daemon_conn *px_store_daemon_conn_dial(struct px_store_daemon *d, bool for_roots);
/* Keeps a greeted connection for queries if it can; without it the first query dials. */
void px_store_daemon_conn_adopt(struct px_store_daemon *d, int owned_fd,
                                struct px_worker *owned_worker);
/* Nothing may be waiting on it any more. */
void px_store_daemon_conn_close(struct px_store_daemon_conn *c);
/* Gives an idle connection its next request, if there is one. */
void px_store_daemon_conn_work(struct px_store_daemon_conn *c);
bool px_store_daemon_conn_has_work(const struct px_store_daemon_conn *c);
/* After a reply, or when the last root was released: more work, or the wait for it. */
void px_store_daemon_conn_rest(struct px_store_daemon_conn *c);
/* Takes nothing new any more. */
bool px_store_daemon_conn_is_old(const struct px_store_daemon_conn *c);

#endif
