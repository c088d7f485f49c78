/* The path machine (docs/spec/paths.md §4 to §6, §8) by itself: what it asks and when, what proves
 * a path and what does not, and that nobody makes it send more than it got. */
#include "transport/link_path.h"

#include "tests/test.h"

#define SENT_MAX 4096

struct sent {
    struct px_path path;
    struct px_disco_packet packet;
    px_nsec at;
};

struct end {
    struct px_link_path path;
    struct px_test_rng rng;
    px_nsec now;
    struct px_path current, allowed, migrated;
    size_t proved_count, migrate_count, poke_count, lost_count;
    int migrate_err;
    struct sent sent[SENT_MAX];
    size_t sent_count;
};

static void on_send(void *ctx, const struct px_path *path, const struct px_disco_packet *packet)
{
    struct end *e = ctx;
    CHECK(e->sent_count < SENT_MAX);
    e->sent[e->sent_count++] = (struct sent){*path, *packet, e->now};
}

static void on_current(void *ctx, struct px_path *ret)
{
    *ret = ((struct end *)ctx)->current;
}

static bool on_is_proved(void *ctx, const struct px_path *path)
{
    const struct end *e = ctx;
    return px_path_eq(path, &e->current) || px_path_eq(path, &e->allowed);
}

static void on_proved(void *ctx, const struct px_path *path)
{
    struct end *e = ctx;
    e->proved_count++;
    if (!px_path_eq(path, &e->current))
        e->allowed = *path;
}

static int on_migrate(void *ctx, const struct px_path *path)
{
    struct end *e = ctx;
    CHECK(e->path.client);
    e->migrate_count++;
    if (e->migrate_err == 0) {
        e->migrated = e->current = *path;
        px_link_path_moved(&e->path, e->now);
    }
    return e->migrate_err;
}

static void on_poke(void *ctx)
{
    ((struct end *)ctx)->poke_count++;
}

static void on_lost(void *ctx)
{
    ((struct end *)ctx)->lost_count++;
}

static const struct px_link_path_ops ops = {on_send,    on_current, on_is_proved, on_proved,
                                            on_migrate, on_poke,    on_lost};

static struct px_addr addr(uint8_t a, uint8_t b)
{
    struct px_addr r;
    memset(&r, 0, sizeof(r));
    r.family = PX_ADDR_IP4;
    r.ip[0] = a;
    r.ip[3] = b;
    r.port = 4433;
    return r;
}

static struct px_path path_of(struct px_addr local, struct px_addr remote)
{
    return (struct px_path){local, remote};
}

static struct end *start(bool client)
{
    static struct end e;
    memset(&e, 0, sizeof(e));
    e.now = 100 * PX_SEC;
    e.current = path_of(addr(10, 1), addr(10, 2));
    struct px_rng rng = px_test_rng(&e.rng, 1);
    px_link_path_init(&e.path, client, &rng, &ops, &e);
    return &e;
}

/* Runs up to `until` as an overlay does, at each deadline. */
static void run(struct end *e, px_nsec heard_at, px_nsec until)
{
    px_nsec at;
    while ((at = px_link_path_deadline(&e->path)) <= until) {
        e->now = PX_MAX(e->now, at);
        px_link_path_run(&e->path, heard_at, e->now);
    }
    e->now = until;
}

static void give(struct end *e, const struct px_path *path, enum px_disco_type type, uint64_t nonce,
                 uint64_t challenge)
{
    struct px_disco_packet p = {.type = type, .nonce = nonce, .challenge = challenge};
    if (type == PX_DISCO_PONG)
        p.observed = path->local;
    px_link_path_input(&e->path, path, &p, e->now);
}

static const struct sent *last(const struct end *e)
{
    CHECK(e->sent_count > 0);
    return &e->sent[e->sent_count - 1];
}

