/* Announcements on a virtual clock: who recognises whom, what a packet shows, what a flood costs,
 * when something is said. */
#include "node/lan_announce.h"

#include <stdlib.h>

#include "tests/unit/node/lan_fixture.h"

#define ALICE 1 /* seeds of identities */
#define BOB   2
#define CAROL 3
#define CROWD 1000

struct party {
    struct px_lan_announce *core;
    struct px_identity identity;
    struct px_test_rng rng;
    struct px_addr addr;
    struct {
        uint8_t bytes[PX_LAN_PACKET_MAX];
        size_t len;
    } packets[64]; /* of the latest order */
    size_t packet_count;
    enum px_lan_kind kind;
    unsigned sends;
    px_nsec sent_at[64];
    px_nsec now;
    unsigned founds;
    struct px_peer_id found_id;
    struct px_addr found_addr;
};

static void on_send(void *ctx, enum px_lan_kind kind)
{
    struct party *p = ctx;
    p->kind = kind;
    p->packet_count = px_lan_announce_packets(p->core);
    CHECK(p->packet_count <= PX_ARRAY_LEN(p->packets));
    for (size_t i = 0; i < p->packet_count; i++)
        p->packets[i].len = px_lan_announce_write(p->core, i, kind, &p->addr, p->packets[i].bytes);
    if (p->sends < PX_ARRAY_LEN(p->sent_at))
        p->sent_at[p->sends] = p->now;
    p->sends++;
}

static void on_found(void *ctx, const struct px_peer_id *id, const struct px_addr *addr)
{
    struct party *p = ctx;
    p->founds++;
    p->found_id = *id;
    p->found_addr = *addr;
}

static void turn(struct party *p, px_nsec until)
{
    for (px_nsec at; (at = px_lan_announce_deadline(p->core)) <= until;) {
        p->now = PX_MAX(p->now, at);
        px_lan_announce_run(p->core, p->now);
    }
    p->now = until;
}

static void list(struct party *p, uint64_t first, size_t count)
{
    struct px_authorized_keys *keys = px_test_list(first, count);
    CHECK_OK(px_lan_announce_set_peers(p->core, keys, p->now));
    px_authorized_keys_free(keys);
}

static struct party *party_in(const char *network, uint64_t seed, const char *addr, bool once)
{
    static const struct px_lan_ops ops = {on_send, on_found};
    struct party *p = calloc(1, sizeof(*p));
    CHECK(p != NULL);
    p->addr = px_test_addr(addr);
    px_test_identity(seed, &p->identity);
    struct px_lan_config c = {.identity = &p->identity,
                              .network = px_slice_cstr(network),
                              .rng = px_test_rng(&p->rng, seed + 77),
                              .port = 12303,
                              .once = once,
                              .ops = &ops,
                              .ctx = p};
    p->now = 1000 * PX_SEC;
    CHECK_OK(px_lan_announce_new(&c, p->now, &p->core));
    return p;
}

static struct party *party(uint64_t seed, const char *addr)
{
    return party_in("default", seed, addr, false);
}

static void leave(struct party *p)
{
    px_lan_announce_free(p->core);
    free(p);
}

/* The latest packets of `from` reach `to`, as if from `source`. */
static void carry(struct party *from, struct party *to, const struct px_addr *source)
{
    for (size_t i = 0; i < from->packet_count; i++)
        px_lan_announce_input(to->core, px_slice(from->packets[i].bytes, from->packets[i].len),
                              source, to->now);
}

static struct px_lan_stats stats(const struct party *p)
{
    struct px_lan_stats s;
    px_lan_announce_stats(p->core, &s);
    return s;
}

