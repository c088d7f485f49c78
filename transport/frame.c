/* See frame.h. */
#include "transport/frame.h"

#include "proto/base/reader.h"

#define HEAD_LEN ((size_t)2)

void px_frame_reader_init(struct px_frame_reader *r)
{
    px_buf_init(&r->buf, HEAD_LEN + PX_FRAME_CONTROL_MAX);
    r->done = false;
}

void px_frame_reader_deinit(struct px_frame_reader *r)
{
    px_buf_deinit(&r->buf);
}

/* Fills the buffer up to `want` bytes. */
static int fill(struct px_frame_reader *r, struct px_slice *io_data, size_t want)
{
    if (r->buf.len < want) {
        struct px_slice piece = px_slice_take(*io_data, want - r->buf.len);
        int err = px_buf_put(&r->buf, piece);
        if (err != 0)
            return err;
        *io_data = px_slice_skip(*io_data, piece.len);
    }
    return r->buf.len < want ? PX_EAGAIN : 0;
}

int px_frame_read(struct px_frame_reader *r, struct px_slice *io_data, size_t max,
                  struct px_slice *ret_body)
{
    px_assert(max <= PX_FRAME_CONTROL_MAX);
    uint16_t len;
    if (r->done) {
        px_buf_clear(&r->buf);
        r->done = false;
    }
    int err = fill(r, io_data, HEAD_LEN);
    if (err != 0)
        return err;
    struct px_reader head = px_reader(px_buf_slice(&r->buf));
    err = px_reader_be16(&head, &len);
    if (err != 0)
        return err;
    if (len > max)
        return PX_ELIMIT;
    err = fill(r, io_data, HEAD_LEN + len);
    if (err != 0)
        return err;
    r->done = true;
    *ret_body = px_slice_skip(px_buf_slice(&r->buf), HEAD_LEN);
    return 0;
}

int px_frame_put(struct px_buf *out, size_t max, struct px_slice body)
{
    px_assert(max <= UINT16_MAX);
    if (body.len > max)
        return PX_ELIMIT;
    px_buf_put_be16(out, (uint16_t)body.len);
    return px_buf_put(out, body);
}
