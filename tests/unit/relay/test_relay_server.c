/* The relay server with nodes that run the production client: circuits, admission, limits, the
 * registry, accounts, dial-back, restarts. */
#include "relay/accounts.h"
#include "tests/unit/relay/relay_bed.h"

/* ---- circuits ---- */

TEST(two_members_talk_through_a_circuit)
{
    struct bed b;
    bed_init(&b, false);
    struct node *a = bed_member(&b), *c = bed_member(&b);
    bed_call(a, c);
    CHECK_INT(c->rings, 1);
    CHECK(px_peer_id_eq(&c->ringing, &a->identity.id));
    CHECK_INT(a->opens, 1); /* without a step of the clock: no timer was needed */
    CHECK_INT(c->opens, 1);
    bed_say(a, "hello");
    CHECK_STR(c->data, "hello");
    bed_say(c, "yes?");
    CHECK_STR(a->data, "yes?");
    px_relay_leg_end(a->leg);
    a->leg = NULL;
    bed_settle(&b);
    CHECK_INT(c->ends, 1);
    CHECK_INT(c->ended, PX_RELAY_PEER_ENDED);
    CHECK_INT(a->ends, 0);
    bed_end(&b);
}

TEST(a_call_that_cannot_be_says_why)
{
    struct bed b;
    bed_init(&b, false);
    struct node *a = bed_member(&b), *c = bed_add(&b, true), *d = bed_member(&b);
    bed_call(a, c); /* not there */
    CHECK_INT(a->ended, PX_RELAY_NO_RESERVATION);
    bed_call(a, a);
    CHECK_INT(a->ended, PX_RELAY_PERMISSION_DENIED);
    d->consent = false;
    bed_call(a, d);
    CHECK_INT(a->ended, PX_RELAY_DECLINED);
    CHECK_INT(d->ends, 0);
    d->silent = true;
    bed_call(a, d);
    bed_run(&b, 11 * PX_SEC);
    CHECK_INT(a->ended, PX_RELAY_NO_ANSWER);
    d->silent = false;
    d->consent = true;
    a->deaf = d->deaf = true; /* bound by the nonces on control all the same */
    bed_call(a, d);
    CHECK_INT(a->opens, 1);
    CHECK_INT(px_relay_client_legs(a->client), 1);
    bed_end(&b);
}

TEST(an_idle_circuit_is_kept_by_its_nodes_and_ends_when_one_is_gone)
{
    struct bed b;
    bed_init(&b, false);
    struct node *a = bed_member(&b), *c = bed_member(&b);
    bed_call(a, c);
    bed_run(&b, 300 * PX_SEC);
    CHECK(a->leg != NULL && c->leg != NULL);
    CHECK(px_relay_leg_is_open(a->leg));
    /* c's packets come from nowhere any more */
    bed_leave(c);
    px_relay_client_free(c->client);
    const struct px_relay_client_config config = {
        .rng = b.config.rng, .ops = &bed_client_ops, .ctx = c};
    CHECK_OK(px_relay_client_new(&config, &c->client));
    bed_run(&b, 90 * PX_SEC);
    CHECK_INT(a->ended, PX_RELAY_IDLE);
    CHECK(a->leg == NULL);
    bed_end(&b);
}

TEST(a_circuit_outlives_the_control_stream)
{
    struct bed b;
    bed_init(&b, false);
    struct node *a = bed_member(&b), *c = bed_member(&b);
    bed_call(a, c);
    bed_leave(a);
    CHECK(a->leg != NULL);
    bed_say(a, "still here");
    CHECK_STR(c->data, "still here");
    CHECK(bed_join(a));
    bed_run(&b, 120 * PX_SEC);
    bed_say(c, "so am I");
    CHECK_STR(a->data, "so am I");
    bed_end(&b);
}

TEST(a_node_that_moves_is_bound_again_and_goes_on)
{
    struct bed b;
    bed_init(&b, false);
    struct node *a = bed_member(&b), *c = bed_member(&b);
    bed_call(a, c);
    a->addr.port = 40000; /* a NAT forgot; nobody told us */
    bed_say(a, "lost");
    CHECK_STR(c->data, "");
    bed_run(&b, PX_SEC);
    bed_say(a, "a packet as long as a challenge brings one: 012345");
    bed_settle(&b);
    bed_say(a, "found");
    CHECK_STR(c->data, "found");
    bed_say(c, "there you are");
    CHECK_STR(a->data, "there you are");
    a->addr.port = 40001; /* and silently: the keepalive notices */
    bed_run(&b, 30 * PX_SEC);
    bed_say(c, "again");
    CHECK_STR(a->data, "again");
    a->addr.port = 40002; /* or it is told */
    px_relay_client_network_changed(a->client, b.now);
    bed_settle(&b);
    bed_say(c, "at once");
    CHECK_STR(a->data, "at once");
    bed_end(&b);
}

/* ---- admission ---- */

TEST(nobody_unknown_is_heard_without_an_invite_or_an_open_relay)
{
    struct bed b;
    bed_init(&b, false);
    struct node *m = bed_member(&b), *x = bed_add(&b, false);
    struct px_relay_msg invite = {.type = PX_RELAY_MSG_INVITE, .ttl_ms = 60000, .secret = {1}};
    CHECK(!bed_join(x));
    CHECK_INT(bed_ask(m, invite), PX_RELAY_OK);
    CHECK(bed_join(x));
    CHECK_INT(x->reserved, PX_RELAY_PERMISSION_DENIED);
    bed_run(&b, 4 * PX_SEC);
    CHECK(!x->closed);
    bed_run(&b, 2 * PX_SEC);
    CHECK(x->closed);
    CHECK_INT(x->closed_with, PX_CLOSE_UNLISTED);
    bed_run(&b, 60 * PX_SEC);
    CHECK(!bed_join(x)); /* the invite is over */
    bed_end(&b);
}

