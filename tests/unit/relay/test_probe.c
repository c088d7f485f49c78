/* Dial-back (docs/spec/relay.md §6) between the server and the client core: who pays, what is
 * answered, and what liars and third parties can do. */
#include "tests/unit/relay/relay_bed.h"

static struct px_relay_msg probe_of(const struct px_addr *a)
{
    return (struct px_relay_msg){.type = PX_RELAY_MSG_PROBE, .address = *a};
}

static struct px_addr addr(const char *text)
{
    struct px_addr a;
    CHECK_OK(px_addr_parse(px_slice_cstr(text), &a));
    return a;
}

/* Frames of a type on their way to the server, and their padding. */
static unsigned on_way(const struct bed *b, enum px_relay_msg_type type, size_t *ret_padding)
{
    unsigned n = 0;
    *ret_padding = 0;
    for (const struct event *e = b->first; e != NULL; e = e->next) {
        struct px_relay_msg m;
        if (e->kind != TO_SERVER)
            continue;
        CHECK_OK(px_relay_msg_decode(px_slice(e->data, e->len), &m));
        n += m.type == type;
        *ret_padding += m.type == PX_RELAY_MSG_PADDING ? m.padding.len : 0;
    }
    return n;
}

static bool hear_probe(struct node *n, uint8_t nonce)
{
    static const struct px_relay_leg_id none;
    struct px_relay_nonce value;
    uint8_t packet[PX_RELAY_PING_LEN];
    memset(value.bytes, nonce, sizeof(value.bytes));
    px_relay_ping_put(packet, PX_RELAY_PROBE, &none, &value);
    return px_relay_client_packet(n->client, px_slice(packet, sizeof(packet)), n->bed->now);
}

TEST(dial_back_tells_whether_an_address_is_reached)
{
    struct bed b;
    bed_init(&b, false);
    struct node *a = bed_member(&b);
    CHECK(px_addr_eq(&a->observed, &a->addr));
    CHECK_INT(bed_ask(a, probe_of(&a->addr)), PX_RELAY_OK);
    b.probes_arrive = false;
    b.probes = 0;
    CHECK_INT(bed_ask(a, probe_of(&a->addr)), 0);
    CHECK_INT(b.probes, 1);
    bed_run(&b, 2 * PX_SEC);
    CHECK_INT(b.probes, 3);
    bed_run(&b, 2 * PX_SEC);
    CHECK_INT(a->replied, PX_RELAY_UNREACHABLE);
    bed_end(&b);
}

TEST(another_port_of_the_observed_ip_is_free)
{
    struct bed b;
    bed_init(&b, false);
    struct node *a = bed_member(&b);
    struct px_addr other = a->addr;
    other.port++;
    CHECK_INT(bed_ask(a, probe_of(&other)), 0);
    CHECK_INT(b.probes, 1);
    bed_end(&b);
}

TEST(an_address_of_somebody_else_costs_30_kb_first)
{
    struct bed b;
    size_t padding, all = 0;
    bed_init(&b, false);
    struct node *a = bed_member(&b), *victim = bed_member(&b);
    CHECK_OK(px_relay_client_probe(a->client, &victim->addr, true, NULL, b.now));
    bed_settle(&b);
    CHECK_INT(a->replied, PX_RELAY_DATA_NEEDED);
    CHECK_INT(b.probes, 0); /* the first frame is not all of it */
    all = PX_RELAY_PADDING_MAX;
    for (int i = 0; i < 100 && b.probes == 0; i++) {
        b.now += PX_RELAY_PADDING_GAP / 2;
        px_relay_client_run(a->client, b.now);
        CHECK(on_way(&b, PX_RELAY_MSG_PADDING, &padding) <= 1); /* paced */
        all += padding;
        bed_settle(&b);
        CHECK_INT(b.probes, all >= PX_RELAY_PROBE_DATA);
    }
    CHECK_INT(all, PX_RELAY_PROBE_DATA);
    /* the nonce reached the other node, which asked for nothing */
    bed_run(&b, 4 * PX_SEC);
    CHECK_INT(a->replied, PX_RELAY_UNREACHABLE);
    CHECK_INT(b.probes, 3);
    bed_end(&b);
}

TEST(who_does_not_pay_gets_no_probe)
{
    struct bed b;
    bed_init(&b, false);
    struct node *a = bed_member(&b), *victim = bed_member(&b);
    CHECK_OK(px_relay_client_probe(a->client, &victim->addr, false, NULL, b.now));
    bed_settle(&b);
    CHECK_INT(a->replied, PX_RELAY_DATA_NEEDED);
    CHECK_INT(a->replies, 1);
    /* one at a time: the relay waits for the data for 20 s */
    CHECK_INT(bed_ask(a, probe_of(&a->addr)), PX_RELAY_RESOURCE_LIMIT_EXCEEDED);
    bed_run(&b, PX_RELAY_PROBE_DATA_TIME + PX_SEC);
    CHECK_INT(b.probes, 0);
    CHECK_INT(bed_ask(a, probe_of(&a->addr)), PX_RELAY_OK);
    bed_end(&b);
}

