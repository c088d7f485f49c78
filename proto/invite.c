/* The bytes of a code; its characters are invite_text.c's. */
#include "proto/invite.h"

#include <stdio.h>

#include "proto/addr.h"
#include "proto/base/reader.h"
#include "proto/invite_text.h"

enum { VERSION = 1 };
enum item_kind { ITEM_IP4, ITEM_IP6, ITEM_NAME, ITEM_OTHER };
enum { ITEM_KIND_MASK = 3, ITEM_HAS_PORT = 4 };
enum {
    OTHER_RELAY = 0x01,
    OTHER_RELAY_TCP = 0x02,
    OTHER_NETWORK = 0x80,
    OTHER_REFUSE = 0x80 /* must be known from here on */
};

void px_invite_wipe(struct px_invite *i)
{
    explicit_bzero(i, sizeof(*i));
}

/* CRC-16/XMODEM */
static uint16_t crc16(struct px_slice s)
{
    unsigned crc = 0;
    for (size_t i = 0; i < s.len; i++) {
        crc ^= (unsigned)s.data[i] << 8;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 0x8000 ? (crc << 1 ^ 0x1021) & 0xffff : crc << 1;
    }
    return (uint16_t)crc;
}

/* ---- writing ---- */

static void put_item(struct px_buf *out, unsigned kind, uint16_t port)
{
    (void)px_buf_put_u8(out, (uint8_t)(kind | (port != PX_INVITE_PORT ? ITEM_HAS_PORT : 0)));
}

static void put_port(struct px_buf *out, uint16_t port)
{
    if (port != PX_INVITE_PORT)
        (void)px_buf_put_be16(out, port);
}

static int put_addr(struct px_buf *out, const char *text)
{
    struct px_addr a;
    struct px_slice host, whole = px_slice_cstr(text);
    uint16_t port;
    if (px_hostport_split(whole, &host, &port) != 0)
        return PX_EINVAL;
    bool numeric = px_addr_parse(whole, &a) == 0;
    if (numeric && a.scope != 0)
        return PX_EINVAL; /* means nothing on another machine */
    if (numeric) {
        bool ip4 = a.family == PX_ADDR_IP4;
        put_item(out, ip4 ? ITEM_IP4 : ITEM_IP6, port);
        (void)px_buf_put(out, px_slice(a.ip, ip4 ? 4 : 16));
    } else {
        put_item(out, ITEM_NAME, port);
        (void)px_buf_put_u8(out, (uint8_t)host.len);
        (void)px_buf_put(out, host);
    }
    put_port(out, port);
    return out->err;
}

static int put_relay(struct px_buf *out, const struct px_invite *i)
{
    struct px_buf addr;
    if (strnlen(i->relay, sizeof(i->relay)) > PX_INVITE_RELAY_ADDR_MAX)
        return PX_EINVAL;
    px_buf_init(&addr, UINT8_MAX);
    int err = put_addr(&addr, i->relay);
    if (err == 0) {
        (void)px_buf_put_u8(out, ITEM_OTHER);
        (void)px_buf_put_u8(out, (uint8_t)(1 + sizeof(i->relay_key) + addr.len));
        (void)px_buf_put_u8(out, OTHER_RELAY);
        (void)px_buf_put(out, px_slice(i->relay_key, sizeof(i->relay_key)));
        err = px_buf_put(out, px_buf_slice(&addr));
    }
    px_buf_deinit(&addr);
    if (err == 0 && i->relay_tcp != 0) {
        (void)px_buf_put_u8(out, ITEM_OTHER);
        (void)px_buf_put_u8(out, 1 + sizeof(i->relay_tcp));
        (void)px_buf_put_u8(out, OTHER_RELAY_TCP);
        err = px_buf_put_be16(out, i->relay_tcp);
    }
    return err;
}

static int put_bytes(const struct px_invite *i, struct px_buf *out)
{
    size_t network = strlen(i->network);
    if (i->addr_count > PX_INVITE_ADDRS_MAX)
        return PX_EINVAL;
    (void)px_buf_put_u8(out, VERSION);
    (void)px_buf_put(out, px_slice(i->key, sizeof(i->key)));
    (void)px_buf_put(out, px_slice(i->id, sizeof(i->id)));
    (void)px_buf_put(out, px_slice(i->secret, sizeof(i->secret)));
    if (network > 0) {
        (void)px_buf_put_u8(out, ITEM_OTHER);
        (void)px_buf_put_u8(out, (uint8_t)(1 + network));
        (void)px_buf_put_u8(out, OTHER_NETWORK);
        (void)px_buf_put(out, px_slice_cstr(i->network));
    }
    for (size_t n = 0; n < i->addr_count; n++) {
        int err = put_addr(out, i->addrs[n]);
        if (err != 0)
            return err;
    }
    int err = i->relay[0] != '\0' ? put_relay(out, i) : 0;
    if (err != 0)
        return err;
    return px_buf_put_be16(out, crc16(px_buf_slice(out)));
}

