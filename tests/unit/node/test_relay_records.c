/* What a node registers at a relay and when, what it takes from others' records, and what names of
 * the network mean: node/relay_records.c and relay_names.c on a virtual clock. */
#include <stdlib.h>

#include "relay/record.h"
#include "tests/unit/node/fake_relays.c"

static struct px_identity people[4]; /* the first one is listed */
static struct px_buf record_bytes;

static struct fake *start(size_t relays)
{
    struct fake *f = fake_start(relays);
    char text[PX_PEER_ID_TEXT_MAX];
    for (size_t i = 0; i < PX_ARRAY_LEN(people); i++)
        px_identity_generate(&px_system_rng, &people[i]);
    CHECK_OK(
        px_authorized_keys_parse(px_slice_cstr(px_peer_id_format(&people[0].id, text)), &f->keys));
    fake_wait(f, 0);
    px_buf_init(&record_bytes, PX_RELAY_RECORD_MAX);
    return f;
}

static void end(struct fake *f)
{
    px_buf_deinit(&record_bytes);
    fake_end(f);
}

static void reserve(struct fake *f, size_t number, enum px_relay_class class)
{
    fake_reserve_as(f, number, class);
    fake_wait(f, 0);
}

/* Our own one that was sent last and is not answered. */
static struct px_record registered(struct fake *f, struct fake_request **ret)
{
    struct px_record rec;
    *ret = fake_asked(f, 1, PX_RELAY_MSG_REGISTER);
    CHECK(*ret != NULL && (*ret)->m.record_count == 1);
    CHECK_OK(px_record_verify((*ret)->m.records[0], &rec));
    CHECK(px_peer_id_eq(&rec.peer, &f->identity.id));
    CHECK(px_slice_eq_cstr(rec.name_space, "default"));
    return rec;
}

static void grant(struct fake *f, struct fake_request *q, px_nsec ttl)
{
    const struct px_relay_msg m = {
        .type = PX_RELAY_MSG_STATUS, .keys = PX_RELAY_BIT(PX_RELAY_K_TTL), .ttl_ms = ttl / PX_MSEC};
    fake_answer(f, q, PX_RELAY_OK, &m);
}

/* What somebody says of themselves, as a message of the relay. */
static struct px_relay_msg said_in(const char *network, const struct px_identity *who,
                                   const char *name, const char *address, uint64_t sequence)
{
    struct px_record rec = {.sequence = sequence,
                            .name_space = px_slice_cstr(network),
                            .name = px_slice_cstr(name),
                            .addr_count = 1};
    CHECK_OK(px_addr_parse(px_slice_cstr(address), &rec.addrs[0]));
    px_buf_clear(&record_bytes);
    CHECK_OK(px_record_sign(who, &rec, &record_bytes));
    return (struct px_relay_msg){
        .type = PX_RELAY_MSG_FOUND, .records = {px_buf_slice(&record_bytes)}, .record_count = 1};
}

static struct px_relay_msg said(const struct px_identity *who, const char *name)
{
    return said_in("default", who, name, "192.0.2.1:1", 1);
}

static void push(struct fake *f, size_t number, const struct px_relay_msg *m)
{
    struct px_relay *r = fake_relay(f, number);
    r->client->config.ops->changed(r, m);
}

/* ---- our record ---- */

static void observe(struct fake *f, size_t number, const char *text)
{
    struct px_relay *r = fake_relay(f, number);
    struct px_addr a;
    CHECK_OK(px_addr_parse(px_slice_cstr(text), &a));
    r->client->config.ops->observed(r, &a);
}

TEST(a_member_watches_and_registers_and_does_again_at_half_its_time)
{
    struct fake *f = start(1);
    struct fake_request *q;
    reserve(f, 1, PX_RELAY_MEMBER);
    CHECK(fake_asked(f, 1, PX_RELAY_MSG_WATCH) != NULL);
    struct px_record first = registered(f, &q);
    uint64_t sequence = first.sequence;
    grant(f, q, 3600 * PX_SEC);
    fake_wait(f, 1800 * PX_SEC - PX_MSEC);
    CHECK_INT(fake_asked_count(f, 1, PX_RELAY_MSG_REGISTER), 1);
    fake_wait(f, PX_MSEC);
    CHECK(registered(f, &q).sequence > sequence);
    end(f);
}

