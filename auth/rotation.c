/* See rotation.h. Keys of the maps are those of docs/spec/rotation.cddl. */
#include "auth/rotation.h"

#include <stdio.h>

#include "proto/cbor_map.h"

enum { KEY_TYPE = 0, KEY_RECORD = 1, KEY_CODE = 2 };
enum { KEY_OLD = 1, KEY_NEW, KEY_NETWORK, KEY_OLD_SIG, KEY_NEW_SIG, RECORD_KEYS = 5 };
enum { SIGNED_MAX = 192 };

/* ---- signatures ---- */

static void put_lp(struct px_buf *out, const char *text)
{
    (void)px_buf_put_be16(out, (uint16_t)strlen(text));
    (void)px_buf_put_cstr(out, text);
}

/* SPEC rotation §1: message(role) */
static int signed_bytes(const struct px_rotation *r, const char *role, struct px_buf *out)
{
    put_lp(out, "peerix/1 rotation");
    put_lp(out, role);
    put_lp(out, r->network);
    (void)px_buf_put(out, px_slice(r->old_id.key, sizeof(r->old_id.key)));
    return px_buf_put(out, px_slice(r->new_id.key, sizeof(r->new_id.key)));
}

static int sign(const struct px_rotation *r, const struct px_identity *by, const char *role,
                uint8_t ret[PX_ED25519_SIG_LEN])
{
    struct px_buf b;
    px_buf_init(&b, SIGNED_MAX);
    int err = signed_bytes(r, role, &b);
    if (err == 0)
        px_ed25519_sign(&by->secret, px_buf_slice(&b), ret);
    px_buf_deinit(&b);
    return err;
}

static int verify(const struct px_rotation *r, const struct px_peer_id *by, const char *role,
                  const uint8_t sig[PX_ED25519_SIG_LEN])
{
    struct px_buf b;
    px_buf_init(&b, SIGNED_MAX);
    int err = signed_bytes(r, role, &b);
    if (err == 0)
        err = px_ed25519_verify(by->key, px_buf_slice(&b), sig);
    px_buf_deinit(&b);
    return err;
}

int px_rotation_make(const struct px_identity *old_identity, const struct px_identity *new_identity,
                     const char *network, struct px_rotation *ret)
{
    struct px_rotation r;
    size_t len = strlen(network);
    memset(&r, 0, sizeof(r));
    if (len == 0 || len > PX_ROTATION_NETWORK_MAX ||
        px_peer_id_eq(&old_identity->id, &new_identity->id))
        return PX_EINVAL;
    r.old_id = old_identity->id;
    r.new_id = new_identity->id;
    memcpy(r.network, network, len);
    int err = sign(&r, old_identity, "old", r.old_sig);
    if (err == 0)
        err = sign(&r, new_identity, "new", r.new_sig);
    if (err == 0)
        *ret = r;
    return err;
}

/* ---- the record ---- */

static void put_bytes(struct px_buf *out, uint64_t key, const void *data, size_t len)
{
    (void)px_cbor_put_uint(out, key);
    (void)px_cbor_put_bytes(out, px_slice(data, len));
}

int px_rotation_put(const struct px_rotation *r, struct px_buf *out)
{
    (void)px_cbor_put_map(out, RECORD_KEYS);
    put_bytes(out, KEY_OLD, r->old_id.key, sizeof(r->old_id.key));
    put_bytes(out, KEY_NEW, r->new_id.key, sizeof(r->new_id.key));
    put_bytes(out, KEY_NETWORK, r->network, strlen(r->network));
    put_bytes(out, KEY_OLD_SIG, r->old_sig, sizeof(r->old_sig));
    put_bytes(out, KEY_NEW_SIG, r->new_sig, sizeof(r->new_sig));
    return out->err;
}

static int get_network(struct px_cbor *c, struct px_rotation *r)
{
    struct px_slice s;
    int err = px_cbor_bytes(c, &s);
    if (err != 0)
        return err;
    if (s.len == 0 || s.len > PX_ROTATION_NETWORK_MAX || memchr(s.data, 0, s.len) != NULL)
        return PX_EPARSE;
    memcpy(r->network, s.data, s.len);
    return 0;
}

static int get_record_field(struct px_cbor *c, uint64_t key, struct px_rotation *r)
{
    switch (key) {
    case KEY_OLD:
        return px_cbor_fixed(c, r->old_id.key, sizeof(r->old_id.key));
    case KEY_NEW:
        return px_cbor_fixed(c, r->new_id.key, sizeof(r->new_id.key));
    case KEY_NETWORK:
        return get_network(c, r);
    case KEY_OLD_SIG:
        return px_cbor_fixed(c, r->old_sig, sizeof(r->old_sig));
    case KEY_NEW_SIG:
        return px_cbor_fixed(c, r->new_sig, sizeof(r->new_sig));
    default:
        return PX_EPARSE;
    }
}

