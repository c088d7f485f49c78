/* The log sink: form of the lines, levels, budgets per event on a clock of our own. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "node/log_io.h"
#include "tests/test.h"

/* 2024-02-29T12:34:56.789Z */
#define START ((uint64_t)1709210096789000000)

struct rig {
    int fds[2];
    uint64_t now;
    struct px_log_io *io;
    char out[65536];
};

static uint64_t rig_now(void *ctx)
{
    return ((struct rig *)ctx)->now;
}

static void rig_open(struct rig *r, const char *level, bool json, bool journal)
{
    *r = (struct rig){.now = START};
    CHECK_INT(pipe2(r->fds, O_NONBLOCK), 0);
    struct px_log_io_config config = {level, json, r->fds[1], journal, rig_now, r};
    CHECK_OK(px_log_io_open(&config, &r->io));
}

/* What was written since the last call. */
static const char *rig_read(struct rig *r)
{
    ssize_t n = read(r->fds[0], r->out, sizeof(r->out) - 1);
    r->out[n > 0 ? n : 0] = '\0';
    return r->out;
}

static void rig_close(struct rig *r)
{
    px_log_io_free(r->io);
    close(r->fds[0]);
    close(r->fds[1]);
}

static int count_lines(const char *text)
{
    int n = 0;
    for (; *text != '\0'; text++)
        n += *text == '\n';
    return n;
}

TEST(text_lines_begin_with_the_time)
{
    struct rig r;
    rig_open(&r, "info", false, false);
    px_log_event(px_log_io_sink(r.io), PX_LOG_INFO, "link.up", PX_F_STR("peer", "a b"),
                 PX_F_U64("n", 7));
    CHECK_STR(rig_read(&r),
              "time=2024-02-29T12:34:56.789Z level=info event=link.up peer=\"a b\" n=7\n");
    rig_close(&r);
}

TEST(json_lines_are_one_object)
{
    struct rig r;
    rig_open(&r, "info", true, false);
    px_log_event(px_log_io_sink(r.io), PX_LOG_WARN, "x.y", PX_F_STR("a", "q\"\n"));
    CHECK_STR(rig_read(&r), "{\"time\":\"2024-02-29T12:34:56.789Z\",\"level\":\"warn\",\"event\":"
                            "\"x.y\",\"a\":\"q\\\"\\u000a\"}\n");
    rig_close(&r);
}

TEST(the_journal_gets_levels_and_no_time)
{
    struct rig r;
    rig_open(&r, "debug", false, true);
    const struct px_log *log = px_log_io_sink(r.io);
    px_log_event(log, PX_LOG_ERROR, "a.b", PX_F_U64("n", 1));
    px_log_event(log, PX_LOG_DEBUG, "a.b", PX_F_U64("n", 2));
    CHECK_STR(rig_read(&r), "<3>level=error event=a.b n=1\n<7>level=debug event=a.b n=2\n");
    rig_close(&r);
    rig_open(&r, "info", true, true);
    px_log_event(px_log_io_sink(r.io), PX_LOG_INFO, "a.b", PX_F_U64("n", 1));
    CHECK_STR(rig_read(&r), "<6>{\"level\":\"info\",\"event\":\"a.b\",\"n\":1}\n");
    rig_close(&r);
}

TEST(levels_below_the_chosen_one_are_silent)
{
    struct rig r;
    rig_open(&r, "warn", false, false);
    px_log_event(px_log_io_sink(r.io), PX_LOG_INFO, "a.b", PX_F_U64("n", 1));
    CHECK_STR(rig_read(&r), "");
    rig_close(&r);
    struct px_log_io *l;
    CHECK_ERR(px_log_io_new("loud", false, &l), PX_EPARSE);
}

TEST(an_event_has_a_budget_a_second_and_what_it_lost_is_told)
{
    struct rig r;
    rig_open(&r, "info", false, true);
    const struct px_log *log = px_log_io_sink(r.io);
    for (int i = 0; i < PX_LOG_BURST + 5; i++)
        px_log_event(log, PX_LOG_INFO, "peer.noise", PX_F_I64("i", i));
    CHECK_INT(count_lines(rig_read(&r)), PX_LOG_BURST);
    px_log_event(log, PX_LOG_INFO, "other.event", PX_F_U64("n", 1));
    CHECK_STR(rig_read(&r), "<6>level=info event=other.event n=1\n");

    r.now += 1000000000;
    px_log_event(log, PX_LOG_INFO, "other.event", PX_F_U64("n", 2));
    CHECK_STR(rig_read(&r), "<4>level=warn event=log.suppressed of=peer.noise suppressed=5\n"
                            "<6>level=info event=other.event n=2\n");
    px_log_event(log, PX_LOG_INFO, "peer.noise", PX_F_U64("n", 3));
    CHECK_STR(rig_read(&r), "<6>level=info event=peer.noise n=3\n");
    rig_close(&r);
}

TEST(lost_lines_are_told_at_the_end)
{
    struct rig r;
    rig_open(&r, "info", false, true);
    for (int i = 0; i < PX_LOG_BURST + 1; i++)
        px_log_event(px_log_io_sink(r.io), PX_LOG_INFO, "e.f", PX_F_I64("i", i));
    (void)rig_read(&r);
    px_log_io_free(r.io);
    CHECK_STR(rig_read(&r), "<4>level=warn event=log.suppressed of=e.f suppressed=1\n");
    r.io = NULL;
    rig_close(&r);
}

TEST(debug_lines_are_not_limited)
{
    struct rig r;
    rig_open(&r, "debug", false, true);
    for (int i = 0; i < 5 * PX_LOG_BURST; i++)
        px_log_event(px_log_io_sink(r.io), PX_LOG_DEBUG, "d.e", PX_F_I64("i", i));
    CHECK_INT(count_lines(rig_read(&r)), 5 * PX_LOG_BURST);
    rig_close(&r);
}

TEST(names_beyond_the_table_share_a_budget)
{
    struct rig r;
    char name[32];
    rig_open(&r, "info", false, true);
    for (int i = 0; i < PX_LOG_EVENTS_MAX + 2 * PX_LOG_BURST; i++) {
        snprintf(name, sizeof(name), "event.%d", i);
        px_log_event(px_log_io_sink(r.io), PX_LOG_INFO, name, PX_F_U64("n", 1));
    }
    CHECK_INT(count_lines(rig_read(&r)), PX_LOG_EVENTS_MAX - 1 + PX_LOG_BURST);
    rig_close(&r);
}

TEST(a_line_too_long_is_replaced_by_one_that_says_so)
{
    struct rig r;
    char big[PX_LOG_LINE_MAX];
    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    rig_open(&r, "info", false, true);
    px_log_event(px_log_io_sink(r.io), PX_LOG_INFO, "big.one", PX_F_STR("s", big));
    CHECK_STR(rig_read(&r), "<6>level=info event=big.one left_out=\"line too long\"\n");
    rig_close(&r);
}
