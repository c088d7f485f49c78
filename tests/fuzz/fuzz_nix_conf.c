/* nix.conf lines and keys: views stay inside the line, keys stay within their limit. */
#include "node/nix/nix_conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_inside(struct px_slice part, struct px_slice whole)
{
    if (part.len > 0)
        px_assert(part.data >= whole.data && part.len <= whole.len &&
                  (size_t)(part.data - whole.data) <= whole.len - part.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct px_slice text = px_slice(data, len), line, word;
    struct px_nix_keys keys = {0};
    while (px_slice_split(&text, '\n', &line)) {
        struct px_nix_conf_line l;
        if (px_nix_conf_parse_line(line, &l) != 0)
            continue;
        check_inside(l.name, line);
        check_inside(l.value, line);
        px_assert((l.kind == PX_NIX_CONF_EMPTY) == (l.name.len == 0));
        while (px_slice_split(&l.value, ' ', &word))
            if (px_nix_keys_add(&keys, word) == 0)
                px_assert(keys.count > 0 && keys.count <= PX_NIX_KEYS_MAX);
    }
    px_nix_keys_deinit(&keys);
    return 0;
}
