/* The peer manager on a virtual clock, with a network that does what each test says. */
#include <stdlib.h>

#include "node/peer_manager.h"
#include "tests/test.h"

#define DIALS_MAX 512
#define CAP       (60 * PX_SEC)

struct fake_dial {
    struct px_peer_id id;
    struct px_addr addr;
    char text[PX_ADDR_TEXT_MAX];
    px_nsec at;
    bool closed;
    enum px_close_code code;
};

/* Told by the ops. A link is the address of its entry in `dials`. */
struct world {
    struct px_test_rng seed;
    struct px_peer_manager *m;
    px_nsec now;
    struct fake_dial dials[DIALS_MAX];
    size_t dial_count, resolve_count;
    char resolving[PX_AUTH_ADDR_MAX];
    uint64_t token;
    int usable; /* what the ops say of every address */
    bool guests_welcome;
    size_t connected, disconnected, rounds_failed, found, good, forgotten;
    int round_err;
    char good_text[PX_ADDR_TEXT_MAX];
    /* callbacks of calls */
    int done_count, done_err, call_ups, call_fails, call_downs, call_err;
    struct px_link *call_link;
};

static struct px_link *link_of(struct fake_dial *d)
{
    return (struct px_link *)(void *)d;
}

static int on_dial(void *ctx, const struct px_peer_id *id, const struct px_addr *addr,
                   struct px_link **ret)
{
    struct world *w = ctx;
    CHECK(w->dial_count < DIALS_MAX);
    struct fake_dial *d = &w->dials[w->dial_count++];
    *d = (struct fake_dial){.id = *id, .addr = *addr, .at = w->now};
    px_addr_format(addr, d->text);
    *ret = link_of(d);
    return 0;
}

static void on_close(void *ctx, struct px_link *link, enum px_close_code code)
{
    struct fake_dial *d = (struct fake_dial *)(void *)link;
    (void)ctx;
    CHECK(!d->closed);
    d->closed = true;
    d->code = code;
}

static int on_resolve(void *ctx, const struct px_peer_id *id, const char *text, uint64_t token)
{
    struct world *w = ctx;
    (void)id;
    w->resolve_count++;
    snprintf(w->resolving, sizeof(w->resolving), "%s", text);
    w->token = token;
    return 0;
}

static int on_usable(void *ctx, const struct px_addr *a)
{
    (void)a;
    return ((struct world *)ctx)->usable;
}

static bool on_guest(void *ctx, const struct px_peer_id *id)
{
    (void)id;
    return ((struct world *)ctx)->guests_welcome;
}

static void on_connected(void *ctx, struct px_peer *p)
{
    CHECK(p->link != NULL);
    ((struct world *)ctx)->connected++;
}

static void on_disconnected(void *ctx, struct px_peer *p, int err, bool by_peer)
{
    (void)by_peer;
    CHECK(p->link != NULL && err != 0);
    ((struct world *)ctx)->disconnected++;
}

static void on_attempt_failed(void *ctx, const struct px_peer *p, const struct px_addr *addr,
                              const char *name, int err)
{
    (void)ctx;
    (void)name;
    CHECK(p->race != NULL && err != 0 && addr->family != PX_ADDR_NONE);
}

static void on_round_failed(void *ctx, const struct px_peer *p, int err)
{
    struct world *w = ctx;
    (void)p;
    w->rounds_failed++;
    w->round_err = err;
}

static void on_found(void *ctx, const struct px_peer *p, const struct px_addr *addr,
                     enum px_source source)
{
    (void)p;
    (void)addr;
    (void)source;
    ((struct world *)ctx)->found++;
}

static void on_good(void *ctx, const struct px_peer *p, const struct px_addr *addr)
{
    struct world *w = ctx;
    (void)p;
    w->good++;
    px_addr_format(addr, w->good_text);
}

static void on_forgotten(void *ctx, const struct px_peer_id *id)
{
    (void)id;
    ((struct world *)ctx)->forgotten++;
}

static const struct px_peer_manager_ops ops = {
    .dial = on_dial,
    .close = on_close,
    .resolve = on_resolve,
    .usable = on_usable,
    .guest = on_guest,
    .connected = on_connected,
    .disconnected = on_disconnected,
    .attempt_failed = on_attempt_failed,
    .round_failed = on_round_failed,
    .found = on_found,
    .good = on_good,
    .forgotten = on_forgotten,
};

/* ---- helpers ---- */

static struct px_peer_id id_of(uint8_t n)
{
    struct px_peer_id id;
    memset(id.key, n, sizeof(id.key));
    return id;
}

static struct px_addr addr_of(const char *text)
{
    struct px_addr a;
    CHECK_OK(px_addr_parse(px_slice_cstr(text), &a));
    return a;
}

static struct world *world_new(uint64_t seed)
{
    struct world *w = calloc(1, sizeof(*w));
    CHECK(w != NULL);
    w->now = 1000 * PX_SEC;
    const struct px_peer_manager_config c = {.self = id_of(0),
                                             .rng = px_test_rng(&w->seed, seed),
                                             .dial_max = CAP,
                                             .ops = &ops,
                                             .ctx = w};
    CHECK_OK(px_peer_manager_new(&c, &w->m));
    return w;
}

static void world_free(struct world *w)
{
    px_peer_manager_free(w->m);
    free(w);
}

/* Lists the peers 1 to count, each with these options ("" for none). */
static void list(struct world *w, uint8_t count, const char *options)
{
    struct px_authorized_keys *keys;
    struct px_buf text;
    char peer[PX_PEER_ID_TEXT_MAX];
    px_buf_init(&text, 1u << 20);
    for (uint8_t i = 1; i <= count; i++) {
        struct px_peer_id id = id_of(i);
        px_buf_printf(&text, "%s %s\n", px_peer_id_format(&id, peer), options);
    }
    CHECK_OK(px_authorized_keys_parse(px_buf_slice(&text), &keys));
    CHECK_INT(px_authorized_keys_error_count(keys), 0);
    px_peer_manager_reload(w->m, keys, w->now);
    px_authorized_keys_free(keys);
    px_buf_deinit(&text);
}

