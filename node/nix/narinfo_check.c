/* The trust rules of narinfo_check.h. Not signed in a narinfo: URL, Compression, FileHash,
 * FileSize, Deriver, CA. */
#include "node/nix/narinfo_check.h"

#include "proto/base/encoding.h"

#define FINGERPRINT_MAX (PX_NARINFO_MAX * 2u) /* refs become full paths there */

const char *px_narinfo_fault_text(enum px_narinfo_fault fault)
{
    switch (fault) {
#define X(name, text)                                                                              \
    case name:                                                                                     \
        return text;
        PX_NARINFO_FAULT_TABLE(X)
#undef X
    }
    return "?";
}

int px_nar_url(const uint8_t nar_hash[32], struct px_slice hash_part, struct px_buf *out)
{
    (void)px_buf_put_cstr(out, "nar/");
    (void)px_nix32_encode(out, px_slice(nar_hash, 32));
    (void)px_buf_put_cstr(out, ".nar?hash=");
    return px_buf_put(out, hash_part);
}

static bool known_name(const struct px_narinfo_policy *p, struct px_slice sig)
{
    struct px_slice name;
    (void)px_slice_split(&sig, ':', &name);
    for (size_t i = 0; i < p->key_count; i++)
        if (px_slice_eq_cstr(name, p->keys[i].name))
            return true;
    return false;
}

static bool listed(const struct px_slice *sigs, size_t count, struct px_slice sig)
{
    for (size_t i = 0; i < count; i++)
        if (px_slice_eq(sigs[i], sig))
            return true;
    return false;
}

/* Views of the sigs that stand, without doubles; returns how many. */
static size_t valid_sigs(const struct px_narinfo_policy *p, const struct px_path_info *info,
                         struct px_slice fingerprint, struct px_slice ret[PX_NARINFO_SIGS_MAX])
{
    size_t n = 0, bad = 0;
    for (size_t i = 0; i < info->sig_count && bad < PX_NARINFO_BAD_SIGS_MAX; i++) {
        struct px_slice sig = info->sigs[i];
        if (n == PX_NARINFO_SIGS_MAX || !known_name(p, sig) || listed(ret, n, sig))
            continue;
        if (px_nix_verify(p->keys, p->key_count, sig, fingerprint))
            ret[n++] = sig;
        else
            bad++;
    }
    return n;
}

/* Unless a trusted key of the same name has signed already: then ours came back to us. */
static int add_own_sig(const struct px_nix_secret_key *key, struct px_slice fingerprint,
                       struct px_path_info *info)
{
    struct px_buf sig;
    px_buf_init(&sig, PX_NIX_KEY_TEXT_MAX);
    int err = px_nix_sign(key, fingerprint, &sig);
    if (err == 0 && !listed(info->sigs, info->sig_count, px_buf_slice(&sig)))
        err = px_path_info_add_sig(info, px_buf_slice(&sig));
    px_buf_deinit(&sig);
    return err;
}

static int replace_sigs(const struct px_narinfo_policy *p, const struct px_slice *sigs,
                        size_t count, struct px_slice fingerprint, struct px_path_info *info)
{
    int err = 0;
    px_path_info_clear_sigs(info);
    for (size_t i = 0; i < count && err == 0; i++)
        err = px_path_info_add_sig(info, sigs[i]);
    if (err == 0 && p->own_key != NULL && count < PX_NARINFO_SIGS_MAX)
        err = add_own_sig(p->own_key, fingerprint, info);
    return err;
}

/* Whether the content address, which agrees with the path, covers the NAR too. `text:` and flat
 * `fixed:` do not tie NarHash to the path: with them alone a peer could send another NAR, and nix,
 * noticing after the fact, fails instead of asking its next substituter. */
static bool covers_nar(struct px_slice ca)
{
    return px_slice_starts(ca, PX_SLICE_LIT("fixed:r:sha256:"));
}

static enum px_narinfo_fault check_trust(const struct px_narinfo_policy *p,
                                         struct px_path_info *info)
{
    struct px_slice sigs[PX_NARINFO_SIGS_MAX];
    struct px_buf fingerprint;
    enum px_narinfo_fault fault = PX_NARINFO_OK;
    px_buf_init(&fingerprint, FINGERPRINT_MAX);
    if (px_path_info_fingerprint(info, &fingerprint) != 0) {
        px_buf_deinit(&fingerprint);
        return PX_NARINFO_TOO_BIG;
    }
    bool agrees = info->ca.len > 0 && px_path_info_ca_valid(info, px_sha256);
    bool addressed = agrees && covers_nar(info->ca);
    size_t count = valid_sigs(p, info, px_buf_slice(&fingerprint), sigs);
    if (!addressed && !(agrees && count > 0))
        info->ca = px_slice(NULL, 0);
    if (count == 0 && !addressed && !p->trust_peers)
        fault = PX_NARINFO_UNTRUSTED;
    else if (replace_sigs(p, sigs, count, px_buf_slice(&fingerprint), info) != 0)
        fault = PX_NARINFO_NO_MEMORY;
    px_buf_deinit(&fingerprint);
    return fault;
}

static bool deriver_valid(struct px_slice deriver)
{
    return px_store_base_name_valid(deriver) && deriver.len > 4 &&
           memcmp(deriver.data + deriver.len - 4, ".drv", 4) == 0;
}

int px_narinfo_set_nar_url(struct px_path_info *info)
{
    struct px_buf url;
    px_buf_init(&url, 256);
    int err = px_nar_url(info->nar_hash, px_path_info_hash_part(info), &url);
    if (err == 0)
        err = px_path_info_set_str(info, &info->url, px_buf_slice(&url));
    if (err == 0)
        err = px_path_info_set_str(info, &info->compression, PX_SLICE_LIT("none"));
    px_buf_deinit(&url);
    return err;
}

static int write_own_fields(struct px_path_info *info)
{
    int err = px_narinfo_set_nar_url(info);
    if (!deriver_valid(info->deriver))
        info->deriver = px_slice(NULL, 0);
    return err;
}

enum px_narinfo_fault px_narinfo_check(const struct px_narinfo_policy *policy, struct px_slice text,
                                       struct px_slice hash_part, struct px_path_info **ret)
{
    struct px_path_info *info;
    int err = px_narinfo_parse(text, &info);
    if (err != 0)
        return err == PX_ELIMIT   ? PX_NARINFO_TOO_BIG
               : err == PX_ENOMEM ? PX_NARINFO_NO_MEMORY
                                  : PX_NARINFO_MALFORMED;
    enum px_narinfo_fault fault = PX_NARINFO_OK;
    if (!px_slice_eq(px_path_info_hash_part(info), hash_part))
        fault = PX_NARINFO_OTHER_PATH;
    else if (!px_slice_eq(px_path_info_store_dir(info), policy->store_dir))
        fault = PX_NARINFO_OTHER_STORE;
    else
        fault = check_trust(policy, info);
    if (fault == PX_NARINFO_OK && write_own_fields(info) != 0)
        fault = PX_NARINFO_NO_MEMORY;
    if (fault != PX_NARINFO_OK) {
        px_path_info_free(info);
        return fault;
    }
    *ret = info;
    return PX_NARINFO_OK;
}
