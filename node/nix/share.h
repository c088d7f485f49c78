/* The sharing policy: which store paths a peer may have. The one function that decides for narinfo,
 * NAR and HEAD alike (docs/spec/cache.md §3). Default deny; offline: nothing is asked elsewhere. */
#ifndef PX_NODE_NIX_SHARE_H
#define PX_NODE_NIX_SHARE_H

#include "auth/nix_key.h"
#include "proto/path_info.h"

struct px_share;

/* Verdicts on signatures that are remembered: a signature checked once need not be checked again,
 * it stands or does not stand for ever. */
#define PX_SHARE_VERDICTS_MAX 4096

enum px_share_verdict {
    PX_SHARE_DENIED,
    PX_SHARE_SIGNED, /* by a key of the share list */
    PX_SHARE_OWN,    /* ours to vouch for: served with our signature */
};

/* Copies the keys. `own_key` may be NULL: then nothing is PX_SHARE_OWN. */
PX_MUST_CHECK int px_share_new(const struct px_nix_public_key *keys, size_t key_count,
                               const struct px_nix_secret_key *own_key, struct px_share **ret);
void px_share_free(struct px_share *s);

/* `grants` are enum px_grant bits; `fingerprint` is px_path_info_fingerprint's of info. */
enum px_share_verdict px_share_decide(struct px_share *s, uint32_t grants,
                                      const struct px_path_info *info, struct px_slice fingerprint);

/* Adds our signature, unless a valid one is there. Only after PX_SHARE_OWN. */
PX_MUST_CHECK int px_share_sign(const struct px_share *s, struct px_path_info *info,
                                struct px_slice fingerprint);

#endif