/* Runs everything due until that much later; the clock ends there. */
static void run(struct world *w, px_nsec time)
{
    px_nsec until = w->now + time, next;
    while ((next = px_peer_manager_deadline(w->m)) <= until) {
        w->now = PX_MAX(w->now, next);
        px_peer_manager_run(w->m, w->now);
        CHECK(px_peer_manager_deadline(w->m) > w->now); /* no timer stays behind */
    }
    w->now = until;
}

static struct fake_dial *last(struct world *w)
{
    CHECK(w->dial_count > 0);
    return &w->dials[w->dial_count - 1];
}

static void up(struct world *w, struct fake_dial *d)
{
    px_peer_manager_up(w->m, link_of(d), &d->id, &d->addr, true, w->now);
}

/* A link that came in. */
static struct fake_dial *incoming(struct world *w, uint8_t peer, const char *from)
{
    CHECK(w->dial_count < DIALS_MAX);
    struct fake_dial *d = &w->dials[w->dial_count++];
    *d = (struct fake_dial){.id = id_of(peer), .addr = addr_of(from), .at = w->now};
    px_peer_manager_up(w->m, link_of(d), &d->id, &d->addr, false, w->now);
    return d;
}

static void down(struct world *w, struct fake_dial *d, int err, bool by_peer)
{
    px_peer_manager_down(w->m, link_of(d), &d->id, err, by_peer, w->now);
}

static struct px_peer_info info_of(struct world *w, uint8_t peer)
{
    struct px_peer_info info;
    struct px_peer_id id = id_of(peer);
    struct px_peer *p = px_peer_manager_find(w->m, &id);
    CHECK(p != NULL);
    px_peer_manager_info(p, w->now, &info);
    return info;
}

static void on_done(void *ctx, int err)
{
    struct world *w = ctx;
    w->done_count++;
    w->done_err = err;
}

/* ---- races ---- */

TEST(addresses_are_raced_ipv6_first_families_in_turn_a_stagger_apart)
{
    static const char *const want[] = {"[2001:db8::1]:1", "10.0.0.1:1", "[2001:db8::2]:1",
                                       "10.0.0.2:1"};
    struct world *w = world_new(1);
    list(w, 1,
         "addr=10.0.0.1:1 addr=10.0.0.2:1 addr=[2001:db8::1]:1 addr=[2001:db8::2]:1 "
         "addr=10.0.0.3:1");
    px_nsec start = w->now;
    run(w, 10 * PX_RACE_STAGGER);
    CHECK_INT(w->dial_count, PX_RACE_PARALLEL); /* the fifth waits for a place */
    for (size_t i = 0; i < PX_RACE_PARALLEL; i++) {
        CHECK_STR(w->dials[i].text, want[i]);
        CHECK_INT(w->dials[i].at, start + i * PX_RACE_STAGGER);
    }
    CHECK_INT(info_of(w, 1).state, PX_PEER_CONNECTING);
    down(w, &w->dials[1], PX_ETIMEDOUT, false);
    run(w, 0);
    CHECK_INT(w->dial_count, 5);
    CHECK_STR(last(w)->text, "10.0.0.3:1");
    world_free(w);
}

TEST(a_failure_lets_the_next_one_start_at_once)
{
    struct world *w = world_new(2);
    list(w, 1, "addr=10.0.0.1:1 addr=10.0.0.2:1");
    run(w, PX_MSEC);
    CHECK_INT(w->dial_count, 1);
    down(w, &w->dials[0], PX_EREFUSED, true);
    run(w, 0);
    CHECK_INT(w->dial_count, 2);
    CHECK_STR(last(w)->text, "10.0.0.2:1");
    down(w, &w->dials[1], PX_ETIMEDOUT, false);
    run(w, 0);
    CHECK_INT(w->rounds_failed, 1);
    CHECK_ERR(w->round_err, PX_EREFUSED); /* tells more than silence */
    CHECK_INT(info_of(w, 1).state, PX_PEER_WAITING);
    CHECK_ERR(info_of(w, 1).last_err, PX_EREFUSED);
    world_free(w);
}

TEST(the_first_link_wins_and_the_others_are_closed)
{
    struct world *w = world_new(3);
    list(w, 1, "addr=10.0.0.1:1 addr=10.0.0.2:1 addr=10.0.0.3:1");
    run(w, 2 * PX_RACE_STAGGER);
    CHECK_INT(w->dial_count, 3);
    up(w, &w->dials[1]);
    CHECK(w->dials[0].closed && !w->dials[1].closed && w->dials[2].closed);
    CHECK_INT(w->dials[0].code, PX_CLOSE_DUPLICATE);
    down(w, &w->dials[0], PX_ECLOSED, false);
    down(w, &w->dials[2], PX_ECLOSED, false);
    CHECK_INT(w->connected, 1);
    CHECK_INT(w->disconnected, 0);
    CHECK_INT(w->good, 1);
    CHECK_STR(w->good_text, "10.0.0.2:1");
    CHECK_INT(info_of(w, 1).state, PX_PEER_CONNECTED);
    run(w, 3600 * PX_SEC);
    CHECK_INT(w->dial_count, 3);
    down(w, &w->dials[1], PX_ETIMEDOUT, false);
    run(w, PX_SEC);
    CHECK_STR(w->dials[3].text, "10.0.0.2:1"); /* the good one is tried first */
    world_free(w);
}

