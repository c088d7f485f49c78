/* Frames of the control stream: u16 big-endian length, then that many bytes
 * (docs/spec/handshake.md §2). Takes a stream in any pieces. */
#ifndef PX_TRANSPORT_FRAME_H
#define PX_TRANSPORT_FRAME_H

#include "proto/base/buf.h"

#define PX_FRAME_NOISE_MAX   1024
#define PX_FRAME_CONTROL_MAX 4096

struct px_frame_reader {
    struct px_buf buf; /* the head and as much of the body as came */
    bool done;         /* the frame in buf was handed out */
};

void px_frame_reader_init(struct px_frame_reader *r);
void px_frame_reader_deinit(struct px_frame_reader *r);

/* Takes bytes off *io_data until a frame is complete; ret_body is valid until the next call.
 * PX_EAGAIN: all was taken and more is needed. PX_ELIMIT: a body longer than max. PX_ENOMEM. */
PX_MUST_CHECK int px_frame_read(struct px_frame_reader *r, struct px_slice *io_data, size_t max,
                                struct px_slice *ret_body);
/* Appends a frame. PX_ELIMIT when the body is longer than max. */
PX_MUST_CHECK int px_frame_put(struct px_buf *out, size_t max, struct px_slice body);

#endif