static enum px_relay_status to_server(struct node *n, struct px_relay_msg m)
{
    struct px_buf out;
    px_buf_init(&out, 8192);
    CHECK_OK(px_relay_msg_put(&out, &m));
    px_relay_session_input(n->session, px_buf_slice(&out), n->bed->now);
    px_buf_deinit(&out);
    bed_settle(n->bed);
    return n->replied;
}

TEST(padding_that_is_one_byte_short_or_of_another_probe_does_not_count)
{
    static uint8_t zeros[PX_RELAY_PADDING_MAX];
    struct bed b;
    bed_init(&b, false);
    struct node *a = bed_member(&b), *victim = bed_member(&b);
    struct px_relay_msg probe = probe_of(&victim->addr);
    struct px_relay_msg pad = {.type = PX_RELAY_MSG_PADDING, .padding = px_slice(zeros, 4000)};
    probe.request = pad.request = 77;
    to_server(a, probe);
    for (int i = 0; i < 7; i++)
        to_server(a, pad);
    pad.padding.len = 1999;
    to_server(a, pad);
    CHECK_INT(b.probes, 0);
    pad.request = 78;
    to_server(a, pad);
    CHECK_INT(b.probes, 0);
    pad.request = 77;
    pad.padding.len = 1;
    to_server(a, pad);
    CHECK_INT(b.probes, 1);
    bed_end(&b);
}

TEST(addresses_that_are_nobodys_business_are_not_probed)
{
    static const char *const bad[] = {"127.0.0.1:5000",       "0.0.0.0:5000",   "224.0.0.1:5000",
                                      "255.255.255.255:5000", "10.0.0.1:53",    "10.0.0.1:1023",
                                      "169.254.1.1:5000",     "192.0.2.1:5000", "[::1]:5000",
                                      "[ff02::1]:5000",       "[fe80::1]:5000", "[::]:5000"};
    struct bed b;
    bed_init(&b, false);
    struct node *a = bed_member(&b);
    for (size_t i = 0; i < PX_ARRAY_LEN(bad); i++) {
        struct px_addr x = addr(bad[i]);
        CHECK_INT(bed_ask(a, probe_of(&x)), PX_RELAY_PERMISSION_DENIED);
    }
    CHECK_INT(b.probes, 0);
    bed_end(&b);
}

TEST(an_ip4_address_in_the_clothes_of_ip6_is_not_probed_either)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};
    static const uint8_t none[12];
    static const uint8_t *const prefixes[] = {mapped, nat64, none};
    struct bed b;
    bed_init(&b, false);
    struct node *a = bed_member(&b);
    for (size_t i = 0; i < PX_ARRAY_LEN(prefixes); i++) {
        struct px_addr x = {.ip = {[12] = 127, [15] = 1}, .family = PX_ADDR_IP6, .port = 5000};
        memcpy(x.ip, prefixes[i], 12);
        CHECK_INT(bed_ask(a, probe_of(&x)), PX_RELAY_PERMISSION_DENIED);
    }
    CHECK_INT(b.probes, 0);
    bed_end(&b);
}

TEST(a_node_has_twelve_probes_a_minute_and_one_at_a_time)
{
    struct bed b;
    bed_init(&b, false);
    struct node *a = bed_member(&b), *c = bed_member(&b);
    for (int i = 0; i < PX_RELAY_PROBES_PER_MINUTE; i++)
        CHECK_INT(bed_ask(a, probe_of(&a->addr)), PX_RELAY_OK);
    CHECK_INT(bed_ask(a, probe_of(&a->addr)), PX_RELAY_RATE_LIMITED);
    CHECK_INT(bed_ask(c, probe_of(&c->addr)), PX_RELAY_OK); /* others have their own */
    bed_run(&b, 6 * PX_SEC);
    CHECK_INT(bed_ask(a, probe_of(&a->addr)), PX_RELAY_OK);
    b.probes_arrive = false;
    bed_run(&b, 10 * PX_SEC);
    CHECK_INT(bed_ask(a, probe_of(&a->addr)), 0);
    CHECK_INT(bed_ask(a, probe_of(&a->addr)), PX_RELAY_RESOURCE_LIMIT_EXCEEDED);
    bed_run(&b, 4 * PX_SEC);
    CHECK_INT(a->replied, PX_RELAY_UNREACHABLE);
    bed_end(&b);
}

TEST(a_wrong_nonce_neither_proves_nor_ends_a_probe)
{
    struct bed b;
    bed_init(&b, false);
    struct node *a = bed_member(&b);
    b.probes_arrive = false;
    CHECK_INT(bed_ask(a, probe_of(&a->addr)), 0);
    CHECK(hear_probe(a, 7)); /* somebody's */
    bed_settle(&b);
    CHECK_INT(a->replied, 0);
    b.probes_arrive = true; /* the second of the three */
    bed_run(&b, PX_SEC);
    CHECK_INT(a->replied, PX_RELAY_OK);
    bed_end(&b);
}