TEST(a_doubt_asks_on_the_path_in_use_and_from_any_address_less_and_less_often)
{
    static const px_nsec at[] = {0, 100, 300, 700, 1500, 2500, 3500};
    for (int client = 0; client < 2; client++) {
        struct end *e = start(client != 0);
        px_nsec began = e->now;
        px_link_path_doubt(&e->path, e->now);
        CHECK(px_link_path_deadline(&e->path) <= began);
        run(e, 0, began + 4 * PX_SEC);
        CHECK_INT(e->sent_count, 2 * PX_ARRAY_LEN(at));
        struct px_addr any = addr(0, 0);
        for (size_t i = 0; i < e->sent_count; i++) {
            const struct sent *s = &e->sent[i];
            CHECK_INT(s->at - began, at[i / 2] * PX_MSEC);
            CHECK_INT(s->packet.type, client ? PX_DISCO_PING : PX_DISCO_MOVED);
            CHECK(px_addr_eq(&s->path.remote, &e->current.remote));
            CHECK(px_addr_eq(&s->path.local, i % 2 == 0 ? &e->current.local : &any));
        }
        run(e, e->now - 1, began + 10 * PX_SEC); /* something was heard */
        CHECK_INT(e->sent_count, 2 * PX_ARRAY_LEN(at));
        CHECK(px_link_path_deadline(&e->path) == PX_NEVER);
    }
}

TEST(a_suggested_address_is_asked_in_doubt_and_the_link_moves_there)
{
    struct px_addr there = addr(12, 9), any = addr(0, 0), here = addr(10, 2);
    struct px_path path = path_of(addr(11, 1), there);
    for (int client = 0; client < 2; client++) {
        struct end *e = start(client != 0);
        px_link_path_suggest(&e->path, &here, e->now);
        run(e, 0, e->now + 10 * PX_SEC);
        CHECK_INT(e->sent_count, 0); /* no doubt, no question */
        px_link_path_doubt(&e->path, e->now);
        run(e, 0, e->now + 60 * PX_MSEC);
        CHECK_INT(e->sent_count, 2); /* where it is already is no other place */
        px_link_path_suggest(&e->path, &there, e->now);
        run(e, 0, e->now + PX_MSEC);
        CHECK_INT(e->sent_count, 5);
        CHECK(px_addr_eq(&last(e)->path.remote, &there));
        CHECK(px_addr_eq(&last(e)->path.local, &any));
        give(e, &path, PX_DISCO_PONG, last(e)->packet.nonce, 0);
        CHECK_INT(e->migrate_count, client);
        CHECK(px_path_eq(client ? &e->current : &e->allowed, &path));
    }
}

TEST(what_was_heard_before_the_doubt_does_not_end_it)
{
    struct end *e = start(true);
    px_nsec heard_at = e->now;
    px_link_path_doubt(&e->path, e->now);
    run(e, heard_at, e->now + 10 * PX_SEC);
    CHECK(e->sent_count > 20);
}

TEST(doubts_one_after_the_other_do_not_make_a_flood)
{
    struct end *e = start(true);
    for (int i = 0; i < 1000; i++) {
        px_link_path_doubt(&e->path, e->now);
        run(e, 0, e->now + PX_MSEC);
    }
    CHECK(e->sent_count <= 2 * 20 + 2);
}

TEST(a_client_in_doubt_moves_to_where_its_question_was_answered)
{
    struct end *e = start(true);
    struct px_path elsewhere = path_of(addr(11, 1), addr(10, 2));
    px_link_path_doubt(&e->path, e->now);
    run(e, 0, e->now + PX_MSEC);
    CHECK_INT(e->sent_count, 2);
    give(e, &elsewhere, PX_DISCO_PONG, e->sent[1].packet.nonce, 77);
    CHECK_INT(e->migrate_count, 1);
    CHECK(px_path_eq(&e->migrated, &elsewhere));
    CHECK_INT(last(e)->packet.type, PX_DISCO_PONG); /* the challenge */
    CHECK(last(e)->packet.nonce == 77 && last(e)->packet.challenge == 0);
    CHECK(px_path_eq(&last(e)->path, &elsewhere));
    CHECK(px_link_path_deadline(&e->path) == PX_NEVER);
    give(e, &elsewhere, PX_DISCO_PONG, e->sent[1].packet.nonce, 0); /* again: nothing */
    CHECK_INT(e->proved_count, 1);
}

