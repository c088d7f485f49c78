/* When node/relay_reports.c looks at what moved, and what relays hear of it, on a virtual clock. */
#include "tests/unit/node/fake_relays.c"

static struct fake *with_nobody_listed(void)
{
    struct fake *f = fake_start(1);
    CHECK_OK(px_authorized_keys_parse(px_slice(NULL, 0), &f->keys));
    memset(f->traffic.peer.key, 7, sizeof(f->traffic.peer.key));
    memset(f->traffic.session, 8, sizeof(f->traffic.session));
    return f;
}

static struct fake *with_member(void)
{
    struct fake *f = with_nobody_listed();
    fake_wait(f, 0);
    fake_reserve_as(f, 1, PX_RELAY_MEMBER);
    fake_wait(f, 0);
    return f;
}

static struct fake_request *report(struct fake *f)
{
    return fake_asked(f, 1, PX_RELAY_MSG_REPORT);
}

TEST(an_idle_node_does_not_look_at_its_counts)
{
    struct fake *f = with_member();
    fake_wait(f, 3600 * PX_SEC);
    CHECK_INT(f->looks, 0);
    CHECK(report(f) == NULL);
    fake_end(f);
}

TEST(what_moves_is_looked_at_once_a_second_and_reported_when_it_is_quiet)
{
    struct fake *f = with_member();
    for (int i = 1; i <= 50; i++) { /* 5 s */
        f->traffic.sent += 100;
        fake_wait(f, PX_SEC / 10);
        CHECK(report(f) == NULL);
        CHECK(f->looks >= 1 && f->looks <= (size_t)i / 10 + 1);
    }
    fake_wait(f, 3 * PX_SEC);
    CHECK(report(f) != NULL);
    CHECK_INT(report(f)->m.bytes, 5000);
    CHECK_INT(report(f)->m.direction, PX_RELAY_SENT);
    fake_answer(f, report(f), PX_RELAY_OK, NULL);
    size_t looks = f->looks;
    fake_wait(f, 3600 * PX_SEC);
    CHECK_INT(f->looks, looks);
    CHECK_INT(fake_asked_count(f, 1, PX_RELAY_MSG_REPORT), 1);
    fake_end(f);
}

TEST(what_moved_while_no_relay_listened_is_looked_at_when_one_does)
{
    struct fake *f = with_nobody_listed();
    f->traffic.received = 9;
    fake_wait(f, 60 * PX_SEC);
    CHECK_INT(f->looks, 0);
    fake_reserve_as(f, 1, PX_RELAY_MEMBER);
    fake_wait(f, PX_TRANSFER_QUIET);
    CHECK_INT(f->looks, 1);
    CHECK(report(f) != NULL);
    CHECK_INT(report(f)->m.bytes, 9);
    fake_end(f);
}
