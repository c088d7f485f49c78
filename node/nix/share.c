/* The sharing policy, see share.h. */
#include "node/nix/share.h"

#include <stdlib.h>

#include "auth/authorized_keys.h"

struct verdict {
    uint8_t digest[PX_HASH_LEN]; /* of signature and fingerprint */
    enum { VERDICT_NONE, VERDICT_STANDS, VERDICT_FALLS } is;
};

struct px_share {
    struct px_nix_public_key *keys;
    size_t key_count;
    bool has_own;
    struct px_nix_secret_key own;
    struct px_nix_public_key own_public;
    struct verdict verdicts[PX_SHARE_VERDICTS_MAX]; /* by the first bytes of the digest */
};

int px_share_new(const struct px_nix_public_key *keys, size_t key_count,
                 const struct px_nix_secret_key *own_key, struct px_share **ret)
{
    struct px_share *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return PX_ENOMEM;
    s->keys = calloc(key_count + 1, sizeof(*s->keys));
    if (s->keys == NULL) {
        free(s);
        return PX_ENOMEM;
    }
    if (key_count > 0)
        memcpy(s->keys, keys, key_count * sizeof(*keys));
    s->key_count = key_count;
    if (own_key != NULL) {
        s->has_own = true;
        s->own = *own_key;
        px_nix_secret_key_public(own_key, &s->own_public);
    }
    *ret = s;
    return 0;
}

void px_share_free(struct px_share *s)
{
    if (s == NULL)
        return;
    px_nix_secret_key_wipe(&s->own);
    free(s->keys);
    free(s);
}

/* The part of a signature's text before the colon. */
static struct px_slice sig_name(struct px_slice sig)
{
    struct px_slice name = px_slice(NULL, 0);
    return px_slice_split(&sig, ':', &name) ? name : px_slice(NULL, 0);
}

static bool listed(const struct px_share *s, struct px_slice name)
{
    for (size_t i = 0; i < s->key_count; i++)
        if (px_slice_eq_cstr(name, s->keys[i].name))
            return true;
    return false;
}

static bool stands(struct px_share *s, struct px_slice sig, struct px_slice fingerprint)
{
    uint8_t digest[PX_HASH_LEN];
    px_sha256(sig, digest); /* of fixed length, so that the two cannot run into each other */
    px_sha256_2(px_slice(digest, sizeof(digest)), fingerprint, digest);
    struct verdict *v = &s->verdicts[(digest[0] | (size_t)digest[1] << 8) % PX_SHARE_VERDICTS_MAX];
    if (v->is == VERDICT_NONE || memcmp(v->digest, digest, sizeof(digest)) != 0) {
        memcpy(v->digest, digest, sizeof(digest));
        v->is =
            px_nix_verify(s->keys, s->key_count, sig, fingerprint) ? VERDICT_STANDS : VERDICT_FALLS;
    }
    return v->is == VERDICT_STANDS;
}

static bool signed_by_listed(struct px_share *s, const struct px_path_info *info,
                             struct px_slice fingerprint)
{
    for (size_t i = 0; i < info->sig_count; i++)
        if (listed(s, sig_name(info->sigs[i])) && stands(s, info->sigs[i], fingerprint))
            return true;
    return false;
}

enum px_share_verdict px_share_decide(struct px_share *s, uint32_t grants,
                                      const struct px_path_info *info, struct px_slice fingerprint)
{
    /* SPEC cache §3: `cache`: a valid signature by a key of the share list. */
    if ((grants & PX_GRANT_CACHE) != 0 && signed_by_listed(s, info, fingerprint))
        return PX_SHARE_SIGNED;
    /* SPEC cache §3: `cache-own`: what this machine built, and what its path proves by itself (the
     * sources its builds refer to). What was copied here from elsewhere is not ours to give on. */
    if ((grants & PX_GRANT_CACHE_OWN) != 0 && s->has_own &&
        (info->ultimate || px_path_info_ca_valid(info, px_sha256)))
        return PX_SHARE_OWN;
    return PX_SHARE_DENIED;
}

int px_share_sign(const struct px_share *s, struct px_path_info *info, struct px_slice fingerprint)
{
    px_assert(s->has_own);
    for (size_t i = 0; i < info->sig_count; i++)
        if (px_slice_eq_cstr(sig_name(info->sigs[i]), s->own_public.name) &&
            px_nix_verify(&s->own_public, 1, info->sigs[i], fingerprint))
            return 0;
    struct px_buf sig;
    px_buf_init(&sig, PX_NIX_KEY_TEXT_MAX);
    int err = px_nix_sign(&s->own, fingerprint, &sig);
    /* Where there is no room left, ours is the one the peer needs. */
    if (err == 0 && info->sig_count >= PX_NARINFO_SIGS_MAX)
        px_path_info_clear_sigs(info);
    if (err == 0)
        err = px_path_info_add_sig(info, px_buf_slice(&sig));
    px_buf_deinit(&sig);
    return err;
}
