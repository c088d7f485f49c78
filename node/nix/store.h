/* The local Nix store, read without privileges (docs/store.md): path infos from the nix-daemon's
 * worker protocol or from db.sqlite, NARs encoded straight from the file system.
 *
 * Lives on one libuv loop. Nothing here writes to the store. */
#ifndef PX_NODE_NIX_STORE_H
#define PX_NODE_NIX_STORE_H

#include <uv.h>

#include "proto/base/log.h"
#include "proto/path_info.h"

struct px_store;
struct px_store_query;

#define PX_STORE_QUERIES_MAX 4096 /* waiting for an answer at a time; then PX_EBUSY */
#define PX_STORE_NARS_MAX    128  /* NARs being streamed at a time; then PX_EBUSY */

/* A Nix store URI as far as we read stores:
 *   auto                 the daemon if its socket answers, else the database
 *   daemon               the daemon at its default socket (NIX_DAEMON_SOCKET_PATH is honoured)
 *   unix:///path/socket  a daemon elsewhere
 *   local                the database of /nix/var/nix
 *   local?root=/dir      a chroot store: /dir/nix/store, /dir/nix/var/nix/db
 * with optional parameters root, store (logical store directory), state, real (percent-decoded). */
struct px_store_uri {
    enum px_store_kind { PX_STORE_AUTO, PX_STORE_DAEMON, PX_STORE_LOCAL } kind;
    char socket[108];    /* daemon: its socket */
    char store_dir[256]; /* logical, as in store paths: /nix/store */
    char real_dir[512];  /* where the files are */
    char state_dir[512]; /* where db/db.sqlite is */
};
/* PX_EPARSE for anything else; ret_hint (may be NULL) then says what is allowed. */
PX_MUST_CHECK int px_store_uri_parse(const char *text, struct px_store_uri *ret, char *ret_hint,
                                     size_t hint_size);

/* Opens the store: for `auto` decides now. Blocks for a daemon's greeting, at most 10 s for each
 * read. A daemon that goes away later is dialled again by the next query; the process must ignore
 * SIGPIPE. PX_ENOENT, PX_EPERM, PX_ETIMEDOUT, PX_EPROTO (a daemon too old: before 1.34; a database
 * too old; neither of both), PX_EIO. */
PX_MUST_CHECK int px_store_open(uv_loop_t *loop, const struct px_store_uri *uri,
                                const struct px_log *log, struct px_store **ret);
/* Ends queries with PX_ECANCELED; frees itself from the loop. NARs must be closed before. */
void px_store_close(struct px_store *s);
const char *px_store_dir(const struct px_store *s);
/* "daemon 1.38 at /…" or "database /…", for people. */
const char *px_store_describe(const struct px_store *s);

/* Looks a path up by the 32 characters of its hash part. `done` is called once from the loop,
 * never before this returns: err 0 with the info (now the callee's, freed by px_path_info_free),
 * PX_ENOENT for a path that is not valid, or what went wrong. Itself PX_EINVAL for what is no hash
 * part, PX_EBUSY, PX_ENOMEM, PX_ESTATE once closed. */
PX_MUST_CHECK int px_store_query(struct px_store *s, struct px_slice hash_part,
                                 void (*done)(void *ctx, int err, struct px_path_info *owned_info),
                                 void *ctx, struct px_store_query **ret);
/* `done` will not be called. */
void px_store_query_cancel(struct px_store_query *q);

/* A NAR being read on a worker thread, with at most PX_NAR_READ_AHEAD bytes produced and not yet
 * taken. Where there is a daemon the path is a temporary GC root until px_nar_close. */
struct px_nar;
#define PX_NAR_CHUNK      (128u * 1024)
#define PX_NAR_READ_AHEAD (1024u * 1024)

/* One piece of a NAR; belongs to whoever took it and may outlive the NAR. */
struct px_nar_chunk {
    struct px_slice data;
    struct px_nar_chunk *next; /* free for the owner's use */
};
void px_nar_chunk_free(struct px_nar_chunk *c);

/* Streams the NAR of a path (as a query gave it) from byte `offset` on. `ready` is called from the
 * loop whenever px_nar_next may have news after it said PX_EAGAIN. PX_EBUSY, PX_ENOMEM, PX_EINVAL
 * (offset beyond the end, a path of another store). */
PX_MUST_CHECK int px_nar_open(struct px_store *s, const struct px_path_info *info, uint64_t offset,
                              void (*ready)(void *ctx), void *ctx, struct px_nar **ret);
/* 0 and the next chunk, 0 and NULL at the end (after exactly nar_size - offset bytes), PX_EAGAIN,
 * or a lasting error: PX_ENOENT, PX_EPERM, PX_EIO, PX_ELIMIT (depth, name, target), PX_EPROTO when
 * the files do not add up to nar_size or change meanwhile. */
PX_MUST_CHECK int px_nar_next(struct px_nar *n, struct px_nar_chunk **ret_owned);
/* At any time; `ready` is not called any more. */
void px_nar_close(struct px_nar *n);

#endif