TEST(a_registration_without_an_answer_is_tried_again)
{
    struct fake *f = start(1);
    struct fake_request *q;
    reserve(f, 1, PX_RELAY_VOUCHED);
    (void)registered(f, &q);
    fake_wait(f, 59 * PX_SEC);
    CHECK_INT(fake_asked_count(f, 1, PX_RELAY_MSG_REGISTER), 1);
    fake_wait(f, PX_SEC);
    CHECK_INT(fake_asked_count(f, 1, PX_RELAY_MSG_REGISTER), 2);
    end(f);
}

TEST(who_may_not_register_does_not)
{
    static const enum px_relay_class classes[] = {PX_RELAY_STRANGER, PX_RELAY_JOINER};
    for (size_t i = 0; i < PX_ARRAY_LEN(classes); i++) {
        struct fake *f = start(1);
        reserve(f, 1, classes[i]);
        fake_wait(f, 300 * PX_SEC);
        CHECK_INT(f->request_count, 0);
        end(f);
    }
}

TEST(a_joiner_asks_whether_somebody_vouched_for_it)
{
    struct fake *f = start(1);
    reserve(f, 1, PX_RELAY_JOINER);
    size_t asked = f->reserve_count;
    fake_wait(f, 4 * PX_SEC);
    CHECK_INT(f->reserve_count, asked);
    fake_wait(f, PX_SEC);
    CHECK_INT(f->reserve_count, asked + 1);
    fake_wait(f, 60 * PX_SEC);
    CHECK_INT(f->reserve_count, asked + 2);
    end(f);
}

TEST(without_the_name_when_it_is_another_ones)
{
    struct fake *f = start(1);
    struct fake_request *q;
    reserve(f, 1, PX_RELAY_MEMBER);
    CHECK(registered(f, &q).name.len > 0);
    fake_answer(f, q, PX_RELAY_NAME_TAKEN, NULL);
    fake_wait(f, 0);
    CHECK(registered(f, &q).name.len == 0);
    fake_answer(f, q, PX_RELAY_NAME_TAKEN, NULL); /* makes no sense: no storm follows */
    fake_wait(f, PX_SEC);
    CHECK_INT(fake_asked_count(f, 1, PX_RELAY_MSG_REGISTER), 2);
    end(f);
}

TEST(a_clock_that_went_back_is_made_up_for)
{
    struct fake *f = start(1);
    struct fake_request *q;
    reserve(f, 1, PX_RELAY_MEMBER);
    uint64_t ours = registered(f, &q).sequence, theirs = ours + 1000000000;
    fake_answer(f, q, PX_RELAY_STALE, NULL);
    struct fake_request *own = fake_asked(f, 1, PX_RELAY_MSG_DISCOVER);
    CHECK(own != NULL && px_peer_id_eq(&own->m.peer, &f->identity.id));
    struct px_relay_msg m = said_in("default", &f->identity, "me", "192.0.2.1:1", theirs);
    fake_answer(f, own, PX_RELAY_OK, &m);
    fake_wait(f, PX_SEC);
    CHECK(registered(f, &q).sequence > theirs);
    end(f);
}

TEST(changes_that_come_in_a_row_are_told_once)
{
    struct fake *f = start(1);
    struct fake_request *q;
    reserve(f, 1, PX_RELAY_MEMBER);
    (void)registered(f, &q);
    grant(f, q, 3600 * PX_SEC);
    for (int i = 0; i < 5; i++) {
        char text[32];
        snprintf(text, sizeof(text), "192.0.2.1:%d", 1000 + i);
        observe(f, 1, text);
        fake_wait(f, 100 * PX_MSEC);
    }
    CHECK_INT(fake_asked_count(f, 1, PX_RELAY_MSG_REGISTER), 1);
    fake_wait(f, PX_SEC);
    (void)registered(f, &q);
    observe(f, 1, "192.0.2.1:2000"); /* while the answer is on its way */
    grant(f, q, 3600 * PX_SEC);
    fake_wait(f, PX_SEC);
    CHECK_INT(fake_asked_count(f, 1, PX_RELAY_MSG_REGISTER), 3);
    end(f);
}