TEST(a_link_that_comes_in_ends_our_own_dials)
{
    struct world *w = world_new(4);
    list(w, 1, "addr=10.0.0.1:1 addr=10.0.0.2:1");
    run(w, PX_RACE_STAGGER);
    struct fake_dial *in = incoming(w, 1, "10.0.0.9:777");
    CHECK(w->dials[0].closed && w->dials[1].closed);
    CHECK_INT(w->good, 0);
    run(w, 2 * PX_ADDRS_FOUND_AGE);
    /* where it came from is worth a dial, but not remembered as good */
    down(w, in, PX_ETIMEDOUT, false);
    CHECK_INT(w->good, 0);
    run(w, 3 * PX_SEC);
    CHECK_INT(w->dial_count, 6);
    CHECK_STR(last(w)->text, "10.0.0.9:777");
    struct px_peer_info info = info_of(w, 1);
    CHECK_INT(info.addr_count, 3);
    CHECK_INT(info.addrs[2].source, PX_SOURCE_SEEN);
    CHECK_INT(info.addrs[2].last_good, PX_NEVER);
    world_free(w);
}

TEST(who_came_and_said_good_bye_is_not_followed)
{
    struct world *w = world_new(24);
    list(w, 1, "");
    struct fake_dial *in = incoming(w, 1, "10.0.0.9:777");
    down(w, in, PX_ECLOSED, true);
    run(w, 600 * PX_SEC);
    CHECK_INT(w->dial_count, 1); /* it alone */
    CHECK_INT(info_of(w, 1).state, PX_PEER_OFFLINE);
    world_free(w);
}

TEST(a_host_name_is_looked_up_and_all_it_leads_to_is_raced)
{
    struct world *w = world_new(5);
    struct px_peer_id id = id_of(1);
    list(w, 1, "addr=host.example:7 addr=10.0.0.9:1");
    run(w, PX_SEC);
    CHECK_INT(w->resolve_count, 1);
    CHECK_STR(w->resolving, "host.example:7");
    CHECK_INT(w->dial_count, 1); /* numeric ones do not wait */
    const struct px_addr addrs[] = {addr_of("10.0.0.1:7"), addr_of("[2001:db8::1]:7")};
    uint64_t token = w->token;
    px_peer_manager_resolved(w->m, &id, token, addrs, 2, 0, w->now);
    run(w, PX_SEC);
    CHECK_INT(w->dial_count, 3);
    CHECK_STR(w->dials[1].text, "[2001:db8::1]:7");
    for (size_t i = 0; i < 3; i++)
        down(w, &w->dials[i], PX_ETIMEDOUT, false);
    run(w, 0);
    CHECK_INT(w->rounds_failed, 1);
    run(w, PX_SEC);
    CHECK_INT(w->resolve_count, 2);
    px_peer_manager_resolved(w->m, &id, token, addrs, 2, 0, w->now); /* of the round before */
    run(w, PX_SEC);
    CHECK_INT(w->dial_count, 4);
    down(w, last(w), PX_ETIMEDOUT, false);
    run(w, PX_SEC);
    CHECK_INT(w->rounds_failed, 1); /* the look-up is still open */
    px_peer_manager_resolved(w->m, &id, w->token, NULL, 0, 0, w->now);
    run(w, 0);
    CHECK_INT(w->rounds_failed, 2);
    struct px_peer_info info = info_of(w, 1);
    for (size_t i = 0; i < info.addr_count; i++)
        CHECK_ERR(info.addrs[i].last_err,
                  strcmp(info.addrs[i].text, "host.example:7") == 0 ? PX_ENOENT : PX_ETIMEDOUT);
    world_free(w);
}

TEST(addresses_that_may_not_be_used_are_not_dialled_and_it_is_said_why)
{
    struct world *w = world_new(6);
    struct px_peer_id id = id_of(1);
    w->usable = PX_EOFFLINK;
    list(w, 1, "addr=10.0.0.1:1 addr=host.example:7");
    run(w, PX_SEC);
    const struct px_addr there = addr_of("10.0.0.2:7");
    px_peer_manager_resolved(w->m, &id, w->token, &there, 1, 0, w->now);
    run(w, 0);
    CHECK_INT(w->dial_count, 0);
    CHECK_ERR(w->round_err, PX_EOFFLINK);
    struct px_peer_info info = info_of(w, 1);
    CHECK_INT(info.addr_count, 2);
    CHECK_ERR(info.addrs[0].last_err, PX_EOFFLINK);
    CHECK_ERR(info.addrs[1].last_err, PX_EOFFLINK);
    world_free(w);
}

/* ---- back-off ---- */

/* The pause until the next dial after this one has failed. */
static px_nsec pause_after_failure(struct world *w)
{
    size_t before = w->dial_count;
    px_nsec at = w->now;
    down(w, last(w), PX_ETIMEDOUT, false);
    while (w->dial_count == before)
        run(w, 10 * PX_MSEC);
    return last(w)->at - at;
}

TEST(pauses_grow_to_the_cap_and_a_changed_network_begins_anew)
{
    struct world *w = world_new(7);
    list(w, 1, "addr=10.0.0.1:1");
    run(w, 0);
    px_nsec pause = 0;
    for (int i = 0; i < 12; i++)
        pause = pause_after_failure(w);
    CHECK(pause >= CAP / 2 && pause <= CAP);
    CHECK_INT(info_of(w, 1).failures, 12);
    down(w, last(w), PX_ETIMEDOUT, false);
    run(w, PX_SEC);
    CHECK(info_of(w, 1).next_dial > CAP / 2 - 2 * PX_SEC);
    size_t before = w->dial_count;
    px_peer_manager_network_changed(w->m, w->now);
    run(w, PX_DIAL_SPREAD);
    CHECK_INT(w->dial_count, before + 1);
    CHECK(pause_after_failure(w) <= PX_DIAL_FIRST_PAUSE);
    world_free(w);
}

TEST(a_changed_network_begins_the_round_under_way_anew)
{
    struct world *w = world_new(8);
    list(w, 1, "addr=10.0.0.1:1");
    run(w, 2 * PX_SEC);
    CHECK_INT(w->dial_count, 1);
    px_peer_manager_network_changed(w->m, w->now);
    CHECK(w->dials[0].closed);
    run(w, 0);
    CHECK_INT(w->dial_count, 2);
    /* one that has just begun goes on, but its failure is followed by another at once */
    px_peer_manager_network_changed(w->m, w->now);
    CHECK(!last(w)->closed);
    CHECK(pause_after_failure(w) <= PX_DIAL_SPREAD + 10 * PX_MSEC);
    world_free(w);
}