TEST(an_unknown_node_may_send_4_kib)
{
    struct bed b;
    static uint8_t junk[1500];
    bed_init(&b, false);
    struct node *m = bed_member(&b), *x = bed_add(&b, false);
    struct px_relay_msg invite = {.type = PX_RELAY_MSG_INVITE, .ttl_ms = 60000, .secret = {1}};
    CHECK_INT(bed_ask(m, invite), PX_RELAY_OK);
    CHECK(bed_join(x));
    /* a message of a later version, which is ignored: {0: 99, 1: bytes} */
    memcpy(junk, "\xa2\x00\x18\x63\x01\x59\x05\xd4", 8);
    for (int i = 0; i < 2; i++)
        px_relay_session_input(x->session, px_slice(junk, sizeof(junk)), b.now);
    CHECK(!x->closed);
    px_relay_session_input(x->session, px_slice(junk, sizeof(junk)), b.now);
    CHECK_INT(x->closed_with, PX_CLOSE_OVERRUN);
    bed_end(&b);
}

TEST(at_most_64_unknown_nodes_are_heard)
{
    struct bed b;
    struct px_relay_session *sessions[PX_RELAY_UNKNOWN_MAX];
    static struct node dummies[PX_RELAY_UNKNOWN_MAX];
    bed_init(&b, false);
    struct node *m = bed_member(&b);
    struct px_relay_msg invite = {.type = PX_RELAY_MSG_INVITE, .ttl_ms = 60000, .secret = {1}};
    struct px_peer_id id = {{0xee}};
    uint8_t binding[32] = {0};
    CHECK_INT(bed_ask(m, invite), PX_RELAY_OK);
    for (size_t i = 0; i < PX_RELAY_UNKNOWN_MAX; i++) {
        id.key[1] = (uint8_t)i;
        CHECK(px_relay_server_hears(b.server, &id, b.now));
        CHECK_OK(px_relay_server_join(b.server, &dummies[i], &id, binding, &m->addr, true, b.now,
                                      &sessions[i]));
    }
    id.key[2] = 1;
    CHECK(!px_relay_server_hears(b.server, &id, b.now));
    CHECK(px_relay_server_hears(b.server, &m->identity.id, b.now));
    for (size_t i = 0; i < PX_RELAY_UNKNOWN_MAX; i++)
        px_relay_session_leave(sessions[i], b.now);
    CHECK(px_relay_server_hears(b.server, &id, b.now));
    bed_end(&b);
}

/* A member that has invited x, which has shown the secret. */
static void invite_and_admit(struct node *m, struct node *x, uint8_t what)
{
    struct px_relay_msg invite = {.type = PX_RELAY_MSG_INVITE, .ttl_ms = 600000};
    struct px_relay_msg admit = {.type = PX_RELAY_MSG_ADMIT};
    memset(admit.secret, what, sizeof(admit.secret));
    px_sha256(px_slice(admit.secret, sizeof(admit.secret)), invite.secret);
    CHECK_INT(bed_ask(m, invite), PX_RELAY_OK);
    CHECK(bed_join(x));
    admit.secret[5] ^= 1;
    CHECK_INT(bed_ask(x, admit), PX_RELAY_NOT_FOUND);
    admit.secret[5] ^= 1;
    CHECK_INT(bed_ask(x, admit), PX_RELAY_OK);
    CHECK(px_peer_id_eq(&x->reply.peer, &m->identity.id));
    CHECK_INT(bed_ask(x, admit), PX_RELAY_UNEXPECTED_MESSAGE);
}

TEST(a_joiner_reaches_its_inviter_alone_until_it_is_vouched_for)
{
    struct bed b;
    bed_init(&b, false);
    struct node *m = bed_member(&b), *other = bed_member(&b), *x = bed_add(&b, false);
    invite_and_admit(m, x, 7);
    bed_run(&b, 30 * PX_SEC); /* it asks for its reservation again */
    CHECK_INT(x->reserved, PX_RELAY_OK);
    CHECK_INT(x->class, PX_RELAY_JOINER);
    CHECK(px_addr_eq(&x->observed, &x->addr)); /* which nobody unknown is told */
    bed_call(x, other);
    CHECK_INT(x->ended, PX_RELAY_PERMISSION_DENIED);
    bed_call(other, x);
    CHECK_INT(other->ended, PX_RELAY_PERMISSION_DENIED);
    CHECK_INT(x->rings + other->rings, 0);
    bed_call(x, m);
    CHECK_INT(x->opens, 1);
    struct px_relay_msg discover = {.type = PX_RELAY_MSG_DISCOVER,
                                    .name_space = PX_SLICE_LIT("default")};
    CHECK_INT(bed_ask(x, discover), PX_RELAY_PERMISSION_DENIED);
    bed_leave(x); /* it is remembered while its invite's time lasts */
    CHECK(bed_join(x));
    CHECK_INT(x->class, PX_RELAY_JOINER);
    struct px_relay_msg vouch = {.type = PX_RELAY_MSG_VOUCH, .peer = x->identity.id, .on = true};
    CHECK_INT(bed_ask(x, vouch), PX_RELAY_PERMISSION_DENIED);
    CHECK_INT(bed_ask(m, vouch), PX_RELAY_OK);
    px_relay_client_set_reserve(x->client, true, b.now); /* it asks what it is now */
    bed_settle(&b);
    CHECK_INT(x->class, PX_RELAY_VOUCHED);
    CHECK_INT(bed_ask(x, discover), PX_RELAY_OK);
    bed_call(x, other);
    CHECK_INT(x->opens, 2);
    CHECK_INT(bed_ask(x, vouch), PX_RELAY_PERMISSION_DENIED); /* but cannot vouch itself */
    bed_end(&b);
}