TEST(what_one_relay_makes_up_about_our_address_is_no_news_for_another)
{
    struct fake *f = start(2);
    reserve(f, 1, PX_RELAY_MEMBER);
    reserve(f, 2, PX_RELAY_MEMBER);
    for (size_t n = 1; n <= 2; n++) {
        observe(f, n, "192.0.2.1:1000");
        fake_wait(f, PX_SEC);
        for (struct fake_request *q; (q = fake_asked(f, n, PX_RELAY_MSG_REGISTER)) != NULL;)
            grant(f, q, 3600 * PX_SEC);
    }
    fake_wait(f, 10 * PX_SEC);
    size_t before = fake_asked_count(f, 1, PX_RELAY_MSG_REGISTER);
    for (unsigned i = 0; i < 20; i++) {
        char text[32];
        snprintf(text, sizeof(text), "198.51.100.%u:9", i);
        observe(f, 2, text);
        px_relay_records_changed(fake_relay(f, 1), f->now); /* as relay_reach.c says to all */
        fake_wait(f, 2 * PX_SEC);
    }
    CHECK_INT(fake_asked_count(f, 1, PX_RELAY_MSG_REGISTER), before);
    CHECK(fake_asked_count(f, 2, PX_RELAY_MSG_REGISTER) > 1);
    observe(f, 1, "192.0.2.1:2000");
    fake_wait(f, 2 * PX_SEC);
    CHECK_INT(fake_asked_count(f, 1, PX_RELAY_MSG_REGISTER), before + 1);
    end(f);
}

TEST(a_relay_that_grants_no_time_is_not_registered_at_all_the_time)
{
    struct fake *f = start(1);
    struct fake_request *q;
    reserve(f, 1, PX_RELAY_MEMBER);
    (void)registered(f, &q);
    grant(f, q, 0);
    fake_wait(f, 29 * PX_SEC);
    CHECK_INT(fake_asked_count(f, 1, PX_RELAY_MSG_REGISTER), 1);
    fake_wait(f, PX_SEC);
    CHECK_INT(fake_asked_count(f, 1, PX_RELAY_MSG_REGISTER), 2);
    end(f);
}

/* ---- those of others ---- */

TEST(records_tell_addresses_of_listed_peers_alone)
{
    struct fake *f = start(1);
    reserve(f, 1, PX_RELAY_MEMBER);
    const struct {
        const char *network, *address;
        size_t who, found;
    } rows[] = {
        {"default", "192.0.2.7:7", 0, 1},
        {"default", "192.0.2.7:7", 1, 0}, /* not listed */
        {"other", "192.0.2.7:7", 0, 0},
        {"default", "127.0.0.1:7", 0, 0},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        struct px_relay_msg m =
            said_in(rows[i].network, &people[rows[i].who], "x", rows[i].address, 1);
        f->found_count = 0;
        push(f, 1, &m);
        CHECK_INT(f->found_count, rows[i].found);
    }
    struct px_relay_msg m = said(&people[0], "x");
    record_bytes.data[record_bytes.len - 1] ^= 1; /* forged */
    push(f, 1, &m);
    CHECK_INT(f->found_count, 0);
    end(f);
}

TEST(so_many_records_that_a_relay_pushes_are_looked_at)
{
    struct fake *f = start(2);
    reserve(f, 1, PX_RELAY_MEMBER);
    reserve(f, 2, PX_RELAY_MEMBER);
    struct px_relay_msg m = said_in("default", &people[0], "x", "192.0.2.7:7", 1);
    for (size_t i = 0; i < PX_RELAYS_PUSHED_BURST; i++)
        push(f, 1, &m);
    f->found_count = 0;
    push(f, 1, &m);
    CHECK_INT(f->found_count, 0);
    push(f, 2, &m); /* each its own */
    CHECK_INT(f->found_count, 1);
    fake_wait(f, PX_SEC);
    for (size_t i = 0; i < 2 * PX_RELAYS_PUSHED_RATE; i++) {
        f->found_count = 0;
        push(f, 1, &m);
        CHECK_INT(f->found_count, i < PX_RELAYS_PUSHED_RATE ? 1 : 0);
    }
    struct fake_request *q; /* what was asked for is taken */
    px_relay_records_ask(fake_relay(f, 1), &people[0].id, f->now);
    CHECK((q = fake_asked(f, 1, PX_RELAY_MSG_DISCOVER)) != NULL);
    fake_answer(f, q, PX_RELAY_OK, &m);
    CHECK_INT(f->found_count, 1);
    end(f);
}

/* ---- names ---- */

struct heard {
    unsigned count;
    int err;
    bool live;
    struct px_peer_id peer;
};

static void on_name(void *ctx, int err, const struct px_relays_name *name)
{
    struct heard *h = ctx;
    h->count++;
    h->err = err;
    if (err != 0)
        return;
    h->live = name->live;
    h->peer = name->peer;
}

static struct heard lookup(struct fake *f, struct heard *h, const char *word)
{
    *h = (struct heard){.count = 0};
    px_relays_lookup(f->set, px_slice_cstr(word), on_name, h);
    return *h;
}