TEST(a_listed_peer_recognises_the_sender_and_learns_its_address)
{
    struct party *a = party(ALICE, "10.0.0.1:0"), *b = party(BOB, "10.0.0.2:0");
    list(a, BOB, 1);
    list(b, ALICE, 1);
    turn(b, b->now + PX_SEC / 2);
    unsigned before = b->sends;
    turn(a, a->now);
    CHECK_INT(a->sends, 1);
    CHECK_INT(a->kind, PX_LAN_HELLO);
    carry(a, b, &a->addr);
    CHECK_INT(b->founds, 0); /* after some jitter */
    turn(b, b->now + PX_LAN_FOUND_JITTER);
    CHECK_INT(b->founds, 1);
    CHECK(px_peer_id_eq(&b->found_id, &a->identity.id));
    struct px_addr want = px_test_addr("10.0.0.1:12303");
    CHECK(px_addr_eq(&b->found_addr, &want));
    CHECK_INT(b->sends, before + 1); /* the answer */
    CHECK_INT(b->kind, PX_LAN_ANNOUNCE);
    carry(b, a, &b->addr);
    turn(a, a->now + PX_LAN_FOUND_JITTER);
    CHECK_INT(a->founds, 1);
    CHECK(px_peer_id_eq(&a->found_id, &b->identity.id));
    leave(a), leave(b);
}

TEST(ipv6_sources_keep_their_scope)
{
    struct party *a = party(ALICE, "[fe80::1%7]:0"), *b = party(BOB, "[fe80::2%3]:0");
    struct px_addr seen = px_test_addr("[fe80::1%3]:999"), want = px_test_addr("[fe80::1%3]:12303");
    list(a, BOB, 1);
    list(b, ALICE, 1);
    turn(a, a->now);
    turn(b, b->now);
    carry(a, b, &seen); /* the scope is each machine's own and not in the tag */
    turn(b, b->now + PX_LAN_FOUND_JITTER);
    CHECK_INT(b->founds, 1);
    CHECK(px_addr_eq(&b->found_addr, &want));
    leave(a), leave(b);
}

TEST(nobody_else_recognises_it)
{
    struct party *a = party(ALICE, "10.0.0.1:0"), *carol = party(CAROL, "10.0.0.3:0"),
                 *b = party_in("other", BOB, "10.0.0.2:0", false);
    list(a, BOB, 1);
    list(carol, ALICE, 2); /* lists both, is listed by none */
    list(b, ALICE, 1);     /* the right key in another network */
    turn(a, a->now);
    turn(carol, carol->now);
    turn(b, b->now);
    carry(a, carol, &a->addr);
    carry(a, b, &a->addr);
    carry(a, a, &a->addr); /* comes back by multicast */
    CHECK(stats(carol).recognised == 0 && stats(carol).tags == 2);
    CHECK(stats(b).recognised == 0 && stats(b).tags == 1);
    CHECK(stats(a).recognised == 0 && stats(a).tags == 0);
    leave(a), leave(b), leave(carol);
}

TEST(a_packet_played_back_at_its_sender_is_not_the_peers)
{
    struct party *a = party(ALICE, "10.0.0.1:0"), *again = party(ALICE, "10.0.0.1:0");
    list(a, BOB, 1);
    again->rng.state ^= 99; /* the same node after a restart: its nonces are others */
    list(again, BOB, 1);
    turn(a, a->now);
    turn(again, again->now);
    carry(a, again, &a->addr);
    CHECK(stats(again).tags == 1 && stats(again).recognised == 0);
    leave(a), leave(again);
}

/* What multicast brings back to its sender costs no tags, as far back as nonces are remembered. */
TEST(so_many_announcements_of_ours_are_recognised_when_they_come_back)
{
    struct party *a = party(ALICE, "10.0.0.1:0");
    uint8_t first[PX_LAN_PACKET_MAX], later[PX_LAN_PACKET_MAX];
    list(a, BOB, 1);
    turn(a, a->now);
    size_t len = px_lan_announce_write(a->core, 0, PX_LAN_ANNOUNCE, &a->addr, first);
    for (size_t i = 1; i < PX_LAN_OWN_MAX; i++)
        (void)px_lan_announce_write(a->core, 0, PX_LAN_ANNOUNCE, &a->addr, later);
    px_lan_announce_input(a->core, px_slice(first, len), &a->addr, a->now);
    CHECK_INT(stats(a).tags, 0);
    (void)px_lan_announce_write(a->core, 0, PX_LAN_ANNOUNCE, &a->addr, later);
    px_lan_announce_input(a->core, px_slice(first, len), &a->addr, a->now);
    CHECK_INT(stats(a).tags, 1); /* the oldest made room, */
    CHECK_INT(stats(a).recognised, 0);
    px_lan_announce_input(a->core, px_slice(later, len), &a->addr, a->now);
    CHECK_INT(stats(a).tags, 1); /* the latest did not */
    leave(a);
}

