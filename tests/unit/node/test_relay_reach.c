/* What node/relay_reach.c makes of the relays there are: who is asked, whose PROBE is heard, and
 * which addresses records name in which order. */
#include <stdlib.h>

#include "tests/unit/node/fake_relays.c"

static struct px_net_addr nets[32];
static size_t net_count;
static struct px_net_listener *listener;

const struct px_net_addr *px_net_monitor_addrs(const struct px_net_monitor *m, size_t *ret_count)
{
    (void)m;
    *ret_count = net_count;
    return nets;
}

void px_net_monitor_listen(struct px_net_monitor *m, struct px_net_listener *l)
{
    (void)m;
    listener = l;
}

void px_net_monitor_unlisten(struct px_net_monitor *m, struct px_net_listener *l)
{
    (void)m;
    CHECK(listener == l);
    listener = NULL;
}

static struct px_addr addr(const char *text)
{
    struct px_addr a;
    CHECK_OK(px_addr_parse(px_slice_cstr(text), &a));
    return a;
}

static void interface(const char *ip_port, bool loopback)
{
    nets[net_count] = (struct px_net_addr){.addr = addr(ip_port), .loopback = loopback};
    nets[net_count++].addr.port = 0;
}

/* Two relays that are connected; own addresses by `interface` before. */
static struct fake *start(void)
{
    static char monitor;
    struct fake *f = fake_start(2);
    px_relay_reach_free(f->set);
    f->set->config.monitor = (struct px_net_monitor *)(void *)&monitor;
    px_relay_reach_start(f->set);
    CHECK(listener != NULL);
    fake_reserve_all(f);
    return f;
}

static void observe(struct fake *f, size_t number, const char *text)
{
    const struct px_addr a = addr(text);
    struct px_relay *r = fake_relay(f, number);
    r->client->config.ops->observed(r, &a);
    px_relay_reach_look(f->set, f->now);
}

static void end(struct fake *f)
{
    px_relay_reach_stop(f->set);
    CHECK(listener == NULL);
    fake_end(f);
    net_count = 0;
}

/* Answers what is asked as `reachable` says, until nothing is. */
static void answer(struct fake *f, const char *reachable)
{
    char text[PX_ADDR_TEXT_MAX];
    for (int i = 0; i < 10; i++) {
        fake_wait(f, 2 * PX_SEC);
        for (size_t k = 0; k < f->probe_count; k++) {
            struct fake_probe *p = &f->probes[k];
            bool hit = strcmp(px_addr_format(&p->addr, text), reachable) == 0;
            if (!p->answered)
                fake_answer_probe(f, k, hit ? PX_RELAY_OK : PX_RELAY_UNREACHABLE);
        }
    }
    CHECK(!px_reach_busy(px_relays_reach(f->set)));
}

static const char *record(struct fake *f, size_t number, size_t cap)
{
    static char out[1024];
    struct px_addr list[PX_REACH_ADDRS_MAX];
    char text[PX_ADDR_TEXT_MAX];
    size_t n = px_relay_reach_addrs(fake_relay(f, number), list, cap);
    out[0] = '\0';
    for (size_t i = 0; i < n; i++)
        snprintf(out + strlen(out), sizeof(out) - strlen(out), "%s%s", i > 0 ? " " : "",
                 px_addr_format(&list[i], text));
    return out;
}

TEST(records_begin_with_what_is_reached_and_end_with_what_is_not)
{
    interface("127.0.0.1:1", true);
    interface("192.168.1.10:1", false);
    struct fake *f = start();
    observe(f, 1, "203.0.113.5:40000");
    CHECK_STR(record(f, 1, 16), "192.168.1.10:12304 203.0.113.5:40000");
    CHECK_STR(record(f, 2, 16), "192.168.1.10:12304"); /* which has not said what it sees */
    answer(f, "203.0.113.5:40000");
    CHECK_STR(record(f, 1, 16), "203.0.113.5:40000 192.168.1.10:12304");
    CHECK_STR(record(f, 2, 16), "203.0.113.5:40000 192.168.1.10:12304");
    px_relays_check_reach(f->set);
    answer(f, "");
    CHECK_STR(record(f, 1, 16), "192.168.1.10:12304 203.0.113.5:40000");
    CHECK_STR(record(f, 2, 16), "192.168.1.10:12304");
    end(f);
}