TEST(an_invite_is_good_once_and_only_while_its_member_is_one)
{
    struct bed b;
    bed_init(&b, false);
    struct node *m = bed_member(&b), *x = bed_add(&b, false), *y = bed_add(&b, false);
    struct node *keeper = bed_member(&b);
    struct px_relay_msg admit = {.type = PX_RELAY_MSG_ADMIT},
                        invite = {.type = PX_RELAY_MSG_INVITE, .ttl_ms = 600000, .secret = {3}};
    invite_and_admit(m, x, 9);
    CHECK_INT(bed_ask(keeper, invite), PX_RELAY_OK); /* so that y is heard */
    CHECK(bed_join(y));
    memset(admit.secret, 9, sizeof(admit.secret));
    CHECK_INT(bed_ask(y, admit), PX_RELAY_NOT_FOUND);
    struct px_relay_msg vouch = {.type = PX_RELAY_MSG_VOUCH, .peer = x->identity.id, .on = true};
    CHECK_INT(bed_ask(m, vouch), PX_RELAY_OK);
    bed_call(x, keeper);
    CHECK_INT(x->opens, 1);
    b.member[0] = false; /* m is removed: with it goes what it vouched for */
    px_relay_server_recheck(b.server, false, b.now);
    bed_settle(&b);
    CHECK_INT(x->closed_with, PX_CLOSE_REVOKED);
    CHECK_INT(m->closed_with, PX_CLOSE_REVOKED);
    CHECK_INT(keeper->ended, PX_RELAY_REVOKED);
    CHECK(!keeper->closed);
    bed_step(&b, 0);
    bed_end(&b);
}

TEST(a_member_has_32_open_invites)
{
    struct bed b;
    bed_init(&b, false);
    struct node *m = bed_member(&b);
    struct px_relay_msg invite = {.type = PX_RELAY_MSG_INVITE, .ttl_ms = 600000};
    for (int i = 0; i < 32; i++) {
        invite.secret[0] = (uint8_t)i;
        CHECK_INT(bed_ask(m, invite), PX_RELAY_OK);
    }
    invite.secret[0] = 99;
    CHECK_INT(bed_ask(m, invite), PX_RELAY_RESOURCE_LIMIT_EXCEEDED);
    invite.secret[0] = 3;
    CHECK_INT(bed_ask(m, invite), PX_RELAY_OK); /* longer, the same one */
    invite.type = PX_RELAY_MSG_UNINVITE;
    CHECK_INT(bed_ask(m, invite), PX_RELAY_OK);
    CHECK_INT(bed_ask(m, invite), PX_RELAY_NOT_FOUND);
    invite.type = PX_RELAY_MSG_INVITE;
    invite.ttl_ms = 8ull * 24 * 3600 * 1000;
    CHECK_INT(bed_ask(m, invite), PX_RELAY_MALFORMED_MESSAGE);
    bed_end(&b);
}

/* ---- limits ---- */

TEST(an_open_relay_gives_strangers_their_limits)
{
    struct bed b;
    bed_init(&b, true);
    struct node *m = bed_member(&b), *x = bed_add(&b, false);
    uint64_t burst;
    CHECK(bed_join(x));
    CHECK_INT(x->reserved, PX_RELAY_OK);
    CHECK_INT(x->class, PX_RELAY_STRANGER);
    bed_call(x, m);
    CHECK_INT(px_relay_leg_rate(x->leg, &burst), px_relay_limits_default.stranger_rate);
    CHECK_INT(burst, px_circuit_burst(px_relay_limits_default.stranger_rate));
    bed_run(&b, 605 * PX_SEC);
    CHECK_INT(x->ended, PX_RELAY_TIME_USED);
    CHECK_INT(m->ended, PX_RELAY_TIME_USED);
    px_relay_server_recheck(b.server, false, b.now); /* not open any more */
    CHECK_INT(x->closed_with, PX_CLOSE_REVOKED);
    bed_end(&b);
}

TEST(reservations_have_a_limit_and_a_member_displaces_a_stranger)
{
    struct bed b;
    bed_init(&b, true);
    px_relay_server_free(b.server);
    b.config.limits.reservations = 3;
    bed_start(&b);
    bed_member(&b);
    struct node *s1 = bed_add(&b, false), *s2 = bed_add(&b, false), *s3 = bed_add(&b, false);
    CHECK(bed_join(s1) && bed_join(s2) && bed_join(s3));
    CHECK_INT(s2->reserved, PX_RELAY_OK);
    CHECK_INT(s3->reserved, PX_RELAY_RESOURCE_LIMIT_EXCEEDED);
    bed_member(&b);
    bed_member(&b);
    CHECK_INT(s2->closed_with, PX_CLOSE_BUSY);
    CHECK_INT(s1->closed_with, PX_CLOSE_BUSY);
    struct node *late = bed_add(&b, true); /* members do not displace each other */
    CHECK(bed_join(late));
    CHECK_INT(late->reserved, PX_RELAY_RESOURCE_LIMIT_EXCEEDED);
    bed_leave(&b.nodes[0]); /* only live ones count */
    bed_run(&b, 15 * PX_SEC);
    CHECK_INT(late->reserved, PX_RELAY_OK);
    bed_end(&b);
}