TEST(a_copy_from_elsewhere_or_with_a_change_is_nobodys)
{
    struct party *a = party(ALICE, "10.0.0.1:0"), *b = party(BOB, "10.0.0.2:0");
    struct px_addr thief = px_test_addr("10.0.0.66:0"), mapped = px_test_addr("[::a00:1]:0");
    list(a, BOB, 1);
    list(b, ALICE, 1);
    turn(a, a->now);
    turn(b, b->now);
    carry(a, b, &thief);
    carry(a, b, &mapped);
    CHECK_INT(stats(b).recognised, 0);
    for (size_t i = 1; i < PX_LAN_HEADER_LEN; i++) { /* kind, port, nonce */
        b->now += PX_SEC;
        a->packets[0].bytes[i] ^= 1;
        carry(a, b, &a->addr);
        a->packets[0].bytes[i] ^= 1;
    }
    CHECK_INT(stats(b).recognised, 0);
    carry(a, b, &a->addr);
    carry(a, b, &a->addr); /* a replay from the same address: */
    CHECK_INT(stats(b).recognised, 2);
    turn(b, b->now + PX_LAN_FOUND_JITTER);
    CHECK_INT(b->founds, 1); /* costs a dial of it at most */
    leave(a), leave(b);
}

TEST(the_number_of_peers_shows_in_three_sizes_only)
{
    static const struct {
        size_t peers, packets, len;
    } cases[] = {{1, 1, 84},
                 {8, 1, 84},
                 {9, 1, 276},
                 {32, 1, 276},
                 {33, 1, PX_LAN_PACKET_MAX},
                 {PX_LAN_SLOTS_MAX, 1, PX_LAN_PACKET_MAX},
                 {PX_LAN_SLOTS_MAX + 1, 2, PX_LAN_PACKET_MAX},
                 {300, 3, PX_LAN_PACKET_MAX}};
    for (size_t i = 0; i < PX_ARRAY_LEN(cases); i++) {
        struct party *a = party(ALICE, "10.0.0.1:0");
        list(a, CROWD, cases[i].peers);
        turn(a, a->now);
        CHECK_INT(a->packet_count, cases[i].packets);
        for (size_t n = 0; n < a->packet_count; n++)
            CHECK_INT(a->packets[n].len, cases[i].len);
        leave(a);
    }
}

TEST(who_lists_nobody_says_nothing)
{
    struct party *a = party(ALICE, "10.0.0.1:0");
    turn(a, a->now + 3600 * PX_SEC);
    list(a, ALICE, 1); /* itself alone */
    turn(a, a->now + 3600 * PX_SEC);
    CHECK_INT(a->sends, 0);
    leave(a);
}

TEST(every_peer_of_a_long_list_recognises_it)
{
    struct party *a = party(ALICE, "10.0.0.1:0");
    const size_t n = 300;
    list(a, CROWD, n);
    turn(a, a->now);
    for (size_t i = 0; i < n; i += 23) {
        struct party *b = party(CROWD + i, "10.0.0.2:0");
        list(b, ALICE, 1);
        turn(b, b->now);
        carry(a, b, &a->addr);
        CHECK_INT(stats(b).recognised, 1);
        leave(b);
    }
    leave(a);
}

static bool contains(const struct party *p, const void *bytes, size_t len)
{
    for (size_t i = 0; i < p->packet_count; i++)
        if (memmem(p->packets[i].bytes, p->packets[i].len, bytes, len) != NULL)
            return true;
    return false;
}

TEST(two_packets_share_nothing_but_header_and_port)
{
    struct party *a = party(ALICE, "10.0.0.1:0");
    uint8_t first[PX_LAN_PACKET_MAX];
    list(a, BOB, 5);
    turn(a, a->now);
    memcpy(first, a->packets[0].bytes, sizeof(first));
    size_t len = a->packets[0].len;
    CHECK(!contains(a, a->identity.id.key, 8));
    turn(a, a->now + 2 * PX_SEC);
    CHECK(a->sends == 2 && a->packets[0].len == len);
    for (size_t i = 4; i + 4 <= len; i++)
        CHECK(!contains(a, first + i, 4)); /* no run of four bytes comes again */
    leave(a);
}

