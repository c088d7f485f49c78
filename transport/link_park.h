/* Streams that arrived before the link was up: kept whole and in order, undelivered, within
 * PX_LINK_PARKED_MAX bytes and PX_LINK_PARKED_STREAMS (docs/spec/handshake.md §7). */
#ifndef PX_TRANSPORT_LINK_PARK_H
#define PX_TRANSPORT_LINK_PARK_H

#include "proto/base/buf.h"
#include "proto/base/list.h"

struct px_parked {
    struct px_list node;
    int64_t id;
    struct px_buf data;
    bool fin, reset, stop, closed;
    uint64_t reset_code, stop_code;
};

struct px_park {
    struct px_list streams; /* struct px_parked, ids ascending */
    size_t count, bytes;
};

void px_park_init(struct px_park *p);
void px_park_deinit(struct px_park *p);

/* Each notes one event of one stream. PX_EOVERRUN beyond the limits, PX_ENOMEM. */
PX_MUST_CHECK int px_park_opened(struct px_park *p, int64_t id);
PX_MUST_CHECK int px_park_data(struct px_park *p, int64_t id, struct px_slice data, bool fin);
PX_MUST_CHECK int px_park_reset(struct px_park *p, int64_t id, uint64_t code);
PX_MUST_CHECK int px_park_stop(struct px_park *p, int64_t id, uint64_t code);
PX_MUST_CHECK int px_park_closed(struct px_park *p, int64_t id);

/* Takes out the stream with the lowest id, NULL when there is none; px_parked_free it. */
struct px_parked *px_park_take(struct px_park *p);
void px_parked_free(struct px_parked *s);

#endif