TEST(an_address_that_is_good_for_one_relay_alone_is_left_out)
{
    interface("192.168.1.10:1", false);
    struct fake *f = start();
    observe(f, 1, "203.0.113.5:40000");
    observe(f, 2, "203.0.113.5:40001");
    answer(f, "");
    CHECK_STR(record(f, 1, 16), "192.168.1.10:12304");
    CHECK_STR(record(f, 2, 16), "192.168.1.10:12304");
    end(f);
}

TEST(what_the_relay_sees_has_a_place_beside_many_interfaces)
{
    char text[32];
    for (int i = 1; i <= 30; i++) {
        snprintf(text, sizeof(text), "10.0.0.%d:1", i);
        interface(text, false);
    }
    struct fake *f = start();
    observe(f, 1, "203.0.113.5:40000");
    CHECK_STR(record(f, 1, 3), "10.0.0.1:12304 10.0.0.2:12304 203.0.113.5:40000");
    end(f);
}

TEST(new_addresses_are_asked_about_and_a_new_network_asks_all_again)
{
    interface("192.168.1.10:1", false);
    struct fake *f = start();
    observe(f, 1, "203.0.113.5:12304");
    answer(f, "");
    CHECK_INT(f->probe_count, 1);
    interface("203.0.113.5:1", false);
    listener->changed(listener->ctx, PX_NET_ADDRS); /* it is one that was asked about */
    answer(f, "203.0.113.5:12304");
    CHECK_INT(f->probe_count, 1);
    listener->changed(listener->ctx, PX_NET_ROUTES);
    answer(f, "203.0.113.5:12304");
    CHECK_INT(f->probe_count, 2);
    CHECK_INT(px_reach_verdict(px_relays_reach(f->set), PX_ADDR_NONE), PX_REACH_V_PUBLIC);
    end(f);
}

TEST(a_relay_that_is_lost_leaves_no_question_open)
{
    struct fake *f = start();
    observe(f, 1, "203.0.113.5:40000");
    fake_wait(f, 2 * PX_SEC);
    CHECK_INT(f->probe_count, 1);
    fake_down(f, 1, PX_ETIMEDOUT);
    px_relay_reach_look(f->set, f->now);
    fake_answer_probe(f, 0, PX_RELAY_NO_ANSWER); /* as the client does */
    CHECK_INT(px_reach_count(px_relays_reach(f->set)), 0);
    fake_wait(f, PX_DIAL_FIRST_PAUSE);
    fake_reserve(f, 1);
    observe(f, 1, "203.0.113.5:40002");
    answer(f, "203.0.113.5:40002");
    CHECK_STR(record(f, 1, 16), "203.0.113.5:40002");
    end(f);
}

TEST(data_that_follows_keeps_a_question_open_and_data_refused_does_not)
{
    interface("198.51.100.7:1", false); /* another IP than the observed one */
    struct fake *f = start();
    observe(f, 1, "203.0.113.5:40000");
    fake_wait(f, 2 * PX_SEC);
    CHECK(f->probes[0].pays);
    CHECK(fake_answer_probe(f, 0, PX_RELAY_DATA_NEEDED));
    fake_wait(f, 5 * PX_SEC);
    CHECK_INT(f->probe_count, 1);
    fake_answer_probe(f, 0, PX_RELAY_OK);
    fake_wait(f, 2 * PX_SEC);
    CHECK_INT(f->probe_count, 2);
    CHECK(!f->probes[1].pays);
    fake_answer_probe(f, 1, PX_RELAY_DATA_NEEDED);
    CHECK(!px_reach_busy(px_relays_reach(f->set)));
    px_relays_check_reach(f->set);
    fake_wait(f, 60 * PX_SEC);
    CHECK_INT(f->probe_count, 3); /* it goes on, when the relay has given up waiting */
    CHECK(px_reach_verdict(px_relays_reach(f->set), PX_ADDR_NONE) == PX_REACH_V_PUBLIC);
    end(f);
}

TEST(a_probe_packet_is_heard_from_everywhere_but_a_relays_own_address)
{
    static const uint8_t packet[PX_RELAY_PING_LEN] = {PX_RELAY_PROBE};
    struct fake *f = start();
    const struct px_addr other = addr("198.51.100.1:999");
    px_relay_reach_on_probe(f->set, &other, px_slice(packet, sizeof(packet)));
    CHECK_INT(f->packet_count, 2); /* each client looks for its probe */
    px_relay_reach_on_probe(f->set, &fake_relay(f, 1)->path.remote,
                            px_slice(packet, sizeof(packet)));
    CHECK_INT(f->packet_count, 2);
    end(f);
}