TEST(only_an_answer_to_the_question_on_its_own_path_and_in_time_proves_a_path)
{
    struct px_path here = path_of(addr(10, 1), addr(10, 2));
    const struct {
        struct px_path path;
        size_t question; /* 0: from the path in use; 1: from any address */
        px_nsec later;
        bool other_nonce, proves;
    } cases[] = {
        {here, 0, 0, false, true},
        {here, 1, 0, false, true},
        {path_of(addr(11, 1), addr(10, 2)), 1, 0, false, true},
        {path_of(addr(11, 1), addr(10, 2)), 0, 0, false, false},
        {path_of(addr(10, 1), addr(10, 3)), 0, 0, false, false},
        {path_of(addr(11, 1), addr(10, 3)), 1, 0, false, false},
        {here, 0, PX_LINK_QUESTION_TIME, false, true},
        {here, 0, PX_LINK_QUESTION_TIME + 1, false, false},
        {here, 0, 0, true, false},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(cases); i++) {
        struct end *e = start(true);
        px_link_path_doubt(&e->path, e->now);
        px_link_path_run(&e->path, 0, e->now);
        e->now += cases[i].later;
        give(e, &cases[i].path, PX_DISCO_PONG,
             e->sent[cases[i].question].packet.nonce ^ (cases[i].other_nonce ? 1 : 0), 0);
        CHECK_INT(e->proved_count, cases[i].proves);
    }
    struct end *e = start(true); /* nothing was asked */
    give(e, &here, PX_DISCO_PONG, 0, 0);
    CHECK_INT(e->proved_count, 0);
}

TEST(a_client_follows_its_server_only_when_the_new_path_is_proved)
{
    struct end *e = start(true);
    struct px_path there = path_of(addr(10, 1), addr(12, 2));
    give(e, &there, PX_DISCO_MOVED, 5, 0);
    CHECK_INT(e->sent_count, 1);
    CHECK(last(e)->packet.type == PX_DISCO_PONG && last(e)->packet.nonce == 5);
    CHECK(px_addr_eq(&last(e)->packet.observed, &there.remote));
    uint64_t challenge = last(e)->packet.challenge;
    CHECK(challenge != 0);
    CHECK_INT(e->migrate_count, 0);
    struct px_path forged = path_of(addr(10, 1), addr(13, 2));
    give(e, &forged, PX_DISCO_PONG, challenge, 0);
    CHECK_INT(e->migrate_count, 0);
    give(e, &there, PX_DISCO_PONG, challenge, 0);
    CHECK_INT(e->migrate_count, 1);
    CHECK(px_path_eq(&e->current, &there));
    /* a `moved` from where it is already is a question like others */
    give(e, &there, PX_DISCO_MOVED, 6, 0);
    CHECK(last(e)->packet.nonce == 6 && last(e)->packet.challenge == 0);
}

TEST(a_ping_on_another_path_does_not_move_a_client_that_has_no_doubt)
{
    struct end *e = start(true);
    struct px_path there = path_of(addr(10, 1), addr(12, 2));
    give(e, &there, PX_DISCO_PING, 5, 0);
    give(e, &there, PX_DISCO_PONG, last(e)->packet.challenge, 0);
    CHECK_INT(e->proved_count, 1);
    CHECK_INT(e->migrate_count, 0);
}

TEST(a_migration_that_is_not_possible_yet_is_tried_again)
{
    struct end *e = start(true);
    struct px_path there = path_of(addr(11, 1), addr(10, 2));
    e->migrate_err = PX_EAGAIN;
    px_link_path_doubt(&e->path, e->now);
    px_link_path_run(&e->path, 0, e->now);
    give(e, &there, PX_DISCO_PONG, e->sent[1].packet.nonce, 0);
    CHECK_INT(e->migrate_count, 1);
    e->migrate_err = 0;
    run(e, 0, e->now + 200 * PX_MSEC);
    CHECK_INT(e->sent_count, 4);
    give(e, &there, PX_DISCO_PONG, e->sent[3].packet.nonce, 0);
    CHECK(px_path_eq(&e->current, &there));
}

TEST(a_new_mapping_makes_a_client_in_doubt_migrate_to_where_it_is)
{
    for (int changed = 0; changed < 2; changed++) {
        struct end *e = start(true);
        px_link_path_start(&e->path, e->now);
        CHECK_INT(e->sent_count, 0);
        run(e, 0, e->now + PX_LINK_GREETING_GAP);
        CHECK_INT(e->sent_count, 1);
        struct px_disco_packet pong = {.type = PX_DISCO_PONG, .nonce = last(e)->packet.nonce};
        pong.observed = addr(99, 1);
        px_link_path_input(&e->path, &e->current, &pong, e->now);
        run(e, 0, e->now + 5 * PX_SEC); /* answered: no more of these */
        CHECK_INT(e->sent_count, 1);
        CHECK_INT(e->migrate_count, 0);
        px_link_path_doubt(&e->path, e->now);
        px_link_path_run(&e->path, 0, e->now);
        pong.nonce = last(e)->packet.nonce;
        pong.observed.port = changed ? 5000 : 4433;
        px_link_path_input(&e->path, &e->current, &pong, e->now);
        CHECK_INT(e->migrate_count, changed);
        CHECK_INT(e->poke_count, !changed);
        CHECK(px_link_path_deadline(&e->path) == PX_NEVER);
    }
}

