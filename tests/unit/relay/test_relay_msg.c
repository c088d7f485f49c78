/* The codec of control messages: everything written is read back; what is malformed is refused. */
#include "proto/cbor.h"
#include "relay/relay_msg.h"
#include "tests/test.h"

static struct px_relay_msg full(enum px_relay_msg_type type)
{
    static const uint8_t blob[40] = {1, 2, 3};
    struct px_relay_msg m = {.type = type,
                             .keys = UINT32_MAX,
                             .request = 7,
                             .status = 100,
                             .rate = 125000000,
                             .burst = 1 << 20,
                             .ttl_ms = 3600000,
                             .bytes = 64000000,
                             .spread_ms = 10000,
                             .name_space = PX_SLICE_LIT("default"),
                             .name = PX_SLICE_LIT("laptop-1"),
                             .cookie = px_slice(blob, 16),
                             .padding = px_slice(blob, 40),
                             .records = {px_slice(blob, 30), px_slice(blob, 31)},
                             .record_count = 2,
                             .gone_count = 3,
                             .direction = PX_RELAY_RECEIVED,
                             .class = PX_RELAY_JOINER,
                             .on = true,
                             .totals = {1, 2, 3, UINT64_MAX}};
    memset(m.peer.key, 0x11, sizeof(m.peer.key));
    memset(m.leg.bytes, 0x22, sizeof(m.leg.bytes));
    memset(m.secret, 0x33, sizeof(m.secret));
    memset(m.nonce.bytes, 0x44, sizeof(m.nonce.bytes));
    memset(m.session, 0x55, sizeof(m.session));
    memset(m.signature, 0x66, sizeof(m.signature));
    memset(m.gone, 0x77, sizeof(m.gone));
    m.address.family = PX_ADDR_IP6;
    m.address.ip[0] = 0x20;
    m.address.port = 12303;
    return m;
}

TEST(every_message_is_read_back_as_it_was_written)
{
    for (int type = PX_RELAY_MSG_RESERVE; type <= PX_RELAY_MSG_SEEN; type++) {
        struct px_relay_msg m = full((enum px_relay_msg_type)type), back = {0};
        struct px_buf a, b;
        px_buf_init(&a, PX_RELAY_FRAME_MAX);
        px_buf_init(&b, PX_RELAY_FRAME_MAX);
        CHECK_OK(px_relay_msg_put(&a, &m));
        CHECK_OK(px_relay_msg_decode(px_buf_slice(&a), &back));
        CHECK_INT(back.type, type);
        CHECK_OK(px_relay_msg_put(&b, &back));
        CHECK_SLICE(px_buf_slice(&a), px_buf_slice(&b));
        CHECK(px_relay_msg_from_node(back.type) || px_relay_msg_from_relay(back.type));
        for (size_t cut = 0; cut < a.len; cut++)
            CHECK(px_relay_msg_decode(px_slice(a.data, cut), &back) != 0);
        px_buf_deinit(&a);
        px_buf_deinit(&b);
    }
}

TEST(a_mapped_address_is_read_as_the_ip4_one)
{
    struct px_relay_msg m = full(PX_RELAY_MSG_PROBE), back = {0};
    struct px_buf b;
    char text[PX_ADDR_TEXT_MAX];
    m.address = (struct px_addr){
        .ip = {[10] = 0xff, [11] = 0xff, [12] = 10, [15] = 9}, .family = PX_ADDR_IP6, .port = 5000};
    px_buf_init(&b, PX_RELAY_FRAME_MAX);
    CHECK_OK(px_relay_msg_put(&b, &m));
    CHECK_OK(px_relay_msg_decode(px_buf_slice(&b), &back));
    CHECK_STR(px_addr_format(&back.address, text), "10.0.0.9:5000");
    px_buf_deinit(&b);
}

