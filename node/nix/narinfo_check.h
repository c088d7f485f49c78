/* Whether a narinfo from a peer may be passed on to nix, and what of it (docs/substituter.md).
 *
 * Pure. Only what the signature covers, or what can be checked here, survives: nix itself looks at
 * the Sig last, after it has followed References, URL and Compression. */
#ifndef PX_NODE_NIX_NARINFO_CHECK_H
#define PX_NODE_NIX_NARINFO_CHECK_H

#include "auth/nix_key.h"
#include "proto/path_info.h"

/* Signatures by a known key name that do not stand, before the rest are not looked at: each costs
 * a verification. */
#define PX_NARINFO_BAD_SIGS_MAX 8

struct px_narinfo_policy {
    struct px_slice store_dir;
    const struct px_nix_public_key *keys; /* trusted */
    size_t key_count;
    bool trust_peers;                        /* no trusted Sig or CA needed */
    const struct px_nix_secret_key *own_key; /* adds its Sig; NULL: none */
};

/* X(name, text) */
#define PX_NARINFO_FAULT_TABLE(X)                                                                  \
    X(PX_NARINFO_OK, "ok")                                                                         \
    X(PX_NARINFO_MALFORMED, "malformed")                                                           \
    X(PX_NARINFO_TOO_BIG, "too big")                                                               \
    X(PX_NARINFO_OTHER_PATH, "for another store path")                                             \
    X(PX_NARINFO_OTHER_STORE, "for another store directory")                                       \
    X(PX_NARINFO_UNTRUSTED, "no trusted signature")                                                \
    X(PX_NARINFO_OTHER_NAR, "for another NAR")                                                     \
    X(PX_NARINFO_NO_MEMORY, "out of memory")

enum px_narinfo_fault {
#define X(name, text) name,
    PX_NARINFO_FAULT_TABLE(X)
#undef X
};
const char *px_narinfo_fault_text(enum px_narinfo_fault fault);

/* Parses and judges. On PX_NARINFO_OK *ret is the info as nix shall see it: URL
 * `nar/<narhash>.nar?hash=<hash part>`, Compression none, the valid Sigs by trusted keys and our
 * own, Deriver only in good form, CA only if it agrees with the path and a Sig stands or it covers
 * the NAR. Freed by the caller. */
PX_MUST_CHECK enum px_narinfo_fault px_narinfo_check(const struct px_narinfo_policy *policy,
                                                     struct px_slice text,
                                                     struct px_slice hash_part,
                                                     struct px_path_info **ret);

/* Appends `nar/<narhash>.nar?hash=<hash part>`. */
int px_nar_url(const uint8_t nar_hash[32], struct px_slice hash_part, struct px_buf *out);
/* Sets URL (px_nar_url) and Compression (none), as all our narinfos have them. PX_ENOMEM. */
PX_MUST_CHECK int px_narinfo_set_nar_url(struct px_path_info *info);

#endif
