/* Disco packets (docs/spec/paths.md §2): what is sealed opens at the other end alone, once, and
 * unchanged. The known packet was made by another program. */
#include "transport/disco.h"

#include "tests/test.h"

struct two {
    struct px_disco a, b; /* initiator, responder */
};

static void two_init(struct two *t)
{
    struct px_noise_keys keys;
    CHECK_OK(px_crypto_init());
    for (uint8_t i = 0; i < PX_AEAD_KEY_LEN; i++) {
        keys.initiator_to_responder.bytes[i] = i;
        keys.responder_to_initiator.bytes[i] = (uint8_t)(100 + i);
    }
    px_disco_init(&t->a, PX_NOISE_INITIATOR, &keys);
    px_disco_init(&t->b, PX_NOISE_RESPONDER, &keys);
    t->a.peer_index = 0x1122334455667788;
    t->b.peer_index = 42;
}

static struct px_slice packet(const uint8_t bytes[PX_DISCO_LEN])
{
    return px_slice(bytes, PX_DISCO_LEN);
}

static struct px_disco_packet sample_pong(void)
{
    struct px_disco_packet p = {
        .type = PX_DISCO_PONG, .nonce = 0xa1a2a3a4a5a6a7a8, .challenge = 0xb1b2b3b4b5b6b7b8};
    memset(&p.observed, 0, sizeof(p.observed));
    p.observed.family = PX_ADDR_IP4;
    p.observed.port = 4433;
    memcpy(p.observed.ip, (const uint8_t[]){192, 0, 2, 7}, 4);
    return p;
}

static void check_same(const struct px_disco_packet *a, const struct px_disco_packet *b)
{
    CHECK_INT(a->type, b->type);
    CHECK(a->nonce == b->nonce && a->challenge == b->challenge);
    CHECK(px_addr_eq(&a->observed, &b->observed));
}

TEST(every_type_opens_as_it_was_sealed_at_the_other_end_alone)
{
    struct px_disco_packet in[] = {{.type = PX_DISCO_PING, .nonce = 1},
                                   {.type = PX_DISCO_MOVED, .nonce = UINT64_MAX},
                                   sample_pong(),
                                   sample_pong(),
                                   {.type = PX_DISCO_PONG, .nonce = 3}};
    in[3].observed.family = PX_ADDR_IP6;
    memset(in[3].observed.ip, 0xfd, sizeof(in[3].observed.ip));
    struct two t;
    two_init(&t);
    for (size_t i = 0; i < PX_ARRAY_LEN(in); i++) {
        struct px_disco_packet out;
        uint8_t bytes[PX_DISCO_LEN];
        uint64_t index;
        CHECK_OK(px_disco_seal(&t.a, &in[i], bytes));
        CHECK(bytes[0] < 0x40);
        CHECK_OK(px_disco_index(packet(bytes), &index));
        CHECK(index == 0x1122334455667788);
        CHECK_ERR(px_disco_open(&t.a, packet(bytes), &out), PX_ECRYPTO);
        CHECK_OK(px_disco_open(&t.b, packet(bytes), &out));
        check_same(&in[i], &out);
        CHECK_ERR(px_disco_open(&t.b, packet(bytes), &out), PX_EEXIST);
    }
}

TEST(a_known_packet_is_sealed_byte_for_byte)
{
    static const uint8_t known[] = {
        0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x05, 0x17, 0x75, 0xc9, 0xd4, 0xaf, 0x8a, 0x52, 0x1d, 0xad, 0xe3, 0xfe,
        0x87, 0xd5, 0x77, 0x66, 0xfc, 0x99, 0xe2, 0x51, 0xf0, 0xaf, 0x66, 0x6f, 0xed, 0x1e,
        0x71, 0x4e, 0xb5, 0xc1, 0x8b, 0x74, 0x70, 0x70, 0x0d, 0x0d, 0xe3, 0xaa, 0x48, 0xfd,
        0x8f, 0x7f, 0x87, 0x88, 0xd9, 0x39, 0x90, 0x11, 0x5c, 0x03, 0xbc, 0x46};
    const struct px_disco_packet p = sample_pong();
    struct two t;
    uint8_t bytes[PX_DISCO_LEN];
    two_init(&t);
    t.a.send_counter = 5;
    CHECK_OK(px_disco_seal(&t.a, &p, bytes));
    CHECK_INT(sizeof(known), PX_DISCO_LEN);
    CHECK(memcmp(bytes, known, sizeof(known)) == 0);
}

