/* The history of peers: aging on the monotonic clock, bounds, and what state.db brings back over
 * restarts, wrong clocks and edited rows. */
#include "node/peer_history_io.h"

#include <stdlib.h>

#include "node/state_db.h"
#include "tests/test.h"

#define DAY  PX_HISTORY_HALF_LIFE
#define WALL 2000000000u /* some day in 2033 */

static struct px_peer_id id_of(unsigned n)
{
    return (struct px_peer_id){.key = {7, (uint8_t)(n >> 8), (uint8_t)n}};
}

static struct px_peer_history *new_history(void)
{
    static struct px_test_rng seed;
    const struct px_rng rng = px_test_rng(&seed, 1);
    struct px_peer_history *h;
    CHECK_OK(px_peer_history_new(&rng, &h));
    return h;
}

TEST(demerits_halve_in_a_day_and_never_grow_by_themselves)
{
    static const struct {
        px_nsec age;
        uint32_t left;
    } rows[] = {{0, 16},      {DAY / 2, 12}, {DAY, 8},     {3 * DAY / 2, 6}, {2 * DAY, 4},
                {3 * DAY, 2}, {4 * DAY, 1},  {5 * DAY, 0}, {64 * DAY, 0},    {PX_NEVER - 1, 0}};
    struct px_peer_history *h = new_history();
    const struct px_peer_id id = id_of(1);
    px_peer_history_fault(h, &id, PX_HISTORY_LIED, 16, 100);
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++)
        CHECK_INT(px_peer_history_demerits(h, &id, 100 + rows[i].age - (i == 9 ? 100 : 0)),
                  rows[i].left);
    CHECK_INT(px_peer_history_demerits(h, &id, 0), 16); /* before it happened */
    px_nsec step = DAY / 97;
    for (uint64_t now = 100, last = 16; now < 6 * DAY; now += step) {
        CHECK(px_peer_history_demerits(h, &id, now) <= last);
        last = px_peer_history_demerits(h, &id, now);
    }
    px_peer_history_fault(h, &id, PX_HISTORY_STALLED, 2, 100 + DAY);
    CHECK_INT(px_peer_history_demerits(h, &id, 100 + DAY), 10);
    CHECK_INT(px_peer_history_demerits(h, &id, 100 + 2 * DAY), 5);
    px_peer_history_free(h);
}

TEST(what_came_and_what_failed_is_counted_and_demerits_are_bounded)
{
    struct px_peer_history *h = new_history();
    const struct px_peer_id id = id_of(1), other = id_of(2);
    struct px_history_record r;
    CHECK(!px_peer_history_get(h, &id, 0, &r));
    px_peer_history_nar(h, &id, 1000, 1);
    px_peer_history_nar(h, &id, 500, 2);
    for (int i = 0; i < 100; i++)
        px_peer_history_fault(h, &id, PX_HISTORY_CUT, 1, 3);
    CHECK(px_peer_history_get(h, &id, 3, &r));
    CHECK_INT(r.bytes, 1500);
    CHECK_INT(r.nars, 2);
    CHECK_INT(r.faults[PX_HISTORY_CUT], 100);
    CHECK_INT(r.faults[PX_HISTORY_LIED], 0);
    CHECK_INT(px_peer_history_demerits(h, &id, 3), PX_HISTORY_DEMERITS_MAX);
    CHECK_INT(px_peer_history_demerits(h, &other, 3), 0);
    px_peer_history_free(h);
}

TEST(so_many_peers_are_remembered_and_the_oldest_news_make_room)
{
    struct px_peer_history *h = new_history();
    struct px_history_record r;
    struct px_peer_id id;
    for (unsigned n = 0; n < PX_HISTORY_PEERS_MAX; n++) {
        id = id_of(n);
        px_peer_history_nar(h, &id, 1, n);
    }
    id = id_of(0);
    px_peer_history_nar(h, &id, 1, PX_HISTORY_PEERS_MAX); /* news */
    id = id_of(PX_HISTORY_PEERS_MAX);
    px_peer_history_nar(h, &id, 1, PX_HISTORY_PEERS_MAX + 1);
    id = id_of(0);
    CHECK(px_peer_history_get(h, &id, 1, &r));
    id = id_of(1);
    CHECK(!px_peer_history_get(h, &id, 1, &r));
    id = id_of(2);
    CHECK(px_peer_history_get(h, &id, 1, &r));
    px_peer_history_free(h);
}

