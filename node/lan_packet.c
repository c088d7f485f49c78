/* Implements docs/spec/lan.md §2 and the recognition of §3. */
#include "node/lan_packet.h"

#include <stdlib.h>

#include "proto/base/map.h"
#include "proto/base/reader.h"

static const size_t sizes[] = {8, 32, PX_LAN_SLOTS_MAX};

/* What all tags of one packet have in common, and where the role goes. */
struct tag_input {
    uint8_t bytes[5 + 16 + PX_LAN_NONCE_LEN];
    size_t len;
};
#define ROLE_AT 1

/* SPEC lan §2: SipHash-2-4(K, kind ‖ role ‖ family ‖ address ‖ port ‖ nonce) */
static struct tag_input tag_input(enum px_lan_kind kind, const struct px_addr *source,
                                  uint16_t port, const uint8_t nonce[PX_LAN_NONCE_LEN])
{
    struct tag_input in = {.bytes = {(uint8_t)kind}, .len = 3};
    bool ip4 = source->family == PX_ADDR_IP4;
    size_t ip_len = ip4 ? 4 : 16;
    in.bytes[2] = ip4 ? 4 : 6;
    memcpy(in.bytes + in.len, source->ip, ip_len);
    in.len += ip_len;
    in.bytes[in.len++] = (uint8_t)(port >> 8);
    in.bytes[in.len++] = (uint8_t)port;
    memcpy(in.bytes + in.len, nonce, PX_LAN_NONCE_LEN);
    in.len += PX_LAN_NONCE_LEN;
    return in;
}

static uint64_t tag_of(struct tag_input *in, const struct px_lan_key *key, bool from_us)
{
    in->bytes[ROLE_AT] = from_us == key->we_are_lower ? 0 : 1;
    return px_siphash(key->key, px_slice(in->bytes, in->len));
}

size_t px_lan_packet_count(const struct px_lan_keys *keys)
{
    return (px_lan_keys_count(keys) + PX_LAN_SLOTS_MAX - 1) / PX_LAN_SLOTS_MAX;
}

/* SPEC lan §2: in the smallest size that has room; with more, several packets of 128 tags */
static size_t slots_for(size_t peers)
{
    for (size_t i = 0; i < PX_ARRAY_LEN(sizes); i++)
        if (peers <= sizes[i])
            return sizes[i];
    return PX_LAN_SLOTS_MAX;
}

static void shuffle(uint64_t *tags, size_t n, const struct px_rng *rng)
{
    uint32_t random[PX_LAN_SLOTS_MAX];
    rng->fill(rng->ctx, random, n * sizeof(random[0]));
    for (size_t i = n; i > 1; i--) {
        size_t j = random[i - 1] % i;
        uint64_t t = tags[i - 1];
        tags[i - 1] = tags[j];
        tags[j] = t;
    }
}

static size_t put_le64(uint8_t *at, uint64_t v)
{
    for (size_t i = 0; i < 8; i++)
        at[i] = (uint8_t)(v >> (8 * i));
    return 8;
}

size_t px_lan_packet_write(const struct px_lan_keys *keys, size_t nth, enum px_lan_kind kind,
                           const struct px_addr *source, uint16_t port, const struct px_rng *rng,
                           uint8_t ret[PX_LAN_PACKET_MAX])
{
    size_t all = px_lan_keys_count(keys), first = nth * PX_LAN_SLOTS_MAX;
    size_t slots = slots_for(all), len = PX_LAN_HEADER_LEN;
    uint64_t tags[PX_LAN_SLOTS_MAX];
    px_assert(first < all);
    ret[0] = PX_LAN_VERSION;
    ret[1] = (uint8_t)kind;
    ret[2] = (uint8_t)(port >> 8);
    ret[3] = (uint8_t)port;
    rng->fill(rng->ctx, ret + 4, PX_LAN_NONCE_LEN);
    rng->fill(rng->ctx, tags, slots * sizeof(tags[0]));
    struct tag_input in = tag_input(kind, source, port, ret + 4);
    for (size_t i = 0; i < slots && first + i < all; i++)
        tags[i] = tag_of(&in, px_lan_keys_at(keys, first + i), true);
    shuffle(tags, slots, rng);
    for (size_t i = 0; i < slots; i++)
        len += put_le64(ret + len, tags[i]);
    return len;
}

int px_lan_packet_read(struct px_slice datagram, struct px_lan_packet *ret)
{
    struct px_reader r = px_reader(datagram);
    struct px_lan_packet p;
    uint8_t version, kind;
    if (px_reader_u8(&r, &version) != 0 || version != PX_LAN_VERSION ||
        px_reader_u8(&r, &kind) != 0 || kind > PX_LAN_HELLO || px_reader_be16(&r, &p.port) != 0 ||
        p.port == 0 || px_reader_copy(&r, p.nonce, sizeof(p.nonce)) != 0)
        return PX_EPARSE;
    p.kind = (enum px_lan_kind)kind;
    p.slots = slots_for(px_reader_left(&r) / PX_LAN_TAG_LEN);
    if (px_reader_left(&r) != p.slots * PX_LAN_TAG_LEN)
        return PX_EPARSE;
    for (size_t i = 0; i < p.slots; i++)
        if (px_reader_le64(&r, &p.tags[i]) != 0)
            return PX_EPARSE;
    ret->kind = p.kind;
    ret->port = p.port;
    ret->slots = p.slots;
    memcpy(ret->nonce, p.nonce, sizeof(p.nonce));
    memcpy(ret->tags, p.tags, p.slots * sizeof(p.tags[0]));
    return 0;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x, y;
    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return (x > y) - (x < y);
}

const struct px_lan_key *px_lan_packet_sender(const struct px_lan_keys *keys,
                                              struct px_lan_packet *packet,
                                              const struct px_addr *source, uint64_t *ret_tags)
{
    struct tag_input in = tag_input(packet->kind, source, packet->port, packet->nonce);
    size_t n = px_lan_keys_count(keys);
    *ret_tags = 0;
    if (n > 0) /* sorted, a packet of chosen tags costs no more than any other */
        qsort(packet->tags, packet->slots, sizeof(packet->tags[0]), by_value);
    for (size_t i = 0; i < n; i++) {
        uint64_t tag = tag_of(&in, px_lan_keys_at(keys, i), false);
        ++*ret_tags;
        if (bsearch(&tag, packet->tags, packet->slots, sizeof(tag), by_value) != NULL)
            return px_lan_keys_at(keys, i);
    }
    return NULL;
}
