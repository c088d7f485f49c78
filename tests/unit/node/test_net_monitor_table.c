/* The rtnetlink reader over what a kernel (Linux 6, x86-64) sent in a network namespace:
 * tests/vectors/netlink holds the datagrams of each step, one after the other, in this order. */
#include "node/net_monitor_table.h"

#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "tests/test.h"
#include "tests/vector.h"

static unsigned play(struct px_net_table *t, uint32_t seq, const char *name)
{
    char path[100];
    struct px_buf bytes;
    snprintf(path, sizeof(path), "netlink/%s", name);
    px_test_vector(path, &bytes);
    unsigned saw = px_net_table_input(t, seq, px_buf_slice(&bytes));
    px_buf_deinit(&bytes);
    return saw;
}

static struct px_net_table *dumped(void)
{
    struct px_net_table *t;
    CHECK_OK(px_net_table_new(&t));
    px_net_table_dump_begin(t);
    CHECK_INT(play(t, 1, "dump_links"), PX_NET_SAW_ADDRS | PX_NET_SAW_DONE);
    CHECK_INT(play(t, 2, "dump_addrs"), PX_NET_SAW_ADDRS | PX_NET_SAW_DONE);
    CHECK_INT(play(t, 3, "dump_routes"), PX_NET_SAW_ROUTES | PX_NET_SAW_DONE);
    CHECK_INT(px_net_table_dump_end(t), 0);
    return t;
}

static const struct px_net_addr *find(const struct px_net_table *t, const char *text)
{
    struct px_addr want;
    size_t n;
    const struct px_net_addr *all = px_net_table_addrs(t, &n);
    CHECK_OK(px_addr_parse(px_slice_cstr(text), &want));
    for (size_t i = 0; i < n; i++) {
        struct px_addr a = all[i].addr;
        a.scope = 0; /* the kernel's number; looked at where it matters */
        if (px_addr_eq(&a, &want))
            return &all[i];
    }
    return NULL;
}

static bool on_link(const struct px_net_table *t, const char *text)
{
    struct px_addr a;
    CHECK_OK(px_addr_parse(px_slice_cstr(text), &a));
    return px_net_table_on_link(t, &a);
}

TEST(a_dump_tells_the_addresses_of_interfaces_that_are_up)
{
    struct px_net_table *t = dumped();
    const struct px_net_addr *eth = find(t, "10.9.8.7:0"), *lo = find(t, "127.0.0.1:0"),
                             *tun = find(t, "10.8.0.1:0"), *global = find(t, "[2001:db8:1::5]:0");
    CHECK(eth != NULL && lo != NULL && tun != NULL && global != NULL);
    CHECK_STR(eth->ifname, "eth0");
    CHECK(eth->prefix == 22 && eth->multicast && eth->running && !eth->loopback);
    CHECK(!eth->point_to_point && eth->addr.scope == 0 && eth->ifindex > 0);
    CHECK(lo->loopback && !lo->multicast && !lo->point_to_point);
    CHECK_STR(tun->ifname, "tun0");
    CHECK(tun->point_to_point);
    CHECK(global->ifindex == eth->ifindex && global->prefix == 64);
    px_net_table_free(t);
}

TEST(link_local_addresses_carry_their_interface)
{
    struct px_net_table *t = dumped();
    size_t n, seen = 0;
    const struct px_net_addr *all = px_net_table_addrs(t, &n);
    for (size_t i = 0; i < n; i++) {
        if (all[i].addr.ip[0] != 0xfe)
            continue;
        CHECK_INT(all[i].addr.scope, all[i].ifindex);
        seen++;
    }
    CHECK(seen >= 2);
    px_net_table_free(t);
}

TEST(on_link_is_what_a_network_of_ours_covers)
{
    static const struct {
        const char *addr;
        bool on_link;
    } cases[] = {
        {"10.9.8.200:1", true},       {"10.9.11.255:1", true},   {"10.9.12.0:1", false},
        {"10.9.7.255:1", false},      {"127.1.2.3:1", true},     {"[::1]:1", true},
        {"[2001:db8:1::99]:1", true}, {"[fe80::7%2]:1", true},   {"[2001:db8:1:1::]:1", false},
        {"169.254.3.4:1", true},      {"198.51.100.1:1", false}, {"[2001:db8:2::1]:1", false},
        {"10.8.0.2:1", false}, /* behind a tunnel */
    };
    struct px_net_table *t = dumped();
    for (size_t i = 0; i < PX_ARRAY_LEN(cases); i++)
        if (on_link(t, cases[i].addr) != cases[i].on_link)
            px_test_fail(__FILE__, __LINE__, "%s", cases[i].addr);
    px_net_table_free(t);
}

