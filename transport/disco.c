/* See disco.h. */
#include "transport/disco.h"

#include "proto/base/reader.h"

#define HEAD_LEN 17 /* type, index, counter: also the additional data */
#define BODY_LEN 35

_Static_assert(HEAD_LEN + BODY_LEN + PX_AEAD_TAG_LEN == PX_DISCO_LEN, "as specified");

static void derive(const struct px_aead_key *split, struct px_aead_key *ret)
{
    px_hkdf_sha256(px_slice(NULL, 0), px_slice(split->bytes, sizeof(split->bytes)),
                   PX_SLICE_LIT("peerix/1 disco"), ret->bytes, sizeof(ret->bytes));
}

void px_disco_init(struct px_disco *d, enum px_noise_role role, const struct px_noise_keys *keys)
{
    bool initiator = role == PX_NOISE_INITIATOR;
    memset(d, 0, sizeof(*d));
    derive(&keys->initiator_to_responder, initiator ? &d->send_key : &d->recv_key);
    derive(&keys->responder_to_initiator, initiator ? &d->recv_key : &d->send_key);
}

void px_disco_deinit(struct px_disco *d)
{
    px_wipe(d, sizeof(*d));
}

struct head {
    uint8_t type;
    uint64_t index, counter;
};

static int read_head(struct px_slice datagram, struct head *ret)
{
    struct px_reader r = px_reader(datagram);
    struct head h;
    if (datagram.len != PX_DISCO_LEN)
        return PX_EPARSE;
    int err = px_reader_u8(&r, &h.type);
    if (err == 0)
        err = px_reader_be64(&r, &h.index);
    if (err == 0)
        err = px_reader_be64(&r, &h.counter);
    if (err != 0 || h.type < PX_DISCO_PING || h.type > PX_DISCO_MOVED)
        return PX_EPARSE;
    *ret = h;
    return 0;
}

int px_disco_index(struct px_slice datagram, uint64_t *ret_index)
{
    struct head h;
    int err = read_head(datagram, &h);
    if (err == 0)
        *ret_index = h.index;
    return err;
}

/* ---- the window ---- */

static bool was_seen(const struct px_disco *d, uint64_t counter)
{
    if (counter >= d->recv_top)
        return false;
    uint64_t age = d->recv_top - 1 - counter;
    return age >= PX_DISCO_WINDOW || (d->recv_window >> age & 1) != 0;
}

static void note_seen(struct px_disco *d, uint64_t counter)
{
    if (counter < d->recv_top) {
        d->recv_window |= UINT64_C(1) << (d->recv_top - 1 - counter);
        return;
    }
    uint64_t ahead = counter + 1 - d->recv_top;
    d->recv_window = ahead >= PX_DISCO_WINDOW ? 0 : d->recv_window << ahead;
    d->recv_window |= 1;
    d->recv_top = counter + 1;
}

/* ---- the body ---- */

static bool is_zero(const uint8_t *p, size_t len)
{
    uint8_t any = 0;
    for (size_t i = 0; i < len; i++)
        any |= p[i];
    return any == 0;
}

static int read_observed(struct px_reader *r, struct px_addr *ret)
{
    uint8_t family;
    struct px_addr a;
    memset(&a, 0, sizeof(a));
    int err = px_reader_u8(r, &family);
    if (err == 0)
        err = px_reader_copy(r, a.ip, sizeof(a.ip));
    if (err == 0)
        err = px_reader_be16(r, &a.port);
    if (err != 0)
        return err;
    a.family = family == 4 ? PX_ADDR_IP4 : family == 6 ? PX_ADDR_IP6 : PX_ADDR_NONE;
    bool empty = is_zero(a.ip, sizeof(a.ip)) && a.port == 0;
    bool good = family == 0   ? empty
                : family == 4 ? is_zero(a.ip + 4, sizeof(a.ip) - 4)
                              : family == 6;
    if (!good)
        return PX_EPARSE;
    px_addr_unmap(&a);
    *ret = a;
    return 0;
}

static int read_body(uint8_t type, struct px_slice body, struct px_disco_packet *ret)
{
    struct px_reader r = px_reader(body);
    struct px_disco_packet p = {.type = (enum px_disco_type)type};
    int err = px_reader_be64(&r, &p.nonce);
    if (err == 0)
        err = px_reader_be64(&r, &p.challenge);
    if (err == 0)
        err = read_observed(&r, &p.observed);
    if (err != 0 || px_reader_left(&r) > 0)
        return PX_EPARSE;
    if (p.type != PX_DISCO_PONG && (p.challenge != 0 || p.observed.family != PX_ADDR_NONE))
        return PX_EPARSE;
    *ret = p;
    return 0;
}

static void put_observed(struct px_buf *out, const struct px_addr *a)
{
    uint8_t family = a->family == PX_ADDR_IP4 ? 4 : a->family == PX_ADDR_IP6 ? 6 : 0;
    px_buf_put_u8(out, family);
    px_buf_put(out, px_slice(a->ip, sizeof(a->ip)));
    px_buf_put_be16(out, a->port);
}

/* ---- whole packets ---- */

int px_disco_open(struct px_disco *d, struct px_slice datagram, struct px_disco_packet *ret)
{
    struct head h;
    struct px_buf body;
    int err = read_head(datagram, &h);
    if (err != 0)
        return err;
    if (was_seen(d, h.counter) || h.counter == UINT64_MAX)
        return PX_EEXIST;
    px_buf_init(&body, BODY_LEN);
    err = px_aead_open(&d->recv_key, h.counter, px_slice_take(datagram, HEAD_LEN),
                       px_slice_skip(datagram, HEAD_LEN), &body);
    if (err == 0) {
        note_seen(d, h.counter);
        err = read_body(h.type, px_buf_slice(&body), ret);
    }
    px_buf_deinit(&body);
    return err;
}

int px_disco_seal(struct px_disco *d, const struct px_disco_packet *p, uint8_t ret[PX_DISCO_LEN])
{
    struct px_buf head, body;
    px_buf_init(&head, PX_DISCO_LEN);
    px_buf_init(&body, BODY_LEN);
    px_buf_put_u8(&head, (uint8_t)p->type);
    px_buf_put_be64(&head, d->peer_index);
    px_buf_put_be64(&head, d->send_counter);
    px_buf_put_be64(&body, p->nonce);
    px_buf_put_be64(&body, p->challenge);
    put_observed(&body, &p->observed);
    int err = head.err != 0 ? head.err : body.err;
    uint8_t ad[HEAD_LEN];
    if (err == 0) {
        memcpy(ad, head.data, HEAD_LEN);
        err = px_aead_seal(&d->send_key, d->send_counter, px_slice(ad, HEAD_LEN),
                           px_buf_slice(&body), &head);
    }
    if (err == 0) {
        px_assert(head.len == PX_DISCO_LEN);
        memcpy(ret, head.data, PX_DISCO_LEN);
        d->send_counter++;
    }
    px_buf_deinit(&head);
    px_buf_deinit(&body);
    return err;
}
