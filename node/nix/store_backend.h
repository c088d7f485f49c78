/* What store.c asks of a way to read path infos: the database or a daemon. Internal to node/nix. */
#ifndef PX_NODE_NIX_STORE_BACKEND_H
#define PX_NODE_NIX_STORE_BACKEND_H

#include "node/nix/store.h"
#include "proto/base/list.h"

#define PX_STORE_PATH_MAX  1024 /* a store path or the file it is, with NUL */
#define PX_STORE_LABEL_MAX 256

struct px_store_backend;

/* A backend owns it from ops->query until it calls px_store_query_finish or ops->cancel returns. */
struct px_store_query {
    struct px_list node; /* the backend's */
    struct px_store *store;
    char hash_part[PX_STORE_HASH_LEN];
    unsigned attempts;                 /* the backend's */
    struct px_store_daemon_conn *conn; /* the daemon backend's: at work on it, or NULL */
    bool queued;                       /* the daemon backend's: counted as waiting */
    void (*done)(void *ctx, int err, struct px_path_info *owned_info);
    void *ctx;
};

/* Ends a query; must come from the loop, not from inside ops->query. */
void px_store_query_finish(struct px_store_query *q, int err, struct px_path_info *owned_info);

/* A temporary GC root being asked for or held; embedded in whoever wants one. */
struct px_store_root {
    struct px_list node;
    struct px_store_daemon_conn *conn;
    enum px_store_root_state {
        PX_STORE_ROOT_NONE,
        PX_STORE_ROOT_WAITING,
        PX_STORE_ROOT_ASKED,
        PX_STORE_ROOT_HELD
    } state;
    struct px_slice path; /* borrowed until done or released */
    /* Called from the loop, once: 0, or why there is no root. */
    void (*done)(void *ctx, int err);
    void *ctx;
};

struct px_store_backend_ops {
    int (*query)(struct px_store_backend *b, struct px_store_query *q);
    void (*cancel)(struct px_store_backend *b, struct px_store_query *q);
    /* NULL where nothing collects garbage behind our back; else as the names say. */
    int (*root_acquire)(struct px_store_backend *b, struct px_store_root *r);
    void (*root_release)(struct px_store_backend *b, struct px_store_root *r);
    /* Finishes all queries with PX_ECANCELED, then ends; `closed` is called from the loop, later,
     * when nothing is left. No roots are held by then. */
    void (*close)(struct px_store_backend *b, void (*closed)(void *ctx), void *ctx);
};

struct px_store_backend {
    const struct px_store_backend_ops *ops;
    char label[PX_STORE_LABEL_MAX]; /* px_store_describe */
};

/* Both copy what they need of uri; errors as px_store_open. */
PX_MUST_CHECK int px_store_db_open(uv_loop_t *loop, const struct px_store_uri *uri,
                                   const struct px_log *log, struct px_store_backend **ret);
PX_MUST_CHECK int px_store_daemon_open(uv_loop_t *loop, const struct px_store_uri *uri,
                                       const struct px_log *log, struct px_store_backend **ret);

/* Helpers that turn what a database or daemon says into a px_path_info. Paths are full paths and
 * must be in store_dir (PX_EPROTO else); see store_info.c. */
PX_MUST_CHECK int px_store_info_new(struct px_slice store_dir, struct px_slice store_path,
                                    struct px_path_info **ret);
/* nar_hash: bare base16, or with "sha256:". A size of 0 (not recorded) is PX_ENOENT: such a path
 * cannot be served. */
PX_MUST_CHECK int px_store_info_set_nar(struct px_path_info *p, struct px_slice nar_hash,
                                        uint64_t nar_size);
PX_MUST_CHECK int px_store_info_add_ref(struct px_path_info *p, struct px_slice path);
/* What is no path of this store ("unknown-deriver" in old databases) is left out. */
PX_MUST_CHECK int px_store_info_set_deriver(struct px_path_info *p, struct px_slice path);
/* What does not look like a signature is left out, as is what exceeds PX_NARINFO_SIGS_MAX. */
PX_MUST_CHECK int px_store_info_add_sig(struct px_path_info *p, struct px_slice sig);

#endif