TEST(the_place_of_a_tag_is_random)
{
    struct party *a = party(ALICE, "10.0.0.1:0"), *b = party(BOB, "10.0.0.2:0");
    unsigned places = 0;
    list(a, BOB, 1);
    list(b, ALICE, 1);
    turn(b, b->now);
    for (unsigned round = 0; round < 40; round++) {
        px_lan_announce_refresh(a->core, a->now);
        turn(a, a->now + PX_SEC / 2);
        uint8_t *tags = a->packets[0].bytes + PX_LAN_HEADER_LEN;
        for (unsigned slot = 0; slot < 8; slot++) {
            uint64_t before = stats(b).recognised;
            tags[8 * slot] ^= 1; /* the one that matters was hit when nothing is recognised */
            b->now += PX_SEC;
            carry(a, b, &a->addr);
            tags[8 * slot] ^= 1;
            if (stats(b).recognised == before)
                places |= 1u << slot;
        }
    }
    CHECK(__builtin_popcount(places) >= 6);
    leave(a), leave(b);
}

TEST(what_is_no_announcement_is_dropped)
{
    struct party *a = party(ALICE, "10.0.0.1:0"), *b = party(BOB, "10.0.0.2:0");
    uint8_t big[PX_LAN_PACKET_MAX + 8] = {0};
    uint64_t sent = 0;
    list(a, BOB, 1);
    list(b, ALICE, 1);
    turn(a, a->now);
    turn(b, b->now);
    memcpy(big, a->packets[0].bytes, a->packets[0].len);
    for (size_t len = 0; len <= sizeof(big); len++) {
        if (len == 84 || len == 276 || len == 1044)
            continue;
        px_lan_announce_input(b->core, px_slice(big, len), &a->addr, b->now);
        sent++;
    }
    static const struct {
        size_t at;
        uint8_t value;
    } wrong[] = {{0, 0}, {0, 2}, {1, 2}, {1, 255}};
    for (size_t i = 0; i < PX_ARRAY_LEN(wrong); i++, sent++) {
        memcpy(big, a->packets[0].bytes, 84);
        big[wrong[i].at] = wrong[i].value;
        px_lan_announce_input(b->core, px_slice(big, 84), &a->addr, b->now);
    }
    memcpy(big, a->packets[0].bytes, 84);
    big[2] = big[3] = 0; /* port 0 */
    px_lan_announce_input(b->core, px_slice(big, 84), &a->addr, b->now);
    CHECK_INT(stats(b).malformed, sent + 1);
    CHECK_INT(stats(b).tags, 0);
    leave(a), leave(b);
}

TEST(one_source_gets_its_share_of_work_only)
{
    struct party *b = party(BOB, "10.0.0.2:0");
    struct px_addr source = px_test_addr("10.0.0.66:0"), other = px_test_addr("10.0.0.67:0");
    uint8_t junk[84] = {1, 0, 1, 1};
    list(b, CROWD, 100);
    turn(b, b->now);
    for (uint32_t i = 0; i < 1000; i++) {
        memcpy(junk + 4, &i, 4);
        px_lan_announce_input(b->core, px_slice(junk, 84), &source, b->now);
    }
    CHECK_INT(stats(b).tags, PX_LAN_SOURCE_BURST * 100);
    px_lan_announce_input(b->core, px_slice(junk, 84), &other, b->now);
    CHECK_INT(stats(b).tags, (PX_LAN_SOURCE_BURST + 1) * 100);
    px_lan_announce_input(b->core, px_slice(junk, 84), &source, b->now + PX_SEC);
    CHECK_INT(stats(b).tags, (PX_LAN_SOURCE_BURST + 2) * 100);
    leave(b);
}

/* How many of `n` packets that come from one source at once are looked at. */
static uint64_t heard_of(struct party *b, const struct px_addr *source, unsigned n)
{
    uint8_t junk[84] = {1, 0, 1, 1};
    uint64_t before = stats(b).tags;
    for (unsigned i = 0; i < n; i++)
        px_lan_announce_input(b->core, px_slice(junk, sizeof(junk)), source, b->now);
    return stats(b).tags - before;
}

