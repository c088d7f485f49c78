/* The messages of docs/spec/pairing.cddl as values. Internal to auth/pairing. */
#ifndef PX_AUTH_PAIRING_MESSAGE_H
#define PX_AUTH_PAIRING_MESSAGE_H

#include "auth/pairing.h"

enum px_pairing_type {
    PX_PAIRING_MSG_HELLO = 1,
    PX_PAIRING_MSG_WELCOME,
    PX_PAIRING_MSG_CONFIRM,
    PX_PAIRING_MSG_DONE,
    PX_PAIRING_MSG_REFUSE,
};
/* As proofs spell it, e.g. "hello". */
const char *px_pairing_type_name(enum px_pairing_type t);

struct px_pairing_message {
    enum px_pairing_type type;
    uint8_t id[PX_INVITE_ID_LEN]; /* hello */
    uint8_t proof[PX_HASH_LEN];   /* all but refuse */
    struct px_pairing_card card;  /* hello, welcome */
    uint64_t code;                /* refuse */
};

/* Appends the message with a proof of zeros, which starts ret_proof_at bytes into what `out` holds
 * then. Addresses at the end of the list that do not fit into PX_PAIRING_MESSAGE_MAX are left
 * out. */
PX_MUST_CHECK int px_pairing_message_put(const struct px_pairing_message *m, struct px_buf *out,
                                         size_t *ret_proof_at);
/* ret_hash is SHA-256 of the body with a proof of zeros. PX_EPARSE, PX_ETRUNC, PX_ELIMIT,
 * PX_ENOMEM. */
PX_MUST_CHECK int px_pairing_message_get(struct px_slice body, struct px_pairing_message *ret,
                                         uint8_t ret_hash[PX_HASH_LEN]);

#endif
