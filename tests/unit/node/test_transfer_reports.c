/* What is reported to relays when, on a virtual clock: nothing twice, soon after quiet, again while
 * it moves, after the end of a link, and within every bound. */
#include "node/transfer_reports.h"

#include "tests/test.h"

static struct px_transfer_reports *r;

static struct px_peer_id id_of(unsigned n)
{
    return (struct px_peer_id){.key = {9, (uint8_t)(n >> 8), (uint8_t)n}};
}

static void setup(bool report)
{
    static struct px_test_rng seed;
    const struct px_rng rng = px_test_rng(&seed, 1);
    CHECK_OK(px_transfer_reports_new(&rng, report, &r));
}

static void count(unsigned session, uint64_t sent, uint64_t received, px_nsec now)
{
    const struct px_peer_id peer = id_of(session);
    uint8_t id[PX_RELAY_SESSION_LEN] = {(uint8_t)(session >> 8), (uint8_t)session};
    px_transfer_reports_count(r, &peer, id, sent, received, now);
}

static void end_link(unsigned session, px_nsec now)
{
    uint8_t id[PX_RELAY_SESSION_LEN] = {(uint8_t)(session >> 8), (uint8_t)session};
    px_transfer_reports_ended(r, id, now);
}

static void up(unsigned relay, px_nsec now)
{
    const struct px_peer_id id = id_of(1000 + relay);
    px_transfer_reports_up(r, &id, now);
}

static void down(unsigned relay, px_nsec now)
{
    const struct px_peer_id id = id_of(1000 + relay);
    px_transfer_reports_down(r, &id, now);
}

static bool next(unsigned relay, bool last, px_nsec now, struct px_transfer_order *o)
{
    const struct px_peer_id id = id_of(1000 + relay);
    return px_transfer_reports_next(r, &id, last, now, o);
}

static void answer(unsigned relay, const struct px_transfer_order *o, enum px_relay_status status,
                   const uint64_t *totals, px_nsec now)
{
    const struct px_peer_id id = id_of(1000 + relay);
    px_transfer_reports_answer(r, &id, o->ticket, status, totals, now);
}

/* The next report of that many bytes goes out at exactly this time, and is taken. */
static void reported(unsigned relay, px_nsec at, enum px_relay_direction direction, uint64_t bytes)
{
    struct px_transfer_order o;
    CHECK_INT(px_transfer_reports_deadline(r), at);
    CHECK(!next(relay, false, at - 1, &o));
    CHECK(next(relay, false, at, &o));
    CHECK(o.report);
    CHECK_INT(o.direction, direction);
    CHECK_INT(o.bytes, bytes);
    answer(relay, &o, PX_RELAY_OK, NULL, at);
}

/* Answers the request for totals that follows with all confirmed. */
static void settle(unsigned relay, px_nsec at)
{
    static const uint64_t all[PX_RELAY_TOTALS_LEN] = {1, 1, 1, 1};
    struct px_transfer_order o;
    CHECK(next(relay, false, at, &o));
    CHECK(!o.report);
    answer(relay, &o, PX_RELAY_OK, all, at);
}

#define T (1000 * PX_SEC)

TEST(a_transfer_is_reported_when_it_is_quiet_and_not_again)
{
    struct px_transfer_order o;
    setup(true);
    up(0, T);
    CHECK(px_transfer_reports_heard(r));
    CHECK(px_transfer_reports_deadline(r) == PX_NEVER);
    count(1, 0, 700, T);
    count(1, 0, 900, T + PX_SEC / 2);
    reported(0, T + PX_SEC / 2 + PX_TRANSFER_QUIET, PX_RELAY_RECEIVED, 900);
    settle(0, T + 4 * PX_SEC);
    CHECK(!next(0, false, T + 3000 * PX_SEC, &o));
    count(1, 0, 900, T + 3000 * PX_SEC); /* nothing new */
    CHECK(px_transfer_reports_deadline(r) == PX_NEVER);
    px_transfer_reports_free(r);
}