TEST(a_path_that_works_again_after_an_outage_is_used_at_once)
{
    for (int client = 0; client < 2; client++)
        for (int late = 0; late < 2; late++) {
            struct end *e = start(client != 0);
            px_link_path_doubt(&e->path, e->now);
            e->path.observed = addr(10, 1);
            for (int i = 0; i < 9 + late; i++) { /* doubts that follow each other are one */
                run(e, 0, e->now + 100 * PX_MSEC);
                px_link_path_doubt(&e->path, e->now);
            }
            run(e, 0, e->now);
            struct px_path here = e->current;
            give(e, &here, PX_DISCO_PONG, e->sent[e->sent_count - 2].packet.nonce, 0);
            CHECK_INT(e->migrate_count, client && late);
            CHECK_INT(e->poke_count, !(client && late));
            CHECK(px_link_path_deadline(&e->path) == PX_NEVER);
        }
}

TEST(the_first_question_is_given_up_when_nobody_answers)
{
    struct end *e = start(true);
    px_link_path_start(&e->path, e->now);
    run(e, 0, e->now + 60 * PX_SEC);
    CHECK_INT(e->sent_count, PX_LINK_GREETINGS_MAX);
    e = start(false); /* a server does not ask */
    px_link_path_start(&e->path, e->now);
    CHECK(px_link_path_deadline(&e->path) == PX_NEVER);
}

TEST(a_server_waits_for_its_client_to_move)
{
    struct end *e = start(false);
    struct px_path there = path_of(addr(11, 1), addr(10, 2));
    px_link_path_doubt(&e->path, e->now);
    px_link_path_run(&e->path, 0, e->now);
    give(e, &there, PX_DISCO_PONG, e->sent[1].packet.nonce, 9);
    CHECK(px_path_eq(&e->allowed, &there));
    CHECK(px_link_path_deadline(&e->path) != PX_NEVER);
    e->current = there; /* QUIC's packets came */
    run(e, e->now + 1, e->now + PX_SEC);
    CHECK(px_link_path_deadline(&e->path) == PX_NEVER);
    CHECK_INT(e->migrate_count, 0);
}

TEST(who_was_at_an_address_once_cannot_answer_for_it_later)
{
    for (int client = 0; client < 2; client++) {
        struct end *e = start(client != 0);
        struct px_path victim = path_of(addr(10, 1), addr(66, 6));
        give(e, &victim, PX_DISCO_PING, 1, 0);
        uint64_t old = last(e)->packet.challenge;
        for (int i = 0; i < 100; i++) { /* forged, to keep the question alive */
            e->now += 100 * PX_MSEC;
            give(e, &victim, PX_DISCO_PING, 2, 0);
        }
        CHECK(last(e)->packet.challenge != old);
        give(e, &victim, PX_DISCO_PONG, old, 0);
        CHECK_INT(e->proved_count, 0);
    }
}

/* ---- limits ---- */

static size_t sent_to(const struct end *e, const struct px_addr *remote)
{
    size_t n = 0;
    for (size_t i = 0; i < e->sent_count; i++)
        n += px_addr_eq(&e->sent[i].path.remote, remote);
    return n;
}

TEST(a_peer_gets_one_answer_a_packet_and_few_in_the_long_run)
{
    for (int client = 0; client < 2; client++) {
        struct end *e = start(client != 0);
        size_t packets = 0;
        for (int i = 0; i < 10000; i++) { /* 1000 a second, from ever other forged addresses */
            struct px_path forged = path_of(addr(10, 1), addr((uint8_t)(i % 251), 3));
            size_t before = sent_to(e, &forged.remote);
            give(e, &forged, i % 3 == 0 ? PX_DISCO_MOVED : PX_DISCO_PING, 1 + (uint64_t)i, 0);
            CHECK(sent_to(e, &forged.remote) - before <= 1);
            packets++;
            e->now += PX_MSEC;
        }
        CHECK(e->sent_count <= PX_LINK_ANSWERS_BURST + 16 * 10 + 1);
        CHECK(e->sent_count >= PX_LINK_ANSWERS_BURST + 16 * 10 - 1);
        CHECK_INT(e->proved_count + e->migrate_count, 0);
        e->now += 10 * PX_SEC; /* and later it answers as before */
        size_t before = e->sent_count;
        give(e, &e->current, PX_DISCO_PING, 7, 0);
        CHECK_INT(e->sent_count, before + 1);
    }
}

