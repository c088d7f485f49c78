/* Pairing as a pure exchange of messages (docs/spec/pairing.md §2 to §7): one object a stream and
 * side. It knows keys, proofs and whose turn it is. Which invites there are is
 * auth/pairing_invite's matter, framing, time limits and files are node/pairing's. */
#ifndef PX_AUTH_PAIRING_H
#define PX_AUTH_PAIRING_H

#include "auth/authorized_keys.h"
#include "proto/invite.h"

#define PX_PAIRING_MESSAGE_MAX 1024
#define PX_PAIRING_ADDRS_MAX   PX_INVITE_ADDRS_MAX
#define PX_PAIRING_KEY_MAX     256 /* text of a nix public key and a NUL */
#define PX_PAIRING_BINDING_LEN 32
#define PX_PAIRING_SAS_MAX     8 /* "123 456" and a NUL */

/* Made from an invite's secret; ended by px_wipe. */
struct px_pairing_key {
    uint8_t bytes[32];
};
struct px_pairing_keys {
    struct px_pairing_key pair;
    struct px_pairing_key admission; /* what a relay is told a hash of */
};
void px_pairing_derive(const struct px_invite *invite, struct px_pairing_keys *ret);

/* X(name, code on the wire, what the receiver reports) */
#define PX_PAIRING_REFUSAL_TABLE(X)                                                                \
    X(PX_PAIRING_UNKNOWN, 1, PX_EINVITE_UNKNOWN)                                                   \
    X(PX_PAIRING_EXPIRED, 2, PX_EINVITE_EXPIRED)                                                   \
    X(PX_PAIRING_USED, 3, PX_EINVITE_USED)                                                         \
    X(PX_PAIRING_BURNT, 4, PX_EINVITE_BURNT)                                                       \
    X(PX_PAIRING_TOKEN, 5, PX_EINVITE_TOKEN)                                                       \
    X(PX_PAIRING_BUSY, 6, PX_EINVITE_BUSY)                                                         \
    X(PX_PAIRING_REJECTED, 7, PX_EPAIR_REJECTED)                                                   \
    X(PX_PAIRING_WITHDRAWN, 8, PX_EINVITE_WITHDRAWN)                                               \
    X(PX_PAIRING_INTERNAL, 9, PX_EREFUSED)                                                         \
    X(PX_PAIRING_MALFORMED, 10, PX_EPROTO)

enum px_pairing_refusal {
#define X(name, code, err) name = code,
    PX_PAIRING_REFUSAL_TABLE(X)
#undef X
};
/* The error a code stands for (unknown ones: PX_EREFUSED), and the code to send for an error
 * (others: PX_PAIRING_INTERNAL). */
int px_pairing_refusal_error(uint64_t code);
enum px_pairing_refusal px_pairing_refusal_for(int err);

/* What a side says of itself. */
struct px_pairing_card {
    char name[PX_AUTH_NAME_MAX + 1]; /* "" if none */
    size_t addr_count;
    char addrs[PX_PAIRING_ADDRS_MAX][PX_AUTH_ADDR_MAX];
    char nix_key[PX_PAIRING_KEY_MAX]; /* NAME:BASE64, "" if none */
    uint32_t grants;                  /* what it gives the other side */
    bool verify;                      /* it wants the short authentication string compared */
};

enum px_pairing_state {
    PX_PAIRING_START,
    PX_PAIRING_HELLO,   /* sent or taken */
    PX_PAIRING_WELCOME, /* sent or checked: the other side has proved that it knows the invite */
    PX_PAIRING_CONFIRM, /* sent or checked */
    PX_PAIRING_DONE,    /* sent or checked */
    PX_PAIRING_FAILED,
};
enum px_pairing_role { PX_PAIRING_INVITER, PX_PAIRING_JOINER };

struct px_pairing {
    enum px_pairing_role role;
    enum px_pairing_state state;
    struct px_peer_id inviter, joiner;
    uint8_t binding[PX_PAIRING_BINDING_LEN];
    uint8_t id[PX_INVITE_ID_LEN];
    uint8_t hello_proof[PX_HASH_LEN], hello_hash[PX_HASH_LEN]; /* inviter: until checked */
    struct px_pairing_key own, other;                          /* K(role) */
    struct px_pairing_key sas;
};

/* `inviter` and `joiner` are the link's proved identities, `binding` px_link_binding. */
void px_pairing_init(struct px_pairing *p, enum px_pairing_role role,
                     const struct px_peer_id *inviter, const struct px_peer_id *joiner,
                     const uint8_t binding[PX_PAIRING_BINDING_LEN]);
/* Wipes the keys. */
void px_pairing_deinit(struct px_pairing *p);

/* All below: PX_ESTATE out of turn, PX_EPROTO for a message that is none of the specification or
 * not the one expected; messages are appended to `out` (of at most PX_PAIRING_MESSAGE_MAX bytes;
 * addresses that do not fit are left out). After an error of a `_read` or `_check` the state is
 * PX_PAIRING_FAILED. A `refuse` read gives its error. */

/* Joiner. */
PX_MUST_CHECK int px_pairing_write_hello(struct px_pairing *p, const uint8_t id[PX_INVITE_ID_LEN],
                                         const struct px_pairing_key *pair,
                                         const struct px_pairing_card *card, struct px_buf *out);
/* PX_EPAIR_IMPOSTOR when the proof is wrong. */
PX_MUST_CHECK int px_pairing_read_welcome(struct px_pairing *p, struct px_slice body,
                                          struct px_pairing_card *ret);
PX_MUST_CHECK int px_pairing_write_confirm(struct px_pairing *p, struct px_buf *out);
PX_MUST_CHECK int px_pairing_read_done(struct px_pairing *p, struct px_slice body);
/* Something came while it is not the other side's turn: what it refuses with, else PX_EPROTO. */
PX_MUST_CHECK int px_pairing_read_refusal(struct px_pairing *p, struct px_slice body);

/* Inviter: read hello, find the invite by p->id, check with its key. */
PX_MUST_CHECK int px_pairing_read_hello(struct px_pairing *p, struct px_slice body,
                                        struct px_pairing_card *ret);
/* PX_EINVITE_TOKEN when the proof is wrong. */
PX_MUST_CHECK int px_pairing_check_hello(struct px_pairing *p, const struct px_pairing_key *pair);
PX_MUST_CHECK int px_pairing_write_welcome(struct px_pairing *p, const struct px_pairing_card *card,
                                           struct px_buf *out);
PX_MUST_CHECK int px_pairing_read_confirm(struct px_pairing *p, struct px_slice body);
PX_MUST_CHECK int px_pairing_write_done(struct px_pairing *p, struct px_buf *out);

/* Either side, unless done; also to say why it failed. */
PX_MUST_CHECK int px_pairing_write_refuse(struct px_pairing *p, enum px_pairing_refusal why,
                                          struct px_buf *out);

/* "123 456", once the keys are known (joiner: from hello, inviter: from check_hello). */
const char *px_pairing_sas(const struct px_pairing *p, char out[PX_PAIRING_SAS_MAX]);

#endif