TEST(strangers_of_one_source_or_asn_share_a_limit)
{
    struct bed b;
    struct px_asn_table *table;
    struct px_asn_error wrong;
    CHECK_OK(px_asn_table_parse(PX_SLICE_LIT("10.0.0.0/8 AS64500\n"), &table, &wrong));
    bed_init(&b, true);
    px_relay_server_free(b.server);
    b.config.asn_table = table;
    b.config.limits.reservations_per_source = 2;
    b.config.limits.reservations_per_asn = 4;
    bed_start(&b);
    struct node *n[7];
    for (int i = 0; i < 7; i++) {
        n[i] = bed_add(&b, i == 6);
        n[i]->addr.ip[3] = (uint8_t)(i / 3 + 1); /* three to a source */
        n[i]->addr.port = (uint16_t)(1000 + i);
        CHECK(bed_join(n[i]));
    }
    static const enum px_relay_status want[] = {
        PX_RELAY_OK, PX_RELAY_OK, PX_RELAY_RESOURCE_LIMIT_EXCEEDED,
        PX_RELAY_OK, PX_RELAY_OK, PX_RELAY_RESOURCE_LIMIT_EXCEEDED,
        PX_RELAY_OK /* a member */};
    for (int i = 0; i < 7; i++)
        CHECK_INT(n[i]->reserved, want[i]);
    n[5]->addr.ip[3] = 200; /* another source, but the ASN is full */
    bed_leave(n[5]);
    CHECK(bed_join(n[5]));
    CHECK_INT(n[5]->reserved, PX_RELAY_RESOURCE_LIMIT_EXCEEDED);
    bed_leave(n[0]);
    bed_leave(n[5]);
    CHECK(bed_join(n[5]));
    CHECK_INT(n[5]->reserved, PX_RELAY_OK);
    bed_end(&b);
    px_asn_table_free(table);
}

TEST(links_of_strangers_leave_room_for_members)
{
    struct bed b;
    struct px_relay_session *sessions[PX_RELAY_LINKS_PER_SOURCE + 2];
    static struct node dummies[PX_RELAY_LINKS_PER_SOURCE + 2];
    struct px_peer_id id = {{0xee}};
    uint8_t binding[32] = {0};
    bed_init(&b, true);
    struct node *m = bed_member(&b);
    for (size_t i = 0; i < PX_ARRAY_LEN(sessions); i++) {
        dummies[i].closed = false;
        id.key[1] = (uint8_t)i;
        CHECK_OK(px_relay_server_join(b.server, &dummies[i], &id, binding, &m->addr, true, b.now,
                                      &sessions[i]));
        CHECK_INT(dummies[i].closed, i >= PX_RELAY_LINKS_PER_SOURCE);
    }
    CHECK_INT(dummies[PX_RELAY_LINKS_PER_SOURCE].closed_with, PX_CLOSE_BUSY);
    bed_member(&b); /* of another source here, but it would not matter */
    for (size_t i = 0; i < PX_ARRAY_LEN(sessions); i++)
        px_relay_session_leave(sessions[i], b.now);
    struct px_relay_server_stats stats;
    px_relay_server_stats(b.server, &stats);
    CHECK_INT(stats.limited, 0);
    bed_end(&b);
}

TEST(links_of_strangers_of_one_asn_have_a_number)
{
    static struct node dummies[PX_RELAY_LINKS_PER_ASN + 2];
    struct px_relay_session *sessions[PX_ARRAY_LEN(dummies)];
    struct px_peer_id id = {{0xee}};
    uint8_t binding[32] = {0};
    struct bed b;
    struct px_asn_table *table;
    struct px_asn_error wrong;
    CHECK_OK(px_asn_table_parse(PX_SLICE_LIT("10.0.0.0/8 AS64500\n"), &table, &wrong));
    bed_init(&b, true);
    px_relay_server_free(b.server);
    b.config.asn_table = table;
    bed_start(&b);
    for (size_t i = 0; i < PX_ARRAY_LEN(dummies); i++) {
        struct px_addr from = {.family = PX_ADDR_IP4, .ip = {10, 1, (uint8_t)(i >> 8), (uint8_t)i}};
        from.port = 5000;
        if (i == PX_ARRAY_LEN(dummies) - 1) { /* only live ones count */
            px_relay_session_leave(sessions[0], b.now);
            dummies[0].closed = true;
        }
        dummies[i].closed = false;
        id.key[1] = (uint8_t)i, id.key[2] = (uint8_t)(i >> 8);
        CHECK_OK(px_relay_server_join(b.server, &dummies[i], &id, binding, &from, true, b.now,
                                      &sessions[i]));
        CHECK_INT(dummies[i].closed, i == PX_RELAY_LINKS_PER_ASN);
    }
    CHECK_INT(dummies[PX_RELAY_LINKS_PER_ASN].closed_with, PX_CLOSE_BUSY);
    bed_member(&b); /* of the same ASN */
    for (size_t i = 1; i < PX_ARRAY_LEN(sessions); i++)
        px_relay_session_leave(sessions[i], b.now);
    bed_end(&b);
    px_asn_table_free(table);
}

TEST(a_stranger_does_not_slow_down_the_circuits_of_members)
{
    struct bed b;
    uint8_t batch[1208];
    uint64_t bytes = 0;
    struct px_circuits_out out;
    struct px_path path;
    bed_init(&b, true);
    struct node *a = bed_member(&b), *c = bed_member(&b), *x = bed_add(&b, false);
    CHECK(bed_join(x));
    bed_call(x, a); /* the first circuit of a, and a slow one */
    bed_call(a, c);
    memset(&path, 0, sizeof(path));
    path.remote = a->addr;
    for (int i = 0; i < 20000; i++) { /* 24 MB at once: within the burst of a member's circuit */
        px_relay_leg_header(a->leg, batch);
        px_relay_server_packets(b.server, &path, batch, sizeof(batch), sizeof(batch), b.now, &out);
        bytes += out.path != NULL ? out.data.len : 0;
    }
    CHECK(bytes > 24 * 1000 * 1000);
    bed_end(&b);
}