TEST(a_link_that_flaps_backs_off)
{
    struct world *w = world_new(9);
    px_nsec pause = 0;
    list(w, 1, "addr=10.0.0.1:1");
    run(w, 0);
    for (int i = 0; i < 10; i++) { /* as when another machine with our key throws us out */
        size_t before = w->dial_count;
        up(w, last(w));
        run(w, PX_SEC);
        px_nsec at = w->now;
        down(w, last(w), PX_EDUPLICATE, true);
        while (w->dial_count == before)
            run(w, 10 * PX_MSEC);
        pause = last(w)->at - at;
    }
    CHECK(pause >= CAP / 2);
    world_free(w);
}

TEST(a_found_address_is_dialled_soon_and_ages)
{
    struct world *w = world_new(10);
    struct px_peer_id id = id_of(1), stranger = id_of(9);
    const struct px_addr a = addr_of("10.0.0.5:1");
    list(w, 1, "");
    CHECK_INT(info_of(w, 1).state, PX_PEER_OFFLINE);
    run(w, PX_SEC);
    px_peer_manager_found(w->m, &stranger, &a, PX_SOURCE_LAN, w->now);
    px_peer_manager_found(w->m, &id, &a, PX_SOURCE_LAN, w->now);
    px_peer_manager_found(w->m, &id, &a, PX_SOURCE_LAN, w->now);
    CHECK_INT(w->found, 1);
    px_peer_manager_found(w->m, &id, &a, PX_SOURCE_MDNS, w->now); /* in another way, too */
    CHECK_INT(w->found, 2);
    run(w, PX_DIAL_SPREAD);
    CHECK_INT(w->dial_count, 1);
    for (int i = 0; i < 8; i++)
        (void)pause_after_failure(w);
    CHECK(info_of(w, 1).addr_count == 1);
    run(w, PX_ADDRS_FOUND_AGE);
    CHECK_INT(info_of(w, 1).addr_count, 0);
    world_free(w);
}

TEST(announcements_without_end_do_not_make_dials_without_end)
{
    struct world *w = world_new(11);
    struct px_peer_id id = id_of(1);
    list(w, 1, "");
    px_nsec start = w->now;
    for (unsigned i = 0; i < 2000; i++) {
        char text[32];
        snprintf(text, sizeof(text), "10.0.%u.%u:1", i / 250, i % 250 + 1);
        const struct px_addr a = addr_of(text);
        px_peer_manager_found(w->m, &id, &a, PX_SOURCE_LAN, w->now);
        run(w, 10 * PX_MSEC);
        for (size_t k = 0; k < w->dial_count; k++)
            if (!w->dials[k].closed && w->dials[k].at + PX_SEC < w->now) {
                w->dials[k].closed = true;
                down(w, &w->dials[k], PX_ETIMEDOUT, false);
            }
    }
    CHECK(info_of(w, 1).addr_count <= PX_ADDRS_FOUND_MAX);
    CHECK(w->dial_count <= (w->now - start) / PX_RACE_STAGGER + 50);
    world_free(w);
}

/* ---- connect and hang up ---- */

TEST(a_peer_hung_up_is_not_dialled_nor_let_in_until_told_to)
{
    struct world *w = world_new(12);
    struct px_peer_id id = id_of(1);
    list(w, 1, "addr=10.0.0.1:1");
    run(w, 0);
    up(w, last(w));
    CHECK_OK(px_peer_manager_disconnect(w->m, &id, w->now));
    CHECK(last(w)->closed);
    down(w, last(w), PX_ECLOSED, false);
    px_peer_manager_network_changed(w->m, w->now);
    run(w, 600 * PX_SEC);
    CHECK_INT(w->dial_count, 1);
    CHECK_INT(info_of(w, 1).state, PX_PEER_HELD);
    CHECK_ERR(px_peer_manager_authorize(w->m, &id), PX_EHELD);
    struct fake_dial *in = incoming(w, 1, "10.0.0.1:1"); /* was let in before */
    CHECK(in->closed);
    CHECK_INT(info_of(w, 1).state, PX_PEER_HELD);
    down(w, in, PX_ECLOSED, false);
    run(w, 600 * PX_SEC);
    CHECK_INT(w->dial_count, 2);
    CHECK_OK(px_peer_manager_connect(w->m, &id, NULL, on_done, w, w->now));
    CHECK_OK(px_peer_manager_authorize(w->m, &id));
    run(w, 0);
    CHECK_INT(w->dial_count, 3);
    up(w, last(w));
    CHECK_INT(w->done_count, 1);
    CHECK_OK(w->done_err);
    /* so does a changed entry */
    CHECK_OK(px_peer_manager_disconnect(w->m, &id, w->now));
    down(w, last(w), PX_ECLOSED, false);
    list(w, 1, "addr=10.0.0.2:1");
    run(w, 0);
    CHECK_INT(w->dial_count, 4);
    world_free(w);
}

