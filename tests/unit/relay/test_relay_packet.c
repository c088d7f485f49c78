/* Packet layout as docs/spec/relay.md §5 has it. */
#include "relay/relay_packet.h"
#include "tests/test.h"

static const struct px_relay_leg_id leg = {{1, 2, 3, 4, 5, 6, 7}};
static const struct px_relay_nonce nonce = {{16, 17, 18}};

TEST(lengths_are_those_of_the_type)
{
    uint8_t packet[100] = {0};
    struct px_relay_packet p;
    for (int type = 0; type < 256; type++)
        for (size_t len = 0; len <= sizeof(packet); len++) {
            bool good = (type == PX_RELAY_DATA && len > 8) ||
                        (type >= PX_RELAY_HELLO && type <= PX_RELAY_BOUND && len == 40) ||
                        (type >= PX_RELAY_PING && type <= PX_RELAY_PROBE && len == 24);
            packet[0] = (uint8_t)type;
            CHECK_ERR(px_relay_packet_parse(px_slice(packet, len), &p), good ? 0 : PX_EPARSE);
        }
}

TEST(a_bind_packet_is_type_leg_nonce_and_mac)
{
    struct px_relay_leg_key key;
    struct px_relay_packet p;
    uint8_t out[PX_RELAY_BIND_LEN], again[PX_HASH_LEN];
    px_relay_leg_key(PX_SLICE_LIT("0123456789abcdef0123456789abcdef"), &leg, &key);
    px_relay_bind_put(out, PX_RELAY_ANSWER, &leg, &nonce, &key);
    CHECK_INT(out[0], 0x13);
    CHECK_SLICE(px_slice(out + 1, 7), px_slice(leg.bytes, 7));
    CHECK_SLICE(px_slice(out + 8, 16), px_slice(nonce.bytes, 16));
    px_hmac_sha256(px_slice(key.bytes, 32), px_slice(out, 24), again);
    CHECK_SLICE(px_slice(out + 24, 16), px_slice(again, 16));
    for (size_t bit = 0; bit < 8 * sizeof(out); bit++) {
        out[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (px_relay_packet_parse(px_slice(out, sizeof(out)), &p) == 0 && p.type != PX_RELAY_DATA)
            CHECK(!px_relay_bind_check(&p, &key));
        out[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    CHECK_OK(px_relay_packet_parse(px_slice(out, sizeof(out)), &p));
    CHECK(px_relay_bind_check(&p, &key));
}

TEST(the_leg_key_is_hkdf_of_the_binding_for_this_leg)
{
    struct px_relay_leg_key key, other;
    struct px_relay_leg_id leg2 = leg;
    uint8_t want[32];
    struct px_slice binding = PX_SLICE_LIT("0123456789abcdef0123456789abcdef");
    px_relay_leg_key(binding, &leg, &key);
    px_hkdf_sha256(px_slice(NULL, 0), binding,
                   PX_SLICE_LIT("\0\022peerix/1 relay leg\1\2\3\4\5\6\7"), want, sizeof(want));
    CHECK_SLICE(px_slice(key.bytes, 32), px_slice(want, 32));
    leg2.bytes[6]++;
    px_relay_leg_key(binding, &leg2, &other);
    CHECK(memcmp(key.bytes, other.bytes, 32) != 0);
}