/* A buffer that never moves, so that no copy of the secret stays behind. */
static int fixed_buf(struct px_buf *b, size_t size)
{
    px_buf_init(b, size);
    return px_buf_reserve(b, size) != NULL ? 0 : PX_ENOMEM;
}

static void wipe_buf(struct px_buf *b)
{
    if (b->data != NULL)
        explicit_bzero(b->data, b->cap);
    px_buf_deinit(b);
}

static int print(const struct px_invite *i, const char *prefix, bool dashes, struct px_buf *out)
{
    struct px_buf bytes;
    int err = fixed_buf(&bytes, PX_INVITE_BYTES_MAX);
    if (err == 0)
        err = put_bytes(i, &bytes);
    if (err == 0)
        err = px_buf_put_cstr(out, prefix);
    if (err == 0)
        err = px_invite_text_put(px_buf_slice(&bytes), dashes, out);
    wipe_buf(&bytes);
    return err;
}

int px_invite_print(const struct px_invite *i, struct px_buf *out)
{
    return print(i, "", true, out);
}

int px_invite_print_url(const struct px_invite *i, struct px_buf *out)
{
    return print(i, PX_INVITE_SCHEME, false, out);
}

/* ---- reading ---- */

/* Takes the address in its one spelling, so that what is read prints and reads back the same. */
static int add_addr(struct px_invite *i, const char *text)
{
    struct px_addr a;
    struct px_slice host;
    char normal[PX_ADDR_TEXT_MAX];
    uint16_t port;
    if (px_hostport_split(px_slice_cstr(text), &host, &port) != 0 ||
        i->addr_count == PX_INVITE_ADDRS_MAX)
        return PX_EPARSE;
    if (px_addr_parse(px_slice_cstr(text), &a) == 0)
        text = px_addr_format(&a, normal);
    snprintf(i->addrs[i->addr_count++], PX_INVITE_ADDR_MAX, "%s", text);
    return 0;
}

static int get_port(struct px_reader *r, uint8_t head, uint16_t *ret)
{
    *ret = PX_INVITE_PORT;
    return head & ITEM_HAS_PORT ? px_reader_be16(r, ret) : 0;
}

static int get_ip(struct px_reader *r, uint8_t head, struct px_invite *i)
{
    struct px_addr a = {.family = PX_ADDR_IP4};
    char text[PX_ADDR_TEXT_MAX];
    bool ip4 = (head & ITEM_KIND_MASK) == ITEM_IP4;
    int err = px_reader_copy(r, a.ip, ip4 ? 4 : 16);
    if (err == 0)
        err = get_port(r, head, &a.port);
    if (err != 0)
        return err;
    a.family = ip4 ? PX_ADDR_IP4 : PX_ADDR_IP6;
    return add_addr(i, px_addr_format(&a, text));
}

static int get_name(struct px_reader *r, uint8_t head, struct px_invite *i)
{
    char text[PX_INVITE_ADDR_MAX];
    struct px_slice name;
    uint8_t len;
    uint16_t port = 0;
    int err = px_reader_u8(r, &len);
    if (err == 0)
        err = px_reader_take(r, len, &name);
    if (err == 0)
        err = get_port(r, head, &port);
    if (err != 0)
        return err;
    int n = snprintf(text, sizeof(text), "%.*s:%u", (int)name.len, (const char *)name.data, port);
    return n >= (int)sizeof(text) || memchr(name.data, 0, name.len) != NULL ? PX_EPARSE
                                                                            : add_addr(i, text);
}

static int get_network(struct px_slice name, struct px_invite *i)
{
    if (i->network[0] != '\0' || name.len == 0 || name.len > PX_INVITE_NETWORK_MAX ||
        px_slice_eq_cstr(name, "default"))
        return PX_EPARSE;
    for (size_t n = 0; n < name.len; n++)
        if (name.data[n] < ' ' || name.data[n] == 0x7f)
            return PX_EPARSE;
    memcpy(i->network, name.data, name.len);
    return 0;
}

static int get_item(struct px_reader *r, struct px_invite *i);

static int get_relay(struct px_slice data, struct px_invite *i)
{
    struct px_reader r = px_reader(data);
    struct px_invite one = {.addr_count = 0};
    uint8_t key[PX_INVITE_KEY_LEN];
    int err = px_reader_copy(&r, key, sizeof(key));
    if (err == 0 && px_reader_left(&r) > 0 &&
        (data.data[sizeof(key)] & ITEM_KIND_MASK) < ITEM_OTHER)
        err = get_item(&r, &one);
    if (err != 0 || one.addr_count != 1 || px_reader_left(&r) > 0 || i->relay[0] != '\0' ||
        strlen(one.addrs[0]) > PX_INVITE_RELAY_ADDR_MAX)
        return PX_EPARSE;
    memcpy(i->relay_key, key, sizeof(key));
    memcpy(i->relay, one.addrs[0], sizeof(i->relay));
    return 0;
}