/* The request for a name, not that for a page of the listing. */
static struct fake_request *asked_name(struct fake *f, size_t number)
{
    for (size_t i = 0; i < f->request_count; i++) {
        struct fake_request *q = &f->requests[i];
        if (!q->answered && q->relay == fake_relay(f, number) &&
            q->m.type == PX_RELAY_MSG_DISCOVER && px_relay_msg_has(&q->m, PX_RELAY_K_NAME))
            return q;
    }
    return NULL;
}

TEST(a_name_is_asked_of_one_relay_after_the_other)
{
    struct fake *f = start(2);
    struct heard h;
    reserve(f, 1, PX_RELAY_MEMBER);
    reserve(f, 2, PX_RELAY_VOUCHED);
    CHECK_INT(lookup(f, &h, "bob.default").count, 0);
    CHECK(asked_name(f, 2) == NULL);
    fake_answer(f, asked_name(f, 1), PX_RELAY_NOT_FOUND, NULL);
    CHECK_INT(h.count, 0);
    struct px_relay_msg m = said(&people[1], "bob");
    fake_answer(f, asked_name(f, 2), PX_RELAY_OK, &m);
    CHECK(h.count == 1 && h.err == 0 && h.live);
    CHECK(px_peer_id_eq(&h.peer, &people[1].id)); /* listed or not */
    CHECK_INT(f->found_count, 0);                 /* but it is not dialled */
    end(f);
}

TEST(a_relay_that_would_not_tell_is_not_asked_for_a_name)
{
    struct fake *f = start(2);
    struct heard h;
    reserve(f, 1, PX_RELAY_STRANGER);
    CHECK_ERR(lookup(f, &h, "bob.default").err, PX_ENOENT);
    reserve(f, 2, PX_RELAY_MEMBER);
    CHECK_INT(lookup(f, &h, "bob.default").count, 0);
    CHECK(asked_name(f, 1) == NULL && asked_name(f, 2) != NULL);
    fake_down(f, 2, PX_ETIMEDOUT);
    fake_answer(f, asked_name(f, 2), PX_RELAY_NO_ANSWER, NULL); /* as the client tells it */
    CHECK(h.count == 1 && h.err == PX_ENOENT);
    end(f);
}

TEST(the_copy_answers_when_no_relay_does)
{
    struct fake *f = start(1);
    struct heard h;
    CHECK_ERR(lookup(f, &h, "bob.default").err, PX_ENOENT);
    reserve(f, 1, PX_RELAY_MEMBER);
    struct px_relay_msg m = said(&people[1], "bob");
    push(f, 1, &m);
    CHECK_INT(lookup(f, &h, "bob.default").count, 0);
    fake_wait(f, PX_RELAY_LOOKUP_TIME); /* it says nothing */
    CHECK(h.count == 1 && h.err == 0 && !h.live);
    fake_answer(f, asked_name(f, 1), PX_RELAY_OK, &m); /* too late */
    CHECK_INT(h.count, 1);
    fake_down(f, 1, PX_ETIMEDOUT);
    h = lookup(f, &h, "bob.default");
    CHECK(h.count == 1 && h.err == 0 && !h.live);
    fake_restart(f);
    h = lookup(f, &h, "bob.default");
    CHECK(h.count == 1 && h.err == 0 && !h.live && px_peer_id_eq(&h.peer, &people[1].id));
    end(f);
}

TEST(an_answer_that_does_not_fit_is_none)
{
    struct fake *f = start(1);
    struct heard h;
    reserve(f, 1, PX_RELAY_MEMBER);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(lookup(f, &h, "bob.default").count, 0);
        struct px_relay_msg m = i == 0   ? said(&people[1], "eve")
                                : i == 1 ? said_in("other", &people[1], "bob", "192.0.2.1:1", 1)
                                         : said(&people[1], "bob");
        if (i == 2)
            record_bytes.data[record_bytes.len - 1] ^= 1;
        fake_answer(f, asked_name(f, 1), PX_RELAY_OK, &m);
        CHECK(h.count == 1 && h.err == PX_ENOENT);
    }
    CHECK_ERR(lookup(f, &h, "bob.other").err, PX_ENOENT); /* of another network nobody is asked */
    CHECK_ERR(lookup(f, &h, "bob").err, PX_ENOENT);
    CHECK(asked_name(f, 1) == NULL);
    end(f);
}

