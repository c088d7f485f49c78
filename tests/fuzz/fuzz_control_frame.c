/* Control frames as they come from a peer: framing in any pieces, then decoding. What decodes to a
 * frame we can write must survive being written. */
#include "transport/control_frame.h"
#include "transport/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_round_trip(const struct px_control *frame)
{
    struct px_frame_reader r;
    struct px_control again;
    struct px_slice body;
    struct px_buf out;
    px_buf_init(&out, 4096);
    px_frame_reader_init(&r);
    int err = px_control_put(&out, frame);
    struct px_slice rest = px_buf_slice(&out);
    if (err == 0)
        err = px_frame_read(&r, &rest, PX_FRAME_CONTROL_MAX, &body);
    if (err == 0)
        err = px_control_decode(body, &again);
    px_assert(err == 0 && rest.len == 0);
    px_assert(again.type == frame->type && again.accepted.version == frame->accepted.version &&
              again.accepted.capabilities == frame->accepted.capabilities &&
              again.nonce == frame->nonce && again.index == frame->index);
    px_frame_reader_deinit(&r);
    px_buf_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct px_frame_reader r;
    struct px_slice all = px_slice(data, len);
    if (len == 0)
        return 0;
    size_t piece = 1 + data[0] % 64;
    all = px_slice_skip(all, 1);
    px_frame_reader_init(&r);
    while (all.len > 0) {
        struct px_slice part = px_slice_take(all, piece), body;
        all = px_slice_skip(all, piece);
        int err = 0;
        while (part.len > 0 && err == 0) {
            struct px_control frame;
            err = px_frame_read(&r, &part, PX_FRAME_CONTROL_MAX, &body);
            if (err == 0 && px_control_decode(body, &frame) == 0 &&
                frame.type != PX_CONTROL_UNKNOWN)
                check_round_trip(&frame);
        }
        if (err != 0 && err != PX_EAGAIN)
            break;
    }
    px_frame_reader_deinit(&r);
    return 0;
}
