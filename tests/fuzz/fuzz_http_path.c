/* Fuzzes what the substituter parses of a request itself: target, Host and Range fields. The first
 * byte says which; the rest is the text. */
#include <stdlib.h>

#include "node/nix/http_path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void target(struct px_slice text)
{
    struct px_http_target t;
    if (px_http_target_parse(text, &t) != 0)
        return;
    if (text.len > PX_HTTP_TARGET_MAX || text.data[0] != '/')
        abort();
    if ((t.kind == PX_HTTP_NARINFO || t.kind == PX_HTTP_NAR) &&
        memchr(t.store_hash, '/', sizeof(t.store_hash)) != NULL)
        abort();
}

static void range(struct px_slice text)
{
    static const uint64_t sizes[] = {1, 100, UINT64_MAX};
    for (size_t i = 0; i < PX_ARRAY_LEN(sizes); i++) {
        uint64_t first = UINT64_MAX;
        if (px_http_range_parse(text, sizes[i], &first) == PX_HTTP_RANGE_FROM && first >= sizes[i])
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0)
        return 0;
    struct px_slice text = px_slice(data + 1, len - 1);
    switch (data[0] % 3) {
    case 0:
        target(text);
        break;
    case 1:
        range(text);
        break;
    case 2:
        (void)px_http_host_allowed(text);
        break;
    }
    return 0;
}