TEST(a_reservation_ends_with_its_time_unless_it_is_refreshed)
{
    struct bed b;
    struct px_relay_server_stats stats;
    bed_init(&b, false);
    struct node *a = bed_member(&b), *c = bed_member(&b);
    bed_run(&b, 7200 * PX_SEC);
    px_relay_server_stats(b.server, &stats);
    CHECK_INT(stats.reservations, 2);
    px_relay_client_down(c->client, b.now); /* c's client sleeps, its link stays */
    b.now += 3601 * PX_SEC;
    px_relay_client_run(a->client, b.now);
    bed_settle(&b);
    px_relay_server_run(b.server, b.now);
    px_relay_server_stats(b.server, &stats);
    CHECK_INT(stats.reservations, 1);
    bed_call(a, c);
    CHECK_INT(a->ended, PX_RELAY_NO_RESERVATION);
    bed_end(&b);
}

TEST(a_node_has_16_circuits)
{
    struct bed b;
    bed_init(&b, false);
    px_relay_server_free(b.server);
    b.config.limits.circuits_per_peer = 3;
    bed_start(&b);
    struct node *a = bed_member(&b), *last = NULL;
    for (int i = 0; i < 3; i++) {
        last = bed_member(&b);
        bed_call(a, last);
        CHECK_INT(a->opens, i + 1);
    }
    struct node *more = bed_member(&b);
    bed_call(a, more);
    CHECK_INT(a->ended, PX_RELAY_RESOURCE_LIMIT_EXCEEDED);
    CHECK_INT(more->rings, 0);
    px_relay_leg_end(last->leg); /* only live ones count */
    bed_settle(&b);
    bed_call(a, more);
    CHECK_INT(a->opens, 4);
    bed_end(&b);
}

TEST(requests_have_a_rate)
{
    struct bed b;
    bed_init(&b, false);
    struct node *a = bed_member(&b);
    struct px_relay_msg totals = {.type = PX_RELAY_MSG_TOTALS};
    int answered = 0;
    for (int i = 0; i < 2 * PX_RELAY_REQUEST_BURST; i++)
        answered += bed_ask(a, totals) == PX_RELAY_OK;
    /* the reservation was one, and a little time passes */
    CHECK(answered >= PX_RELAY_REQUEST_BURST - 5 && answered <= PX_RELAY_REQUEST_BURST);
    b.now += PX_SEC;
    answered = 0;
    for (int i = 0; i < 2 * PX_RELAY_REQUEST_RATE; i++)
        answered += bed_ask(a, totals) == PX_RELAY_OK;
    CHECK(answered >= PX_RELAY_REQUEST_RATE && answered <= PX_RELAY_REQUEST_RATE + 5);
    bed_end(&b);
}

TEST(a_call_that_is_one_too_many_ends_at_once)
{
    struct bed b;
    bed_init(&b, false);
    struct node *a = bed_member(&b), *c = bed_member(&b);
    int opens = 0;
    for (int i = 0; i < 250 && a->ended != PX_RELAY_RATE_LIMITED; i++) {
        bed_call(a, c);
        if (a->opens > opens)
            px_relay_leg_end(a->leg);
        opens = a->opens;
        a->leg = NULL;
        bed_settle(&b);
    }
    CHECK_INT(a->ended, PX_RELAY_RATE_LIMITED);
    CHECK(opens >= 190);
    CHECK_INT(px_relay_client_legs(a->client), 0);
    bed_end(&b);
}

TEST(what_no_node_may_say_is_refused_or_closes)
{
    struct bed b;
    struct px_buf out;
    bed_init(&b, false);
    struct node *a = bed_member(&b);
    const struct px_relay_msg m = {
        .type = PX_RELAY_MSG_CONNECTED, .request = 5, .status = PX_RELAY_OK};
    px_buf_init(&out, 4096);
    CHECK_OK(px_relay_msg_put(&out, &m));
    px_relay_session_input(a->session, px_buf_slice(&out), b.now);
    CHECK(!a->closed);
    px_relay_session_input(a->session, PX_SLICE_LIT("\xa0"), b.now);
    CHECK_INT(a->closed_with, PX_CLOSE_PROTOCOL);
    px_buf_deinit(&out);
    bed_end(&b);
}

/* ---- registry ---- */

/* Registers what `n` says of itself under that name and number. */
static enum px_relay_status register_in(struct node *n, const char *name_space, const char *name,
                                        uint64_t sequence)
{
    const struct px_record r = {.sequence = sequence,
                                .name_space = px_slice_cstr(name_space),
                                .name = px_slice_cstr(name),
                                .addrs = {n->addr},
                                .addr_count = 1};
    struct px_relay_msg m = {
        .type = PX_RELAY_MSG_REGISTER, .name_space = px_slice_cstr(name_space), .record_count = 1};
    struct px_buf out;
    px_buf_init(&out, PX_RELAY_RECORD_MAX);
    CHECK_OK(px_record_sign(&n->identity, &r, &out));
    m.records[0] = px_buf_slice(&out);
    enum px_relay_status status = bed_ask(n, m);
    px_buf_deinit(&out);
    return status;
}

static enum px_relay_status register_as(struct node *n, const char *name, uint64_t sequence)
{
    return register_in(n, "default", name, sequence);
}

