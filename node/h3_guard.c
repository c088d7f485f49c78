/* Watches the peer's control stream for PRIORITY_UPDATE frames (RFC 9218), which this protocol does
 * not use (docs/spec/http3.md §5) and which must not reach nghttp3: version 1.8 runs into an
 * assertion, and so ends the process, when such a frame is split behind its first field.
 *
 * Everything else on the stream is nghttp3's to judge. */
#include "node/h3_internal.h"

#define FRAME_PRIORITY_UPDATE_REQUEST 0xf0700
#define FRAME_PRIORITY_UPDATE_PUSH    0xf0701
#define STREAM_TYPE_CONTROL           0

/* One byte of a QUIC variable-length integer (RFC 9000 §16); true with the last. */
static bool varint_step(struct px_h3_guard *g, uint8_t byte)
{
    if (g->left == 0) {
        g->left = 1u << (byte >> 6);
        g->value = byte & 0x3f;
    } else {
        g->value = g->value << 8 | byte;
    }
    return --g->left == 0;
}

int px_h3_guard_feed(struct px_h3_guard *g, struct px_slice data)
{
    while (data.len > 0) {
        if (g->at == PX_H3_GUARD_ELSE)
            return 0;
        if (g->at == PX_H3_GUARD_PAYLOAD) {
            size_t n = (size_t)PX_MIN(g->payload, (uint64_t)data.len);
            g->payload -= n;
            data = px_slice_skip(data, n);
            if (g->payload == 0)
                g->at = PX_H3_GUARD_FRAME_TYPE;
            continue;
        }
        bool whole = varint_step(g, data.data[0]);
        data = px_slice_skip(data, 1);
        if (!whole)
            continue;
        switch (g->at) {
        case PX_H3_GUARD_STREAM_TYPE:
            g->at = g->value == STREAM_TYPE_CONTROL ? PX_H3_GUARD_FRAME_TYPE : PX_H3_GUARD_ELSE;
            break;
        case PX_H3_GUARD_FRAME_TYPE:
            if (g->value == FRAME_PRIORITY_UPDATE_REQUEST || g->value == FRAME_PRIORITY_UPDATE_PUSH)
                return PX_EPROTO;
            g->at = PX_H3_GUARD_FRAME_LENGTH;
            break;
        case PX_H3_GUARD_FRAME_LENGTH:
            g->payload = g->value;
            g->at = g->value > 0 ? PX_H3_GUARD_PAYLOAD : PX_H3_GUARD_FRAME_TYPE;
            break;
        case PX_H3_GUARD_PAYLOAD:
        case PX_H3_GUARD_ELSE:
            break;
        }
    }
    return 0;
}