TEST(probes_of_third_parties_are_answered_eight_times_and_each_nonce_once)
{
    struct bed b;
    size_t padding;
    bed_init(&b, false);
    struct node *a = bed_member(&b);
    b.probes_arrive = false;
    CHECK_INT(bed_ask(a, probe_of(&a->addr)), 0);
    for (int i = 0; i < 5; i++)
        CHECK(hear_probe(a, 1));
    CHECK_INT(on_way(&b, PX_RELAY_MSG_SEEN, &padding), 1);
    for (uint8_t i = 0; i < 100; i++)
        CHECK(hear_probe(a, i));
    CHECK_INT(on_way(&b, PX_RELAY_MSG_SEEN, &padding), PX_RELAY_SEEN_MAX);
    bed_run(&b, 4 * PX_SEC);
    CHECK_INT(a->replied, PX_RELAY_UNREACHABLE);
    bed_end(&b);
}

TEST(without_a_probe_under_way_and_before_it_is_paid_nothing_is_answered)
{
    struct bed b;
    size_t padding;
    bed_init(&b, false);
    struct node *a = bed_member(&b), *c = bed_member(&b);
    CHECK(hear_probe(a, 1));
    CHECK(b.first == NULL);
    CHECK_OK(px_relay_client_probe(a->client, &c->addr, true, NULL, b.now));
    bed_settle(&b);
    CHECK(hear_probe(a, 1));
    CHECK_INT(on_way(&b, PX_RELAY_MSG_SEEN, &padding), 0);
    bed_end(&b);
}

TEST(a_seen_nobody_asked_for_is_ignored)
{
    struct bed b;
    bed_init(&b, false);
    struct node *a = bed_member(&b);
    int before = a->replies;
    to_server(a, (struct px_relay_msg){.type = PX_RELAY_MSG_SEEN, .request = 1});
    CHECK_INT(a->replies, before);
    CHECK(!a->closed);
    bed_end(&b);
}

/* ---- a relay that lies ---- */

static void from_relay(struct node *n, enum px_relay_status status, uint64_t bytes)
{
    struct px_buf out;
    /* the number of the last request */
    const struct px_relay_msg m = {.type = PX_RELAY_MSG_STATUS,
                                   .keys = PX_RELAY_BIT(PX_RELAY_K_BYTES),
                                   .request = n->reply.request,
                                   .status = status,
                                   .bytes = bytes};
    px_buf_init(&out, 4096);
    CHECK_OK(px_relay_msg_put(&out, &m));
    CHECK_OK(px_relay_client_input(n->client, px_buf_slice(&out), n->bed->now));
    px_buf_deinit(&out);
}

TEST(a_relay_that_says_ok_to_what_nobody_saw_is_not_believed)
{
    struct bed b;
    bed_init(&b, false);
    struct node *a = bed_member(&b);
    CHECK_INT(bed_ask(a, probe_of(&a->addr)), PX_RELAY_OK);
    b.probes_arrive = false;
    CHECK_INT(bed_ask(a, probe_of(&a->addr)), 0);
    a->reply.request++;
    from_relay(a, PX_RELAY_OK, 0);
    CHECK_INT(a->replied, PX_RELAY_UNEXPECTED_MESSAGE);
    bed_end(&b);
}

TEST(a_relay_that_asks_twice_or_too_much_gets_nothing_more)
{
    struct bed b;
    size_t padding;
    bed_init(&b, false);
    struct node *a = bed_member(&b), *c = bed_member(&b);
    CHECK_OK(px_relay_client_probe(a->client, &c->addr, true, NULL, b.now));
    bed_settle(&b);
    int replies = a->replies;
    from_relay(a, PX_RELAY_DATA_NEEDED, 30000); /* again */
    CHECK_INT(a->replies, replies + 1);
    CHECK_INT(a->replied, PX_RELAY_UNEXPECTED_MESSAGE);
    bed_run(&b, PX_RELAY_PROBE_DATA_TIME + PX_SEC);
    CHECK_INT(b.probes, 0); /* the rest was not paid */

    CHECK_OK(px_relay_client_probe(a->client, &c->addr, true, NULL, b.now));
    bed_settle(&b);
    bed_run(&b, PX_SEC);
    uint32_t last = a->reply.request;
    bed_run(&b, 4 * PX_SEC);
    /* a new one, which the relay answers with a bill nobody pays */
    CHECK_OK(px_relay_client_probe(a->client, &c->addr, true, NULL, b.now));
    a->reply.request = last + 1;
    replies = a->replies;
    from_relay(a, PX_RELAY_DATA_NEEDED, PX_RELAY_PADDING_TOTAL_MAX + 1);
    CHECK_INT(a->replies, replies + 1);
    CHECK_INT(a->replied, PX_RELAY_UNEXPECTED_MESSAGE);
    CHECK_INT(on_way(&b, PX_RELAY_MSG_PADDING, &padding), 0);
    bed_end(&b);
}
