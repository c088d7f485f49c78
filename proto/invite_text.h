/* The characters of an invite code: base32 in groups, each with a check character
 * (docs/spec/pairing.md §1.2). Internal to proto/invite. */
#ifndef PX_PROTO_INVITE_TEXT_H
#define PX_PROTO_INVITE_TEXT_H

#include "proto/invite.h"

#define PX_INVITE_BYTES_MAX 640
/* All groups stand, the whole does not. */
#define PX_INVITE_WHY_END "its end is missing, or a group has more than one typo"

/* Appends the groups of `bytes` (at most PX_INVITE_BYTES_MAX). */
PX_MUST_CHECK int px_invite_text_put(struct px_slice bytes, bool dashes, struct px_buf *out);
/* Appends to out the bytes of a code or URL whose groups all check. Errors as px_invite_parse. */
PX_MUST_CHECK int px_invite_text_get(struct px_slice text, struct px_buf *out,
                                     struct px_invite_fault *ret_fault);

#endif
