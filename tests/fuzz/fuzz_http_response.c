/* Heads of HTTP responses. A good head stays good whatever follows it, and no part of it is one. */
#include "cmd/http_response.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct px_http_response r, again;
    size_t head, head_again;
    struct px_slice in = px_slice(data, len);
    if (px_http_response_parse(in, &r, &head) != 0)
        return 0;
    px_assert(head <= len && head <= PX_HTTP_HEAD_MAX && r.status >= 200 && r.status <= 599);
    px_assert(px_http_response_parse(px_slice_take(in, head), &again, &head_again) == 0);
    px_assert(head == head_again && r.status == again.status && r.has_length == again.has_length);
    px_assert(px_http_response_parse(px_slice_take(in, head - 1), &again, &head_again) ==
              PX_ETRUNC);
    return 0;
}