static size_t discovered(struct node *n)
{
    struct px_relay_msg m = {.type = PX_RELAY_MSG_DISCOVER, .name_space = PX_SLICE_LIT("default")};
    uint8_t cookie[32];
    size_t total = 0;
    for (;;) {
        CHECK_INT(bed_ask(n, m), PX_RELAY_OK);
        total += n->record_count;
        if (!px_relay_msg_has(&n->reply, PX_RELAY_K_COOKIE))
            return total;
        /* the view is into a message that is gone: the serial is what the test can rebuild */
        struct px_record last;
        CHECK_OK(px_record_verify(
            px_slice(n->records[n->record_count - 1], n->record_len[n->record_count - 1]), &last));
        memset(cookie, 0, sizeof(cookie));
        cookie[7] = (uint8_t)total; /* serials are 1, 2, 3 … here */
        m.keys = PX_RELAY_BIT(PX_RELAY_K_COOKIE);
        m.cookie = px_slice(cookie, 8);
    }
}

TEST(records_are_found_by_all_by_name_and_by_peer)
{
    struct bed b;
    char name[32];
    bed_init(&b, false);
    for (int i = 0; i < 8; i++) {
        struct node *n = bed_member(&b);
        snprintf(name, sizeof(name), "host-%d", i);
        CHECK_INT(register_as(n, name, 1), PX_RELAY_OK);
    }
    struct node *a = &b.nodes[0];
    CHECK_INT(discovered(a), 8);
    struct px_relay_msg m = {.type = PX_RELAY_MSG_DISCOVER,
                             .keys = PX_RELAY_BIT(PX_RELAY_K_NAME),
                             .name_space = PX_SLICE_LIT("default"),
                             .name = PX_SLICE_LIT("host-5")};
    struct px_record found;
    CHECK_INT(bed_ask(a, m), PX_RELAY_OK);
    CHECK_OK(px_record_verify(px_slice(a->records[0], a->record_len[0]), &found));
    CHECK(px_peer_id_eq(&found.peer, &b.nodes[5].identity.id));
    CHECK(px_addr_eq(&found.addrs[0], &b.nodes[5].addr));
    m.name = PX_SLICE_LIT("nobody");
    CHECK_INT(bed_ask(a, m), PX_RELAY_NOT_FOUND);
    m.keys = PX_RELAY_BIT(PX_RELAY_K_PEER);
    m.peer = b.nodes[3].identity.id;
    CHECK_INT(bed_ask(a, m), PX_RELAY_OK);
    m.name_space = PX_SLICE_LIT("elsewhere");
    CHECK_INT(bed_ask(a, m), PX_RELAY_NOT_FOUND);
    bed_end(&b);
}

TEST(a_record_must_be_the_senders_signed_and_not_older)
{
    struct bed b;
    bed_init(&b, false);
    struct node *a = bed_member(&b), *c = bed_member(&b);
    CHECK_INT(register_as(a, "a", 5), PX_RELAY_OK);
    CHECK_INT(register_as(a, "a", 5), PX_RELAY_OK); /* a refresh */
    CHECK_INT(register_as(a, "a2", 5), PX_RELAY_STALE);
    CHECK_INT(register_as(a, "a", 4), PX_RELAY_STALE);
    CHECK_INT(register_as(a, "a", 6), PX_RELAY_OK);
    CHECK_INT(register_as(c, "a", 1), PX_RELAY_NAME_TAKEN);
    struct px_identity own = c->identity;
    memcpy(&c->identity, &a->identity, sizeof(own)); /* c sends what a signed */
    CHECK_INT(register_as(c, "", 9), PX_RELAY_BAD_RECORD);
    c->identity = own;
    c->identity.secret.bytes[3] ^= 1; /* and what nobody signed */
    CHECK_INT(register_as(c, "", 9), PX_RELAY_BAD_RECORD);
    bed_end(&b);
}

TEST(records_age_out_and_names_are_held_longer)
{
    struct bed b;
    bed_init(&b, false);
    struct node *a = bed_member(&b), *c = bed_member(&b);
    CHECK_INT(register_as(a, "host", 1), PX_RELAY_OK);
    b.now += PX_REGISTRY_TTL_DEFAULT - PX_SEC;
    bed_step(&b, 0);
    CHECK_INT(discovered(c), 1);
    b.now += 2 * PX_SEC;
    bed_step(&b, 0);
    CHECK_INT(discovered(c), 0);
    CHECK_INT(register_as(c, "host", 1), PX_RELAY_NAME_TAKEN);
    b.now += PX_REGISTRY_NAME_HOLD;
    CHECK_INT(register_as(c, "host", 1), PX_RELAY_OK);
    bed_end(&b);
}

TEST(a_node_has_records_in_four_namespaces_and_holds_four_names)
{
    struct bed b;
    bed_init(&b, false);
    struct node *a = bed_member(&b);
    static const char *const words[] = {"w1", "w2", "w3", "w4", "w5"};
    struct px_relay_msg gone = {.type = PX_RELAY_MSG_UNREGISTER, .name_space = PX_SLICE_LIT("w2")};
    for (int i = 0; i < 5; i++)
        CHECK_INT(register_in(a, words[i], "", 1),
                  i < PX_REGISTRY_PER_PEER ? PX_RELAY_OK : PX_RELAY_RESOURCE_LIMIT_EXCEEDED);
    CHECK_INT(bed_ask(a, gone), PX_RELAY_OK);
    CHECK_INT(register_in(a, "w5", "", 1), PX_RELAY_OK);
    for (int i = 0; i < 5; i++)
        CHECK_INT(register_in(a, "w5", words[i], (uint64_t)(2 + i)),
                  i < PX_REGISTRY_NAMES_PER_PEER ? PX_RELAY_OK : PX_RELAY_RESOURCE_LIMIT_EXCEEDED);
    CHECK_INT(register_in(a, "w5", "w2", 9), PX_RELAY_OK); /* one of those it holds */
    bed_end(&b);
}

