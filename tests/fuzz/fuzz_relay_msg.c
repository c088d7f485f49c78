/* Bodies of relay control messages: what decodes can be written, and reads back the same. */
#include "relay/relay_msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct px_relay_msg m, again;
    struct px_buf first, second;
    if (px_relay_msg_decode(px_slice(data, len), &m) != 0 || m.type == PX_RELAY_MSG_NONE)
        return 0;
    px_buf_init(&first, 65536);
    px_buf_init(&second, 65536);
    int err = px_relay_msg_put(&first, &m);
    px_assert(err == 0 && first.len <= len); /* deterministic encoding has no shorter form */
    err = px_relay_msg_decode(px_buf_slice(&first), &again);
    px_assert(err == 0 && again.type == m.type && again.keys == m.keys);
    err = px_relay_msg_put(&second, &again);
    px_assert(err == 0 && px_slice_eq(px_buf_slice(&first), px_buf_slice(&second)));
    px_buf_deinit(&first);
    px_buf_deinit(&second);
    return 0;
}
