/* The first byte of every stream (docs/spec/streams.md). */
#ifndef PX_PROTO_STREAM_TYPE_H
#define PX_PROTO_STREAM_TYPE_H

enum px_stream_type {
    PX_STREAM_CONTROL = 0x00,    /* stream 0 alone: Noise, then control frames */
    PX_STREAM_SERVICE = 0x01,    /* CBOR open {service, args}, its status, then bytes */
    PX_STREAM_H3_FORWARD = 0x02, /* HTTP/3 session whose HTTP client is the QUIC client */
    PX_STREAM_H3_REVERSE = 0x03, /* HTTP/3 session whose HTTP client is the QUIC server */
    PX_STREAM_PAIRING = 0x04,    /* bidirectional: docs/spec/pairing.md */
    PX_STREAM_ROTATION = 0x05,   /* bidirectional: docs/spec/rotation.md */
    PX_STREAM_RELAY = 0x06,      /* bidirectional: a relay's control stream, docs/spec/relay.md */
};

#endif
