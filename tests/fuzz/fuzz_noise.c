/* Foreign bytes at each step of the handshake: they are never accepted where there is something to
 * authenticate them, and a refused message changes nothing: the right one still works after it.
 *
 * Input: two bytes (which message, how it is made), then the bytes. Keys and ephemerals are fixed.
 */
#include "auth/noise.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void fill(void *ctx, void *buf, size_t len)
{
    memset(buf, *(const uint8_t *)ctx, len);
}

struct pair {
    uint8_t seed[2];
    struct px_rng rng[2];
    struct px_noise *n[2];
    struct px_buf msg, payload;
};

static void pair_open(struct pair *p)
{
    for (unsigned i = 0; i < 2; i++) {
        struct px_x25519_secret s = {{(uint8_t)(i + 1)}};
        p->seed[i] = (uint8_t)(0x11 * (i + 1));
        p->rng[i] = (struct px_rng){fill, &p->seed[i]};
        px_assert(px_noise_new(i == 0 ? PX_NOISE_INITIATOR : PX_NOISE_RESPONDER,
                               PX_SLICE_LIT("fuzz"), &s, &p->rng[i], &p->n[i]) == 0);
    }
    px_buf_init(&p->msg, PX_NOISE_MSG_MAX);
    px_buf_init(&p->payload, PX_NOISE_MSG_MAX);
}

static void pair_close(struct pair *p)
{
    px_noise_free(p->n[0]);
    px_noise_free(p->n[1]);
    px_buf_deinit(&p->msg);
    px_buf_deinit(&p->payload);
}

static void write_next(struct pair *p, int i)
{
    px_buf_clear(&p->msg);
    px_buf_clear(&p->payload);
    px_assert(px_noise_write(p->n[i % 2], PX_SLICE_LIT("payload"), &p->msg) == 0);
}

static void read_next(struct pair *p, int i)
{
    px_assert(px_noise_read(p->n[(i + 1) % 2], px_buf_slice(&p->msg), &p->payload) == 0);
    px_assert(px_slice_eq_cstr(px_buf_slice(&p->payload), "payload"));
}

/* The right message xored with the input from some place on, cut or not; or the input alone. */
static void make_bad(const struct px_buf *good, uint8_t how, struct px_slice in, struct px_buf *bad)
{
    size_t at = how >> 2;
    if ((how & 1) == 0) {
        px_assert(px_buf_put(bad, in) == 0);
        return;
    }
    px_assert(px_buf_put(bad, px_buf_slice(good)) == 0);
    for (size_t i = 0; i < in.len && i + at < bad->len; i++)
        bad->data[i + at] ^= in.data[i];
    if ((how & 2) != 0)
        bad->len = PX_MIN(bad->len, in.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct pair p;
    struct px_buf bad;
    uint8_t before[PX_HASH_LEN];
    if (len < 2 || len > 4096)
        return 0;
    int target = data[0] % 3;
    pair_open(&p);
    px_buf_init(&bad, PX_NOISE_MSG_MAX);
    for (int i = 0; i < target; i++) {
        write_next(&p, i);
        read_next(&p, i);
    }
    write_next(&p, target);
    make_bad(&p.msg, data[1], px_slice(data + 2, len - 2), &bad);
    struct px_noise *reader = p.n[(target + 1) % 2];
    memcpy(before, px_noise_hash(reader), sizeof(before));
    int err = px_noise_read(reader, px_buf_slice(&bad), &p.payload);
    if (err != 0) {
        px_assert(err == PX_ETRUNC || err == PX_ECRYPTO);
        px_assert(memcmp(before, px_noise_hash(reader), sizeof(before)) == 0);
        px_assert(p.payload.len == 0 && px_noise_next_message(reader) == target + 1);
        read_next(&p, target);
        for (int i = target + 1; i < 3; i++) {
            write_next(&p, i);
            read_next(&p, i);
        }
        px_assert(px_noise_done(p.n[0]) && px_noise_done(p.n[1]));
    } else {
        px_assert(target == 0 || px_slice_eq(px_buf_slice(&bad), px_buf_slice(&p.msg)));
    }
    px_buf_deinit(&bad);
    pair_close(&p);
    return 0;
}