TEST(a_source_has_its_rate_again_after_a_burst)
{
    struct party *b = party(BOB, "10.0.0.2:0");
    struct px_addr source = px_test_addr("10.0.0.66:0");
    list(b, ALICE, 1);
    turn(b, b->now);
    CHECK_INT(heard_of(b, &source, PX_LAN_SOURCE_BURST + 1), PX_LAN_SOURCE_BURST);
    b->now += PX_SEC;
    CHECK_INT(heard_of(b, &source, PX_LAN_SOURCE_RATE + 1), PX_LAN_SOURCE_RATE);
    leave(b);
}

TEST(the_rates_of_so_many_sources_are_remembered)
{
    for (unsigned crowd = PX_LAN_SOURCES_MAX - 1; crowd <= PX_LAN_SOURCES_MAX; crowd++) {
        struct party *b = party(BOB, "10.0.0.2:0");
        struct px_addr source = px_test_addr("10.0.0.66:0"), other = px_test_addr("10.1.0.0:0");
        list(b, ALICE, 1);
        turn(b, b->now);
        CHECK_INT(heard_of(b, &source, PX_LAN_SOURCE_BURST), PX_LAN_SOURCE_BURST);
        b->now += PX_LAN_SOURCE_BURST * PX_SEC / PX_LAN_SOURCE_RATE - PX_SEC / 2;
        unsigned left = PX_LAN_SOURCE_BURST - PX_LAN_SOURCE_RATE / 2;
        for (unsigned i = 0; i < crowd; i++) { /* each is idle for a shorter time than `source` */
            other.ip[2] = (uint8_t)(i >> 8), other.ip[3] = (uint8_t)i;
            CHECK_INT(heard_of(b, &other, PX_LAN_SOURCE_RATE / 2 + 1), PX_LAN_SOURCE_RATE / 2 + 1);
        }
        bool forgotten = crowd == PX_LAN_SOURCES_MAX;
        CHECK_INT(heard_of(b, &source, PX_LAN_SOURCE_BURST + 1),
                  forgotten ? PX_LAN_SOURCE_BURST : left);
        leave(b);
    }
}

TEST(packets_of_all_sources_together_have_a_rate)
{
    struct party *b = party(BOB, "10.0.0.2:0");
    struct px_addr source = px_test_addr("10.1.0.0:0");
    unsigned n = 0, heard = 0;
    list(b, ALICE, 1);
    turn(b, b->now);
    for (; n <= PX_LAN_PACKET_BURST; n++) {
        source.ip[2] = (uint8_t)(n >> 8), source.ip[3] = (uint8_t)n;
        heard += (unsigned)heard_of(b, &source, 1);
    }
    CHECK_INT(heard, PX_LAN_PACKET_BURST);
    CHECK_INT(stats(b).limited, 1);
    b->now += PX_SEC;
    for (unsigned end = n + PX_LAN_PACKET_RATE; n <= end; n++) {
        source.ip[2] = (uint8_t)(n >> 8), source.ip[3] = (uint8_t)n;
        heard += (unsigned)heard_of(b, &source, 1);
    }
    CHECK_INT(heard, PX_LAN_PACKET_BURST + PX_LAN_PACKET_RATE);
    CHECK_INT(stats(b).limited, 2);
    leave(b);
}

TEST(a_flood_from_everywhere_costs_bounded_work)
{
    struct party *b = party(BOB, "10.0.0.2:0");
    struct px_addr source = px_test_addr("10.0.0.66:0");
    uint8_t junk[84] = {1, 1, 1, 1};
    const uint64_t peers = 1000, seconds = 10, rate = 20000;
    list(b, CROWD, peers);
    turn(b, b->now);
    px_nsec began = b->now;
    for (uint64_t i = 0; i < seconds * rate; i++) {
        memcpy(source.ip + 1, &i, 3); /* a new address each time */
        b->now = began + i * PX_SEC / rate;
        px_lan_announce_input(b->core, px_slice(junk, 84), &source, b->now);
    }
    struct px_lan_stats s = stats(b);
    CHECK(s.tags <= PX_LAN_TAG_BURST + seconds * PX_LAN_TAG_RATE + peers);
    CHECK(s.tags >= PX_LAN_TAG_RATE * seconds / 2); /* the limit was reached, not missed */
    CHECK(s.limited > s.received / 2);
    CHECK(px_lan_announce_deaf_until(b->core, b->now) > b->now);
    CHECK(px_lan_announce_deaf_until(b->core, b->now) < b->now + PX_SEC);
    CHECK_INT(px_lan_announce_deaf_until(b->core, b->now + PX_SEC), b->now + PX_SEC);
    leave(b);
}