TEST(one_that_goes_on_is_reported_every_minute_and_short_ones_every_few_seconds)
{
    setup(true);
    up(0, T);
    px_nsec now = T, last = T;
    unsigned reports = 0;
    struct px_transfer_order o;
    for (; now < T + 200 * PX_SEC; now += PX_SEC / 2) { /* never quiet */
        count(1, (now - T) / PX_MSEC + 1, 0, now);
        while (next(0, false, now, &o)) {
            uint64_t none[PX_RELAY_TOTALS_LEN] = {0};
            reports += o.report;
            CHECK(!o.report || now - last >= PX_TRANSFER_MOVING);
            last = o.report ? now : last;
            answer(0, &o, PX_RELAY_OK, o.report ? NULL : none, now);
        }
    }
    CHECK_INT(reports, 3);
    for (last = 0; now < T + 300 * PX_SEC; now += 2 * PX_SEC) { /* quiet between any two */
        count(1, (now - T) / PX_MSEC + 1, 0, now);
        while (next(0, false, now + PX_TRANSFER_QUIET, &o)) {
            uint64_t none[PX_RELAY_TOTALS_LEN] = {0};
            CHECK(!o.report || now - last >= PX_TRANSFER_GAP);
            last = o.report ? now : last;
            answer(0, &o, PX_RELAY_OK, o.report ? NULL : none, now + PX_TRANSFER_QUIET);
        }
    }
    CHECK(last > T + 290 * PX_SEC);
    px_transfer_reports_free(r);
}

TEST(a_link_that_ended_is_reported_at_once_and_to_relays_that_come_within_an_hour)
{
    struct px_transfer_order o;
    setup(true);
    count(1, 500, 0, T);
    end_link(1, T + 1);
    CHECK(px_transfer_reports_deadline(r) == PX_NEVER); /* no relay */
    CHECK(!px_transfer_reports_heard(r));
    up(0, T + 600 * PX_SEC);
    CHECK(next(0, false, T + 600 * PX_SEC, &o));
    CHECK(o.report && o.bytes == 500);
    px_transfer_reports_free(r);

    setup(true);
    count(1, 500, 0, T);
    end_link(1, T);
    up(0, T + PX_TRANSFER_KEEP);
    CHECK(!next(0, false, T + PX_TRANSFER_KEEP, &o));
    px_transfer_reports_free(r);
}

TEST(every_relay_is_told_and_one_that_was_away_what_it_missed)
{
    struct px_transfer_order o;
    setup(true);
    up(0, T);
    up(1, T);
    count(1, 500, 0, T);
    for (unsigned relay = 0; relay < 2; relay++) {
        CHECK(next(relay, false, T + PX_TRANSFER_QUIET, &o));
        CHECK(o.report && o.bytes == 500);
        if (relay == 0)
            answer(relay, &o, PX_RELAY_OK, NULL, T + PX_TRANSFER_QUIET);
    }
    down(1, T + 2 * PX_SEC);                          /* before its answer */
    answer(1, &o, PX_RELAY_OK, NULL, T + 2 * PX_SEC); /* of a connection that is gone */
    up(1, T + 3 * PX_SEC);
    CHECK(next(1, false, T + 3 * PX_SEC, &o));
    CHECK(o.report && o.bytes == 500);
    CHECK(!next(0, false, T + 3 * PX_SEC - 1, &o));
    px_transfer_reports_free(r);
}