TEST(a_new_key_has_the_history_of_the_old_one)
{
    const struct px_peer_id old_id = id_of(1), new_id = id_of(2), nobody = id_of(3);
    struct px_history_record r, before;
    struct px_peer_history *h = new_history();
    px_peer_history_nar(h, &old_id, 4096, 0);
    px_peer_history_fault(h, &old_id, PX_HISTORY_LIED, 16, 0);
    for (int i = 0; i < 2; i++) { /* told again it is no more */
        px_peer_history_follow(h, &old_id, &new_id, DAY);
        CHECK(px_peer_history_get(h, &old_id, DAY, &before));
        CHECK(px_peer_history_get(h, &new_id, DAY, &r));
        CHECK(memcmp(&r, &before, sizeof(r)) == 0);
        CHECK_INT(px_peer_history_demerits(h, &new_id, DAY), 8);
    }
    CHECK_INT(px_peer_history_demerits(h, &new_id, 2 * DAY), 4); /* and ages on */
    px_peer_history_follow(h, &nobody, &nobody, DAY);
    CHECK(!px_peer_history_get(h, &nobody, DAY, &r));
    px_peer_history_free(h);
}

static void count_calls(void *ctx)
{
    ++*(int *)ctx;
}

TEST(who_keeps_it_is_told_when_there_begins_to_be_something_to_write)
{
    const struct px_peer_id a = id_of(1), b = id_of(2);
    struct px_peer_id id;
    struct px_history_record r;
    int calls = 0;
    struct px_peer_history *h = new_history();
    px_peer_history_watch(h, count_calls, &calls);
    px_peer_history_nar(h, &a, 1, 0);
    px_peer_history_nar(h, &a, 1, 0);
    px_peer_history_nar(h, &b, 1, 0);
    CHECK_INT(calls, 1);
    while (px_peer_history_take_changed(h, 0, &id, &r))
        ;
    px_peer_history_age(h); /* nothing that ages */
    CHECK_INT(calls, 1);
    px_peer_history_fault(h, &b, PX_HISTORY_LIED, 1, 0);
    CHECK_INT(calls, 2);
    while (px_peer_history_take_changed(h, 0, &id, &r))
        ;
    px_peer_history_age(h);
    CHECK_INT(calls, 3);
    px_peer_history_free(h);
}

/* ---- kept ---- */

struct fixture {
    struct px_home home;
    struct px_log log;
    struct px_sqlite *db;
};

static void on_log(void *ctx, enum px_log_level level, const char *event,
                   const struct px_log_field *fields, size_t count)
{
    (void)ctx, (void)level, (void)event, (void)fields, (void)count;
}

static void setup(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    snprintf(f->home.state_dir, sizeof(f->home.state_dir), "/tmp/px-test-history.XXXXXX");
    CHECK(mkdtemp(f->home.state_dir) != NULL);
    f->log = (struct px_log){.level = PX_LOG_DEBUG, .emit = on_log};
    CHECK_OK(px_state_db_open(&f->home, &f->log, &f->db));
}

static void teardown(struct fixture *f)
{
    char command[PX_HOME_PATH_MAX + 32];
    px_sqlite_close(f->db);
    snprintf(command, sizeof(command), "rm -rf '%s'", f->home.state_dir);
    CHECK_INT(system(command), 0);
}

static bool listed(void *ctx, const struct px_peer_id *id)
{
    const struct px_peer_id stranger = id_of(99);
    (void)ctx;
    return !px_peer_id_eq(id, &stranger);
}

/* Another run of the node: its monotonic clock begins anew. */
static struct px_peer_history *reopened(struct fixture *f, uint64_t wall)
{
    struct px_peer_history *h = new_history();
    CHECK_OK(px_peer_history_load(f->db, h, wall, 5, listed, NULL));
    return h;
}

TEST(a_history_survives_a_restart_and_ages_by_a_day_at_most_while_the_node_is_away)
{
    static const struct {
        uint64_t wall;
        uint32_t left;
    } rows[] = {{WALL, 16},
                {WALL + 12 * 3600, 12},
                {WALL + 24 * 3600, 8},
                {WALL + 3650ull * 24 * 3600, 8}, /* a clock gone mad */
                {WALL - 1000000, 16},            /* set back */
                {0, 16}};
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        struct fixture f;
        struct px_history_record r;
        const struct px_peer_id id = id_of(1), stranger = id_of(99);
        setup(&f);
        struct px_peer_history *h = new_history();
        px_peer_history_nar(h, &id, UINT64_MAX, 1000);
        px_peer_history_fault(h, &id, PX_HISTORY_LIED, 16, 1000);
        px_peer_history_fault(h, &stranger, PX_HISTORY_LIED, 8, 1000);
        CHECK_OK(px_peer_history_save(f.db, h, WALL, 1000));
        px_peer_history_free(h);
        h = reopened(&f, rows[i].wall);
        CHECK(px_peer_history_get(h, &id, 5, &r));
        CHECK_INT(px_peer_history_demerits(h, &id, 5), rows[i].left);
        CHECK_INT(r.faults[PX_HISTORY_LIED], 1);
        CHECK_INT(r.nars, 1);
        CHECK(r.bytes == (uint64_t)INT64_MAX);
        CHECK(!px_peer_history_get(h, &stranger, 5, &r)); /* and its row is gone */
        px_peer_history_free(h);
        teardown(&f);
    }
}