TEST(found_peers_that_wait_are_bounded_and_forgotten_with_their_entry)
{
    struct party *b = party(BOB, "10.0.0.2:0"), *a = party(ALICE, "10.0.0.1:0");
    list(b, ALICE, 1);
    list(a, BOB, 1);
    turn(a, a->now);
    turn(b, b->now);
    for (uint8_t i = 0; i < 255; i++)
        for (uint8_t k = 0; k < 2; k++) { /* a listed peer that lies about its addresses */
            uint8_t packet[PX_LAN_PACKET_MAX];
            struct px_addr source = a->addr;
            source.ip[2] = k, source.ip[3] = i;
            size_t len = px_lan_announce_write(a->core, 0, PX_LAN_ANNOUNCE, &source, packet);
            px_lan_announce_input(b->core, px_slice(packet, len), &source, b->now);
        }
    CHECK_INT(stats(b).recognised, 510);
    CHECK_INT(stats(b).limited, 510 - PX_LAN_FOUND_MAX);
    list(b, CROWD, 1);
    turn(b, b->now + PX_SEC / 2);
    CHECK_INT(b->founds, 0);
    leave(a), leave(b);
}

TEST(answers_come_at_most_once_a_second)
{
    struct party *a = party(ALICE, "10.0.0.1:0"), *b = party(BOB, "10.0.0.2:0");
    list(a, BOB, 1);
    list(b, ALICE, 1);
    turn(a, a->now);
    turn(b, b->now + 500 * PX_SEC); /* announcing once a minute by now */
    unsigned before = b->sends;
    for (unsigned i = 0; i < 100; i++) {
        turn(b, b->now + 100 * PX_MSEC);
        carry(a, b, &a->addr);
    }
    CHECK(b->sends - before >= 7 && b->sends - before <= 12);
    leave(a), leave(b);
}

TEST(announcements_grow_rare_and_start_over_when_something_changes)
{
    static const unsigned seconds[] = {1, 2, 4, 8, 16, 32, 60, 60, 60};
    struct party *a = party(ALICE, "10.0.0.1:0");
    list(a, BOB, 1);
    turn(a, a->now + 300 * PX_SEC);
    for (size_t i = 0; i < PX_ARRAY_LEN(seconds) && i + 1 < a->sends; i++) {
        px_nsec gap = a->sent_at[i + 1] - a->sent_at[i];
        CHECK(gap >= seconds[i] * PX_SEC * 8 / 10 && gap <= seconds[i] * PX_SEC * 12 / 10);
    }
    CHECK(a->sends >= 9 && a->sends <= 13);
    CHECK_INT(a->kind, PX_LAN_ANNOUNCE);
    px_nsec changed = a->now;
    unsigned before = a->sends;
    px_lan_announce_refresh(a->core, a->now);
    turn(a, a->now + PX_SEC / 2);
    CHECK_INT(a->sends, before + 1);
    CHECK_INT(a->kind, PX_LAN_HELLO);
    CHECK(a->sent_at[before] <= changed + 100 * PX_MSEC);
    for (unsigned i = 0; i < 1000; i++) { /* a network that never rests */
        px_lan_announce_refresh(a->core, a->now);
        turn(a, a->now + PX_MSEC);
    }
    CHECK(a->sends - before <= 5);
    before = a->sends;
    for (unsigned i = 0; i < 6000; i++) {
        px_lan_announce_refresh(a->core, a->now);
        turn(a, a->now + 100 * PX_MSEC);
    }
    unsigned most = PX_LAN_RESTART_BURST + 600 * PX_SEC / PX_LAN_RESTART_GAP;
    CHECK(a->sends - before >= most / 2 && a->sends - before <= 3 * most);
    leave(a);
}

