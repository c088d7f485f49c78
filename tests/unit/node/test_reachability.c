/* Reachability on a virtual clock: what is asked where and when, and what the answers mean. Relays
 * are played by the test; each answers after 100 ms. */
#include "node/reachability.h"
#include "tests/test.h"

#define RELAYS 3

struct asked {
    struct px_addr addr;
    unsigned relay;
    bool pays;
    px_nsec at;
};

struct fixture {
    struct px_reach *r;
    px_nsec now;
    struct asked asked[64];
    size_t count;
    struct px_peer_id ids[RELAYS];
    struct asked open[RELAYS]; /* under way; no family: none */
    const char *reachable[4];  /* "RELAY ADDRESS" or "ADDRESS" for any relay */
    enum px_relay_status says; /* 0: OK or UNREACHABLE, as it is */
    unsigned changes;
    int err; /* of asking */
};

static struct px_addr addr(const char *text)
{
    struct px_addr a;
    CHECK_OK(px_addr_parse(px_slice_cstr(text), &a));
    return a;
}

static int on_probe(void *ctx, const struct px_peer_id *relay, const struct px_addr *a, bool pays)
{
    struct fixture *f = ctx;
    for (unsigned i = 0; i < RELAYS && f->err == 0; i++)
        if (px_peer_id_eq(relay, &f->ids[i])) {
            CHECK_INT(f->open[i].addr.family, PX_ADDR_NONE); /* one at a time */
            CHECK(f->count < PX_ARRAY_LEN(f->asked));
            f->open[i] = (struct asked){*a, i, pays, f->now};
            f->asked[f->count++] = f->open[i];
        }
    return f->err;
}

static void on_changed(void *ctx)
{
    ((struct fixture *)ctx)->changes++;
}

static const struct px_reach_ops ops = {on_probe, on_changed};

static void init(struct fixture *f)
{
    *f = (struct fixture){.now = 1000 * PX_SEC};
    for (unsigned i = 0; i < RELAYS; i++)
        f->ids[i].key[0] = (uint8_t)(i + 1);
    CHECK_OK(px_reach_new(&ops, f, f->now, &f->r));
}

static bool is_reachable(const struct fixture *f, const struct asked *q)
{
    char plain[PX_ADDR_TEXT_MAX], by[PX_ADDR_TEXT_MAX + 8];
    px_addr_format(&q->addr, plain);
    snprintf(by, sizeof(by), "%u %s", q->relay, plain);
    for (size_t i = 0; i < PX_ARRAY_LEN(f->reachable) && f->reachable[i] != NULL; i++)
        if (strcmp(f->reachable[i], plain) == 0 || strcmp(f->reachable[i], by) == 0)
            return true;
    return false;
}

static void answer(struct fixture *f, unsigned i)
{
    struct asked q = f->open[i];
    enum px_relay_status s = f->says != 0          ? f->says
                             : is_reachable(f, &q) ? PX_RELAY_OK
                                                   : PX_RELAY_UNREACHABLE;
    f->open[i] = (struct asked){0};
    px_reach_answer(f->r, &f->ids[i], s, f->now);
}

static void run(struct fixture *f, px_nsec time)
{
    for (px_nsec end = f->now + time; f->now < end; f->now += 50 * PX_MSEC) {
        for (unsigned i = 0; i < RELAYS; i++)
            if (f->open[i].addr.family != PX_ADDR_NONE && f->now >= f->open[i].at + 100 * PX_MSEC)
                answer(f, i);
        if (f->now >= px_reach_deadline(f->r))
            px_reach_run(f->r, f->now);
    }
}

/* Without a port the relay is connected by TLS. */
static void relay(struct fixture *f, unsigned i, const char *observed)
{
    struct px_addr remote, seen = {0};
    char text[PX_ADDR_TEXT_MAX];
    snprintf(text, sizeof(text), "198.51.100.%u:12307", i + 1);
    remote = addr(text);
    if (observed != NULL)
        seen = addr(observed);
    else
        px_addr_pipe(i + 1, &remote);
    px_reach_relay(f->r, &f->ids[i], &remote, &seen, f->now);
}