TEST(a_relay_that_takes_no_reports_is_let_alone_and_a_busy_one_tried_again)
{
    static const struct {
        enum px_relay_status status;
        px_nsec again; /* PX_NEVER: not this count */
        bool refuses;
    } rows[] = {
        {PX_RELAY_PERMISSION_DENIED, PX_NEVER, true},
        {PX_RELAY_UNEXPECTED_MESSAGE, PX_NEVER, true},
        {PX_RELAY_STALE, PX_NEVER, false},
        {PX_RELAY_BAD_RECORD, PX_NEVER, false},
        {PX_RELAY_RESOURCE_LIMIT_EXCEEDED, PX_NEVER, false},
        {PX_RELAY_RATE_LIMITED, PX_TRANSFER_MOVING, false},
        {PX_RELAY_INTERNAL, PX_TRANSFER_MOVING, false},
        {PX_RELAY_NO_ANSWER, PX_TRANSFER_MOVING, false},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        struct px_transfer_order o;
        const px_nsec at = T + PX_TRANSFER_QUIET;
        setup(true);
        up(0, T);
        count(1, 500, 0, T);
        CHECK(next(0, false, at, &o));
        answer(0, &o, rows[i].status, NULL, at);
        CHECK(px_transfer_reports_deadline(r) ==
              (rows[i].again == PX_NEVER ? PX_NEVER : at + rows[i].again));
        count(1, 600, 0, at);
        CHECK_INT(px_transfer_reports_deadline(r) == PX_NEVER, rows[i].refuses);
        CHECK_INT(px_transfer_reports_heard(r), !rows[i].refuses);
        down(0, at);
        up(0, at + PX_SEC); /* anew */
        CHECK(next(0, false, at + PX_SEC, &o));
        CHECK_INT(o.bytes, 600);
        px_transfer_reports_free(r);
    }
}

TEST(totals_are_asked_for_until_all_is_confirmed_ever_more_seldom)
{
    struct px_transfer_order o;
    uint64_t totals[PX_RELAY_TOTALS_LEN] = {0, 0, 300, 900}, seen[PX_RELAY_TOTALS_LEN];
    const struct px_peer_id peer = id_of(1);
    setup(true);
    up(0, T);
    count(1, 0, 900, T);
    reported(0, T + PX_TRANSFER_QUIET, PX_RELAY_RECEIVED, 900);
    CHECK(!px_transfer_reports_totals(r, &peer, seen));
    px_nsec at = T + PX_TRANSFER_QUIET + PX_TRANSFER_TOTALS_FIRST, pause = PX_TRANSFER_TOTALS_FIRST;
    for (int i = 0; i < 10; i++) {
        CHECK_INT(px_transfer_reports_deadline(r), at);
        CHECK(next(0, false, at, &o));
        CHECK(!o.report && px_peer_id_eq(&o.peer, &peer));
        CHECK(!next(0, false, at, &o));
        answer(0, &o, PX_RELAY_OK, totals, at);
        CHECK(px_transfer_reports_totals(r, &peer, seen));
        CHECK_INT(seen[PX_RELAY_RECEIVED_CONFIRMED], 300);
        CHECK_INT(seen[PX_RELAY_RECEIVED_TOTAL], 900);
        pause = PX_MIN(4 * pause, (px_nsec)PX_TRANSFER_TOTALS_MAX);
        at += pause;
    }
    CHECK(pause == PX_TRANSFER_TOTALS_MAX);
    totals[PX_RELAY_RECEIVED_CONFIRMED] = 900;
    CHECK(next(0, false, at, &o));
    answer(0, &o, PX_RELAY_OK, totals, at);
    CHECK(px_transfer_reports_deadline(r) == PX_NEVER);
    px_transfer_reports_free(r);
}

TEST(of_several_relays_the_largest_figures_count)
{
    static const uint64_t said[2][PX_RELAY_TOTALS_LEN] = {{10, 10, 0, 5}, {0, 20, 3, 4}};
    const struct px_peer_id peer = id_of(1);
    uint64_t seen[PX_RELAY_TOTALS_LEN];
    struct px_transfer_order o;
    setup(false); /* nothing is reported, the totals are asked for */
    count(1, 50, 50, T);
    px_transfer_reports_want(r, &peer);
    CHECK(!px_transfer_reports_heard(r));
    for (unsigned relay = 0; relay < 2; relay++) {
        up(relay, T);
        CHECK(next(relay, false, T, &o));
        CHECK(!o.report);
        answer(relay, &o, PX_RELAY_OK, said[relay], T);
    }
    CHECK(!next(0, true, T, &o));
    CHECK(px_transfer_reports_totals(r, &peer, seen));
    CHECK(seen[0] == 10 && seen[1] == 20 && seen[2] == 3 && seen[3] == 5);
    px_transfer_reports_free(r);
}

