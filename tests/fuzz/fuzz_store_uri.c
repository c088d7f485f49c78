/* Store URIs: whatever parses has absolute directories without trailing slashes that fit. */
#include <stdlib.h>

#include "node/nix/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_dir(const char *dir, size_t cap)
{
    size_t len = strnlen(dir, cap);
    px_assert(len < cap && dir[0] == '/' && (len == 1 || dir[len - 1] != '/'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct px_store_uri u;
    char hint[128] = "";
    char *text = px_slice_dup_cstr(px_slice(data, len));
    if (text == NULL)
        return 0;
    int err = px_store_uri_parse(text, &u, hint, sizeof(hint));
    if (err == 0) {
        check_dir(u.store_dir, sizeof(u.store_dir));
        check_dir(u.real_dir, sizeof(u.real_dir));
        check_dir(u.state_dir, sizeof(u.state_dir));
        px_assert(u.kind != PX_STORE_DAEMON || u.socket[0] == '/');
    } else {
        px_assert(err == PX_EPARSE && hint[0] != '\0');
    }
    free(text);
    return 0;
}
