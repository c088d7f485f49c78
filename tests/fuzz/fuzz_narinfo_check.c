/* Fuzzes the trust rules: whatever a peer sends, what is accepted has our URL, only signatures that
 * stand, and the path that was asked for. The first byte chooses whether peers are trusted. */
#include <stdlib.h>

#include "node/nix/narinfo_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define HASH "0c5s43c5w1mzzm4rgrdwgcw0g1jyn5wd"

static struct px_nix_public_key key;

static void check_accepted(const struct px_path_info *info, bool trust)
{
    struct px_buf fingerprint;
    px_buf_init(&fingerprint, 4 * PX_NARINFO_MAX);
    if (!px_slice_eq_cstr(px_path_info_hash_part(info), HASH) ||
        !px_slice_starts(info->url, PX_SLICE_LIT("nar/")) ||
        !px_slice_eq_cstr(info->compression, "none") ||
        px_path_info_fingerprint(info, &fingerprint) != 0)
        abort();
    if (!trust && info->sig_count == 0 && info->ca.len == 0)
        abort();
    for (size_t i = 0; i < info->sig_count; i++)
        if (!px_nix_verify(&key, 1, info->sigs[i], px_buf_slice(&fingerprint)))
            abort();
    px_buf_deinit(&fingerprint);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct px_path_info *info;
    if (key.name[0] == '\0' &&
        (px_crypto_init() != 0 ||
         px_nix_public_key_parse(
             PX_SLICE_LIT("cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="),
             &key) != 0))
        abort();
    if (len == 0)
        return 0;
    struct px_narinfo_policy policy = {.store_dir = PX_SLICE_LIT("/nix/store"),
                                       .keys = &key,
                                       .key_count = 1,
                                       .trust_peers = (data[0] & 1) != 0};
    if (px_narinfo_check(&policy, px_slice(data + 1, len - 1), PX_SLICE_LIT(HASH), &info) !=
        PX_NARINFO_OK)
        return 0;
    check_accepted(info, policy.trust_peers);
    px_path_info_free(info);
    return 0;
}
