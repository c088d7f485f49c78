/* See record.h. */
#include "relay/record.h"

#include "auth/authorized_keys.h"
#include "proto/cbor_map.h"

#define LABEL "peerix/1 record"

enum key { K_PEER = 1, K_SEQUENCE, K_NAMESPACE, K_NAME, K_ADDRS, K_CAPABILITIES, K_RELAYS };

static int put_label(struct px_buf *out)
{
    px_buf_put_be16(out, sizeof(LABEL) - 1);
    return px_buf_put_cstr(out, LABEL);
}

static bool text_fits(struct px_slice s, size_t max)
{
    return s.len > 0 && s.len <= max;
}

static bool is_writable(const struct px_record *r)
{
    if (!text_fits(r->name_space, PX_RELAY_NAMESPACE_MAX) || r->addr_count > PX_RECORD_ADDRS_MAX ||
        r->relay_count > PX_RECORD_RELAYS_MAX || (r->name.len > 0 && !px_name_valid(r->name)))
        return false;
    for (size_t i = 0; i < r->relay_count; i++)
        if (!text_fits(r->relays[i], PX_RECORD_URL_MAX))
            return false;
    for (size_t i = 0; i < r->addr_count; i++)
        if (r->addrs[i].family != PX_ADDR_IP4 && r->addrs[i].family != PX_ADDR_IP6)
            return false;
    return true;
}

static void put_addr(struct px_buf *out, const struct px_addr *a)
{
    uint8_t wire[PX_ADDR_WIRE_MAX];
    px_cbor_put_bytes(out, px_slice(wire, px_addr_to_wire(a, wire)));
}

static int put_body(struct px_buf *out, const struct px_peer_id *peer, const struct px_record *r)
{
    px_cbor_put_map(out, (size_t)5 + (r->name.len > 0) + (r->relay_count > 0));
    px_cbor_put_uint(out, K_PEER);
    px_cbor_put_bytes(out, px_slice(peer->key, sizeof(peer->key)));
    px_cbor_put_uint(out, K_SEQUENCE);
    px_cbor_put_uint(out, r->sequence);
    px_cbor_put_uint(out, K_NAMESPACE);
    px_cbor_put_text(out, r->name_space);
    if (r->name.len > 0) {
        px_cbor_put_uint(out, K_NAME);
        px_cbor_put_text(out, r->name);
    }
    px_cbor_put_uint(out, K_ADDRS);
    px_cbor_put_array(out, r->addr_count);
    for (size_t i = 0; i < r->addr_count; i++)
        put_addr(out, &r->addrs[i]);
    px_cbor_put_uint(out, K_CAPABILITIES);
    px_cbor_put_uint(out, r->capabilities);
    if (r->relay_count > 0) {
        px_cbor_put_uint(out, K_RELAYS);
        px_cbor_put_array(out, r->relay_count);
        for (size_t i = 0; i < r->relay_count; i++)
            px_cbor_put_text(out, r->relays[i]);
    }
    return out->err;
}

int px_record_sign(const struct px_identity *identity, const struct px_record *r,
                   struct px_buf *out)
{
    uint8_t signature[PX_ED25519_SIG_LEN];
    struct px_buf said;
    if (!is_writable(r))
        return PX_EINVAL;
    px_buf_init(&said, 2 + sizeof(LABEL) - 1 + PX_RECORD_MAX);
    put_label(&said);
    size_t head = said.len;
    int err = put_body(&said, &identity->id, r);
    if (err == 0) {
        px_ed25519_sign(&identity->secret, px_buf_slice(&said), signature);
        px_cbor_put_array(out, 2);
        px_cbor_put_bytes(out, px_slice_skip(px_buf_slice(&said), head));
        err = px_cbor_put_bytes(out, px_slice(signature, sizeof(signature)));
    }
    px_buf_deinit(&said);
    return err;
}

/* ---- reading ---- */

static int get_addr(struct px_cbor *c, struct px_addr *ret)
{
    struct px_slice s;
    int err = px_cbor_bytes(c, &s);
    return err != 0 ? err : px_addr_from_wire(s, ret);
}

