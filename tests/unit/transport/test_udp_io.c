/* Real sockets on loopback: batches, ECN, addresses, both address families, no offloads. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/test.h"
#include "transport/udp_io.h"

struct seen {
    struct px_udp *udp;
    size_t datagrams, bytes, batches, writable;
    unsigned ecn;
    struct px_path path;
    size_t first_len, last_len;
    bool bad, timed_out, close_at_first;
    size_t wanted;
};

static void on_datagram(void *ctx, const struct px_path *path, unsigned ecn, struct px_slice data)
{
    struct seen *s = ctx;
    if (s->datagrams++ == 0)
        s->first_len = data.len;
    s->last_len = data.len;
    s->bytes += data.len;
    s->ecn = ecn;
    s->path = *path;
    for (size_t i = 0; i < data.len; i++)
        s->bad |= data.data[i] != (uint8_t)(i * 7);
    if (s->close_at_first)
        px_udp_close(s->udp);
}

static void on_batch_end(void *ctx)
{
    ((struct seen *)ctx)->batches++;
}

static void on_writable(void *ctx)
{
    ((struct seen *)ctx)->writable++;
}

static const struct px_udp_ops ops = {
    .datagram = on_datagram, .batch_end = on_batch_end, .writable = on_writable};

static void on_timeout(uv_timer_t *t)
{
    ((struct seen *)t->data)->timed_out = true;
}

/* Runs the loop until all wanted datagrams are there; fails after 5 s. */
static void run_until(uv_loop_t *loop, struct seen *s, size_t wanted)
{
    uv_timer_t timer;
    uv_timer_init(loop, &timer);
    timer.data = s;
    uv_timer_start(&timer, on_timeout, 5000, 0);
    while (s->datagrams < wanted && !s->timed_out)
        uv_run(loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(loop, UV_RUN_NOWAIT);
    CHECK(!s->timed_out);
}

static struct px_addr addr_of(const char *text)
{
    struct px_addr a;
    CHECK_OK(px_addr_parse(px_slice_cstr(text), &a));
    return a;
}

/* A batch of datagrams of `segment` bytes, all with the same content. */
static size_t fill(uint8_t *buf, size_t count, size_t segment, size_t last)
{
    size_t len = (count - 1) * segment + last;
    for (size_t i = 0; i < len; i++)
        buf[i] = (uint8_t)(i % segment * 7);
    return len;
}

static struct px_path path_to(const struct px_udp *from, const struct px_udp *to, const char *ip)
{
    struct px_path p = {.local = *px_udp_local(from), .remote = addr_of(ip)};
    p.remote.port = px_udp_local(to)->port;
    return p;
}

struct pair {
    uv_loop_t loop;
    struct seen a, b;
};

static void pair_open(struct pair *p, const char *bind_a, const char *bind_b)
{
    memset(p, 0, sizeof(*p));
    CHECK_INT(uv_loop_init(&p->loop), 0);
    struct px_addr a = addr_of(bind_a), b = addr_of(bind_b);
    CHECK_OK(px_udp_new(&p->loop, &a, &ops, &p->a, &p->a.udp));
    CHECK_OK(px_udp_new(&p->loop, &b, &ops, &p->b, &p->b.udp));
    CHECK(px_udp_local(p->a.udp)->port != 0);
}

static void pair_close(struct pair *p)
{
    px_udp_close(p->a.udp);
    px_udp_close(p->b.udp);
    uv_run(&p->loop, UV_RUN_DEFAULT);
    CHECK_INT(uv_loop_close(&p->loop), 0);
}

static uint8_t batch[65507];

TEST(a_batch_arrives_as_its_datagrams_with_ecn_and_addresses)
{
    static struct pair p;
    pair_open(&p, "127.0.0.1:0", "127.0.0.1:0");
    size_t len = fill(batch, 40, 1400, 77);
    struct px_path path = path_to(p.a.udp, p.b.udp, "127.0.0.1:1");
    CHECK_OK(px_udp_send(p.a.udp, &path, 2, px_slice(batch, len), 1400));
    run_until(&p.loop, &p.b, 40);
    CHECK_INT(p.b.bytes, len);
    CHECK_INT(p.b.first_len, 1400);
    CHECK_INT(p.b.last_len, 77);
    CHECK_INT(p.b.ecn, 2);
    CHECK(!p.b.bad && p.b.batches > 0);
    CHECK(px_addr_eq(&p.b.path.remote, px_udp_local(p.a.udp)));
    CHECK(px_addr_eq(&p.b.path.local, px_udp_local(p.b.udp)));
    struct px_udp_stats sa, sb;
    px_udp_stats(p.a.udp, &sa);
    px_udp_stats(p.b.udp, &sb);
    CHECK_INT(sa.datagrams_sent, 40);
    CHECK_INT(sa.bytes_sent, len);
    CHECK_INT(sb.datagrams_received, 40);
    CHECK(!sa.gso || sa.send_calls == 1);
    pair_close(&p);
}

TEST(without_offloads_the_same_arrives)
{
    static struct pair p;
    pair_open(&p, "127.0.0.1:0", "127.0.0.1:0");
    px_udp_disable_offload(p.a.udp, true, true);
    px_udp_disable_offload(p.b.udp, true, true);
    size_t len = fill(batch, 30, 1200, 1200);
    struct px_path path = path_to(p.a.udp, p.b.udp, "127.0.0.1:1");
    CHECK_OK(px_udp_send(p.a.udp, &path, 1, px_slice(batch, len), 1200));
    run_until(&p.loop, &p.b, 30);
    CHECK_INT(p.b.bytes, len);
    CHECK_INT(p.b.ecn, 1);
    CHECK(!p.b.bad);
    struct px_udp_stats s;
    px_udp_stats(p.a.udp, &s);
    CHECK(!s.gso && s.send_calls == 30);
    pair_close(&p);
}

TEST(a_dual_stack_socket_shows_the_address_asked_and_answers_from_it)
{
    static struct pair p;
    pair_open(&p, "127.0.0.1:0", "[::]:0");
    struct px_path path = path_to(p.a.udp, p.b.udp, "127.0.0.7:1");
    size_t len = fill(batch, 2, 100, 100);
    CHECK_OK(px_udp_send(p.a.udp, &path, 3, px_slice(batch, len), 100));
    run_until(&p.loop, &p.b, 2);
    struct px_addr asked = addr_of("127.0.0.7:1");
    asked.port = px_udp_local(p.b.udp)->port;
    CHECK(px_addr_eq(&p.b.path.local, &asked));
    CHECK(px_addr_eq(&p.b.path.remote, px_udp_local(p.a.udp)));
    CHECK_INT(p.b.ecn, 3);
    struct px_path back = p.b.path;
    CHECK_OK(px_udp_send(p.b.udp, &back, 1, px_slice(batch, len), 100));
    run_until(&p.loop, &p.a, 2);
    CHECK(px_addr_eq(&p.a.path.remote, &asked));
    CHECK_INT(p.a.ecn, 1);
    pair_close(&p);
}

TEST(ipv6_works_where_the_machine_has_it)
{
    static struct pair p;
    struct px_addr six = addr_of("[::1]:0");
    struct px_udp *probe;
    uv_loop_t loop;
    uv_loop_init(&loop);
    int err = px_udp_new(&loop, &six, &ops, &p, &probe);
    if (err == 0)
        px_udp_close(probe);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    if (err < 0)
        px_test_skip("no IPv6 loopback address");
    pair_open(&p, "[::1]:0", "[::]:0");
    struct px_path path = path_to(p.a.udp, p.b.udp, "[::1]:1");
    size_t len = fill(batch, 3, 1200, 5);
    CHECK_OK(px_udp_send(p.a.udp, &path, 2, px_slice(batch, len), 1200));
    run_until(&p.loop, &p.b, 3);
    CHECK_INT(p.b.ecn, 2);
    CHECK(!p.b.bad && p.b.path.local.family == PX_ADDR_IP6);
    struct px_path back = p.b.path;
    CHECK_OK(px_udp_send(p.b.udp, &back, 2, px_slice(batch, len), 1200));
    run_until(&p.loop, &p.a, 3);
    CHECK_INT(p.a.ecn, 2);
    pair_close(&p);
}

/* The descriptor of a px_udp, which its interface does not give away. */
static int fd_of(const struct px_udp *u)
{
    for (int fd = 3; fd < 256; fd++) {
        struct sockaddr_in sa = {0};
        socklen_t len = sizeof(sa);
        if (getsockname(fd, (struct sockaddr *)&sa, &len) == 0 && sa.sin_family == AF_INET &&
            ntohs(sa.sin_port) == px_udp_local(u)->port)
            return fd;
    }
    return -1;
}

/* libuv stops watching a descriptor that reports POLLERR. */
TEST(an_error_on_the_socket_does_not_make_it_deaf)
{
    struct pair p;
    pair_open(&p, "127.0.0.1:0", "127.0.0.1:0");
    int fd = fd_of(p.b.udp), on = 1, off = 0;
    CHECK(fd >= 0);
    CHECK_INT(setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on)), 0);
    struct px_path nobody = path_to(p.b.udp, p.a.udp, "127.0.0.1:1");
    nobody.remote.port = 1; /* answered by ICMP: port unreachable */
    (void)px_udp_send(p.b.udp, &nobody, 0, px_slice(batch, fill(batch, 1, 100, 100)), 100);
    for (int i = 0; i < 3; i++)
        uv_run(&p.loop, UV_RUN_NOWAIT);
    CHECK_INT(setsockopt(fd, IPPROTO_IP, IP_RECVERR, &off, sizeof(off)), 0);
    struct px_path to = path_to(p.a.udp, p.b.udp, "127.0.0.1:1");
    CHECK_OK(px_udp_send(p.a.udp, &to, 0, px_slice(batch, fill(batch, 1, 100, 100)), 100));
    run_until(&p.loop, &p.b, 1);
    pair_close(&p);
}