TEST(any_changed_bit_and_any_other_length_is_refused)
{
    const struct px_disco_packet p = sample_pong();
    struct px_disco_packet out;
    struct two t;
    uint8_t bytes[PX_DISCO_LEN + 1] = {0};
    uint64_t index;
    two_init(&t);
    CHECK_OK(px_disco_seal(&t.a, &p, bytes));
    for (size_t bit = 0; bit < PX_DISCO_LEN * 8; bit++) {
        bool in_index = bit >= 8 && bit < 72; /* the overlay's look-up; still authentic */
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CHECK(px_disco_open(&t.b, packet(bytes), &out) != 0);
        CHECK(!in_index || px_disco_open(&t.b, packet(bytes), &out) == PX_ECRYPTO);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t len = 0; len <= sizeof(bytes); len++)
        if (len != PX_DISCO_LEN) {
            CHECK_ERR(px_disco_open(&t.b, px_slice(bytes, len), &out), PX_EPARSE);
            CHECK_ERR(px_disco_index(px_slice(bytes, len), &index), PX_EPARSE);
        }
    CHECK_OK(px_disco_open(&t.b, packet(bytes), &out)); /* none of these moved the window */
}

/* A naive model: all counters seen, and the highest. */
TEST(the_replay_window_takes_each_counter_once_and_nothing_old)
{
    enum { COUNT = 400 };
    static bool seen[COUNT + 200];
    const struct px_disco_packet p = {.type = PX_DISCO_PING, .nonce = 1};
    struct px_test_rng rng;
    struct px_disco_packet out;
    struct two t;
    uint64_t top = 0;
    bool any = false;
    px_test_rng(&rng, 7);
    memset(seen, 0, sizeof(seen));
    two_init(&t);
    for (uint64_t i = 0; i < COUNT; i++) {
        uint64_t back = px_test_rng_next(&rng) % 80;
        uint64_t counter = i + 80 - back + (px_test_rng_next(&rng) % 50 == 0 ? 70 : 0);
        uint8_t bytes[PX_DISCO_LEN];
        t.a.send_counter = counter;
        CHECK_OK(px_disco_seal(&t.a, &p, bytes));
        bool old = any && counter <= top && top - counter >= PX_DISCO_WINDOW;
        bool fresh = !seen[counter] && !old;
        CHECK_ERR(px_disco_open(&t.b, packet(bytes), &out), fresh ? 0 : PX_EEXIST);
        seen[counter] = true;
        top = any ? PX_MAX(top, counter) : counter;
        any = true;
    }
}

TEST(a_mapped_observed_address_is_the_ip4_one)
{
    struct px_disco_packet p = sample_pong(), out;
    uint8_t bytes[PX_DISCO_LEN];
    struct two t;
    two_init(&t);
    const struct px_addr want = p.observed; /* IPv4 */
    p.observed.family = PX_ADDR_IP6;
    memcpy(p.observed.ip + 12, want.ip, 4);
    memset(p.observed.ip, 0, 10);
    memset(p.observed.ip + 10, 0xff, 2);
    CHECK_OK(px_disco_seal(&t.a, &p, bytes));
    CHECK_OK(px_disco_open(&t.b, packet(bytes), &out));
    CHECK(px_addr_eq(&out.observed, &want));
}

TEST(bodies_that_are_not_as_specified_are_refused)
{
    struct px_disco_packet ping = {.type = PX_DISCO_PING, .nonce = 1, .challenge = 1};
    struct px_disco_packet seen_by_ping = sample_pong();
    struct px_disco_packet ip4_with_more = sample_pong(), none_with_ip = sample_pong();
    seen_by_ping.type = PX_DISCO_PING;
    seen_by_ping.challenge = 0;
    ip4_with_more.observed.ip[15] = 1;
    none_with_ip.observed.family = PX_ADDR_NONE;
    const struct px_disco_packet *bad[] = {&ping, &seen_by_ping, &ip4_with_more, &none_with_ip};
    struct two t;
    two_init(&t);
    for (size_t i = 0; i < PX_ARRAY_LEN(bad); i++) {
        struct px_disco_packet out;
        uint8_t bytes[PX_DISCO_LEN];
        CHECK_OK(px_disco_seal(&t.a, bad[i], bytes));
        CHECK_ERR(px_disco_open(&t.b, packet(bytes), &out), PX_EPARSE);
    }
}
