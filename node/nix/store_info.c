/* Path infos as Nix's database and daemon state them, checked and brought into our form. */
#include "node/nix/store_backend.h"
#include "proto/base/encoding.h"

/* The base name of a path that must be in `dir`. */
static int base_name_in(struct px_slice dir, struct px_slice path, struct px_slice *ret)
{
    struct px_slice d, base;
    if (px_store_path_split(path, &d, &base) != 0 || !px_slice_eq(d, dir))
        return PX_EPROTO;
    *ret = base;
    return 0;
}

int px_store_info_new(struct px_slice store_dir, struct px_slice store_path,
                      struct px_path_info **ret)
{
    struct px_slice base;
    int err = base_name_in(store_dir, store_path, &base);
    if (err != 0)
        return err;
    struct px_path_info *p = px_path_info_new();
    if (p == NULL)
        return PX_ENOMEM;
    err = px_path_info_set_str(p, &p->store_path, store_path);
    if (err != 0) {
        px_path_info_free(p);
        return err;
    }
    *ret = p;
    return 0;
}

int px_store_info_set_nar(struct px_path_info *p, struct px_slice nar_hash, uint64_t nar_size)
{
    static const struct px_slice prefix = {(const uint8_t *)"sha256:", 7};
    uint8_t hash[sizeof(p->nar_hash)];
    size_t len = 0;
    int err = px_slice_starts(nar_hash, prefix) ? px_nix_sha256_parse(nar_hash, hash)
                                                : px_hex_decode(nar_hash, hash, sizeof(hash), &len);
    if (err != 0 || (len != 0 && len != sizeof(hash)) || nar_hash.len == 0)
        return PX_EPROTO;
    if (nar_size == 0)
        return PX_ENOENT;
    memcpy(p->nar_hash, hash, sizeof(hash));
    p->nar_size = nar_size;
    return 0;
}

int px_store_info_add_ref(struct px_path_info *p, struct px_slice path)
{
    struct px_slice base;
    int err = base_name_in(px_path_info_store_dir(p), path, &base);
    return err != 0 ? err : px_path_info_add_ref(p, base);
}

int px_store_info_set_deriver(struct px_path_info *p, struct px_slice path)
{
    struct px_slice base;
    if (base_name_in(px_path_info_store_dir(p), path, &base) != 0)
        return 0;
    return px_path_info_set_str(p, &p->deriver, base);
}

int px_store_info_add_sig(struct px_path_info *p, struct px_slice sig)
{
    if (p->sig_count >= PX_NARINFO_SIGS_MAX)
        return 0;
    int err = px_path_info_add_sig(p, sig);
    return err == PX_EPARSE ? 0 : err;
}