TEST(connect_tries_the_given_address_first_and_tells_how_it_went)
{
    struct world *w = world_new(13);
    struct px_peer_id id = id_of(1), other = id_of(7);
    list(w, 1, "");
    CHECK_ERR(px_peer_manager_connect(w->m, &other, NULL, on_done, w, w->now), PX_ENOENT);
    CHECK_ERR(px_peer_manager_connect(w->m, &id, NULL, on_done, w, w->now), PX_EOFFLINE);
    CHECK_ERR(px_peer_manager_connect(w->m, &id, "no port", on_done, w, w->now), PX_EADDR);
    CHECK_ERR(px_peer_manager_connect(w->m, &id, "224.0.0.1:5", on_done, w, w->now), PX_EADDR);
    list(w, 1, "addr=10.0.0.1:1");
    CHECK_OK(px_peer_manager_connect(w->m, &id, "10.0.0.2:1", on_done, w, w->now));
    run(w, PX_SEC);
    CHECK_STR(w->dials[0].text, "10.0.0.2:1");
    CHECK_STR(w->dials[1].text, "10.0.0.1:1");
    CHECK_INT(w->done_count, 0);
    down(w, &w->dials[0], PX_EWRONGPEER, false);
    down(w, &w->dials[1], PX_ETIMEDOUT, false);
    run(w, 0);
    CHECK_INT(w->done_count, 1);
    CHECK_ERR(w->done_err, PX_EWRONGPEER);
    CHECK_INT(info_of(w, 1).addr_count, 1); /* what was given is forgotten again */
    for (size_t i = 0; i < PX_PEER_WAITERS_MAX; i++)
        CHECK_OK(px_peer_manager_connect(w->m, &id, NULL, on_done, w, w->now));
    CHECK_ERR(px_peer_manager_connect(w->m, &id, NULL, on_done, w, w->now), PX_EBUSY);
    list(w, 0, "");
    CHECK_INT(w->done_count, 1 + PX_PEER_WAITERS_MAX);
    CHECK_ERR(w->done_err, PX_EUNLISTED);
    run(w, 0);
    CHECK(px_peer_manager_find(w->m, &id) == NULL);
    world_free(w);
}

TEST(connect_to_a_link_just_hung_up_dials_as_soon_as_it_is_gone)
{
    struct world *w = world_new(14);
    struct px_peer_id id = id_of(1);
    list(w, 1, "addr=10.0.0.1:1");
    run(w, 0);
    up(w, last(w));
    CHECK_OK(px_peer_manager_connect(w->m, &id, NULL, on_done, w, w->now));
    CHECK_INT(w->done_count, 0); /* never from inside */
    run(w, 0);
    CHECK_INT(w->done_count, 1);
    CHECK_OK(px_peer_manager_disconnect(w->m, &id, w->now));
    CHECK_OK(px_peer_manager_connect(w->m, &id, NULL, on_done, w, w->now));
    run(w, 0);
    CHECK_INT(w->done_count, 1);
    CHECK_INT(w->dial_count, 1);
    down(w, &w->dials[0], PX_ECLOSED, false);
    run(w, 0);
    CHECK_INT(w->dial_count, 2);
    up(w, last(w));
    CHECK_INT(w->done_count, 2);
    CHECK_OK(w->done_err);
    world_free(w);
}

TEST(who_is_not_listed_any_more_is_closed_at_once_and_forgotten)
{
    struct world *w = world_new(15);
    struct px_peer_id one = id_of(1), two = id_of(2);
    list(w, 2, "addr=10.0.0.1:1");
    run(w, 0);
    CHECK_INT(w->dial_count, 2);
    struct fake_dial *first = px_peer_id_eq(&w->dials[0].id, &one) ? &w->dials[0] : &w->dials[1];
    struct fake_dial *second = first == &w->dials[0] ? &w->dials[1] : &w->dials[0];
    up(w, first);
    list(w, 0, "");
    CHECK(first->closed && second->closed);
    CHECK_INT(first->code, PX_CLOSE_REVOKED);
    CHECK_INT(w->forgotten, 2);
    CHECK_ERR(px_peer_manager_authorize(w->m, &one), PX_EUNLISTED);
    down(w, first, PX_EREVOKED, false);
    down(w, second, PX_EREVOKED, false);
    run(w, 0);
    CHECK(px_peer_manager_find(w->m, &one) == NULL && px_peer_manager_find(w->m, &two) == NULL);
    CHECK_INT(px_peer_manager_deadline(w->m), PX_NEVER);
    world_free(w);
}

TEST(our_own_entry_is_passed_over)
{
    struct world *w = world_new(16);
    struct px_authorized_keys *keys;
    struct px_peer_id self = id_of(0);
    char line[128], peer[PX_PEER_ID_TEXT_MAX];
    snprintf(line, sizeof(line), "%s addr=10.0.0.1:1\n", px_peer_id_format(&self, peer));
    CHECK_OK(px_authorized_keys_parse(px_slice_cstr(line), &keys));
    px_peer_manager_reload(w->m, keys, w->now);
    px_authorized_keys_free(keys);
    CHECK(px_peer_manager_find(w->m, &self) == NULL);
    world_free(w);
}

/* ---- guests ---- */

TEST(guests_come_in_up_to_the_limit_and_only_for_a_while)
{
    struct world *w = world_new(17);
    struct px_peer_id next = id_of(99);
    CHECK(!px_peer_manager_welcomes(w->m, &next));
    w->guests_welcome = true;
    for (uint8_t i = 0; i < PX_GUESTS_MAX; i++) {
        CHECK(px_peer_manager_welcomes(w->m, &next));
        incoming(w, (uint8_t)(50 + i), "10.0.0.1:1");
    }
    CHECK_ERR(px_peer_manager_authorize(w->m, &next), PX_EUNLISTED);
    run(w, PX_GUEST_TIME - 1);
    for (size_t i = 0; i < PX_GUESTS_MAX; i++)
        CHECK(!w->dials[i].closed);
    run(w, 1);
    for (size_t i = 0; i < PX_GUESTS_MAX; i++) {
        CHECK(w->dials[i].closed);
        down(w, &w->dials[i], PX_ECLOSED, false);
    }
    run(w, 0);
    CHECK(px_peer_manager_welcomes(w->m, &next));
    CHECK_INT(px_peer_manager_deadline(w->m), PX_NEVER);
    world_free(w);
}

