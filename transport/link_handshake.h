/* Stream 0 of a link as a pure state machine: Noise XX with its payloads, then control frames
 * (docs/spec/handshake.md §2 to §6). Bytes in, bytes out, events; it knows nothing of QUIC, of who
 * is listed, or of other links to the same peer. */
#ifndef PX_TRANSPORT_LINK_HANDSHAKE_H
#define PX_TRANSPORT_LINK_HANDSHAKE_H

#include "proto/close.h"
#include "transport/control_frame.h"
#include "transport/link_proof.h"

struct px_link_handshake;

struct px_link_handshake_config {
    enum px_noise_role role;
    const struct px_identity *identity; /* outlives the handshake */
    struct px_peer_id target;           /* initiator: whom it dials */
    struct px_slice network;            /* outlives the handshake */
    const uint8_t *exporter;            /* PX_QUIC_EXPORTER_LEN bytes, copied */
    const uint8_t *boot_id;             /* PX_BOOT_ID_LEN bytes, ours, copied */
    struct px_slice agent;              /* ours; cut to PX_AGENT_MAX, must be printable ASCII */
    const struct px_x25519_secret *noise_static;
    struct px_rng rng;
    bool guest; /* initiator: comes as a guest */
};

enum px_handshake_state {
    PX_HANDSHAKE_WAIT_TYPE,     /* responder: the stream's type byte */
    PX_HANDSHAKE_WAIT_1,        /* responder */
    PX_HANDSHAKE_WAIT_2,        /* initiator */
    PX_HANDSHAKE_WAIT_3,        /* responder */
    PX_HANDSHAKE_PROVED,        /* the peer is who it says; our owner decides what comes next */
    PX_HANDSHAKE_WAIT_ACCEPTED, /* initiator: message 3 is written */
    PX_HANDSHAKE_OPEN,
    PX_HANDSHAKE_FAILED,
    PX_HANDSHAKE_STATES, /* how many there are */
};

/* What px_link_handshake_input found. */
enum px_handshake_event {
    PX_HANDSHAKE_NONE,
    PX_HANDSHAKE_PEER_PROVED, /* go on with _proceed, or close the connection */
    PX_HANDSHAKE_ACCEPTED,    /* initiator: the link is up */
    PX_HANDSHAKE_CONTROL,     /* a frame for the link: px_link_handshake_control */
};

/* An initiator's first bytes are appended to out at once. PX_ENOMEM, PX_EINVAL. */
PX_MUST_CHECK int px_link_handshake_new(const struct px_link_handshake_config *config,
                                        struct px_buf *out, struct px_link_handshake **ret);
void px_link_handshake_free(struct px_link_handshake *h);

/* Takes bytes of stream 0 off *io_data up to the next event, appends what is to be sent to out.
 * While the peer is proved and nobody has said _proceed nothing is taken. After an error the
 * machine has failed for good: close with px_link_handshake_close_code.
 *
 * PX_ETARGET, PX_EBINDING, PX_ENETWORK, PX_EWRONGPEER, PX_ENOISE: as the specification says.
 * PX_EOVERRUN: a Noise frame too long. PX_ELIMIT: a control frame too long. PX_EPARSE: a malformed
 * control frame. PX_EPROTO: a frame that may not come here, a wrong type byte. PX_ENOMEM. */
PX_MUST_CHECK int px_link_handshake_input(struct px_link_handshake *h, struct px_slice *io_data,
                                          struct px_buf *out, enum px_handshake_event *ret_event);
/* Stream 0 ended: PX_ETRUNC before the link was open, else PX_EPROTO. Never 0. */
PX_MUST_CHECK int px_link_handshake_fin(struct px_link_handshake *h);
/* After PEER_PROVED: message 3 of the initiator, `accepted` of the responder. */
PX_MUST_CHECK int px_link_handshake_proceed(struct px_link_handshake *h, struct px_buf *out);

enum px_handshake_state px_link_handshake_state(const struct px_link_handshake *h);
/* What the connection is to be closed with after an error. */
enum px_close_code px_link_handshake_close_code(const struct px_link_handshake *h);
/* The proved peer; from PEER_PROVED on. */
const struct px_link_hello *px_link_handshake_peer(const struct px_link_handshake *h);
/* The frame of the last PX_HANDSHAKE_CONTROL. */
const struct px_control *px_link_handshake_control(const struct px_link_handshake *h);
/* The final handshake hash, PX_HASH_LEN bytes; from WAIT_ACCEPTED on at the initiator, from PROVED
 * on at the responder. */
const uint8_t *px_link_handshake_binding(const struct px_link_handshake *h);
/* The keys of Noise's Split, from the same moments on; PX_ESTATE before, and once they are
 * forgotten. Wipe them. */
PX_MUST_CHECK int px_link_handshake_split(const struct px_link_handshake *h,
                                          struct px_noise_keys *ret);
/* While OPEN: wipes and frees the secrets of Noise. The binding stays. */
void px_link_handshake_forget(struct px_link_handshake *h);

#endif
