/* An invite as its maker keeps it (docs/spec/pairing.md §5): who may still use it, and until when.
 * Pure: the wall clock comes in, and whoever keeps the record stores it after each change. */
#ifndef PX_AUTH_PAIRING_INVITE_H
#define PX_AUTH_PAIRING_INVITE_H

#include "auth/pairing.h"

#define PX_PAIRING_BURN      3   /* wrong proofs that end an invite */
#define PX_PAIRING_AFTERLIFE 600 /* seconds an ended invite is remembered, to say why */
#define PX_PAIRING_TTL       600 /* seconds, unless said otherwise */
#define PX_PAIRING_TTL_MAX   86400

/* Numbers are stored. */
#define PX_PAIRING_INVITE_TABLE(X)                                                                 \
    X(PX_INVITE_OPEN, 1, "open")                                                                   \
    X(PX_INVITE_PENDING, 2, "pending")                                                             \
    X(PX_INVITE_USED, 3, "used")                                                                   \
    X(PX_INVITE_EXPIRED, 4, "expired")                                                             \
    X(PX_INVITE_BURNT, 5, "burnt")                                                                 \
    X(PX_INVITE_WITHDRAWN, 6, "withdrawn")

enum px_invite_state {
#define X(name, value, text) name = value,
    PX_PAIRING_INVITE_TABLE(X)
#undef X
};
const char *px_invite_state_name(enum px_invite_state s);

struct px_pairing_invite {
    uint8_t id[PX_INVITE_ID_LEN];
    enum px_invite_state state;
    struct px_pairing_key pair; /* zero once it has ended other than by use */
    struct px_peer_id joiner;   /* while pending or used */
    unsigned failures;
    char name[PX_AUTH_NAME_MAX + 1]; /* for the joiner; "": its own */
    uint32_t grants;                 /* for the joiner */
    bool verify;
    int64_t expires; /* wall seconds */
    int64_t ended;   /* wall seconds, from expired, burnt, withdrawn on */
};

/* Makes an open invite with its code; ret_code's addresses and network are the caller's. */
void px_pairing_invite_new(const struct px_peer_id *self, const struct px_rng *rng, int64_t expires,
                           struct px_pairing_invite *ret, struct px_invite *ret_code);
/* Brings it up to the time. True if it changed. */
bool px_pairing_invite_tick(struct px_pairing_invite *i, int64_t now);
/* May be forgotten. */
bool px_pairing_invite_is_over(const struct px_pairing_invite *i, int64_t now);
/* Is its proof worth checking? 0, or why not: PX_EINVITE_EXPIRED, _BURNT, _WITHDRAWN. */
PX_MUST_CHECK int px_pairing_invite_usable(const struct px_pairing_invite *i);
/* A wrong proof named it: PX_EINVITE_TOKEN, or PX_EINVITE_BURNT when this one ended it. */
PX_MUST_CHECK int px_pairing_invite_fail(struct px_pairing_invite *i, int64_t now);
/* A right proof by this node. 0 (pending or used by it now), PX_EINVITE_BUSY, PX_EINVITE_USED. */
PX_MUST_CHECK int px_pairing_invite_take(struct px_pairing_invite *i,
                                         const struct px_peer_id *joiner);
/* Its joiner has confirmed. PX_ESTATE unless pending or used by it. */
PX_MUST_CHECK int px_pairing_invite_promote(struct px_pairing_invite *i,
                                            const struct px_peer_id *joiner);
/* Taken back, by its maker or because the people said no. PX_ESTATE once it has ended or is used.
 */
PX_MUST_CHECK int px_pairing_invite_withdraw(struct px_pairing_invite *i, int64_t now);

#endif