TEST(only_what_changed_is_written_and_demerits_as_they_age)
{
    struct fixture f;
    struct px_history_record r;
    struct px_peer_id changed;
    const struct px_peer_id good = id_of(1), bad = id_of(2);
    setup(&f);
    struct px_peer_history *h = new_history();
    px_peer_history_nar(h, &good, 1, 0);
    px_peer_history_fault(h, &bad, PX_HISTORY_LIED, 8, 0);
    CHECK_OK(px_peer_history_save(f.db, h, WALL, 0));
    CHECK(!px_peer_history_take_changed(h, 0, &changed, &r));
    px_peer_history_age(h);
    px_peer_history_age(h);
    CHECK(px_peer_history_take_changed(h, DAY, &changed, &r));
    CHECK(px_peer_id_eq(&changed, &bad) && r.demerits == 4000);
    CHECK(!px_peer_history_take_changed(h, DAY, &changed, &r));
    px_peer_history_free(h);
    teardown(&f);
}

TEST(what_a_broken_disk_did_not_take_is_written_when_it_works_again)
{
    static const char *const steps[][2] = {
        {"ALTER TABLE peer_history RENAME TO away;", "ALTER TABLE away RENAME TO peer_history;"},
        {"BEGIN;", "ROLLBACK;"},
        {"CREATE TRIGGER no BEFORE INSERT ON peer_history BEGIN SELECT RAISE(ABORT, 'full'); END;",
         "DROP TRIGGER no;"}};
    for (size_t i = 0; i < PX_ARRAY_LEN(steps); i++) {
        struct fixture f;
        setup(&f);
        struct px_peer_history *h = new_history();
        const struct px_peer_id id = id_of(1);
        px_peer_history_fault(h, &id, PX_HISTORY_LIED, 8, 0);
        CHECK_OK(px_sqlite_exec(f.db, steps[i][0]));
        CHECK(px_peer_history_save(f.db, h, WALL, 0) != 0);
        (void)!px_sqlite_exec(f.db, steps[i][1]);
        CHECK_OK(px_peer_history_save(f.db, h, WALL, 0));
        px_peer_history_free(h);
        h = reopened(&f, WALL);
        CHECK_INT(px_peer_history_demerits(h, &id, 5), 8);
        px_peer_history_free(h);
        teardown(&f);
    }
}

TEST(rows_that_make_no_sense_are_dropped)
{
    struct fixture f;
    struct px_history_record r;
    const struct px_peer_id id = id_of(1);
    char peer[PX_PEER_ID_TEXT_MAX], sql[512];
    setup(&f);
    CHECK_OK(px_sqlite_exec(f.db, "INSERT INTO peer_history VALUES"
                                  " ('junk', 1, 1, 1, 1, 1, 1, 1, 1, 1, 1);"));
    snprintf(sql, sizeof(sql),
             "INSERT INTO peer_history VALUES ('%s', -1, 1, 1, 1, 1, 1, 1, 1, 1, 1);",
             px_peer_id_format(&id, peer));
    CHECK_OK(px_sqlite_exec(f.db, sql));
    struct px_peer_history *h = reopened(&f, WALL);
    CHECK(!px_peer_history_get(h, &id, 5, &r));
    px_peer_history_free(h);
    snprintf(sql, sizeof(sql),
             "INSERT INTO peer_history VALUES ('%s', 1, 1, 1, 1, 1, 1, 1, 1, 9223372036854775807,"
             " 1);",
             px_peer_id_format(&id, peer));
    CHECK_OK(px_sqlite_exec(f.db, sql)); /* the row before is gone */
    h = reopened(&f, 1);
    CHECK_INT(px_peer_history_demerits(h, &id, 5), PX_HISTORY_DEMERITS_MAX);
    px_peer_history_free(h);
    teardown(&f);
}
