/* STATE/network-names and STATE/relay-owed from any bytes: what reads is bounded, writes and reads
 * back as the same text; a copied record is one whose signature stands. */
#include "node/net_names.h"
#include "node/relay_owed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define NOW 1000000

static void write_names(struct px_slice text, struct px_buf *out)
{
    struct px_net_names *n;
    size_t bad;
    int err = px_net_names_new(&n);
    px_assert(err == 0);
    err = px_net_names_read(n, text, NOW, &bad);
    px_assert(err == 0 && px_net_names_count(n) <= PX_NET_NAMES_MAX);
    for (size_t i = 0; i < px_net_names_count(n); i++)
        px_assert(px_net_name_valid(px_slice_cstr(px_net_names_at(n, i)->text)));
    px_assert(px_net_names_write(n, NOW, out) == 0);
    px_net_names_free(n);
}

static void write_owed(struct px_slice text, struct px_buf *out)
{
    struct px_relay_owed *o;
    struct px_relay_order order = {.ticket = 0};
    static const struct px_peer_id relay;
    size_t bad, count = 0;
    int err = px_relay_owed_new(&o);
    px_assert(err == 0);
    px_relay_owed_read(o, text, NOW, &bad);
    while (px_relay_owed_next(o, &relay, order.ticket, NOW, &order))
        count++;
    px_assert(count <= PX_RELAY_OWED_INVITES + PX_RELAY_OWED_VOUCHES);
    px_assert(px_relay_owed_write(o, out) == 0);
    px_relay_owed_free(o);
}

static void check_twice(struct px_slice text, size_t max,
                        void (*write)(struct px_slice text, struct px_buf *out))
{
    struct px_buf once, twice;
    px_buf_init(&once, max);
    px_buf_init(&twice, max);
    write(text, &once);
    write(px_buf_slice(&once), &twice);
    px_assert(px_slice_eq(px_buf_slice(&once), px_buf_slice(&twice)));
    px_buf_deinit(&once);
    px_buf_deinit(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (px_crypto_init() != 0)
        return 0;
    check_twice(px_slice(data, len), PX_NET_NAMES_FILE_MAX, write_names);
    check_twice(px_slice(data, len), PX_RELAY_OWED_FILE_MAX, write_owed);
    return 0;
}