TEST(a_changed_allowlist_counts_at_once)
{
    struct party *a = party(ALICE, "10.0.0.1:0"), *b = party(BOB, "10.0.0.2:0");
    list(a, CROWD, 3);
    list(b, ALICE, 1);
    turn(b, b->now);
    turn(a, a->now + 300 * PX_SEC);
    unsigned before = a->sends;
    list(a, CROWD, 2); /* one less: nothing new to say */
    turn(a, a->now + PX_SEC / 2);
    CHECK_INT(a->sends, before);
    list(a, BOB, 1);
    turn(a, a->now + PX_SEC / 2);
    CHECK_INT(a->sends, before + 1);
    carry(a, b, &a->addr);
    CHECK_INT(stats(b).recognised, 1);
    list(b, CROWD, 1);
    turn(b, b->now + PX_SEC / 2);
    carry(a, b, &a->addr);
    CHECK_INT(stats(b).recognised, 1);
    leave(a), leave(b);
}

TEST(said_once_it_is_said_again_after_changes_only)
{
    struct party *a = party_in("default", ALICE, "10.0.0.1:0", true);
    list(a, BOB, 1);
    turn(a, a->now + 3600 * PX_SEC);
    CHECK_INT(a->sends, 1);
    px_lan_announce_refresh(a->core, a->now);
    turn(a, a->now + PX_SEC);
    CHECK_INT(a->sends, 2);
    list(a, CROWD, 0); /* what was said must be taken back */
    turn(a, a->now + PX_SEC);
    CHECK_INT(a->sends, 3);
    CHECK_INT(a->packet_count, 0);
    leave(a);
}

/* Gives the bytes 0, 1, 2, … to the first request, the nonce, and zeros afterwards. */
static void counting(void *ctx, void *buf, size_t len)
{
    bool *first = ctx;
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)buf)[i] = *first ? (uint8_t)i : 0;
    *first = false;
}

static void seeded(uint8_t byte, struct px_identity *ret)
{
    uint8_t seed[32];
    memset(seed, byte, sizeof(seed));
    px_ed25519_from_seed(seed, &ret->secret, ret->id.key);
}

TEST(tags_are_those_of_the_specification)
{
    /* docs/spec/lan.md §5, computed by other code */
    static const struct {
        uint8_t from, to;
        enum px_lan_kind kind;
        const char *source;
        uint8_t tag[PX_LAN_TAG_LEN];
    } cases[] = {
        {1, 2, PX_LAN_HELLO, "192.0.2.1:0", {0xd8, 0xaf, 0xb6, 0x61, 0x63, 0x8c, 0x74, 0x47}},
        {2, 1, PX_LAN_HELLO, "192.0.2.1:0", {0x7f, 0x55, 0x5c, 0x0f, 0xbd, 0x1d, 0x93, 0xa6}},
        {1, 2, PX_LAN_ANNOUNCE, "[fe80::1]:0", {0xc6, 0x3b, 0xe0, 0x34, 0xcc, 0x9f, 0x34, 0x56}},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(cases); i++) {
        struct px_identity from, to;
        struct px_authorized_keys *list;
        struct px_lan_keys *pairs;
        char line[128], id[PX_PEER_ID_TEXT_MAX];
        uint8_t packet[PX_LAN_PACKET_MAX];
        bool first = true, added;
        const struct px_rng rng = {counting, &first};
        struct px_addr source = px_test_addr(cases[i].source);
        seeded(cases[i].from, &from);
        seeded(cases[i].to, &to);
        snprintf(line, sizeof(line), "%s\n", px_peer_id_format(&to.id, id));
        CHECK_OK(px_authorized_keys_parse(px_slice_cstr(line), &list));
        CHECK_OK(px_lan_keys_new(&from, PX_SLICE_LIT("default"), &pairs));
        CHECK_OK(px_lan_keys_update(pairs, list, &added));
        CHECK(px_lan_keys_derive(pairs, 1));
        size_t len = px_lan_packet_write(pairs, 0, cases[i].kind, &source, 12303, &rng, packet);
        CHECK_INT(len, 84);
        CHECK(memmem(packet + PX_LAN_HEADER_LEN, len - PX_LAN_HEADER_LEN, cases[i].tag,
                     PX_LAN_TAG_LEN) != NULL);
        px_lan_keys_free(pairs);
        px_authorized_keys_free(list);
    }
}