TEST(a_message_without_a_key_it_needs_is_malformed)
{
    struct px_relay_msg m, before;
    memset(&before, 0x5a, sizeof(before));
    m = before;
    /* connect {request} without peer; {} ; {request} without type; [] */
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {{"\xa2\x00\x05\x01\x01", 5},
               {"\xa0", 1},
               {"\xa1\x01\x01", 3},
               {"\x80", 1},
               {"\xa2\x00\x01\x01\x00", 5},         /* request 0 */
               {"\xa2\x00\x01\x01\x18\x01", 6},     /* not the shortest form */
               {"\xa2\x00\x01\x01\x01\x00", 6},     /* something behind it */
               {"\xa2\x01\x01\x00\x01", 5},         /* keys do not ascend */
               {"\xa3\x00\x01\x01\x01\x01\x01", 7}, /* a key twice */
               {"\xa3\x00\x08\x02\x1a\x00\x01\x00\x00\x04\x47\1\2\3\4\5\6\7", 18}};
    for (size_t i = 0; i < PX_ARRAY_LEN(bad); i++)
        CHECK(px_relay_msg_decode(px_slice(bad[i].bytes, bad[i].len), &m) < 0);
    CHECK(memcmp(&m, &before, sizeof(m)) == 0);
}

TEST(what_later_versions_add_is_skipped)
{
    struct px_relay_msg m;
    /* type 99 with an unknown key */
    CHECK_OK(px_relay_msg_decode(PX_SLICE_LIT("\xa2\x00\x18\x63\x18\x64\x81\x01"), &m));
    CHECK_INT(m.type, PX_RELAY_MSG_NONE);
    /* reserve with key 2 (status), which it has no use for, of a wrong type, and key 100 */
    CHECK_OK(px_relay_msg_decode(PX_SLICE_LIT("\xa4\x00\x01\x01\x05\x02\x60\x18\x64\xf6"), &m));
    CHECK_INT(m.type, PX_RELAY_MSG_RESERVE);
    CHECK_INT(m.request, 5);
    CHECK(!px_relay_msg_has(&m, PX_RELAY_K_STATUS));
}

TEST(counts_and_lengths_have_their_limits)
{
    struct px_relay_msg m = full(PX_RELAY_MSG_CHANGED), back;
    struct px_buf out;
    static uint8_t big[PX_RELAY_PADDING_MAX + 1];
    px_buf_init(&out, 2 * PX_RELAY_FRAME_MAX);
    m.gone_count = PX_RELAY_GONE_MAX + 1;
    CHECK_ERR(px_relay_msg_put(&out, &m), PX_EINVAL);
    m.gone_count = 0;
    m.record_count = PX_RELAY_RECORDS_MAX + 1;
    CHECK_ERR(px_relay_msg_put(&out, &m), PX_EINVAL);
    m.record_count = 1;
    m.records[0] = px_slice(big, PX_RELAY_RECORD_MAX + 1);
    px_buf_clear(&out);
    CHECK_OK(px_relay_msg_put(&out, &m));
    CHECK_ERR(px_relay_msg_decode(px_buf_slice(&out), &back), PX_EPARSE);
    m = full(PX_RELAY_MSG_PADDING);
    m.padding = px_slice(big, sizeof(big));
    px_buf_clear(&out);
    CHECK_OK(px_relay_msg_put(&out, &m));
    CHECK_ERR(px_relay_msg_decode(px_buf_slice(&out), &back), PX_EPARSE);
    for (size_t over = 0; over < 2; over++) {
        m = full(PX_RELAY_MSG_DISCOVER);
        m.cookie = px_slice(big, PX_RELAY_COOKIE_MAX + over);
        px_buf_clear(&out);
        CHECK_OK(px_relay_msg_put(&out, &m));
        CHECK_ERR(px_relay_msg_decode(px_buf_slice(&out), &back), over ? PX_EPARSE : 0);
        m = full(PX_RELAY_MSG_REGISTER);
        m.ttl_ms = PX_RELAY_TTL_MAX_MS + over;
        px_buf_clear(&out);
        CHECK_OK(px_relay_msg_put(&out, &m));
        CHECK_ERR(px_relay_msg_decode(px_buf_slice(&out), &back), over ? PX_EPARSE : 0);
    }
    m = full(PX_RELAY_MSG_DISCOVER);
    m.name = PX_SLICE_LIT("Not-A-Name");
    px_buf_clear(&out);
    CHECK_OK(px_relay_msg_put(&out, &m));
    CHECK_ERR(px_relay_msg_decode(px_buf_slice(&out), &back), PX_EPARSE);
    px_buf_deinit(&out);
}
