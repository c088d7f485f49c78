/* Announcements from strangers: what is read is written back the same; nothing is recognised (the
 * tags are 64 bits), nothing is sent, and the work stays within its limits. */
#include "node/lan_announce.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define PEERS 3

static void fill(void *ctx, void *buf, size_t len)
{
    uint8_t *at = buf, *next = ctx;
    for (size_t i = 0; i < len; i++)
        at[i] = (*next)++;
}

static void on_send(void *ctx, enum px_lan_kind kind)
{
    (void)ctx, (void)kind;
}

static void on_found(void *ctx, const struct px_peer_id *id, const struct px_addr *addr)
{
    (void)ctx, (void)id;
    px_assert(addr->family == PX_ADDR_IP4 && addr->ip[0] == 10 && addr->port != 0);
}

static void check_reading(struct px_slice in)
{
    struct px_lan_packet p;
    struct px_buf again;
    if (px_lan_packet_read(in, &p) != 0)
        return;
    px_buf_init(&again, PX_LAN_PACKET_MAX);
    (void)px_buf_put_u8(&again, PX_LAN_VERSION);
    (void)px_buf_put_u8(&again, (uint8_t)p.kind);
    (void)px_buf_put_be16(&again, p.port);
    (void)px_buf_put(&again, px_slice(p.nonce, sizeof(p.nonce)));
    for (size_t i = 0; i < p.slots; i++)
        (void)px_buf_put_le64(&again, p.tags[i]);
    px_assert(again.err == 0 && px_slice_eq(px_buf_slice(&again), in));
    px_buf_deinit(&again);
}

static struct px_lan_announce *listener(const struct px_identity *identity, uint8_t *seed)
{
    static const struct px_lan_ops ops = {on_send, on_found};
    struct px_lan_config c = {.identity = identity,
                              .network = PX_SLICE_LIT("default"),
                              .rng = {fill, seed},
                              .port = 1,
                              .ops = &ops};
    struct px_authorized_keys *list;
    struct px_identity peer;
    struct px_buf text;
    char id[PX_PEER_ID_TEXT_MAX];
    struct px_lan_announce *a;
    px_buf_init(&text, 4096);
    for (size_t i = 0; i < PEERS; i++) {
        px_identity_generate(&c.rng, &peer);
        px_assert(px_buf_printf(&text, "%s\n", px_peer_id_format(&peer.id, id)) == 0);
    }
    px_assert(px_authorized_keys_parse(px_buf_slice(&text), &list) == 0);
    px_assert(px_lan_announce_new(&c, 0, &a) == 0);
    px_assert(px_lan_announce_set_peers(a, list, 0) == 0);
    px_lan_announce_run(a, 0);
    px_authorized_keys_free(list);
    px_buf_deinit(&text);
    return a;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct px_lan_announce *a; /* deriving keys is slow; the clock moves on instead */
    static px_nsec now;
    static uint8_t seed;
    static struct px_identity identity;
    struct px_addr source = {.family = PX_ADDR_IP4, .ip = {10, 0, 0, len > 0 ? data[0] : 0}};
    struct px_lan_stats before, after;
    if (a == NULL) {
        px_assert(px_crypto_init() == 0);
        struct px_rng rng = {fill, &seed};
        px_identity_generate(&rng, &identity);
        a = listener(&identity, &seed);
    }
    check_reading(px_slice(data, len));
    px_lan_announce_stats(a, &before);
    px_lan_announce_input(a, px_slice(data, len), &source, now);
    px_lan_announce_run(a, now);
    px_lan_announce_stats(a, &after);
    px_assert(after.recognised - before.recognised <= 1 && after.tags - before.tags <= PEERS);
    now += PX_SEC / 100;
    return 0;
}
