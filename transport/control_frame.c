/* See control_frame.h. */
#include "transport/control_frame.h"

#include "proto/cbor_map.h"
#include "transport/frame.h"

enum wire_type { WIRE_ACCEPTED = 1, WIRE_PING = 2, WIRE_PONG = 3, WIRE_DISCO = 4 };

/* The map's first pair: key 0, the type. */
static int get_type(struct px_cbor_map *m, uint64_t *ret)
{
    uint64_t key;
    int err = px_cbor_map_next(m, &key);
    if (err != 0)
        return err == PX_ENOENT ? PX_EPARSE : err;
    return key == 0 ? px_cbor_uint(m->c, ret) : PX_EPARSE;
}

static int skip_all(struct px_cbor_map *m)
{
    uint64_t key;
    int err;
    while ((err = px_cbor_map_next(m, &key)) == 0) {
        err = px_cbor_skip(m->c);
        if (err != 0)
            return err;
    }
    return err == PX_ENOENT ? 0 : err;
}

static int get_accepted(struct px_cbor_map *m, struct px_control_accepted *ret)
{
    uint64_t key, version = 0, capabilities = 0;
    bool has_capabilities = false;
    int err;
    while ((err = px_cbor_map_next(m, &key)) == 0) {
        if (key == 1) {
            err = px_cbor_uint(m->c, &version);
        } else if (key == 2) {
            err = px_cbor_uint(m->c, &capabilities);
            has_capabilities = true;
        } else {
            err = px_cbor_skip(m->c);
        }
        if (err != 0)
            return err;
    }
    if (err != PX_ENOENT)
        return err;
    if (version == 0 || version > UINT32_MAX || !has_capabilities)
        return PX_EPARSE;
    *ret = (struct px_control_accepted){(uint32_t)version, capabilities};
    return 0;
}

/* A frame whose one key, 1, is a number. */
static int get_number(struct px_cbor_map *m, uint64_t *ret)
{
    uint64_t key, value = 0;
    bool seen = false;
    int err;
    while ((err = px_cbor_map_next(m, &key)) == 0) {
        err = key == 1 ? px_cbor_uint(m->c, &value) : px_cbor_skip(m->c);
        if (err != 0)
            return err;
        seen = seen || key == 1;
    }
    if (err != PX_ENOENT)
        return err;
    if (!seen)
        return PX_EPARSE;
    *ret = value;
    return 0;
}

static int get_body(struct px_cbor_map *m, uint64_t wire_type, struct px_control *ret)
{
    switch (wire_type) {
    case WIRE_ACCEPTED:
        ret->type = PX_CONTROL_ACCEPTED;
        return get_accepted(m, &ret->accepted);
    case WIRE_PING:
        ret->type = PX_CONTROL_PING;
        return get_number(m, &ret->nonce);
    case WIRE_PONG:
        ret->type = PX_CONTROL_PONG;
        return get_number(m, &ret->nonce);
    case WIRE_DISCO:
        ret->type = PX_CONTROL_DISCO;
        return get_number(m, &ret->index);
    default: /* of a later version */
        return skip_all(m);
    }
}

int px_control_decode(struct px_slice body, struct px_control *ret)
{
    struct px_cbor c = px_cbor(body);
    struct px_cbor_map m;
    struct px_control frame = {.type = PX_CONTROL_UNKNOWN};
    uint64_t type;
    int err = px_cbor_map_open(&c, &m);
    if (err == 0)
        err = get_type(&m, &type);
    if (err == 0)
        err = get_body(&m, type, &frame);
    if (err == 0)
        err = px_cbor_end(&c);
    if (err == 0)
        *ret = frame;
    return err;
}

static void put_number(struct px_buf *out, enum wire_type type, uint64_t value)
{
    px_cbor_put_map(out, 2);
    px_cbor_put_uint(out, 0);
    px_cbor_put_uint(out, type);
    px_cbor_put_uint(out, 1);
    px_cbor_put_uint(out, value);
}

static void put_body(struct px_buf *out, const struct px_control *frame)
{
    switch (frame->type) {
    case PX_CONTROL_ACCEPTED:
        px_cbor_put_map(out, 3);
        px_cbor_put_uint(out, 0);
        px_cbor_put_uint(out, WIRE_ACCEPTED);
        px_cbor_put_uint(out, 1);
        px_cbor_put_uint(out, frame->accepted.version);
        px_cbor_put_uint(out, 2);
        px_cbor_put_uint(out, frame->accepted.capabilities);
        return;
    case PX_CONTROL_PING:
        put_number(out, WIRE_PING, frame->nonce);
        return;
    case PX_CONTROL_PONG:
        put_number(out, WIRE_PONG, frame->nonce);
        return;
    case PX_CONTROL_DISCO:
        put_number(out, WIRE_DISCO, frame->index);
        return;
    case PX_CONTROL_UNKNOWN:
        break;
    }
    px_assert(frame->type != PX_CONTROL_UNKNOWN); /* nobody can write one */
}

int px_control_put(struct px_buf *out, const struct px_control *frame)
{
    struct px_buf body;
    px_buf_init(&body, PX_FRAME_CONTROL_MAX);
    put_body(&body, frame);
    int err = body.err;
    if (err == 0)
        err = px_frame_put(out, PX_FRAME_CONTROL_MAX, px_buf_slice(&body));
    px_buf_deinit(&body);
    return err;
}
