/* narinfo: what is parsed is within the limits, and written again it parses to the same; the
 * fingerprint and the content address check take whatever was accepted. */
#include "proto/path_info.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Not SHA-256: the check must cope with any digest. */
static void fold(struct px_slice in, uint8_t ret[32])
{
    memset(ret, 0x5a, 32);
    for (size_t i = 0; i < in.len; i++)
        ret[i % 32] ^= in.data[i];
}

static void check_names(const struct px_path_info *p)
{
    struct px_slice dir, name;
    px_assert(px_store_path_split(p->store_path, &dir, &name) == 0);
    px_assert(px_slice_eq(px_path_info_store_dir(p), dir));
    px_assert(px_slice_eq(px_path_info_hash_part(p), px_slice_take(name, PX_STORE_HASH_LEN)));
    px_assert(p->nar_size > 0);
    px_assert(p->ref_count <= PX_NARINFO_REFS_MAX && p->sig_count <= PX_NARINFO_SIGS_MAX);
    for (size_t i = 0; i < p->ref_count; i++) {
        px_assert(px_store_base_name_valid(p->refs[i]));
        px_assert(i == 0 || !px_slice_eq(p->refs[i - 1], p->refs[i]));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct px_path_info *p, *again;
    struct px_buf first, second;
    if (px_narinfo_parse(px_slice(data, len), &p) != 0)
        return 0;
    check_names(p);
    px_buf_init(&first, (size_t)2 * PX_NARINFO_MAX);
    px_buf_init(&second, (size_t)2 * PX_NARINFO_MAX);
    px_assert(px_narinfo_format(p, &first) == 0);
    px_assert(px_narinfo_parse(px_buf_slice(&first), &again) == 0);
    px_assert(px_narinfo_format(again, &second) == 0);
    px_assert(px_slice_eq(px_buf_slice(&first), px_buf_slice(&second)));
    px_buf_clear(&first);
    px_buf_clear(&second);
    px_assert(px_path_info_fingerprint(p, &first) == px_path_info_fingerprint(again, &second));
    px_assert(px_slice_eq(px_buf_slice(&first), px_buf_slice(&second)));
    px_assert(px_path_info_ca_valid(p, fold) == px_path_info_ca_valid(again, fold));
    px_path_info_free(again);
    px_path_info_free(p);
    px_buf_deinit(&second);
    px_buf_deinit(&first);
    return 0;
}
