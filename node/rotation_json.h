/* A rotation as the control API shows it (docs/control-api.md), also for the command when no daemon
 * runs. */
#ifndef PX_NODE_ROTATION_JSON_H
#define PX_NODE_ROTATION_JSON_H

#include <jansson.h>

#include "auth/rotation_book.h"

/* What is known of one listed peer. */
struct px_rotation_peer {
    bool acked, connected;
    int err; /* of the latest try; 0: none, or good */
};

struct px_rotation_view {
    const struct px_peer_id *own, *next; /* next: NULL when no rotation is under way */
    const struct px_authorized_keys *keys;
    const struct px_rotation_book *book;
    /* With `next`: asked for every listed peer but ourselves. */
    struct px_rotation_peer (*peer)(void *ctx, const struct px_peer_id *id);
    void *ctx;
};

/* NULL without memory. */
json_t *px_rotation_json(const struct px_rotation_view *v);
/* The names (or IDs) of those who have not acked, "a, b and 3 more"; returns how many. */
size_t px_rotation_unacked(const struct px_rotation_view *v, struct px_buf *out);

#endif
