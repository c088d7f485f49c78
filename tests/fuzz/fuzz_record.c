/* Signed records as strangers send them, and the record inside with a signature that stands. */
#include "relay/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void fill(void *ctx, void *buf, size_t len)
{
    (void)ctx;
    memset(buf, 7, len);
}

/* What verifies can be signed again by anyone, and then says the same. */
static void check(const struct px_record *r)
{
    const struct px_rng rng = {fill, NULL};
    struct px_identity identity;
    struct px_record again;
    struct px_buf out;
    px_identity_generate(&rng, &identity);
    px_buf_init(&out, 4096);
    int err = px_record_sign(&identity, r, &out);
    px_assert(err == 0 || err == PX_ELIMIT);
    if (err == 0) {
        err = px_record_verify(px_buf_slice(&out), &again);
        px_assert(err == 0 && again.sequence == r->sequence && again.addr_count == r->addr_count &&
                  px_slice_eq(again.name, r->name));
        out.data[out.len - 1] ^= 1;
        px_assert(px_record_verify(px_buf_slice(&out), &again) == PX_ECRYPTO);
    }
    px_buf_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct px_record r;
    if (px_crypto_init() == 0 && px_record_verify(px_slice(data, len), &r) == 0)
        check(&r);
    /* the parts of a record from the input, since signatures cannot be guessed */
    if (len < 12)
        return 0;
    struct px_slice rest = px_slice(data + 12, len - 12);
    r = (struct px_record){.sequence = data[0], .capabilities = data[1]};
    r.name_space = px_slice_take(rest, 1 + data[2] % PX_RELAY_NAMESPACE_MAX);
    r.name = px_slice_take(rest, data[3] % PX_RELAY_NAME_MAX);
    r.addr_count = data[4] % (PX_RECORD_ADDRS_MAX + 1);
    r.relay_count = data[5] % (PX_RECORD_RELAYS_MAX + 1);
    for (size_t i = 0; i < r.addr_count; i++)
        r.addrs[i] = (struct px_addr){.family = PX_ADDR_IP4, .port = data[6]};
    for (size_t i = 0; i < r.relay_count; i++)
        r.relays[i] = px_slice_take(rest, 1 + data[7] % PX_RECORD_URL_MAX);
    struct px_identity identity;
    struct px_record back;
    struct px_buf out;
    const struct px_rng rng = {fill, NULL};
    px_identity_generate(&rng, &identity);
    px_buf_init(&out, 4096);
    if (px_record_sign(&identity, &r, &out) == 0) {
        int err = px_record_verify(px_buf_slice(&out), &back);
        px_assert(err == 0 && px_slice_eq(back.name_space, r.name_space));
    }
    px_buf_deinit(&out);
    return 0;
}