/* Whoever knows our ID can come as a guest: none of them keeps out the one who is waited for. */
TEST(strangers_make_way_for_the_newest_guest_but_none_that_was_vouched_for)
{
    struct world *w = world_new(17);
    struct px_peer_id next = id_of(200);
    w->guests_welcome = true;
    for (uint8_t i = 0; i < PX_GUESTS_MAX; i++) {
        incoming(w, (uint8_t)(50 + i), "10.0.0.1:1");
        run(w, 1);
    }
    const struct px_peer_id vouched = id_of(50);
    px_peer_manager_keep_guest(w->m, &vouched, 0, w->now);
    CHECK(px_peer_manager_welcomes(w->m, &next));
    CHECK(!incoming(w, 200, "10.0.0.1:1")->closed);
    CHECK(!w->dials[0].closed);
    CHECK(w->dials[1].closed);
    CHECK_INT(w->dials[1].code, PX_CLOSE_BUSY);
    CHECK(!w->dials[2].closed);
    CHECK(!incoming(w, 201, "10.0.0.1:1")->closed); /* also before that one is gone */
    CHECK(w->dials[2].closed);
    for (uint8_t i = 3; i < PX_GUESTS_MAX + 2; i++) {
        struct px_peer_id id = w->dials[i].id;
        px_peer_manager_keep_guest(w->m, &id, 0, w->now);
    }
    CHECK(!px_peer_manager_welcomes(w->m, &next));
    world_free(w);
}

TEST(a_guest_is_kept_longer_while_people_are_asked)
{
    struct world *w = world_new(17);
    struct px_peer_id id = id_of(50);
    w->guests_welcome = true;
    incoming(w, 50, "10.0.0.1:1");
    px_peer_manager_keep_guest(w->m, &id, 3 * PX_GUEST_TIME, w->now);
    px_peer_manager_keep_guest(w->m, &id, 1, w->now); /* never shorter */
    run(w, 3 * PX_GUEST_TIME - 1);
    CHECK(!w->dials[0].closed);
    run(w, 1);
    CHECK(w->dials[0].closed);
    world_free(w);
}

static void call_up(void *ctx, struct px_link *link)
{
    struct world *w = ctx;
    w->call_ups++;
    w->call_link = link;
}

static void call_failed(void *ctx, int err)
{
    struct world *w = ctx;
    w->call_fails++;
    w->call_err = err;
}

static void call_down(void *ctx, int err)
{
    struct world *w = ctx;
    w->call_downs++;
    w->call_err = err;
}

static const struct px_guest_ops call_ops = {call_up, call_failed, call_down};
static const char *const call_addrs[] = {"10.0.0.1:1", "junk", "10.0.0.2:1"};

TEST(a_guest_dial_races_its_addresses_and_ends_when_told)
{
    struct world *w = world_new(18);
    struct px_peer_id id = id_of(1), self = id_of(0);
    CHECK_ERR(px_peer_manager_dial_guest(w->m, &self, call_addrs, 3, &call_ops, w, w->now),
              PX_ESELF);
    CHECK_ERR(px_peer_manager_dial_guest(w->m, &id, call_addrs + 1, 1, &call_ops, w, w->now),
              PX_EADDR);
    CHECK_OK(px_peer_manager_dial_guest(w->m, &id, call_addrs, 3, &call_ops, w, w->now));
    CHECK_ERR(px_peer_manager_dial_guest(w->m, &id, call_addrs, 3, &call_ops, w, w->now), PX_EBUSY);
    CHECK_OK(px_peer_manager_authorize(w->m, &id));
    run(w, PX_SEC);
    CHECK_INT(w->dial_count, 2);
    up(w, &w->dials[1]);
    CHECK_INT(w->call_ups, 1);
    CHECK(w->call_link == link_of(&w->dials[1]));
    CHECK(!info_of(w, 1).listed);
    px_peer_manager_end_guest(w->m, w, w->now);
    CHECK(w->dials[1].closed);
    down(w, &w->dials[1], PX_ECLOSED, false);
    run(w, 600 * PX_SEC);
    CHECK_INT(w->call_downs, 0); /* it ended it itself */
    CHECK_INT(w->dial_count, 2);
    CHECK_INT(w->good, 0);
    CHECK(px_peer_manager_find(w->m, &id) == NULL);
    world_free(w);
}

TEST(a_guest_dial_that_fails_is_told_once_and_leaves_nothing)
{
    struct world *w = world_new(19);
    struct px_peer_id id = id_of(1);
    CHECK_OK(px_peer_manager_dial_guest(w->m, &id, call_addrs, 3, &call_ops, w, w->now));
    run(w, PX_SEC);
    down(w, &w->dials[0], PX_ETIMEDOUT, false);
    down(w, &w->dials[1], PX_EREFUSED, true);
    run(w, 600 * PX_SEC);
    CHECK_INT(w->call_fails, 1);
    CHECK_ERR(w->call_err, PX_EREFUSED);
    CHECK_INT(w->dial_count, 2);
    CHECK(px_peer_manager_find(w->m, &id) == NULL);
    for (uint8_t i = 0; i < PX_GUEST_DIALS_MAX; i++) {
        id = id_of((uint8_t)(10 + i));
        CHECK_OK(px_peer_manager_dial_guest(w->m, &id, call_addrs, 1, &call_ops, w, w->now));
    }
    id = id_of(90);
    CHECK_ERR(px_peer_manager_dial_guest(w->m, &id, call_addrs, 1, &call_ops, w, w->now),
              PX_ELIMIT);
    world_free(w); /* tells the rest */
}

TEST(a_guest_that_becomes_listed_stays_and_its_dialler_renews_the_link)
{
    struct world *w = world_new(20);
    struct px_peer_id id = id_of(1);
    CHECK_OK(px_peer_manager_dial_guest(w->m, &id, call_addrs, 1, &call_ops, w, w->now));
    run(w, 0);
    up(w, last(w));
    list(w, 1, "");
    CHECK(info_of(w, 1).listed);
    run(w, 2 * PX_SEC);
    CHECK(!w->dials[0].closed);
    px_peer_manager_end_guest(w->m, w, w->now);
    run(w, PX_GUEST_GRACE - 1);
    CHECK(!w->dials[0].closed); /* last bytes may be on their way */
    run(w, 1);
    CHECK(w->dials[0].closed);
    CHECK_INT(w->dials[0].code, PX_CLOSE_NONE);
    down(w, &w->dials[0], PX_ECLOSED, false);
    run(w, 0);
    CHECK_INT(w->dial_count, 2);
    CHECK_STR(last(w)->text, "10.0.0.1:1"); /* it was good */
    up(w, last(w));
    run(w, 3600 * PX_SEC);
    CHECK(!last(w)->closed);
    world_free(w);
}

