/* Signed records: what is written reads back; every flipped bit is noticed. */
#include "proto/cbor.h"
#include "relay/record.h"
#include "tests/test.h"

struct fixture {
    struct px_test_rng rng;
    struct px_identity identity;
    struct px_record record;
    struct px_buf bytes;
};

static void set_up(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    const struct px_rng rng = px_test_rng(&f->rng, 5);
    CHECK_OK(px_crypto_init());
    px_identity_generate(&rng, &f->identity);
    px_buf_init(&f->bytes, 4096);
    f->record = (struct px_record){.sequence = 9,
                                   .name_space = PX_SLICE_LIT("default"),
                                   .name = PX_SLICE_LIT("desk"),
                                   .addr_count = 2,
                                   .capabilities = 5,
                                   .relays = {PX_SLICE_LIT("peerix-relay://x@example.org:1")},
                                   .relay_count = 1};
    CHECK_OK(px_addr_parse(PX_SLICE_LIT("1.2.3.4:5"), &f->record.addrs[0]));
    CHECK_OK(px_addr_parse(PX_SLICE_LIT("[2001:db8::1]:12303"), &f->record.addrs[1]));
}

TEST(a_record_reads_back_as_it_was_signed)
{
    struct fixture f;
    struct px_record r;
    set_up(&f);
    CHECK_OK(px_record_sign(&f.identity, &f.record, &f.bytes));
    CHECK_OK(px_record_verify(px_buf_slice(&f.bytes), &r));
    CHECK(px_peer_id_eq(&r.peer, &f.identity.id));
    CHECK_INT(r.sequence, 9);
    CHECK_SLICE(r.name_space, f.record.name_space);
    CHECK_SLICE(r.name, f.record.name);
    CHECK_INT(r.addr_count, 2);
    CHECK(px_addr_eq(&r.addrs[0], &f.record.addrs[0]));
    CHECK(px_addr_eq(&r.addrs[1], &f.record.addrs[1]));
    CHECK_INT(r.capabilities, 5);
    CHECK_INT(r.relay_count, 1);
    CHECK_SLICE(r.relays[0], f.record.relays[0]);
    px_buf_deinit(&f.bytes);
}

TEST(a_mapped_address_is_read_as_the_ip4_one)
{
    struct fixture f;
    struct px_record r;
    set_up(&f);
    f.record.addrs[1] = (struct px_addr){
        .ip = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1}, .family = PX_ADDR_IP6, .port = 9};
    CHECK_OK(px_record_sign(&f.identity, &f.record, &f.bytes));
    CHECK_OK(px_record_verify(px_buf_slice(&f.bytes), &r));
    CHECK_INT(r.addrs[1].family, PX_ADDR_IP4);
    CHECK(px_addr_is_loopback(&r.addrs[1]));
    px_buf_deinit(&f.bytes);
}

TEST(every_flipped_bit_is_noticed)
{
    struct fixture f;
    struct px_record r;
    set_up(&f);
    CHECK_OK(px_record_sign(&f.identity, &f.record, &f.bytes));
    for (size_t i = 0; i < f.bytes.len; i++) {
        f.bytes.data[i] ^= 4;
        CHECK(px_record_verify(px_buf_slice(&f.bytes), &r) != 0);
        f.bytes.data[i] ^= 4;
    }
    for (size_t cut = 0; cut < f.bytes.len; cut++)
        CHECK(px_record_verify(px_slice(f.bytes.data, cut), &r) != 0);
    px_buf_deinit(&f.bytes);
}

TEST(what_could_not_be_read_back_is_not_signed)
{
    struct fixture f;
    char url[PX_RECORD_URL_MAX + 1];
    set_up(&f);
    memset(url, 'u', sizeof(url));
    struct px_record r = f.record;
    r.name_space.len = 0;
    CHECK_ERR(px_record_sign(&f.identity, &r, &f.bytes), PX_EINVAL);
    r = f.record;
    r.name = PX_SLICE_LIT("No Name");
    CHECK_ERR(px_record_sign(&f.identity, &r, &f.bytes), PX_EINVAL);
    r = f.record;
    r.relays[0] = px_slice(url, sizeof(url));
    CHECK_ERR(px_record_sign(&f.identity, &r, &f.bytes), PX_EINVAL);
    r = f.record;
    r.addrs[1].family = PX_ADDR_NONE;
    CHECK_ERR(px_record_sign(&f.identity, &r, &f.bytes), PX_EINVAL);
    r = f.record;
    r.addr_count = PX_RECORD_ADDRS_MAX + 1;
    CHECK_ERR(px_record_sign(&f.identity, &r, &f.bytes), PX_EINVAL);
    px_buf_deinit(&f.bytes);
}

TEST(the_largest_record_fits_a_message)
{
    struct fixture f;
    struct px_record r;
    char name[PX_RELAY_NAME_MAX], space[PX_RELAY_NAMESPACE_MAX], url[PX_RECORD_URL_MAX];
    set_up(&f);
    memset(name, 'n', sizeof(name));
    memset(space, 's', sizeof(space));
    memset(url, 'u', sizeof(url));
    f.record.sequence = f.record.capabilities = UINT64_MAX;
    f.record.name = px_slice(name, sizeof(name));
    f.record.name_space = px_slice(space, sizeof(space));
    for (size_t i = 0; i < PX_RECORD_ADDRS_MAX; i++)
        f.record.addrs[i] = f.record.addrs[1];
    f.record.addr_count = PX_RECORD_ADDRS_MAX;
    f.record.relay_count = PX_RECORD_RELAYS_MAX;
    for (size_t i = 0; i < PX_RECORD_RELAYS_MAX; i++)
        f.record.relays[i] = px_slice(url, sizeof(url));
    CHECK_OK(px_record_sign(&f.identity, &f.record, &f.bytes));
    CHECK(f.bytes.len <= PX_RELAY_RECORD_MAX);
    CHECK_OK(px_record_verify(px_buf_slice(&f.bytes), &r));
    CHECK_INT(r.relay_count, PX_RECORD_RELAYS_MAX);
    px_buf_deinit(&f.bytes);
}

TEST(a_body_beyond_the_limit_is_not_looked_at)
{
    static const uint8_t body[PX_RECORD_MAX + 1], signature[64];
    struct px_record r;
    for (size_t over = 0; over < 2; over++) {
        struct px_buf b;
        px_buf_init(&b, PX_RECORD_MAX + 100);
        px_cbor_put_array(&b, 2);
        px_cbor_put_bytes(&b, px_slice(body, PX_RECORD_MAX + over));
        CHECK_OK(px_cbor_put_bytes(&b, px_slice(signature, sizeof(signature))));
        CHECK_ERR(px_record_verify(px_buf_slice(&b), &r), over ? PX_ELIMIT : PX_EPARSE);
        px_buf_deinit(&b);
    }
}
