/* Text encodings of bytes: hex, base64 (RFC 4648, padded, strict), Nix's base32 (its alphabet and
 * bit order), base58btc, and RFC 4648 base32 / base36 as multibase 'b' and 'k' use them.
 *
 * Encoders append to a buffer. Decoders are strict (one text per value), write at most `cap` bytes
 * to dst, and return PX_EPARSE for anything else, PX_ELIMIT when dst is too small. */
#ifndef PX_PROTO_BASE_ENCODING_H
#define PX_PROTO_BASE_ENCODING_H

#include "proto/base/buf.h"

int px_hex_encode(struct px_buf *out, struct px_slice in);
PX_MUST_CHECK int px_hex_decode(struct px_slice in, void *dst, size_t cap, size_t *ret_len);
int px_base64_encode(struct px_buf *out, struct px_slice in);
PX_MUST_CHECK int px_base64_decode(struct px_slice in, void *dst, size_t cap, size_t *ret_len);
int px_nix32_encode(struct px_buf *out, struct px_slice in);
PX_MUST_CHECK int px_nix32_decode(struct px_slice in, void *dst, size_t cap, size_t *ret_len);
/* True when every byte is of Nix's base32 alphabet (0-9 a-z without e, o, t, u). */
bool px_nix32_valid(struct px_slice in);
/* Both for at most 128 bytes of data (the algorithm is quadratic). */
int px_base58_encode(struct px_buf *out, struct px_slice in);
PX_MUST_CHECK int px_base58_decode(struct px_slice in, void *dst, size_t cap, size_t *ret_len);
/* Lower case, without padding. */
PX_MUST_CHECK int px_base32_decode(struct px_slice in, void *dst, size_t cap, size_t *ret_len);
PX_MUST_CHECK int px_base36_decode(struct px_slice in, void *dst, size_t cap, size_t *ret_len);
/* %XX of a URL (RFC 3986 §2.1). Control bytes are PX_EPARSE, raw and escaped alike. */
PX_MUST_CHECK int px_percent_decode(struct px_slice in, void *dst, size_t cap, size_t *ret_len);

#endif