static void own(struct fixture *f, const char *a, const char *b, const char *c)
{
    const char *const texts[] = {a, b, c};
    struct px_addr list[3];
    size_t n = 0;
    for (size_t i = 0; i < 3; i++)
        if (texts[i] != NULL)
            list[n++] = addr(texts[i]);
    px_reach_set(f->r, PX_REACH_OWN, list, n, f->now);
}

static const char *verdict(const struct fixture *f)
{
    return px_reach_verdict_name(px_reach_verdict(f->r, PX_ADDR_NONE));
}

static const char *mapping(const struct fixture *f)
{
    const char *name = px_reach_mapping_name(px_reach_mapping(f->r));
    return name != NULL ? name : "unknown";
}

/* ---- what it means ---- */

TEST(the_verdict_says_what_the_relays_saw)
{
    static const struct {
        const char *own, *seen[2], *reachable, *verdict, *mapping;
    } cases[] = {
        {"203.0.113.5:12304", {"203.0.113.5:12304"}, "203.0.113.5:12304", "public", "none"},
        {"203.0.113.5:12304", {"203.0.113.5:12304"}, NULL, "firewalled", "none"},
        {"192.168.1.10:12304", {"203.0.113.5:12304"}, "203.0.113.5:12304", "mapped", "unknown"},
        {"192.168.1.10:12304", {"203.0.113.5:40000"}, NULL, "nat", "unknown"},
        {"192.168.1.10:12304", {"203.0.113.5:40000", "203.0.113.5:40000"}, NULL, "nat", "same"},
        {"192.168.1.10:12304", {"203.0.113.5:40000", "203.0.113.5:40001"}, NULL, "nat", "varies"},
        /* let in because its IP was spoken to: the other one, for which the mapping is not, knows
         */
        {"192.168.1.10:12304",
         {"203.0.113.5:40000", "203.0.113.5:40001"},
         "0 203.0.113.5:40000",
         "nat",
         "varies"},
        {"192.168.1.10:12304",
         {"203.0.113.5:40000", "203.0.113.5:40001"},
         "1 203.0.113.5:40000",
         "mapped",
         "varies"},
        {"192.168.1.10:12304", {"192.168.1.10:12304"}, "192.168.1.10:12304", "local", "none"},
        {"100.64.1.1:12304", {"203.0.113.5:9999"}, NULL, "nat", "unknown"},
        {"[2001:db8::5]:12304", {"[2001:db8::5]:12304"}, "[2001:db8::5]:12304", "public", "none"},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(cases); i++) {
        struct fixture f;
        init(&f);
        f.reachable[0] = cases[i].reachable;
        own(&f, cases[i].own, NULL, NULL);
        for (unsigned k = 0; k < 2 && cases[i].seen[k] != NULL; k++)
            relay(&f, k, cases[i].seen[k]);
        CHECK_STR(verdict(&f), strcmp(cases[i].verdict, "local") == 0 ? "local" : "unknown");
        CHECK(px_reach_busy(f.r));
        run(&f, 10 * PX_SEC);
        CHECK(!px_reach_busy(f.r));
        CHECK_STR(verdict(&f), cases[i].verdict);
        CHECK_STR(mapping(&f), cases[i].mapping);
        CHECK(f.changes > 0);
        px_reach_free(f.r);
    }
}

TEST(without_udp_the_verdict_is_blocked_and_without_a_relay_unknown)
{
    struct fixture f;
    init(&f);
    own(&f, "192.168.1.10:12304", NULL, NULL);
    run(&f, 3 * PX_SEC);
    CHECK_STR(verdict(&f), "unknown");
    relay(&f, 0, NULL);
    run(&f, 3 * PX_SEC);
    CHECK_STR(verdict(&f), "blocked");
    relay(&f, 1, "203.0.113.5:40000"); /* UDP does pass */
    run(&f, 3 * PX_SEC);
    CHECK_STR(verdict(&f), "nat");
    px_reach_relay_gone(f.r, &f.ids[1], f.now);
    run(&f, 3 * PX_SEC);
    CHECK_STR(verdict(&f), "blocked");
    px_reach_relay_gone(f.r, &f.ids[0], f.now);
    CHECK_STR(verdict(&f), "unknown");
    CHECK_INT(f.count, 1);
    px_reach_free(f.r);
}