TEST(questions_on_unproved_paths_are_few_and_the_oldest_is_forgotten)
{
    struct end *e = start(false);
    uint64_t challenges[PX_LINK_QUESTIONS_MAX + 1];
    struct px_path from[PX_LINK_QUESTIONS_MAX + 1];
    for (uint8_t i = 0; i <= PX_LINK_QUESTIONS_MAX; i++) {
        from[i] = path_of(addr(10, 1), addr(20, i));
        give(e, &from[i], PX_DISCO_PING, 1, 0);
        challenges[i] = last(e)->packet.challenge;
        e->now += PX_MSEC;
    }
    give(e, &from[0], PX_DISCO_PONG, challenges[0], 0);
    CHECK_INT(e->proved_count, 0);
    for (size_t i = 1; i <= PX_LINK_QUESTIONS_MAX; i++)
        give(e, &from[i], PX_DISCO_PONG, challenges[i], 0);
    CHECK_INT(e->proved_count, PX_LINK_QUESTIONS_MAX);
}

TEST(strays_get_no_more_bytes_than_they_sent)
{
    struct end *e = start(false);
    struct px_path forged = path_of(addr(10, 1), addr(66, 6));
    size_t bytes = 0;
    for (int i = 0; i < 2000; i++) {
        px_link_path_stray(&e->path, &forged, 30, e->now);
        bytes += 30;
        CHECK(sent_to(e, &forged.remote) * PX_DISCO_LEN <= bytes);
        e->now += PX_MSEC;
    }
    CHECK_INT(e->sent_count, 2 * PX_SEC / PX_LINK_STRAY_GAP);
    for (int i = 0; i < 10000; i++) { /* from everywhere */
        forged.remote.port = (uint16_t)i;
        px_link_path_stray(&e->path, &forged, 1200, e->now);
    }
    CHECK(e->sent_count <= 2 * PX_SEC / PX_LINK_STRAY_GAP + PX_LINK_ANSWERS_BURST);
    e = start(true); /* a client asks nobody because of these */
    px_link_path_stray(&e->path, &forged, 1200, e->now);
    CHECK_INT(e->sent_count, 0);
}

/* Remembered is who was asked lately: he is not asked again at once. */
TEST(so_many_strays_are_remembered)
{
    for (unsigned others = PX_LINK_STRAYS_MAX - 1; others <= PX_LINK_STRAYS_MAX; others++) {
        struct end *e = start(false);
        struct px_path from = path_of(addr(10, 1), addr(66, 6)), other = from;
        px_link_path_stray(&e->path, &from, 1200, e->now);
        CHECK_INT(sent_to(e, &from.remote), 1);
        for (unsigned i = 1; i <= others; i++) {
            e->now += PX_MSEC;
            other.remote.ip[3] = (uint8_t)(66 + i);
            px_link_path_stray(&e->path, &other, 1200, e->now);
        }
        e->now += PX_MSEC;
        px_link_path_stray(&e->path, &from, 1200, e->now);
        CHECK_INT(sent_to(e, &from.remote), others < PX_LINK_STRAYS_MAX ? 1 : 2);
    }
}

TEST(a_stray_that_answers_is_proved)
{
    struct end *e = start(false);
    struct px_path mapped = path_of(addr(10, 1), addr(10, 2));
    mapped.remote.port = 5000;
    px_link_path_stray(&e->path, &mapped, 1200, e->now);
    CHECK_INT(last(e)->packet.type, PX_DISCO_PING);
    give(e, &mapped, PX_DISCO_PONG, last(e)->packet.nonce, 0);
    CHECK(px_path_eq(&e->allowed, &mapped));
}