TEST(who_waits_for_a_connection_waits_for_one_of_a_listed_peer)
{
    struct world *w = world_new(23);
    struct px_peer_id id = id_of(1);
    CHECK_OK(px_peer_manager_dial_guest(w->m, &id, call_addrs, 1, &call_ops, w, w->now));
    run(w, 0);
    up(w, last(w));
    list(w, 1, "");
    CHECK_INT(info_of(w, 1).state, PX_PEER_GUEST);
    CHECK_OK(px_peer_manager_connect(w->m, &id, NULL, on_done, w, w->now));
    run(w, 2 * PX_SEC);
    CHECK_INT(w->done_count, 0);
    CHECK(!w->dials[0].closed); /* in use */
    px_peer_manager_end_guest(w->m, w, w->now);
    run(w, PX_GUEST_GRACE);
    CHECK(w->dials[0].closed);
    down(w, &w->dials[0], PX_ECLOSED, false);
    run(w, 0);
    CHECK_INT(w->done_count, 0);
    up(w, last(w));
    CHECK_INT(w->done_count, 1);
    CHECK_OK(w->done_err);
    CHECK_INT(info_of(w, 1).state, PX_PEER_CONNECTED);
    world_free(w);
}

TEST(a_link_is_renewed_at_once_when_told_to)
{
    struct world *w = world_new(24);
    struct px_peer_id id = id_of(1);
    px_peer_manager_renew(w->m, &id); /* nobody */
    list(w, 1, "addr=10.0.0.1:1");
    run(w, 0);
    px_peer_manager_renew(w->m, &id); /* no link yet */
    CHECK(!last(w)->closed);
    up(w, last(w));
    px_peer_manager_renew(w->m, &id);
    CHECK(w->dials[0].closed);
    CHECK_INT(w->dials[0].code, PX_CLOSE_NONE);
    down(w, &w->dials[0], PX_ECLOSED, false);
    run(w, 0);
    CHECK_INT(w->dial_count, 2);
    up(w, last(w));
    CHECK_INT(info_of(w, 1).state, PX_PEER_CONNECTED);
    world_free(w);
}

TEST(a_listed_peers_link_is_handed_out_to_a_guest_dial_and_stays)
{
    struct world *w = world_new(21);
    struct px_peer_id id = id_of(1);
    list(w, 1, "addr=10.0.0.1:1");
    run(w, 0);
    up(w, last(w));
    CHECK_OK(px_peer_manager_dial_guest(w->m, &id, NULL, 0, &call_ops, w, w->now));
    CHECK_INT(w->call_ups, 0);
    run(w, 0);
    CHECK_INT(w->call_ups, 1);
    px_peer_manager_end_guest(w->m, w, w->now);
    run(w, 600 * PX_SEC);
    CHECK(!last(w)->closed);
    CHECK_OK(px_peer_manager_dial_guest(w->m, &id, NULL, 0, &call_ops, w, w->now));
    run(w, 0);
    down(w, last(w), PX_ETIMEDOUT, false);
    CHECK_INT(w->call_downs, 1);
    world_free(w);
}

/* ---- many ---- */

TEST(connected_peers_cost_one_timer_a_day)
{
    struct world *w = world_new(22);
    list(w, 200, "addr=10.0.0.1:1");
    run(w, 0);
    CHECK_INT(w->dial_count, 200);
    for (size_t i = 0; i < 200; i++)
        up(w, &w->dials[i]);
    CHECK_INT(w->connected, 200);
    CHECK_INT(px_peer_manager_deadline(w->m), w->now + PX_GOOD_AGAIN);
    CHECK_INT(w->good, 200);
    run(w, PX_GOOD_AGAIN); /* a node that is killed after a year must not have forgotten them */
    CHECK_INT(w->good, 400);
    world_free(w);
}

static void note_undialled(void *ctx, struct px_peer *p)
{
    if (p->race == NULL)
        *(struct px_peer_id *)ctx = p->id;
}

TEST(so_many_peers_are_dialled_at_once_and_the_others_in_their_turn)
{
    struct world *w = world_new(24);
    struct px_authorized_keys *keys;
    struct px_peer_id id = {{0}};
    struct px_buf text;
    char peer[PX_PEER_ID_TEXT_MAX];
    const size_t count = PX_ROUNDS_MAX + 50;
    px_buf_init(&text, 1u << 20);
    for (size_t i = 1; i <= count; i++) {
        id.key[0] = (uint8_t)i;
        id.key[1] = (uint8_t)(i >> 8);
        px_buf_printf(&text, "%s addr=10.0.0.1:1\n", px_peer_id_format(&id, peer));
    }
    CHECK_OK(px_authorized_keys_parse(px_buf_slice(&text), &keys));
    px_peer_manager_reload(w->m, keys, w->now);
    px_authorized_keys_free(keys);
    px_buf_deinit(&text);
    run(w, 0);
    CHECK_INT(w->dial_count, PX_ROUNDS_MAX);
    px_peer_manager_network_changed(w->m, w->now);
    run(w, PX_DIAL_PUT_OFF);
    CHECK_INT(w->dial_count, PX_ROUNDS_MAX);
    px_peer_manager_each(w->m, note_undialled, &id);
    CHECK_OK(px_peer_manager_connect(w->m, &id, NULL, on_done, w, w->now)); /* somebody waits */
    run(w, 0);
    CHECK_INT(w->dial_count, PX_ROUNDS_MAX + 1);
    for (size_t i = 0; i < 50; i++)
        up(w, &w->dials[i]);
    run(w, PX_DIAL_PUT_OFF);
    CHECK_INT(w->dial_count, count);
    world_free(w);
}

