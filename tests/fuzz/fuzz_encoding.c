/* Text encodings: a text that decodes is the one its bytes encode to, and stays within the buffer.
 */
#include "proto/base/encoding.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const struct {
    int (*encode)(struct px_buf *out, struct px_slice in);
    int (*decode)(struct px_slice in, void *dst, size_t cap, size_t *ret_len);
} codecs[] = {{px_hex_encode, px_hex_decode},     {px_base64_encode, px_base64_decode},
              {px_nix32_encode, px_nix32_decode}, {px_base58_encode, px_base58_decode},
              {NULL, px_base32_decode},           {NULL, px_base36_decode}};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct px_slice in = px_slice(data, len);
    for (size_t i = 0; i < PX_ARRAY_LEN(codecs); i++) {
        uint8_t bytes[96];
        size_t n;
        if (codecs[i].decode(in, bytes, sizeof(bytes), &n) != 0)
            continue;
        px_assert(n <= sizeof(bytes));
        if (codecs[i].encode == NULL)
            continue;
        struct px_buf out;
        px_buf_init(&out, len);
        px_assert(codecs[i].encode(&out, px_slice(bytes, n)) == 0);
        px_assert(px_slice_eq(px_buf_slice(&out), in));
        px_buf_deinit(&out);
    }
    return 0;
}