TEST(lookups_at_once_are_bounded_and_may_be_cancelled)
{
    struct fake *f = start(1);
    struct heard h[PX_RELAY_LOOKUPS_MAX + 1];
    reserve(f, 1, PX_RELAY_MEMBER);
    for (size_t i = 0; i < PX_ARRAY_LEN(h); i++)
        (void)lookup(f, &h[i], "bob.default");
    CHECK(h[PX_RELAY_LOOKUPS_MAX].count == 1 && h[PX_RELAY_LOOKUPS_MAX].err == PX_ENOENT);
    CHECK_INT(h[0].count, 0);
    px_relays_lookup_cancel(f->set, &h[0]);
    fake_wait(f, PX_RELAY_LOOKUP_TIME);
    CHECK_INT(h[0].count, 0);
    CHECK(h[1].count == 1 && h[1].err == PX_ENOENT);
    (void)lookup(f, &h[0], "bob.default");
    CHECK_INT(h[0].count, 0);
    fake_restart(f); /* what is under way ends */
    CHECK(h[0].count == 1 && h[0].err == PX_ECANCELED);
    end(f);
}

static void count_live(void *ctx, const struct px_relays_name *name)
{
    *(size_t *)ctx += name->live;
}

static size_t live_names(struct fake *f)
{
    size_t n = 0;
    px_relays_names_each(f->set, count_live, &n);
    return n;
}

TEST(the_namespace_is_listed_page_by_page)
{
    static uint8_t cookie[] = {1, 2, 3};
    struct fake *f = start(1);
    reserve(f, 1, PX_RELAY_MEMBER);
    CHECK(fake_asked(f, 1, PX_RELAY_MSG_DISCOVER) == NULL);
    fake_answer(f, fake_asked(f, 1, PX_RELAY_MSG_WATCH), PX_RELAY_OK, NULL);
    fake_wait(f, 0);
    struct fake_request *q = fake_asked(f, 1, PX_RELAY_MSG_DISCOVER);
    CHECK(q != NULL && !px_relay_msg_has(&q->m, PX_RELAY_K_COOKIE));
    struct px_relay_msg m = said(&people[1], "bob");
    m.keys = PX_RELAY_BIT(PX_RELAY_K_COOKIE);
    m.cookie = px_slice(cookie, sizeof(cookie));
    fake_answer(f, q, PX_RELAY_OK, &m);
    CHECK_INT(live_names(f), 1);
    fake_wait(f, PX_RELAY_LIST_PAUSE - PX_MSEC);
    CHECK(fake_asked(f, 1, PX_RELAY_MSG_DISCOVER) == NULL);
    fake_wait(f, PX_MSEC);
    q = fake_asked(f, 1, PX_RELAY_MSG_DISCOVER);
    CHECK(q != NULL);
    CHECK_SLICE(q->m.cookie, px_slice(cookie, sizeof(cookie)));
    m = said(&people[2], "carol");
    fake_answer(f, q, PX_RELAY_OK, &m); /* the last page */
    fake_wait(f, 10 * PX_SEC);
    CHECK(fake_asked(f, 1, PX_RELAY_MSG_DISCOVER) == NULL);
    CHECK_INT(live_names(f), 2);
    const struct px_relay_msg gone = {
        .type = PX_RELAY_MSG_CHANGED, .gone = {people[1].id}, .gone_count = 1};
    push(f, 1, &gone);
    CHECK_INT(live_names(f), 1);
    fake_down(f, 1, PX_ETIMEDOUT);
    CHECK_INT(live_names(f), 0);
    end(f);
}

TEST(a_listing_without_end_is_left)
{
    static uint8_t cookie[] = {1};
    struct fake *f = start(1);
    size_t pages = 0;
    reserve(f, 1, PX_RELAY_MEMBER);
    fake_answer(f, fake_asked(f, 1, PX_RELAY_MSG_WATCH), PX_RELAY_OK, NULL);
    fake_wait(f, 0);
    struct px_relay_msg m = said(&people[1], "bob");
    m.record_count = PX_RELAY_RECORDS_MAX;
    m.records[1] = m.records[2] = m.records[0];
    m.keys = PX_RELAY_BIT(PX_RELAY_K_COOKIE);
    m.cookie = px_slice(cookie, sizeof(cookie));
    for (struct fake_request *q; (q = fake_asked(f, 1, PX_RELAY_MSG_DISCOVER)) != NULL; pages++) {
        fake_answer(f, q, PX_RELAY_OK, &m);
        fake_wait(f, PX_RELAY_LIST_PAUSE);
    }
    CHECK_INT(pages, (PX_NET_NAMES_PER_RELAY + PX_RELAY_RECORDS_MAX - 1) / PX_RELAY_RECORDS_MAX);
    end(f);
}