TEST(watchers_hear_of_changes_together)
{
    struct bed b;
    bed_init(&b, false);
    struct node *w = bed_member(&b), *a = bed_member(&b), *c = bed_member(&b);
    struct px_relay_msg watch = {
        .type = PX_RELAY_MSG_WATCH, .name_space = PX_SLICE_LIT("default"), .on = true};
    struct px_relay_msg gone = {.type = PX_RELAY_MSG_UNREGISTER,
                                .name_space = PX_SLICE_LIT("default")};
    CHECK_INT(bed_ask(w, watch), PX_RELAY_OK);
    CHECK_INT(register_as(a, "a", 1), PX_RELAY_OK);
    CHECK_INT(register_as(c, "c", 1), PX_RELAY_OK);
    CHECK_INT(w->changes, 0);
    bed_run(&b, 200 * PX_MSEC);
    CHECK_INT(w->changes, 1);
    CHECK_INT(w->record_count, 2);
    CHECK_INT(register_as(a, "a", 1), PX_RELAY_OK); /* a refresh is no change */
    bed_run(&b, 200 * PX_MSEC);
    CHECK_INT(w->changes, 1);
    CHECK_INT(bed_ask(c, gone), PX_RELAY_OK);
    CHECK_INT(bed_ask(c, gone), PX_RELAY_NOT_FOUND);
    bed_run(&b, PX_RELAY_PUSH_GAP);
    CHECK_INT(w->gone_count, 1);
    watch.on = false;
    CHECK_INT(bed_ask(w, watch), PX_RELAY_OK);
    CHECK_INT(register_as(c, "c", 2), PX_RELAY_OK);
    bed_run(&b, 2 * PX_RELAY_PUSH_GAP);
    CHECK_INT(w->changes, 2);
    for (int i = 0; i <= PX_RELAY_WATCHES_MAX; i++) {
        static const char *const names[] = {"n1", "n2", "n3", "n4", "n5"};
        watch.on = true;
        watch.name_space = px_slice_cstr(names[i]);
        CHECK_INT(bed_ask(w, watch),
                  i < PX_RELAY_WATCHES_MAX ? PX_RELAY_OK : PX_RELAY_RESOURCE_LIMIT_EXCEEDED);
    }
    bed_end(&b);
}

/* 50 times a second it would be, for each node there is. */
TEST(what_a_member_says_of_one_node_has_no_other_looked_at)
{
    unsigned asked[2][2];
    for (int crowd = 0; crowd < 2; crowd++) {
        struct bed b;
        bed_init(&b, false);
        struct node *m = bed_member(&b), *x = bed_add(&b, false);
        struct px_relay_msg vouch = {.type = PX_RELAY_MSG_VOUCH, .peer = x->identity.id};
        for (int i = 0; i < 10 * crowd; i++)
            CHECK_INT(register_as(bed_member(&b), "", 1), PX_RELAY_OK);
        for (int on = 1; on >= 0; on--) {
            vouch.on = on > 0;
            b.looked_up = 0;
            CHECK_INT(bed_ask(m, vouch), PX_RELAY_OK);
            asked[crowd][on] = b.looked_up;
        }
        const struct px_relay_msg invite = {
            .type = PX_RELAY_MSG_INVITE, .ttl_ms = 1000, .secret = {1}};
        CHECK_INT(bed_ask(m, invite), PX_RELAY_OK);
        b.looked_up = 0;
        bed_run(&b, 2 * PX_SEC); /* it ends */
        CHECK_INT(b.looked_up, 0);
        bed_end(&b);
    }
    CHECK_INT(asked[1][0], asked[0][0]);
    CHECK_INT(asked[1][1], asked[0][1]);
}

/* One member's message is one to each of the others. */
TEST(a_member_that_changes_its_record_all_the_time_is_told_once_a_second)
{
    struct bed b;
    bed_init(&b, false);
    struct node *w = bed_member(&b), *a = bed_member(&b);
    const struct px_relay_msg watch = {
        .type = PX_RELAY_MSG_WATCH, .name_space = PX_SLICE_LIT("default"), .on = true};
    CHECK_INT(bed_ask(w, watch), PX_RELAY_OK);
    for (uint64_t i = 1; i <= 50; i++) {
        CHECK_INT(register_as(a, "a", i), PX_RELAY_OK);
        bed_run(&b, 100 * PX_MSEC);
    }
    CHECK(w->changes >= 4 && w->changes <= 6);
    bed_run(&b, PX_RELAY_PUSH_GAP);
    int changes = w->changes;
    bed_run(&b, 10 * PX_RELAY_PUSH_GAP);
    CHECK_INT(w->changes, changes);
    CHECK_INT(register_as(a, "a", 51), PX_RELAY_OK); /* the first one is told at once */
    bed_run(&b, 200 * PX_MSEC);
    CHECK_INT(w->changes, changes + 1);
    bed_end(&b);
}

TEST(what_the_relay_must_not_forget_survives_it)
{
    struct bed b;
    bed_init(&b, false);
    struct node *m = bed_member(&b), *a = bed_member(&b), *x = bed_add(&b, false);
    struct px_relay_msg vouch = {.type = PX_RELAY_MSG_VOUCH, .on = true};
    invite_and_admit(m, x, 4);
    vouch.peer = x->identity.id;
    CHECK_INT(bed_ask(m, vouch), PX_RELAY_OK);
    CHECK_INT(register_as(a, "a", 7), PX_RELAY_OK);
    bed_restart(&b);
    CHECK(bed_join(m) && bed_join(x));
    CHECK_INT(x->class, PX_RELAY_VOUCHED);
    CHECK_INT(discovered(x), 1);
    CHECK_INT(register_as(x, "a", 1), PX_RELAY_NAME_TAKEN);
    CHECK(bed_join(a));
    CHECK_INT(register_as(a, "a", 6), PX_RELAY_STALE);
    bed_leave(m);
    b.member[0] = false; /* removed while the relay was down */
    bed_restart(&b);
    CHECK(!bed_join(x));
    bed_end(&b);
}