TEST(each_change_is_told_as_what_it_is)
{
    struct px_net_table *t = dumped();
    CHECK(play(t, 0, "carrier_lost") & PX_NET_SAW_ADDRS);
    CHECK(!find(t, "10.9.8.7:0")->running);
    CHECK(play(t, 0, "carrier_back") & PX_NET_SAW_ADDRS);
    CHECK(find(t, "10.9.8.7:0")->running);
    CHECK(play(t, 0, "addr_gone") & PX_NET_SAW_ADDRS);
    CHECK(find(t, "10.9.8.7:0") == NULL && !on_link(t, "10.9.8.200:1"));
    CHECK(play(t, 0, "addr_new") & PX_NET_SAW_ADDRS);
    CHECK_INT(find(t, "192.168.4.2:0")->prefix, 24);
    CHECK(play(t, 0, "route_new") & PX_NET_SAW_ROUTES);
    CHECK_INT(play(t, 0, "route_other"), 0); /* not a default route */
    CHECK(play(t, 0, "link_down") & PX_NET_SAW_ADDRS);
    CHECK(find(t, "192.168.4.2:0") == NULL && !on_link(t, "192.168.4.9:1"));
    CHECK(play(t, 0, "link_gone") & PX_NET_SAW_ADDRS);
    CHECK(find(t, "127.0.0.1:0") != NULL);
    px_net_table_free(t);
}

TEST(an_address_counts_once_it_is_known_to_be_ours_alone)
{
    struct px_net_table *t = dumped();
    (void)play(t, 0, "addr_tentative");
    CHECK(find(t, "[2001:db8:2::9]:0") == NULL);
    CHECK(play(t, 0, "addr_dad_done") & PX_NET_SAW_ADDRS);
    CHECK(find(t, "[2001:db8:2::9]:0") != NULL);
    px_net_table_free(t);
}

TEST(a_port_that_leaves_its_bridge_stays_a_link)
{
    struct px_net_table *t = dumped();
    (void)play(t, 0, "bridge_port");
    CHECK(find(t, "10.9.8.7:0") != NULL);
    px_net_table_free(t);
}

TEST(what_is_told_again_is_no_change)
{
    struct px_net_table *t = dumped();
    CHECK_INT(play(t, 0, "dump_links"), 0);
    CHECK_INT(play(t, 0, "dump_addrs"), 0);
    CHECK_INT(play(t, 0, "dump_routes"), 0);
    px_net_table_free(t);
}

TEST(a_new_dump_drops_what_it_does_not_tell)
{
    struct px_net_table *t = dumped();
    (void)play(t, 0, "addr_new");
    px_net_table_dump_begin(t);
    (void)play(t, 4, "dump_links");
    (void)play(t, 5, "dump_addrs");
    CHECK_INT(px_net_table_dump_end(t), PX_NET_SAW_ADDRS | PX_NET_SAW_ROUTES);
    CHECK(find(t, "192.168.4.2:0") == NULL && find(t, "10.9.8.7:0") != NULL);
    px_net_table_free(t);
}

TEST(a_dump_that_was_disturbed_or_refused_is_told)
{
    struct {
        struct nlmsghdr head;
        int32_t error;
    } m = {.head = {.nlmsg_len = sizeof(m), .nlmsg_seq = 7}};
    struct px_net_table *t = dumped();
    m.head.nlmsg_type = NLMSG_DONE;
    CHECK_INT(px_net_table_input(t, 7, px_slice(&m, sizeof(m))), PX_NET_SAW_DONE);
    CHECK_INT(px_net_table_input(t, 8, px_slice(&m, sizeof(m))), 0); /* of another request */
    m.head.nlmsg_flags = NLM_F_DUMP_INTR;
    CHECK_INT(px_net_table_input(t, 7, px_slice(&m, sizeof(m))),
              PX_NET_SAW_DONE | PX_NET_SAW_AGAIN);
    m.head.nlmsg_type = NLMSG_ERROR;
    CHECK_INT(px_net_table_input(t, 7, px_slice(&m, sizeof(m))), PX_NET_SAW_REFUSE);
    px_net_table_free(t);
}

TEST(every_truncation_is_survived)
{
    static const char *const names[] = {"dump_links", "dump_addrs", "dump_routes", "link_gone"};
    for (size_t i = 0; i < PX_ARRAY_LEN(names); i++) {
        char path[100];
        struct px_buf bytes;
        snprintf(path, sizeof(path), "netlink/%s", names[i]);
        px_test_vector(path, &bytes);
        struct px_net_table *t = dumped();
        for (size_t n = 0; n < bytes.len; n += 1 + n / 64)
            (void)px_net_table_input(t, 0, px_slice(bytes.data, n));
        px_net_table_free(t);
        px_buf_deinit(&bytes);
    }
}