TEST(each_ip_version_has_a_verdict_and_the_best_one_counts)
{
    struct fixture f;
    init(&f);
    f.reachable[0] = "[2001:db8::5]:12304";
    own(&f, "192.168.1.10:12304", "[2001:db8::5]:12304", NULL);
    relay(&f, 0, "203.0.113.5:40000");
    relay(&f, 1, "[2001:db8::5]:12304");
    run(&f, 5 * PX_SEC);
    CHECK_INT(px_reach_verdict(f.r, PX_ADDR_IP4), PX_REACH_V_NAT);
    CHECK_INT(px_reach_verdict(f.r, PX_ADDR_IP6), PX_REACH_V_PUBLIC);
    CHECK_STR(verdict(&f), "public");
    px_reach_free(f.r);
}

/* ---- what is paid for ---- */

TEST(only_global_addresses_are_paid_for_and_one_of_an_ip6_network)
{
    struct fixture f;
    init(&f);
    own(&f, "192.168.1.10:12304", "[2001:db8::5]:12304", "[2001:db8::6]:12304");
    relay(&f, 0, "203.0.113.5:40000");
    run(&f, 5 * PX_SEC);
    CHECK_INT(f.count, 2);
    unsigned paid = 0;
    for (size_t i = 0; i < f.count; i++) {
        paid += f.asked[i].pays;
        CHECK_INT(f.asked[i].pays, f.asked[i].addr.family == PX_ADDR_IP6);
    }
    CHECK_INT(paid, 1);
    /* the relay may have no IPv6 */
    struct px_addr six = addr("[2001:db8::5]:12304");
    CHECK_INT(px_reach_result(f.r, &six), PX_REACH_UNKNOWN);
    px_reach_free(f.r);
}

TEST(a_relay_in_the_own_network_is_not_paid)
{
    struct fixture f;
    init(&f);
    own(&f, "192.168.1.10:12304", "[2001:db8::5]:12304", NULL);
    relay(&f, 0, "192.168.1.10:12304");
    run(&f, 5 * PX_SEC);
    CHECK_INT(f.count, 1);
    CHECK(!f.asked[0].pays);
    px_reach_free(f.r);
}

TEST(what_is_paid_in_a_while_is_bounded)
{
    struct fixture f;
    init(&f);
    unsigned paid = 0;
    own(&f, "[2001:db8::5]:12304", NULL, NULL);
    relay(&f, 0, "203.0.113.5:40000");
    for (int i = 0; i < 10; i++) {
        px_reach_check(f.r, f.now);
        run(&f, 10 * PX_SEC);
    }
    for (size_t i = 0; i < f.count; i++)
        paid += f.asked[i].pays;
    CHECK_INT(paid, PX_REACH_PAID_MAX);
    CHECK(!px_reach_busy(f.r));
    px_reach_free(f.r);
}

/* ---- when ---- */

TEST(questions_come_after_changes_and_rarely_otherwise)
{
    struct fixture f;
    init(&f);
    own(&f, "192.168.1.10:12304", NULL, NULL);
    relay(&f, 0, "203.0.113.5:40000");
    px_reach_run(f.r, f.now);
    CHECK_INT(f.count, 0); /* the change may not be over */
    run(&f, 5 * PX_SEC);
    CHECK_INT(f.count, 1);
    run(&f, 600 * PX_SEC);
    CHECK_INT(f.count, 1);
    relay(&f, 0, "203.0.113.5:40000"); /* nothing new */
    run(&f, 10 * PX_SEC);
    CHECK_INT(f.count, 1);
    relay(&f, 0, "203.0.113.5:40009");
    run(&f, 10 * PX_SEC);
    CHECK_INT(f.count, 2);
    CHECK_INT(f.asked[1].addr.port, 40009);
    px_reach_network_changed(f.r, f.now);
    run(&f, 10 * PX_SEC);
    CHECK_INT(f.count, 3);
    px_reach_check(f.r, f.now);
    px_reach_run(f.r, f.now);
    CHECK_INT(f.count, 4); /* at once */
    run(&f, PX_REACH_AGAIN + 10 * PX_SEC);
    CHECK_INT(f.count, 5);
    px_reach_free(f.r);
}