TEST(at_the_end_all_that_was_not_told_is)
{
    struct px_transfer_order o;
    setup(true);
    up(0, T);
    count(1, 100, 200, T);
    CHECK(!next(0, false, T, &o));
    CHECK(next(0, true, T, &o));
    CHECK_INT(o.bytes, 100);
    CHECK(next(0, true, T, &o));
    CHECK_INT(o.bytes, 200);
    CHECK(!next(0, true, T, &o));
    px_transfer_reports_free(r);
}

TEST(a_relay_gets_so_many_requests_at_a_time_and_a_second)
{
    struct px_transfer_order o[PX_TRANSFER_UNDER_WAY];
    unsigned sent = 0;
    px_nsec now = T + 10 * PX_SEC;
    setup(true);
    up(0, T);
    for (unsigned n = 0; n < 40; n++)
        count(n, 100, 0, T);
    while (next(0, false, now, &o[sent]))
        sent++;
    CHECK_INT(sent, PX_TRANSFER_RATE);
    CHECK_INT(px_transfer_reports_deadline(r), now + PX_SEC);
    now += PX_SEC;
    while (sent < PX_TRANSFER_UNDER_WAY && next(0, false, now, &o[sent]))
        sent++;
    CHECK_INT(sent, PX_TRANSFER_UNDER_WAY);
    now += PX_SEC;
    struct px_transfer_order more;
    CHECK(!next(0, false, now, &more)); /* they have to be answered first */
    CHECK(px_transfer_reports_deadline(r) == PX_NEVER);
    answer(0, &o[3], PX_RELAY_OK, NULL, now);
    CHECK(next(0, false, now, &more));
    CHECK(!next(0, false, now, &more));
    px_transfer_reports_free(r);
}

TEST(sessions_peers_and_relays_are_bounded)
{
    struct px_transfer_order o;
    uint64_t seen[PX_RELAY_TOTALS_LEN];
    static const uint64_t zero[PX_RELAY_TOTALS_LEN];
    setup(true);
    for (unsigned n = 0; n < PX_TRANSFER_SESSIONS_MAX; n++)
        count(n, 100 + n, 0, T);
    end_link(5, T);
    count(PX_TRANSFER_SESSIONS_MAX, 1, 0, T);              /* in the place of the one that ended */
    count(PX_TRANSFER_SESSIONS_MAX + 1, 2, 0, T);          /* in that of the oldest */
    for (unsigned k = 0; k <= PX_TRANSFER_RELAYS_MAX; k++) /* one of them has no place */
        up(k, T);
    CHECK(!next(PX_TRANSFER_RELAYS_MAX, true, T, &o));
    unsigned told = 0;
    while (next(0, true, T, &o)) {
        CHECK(o.bytes != 105 && o.bytes != 100);
        answer(0, &o, PX_RELAY_OK, NULL, T);
        told++;
    }
    CHECK_INT(told, PX_TRANSFER_SESSIONS_MAX);
    down(0, T);
    up(PX_TRANSFER_RELAYS_MAX, T); /* now it has */
    CHECK(next(PX_TRANSFER_RELAYS_MAX, true, T, &o));
    px_transfer_reports_free(r);

    setup(true);
    for (unsigned n = 0; n <= PX_TRANSFER_PEERS_MAX; n++) {
        const struct px_peer_id peer = id_of(n);
        px_transfer_reports_want(r, &peer);
    }
    up(0, T);
    unsigned asked = 0;
    for (px_nsec now = T; now < T + 1000 * PX_SEC; now += PX_SEC)
        while (next(0, false, now, &o)) {
            answer(0, &o, PX_RELAY_OK, zero, now);
            asked++;
        }
    CHECK_INT(asked, PX_TRANSFER_PEERS_MAX);
    const struct px_peer_id first = id_of(0), second = id_of(1);
    CHECK(!px_transfer_reports_totals(r, &first, seen));
    CHECK(px_transfer_reports_totals(r, &second, seen));
    px_transfer_reports_free(r);
}
