/* Identity rotation (docs/spec/rotation.md §1, §2): the record that both keys sign, and the
 * messages that carry it. Pure; who believes which record is auth/rotation_book's to decide. */
#ifndef PX_AUTH_ROTATION_H
#define PX_AUTH_ROTATION_H

#include "auth/identity.h"

#define PX_ROTATION_NETWORK_MAX 64
#define PX_ROTATION_RECORD_MAX  320 /* bytes; a full one has 272 */
#define PX_ROTATION_MESSAGE_MAX 512

struct px_rotation {
    struct px_peer_id old_id, new_id;
    char network[PX_ROTATION_NETWORK_MAX + 1]; /* holds no NUL */
    uint8_t old_sig[PX_ED25519_SIG_LEN], new_sig[PX_ED25519_SIG_LEN];
};

/* Makes the record of these keys; the same ones give the same record. PX_EINVAL when they are equal
 * or the network id is no network id. */
PX_MUST_CHECK int px_rotation_make(const struct px_identity *old_identity,
                                   const struct px_identity *new_identity, const char *network,
                                   struct px_rotation *ret);
/* Appends the record. */
PX_MUST_CHECK int px_rotation_put(const struct px_rotation *r, struct px_buf *out);
/* Reads a record and checks both signatures. PX_EPARSE, PX_ETRUNC, PX_ECRYPTO. */
PX_MUST_CHECK int px_rotation_get(struct px_slice record, struct px_rotation *ret);

enum px_rotation_type {
    PX_ROTATION_MSG_ROTATE = 1,
    PX_ROTATION_MSG_WITHDRAW,
    PX_ROTATION_MSG_ACK,
    PX_ROTATION_MSG_REFUSE,
};
struct px_rotation_message {
    enum px_rotation_type type;
    struct px_rotation record; /* rotate */
    uint64_t code;             /* refuse */
};
/* Appends the message. */
PX_MUST_CHECK int px_rotation_message_put(const struct px_rotation_message *m, struct px_buf *out);
/* As px_rotation_get, which has checked the record then; PX_ELIMIT. */
PX_MUST_CHECK int px_rotation_message_get(struct px_slice body, struct px_rotation_message *ret);

/* Codes of `refuse`, and the errors that stand for them here. An error without a code of its own is
 * sent as INTERNAL, and read as PX_EIO. */
uint64_t px_rotation_code(int err);
int px_rotation_error(uint64_t code);

#endif