/* ---- accounts ---- */

static enum px_relay_status report(struct node *n, const struct node *other,
                                   enum px_relay_direction direction, uint64_t bytes, bool forged)
{
    struct px_relay_msg m = {.type = PX_RELAY_MSG_REPORT,
                             .peer = other->identity.id,
                             .bytes = bytes,
                             .session = {42},
                             .direction = direction};
    struct px_transfer t = {.session = {42}, .sender = n->identity.id, .bytes = bytes};
    t.receiver = other->identity.id;
    if (direction == PX_RELAY_RECEIVED) {
        t.receiver = n->identity.id;
        t.sender = other->identity.id;
    }
    px_transfer_sign(forged ? &other->identity : &n->identity, &t, m.signature);
    return bed_ask(n, m);
}

TEST(transfers_are_confirmed_as_far_as_both_say_them)
{
    struct bed b;
    bed_init(&b, false);
    struct node *a = bed_member(&b), *c = bed_member(&b);
    struct px_relay_msg totals = {.type = PX_RELAY_MSG_TOTALS, .peer = c->identity.id};
    CHECK_INT(report(a, c, PX_RELAY_SENT, 1000, false), PX_RELAY_OK);
    CHECK_INT(bed_ask(a, totals), PX_RELAY_OK);
    CHECK_INT(a->reply.totals[PX_RELAY_SENT_CONFIRMED], 0);
    CHECK_INT(a->reply.totals[PX_RELAY_SENT_TOTAL], 1000);
    CHECK_INT(report(c, a, PX_RELAY_RECEIVED, 700, false), PX_RELAY_OK);
    CHECK_INT(report(c, a, PX_RELAY_RECEIVED, 700, false), PX_RELAY_OK); /* adds nothing */
    CHECK_INT(report(c, a, PX_RELAY_RECEIVED, 600, false), PX_RELAY_STALE);
    CHECK_INT(report(c, a, PX_RELAY_RECEIVED, 5000, true), PX_RELAY_BAD_RECORD);
    CHECK_INT(bed_ask(a, totals), PX_RELAY_OK);
    CHECK_INT(a->reply.totals[PX_RELAY_SENT_CONFIRMED], 700);
    bed_restart(&b);
    CHECK(bed_join(a) && bed_join(c));
    CHECK_INT(report(c, a, PX_RELAY_RECEIVED, 1500, false), PX_RELAY_OK);
    CHECK_INT(bed_ask(a, totals), PX_RELAY_OK);
    CHECK_INT(a->reply.totals[PX_RELAY_SENT_CONFIRMED], 1000);
    CHECK_INT(a->reply.totals[PX_RELAY_SENT_TOTAL], 1500);
    totals.peer = a->identity.id;
    CHECK_INT(bed_ask(c, totals), PX_RELAY_OK);
    CHECK_INT(c->reply.totals[PX_RELAY_RECEIVED_CONFIRMED], 1000);
    CHECK_INT(c->reply.totals[PX_RELAY_SENT_CONFIRMED], 0);
    bed_end(&b);
}

/* ---- reachability ---- */

TEST(a_node_that_comes_by_tcp_is_told_no_address_until_it_moves_to_udp)
{
    struct bed b;
    bed_init(&b, false);
    struct node *a = bed_add(&b, true), *c = bed_member(&b);
    a->piped = true;
    CHECK(bed_join(a));
    CHECK_INT(a->reserved, PX_RELAY_OK);
    CHECK_INT(a->observed.family, PX_ADDR_NONE);
    CHECK_INT(bed_ask(a, (struct px_relay_msg){.type = PX_RELAY_MSG_OBSERVE}), PX_RELAY_NOT_FOUND);
    CHECK_INT(a->observed.family, PX_ADDR_NONE);
    bed_call(a, c); /* without a nonce told: HELLO first */
    CHECK_INT(a->opens, 1);
    CHECK_INT(c->opens, 1);
    bed_say(a, "one");
    CHECK_STR(c->data, "one");
    bed_say(c, "two");
    CHECK_STR(a->data, "two");
    px_relay_session_moved(a->session, &a->addr, true, b.now);
    bed_settle(&b);
    CHECK(px_addr_eq(&a->observed, &a->addr));
    bed_end(&b);
}

/* ---- restarts ---- */

TEST(nodes_are_told_of_a_restart_and_circuits_end_gracefully)
{
    struct bed b;
    bed_init(&b, false);
    struct node *a = bed_member(&b), *c = bed_member(&b);
    bed_call(a, c);
    px_relay_server_restarting(b.server, PX_SEC, b.now);
    bed_settle(&b);
    CHECK_INT(a->restarts, 1);
    CHECK(a->spread >= 10 * PX_SEC && a->spread <= 60 * PX_SEC);
    struct node *late = bed_add(&b, true);
    CHECK(bed_join(late));
    CHECK_INT(late->reserved, PX_RELAY_RESTARTING);
    bed_say(a, "goes on");
    CHECK_STR(c->data, "goes on");
    px_relay_server_end_circuits(b.server);
    bed_settle(&b);
    CHECK_INT(a->ended, PX_RELAY_RESTARTING);
    CHECK_INT(c->ended, PX_RELAY_RESTARTING);
    bed_end(&b);
}
