/* Nix binary-cache signing keys and signatures: "name:base64".
 *
 * A public key is 32 bytes, a secret key libsodium's 64, a signature 64, over the fingerprint of a
 * path info (proto/path_info.h). */
#ifndef PX_AUTH_NIX_KEY_H
#define PX_AUTH_NIX_KEY_H

#include "auth/crypto.h"

#define PX_NIX_KEY_NAME_MAX 128 /* bytes, without the NUL; longer names are refused */
#define PX_NIX_KEY_TEXT_MAX 256 /* any public key or signature as text, with the NUL */

struct px_nix_public_key {
    char name[PX_NIX_KEY_NAME_MAX + 1];
    uint8_t key[PX_ED25519_PK_LEN];
};

struct px_nix_secret_key {
    char name[PX_NIX_KEY_NAME_MAX + 1];
    struct px_ed25519_secret secret;
};

struct px_nix_sig {
    struct px_slice name; /* view into the parsed text */
    uint8_t sig[PX_ED25519_SIG_LEN];
};

/* All strict: PX_EPARSE for anything but name, colon, base64 of the right length. */
PX_MUST_CHECK int px_nix_public_key_parse(struct px_slice text, struct px_nix_public_key *ret);
PX_MUST_CHECK int px_nix_secret_key_parse(struct px_slice text, struct px_nix_secret_key *ret);
PX_MUST_CHECK int px_nix_sig_parse(struct px_slice text, struct px_nix_sig *ret);

/* May stand in nix.conf: letters, digits and -._+@/, and not a name of the keys of the public
 * cache, which nix would no longer find behind it. What peers say must be so: nix takes a # for the
 * end of the line, and then fails whatever it does. */
bool px_nix_key_name_plain(const char *name);

int px_nix_public_key_format(const struct px_nix_public_key *k, struct px_buf *out);
int px_nix_secret_key_format(const struct px_nix_secret_key *k, struct px_buf *out);
/* PX_EPARSE when the name is empty, too long, or not plain. */
PX_MUST_CHECK int px_nix_key_generate(const char *name, const struct px_rng *rng,
                                      struct px_nix_secret_key *ret);
void px_nix_secret_key_public(const struct px_nix_secret_key *k, struct px_nix_public_key *ret);
void px_nix_secret_key_wipe(struct px_nix_secret_key *k);

/* Appends "name:base64" of a signature over the fingerprint. */
int px_nix_sign(const struct px_nix_secret_key *k, struct px_slice fingerprint, struct px_buf *out);
/* True if `sig_text` is a valid signature over the fingerprint by one of the keys of that name. */
bool px_nix_verify(const struct px_nix_public_key *keys, size_t key_count, struct px_slice sig_text,
                   struct px_slice fingerprint);

#endif