static unsigned add_address(struct px_net_table *t, uint32_t link, uint32_t number)
{
    struct {
        struct nlmsghdr head;
        struct ifaddrmsg info;
        struct rtattr attr;
        uint32_t ip;
    } m = {.head = {.nlmsg_len = sizeof(m), .nlmsg_type = RTM_NEWADDR},
           .info = {.ifa_family = AF_INET, .ifa_prefixlen = 8, .ifa_index = link},
           .attr = {sizeof(m.attr) + sizeof(m.ip), IFA_LOCAL},
           .ip = number};
    return px_net_table_input(t, 0, px_slice(&m, sizeof(m)));
}

static unsigned add_link(struct px_net_table *t, int index)
{
    struct {
        struct nlmsghdr head;
        struct ifinfomsg info;
    } m = {.head = {.nlmsg_len = sizeof(m), .nlmsg_type = RTM_NEWLINK},
           .info = {.ifi_index = index, .ifi_flags = 1}};
    return px_net_table_input(t, 0, px_slice(&m, sizeof(m)));
}

TEST(the_numbers_of_addresses_and_links_are_bounded)
{
    struct px_net_table *t;
    size_t n;
    CHECK_OK(px_net_table_new(&t));
    for (int i = 1; i <= PX_NET_LINKS_MAX; i++)
        CHECK_INT(add_link(t, i), PX_NET_SAW_ADDRS);
    CHECK_INT(add_link(t, PX_NET_LINKS_MAX + 1), PX_NET_SAW_LIMIT);
    for (uint32_t i = 0; i < PX_NET_ADDRS_MAX; i++)
        CHECK_INT(add_address(t, 1, i), PX_NET_SAW_ADDRS);
    CHECK_INT(add_address(t, 1, PX_NET_ADDRS_MAX), PX_NET_SAW_LIMIT);
    (void)px_net_table_addrs(t, &n);
    CHECK_INT(n, PX_NET_ADDRS_MAX);
    px_net_table_free(t);
}

static unsigned put_default_route(struct px_net_table *t, uint32_t priority, uint16_t type)
{
    struct {
        struct nlmsghdr head;
        struct rtmsg info;
        struct rtattr attr;
        uint32_t priority;
    } m = {.head = {.nlmsg_len = sizeof(m), .nlmsg_type = type},
           .info = {.rtm_family = AF_INET, .rtm_type = RTN_UNICAST},
           .attr = {sizeof(m.attr) + sizeof(m.priority), RTA_PRIORITY},
           .priority = priority};
    return px_net_table_input(t, 0, px_slice(&m, sizeof(m)));
}

TEST(default_routes_beyond_the_limit_go_unnoticed)
{
    struct px_net_table *t;
    CHECK_OK(px_net_table_new(&t));
    for (uint32_t i = 0; i < PX_NET_ROUTES_MAX; i++)
        CHECK_INT(put_default_route(t, i, RTM_NEWROUTE), PX_NET_SAW_ROUTES);
    CHECK_INT(put_default_route(t, PX_NET_ROUTES_MAX, RTM_NEWROUTE), 0);
    CHECK_INT(put_default_route(t, PX_NET_ROUTES_MAX, RTM_DELROUTE), 0);
    CHECK_INT(put_default_route(t, 0, RTM_DELROUTE), PX_NET_SAW_ROUTES);
    CHECK_INT(put_default_route(t, PX_NET_ROUTES_MAX, RTM_NEWROUTE), PX_NET_SAW_ROUTES);
    px_net_table_free(t);
}

TEST(sleep_is_what_one_clock_counts_and_the_other_does_not)
{
    static const struct {
        px_nsec boottime, monotonic;
        bool resumed;
    } steps[] = {
        {100 * PX_SEC, 90 * PX_SEC, false}, /* slept before we started */
        {105 * PX_SEC, 95 * PX_SEC, false}, /* awake */
        {107 * PX_SEC, 96 * PX_SEC, false}, /* 1 s: too short to matter */
        {109 * PX_SEC, 97 * PX_SEC, true},  /* another: 2 s in all */
        {110 * PX_SEC, 98 * PX_SEC, false}, /* told once */
        {9000 * PX_SEC, 99 * PX_SEC, true}, /* a night */
        {50 * PX_SEC, 100 * PX_SEC, false}, /* nonsense */
        {9003 * PX_SEC, 102 * PX_SEC, false},
    };
    struct px_net_sleep s = {0};
    for (size_t i = 0; i < PX_ARRAY_LEN(steps); i++)
        CHECK_INT(px_net_sleep_check(&s, steps[i].boottime, steps[i].monotonic), steps[i].resumed);
}