TEST(a_relay_is_asked_one_at_a_time_and_not_oftener_than_it_allows)
{
    struct fixture f;
    init(&f);
    relay(&f, 0, "203.0.113.5:40000");
    for (int i = 0; i < 20; i++) {
        px_reach_check(f.r, f.now);
        run(&f, 500 * PX_MSEC);
    }
    CHECK(f.count <= 12);
    size_t before = f.count;
    px_reach_check(f.r, f.now);
    run(&f, 10 * PX_SEC);
    CHECK(f.count > before); /* goes on when it may */
    for (size_t i = 0; i + 12 < f.count; i++)
        CHECK(f.asked[i + 12].at - f.asked[i].at >= 60 * PX_SEC);
    px_reach_free(f.r);
}

TEST(in_the_long_run_a_relay_is_asked_as_often_as_that)
{
    struct fixture f;
    init(&f);
    relay(&f, 0, "203.0.113.5:40000");
    for (int i = 0; i < 4 * 60; i++) { /* four minutes of impatience */
        px_reach_check(f.r, f.now);
        run(&f, PX_SEC);
    }
    CHECK(f.count >= 4 * PX_REACH_PER_MINUTE);
    CHECK(f.count <= PX_REACH_BURST + 4 * PX_REACH_PER_MINUTE);
    px_reach_free(f.r);
}

TEST(a_relay_that_says_not_now_is_asked_again_later_and_not_for_ever)
{
    static const enum px_relay_status says[] = {
        PX_RELAY_RATE_LIMITED, PX_RELAY_RESOURCE_LIMIT_EXCEEDED, PX_RELAY_NO_ANSWER};
    for (size_t i = 0; i < PX_ARRAY_LEN(says); i++) {
        struct fixture f;
        init(&f);
        f.says = says[i];
        relay(&f, 0, "203.0.113.5:40000");
        run(&f, 2 * PX_SEC);
        CHECK_INT(f.count, 1);
        CHECK(px_reach_busy(f.r));
        run(&f, 300 * PX_SEC);
        CHECK_INT(f.count, PX_REACH_TRIES);
        CHECK(!px_reach_busy(f.r));
        CHECK_STR(verdict(&f), "unknown");
        px_reach_free(f.r);
    }
}

TEST(a_relay_that_refuses_an_address_gives_no_verdict)
{
    static const enum px_relay_status says[] = {PX_RELAY_PERMISSION_DENIED, PX_RELAY_DATA_NEEDED,
                                                PX_RELAY_INTERNAL};
    for (size_t i = 0; i < PX_ARRAY_LEN(says); i++) {
        struct fixture f;
        init(&f);
        f.says = says[i];
        relay(&f, 0, "203.0.113.5:40000");
        run(&f, 30 * PX_SEC);
        CHECK_INT(f.count, 1);
        CHECK(!px_reach_busy(f.r));
        CHECK_STR(verdict(&f), "unknown");
        px_reach_free(f.r);
    }
}

TEST(a_relay_that_goes_with_a_question_open_leaves_it_to_another)
{
    struct fixture f;
    init(&f);
    f.reachable[0] = "203.0.113.5:40000";
    relay(&f, 0, "203.0.113.5:40000");
    run(&f, 1050 * PX_MSEC);
    CHECK_INT(f.count, 1);
    relay(&f, 1, "203.0.113.5:40000");
    px_reach_relay_gone(f.r, &f.ids[0], f.now);
    f.open[0] = (struct asked){0};
    px_reach_answer(f.r, &f.ids[0], PX_RELAY_UNREACHABLE, f.now); /* too late */
    run(&f, 5 * PX_SEC);
    CHECK_INT(f.asked[f.count - 1].relay, 1);
    CHECK_STR(verdict(&f), "mapped");
    px_reach_free(f.r);
}