int px_rotation_get(struct px_slice record, struct px_rotation *ret)
{
    struct px_rotation r;
    struct px_cbor c = px_cbor(record);
    struct px_cbor_map map;
    uint64_t key;
    size_t seen = 0;
    memset(&r, 0, sizeof(r));
    int err = px_cbor_map_open(&c, &map);
    while (err == 0 && (err = px_cbor_map_next(&map, &key)) == 0) {
        err = get_record_field(&c, key, &r);
        seen++; /* keys ascend: none comes twice */
    }
    if (err != PX_ENOENT)
        return err;
    if (seen != RECORD_KEYS || px_peer_id_eq(&r.old_id, &r.new_id))
        return PX_EPARSE;
    err = px_cbor_end(&c);
    if (err == 0)
        err = verify(&r, &r.old_id, "old", r.old_sig);
    if (err == 0)
        err = verify(&r, &r.new_id, "new", r.new_sig);
    if (err == 0)
        *ret = r;
    return err;
}

/* ---- messages ---- */

static int put_record(const struct px_rotation *r, struct px_buf *out)
{
    struct px_buf record;
    px_buf_init(&record, PX_ROTATION_RECORD_MAX);
    int err = px_rotation_put(r, &record);
    if (err == 0) {
        (void)px_cbor_put_uint(out, KEY_RECORD);
        err = px_cbor_put_bytes(out, px_buf_slice(&record));
    }
    px_buf_deinit(&record);
    return err;
}

int px_rotation_message_put(const struct px_rotation_message *m, struct px_buf *out)
{
    bool rotate = m->type == PX_ROTATION_MSG_ROTATE, refuse = m->type == PX_ROTATION_MSG_REFUSE;
    (void)px_cbor_put_map(out, 1 + (size_t)rotate + (size_t)refuse);
    (void)px_cbor_put_uint(out, KEY_TYPE);
    (void)px_cbor_put_uint(out, m->type);
    if (rotate)
        return put_record(&m->record, out);
    if (refuse) {
        (void)px_cbor_put_uint(out, KEY_CODE);
        (void)px_cbor_put_uint(out, m->code);
    }
    return out->err;
}

/* The record is checked last, when the rest is known to be a message. */
static int get_field(struct px_cbor *c, uint64_t key, uint64_t *type, struct px_slice *record,
                     uint64_t *code)
{
    switch (key) {
    case KEY_TYPE:
        return px_cbor_uint(c, type);
    case KEY_RECORD:
        return px_cbor_bytes(c, record);
    case KEY_CODE:
        return px_cbor_uint(c, code);
    default: /* of a later version */
        return px_cbor_skip(c);
    }
}

int px_rotation_message_get(struct px_slice body, struct px_rotation_message *ret)
{
    struct px_rotation_message m;
    struct px_cbor c = px_cbor(body);
    struct px_cbor_map map;
    struct px_slice record = {NULL, 0};
    uint64_t key, type = 0;
    bool has_code = false;
    memset(&m, 0, sizeof(m));
    if (body.len > PX_ROTATION_MESSAGE_MAX)
        return PX_ELIMIT;
    int err = px_cbor_map_open(&c, &map);
    while (err == 0 && (err = px_cbor_map_next(&map, &key)) == 0) {
        has_code |= key == KEY_CODE;
        err = get_field(&c, key, &type, &record, &m.code);
    }
    if (err != PX_ENOENT)
        return err;
    if (type < PX_ROTATION_MSG_ROTATE || type > PX_ROTATION_MSG_REFUSE)
        return PX_EPARSE;
    m.type = (enum px_rotation_type)type;
    if (m.type == PX_ROTATION_MSG_REFUSE && !has_code)
        return PX_EPARSE;
    if (m.type != PX_ROTATION_MSG_REFUSE) /* such a key is unknown there */
        m.code = 0;
    err = px_cbor_end(&c);
    if (err == 0 && m.type == PX_ROTATION_MSG_ROTATE)
        err = px_rotation_get(record, &m.record);
    if (err == 0)
        *ret = m;
    return err;
}

/* ---- refusals ---- */

/* SPEC rotation §2: the position is the code */
static const int refusals[] = {
    0,         PX_EPARSE,   PX_ECRYPTO, PX_EWRONGPEER, PX_ENETWORK, PX_EUNLISTED,
    PX_EEXIST, PX_EREVOKED, PX_EBUSY,   PX_EIO,
};

uint64_t px_rotation_code(int err)
{
    for (size_t i = 1; i < PX_ARRAY_LEN(refusals); i++)
        if (refusals[i] == err)
            return i;
    return err == PX_ETRUNC || err == PX_ELIMIT ? px_rotation_code(PX_EPARSE)
                                                : px_rotation_code(PX_EIO);
}

int px_rotation_error(uint64_t code)
{
    return code > 0 && code < PX_ARRAY_LEN(refusals) ? refusals[code] : PX_EIO;
}
