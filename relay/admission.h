/* Who may do what at the relay (docs/spec/relay.md §2): members, those they vouch for, joiners with
 * an invite, strangers. Sans-IO; what must survive goes through a px_relay_store. */
#ifndef PX_RELAY_ADMISSION_H
#define PX_RELAY_ADMISSION_H

#include "auth/peer_id.h"
#include "relay/relay_msg.h"
#include "relay/store.h"

struct px_admission;

#define PX_ADMISSION_INVITES_MAX 32   /* open ones of a member */
#define PX_ADMISSION_VOUCHED_MAX 64   /* of a member */
#define PX_ADMISSION_ITEMS_MAX   8192 /* invites, joiners and vouchings together */
#define PX_ADMISSION_TTL_MIN     PX_SEC
#define PX_ADMISSION_TTL_MAX     (7 * 24 * 3600 * PX_SEC)

struct px_admission_config {
    struct px_rng rng;
    bool (*is_member)(void *ctx, const struct px_peer_id *id);
    void *ctx;
    bool open;                          /* strangers are welcome */
    const struct px_relay_store *store; /* borrowed; may be NULL */
};

PX_MUST_CHECK int px_admission_new(const struct px_admission_config *config,
                                   struct px_admission **ret);
void px_admission_free(struct px_admission *a);
PX_MUST_CHECK int px_admission_load(struct px_admission *a, px_nsec now);
void px_admission_set_open(struct px_admission *a, bool open);

enum px_relay_class px_admission_class(const struct px_admission *a, const struct px_peer_id *id,
                                       px_nsec now);
/* Whether a node we know nothing of may have a link: to show an invite, or as a stranger. */
bool px_admission_hears_unknown(const struct px_admission *a, px_nsec now);
/* True for the node that invited this joiner, and the other way round. */
bool px_admission_is_pair(const struct px_admission *a, const struct px_peer_id *joiner,
                          const struct px_peer_id *inviter);

/* The caller of these is a member. INTERNAL: what was to be is not stored, so it is not; what was
 * to end has ended, but may come back with a restart until the store drops it, which is tried again
 * by itself (px_admission_run) and by the same call. */
enum px_relay_status px_admission_invite(struct px_admission *a, const struct px_peer_id *member,
                                         const uint8_t hash[PX_RELAY_SECRET_LEN], px_nsec ttl,
                                         px_nsec now);
enum px_relay_status px_admission_uninvite(struct px_admission *a, const struct px_peer_id *member,
                                           const uint8_t hash[PX_RELAY_SECRET_LEN]);
enum px_relay_status px_admission_vouch(struct px_admission *a, const struct px_peer_id *member,
                                        const struct px_peer_id *id, bool on);

/* Uses up the invite this secret belongs to; INTERNAL: neither used up nor admitted. */
enum px_relay_status px_admission_admit(struct px_admission *a, const struct px_peer_id *joiner,
                                        const uint8_t secret[PX_RELAY_SECRET_LEN], px_nsec now,
                                        struct px_peer_id *ret_inviter, px_nsec *ret_ttl);

/* The list of members changed: what those who left had opened or vouched for goes. Classes may be
 * different afterwards. */
void px_admission_recheck(struct px_admission *a);
/* True when classes may be others now. */
bool px_admission_run(struct px_admission *a, px_nsec now);
/* When there is something to run; PX_NEVER if not. */
px_nsec px_admission_deadline(const struct px_admission *a);
size_t px_admission_invites(const struct px_admission *a);

#endif