TEST(a_better_path_is_asked_without_doubt_and_the_client_moves_there)
{
    struct end *e = start(true);
    struct px_addr near = addr(10, 9);
    struct px_path there = path_of(addr(0, 0), near);
    px_link_path_prefer(&e->path, &near, e->now);
    CHECK_INT(e->sent_count, 1);
    CHECK_INT(last(e)->packet.type, PX_DISCO_PING);
    CHECK(px_path_eq(&last(e)->path, &there));
    CHECK_INT(e->path.state, PX_LINK_PATH_STEADY);
    there.local = addr(10, 1);
    give(e, &there, PX_DISCO_PONG, last(e)->packet.nonce, 0);
    CHECK_INT(e->proved_count, 1);
    CHECK_INT(e->migrate_count, 1);
    CHECK(px_path_eq(&e->migrated, &there));
}

TEST(a_server_says_moved_on_a_better_path_and_stays_until_its_client_moves)
{
    struct end *e = start(false);
    struct px_addr near = addr(10, 9);
    px_link_path_prefer(&e->path, &near, e->now);
    CHECK_INT(e->sent_count, 1);
    CHECK_INT(last(e)->packet.type, PX_DISCO_MOVED);
    struct px_path there = path_of(addr(10, 1), near);
    give(e, &there, PX_DISCO_PONG, last(e)->packet.nonce, 77);
    CHECK_INT(e->proved_count, 1);
    CHECK_INT(e->migrate_count, 0);
    CHECK_INT(last(e)->packet.nonce, 77); /* the client's question is answered, there */
    CHECK(px_path_eq(&last(e)->path, &there));
}

TEST(the_path_in_use_is_not_preferred_to_itself)
{
    struct end *e = start(true);
    px_link_path_prefer(&e->path, &e->current.remote, e->now);
    CHECK_INT(e->sent_count, 0);
}

TEST(who_comes_through_a_circuit_was_seen_nowhere)
{
    struct end *e = start(true);
    struct px_addr circuit;
    px_addr_circuit(5, &circuit);
    struct px_path path = path_of((struct px_addr){.family = PX_ADDR_CIRCUIT}, circuit);
    give(e, &path, PX_DISCO_PING, 3, 0);
    CHECK_INT(last(e)->packet.type, PX_DISCO_PONG);
    CHECK_INT(last(e)->packet.observed.family, PX_ADDR_NONE);
    CHECK_INT(last(e)->packet.observed.ip[0], 0);
}

/* ---- lost, and the way back from a circuit ---- */

static struct px_path circuit_of(uint64_t number)
{
    struct px_addr circuit;
    px_addr_circuit(number, &circuit);
    return path_of((struct px_addr){.family = PX_ADDR_CIRCUIT, .port = 4433}, circuit);
}

TEST(the_owner_is_told_of_a_doubt_that_lasts)
{
    struct end *e = start(true);
    px_nsec began = e->now;
    px_link_path_doubt(&e->path, e->now);
    run(e, 0, began + PX_LINK_LOST_TIME - 1);
    CHECK_INT(e->lost_count, 0);
    px_link_path_doubt(&e->path, e->now); /* the same one */
    run(e, 0, began + PX_LINK_LOST_TIME);
    CHECK_INT(e->lost_count, 1);
    static const px_nsec again[] = {1, 3, 7, 15, 23, 31}; /* seconds later */
    for (size_t i = 0; i < PX_ARRAY_LEN(again); i++) {
        run(e, 0, began + PX_LINK_LOST_TIME + again[i] * PX_SEC - 1);
        CHECK_INT(e->lost_count, i + 1);
        run(e, 0, e->now + 1);
        CHECK_INT(e->lost_count, i + 2);
    }
    run(e, e->now, e->now + 10 * PX_SEC); /* heard */
    CHECK_INT(e->lost_count, 7);
    px_link_path_doubt(&e->path, e->now);
    run(e, 0, e->now + PX_LINK_LOST_TIME - 1);
    CHECK_INT(e->lost_count, 7);
    run(e, 0, e->now + 1 + PX_SEC); /* the pauses begin anew */
    CHECK_INT(e->lost_count, 9);
}

static void end_the_doubt(struct end *e)
{
    e->now++;
    px_link_path_run(&e->path, e->now, e->now);
    CHECK_INT(e->path.state, PX_LINK_PATH_STEADY);
}

