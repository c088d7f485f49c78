/* See relay_msg.h: one reader and one writer a key, and the table. */
#include "relay/relay_msg.h"

#include "auth/authorized_keys.h"
#include "proto/cbor_map.h"

#define K(key) PX_RELAY_BIT(PX_RELAY_K_##key)

struct row {
    const char *name;
    uint32_t needed, optional;
    bool by_node, by_relay;
};

static const struct row rows[] = {[0] = {"unknown", 0, 0, false, false},
#define X(name, number, needed, optional, by_node, by_relay)                                       \
    [number] = {#name, needed, optional, by_node, by_relay},
                                  PX_RELAY_MSG_TABLE(X)
#undef X
};

static const struct row *row_of(uint64_t type)
{
    return type < PX_ARRAY_LEN(rows) ? &rows[type] : &rows[0];
}

bool px_relay_msg_from_node(enum px_relay_msg_type type)
{
    return row_of(type)->by_node;
}

bool px_relay_msg_from_relay(enum px_relay_msg_type type)
{
    return row_of(type)->by_relay;
}

const char *px_relay_msg_name(enum px_relay_msg_type type)
{
    return row_of(type)->name;
}

/* ---- addresses ---- */

static int put_address(struct px_buf *out, const struct px_addr *a)
{
    uint8_t wire[PX_ADDR_WIRE_MAX];
    size_t len = px_addr_to_wire(a, wire);
    return len == 0 ? PX_EINVAL : px_cbor_put_bytes(out, px_slice(wire, len));
}

static int get_address(struct px_cbor *c, struct px_addr *ret)
{
    struct px_slice s;
    int err = px_cbor_bytes(c, &s);
    return err != 0 ? err : px_addr_from_wire(s, ret);
}

/* ---- values with a range ---- */

static int get_uint_to(struct px_cbor *c, uint64_t min, uint64_t max, uint64_t *ret)
{
    uint64_t v;
    int err = px_cbor_uint(c, &v);
    if (err != 0)
        return err;
    if (v < min || v > max)
        return PX_EPARSE;
    *ret = v;
    return 0;
}

static int get_u32(struct px_cbor *c, uint64_t min, uint64_t max, uint32_t *ret)
{
    uint64_t v;
    int err = get_uint_to(c, min, max, &v);
    if (err == 0)
        *ret = (uint32_t)v;
    return err;
}

static int get_text(struct px_cbor *c, size_t max, struct px_slice *ret)
{
    int err = px_cbor_text(c, ret);
    return err != 0 ? err : ret->len == 0 || ret->len > max ? PX_EPARSE : 0;
}

static int get_name(struct px_cbor *c, struct px_slice *ret)
{
    int err = get_text(c, PX_RELAY_NAME_MAX, ret);
    return err != 0 ? err : px_name_valid(*ret) ? 0 : PX_EPARSE;
}

static int get_blob(struct px_cbor *c, size_t min, size_t max, struct px_slice *ret)
{
    int err = px_cbor_bytes(c, ret);
    return err != 0 ? err : ret->len < min || ret->len > max ? PX_EPARSE : 0;
}

static int get_records(struct px_cbor *c, struct px_relay_msg *m)
{
    size_t n;
    int err = px_cbor_array(c, &n);
    if (err == 0 && n > PX_RELAY_RECORDS_MAX)
        err = PX_ELIMIT;
    for (size_t i = 0; err == 0 && i < n; i++)
        err = get_blob(c, 1, PX_RELAY_RECORD_MAX, &m->records[i]);
    if (err == 0)
        m->record_count = n;
    return err;
}

static int get_gone(struct px_cbor *c, struct px_relay_msg *m)
{
    size_t n;
    int err = px_cbor_array(c, &n);
    if (err == 0 && n > PX_RELAY_GONE_MAX)
        err = PX_ELIMIT;
    for (size_t i = 0; err == 0 && i < n; i++)
        err = px_cbor_fixed(c, m->gone[i].key, sizeof(m->gone[i].key));
    if (err == 0)
        m->gone_count = n;
    return err;
}

static int get_class(struct px_cbor *c, struct px_relay_msg *m)
{
    uint64_t v;
    int err = get_uint_to(c, PX_RELAY_UNKNOWN, PX_RELAY_STRANGER, &v);
    if (err == 0)
        m->class = (enum px_relay_class)v;
    return err;
}

static int get_value(struct px_cbor *c, unsigned key, struct px_relay_msg *m)
{
    switch (key) {
    case PX_RELAY_K_REQUEST:
        return get_u32(c, 1, UINT32_MAX, &m->request);
    case PX_RELAY_K_STATUS:
        return get_u32(c, 0, UINT16_MAX, &m->status);
    case PX_RELAY_K_PEER:
        return px_cbor_fixed(c, m->peer.key, sizeof(m->peer.key));
    case PX_RELAY_K_LEG:
        return px_cbor_fixed(c, m->leg.bytes, sizeof(m->leg.bytes));
    case PX_RELAY_K_RATE:
        return px_cbor_uint(c, &m->rate);
    case PX_RELAY_K_BURST:
        return px_cbor_uint(c, &m->burst);
    case PX_RELAY_K_TTL:
        return get_uint_to(c, 0, PX_RELAY_TTL_MAX_MS, &m->ttl_ms);
    case PX_RELAY_K_BYTES:
        return px_cbor_uint(c, &m->bytes);
    case PX_RELAY_K_ADDRESS:
        return get_address(c, &m->address);
    case PX_RELAY_K_NAMESPACE:
        return get_text(c, PX_RELAY_NAMESPACE_MAX, &m->name_space);
    case PX_RELAY_K_NAME:
        return get_name(c, &m->name);
    case PX_RELAY_K_RECORDS:
        return get_records(c, m);
    case PX_RELAY_K_COOKIE:
        return get_blob(c, 1, PX_RELAY_COOKIE_MAX, &m->cookie);
    case PX_RELAY_K_SECRET:
        return px_cbor_fixed(c, m->secret, sizeof(m->secret));
    case PX_RELAY_K_NONCE:
        return px_cbor_fixed(c, m->nonce.bytes, sizeof(m->nonce.bytes));
    case PX_RELAY_K_SESSION:
        return px_cbor_fixed(c, m->session, sizeof(m->session));
    case PX_RELAY_K_DIRECTION:
        return get_u32(c, PX_RELAY_SENT, PX_RELAY_RECEIVED, &m->direction);
    case PX_RELAY_K_SIGNATURE:
        return px_cbor_fixed(c, m->signature, sizeof(m->signature));
    case PX_RELAY_K_CLASS:
        return get_class(c, m);
    case PX_RELAY_K_ON:
        return px_cbor_bool(c, &m->on);
    case PX_RELAY_K_GONE:
        return get_gone(c, m);
    case PX_RELAY_K_SPREAD:
        return get_uint_to(c, 0, PX_RELAY_TTL_MAX_MS, &m->spread_ms);
    case PX_RELAY_K_PADDING:
        return get_blob(c, 0, PX_RELAY_PADDING_MAX, &m->padding);
    default: /* the four totals */
        return px_cbor_uint(c, &m->totals[key - PX_RELAY_K_TOTALS]);
    }
}

int px_relay_msg_decode(struct px_slice body, struct px_relay_msg *ret)
{
    struct px_relay_msg m = {.keys = 0};
    struct px_cbor c = px_cbor(body);
    struct px_cbor_map map;
    uint64_t key, type = 0;
    int err = px_cbor_map_open(&c, &map);
    if (err == 0)
        err = px_cbor_map_next(&map, &key);
    if (err == PX_ENOENT || (err == 0 && key != PX_RELAY_K_TYPE))
        return PX_EPARSE;
    if (err == 0)
        err = px_cbor_uint(&c, &type);
    const struct row *row = row_of(type);
    m.type = row == &rows[0] ? PX_RELAY_MSG_NONE : (enum px_relay_msg_type)type;
    while (err == 0 && (err = px_cbor_map_next(&map, &key)) == 0) {
        if (key < PX_RELAY_KEYS && ((row->needed | row->optional) & PX_RELAY_BIT(key)) != 0) {
            m.keys |= PX_RELAY_BIT(key);
            err = get_value(&c, (unsigned)key, &m);
        } else {
            err = px_cbor_skip(&c);
        }
    }
    if (err != PX_ENOENT)
        return err;
    err = px_cbor_end(&c);
    if (err == 0 && (m.keys & row->needed) != row->needed)
        err = PX_EPARSE;
    if (err == 0)
        *ret = m;
    return err;
}

/* ---- writing ---- */

static int put_records(struct px_buf *out, const struct px_relay_msg *m)
{
    px_cbor_put_array(out, m->record_count);
    for (size_t i = 0; i < m->record_count; i++)
        px_cbor_put_bytes(out, m->records[i]);
    return out->err;
}

static int put_gone(struct px_buf *out, const struct px_relay_msg *m)
{
    px_cbor_put_array(out, m->gone_count);
    for (size_t i = 0; i < m->gone_count; i++)
        px_cbor_put_bytes(out, px_slice(m->gone[i].key, sizeof(m->gone[i].key)));
    return out->err;
}

static int put_value(struct px_buf *out, unsigned key, const struct px_relay_msg *m)
{
    switch (key) {
    case PX_RELAY_K_REQUEST:
        return px_cbor_put_uint(out, m->request);
    case PX_RELAY_K_STATUS:
        return px_cbor_put_uint(out, m->status);
    case PX_RELAY_K_PEER:
        return px_cbor_put_bytes(out, px_slice(m->peer.key, sizeof(m->peer.key)));
    case PX_RELAY_K_LEG:
        return px_cbor_put_bytes(out, px_slice(m->leg.bytes, sizeof(m->leg.bytes)));
    case PX_RELAY_K_RATE:
        return px_cbor_put_uint(out, m->rate);
    case PX_RELAY_K_BURST:
        return px_cbor_put_uint(out, m->burst);
    case PX_RELAY_K_TTL:
        return px_cbor_put_uint(out, m->ttl_ms);
    case PX_RELAY_K_BYTES:
        return px_cbor_put_uint(out, m->bytes);
    case PX_RELAY_K_ADDRESS:
        return put_address(out, &m->address);
    case PX_RELAY_K_NAMESPACE:
        return px_cbor_put_text(out, m->name_space);
    case PX_RELAY_K_NAME:
        return px_cbor_put_text(out, m->name);
    case PX_RELAY_K_RECORDS:
        return put_records(out, m);
    case PX_RELAY_K_COOKIE:
        return px_cbor_put_bytes(out, m->cookie);
    case PX_RELAY_K_SECRET:
        return px_cbor_put_bytes(out, px_slice(m->secret, sizeof(m->secret)));
    case PX_RELAY_K_NONCE:
        return px_cbor_put_bytes(out, px_slice(m->nonce.bytes, sizeof(m->nonce.bytes)));
    case PX_RELAY_K_SESSION:
        return px_cbor_put_bytes(out, px_slice(m->session, sizeof(m->session)));
    case PX_RELAY_K_DIRECTION:
        return px_cbor_put_uint(out, m->direction);
    case PX_RELAY_K_SIGNATURE:
        return px_cbor_put_bytes(out, px_slice(m->signature, sizeof(m->signature)));
    case PX_RELAY_K_CLASS:
        return px_cbor_put_uint(out, m->class);
    case PX_RELAY_K_ON:
        return px_cbor_put_bool(out, m->on);
    case PX_RELAY_K_GONE:
        return put_gone(out, m);
    case PX_RELAY_K_SPREAD:
        return px_cbor_put_uint(out, m->spread_ms);
    case PX_RELAY_K_PADDING:
        return px_cbor_put_bytes(out, m->padding);
    default: /* the four totals */
        return px_cbor_put_uint(out, m->totals[key - PX_RELAY_K_TOTALS]);
    }
}

int px_relay_msg_put(struct px_buf *out, const struct px_relay_msg *m)
{
    const struct row *row = row_of(m->type);
    uint32_t keys = (m->keys & row->optional) | row->needed;
    if (m->type == PX_RELAY_MSG_NONE || m->record_count > PX_RELAY_RECORDS_MAX ||
        m->gone_count > PX_RELAY_GONE_MAX)
        return PX_EINVAL;
    int err = px_cbor_put_map(out, (size_t)__builtin_popcount(keys) + 1);
    px_cbor_put_uint(out, PX_RELAY_K_TYPE);
    px_cbor_put_uint(out, m->type);
    for (unsigned key = 0; err == 0 && key < PX_RELAY_KEYS; key++) {
        if ((keys & PX_RELAY_BIT(key)) == 0)
            continue;
        px_cbor_put_uint(out, key);
        err = put_value(out, key, m);
    }
    return err != 0 ? err : out->err;
}

int px_relay_msg_put_frame(struct px_buf *out, const struct px_relay_msg *m)
{
    struct px_buf body;
    px_buf_init(&body, PX_RELAY_FRAME_MAX);
    int err = px_relay_msg_put(&body, m);
    if (err == 0) {
        px_buf_put_be16(out, (uint16_t)body.len);
        err = px_buf_put(out, px_buf_slice(&body));
    }
    px_buf_deinit(&body);
    return err;
}
