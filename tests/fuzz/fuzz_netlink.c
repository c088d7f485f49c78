/* The rtnetlink reader: any bytes leave a table whose addresses belong to interfaces, have prefixes
 * that fit, and are on link; a dump that tells nothing empties it. */
#include "node/net_monitor_table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_table(const struct px_net_table *t)
{
    size_t n;
    const struct px_net_addr *all = px_net_table_addrs(t, &n);
    px_assert(n <= PX_NET_ADDRS_MAX);
    for (size_t i = 0; i < n; i++) {
        px_assert(all[i].addr.family == PX_ADDR_IP4 || all[i].addr.family == PX_ADDR_IP6);
        px_assert(all[i].prefix <= (all[i].addr.family == PX_ADDR_IP4 ? 32 : 128));
        px_assert(all[i].ifindex > 0 && memchr(all[i].ifname, 0, sizeof(all[i].ifname)) != NULL);
        if (!all[i].point_to_point && all[i].prefix > 0)
            px_assert(px_net_table_on_link(t, &all[i].addr));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct px_net_table *t;
    size_t n;
    if (px_net_table_new(&t) != 0)
        return 0;
    px_net_table_dump_begin(t);
    (void)px_net_table_input(t, 1, px_slice(data, len));
    check_table(t);
    (void)px_net_table_input(t, 1, px_slice(data, len));
    check_table(t);
    px_assert(px_net_table_dump_end(t) == 0);
    px_net_table_dump_begin(t);
    (void)px_net_table_dump_end(t);
    (void)px_net_table_addrs(t, &n);
    px_assert(n == 0);
    px_net_table_free(t);
    return 0;
}
