/* A link on the move: joins the path machine (transport/link_path), disco packets and QUIC's
 * migration (docs/spec/paths.md). For transport/link*.c and overlay.c alone. */
#ifndef PX_TRANSPORT_LINK_ROAM_H
#define PX_TRANSPORT_LINK_ROAM_H

#include "proto/base/heap.h"
#include "proto/base/map.h"
#include "transport/link_path.h"

struct px_link;
struct px_overlay;

struct px_link_roam {
    bool on;         /* the link is up: keys and index are made */
    bool peer_known; /* `disco` came */
    uint64_t index, peer_index;
    struct px_map_node by_index; /* in the overlay's map while on */
    struct px_heap_node asking;  /* in the overlay's heap while there is something to ask */
    struct px_disco disco;
    struct px_link_path path;
};

/* The link is up: chooses the index and tells it. Fails the link when it cannot. */
void px_link_roam_up(struct px_link *l);
void px_link_roam_down(struct px_link *l);
/* The peer's `disco` frame. */
void px_link_roam_index(struct px_link *l, uint64_t peer_index);
/* Of px_quic_conn_ops. */
void px_link_on_path_changed(void *ctx);
void px_link_on_silent(void *ctx);
void px_link_on_stray(void *ctx, const struct px_path *path, size_t len);

/* A datagram that is none of QUIC's. */
void px_overlay_disco_input(struct px_overlay *o, const struct px_path *path,
                            struct px_slice datagram);
/* Asks where it is due; when the next question is. */
void px_overlay_roam_run(struct px_overlay *o);
px_nsec px_overlay_roam_deadline(const struct px_overlay *o);

#endif
