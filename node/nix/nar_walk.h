/* Encodes a file tree as a NAR, synchronously, in chunks: what nix-store --dump does.
 *
 * Not a thread and not a queue: that is nar_source. Framing is proto/nar. */
#ifndef PX_NODE_NIX_NAR_WALK_H
#define PX_NODE_NIX_NAR_WALK_H

#include "node/nix/store.h"

#define PX_NAR_DIR_MAX (64u << 20) /* default of px_nar_walk_ops.dir_max */

struct px_nar_walk_ops {
    /* Takes the next chunk over; may block. An error ends the walk with it. */
    int (*emit)(void *ctx, struct px_nar_chunk *owned);
    /* Asked between files and chunks; true ends the walk with PX_ECANCELED. */
    bool (*stopped)(void *ctx);
    /* Bytes held of the names of one directory, each with 2 more; beyond it PX_ELIMIT. 0: default.
     */
    size_t dir_max;
};

/* Emits bytes [offset, nar_size) of the NAR of `path`, never more. Chunks are PX_NAR_CHUNK bytes
 * but for the last. File contents before offset are not read. Symbolic links are never followed.
 *
 * PX_EINVAL (offset beyond nar_size), PX_ENOENT, PX_EPERM, PX_EIO, PX_ENOMEM, PX_ELIMIT (depth,
 * name, target, directory size), PX_EPROTO (neither file, directory nor link; a file that changed
 * its size meanwhile; the tree does not add up to nar_size), or what emit said. */
PX_MUST_CHECK int px_nar_walk(const char *path, uint64_t nar_size, uint64_t offset,
                              const struct px_nar_walk_ops *ops, void *ctx);

#endif
