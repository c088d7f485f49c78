/* Nix keys and signatures from any text: no text is two of the three kinds of key, and what is
 * accepted is written out byte for byte. */
#include "auth/nix_key.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct px_slice in = px_slice(data, len);
    struct px_nix_public_key p;
    struct px_nix_secret_key s;
    struct px_nix_sig sig;
    struct px_buf out;
    px_buf_init(&out, PX_NIX_KEY_TEXT_MAX - 1);
    bool public = px_nix_public_key_parse(in, &p) == 0;
    bool secret = px_nix_secret_key_parse(in, &s) == 0;
    bool is_sig = px_nix_sig_parse(in, &sig) == 0;
    px_assert(!public || (!secret && !is_sig));
    px_assert(!secret || is_sig); /* a secret key has a signature's length */
    if (public)
        px_assert(px_nix_public_key_format(&p, &out) == 0);
    if (secret)
        px_assert(px_nix_secret_key_format(&s, &out) == 0);
    if (public || secret)
        px_assert(px_slice_eq(px_buf_slice(&out), in));
    if (is_sig && sig.name.len <= PX_NIX_KEY_NAME_MAX) {
        struct px_nix_public_key low_order = {0}; /* nothing verifies under such a key */
        memcpy(low_order.name, sig.name.data, sig.name.len);
        px_assert(!px_nix_verify(&low_order, 1, in, in));
    }
    px_buf_deinit(&out);
    return 0;
}
