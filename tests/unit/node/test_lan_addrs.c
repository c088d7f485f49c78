/* Which addresses are announced on their links, and how many at most. */
#include "node/lan_addrs.h"

#include "tests/test.h"

#define MANY (PX_LAN_ADDRS_MAX + 10)

static struct px_net_addr all[MANY];

static struct px_lan_addrs pick(size_t count, const char *local, bool loopback)
{
    struct px_lan_addrs picked;
    struct px_addr at;
    CHECK_OK(px_addr_parse(px_slice_cstr(local), &at));
    px_lan_addrs_pick(all, count, &at, loopback, &picked);
    return picked;
}

/* Address 10.0.0.n on each; `per` of them to an interface. */
static void set_up(size_t per)
{
    memset(all, 0, sizeof(all));
    for (size_t i = 0; i < MANY; i++) {
        all[i].addr = (struct px_addr){.family = PX_ADDR_IP4, .ip = {10, 0, 0, (uint8_t)i}};
        all[i].ifindex = (unsigned)(i / per + 1);
        all[i].multicast = all[i].running = true;
    }
}

TEST(so_many_addresses_are_announced)
{
    set_up(MANY);
    CHECK_INT(pick(PX_LAN_ADDRS_MAX - 1, "0.0.0.0:5", false).count, PX_LAN_ADDRS_MAX - 1);
    CHECK_INT(pick(PX_LAN_ADDRS_MAX, "0.0.0.0:5", false).count, PX_LAN_ADDRS_MAX);
    struct px_lan_addrs picked = pick(MANY, "0.0.0.0:5", false);
    CHECK_INT(picked.count, PX_LAN_ADDRS_MAX);
    CHECK_INT(picked.all[PX_LAN_ADDRS_MAX - 1].addr.ip[3], PX_LAN_ADDRS_MAX - 1);
}

TEST(so_many_interfaces_take_part_and_all_their_addresses)
{
    set_up(2);
    struct px_lan_addrs picked = pick(MANY, "0.0.0.0:5", false);
    CHECK_INT(picked.count, 2 * PX_LAN_INTERFACES_MAX);
    CHECK_INT(picked.all[picked.count - 1].ifindex, PX_LAN_INTERFACES_MAX);
}

TEST(links_that_carry_no_multicast_and_addresses_we_do_not_listen_on_are_left_out)
{
    set_up(1);
    all[0].loopback = true;
    all[1].multicast = false;
    all[2].running = false;
    all[3].point_to_point = true;
    CHECK_INT(pick(5, "0.0.0.0:5", false).count, 1);
    CHECK_INT(pick(5, "0.0.0.0:5", true).count, 1);
    CHECK_INT(pick(5, "10.0.0.4:5", false).all[0].addr.ip[3], 4);
    CHECK_INT(pick(5, "10.0.0.9:5", false).count, 0);
}