static int get_addrs(struct px_cbor *c, struct px_record *r)
{
    int err = px_cbor_array(c, &r->addr_count);
    if (err == 0 && r->addr_count > PX_RECORD_ADDRS_MAX)
        return PX_ELIMIT;
    for (size_t i = 0; err == 0 && i < r->addr_count; i++)
        err = get_addr(c, &r->addrs[i]);
    return err;
}

static int get_text(struct px_cbor *c, size_t max, struct px_slice *ret)
{
    int err = px_cbor_text(c, ret);
    return err != 0 ? err : text_fits(*ret, max) ? 0 : PX_EPARSE;
}

static int get_relays(struct px_cbor *c, struct px_record *r)
{
    int err = px_cbor_array(c, &r->relay_count);
    if (err == 0 && r->relay_count > PX_RECORD_RELAYS_MAX)
        return PX_ELIMIT;
    for (size_t i = 0; err == 0 && i < r->relay_count; i++)
        err = get_text(c, PX_RECORD_URL_MAX, &r->relays[i]);
    return err;
}

static int get_value(struct px_cbor *c, uint64_t key, struct px_record *r)
{
    int err;
    switch (key) {
    case K_PEER:
        return px_cbor_fixed(c, r->peer.key, sizeof(r->peer.key));
    case K_SEQUENCE:
        return px_cbor_uint(c, &r->sequence);
    case K_NAMESPACE:
        return get_text(c, PX_RELAY_NAMESPACE_MAX, &r->name_space);
    case K_NAME:
        err = get_text(c, PX_RELAY_NAME_MAX, &r->name);
        return err != 0 ? err : px_name_valid(r->name) ? 0 : PX_EPARSE;
    case K_ADDRS:
        return get_addrs(c, r);
    case K_CAPABILITIES:
        return px_cbor_uint(c, &r->capabilities);
    case K_RELAYS:
        return get_relays(c, r);
    default: /* of a later version */
        return px_cbor_skip(c);
    }
}

static int parse_body(struct px_slice body, struct px_record *ret)
{
    static const unsigned needed =
        1u << K_PEER | 1u << K_SEQUENCE | 1u << K_NAMESPACE | 1u << K_ADDRS | 1u << K_CAPABILITIES;
    struct px_cbor c = px_cbor(body);
    struct px_cbor_map map;
    struct px_record r = {.sequence = 0};
    unsigned seen = 0;
    uint64_t key;
    int err = px_cbor_map_open(&c, &map);
    while (err == 0 && (err = px_cbor_map_next(&map, &key)) == 0) {
        seen |= key <= K_RELAYS ? 1u << key : 0;
        err = get_value(&c, key, &r);
    }
    if (err != PX_ENOENT)
        return err;
    err = px_cbor_end(&c);
    if (err == 0 && (seen & needed) != needed)
        err = PX_EPARSE;
    if (err == 0)
        *ret = r;
    return err;
}

static int check_signature(const struct px_peer_id *peer, struct px_slice body,
                           const uint8_t *signature)
{
    struct px_buf said;
    px_buf_init(&said, 2 + sizeof(LABEL) - 1 + PX_RECORD_MAX);
    put_label(&said);
    int err = px_buf_put(&said, body);
    if (err == 0)
        err = px_ed25519_verify(peer->key, px_buf_slice(&said), signature);
    px_buf_deinit(&said);
    return err;
}

int px_record_verify(struct px_slice bytes, struct px_record *ret)
{
    uint8_t signature[PX_ED25519_SIG_LEN];
    struct px_cbor c = px_cbor(bytes);
    struct px_slice body = {NULL, 0};
    struct px_record r = {.sequence = 0};
    size_t n;
    int err = px_cbor_array(&c, &n);
    if (err == 0)
        err = n == 2 ? px_cbor_bytes(&c, &body) : PX_EPARSE;
    if (err == 0)
        err = px_cbor_fixed(&c, signature, sizeof(signature));
    if (err == 0)
        err = px_cbor_end(&c);
    if (err == 0 && body.len > PX_RECORD_MAX)
        err = PX_ELIMIT;
    if (err == 0)
        err = parse_body(body, &r);
    if (err == 0)
        err = check_signature(&r.peer, body, signature);
    if (err == 0)
        *ret = r;
    return err;
}
