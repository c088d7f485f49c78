/* The network monitor on this machine's own kernel: loopback is all there must be. */
#include "node/net_monitor.h"

#include "tests/test.h"

struct fake_clock {
    px_nsec boottime, monotonic;
};

static px_nsec boottime(void *ctx)
{
    return ((struct fake_clock *)ctx)->boottime;
}

static px_nsec monotonic(void *ctx)
{
    return ((struct fake_clock *)ctx)->monotonic;
}

struct hearer {
    struct px_net_listener base;
    struct px_net_monitor *monitor;
    struct px_net_listener *drop; /* stops listening when the first change comes */
    int resumes;
};

static void changed(void *ctx, enum px_net_change change)
{
    struct hearer *h = ctx;
    if (change != PX_NET_RESUME)
        return; /* of the machine the test runs on */
    h->resumes++;
    if (h->drop != NULL)
        px_net_monitor_unlisten(h->monitor, h->drop);
}

static void listen_to(struct hearer *h, struct px_net_monitor *m)
{
    *h = (struct hearer){.base = {.changed = changed, .ctx = h}, .monitor = m};
    px_net_monitor_listen(m, &h->base);
}

static void turn_for(uv_loop_t *loop, const int *until)
{
    uint64_t end = uv_hrtime() + 5 * PX_SEC;
    while (*until == 0 && uv_hrtime() < end)
        (void)uv_run(loop, UV_RUN_ONCE);
}

static void end(uv_loop_t *loop, struct px_net_monitor *m)
{
    px_net_monitor_close(m);
    (void)uv_run(loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(loop) == 0);
}

TEST(addresses_are_known_at_once)
{
    uv_loop_t loop;
    struct px_net_monitor *m;
    struct px_addr far;
    size_t n, loopbacks = 0;
    CHECK(uv_loop_init(&loop) == 0);
    CHECK_OK(px_net_monitor_new(&loop, NULL, &m));
    const struct px_net_addr *a = px_net_monitor_addrs(m, &n);
    for (size_t i = 0; i < n; i++)
        loopbacks += a[i].loopback && px_addr_is_loopback(&a[i].addr) ? 1 : 0;
    CHECK(loopbacks > 0);
    CHECK_OK(px_addr_parse(PX_SLICE_LIT("127.0.0.9:1"), &far));
    CHECK(px_net_monitor_on_link(m, &far));
    CHECK_OK(px_addr_parse(PX_SLICE_LIT("[2001:db8::1]:1"), &far));
    CHECK(!px_net_monitor_on_link(m, &far));
    end(&loop, m);
}

TEST(waking_up_is_told_once_to_every_listener)
{
    uv_loop_t loop;
    struct px_net_monitor *m;
    struct hearer a, b, c;
    struct fake_clock now = {100 * PX_SEC, 100 * PX_SEC};
    const struct px_net_clock clock = {boottime, monotonic, &now};
    CHECK(uv_loop_init(&loop) == 0);
    CHECK_OK(px_net_monitor_new(&loop, NULL, &m));
    px_net_monitor_set_clock(m, &clock);
    listen_to(&a, m);
    listen_to(&b, m);
    listen_to(&c, m); /* told first */
    now.boottime += 3 * PX_SEC;
    px_net_monitor_check_clock(m);
    px_net_monitor_check_clock(m);
    CHECK(a.resumes == 0); /* bursts settle first */
    turn_for(&loop, &a.resumes);
    CHECK(a.resumes == 1 && b.resumes == 1 && c.resumes == 1);
    a.resumes = b.resumes = c.resumes = 0;
    c.drop = &b.base;
    now.boottime += 3 * PX_SEC;
    px_net_monitor_check_clock(m);
    turn_for(&loop, &a.resumes);
    CHECK(a.resumes == 1 && b.resumes == 0 && c.resumes == 1);
    end(&loop, m);
}
