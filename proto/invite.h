/* Invite codes: docs/spec/pairing.md §1. Text to value and back, with typos located.
 *
 * A code carries a secret: whoever holds the struct or the text ends it with px_invite_wipe or
 * explicit_bzero. Keys that follow from the secret are auth/pairing's. */
#ifndef PX_PROTO_INVITE_H
#define PX_PROTO_INVITE_H

#include "proto/base/buf.h"

#define PX_INVITE_KEY_LEN     32
#define PX_INVITE_ID_LEN      3
#define PX_INVITE_SECRET_LEN  16
#define PX_INVITE_NETWORK_MAX 64
#define PX_INVITE_ADDRS_MAX   4
#define PX_INVITE_ADDR_MAX    262   /* HOST:PORT and a NUL */
#define PX_INVITE_PORT        12303 /* costs no bytes */
#define PX_INVITE_TEXT_MAX    1400  /* any code or URL as printed, with the NUL */
#define PX_INVITE_INPUT_MAX   4096  /* bytes looked at by the parser */
#define PX_INVITE_SCHEME      "peerix:"

struct px_invite {
    uint8_t key[PX_INVITE_KEY_LEN]; /* the inviter */
    uint8_t id[PX_INVITE_ID_LEN];
    uint8_t secret[PX_INVITE_SECRET_LEN];
    char network[PX_INVITE_NETWORK_MAX + 1]; /* "" stands for the default one */
    size_t addr_count;
    char addrs[PX_INVITE_ADDRS_MAX][PX_INVITE_ADDR_MAX]; /* HOST:PORT */
    char relay[PX_INVITE_ADDR_MAX];                      /* HOST:PORT; "": none */
    uint8_t relay_key[PX_INVITE_KEY_LEN];                /* its identity */
    uint16_t relay_tcp;                                  /* its TCP port; 0: the usual one */
};
/* The longest relay address that fits into a code. */
#define PX_INVITE_RELAY_ADDR_MAX 200

void px_invite_wipe(struct px_invite *i);

/* Append "XXXXXXXX-XXXXXXXX-…" or "peerix:XXXX…". PX_EINVAL when an address is none or there are
 * too many, PX_ELIMIT when the whole is too long, PX_ENOMEM. */
PX_MUST_CHECK int px_invite_print(const struct px_invite *i, struct px_buf *out);
PX_MUST_CHECK int px_invite_print_url(const struct px_invite *i, struct px_buf *out);

/* Why a text is no good, for people. */
struct px_invite_fault {
    size_t group; /* the first wrong one, from 1; 0: not known */
    char why[96]; /* a sentence without a full stop, e.g. "group 3 has a typo" */
};

/* Either form, any case, white space anywhere. PX_EINVITE_TYPO (most of it is right),
 * PX_EINVITE_JUNK, PX_EUNSUPPORTED (of a later version), PX_ENOMEM; ret_fault is set on all. */
PX_MUST_CHECK int px_invite_parse(struct px_slice text, struct px_invite *ret,
                                  struct px_invite_fault *ret_fault);

#endif
