/* What a node reports to its relays of the NAR content it moved, when, and what they say of it in
 * turn (docs/spec/relay.md §8, Accounting). Sans-IO: counts and answers go in, orders come out;
 * signing and sending are the owner's (node/relay_reports.c). */
#ifndef PX_NODE_TRANSFER_REPORTS_H
#define PX_NODE_TRANSFER_REPORTS_H

#include "relay/relay_msg.h"

#define PX_TRANSFER_SESSIONS_MAX 1024 /* of links; one that ended makes room, else the oldest */
#define PX_TRANSFER_PEERS_MAX    1024 /* whose totals are known; the oldest makes room */
#define PX_TRANSFER_RELAYS_MAX   4    /* one that is away makes room */
#define PX_TRANSFER_UNDER_WAY    16   /* requests at one relay */
#define PX_TRANSFER_RATE         8    /* requests a second at one relay */
#define PX_TRANSFER_QUIET        PX_SEC
#define PX_TRANSFER_GAP          (5 * PX_SEC)    /* between reports of one direction of a link */
#define PX_TRANSFER_MOVING       (60 * PX_SEC)   /* while it goes on, and after a failure */
#define PX_TRANSFER_KEEP         (3600 * PX_SEC) /* a link that ended is reported for so long */
/* Totals are asked for so long after a report and, while not all is confirmed, four times as long
 * after each answer. */
#define PX_TRANSFER_TOTALS_FIRST (2 * PX_SEC)
#define PX_TRANSFER_TOTALS_MAX   (3600 * PX_SEC)

#define PX_TRANSFER_TICKET_MAX 0xffffff

struct px_transfer_reports;

/* Without `report` nothing is reported, only totals are asked for. */
PX_MUST_CHECK int px_transfer_reports_new(const struct px_rng *rng, bool report,
                                          struct px_transfer_reports **ret);
void px_transfer_reports_free(struct px_transfer_reports *r);

/* What has moved over the link of that session since it began. Without memory it is forgotten. */
void px_transfer_reports_count(struct px_transfer_reports *r, const struct px_peer_id *peer,
                               const uint8_t session[PX_RELAY_SESSION_LEN], uint64_t sent,
                               uint64_t received, px_nsec now);
void px_transfer_reports_ended(struct px_transfer_reports *r,
                               const uint8_t session[PX_RELAY_SESSION_LEN], px_nsec now);
/* The totals with this peer are wanted of every relay when it comes up. */
void px_transfer_reports_want(struct px_transfer_reports *r, const struct px_peer_id *peer);

/* A relay that takes reports of this node is connected, or is not any more. */
void px_transfer_reports_up(struct px_transfer_reports *r, const struct px_peer_id *relay,
                            px_nsec now);
void px_transfer_reports_down(struct px_transfer_reports *r, const struct px_peer_id *relay,
                              px_nsec now);
/* Some relay takes reports now: counts are worth looking at. */
bool px_transfer_reports_heard(const struct px_transfer_reports *r);

struct px_transfer_order {
    uint32_t ticket; /* for px_transfer_reports_answer; at most PX_TRANSFER_TICKET_MAX */
    bool report;     /* else: ask for the totals with `peer` */
    struct px_peer_id peer;
    enum px_relay_direction direction;
    uint8_t session[PX_RELAY_SESSION_LEN];
    uint64_t bytes;
};

/* What that relay is to be sent now; false: nothing. With `last` all that was not told, regardless
 * of time: the node is going. */
bool px_transfer_reports_next(struct px_transfer_reports *r, const struct px_peer_id *relay,
                              bool last, px_nsec now, struct px_transfer_order *ret);
/* Its answer; `totals` NULL unless it told them. NO_ANSWER, too, when it could not be sent. */
void px_transfer_reports_answer(struct px_transfer_reports *r, const struct px_peer_id *relay,
                                uint32_t ticket, enum px_relay_status status,
                                const uint64_t *totals, px_nsec now);
/* When px_transfer_reports_next has something for some relay. */
px_nsec px_transfer_reports_deadline(struct px_transfer_reports *r);

/* By enum px_relay_total: what relays say of this node and the peer, the largest of each figure.
 * False: none has said anything. */
bool px_transfer_reports_totals(const struct px_transfer_reports *r, const struct px_peer_id *peer,
                                uint64_t ret[PX_RELAY_TOTALS_LEN]);

#endif
