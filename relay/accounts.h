/* Transfer accounting (docs/spec/relay.md §8): what two nodes say moved between them, confirmed as
 * far as both say it. Sans-IO; totals live in a px_relay_store. */
#ifndef PX_RELAY_ACCOUNTS_H
#define PX_RELAY_ACCOUNTS_H

#include "auth/identity.h"
#include "relay/relay_msg.h"
#include "relay/store.h"

struct px_accounts;

#define PX_ACCOUNTS_SESSIONS_MAX 16384
#define PX_ACCOUNTS_PAIRS_MAX    65536
/* Of one reporter, so that a node that invents sessions or peers pushes out no others': sessions it
 * was the first to report, and pairs that it alone has reported. A session too many makes room by
 * another of the same reporter, one that the other side never confirmed first; a pair too many is
 * refused. */
#define PX_ACCOUNTS_REPORTER_SESSIONS_MAX 256
#define PX_ACCOUNTS_REPORTER_PAIRS_MAX    256
#define PX_ACCOUNTS_SESSION_TTL           (7 * 24 * 3600 * PX_SEC)
#define PX_ACCOUNTS_ALONE_TTL             (30 * 24 * 3600 * PX_SEC) /* days one side alone reported */

struct px_transfer {
    uint8_t session[PX_RELAY_SESSION_LEN];
    struct px_peer_id sender, receiver;
    uint64_t bytes; /* since the session began */
};

/* Session id of a link: the first bytes of SHA-256(label ‖ its binding). */
void px_transfer_session(struct px_slice binding, uint8_t ret[PX_RELAY_SESSION_LEN]);
void px_transfer_sign(const struct px_identity *identity, const struct px_transfer *t,
                      uint8_t ret[PX_ED25519_SIG_LEN]);
/* PX_ECRYPTO. */
PX_MUST_CHECK int px_transfer_verify(const struct px_transfer *t, const struct px_peer_id *signer,
                                     const uint8_t signature[PX_ED25519_SIG_LEN]);

PX_MUST_CHECK int px_accounts_new(const struct px_rng *rng, const struct px_relay_store *store,
                                  struct px_accounts **ret);
void px_accounts_free(struct px_accounts *a);
PX_MUST_CHECK int px_accounts_load(struct px_accounts *a);

/* A report of `reporter`, who is sender or receiver. RESOURCE_LIMIT_EXCEEDED: one pair too many, of
 * all or of this reporter. */
enum px_relay_status px_accounts_report(struct px_accounts *a, const struct px_peer_id *reporter,
                                        const struct px_transfer *t,
                                        const uint8_t signature[PX_ED25519_SIG_LEN]);
/* What is only the word of nodes that are not welcome any more goes, and makes room. */
void px_accounts_drop_unwelcome(struct px_accounts *a,
                                bool (*welcome)(void *ctx, const struct px_peer_id *id), void *ctx);
/* Of all days: what `me` sent to and received from `other`, by enum px_relay_total. */
void px_accounts_totals(const struct px_accounts *a, const struct px_peer_id *me,
                        const struct px_peer_id *other, uint64_t ret[PX_RELAY_TOTALS_LEN]);

#endif