TEST(an_answer_about_an_address_that_went_is_for_nobody)
{
    struct fixture f;
    init(&f);
    f.reachable[0] = "203.0.113.5:40000";
    relay(&f, 0, "203.0.113.5:40000");
    run(&f, 1050 * PX_MSEC);
    CHECK_INT(f.count, 1);
    relay(&f, 0, "203.0.113.5:40001");
    run(&f, 5 * PX_SEC);
    CHECK_INT(px_reach_count(f.r), 1);
    CHECK_STR(verdict(&f), "nat");
    px_reach_free(f.r);
}

TEST(asking_that_fails_is_tried_again)
{
    struct fixture f;
    init(&f);
    f.err = PX_EBUSY;
    relay(&f, 0, "203.0.113.5:40000");
    run(&f, 1500 * PX_MSEC);
    f.err = 0;
    run(&f, 5 * PX_SEC);
    CHECK_INT(f.count, 1);
    CHECK_STR(verdict(&f), "nat");
    px_reach_free(f.r);
}

TEST(a_change_during_a_question_asks_again)
{
    struct fixture f;
    init(&f);
    relay(&f, 0, "203.0.113.5:40000");
    run(&f, 1050 * PX_MSEC);
    px_reach_network_changed(f.r, f.now);
    run(&f, 5 * PX_SEC);
    CHECK_INT(f.count, 2);
    px_reach_free(f.r);
}

TEST(addresses_and_relays_are_bounded_and_useless_ones_left_out)
{
    struct fixture f;
    struct px_addr list[PX_REACH_ADDRS_MAX + 5];
    struct px_reach_addr got;
    init(&f);
    for (size_t i = 0; i < PX_ARRAY_LEN(list); i++) {
        list[i] = addr("10.0.0.1:12304");
        list[i].ip[3] = (uint8_t)(i + 1);
    }
    px_reach_set(f.r, PX_REACH_OWN, list, PX_ARRAY_LEN(list), f.now);
    CHECK_INT(px_reach_count(f.r), PX_REACH_ADDRS_MAX);
    px_reach_set(f.r, PX_REACH_ANNOUNCED, list, 1, f.now);
    px_reach_get(f.r, 0, &got);
    CHECK_INT(got.sources, PX_REACH_OWN | PX_REACH_ANNOUNCED);
    px_reach_set(f.r, PX_REACH_OWN, NULL, 0, f.now);
    CHECK_INT(px_reach_count(f.r), 1);
    list[0] = addr("127.0.0.1:12304");
    list[1] = addr("10.0.0.1:12304");
    list[1].port = 0;
    px_reach_set(f.r, PX_REACH_ANNOUNCED, list, 2, f.now);
    CHECK_INT(px_reach_count(f.r), 0);
    for (uint8_t i = 0; i < PX_REACH_RELAYS_MAX + 3; i++) {
        struct px_peer_id id = {{0}};
        struct px_addr at = addr("198.51.100.1:12307"), seen = addr("203.0.113.5:40000");
        id.key[0] = (uint8_t)(100 + i);
        seen.port = (uint16_t)(40000 + i);
        px_reach_relay(f.r, &id, &at, &seen, f.now);
    }
    CHECK_INT(px_reach_count(f.r), PX_REACH_RELAYS_MAX);
    px_reach_free(f.r);
}

TEST(which_addresses_are_routed_on_the_internet)
{
    static const struct {
        const char *addr;
        bool global;
    } cases[] = {
        {"203.0.113.5:1", true}, {"10.1.1.1:1", false},    {"172.16.0.1:1", false},
        {"172.32.0.1:1", true},  {"192.168.0.1:1", false}, {"100.64.0.1:1", false},
        {"100.128.0.1:1", true}, {"169.254.1.1:1", false}, {"127.0.0.1:1", false},
        {"224.0.0.1:1", false},  {"0.0.0.1:1", false},     {"[2001:db8::1]:1", true},
        {"[fd00::1]:1", false},  {"[fe80::1]:1", false},   {"[::1]:1", false},
        {"[ff02::1]:1", false},
    };
    struct px_addr pipe;
    for (size_t i = 0; i < PX_ARRAY_LEN(cases); i++) {
        struct px_addr a = addr(cases[i].addr);
        CHECK_INT(px_reach_is_global(&a), cases[i].global);
    }
    px_addr_pipe(1, &pipe);
    CHECK(!px_reach_is_global(&pipe));
}