TEST(a_short_doubt_of_a_direct_path_leads_to_no_circuit)
{
    for (int client = 0; client < 2; client++) {
        struct end *e = start(client != 0);
        struct px_addr circuit = circuit_of(5).remote;
        px_link_path_start(&e->path, e->now);
        e->path.greet_at = 0;
        px_link_path_suggest(&e->path, &circuit, e->now);
        px_link_path_doubt(&e->path, e->now); /* the network changed, say */
        run(e, 0, e->now + PX_LINK_LOST_TIME - 1);
        end_the_doubt(e);
        run(e, e->now, e->now + 10 * PX_SEC);
        CHECK_INT(sent_to(e, &circuit), 0);
    }
}

TEST(suggested_places_are_few_and_circuits_do_not_crowd_out_addresses)
{
    struct end *e = start(true);
    struct px_addr places[7];
    for (uint8_t i = 0; i < 4; i++)
        places[i] = addr(30, i);
    for (uint8_t i = 4; i < 7; i++)
        places[i] = circuit_of(i).remote;
    for (size_t i = 0; i < PX_ARRAY_LEN(places); i++)
        px_link_path_suggest(&e->path, &places[i], e->now++);
    px_link_path_doubt(&e->path, e->now);
    px_link_path_run(&e->path, 0, e->now);
    static const bool asked[] = {false, false, true, true, false, true, true};
    for (size_t i = 0; i < PX_ARRAY_LEN(places); i++)
        CHECK_INT(sent_to(e, &places[i]), asked[i] && i < 4); /* circuits not yet */
    run(e, 0, e->now + PX_LINK_LOST_TIME);
    for (size_t i = 4; i < PX_ARRAY_LEN(places); i++)
        CHECK_INT(sent_to(e, &places[i]), asked[i]);
    end_the_doubt(e);
    e->sent_count = 0;
    px_link_path_suggest(&e->path, &places[2], e->now++); /* again: it is younger than [3] now */
    px_link_path_suggest(&e->path, &places[0], e->now++);
    px_link_path_doubt(&e->path, e->now += PX_SEC);
    px_link_path_run(&e->path, 0, e->now);
    CHECK_INT(sent_to(e, &places[0]), 1);
    CHECK_INT(sent_to(e, &places[2]), 1);
    CHECK_INT(sent_to(e, &places[3]), 0);
}

/* Off to the circuit: the client by an answer, the server because QUIC's packets came there. */
static void flee(struct end *e, const struct px_path *circuit)
{
    px_link_path_suggest(&e->path, &circuit->remote, e->now);
    px_link_path_doubt(&e->path, e->now);
    run(e, 0, e->now + PX_LINK_LOST_TIME);
    size_t i = e->sent_count;
    while (i > 0 && !px_addr_eq(&e->sent[i - 1].path.remote, &circuit->remote))
        i--;
    CHECK(i > 0);
    give(e, circuit, PX_DISCO_PONG, e->sent[i - 1].packet.nonce, 0);
    if (e->path.client) {
        CHECK(px_path_eq(&e->current, circuit));
        return;
    }
    e->current = *circuit;
    px_link_path_moved(&e->path, e->now);
    px_link_path_run(&e->path, e->now + 1, e->now);
}

static void came_up_directly(struct end *e)
{
    px_link_path_start(&e->path, e->now);
    e->path.greet_at = 0; /* is not looked at here */
}

TEST(a_link_that_fled_to_a_circuit_asks_for_the_way_back_and_takes_it)
{
    static const unsigned at[] = {1, 3, 7, 15, 31, 63, 123, 183};
    struct px_path circuit = circuit_of(5), home = path_of(addr(10, 1), addr(10, 2));
    for (int client = 0; client < 2; client++) {
        struct end *e = start(client != 0);
        came_up_directly(e);
        flee(e, &circuit);
        CHECK_INT(e->path.state, PX_LINK_PATH_STEADY);
        px_nsec fled = e->now;
        size_t before = e->sent_count;
        run(e, 0, fled + 184 * PX_SEC);
        CHECK_INT(e->sent_count - before, PX_ARRAY_LEN(at));
        for (size_t i = 0; i < PX_ARRAY_LEN(at); i++) {
            const struct sent *s = &e->sent[before + i];
            CHECK_INT(s->at - fled, at[i] * PX_SEC + (client ? 0 : PX_LINK_BACK_TURN));
            CHECK_INT(s->packet.type, client ? PX_DISCO_PING : PX_DISCO_MOVED);
            CHECK(px_addr_eq(&s->path.remote, &home.remote));
        }
        size_t moves = e->migrate_count;
        give(e, &home, PX_DISCO_PONG, last(e)->packet.nonce, 0);
        CHECK_INT(e->migrate_count - moves, client);
        if (!client) {
            CHECK(px_path_eq(&e->allowed, &home));
            e->current = home;
            px_link_path_moved(&e->path, e->now);
        }
        CHECK(px_path_eq(&e->current, &home));
        CHECK(px_link_path_deadline(&e->path) == PX_NEVER);
    }
}