TEST(addresses_that_cannot_be_used_are_told)
{
    static struct pair p;
    pair_open(&p, "127.0.0.1:0", "127.0.0.1:0");
    struct px_addr taken = *px_udp_local(p.a.udp), foreign = addr_of("192.0.2.1:1"), none = {0};
    struct px_udp *u;
    CHECK_ERR(px_udp_new(&p.loop, &taken, &ops, &p.a, &u), PX_EADDR);
    CHECK_ERR(px_udp_new(&p.loop, &foreign, &ops, &p.a, &u), PX_EADDR);
    CHECK_ERR(px_udp_new(&p.loop, &none, &ops, &p.a, &u), PX_EADDR);
    struct px_path six = {.local = *px_udp_local(p.a.udp), .remote = addr_of("[::1]:9")};
    CHECK_ERR(px_udp_send(p.a.udp, &six, 0, px_slice(batch, 10), 10), PX_EADDR);
    pair_close(&p);
}

TEST(a_datagram_too_large_for_the_path_is_only_lost)
{
    static struct pair p;
    pair_open(&p, "127.0.0.1:0", "127.0.0.1:0");
    static uint8_t huge[70000];
    struct px_path path = path_to(p.a.udp, p.b.udp, "127.0.0.1:1");
    CHECK_OK(px_udp_send(p.a.udp, &path, 0, px_slice(huge, sizeof(huge)), sizeof(huge)));
    pair_close(&p);
}

TEST(closing_inside_the_callback_ends_the_batch)
{
    static struct pair p;
    pair_open(&p, "127.0.0.1:0", "127.0.0.1:0");
    p.b.close_at_first = true;
    size_t len = fill(batch, 20, 1000, 1000);
    struct px_path path = path_to(p.a.udp, p.b.udp, "127.0.0.1:1");
    CHECK_OK(px_udp_send(p.a.udp, &path, 0, px_slice(batch, len), 1000));
    run_until(&p.loop, &p.b, 1);
    CHECK_INT(p.b.datagrams, 1);
    CHECK_INT(p.b.batches, 0);
    p.b.udp = NULL; /* freed by the loop */
    pair_close(&p);
}
