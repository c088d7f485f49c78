/* Nix's "name:base64" keys and signatures, read strictly: what nix itself would shrug off (a secret
 * key whose halves do not match, a name with a blank) is refused here. */
#include "auth/nix_key.h"

#include "proto/base/encoding.h"

/* Not empty, bounded, of visible bytes; UTF-8 is let through, nix has no rule. */
static bool name_valid(struct px_slice name)
{
    if (name.len == 0 || name.len > PX_NIX_KEY_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (name.data[i] <= 0x20 || name.data[i] == 0x7f || name.data[i] == ':')
            return false;
    return true;
}

bool px_nix_key_name_plain(const char *name)
{
    static const char public_cache[] = "cache.nixos.org-";
    for (const char *c = name; *c != '\0'; c++) {
        bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z');
        if (!letter && !(*c >= '0' && *c <= '9') && strchr("-._+@/", *c) == NULL)
            return false;
    }
    return name[0] != '\0' && strncmp(name, public_cache, sizeof(public_cache) - 1) != 0;
}

/* Splits at the first colon and decodes exactly len bytes behind it. */
static int split(struct px_slice text, struct px_slice *ret_name, uint8_t *dst, size_t len)
{
    struct px_slice name, base64 = text;
    size_t got = 0;
    if (!px_slice_split(&base64, ':', &name) || base64.data == NULL || !name_valid(name))
        return PX_EPARSE;
    if (px_base64_decode(base64, dst, len, &got) != 0 || got != len)
        return PX_EPARSE;
    *ret_name = name;
    return 0;
}

static void set_name(char dst[PX_NIX_KEY_NAME_MAX + 1], struct px_slice name)
{
    memcpy(dst, name.data, name.len);
    dst[name.len] = '\0';
}

int px_nix_public_key_parse(struct px_slice text, struct px_nix_public_key *ret)
{
    uint8_t key[PX_ED25519_PK_LEN];
    struct px_slice name;
    int err = split(text, &name, key, sizeof(key));
    if (err != 0)
        return err;
    set_name(ret->name, name);
    memcpy(ret->key, key, sizeof(key));
    return 0;
}

int px_nix_secret_key_parse(struct px_slice text, struct px_nix_secret_key *ret)
{
    uint8_t bytes[sizeof(ret->secret.bytes)];
    struct px_ed25519_secret derived;
    uint8_t pk[PX_ED25519_PK_LEN];
    struct px_slice name;
    int err = split(text, &name, bytes, sizeof(bytes));
    if (err == 0) {
        /* signing with a foreign public half would give the seed away */
        px_ed25519_from_seed(bytes, &derived, pk);
        if (!px_ct_equal(derived.bytes, bytes, sizeof(bytes)))
            err = PX_EPARSE;
        px_wipe(&derived, sizeof(derived));
    }
    if (err == 0) {
        set_name(ret->name, name);
        memcpy(ret->secret.bytes, bytes, sizeof(bytes));
    }
    px_wipe(bytes, sizeof(bytes));
    return err;
}

int px_nix_sig_parse(struct px_slice text, struct px_nix_sig *ret)
{
    struct px_nix_sig sig;
    int err = split(text, &sig.name, sig.sig, sizeof(sig.sig));
    if (err == 0)
        memcpy(ret, &sig, sizeof(sig));
    return err;
}

static int put(struct px_buf *out, const char *name, struct px_slice bytes)
{
    size_t start = out->len;
    /* room first, so that no smaller block with half a secret is left behind by realloc */
    if (px_buf_reserve(out, strlen(name) + 1 + (bytes.len + 2) / 3 * 4) == NULL)
        return out->err;
    px_buf_put_cstr(out, name);
    px_buf_put_u8(out, ':');
    px_base64_encode(out, bytes);
    if (out->err != 0)
        out->len = start;
    return out->err;
}

int px_nix_public_key_format(const struct px_nix_public_key *k, struct px_buf *out)
{
    return put(out, k->name, px_slice(k->key, sizeof(k->key)));
}

int px_nix_secret_key_format(const struct px_nix_secret_key *k, struct px_buf *out)
{
    return put(out, k->name, px_slice(k->secret.bytes, sizeof(k->secret.bytes)));
}

int px_nix_key_generate(const char *name, const struct px_rng *rng, struct px_nix_secret_key *ret)
{
    uint8_t seed[32], pk[PX_ED25519_PK_LEN];
    struct px_slice n = px_slice_cstr(name);
    if (!name_valid(n) || !px_nix_key_name_plain(name))
        return PX_EPARSE;
    rng->fill(rng->ctx, seed, sizeof(seed));
    px_ed25519_from_seed(seed, &ret->secret, pk);
    set_name(ret->name, n);
    px_wipe(seed, sizeof(seed));
    return 0;
}

void px_nix_secret_key_public(const struct px_nix_secret_key *k, struct px_nix_public_key *ret)
{
    set_name(ret->name, px_slice_cstr(k->name));
    memcpy(ret->key, k->secret.bytes + 32, sizeof(ret->key));
}

void px_nix_secret_key_wipe(struct px_nix_secret_key *k)
{
    if (k != NULL)
        px_wipe(k, sizeof(*k));
}

int px_nix_sign(const struct px_nix_secret_key *k, struct px_slice fingerprint, struct px_buf *out)
{
    uint8_t sig[PX_ED25519_SIG_LEN];
    px_ed25519_sign(&k->secret, fingerprint, sig);
    return put(out, k->name, px_slice(sig, sizeof(sig)));
}

bool px_nix_verify(const struct px_nix_public_key *keys, size_t key_count, struct px_slice sig_text,
                   struct px_slice fingerprint)
{
    struct px_nix_sig sig;
    if (px_nix_sig_parse(sig_text, &sig) != 0)
        return false;
    for (size_t i = 0; i < key_count; i++)
        if (px_slice_eq_cstr(sig.name, keys[i].name) &&
            px_ed25519_verify(keys[i].key, fingerprint, sig.sig) == 0)
            return true;
    return false;
}