TEST(from_circuit_to_circuit_the_way_back_is_not_forgotten)
{
    struct end *e = start(true);
    struct px_path first = circuit_of(5), second = circuit_of(6);
    struct px_addr home = e->current.remote;
    came_up_directly(e);
    flee(e, &first);
    size_t before = sent_to(e, &home);
    run(e, 0, e->now + 2 * PX_SEC);
    CHECK_INT(sent_to(e, &home) - before, 1);
    flee(e, &second);
    run(e, 0, e->now + PX_SEC);
    CHECK_INT(sent_to(e, &home) - before, 1 + 3 + 1); /* in the doubt, and by its own clock */
}

TEST(of_several_ways_back_the_first_that_answers_is_taken)
{
    struct end *e = start(true);
    struct px_path circuit = circuit_of(5), home = e->current;
    struct px_addr near = addr(10, 9);
    came_up_directly(e);
    px_link_path_suggest(&e->path, &near, e->now);
    flee(e, &circuit);
    run(e, 0, e->now + PX_SEC);
    CHECK_INT(sent_to(e, &near) > 0 && sent_to(e, &home.remote) > 0, 1);
    const struct sent *asked[2] = {last(e) - 1, last(e)};
    size_t moves = e->migrate_count;
    for (size_t i = 0; i < 2; i++) {
        struct px_path there = path_of(addr(10, 1), asked[i]->path.remote);
        give(e, &there, PX_DISCO_PONG, asked[i]->packet.nonce, 0);
    }
    CHECK_INT(e->migrate_count, moves + 1);
    CHECK(px_addr_eq(&e->current.remote, &asked[0]->path.remote));
}

TEST(a_changed_network_has_the_way_back_asked_at_once)
{
    struct end *e = start(true);
    struct px_path circuit = circuit_of(5);
    struct px_addr home = e->current.remote;
    came_up_directly(e);
    flee(e, &circuit);
    run(e, 0, e->now + 100 * PX_SEC);
    size_t before = sent_to(e, &home);
    px_link_path_hurry(&e->path, e->now);
    run(e, 0, e->now + 4 * PX_SEC);
    CHECK_INT(sent_to(e, &home) - before, 2); /* now, and 2 s later */
}

TEST(a_way_back_that_does_not_hold_is_taken_less_and_less_often)
{
    struct end *e = start(true);
    struct px_path home = e->current;
    px_nsec pause = 0;
    came_up_directly(e);
    for (uint64_t i = 0; i < 10; i++) {
        struct px_path circuit = circuit_of(10 + i);
        flee(e, &circuit);
        px_nsec fled = e->now;
        e->now = px_link_path_deadline(&e->path);
        CHECK_INT(e->now - fled, PX_MIN(PX_SEC << i, PX_LINK_BACK_MAX));
        pause = e->now - fled;
        px_link_path_run(&e->path, 0, e->now);
        give(e, &home, PX_DISCO_PONG, last(e)->packet.nonce, 0);
        CHECK(px_path_eq(&e->current, &home));
        e->now += 5 * PX_SEC;
    }
    CHECK_INT(pause, PX_LINK_BACK_MAX);
    e->now += PX_LINK_BACK_STABLE;
    struct px_path circuit = circuit_of(99);
    flee(e, &circuit);
    CHECK_INT(px_link_path_deadline(&e->path) - e->now, PX_LINK_BACK_FIRST);
}

TEST(a_link_that_came_up_on_a_circuit_asks_where_it_is_suggested)
{
    struct end *e = start(true);
    struct px_addr near = addr(10, 9);
    e->current = circuit_of(3);
    came_up_directly(e);
    CHECK(px_link_path_deadline(&e->path) == PX_NEVER);
    px_link_path_suggest(&e->path, &near, e->now);
    run(e, 0, e->now + PX_SEC);
    CHECK_INT(e->sent_count, 1);
    struct px_path there = path_of(addr(10, 1), near);
    give(e, &there, PX_DISCO_PONG, last(e)->packet.nonce, 0);
    CHECK(px_path_eq(&e->current, &there));
}