TEST(the_address_book_comes_before_what_was_never_good)
{
    struct world *w = world_new(23);
    struct px_peer_id id = id_of(1), other = id_of(2);
    const struct px_addr old = addr_of("10.0.0.7:1"), recent = addr_of("10.0.0.8:1");
    list(w, 1, "addr=10.0.0.1:1");
    CHECK_ERR(px_peer_manager_remember(w->m, &other, &old, 0, w->now), PX_ENOENT);
    CHECK_OK(px_peer_manager_remember(w->m, &id, &old, 40 * 24 * 3600 * PX_SEC, w->now));
    CHECK_OK(px_peer_manager_remember(w->m, &id, &recent, 60 * PX_SEC, w->now));
    struct px_peer_info info = info_of(w, 1);
    CHECK_STR(info.addrs[0].text, "10.0.0.8:1");
    CHECK_INT(info.addrs[0].last_good, 60 * PX_SEC);
    CHECK_STR(info.addrs[1].text, "10.0.0.7:1");
    CHECK_INT(info.addrs[1].last_good, 40 * 24 * 3600 * PX_SEC);
    CHECK_STR(info.addrs[2].text, "10.0.0.1:1");
    run(w, PX_SEC);
    CHECK_STR(w->dials[0].text, "10.0.0.8:1");
    world_free(w);
}

/* ---- relays ---- */

static const char hub[1][PX_AUTH_ADDR_MAX] = {PX_RELAY_ROUTE "hub"};

TEST(a_circuit_is_dialled_as_soon_as_it_is_there_and_not_remembered)
{
    struct world *w = world_new(40);
    struct px_peer_id id = id_of(1);
    struct px_addr circuit;
    px_addr_circuit(3, &circuit);
    list(w, 1, "addr=10.0.0.1:1 addr=10.0.0.2:1 addr=10.0.0.3:1 addr=10.0.0.4:1 addr=10.0.0.5:1");
    px_peer_manager_relays(w->m, hub, 1, w->now);
    run(w, 4 * PX_RACE_STAGGER);
    CHECK_INT(w->dial_count, PX_RACE_PARALLEL);
    CHECK_STR(w->resolving, PX_RELAY_ROUTE "hub");
    px_peer_manager_resolved(w->m, &id, w->token, &circuit, 1, 0, w->now);
    run(w, 0);
    CHECK_INT(w->dial_count, PX_RACE_PARALLEL + 1); /* it takes nobody's turn */
    CHECK_STR(last(w)->text, "circuit:3");
    up(w, last(w));
    CHECK_INT(w->connected, 1);
    CHECK_INT(w->good, 0);
    CHECK_INT(info_of(w, 1).addr_count, 6);
    world_free(w);
}

TEST(a_peer_with_very_many_addresses_is_dialled_through_its_circuit_in_time)
{
    struct world *w = world_new(43);
    struct px_peer_id id = id_of(1);
    struct px_addr circuit, addrs[PX_RACE_PER_NAME_MAX];
    px_addr_circuit(3, &circuit);
    list(w, 1,
         "addr=a.example:1 addr=b.example:1 addr=c.example:1 addr=d.example:1 "
         "addr=e.example:1 addr=f.example:1 addr=g.example:1 addr=h.example:1");
    px_peer_manager_relays(w->m, hub, 1, w->now);
    run(w, 0);
    CHECK_INT(w->resolve_count, PX_AUTH_ADDRS_MAX + 1);
    CHECK_STR(w->resolving, PX_RELAY_ROUTE "hub");
    for (uint64_t n = 0; n < PX_AUTH_ADDRS_MAX; n++) { /* as many as a race holds */
        for (uint8_t i = 0; i < PX_RACE_PER_NAME_MAX; i++)
            addrs[i] = (struct px_addr){
                .family = PX_ADDR_IP4, .ip = {10, 9, (uint8_t)n, (uint8_t)(i + 1)}, .port = 1};
        px_peer_manager_resolved(w->m, &id, w->token - PX_AUTH_ADDRS_MAX + n, addrs,
                                 PX_RACE_PER_NAME_MAX, 0, w->now);
    }
    run(w, 600 * PX_MSEC);
    size_t dials = w->dial_count;
    CHECK(dials >= 2 && dials <= PX_RACE_PARALLEL);
    px_peer_manager_resolved(w->m, &id, w->token, &circuit, 1, 0, w->now);
    run(w, 0);
    CHECK_INT(w->dial_count, dials + 1);
    CHECK_STR(last(w)->text, "circuit:3");
    up(w, last(w));
    CHECK_INT(w->connected, 1);
    world_free(w);
}

TEST(a_peer_without_addresses_is_dialled_when_a_relay_comes_and_not_once_it_went)
{
    struct world *w = world_new(41);
    struct px_peer_id id = id_of(1);
    list(w, 1, "");
    run(w, PX_SEC);
    CHECK_INT(w->resolve_count, 0);
    CHECK_INT(info_of(w, 1).state, PX_PEER_OFFLINE);
    px_peer_manager_relays(w->m, hub, 1, w->now);
    run(w, 3 * PX_SEC);
    CHECK_INT(w->resolve_count, 1);
    CHECK_INT(info_of(w, 1).state, PX_PEER_CONNECTING);
    px_peer_manager_resolved(w->m, &id, w->token, NULL, 0, PX_EOFFLINE, w->now);
    run(w, 0);
    CHECK_INT(w->rounds_failed, 1);
    CHECK_ERR(info_of(w, 1).last_err, PX_EOFFLINE);
    px_peer_manager_relays(w->m, hub, 0, w->now);
    run(w, 3600 * PX_SEC);
    CHECK_INT(w->resolve_count, 1);
    CHECK_INT(info_of(w, 1).state, PX_PEER_OFFLINE);
    world_free(w);
}

TEST(who_is_listed_later_gets_the_ways_through_relays_too)
{
    struct world *w = world_new(42);
    px_peer_manager_relays(w->m, hub, 1, w->now);
    list(w, 1, "");
    run(w, PX_SEC);
    CHECK_INT(w->resolve_count, 1);
    CHECK_INT(info_of(w, 1).addrs[0].source, PX_SOURCE_RELAY);
    world_free(w);
}
