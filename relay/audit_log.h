/* The relay's audit log: who was let in, who was refused, what ended, a line each. So that a flood
 * fills no disk there are so many lines a second and no more, counted apart for members and vouched
 * nodes, whom strangers cannot silence; how many were left out is told (docs/relay.md). */
#ifndef PX_RELAY_AUDIT_LOG_H
#define PX_RELAY_AUDIT_LOG_H

#include "proto/base/log.h"
#include "relay/server.h"

struct px_audit_log;

#define PX_AUDIT_LOG_RATE         2 /* lines a second about nodes that are neither member nor vouched */
#define PX_AUDIT_LOG_BURST        200
#define PX_AUDIT_LOG_FRIEND_RATE  20 /* about those that are */
#define PX_AUDIT_LOG_FRIEND_BURST 1000
#define PX_AUDIT_LOG_TELL         (10 * PX_SEC) /* between the lines about lines left out */

/* `log` is borrowed. PX_ENOMEM. */
PX_MUST_CHECK int px_audit_log_new(const struct px_log *log, px_nsec now,
                                   struct px_audit_log **ret);
/* Tells what was left out until then. NULL is fine. */
void px_audit_log_free(struct px_audit_log *l);
void px_audit_log_put(struct px_audit_log *l, const struct px_relay_audit *a, px_nsec now);
/* A handshake that led to no link. `id` may be NULL. */
void px_audit_log_refused(struct px_audit_log *l, const struct px_peer_id *id,
                          const struct px_addr *from, int err, bool by_peer, px_nsec now);
/* Tells what was left out, when that is due. */
void px_audit_log_run(struct px_audit_log *l, px_nsec now);
px_nsec px_audit_log_deadline(const struct px_audit_log *l);
/* Lines left out since the start. */
uint64_t px_audit_log_left_out(const struct px_audit_log *l);

#endif