static int get_relay_tcp(struct px_slice data, struct px_invite *i)
{
    struct px_reader r = px_reader(data);
    uint16_t port = 0;
    if (i->relay_tcp != 0 || px_reader_be16(&r, &port) != 0 || port == 0 || px_reader_left(&r) > 0)
        return PX_EPARSE;
    i->relay_tcp = port;
    return 0;
}

static int get_other(struct px_reader *r, uint8_t head, struct px_invite *i)
{
    struct px_slice data;
    uint8_t len;
    int err = px_reader_u8(r, &len);
    if (err == 0)
        err = px_reader_take(r, len, &data);
    if (err != 0 || data.len == 0 || (head & ITEM_HAS_PORT) != 0)
        return PX_EPARSE;
    if (data.data[0] == OTHER_NETWORK)
        return get_network(px_slice_skip(data, 1), i);
    if (data.data[0] == OTHER_RELAY)
        return get_relay(px_slice_skip(data, 1), i);
    if (data.data[0] == OTHER_RELAY_TCP)
        return get_relay_tcp(px_slice_skip(data, 1), i);
    return data.data[0] < OTHER_REFUSE ? 0 : PX_EUNSUPPORTED;
}

static int get_item(struct px_reader *r, struct px_invite *i)
{
    uint8_t head;
    int err = px_reader_u8(r, &head);
    if (err != 0)
        return err;
    if (head > (ITEM_KIND_MASK | ITEM_HAS_PORT))
        return PX_EUNSUPPORTED;
    switch ((enum item_kind)(head & ITEM_KIND_MASK)) {
    case ITEM_IP4:
    case ITEM_IP6:
        return get_ip(r, head, i);
    case ITEM_NAME:
        return get_name(r, head, i);
    case ITEM_OTHER:
        return get_other(r, head, i);
    }
    return PX_EPARSE;
}

/* The CRC stands already. */
static int get_bytes(struct px_slice bytes, struct px_invite *i)
{
    struct px_reader r = px_reader(bytes);
    uint8_t version = 0;
    int err = px_reader_u8(&r, &version);
    if (err == 0 && version != VERSION)
        return PX_EUNSUPPORTED;
    if (err == 0)
        err = px_reader_copy(&r, i->key, sizeof(i->key));
    if (err == 0)
        err = px_reader_copy(&r, i->id, sizeof(i->id));
    if (err == 0)
        err = px_reader_copy(&r, i->secret, sizeof(i->secret));
    while (err == 0 && px_reader_left(&r) > 0)
        err = get_item(&r, i);
    if (i->relay[0] == '\0')
        i->relay_tcp = 0; /* of no relay */
    return err;
}

static int check_bytes(struct px_slice all, struct px_invite *i, struct px_invite_fault *fault)
{
    struct px_slice body = px_slice_take(all, all.len > 2 ? all.len - 2 : 0);
    struct px_reader r = px_reader(px_slice_skip(all, body.len));
    uint16_t crc = 0;
    if (px_reader_be16(&r, &crc) != 0 || crc != crc16(body)) {
        snprintf(fault->why, sizeof(fault->why), PX_INVITE_WHY_END);
        return PX_EINVITE_TYPO;
    }
    int err = get_bytes(body, i);
    if (err == 0)
        return 0;
    bool later = err == PX_EUNSUPPORTED;
    snprintf(fault->why, sizeof(fault->why), "%s",
             later ? "it was made by a later version of peerix" : "its contents make no sense");
    return later ? err : PX_EINVITE_JUNK;
}

int px_invite_parse(struct px_slice text, struct px_invite *ret, struct px_invite_fault *ret_fault)
{
    struct px_invite i;
    struct px_buf bytes;
    memset(&i, 0, sizeof(i));
    memset(ret_fault, 0, sizeof(*ret_fault));
    int err = fixed_buf(&bytes, PX_INVITE_BYTES_MAX);
    if (err == 0)
        err = px_invite_text_get(text, &bytes, ret_fault);
    if (err == 0)
        err = check_bytes(px_buf_slice(&bytes), &i, ret_fault);
    if (err == 0)
        memcpy(ret, &i, sizeof(i));
    else if (err == PX_ENOMEM)
        snprintf(ret_fault->why, sizeof(ret_fault->why), "%s", px_strerror(err));
    wipe_buf(&bytes);
    px_invite_wipe(&i);
    return err;
}
