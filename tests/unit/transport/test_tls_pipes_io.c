/* Pipes over real TCP: a link comes up in one, moves to UDP and lives on; whoever is not wanted
 * gets nothing but TLS, and not for long; what a slow reader does not take is dropped, oldest
 * first. */
#include <arpa/inet.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "auth/crypto.h"
#include "tests/test.h"
#include "transport/sockaddr.h"
#include "transport/tls_pipes_io.h"

struct end {
    struct px_identity identity;
    struct px_overlay_io *io;
    struct px_tls_pipes *pipes;
    struct px_link *link;
    struct px_path path;
    struct px_addr pipe;
    struct end *other;
    unsigned opened, closed, ups, downs, moves;
    int closed_err;
};

static uv_loop_t loop;
static struct end a, b; /* b dials */
static bool late;

static void on_late(uv_timer_t *t)
{
    (void)t;
    late = true;
}

/* Turns the loop until *flag (or 5 s): true if it became so. */
static bool until(const unsigned *flag, unsigned value)
{
    uv_timer_t timer;
    late = false;
    uv_timer_init(&loop, &timer);
    uv_timer_start(&timer, on_late, 5000, 0);
    while (*flag != value && !late)
        uv_run(&loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
    return *flag == value;
}

static int on_authorize(void *ctx, const struct px_peer_id *id)
{
    const struct end *e = ctx;
    return px_peer_id_eq(id, &e->other->identity.id) ? 0 : PX_EUNLISTED;
}

static void on_up(void *ctx, struct px_link *link)
{
    struct end *e = ctx;
    e->link = link;
    e->ups++;
    px_link_path(link, &e->path);
    px_tls_pipes_set_proved(e->pipes, &e->path.remote, true);
}

static void on_down(void *ctx, struct px_link *link, int err, bool by_peer, bool was_up)
{
    struct end *e = ctx;
    (void)link, (void)err, (void)by_peer, (void)was_up;
    e->link = NULL;
    e->downs++;
}

static void on_refused(void *ctx, const struct px_addr *remote, const struct px_peer_id *id,
                       int err, bool by_peer)
{
    (void)ctx, (void)remote, (void)id, (void)err, (void)by_peer;
}

static const struct px_stream_ops *on_stream(void *ctx, struct px_link *link, int64_t id,
                                             uint8_t type, void **ret_ctx)
{
    (void)ctx, (void)link, (void)id, (void)type, (void)ret_ctx;
    return NULL;
}

static void on_moved(void *ctx, struct px_link *link)
{
    struct end *e = ctx;
    px_link_path(link, &e->path);
    e->moves++;
}

static const struct px_overlay_ops overlay_ops = {.authorize = on_authorize,
                                                  .up = on_up,
                                                  .down = on_down,
                                                  .refused = on_refused,
                                                  .stream = on_stream,
                                                  .path_changed = on_moved};

static void on_pipe_open(void *ctx)
{
    struct end *e = ctx;
    struct px_link *link;
    e->opened++;
    CHECK_OK(px_overlay_io_dial(e->io, &e->other->identity.id, &e->pipe, e, &link));
}

static void on_pipe_closed(void *ctx, int err)
{
    struct end *e = ctx;
    e->closed++;
    e->closed_err = err;
}

static const struct px_tls_pipes_ops pipes_ops = {on_pipe_open, on_pipe_closed};

static bool shut;
static unsigned left;

static bool on_admits(void *ctx, const struct px_addr *peer)
{
    CHECK(ctx == &a && px_addr_is_loopback(peer));
    return !shut;
}

static void on_left(void *ctx, const struct px_addr *peer)
{
    CHECK(ctx == &a && px_addr_is_loopback(peer));
    left++;
}

static const struct px_tls_pipes_door door = {on_admits, on_left};

static void end_open(struct end *e, struct end *other)
{
    struct px_addr any;
    *e = (struct end){.other = other};
    CHECK_OK(px_addr_parse(PX_SLICE_LIT("127.0.0.1:0"), &any));
    px_identity_generate(&px_system_rng, &e->identity);
    const struct px_overlay_config config = {.identity = &e->identity,
                                             .network = PX_SLICE_LIT("default"),
                                             .agent = PX_SLICE_LIT("test"),
                                             .ops = &overlay_ops,
                                             .ops_ctx = e,
                                             .listen = true};
    CHECK_OK(px_overlay_io_new(&loop, &any, &config, &e->io));
    CHECK_OK(px_tls_pipes_new(&loop, e->io, NULL, &e->pipes));
}

static void open_both(void)
{
    struct px_addr any;
    CHECK_INT(px_crypto_init(), 0);
    CHECK_INT(uv_loop_init(&loop), 0);
    shut = false;
    left = 0;
    end_open(&a, &b);
    end_open(&b, &a);
    CHECK_OK(px_addr_parse(PX_SLICE_LIT("127.0.0.1:0"), &any));
    CHECK_OK(px_tls_pipes_listen(a.pipes, &any, &door, &a));
    CHECK(px_tls_pipes_local(a.pipes)->port != 0);
    CHECK(px_tls_pipes_local(b.pipes) == NULL);
}

static void close_both(void)
{
    px_overlay_io_close(b.io, NULL, NULL);
    px_tls_pipes_close(b.pipes);
    px_overlay_io_close(a.io, NULL, NULL);
    px_tls_pipes_close(a.pipes);
    uv_run(&loop, UV_RUN_DEFAULT);
    CHECK_INT(uv_loop_close(&loop), 0);
}

static void dial(const char *name)
{
    CHECK_OK(
        px_tls_pipes_dial(b.pipes, px_tls_pipes_local(a.pipes), name, &pipes_ops, &b, &b.pipe));
}

TEST(a_link_comes_up_in_a_pipe_and_moves_to_udp)
{
    struct px_addr peer;
    open_both();
    dial("relay.example");
    CHECK(until(&b.ups, 1));
    CHECK(until(&a.ups, 1));
    CHECK(px_addr_eq(&b.path.remote, &b.pipe) && px_addr_is_pipe(&a.path.remote));
    CHECK(px_tls_pipes_peer(a.pipes, &a.path.remote, &peer) && px_addr_is_loopback(&peer));
    struct px_addr pipe = a.path.remote;
    uint64_t nonce;
    CHECK_OK(px_link_ping(b.link, &nonce));

    /* the index of the other side is known after a round trip */
    for (int i = 0; i < 50 && a.moves == 0; i++) {
        unsigned never = 0;
        uv_timer_t timer;
        px_link_prefer(b.link, px_udp_local(px_overlay_io_udp(a.io)));
        uv_timer_init(&loop, &timer);
        uv_timer_start(&timer, on_late, 20, 0);
        late = false;
        while (!late && never == 0)
            uv_run(&loop, UV_RUN_ONCE);
        uv_close((uv_handle_t *)&timer, NULL);
    }
    CHECK(a.moves > 0 && b.moves > 0 && a.downs == 0 && b.downs == 0);
    CHECK(b.path.remote.family == PX_ADDR_IP4 && a.path.remote.family == PX_ADDR_IP4);
    px_tls_pipes_set_proved(a.pipes, &pipe, false);
    px_tls_pipes_hang_up(b.pipes, &b.pipe);
    CHECK(!px_tls_pipes_peer(b.pipes, &b.pipe, &peer));
    CHECK_OK(px_link_ping(b.link, &nonce));
    close_both();
    CHECK(b.closed == 0); /* we hung up ourselves */
    CHECK_INT(left, 0);
}

TEST(the_other_end_of_a_pipe_is_told_its_end)
{
    open_both();
    dial("");
    CHECK(until(&b.ups, 1));
    CHECK(until(&a.ups, 1));
    px_tls_pipes_hang_up(a.pipes, &a.path.remote);
    CHECK(until(&b.closed, 1));
    CHECK_ERR(b.closed_err, PX_ECLOSED);
    close_both();
}

TEST(nobody_listens)
{
    struct px_addr to;
    open_both();
    to = *px_udp_local(px_overlay_io_udp(a.io)); /* UDP: no TCP there */
    int err = px_tls_pipes_dial(b.pipes, &to, "", &pipes_ops, &b, &b.pipe);
    if (err == 0) {
        CHECK(until(&b.closed, 1));
        CHECK(b.closed_err != 0 && b.opened == 0);
    }
    close_both();
}

/* ---- strangers ---- */

static int stranger(void)
{
    union px_sockaddr sa;
    socklen_t len = px_sockaddr_from_addr(px_tls_pipes_local(a.pipes), &sa);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && connect(fd, &sa.sa, len) == 0);
    return fd;
}

static size_t pipes_of_a(void)
{
    struct px_tls_pipes_numbers n;
    px_tls_pipes_numbers(a.pipes, &n);
    return n.open;
}

static void turn(int ms)
{
    uv_timer_t timer;
    late = false;
    uv_timer_init(&loop, &timer);
    uv_timer_start(&timer, on_late, (uint64_t)ms, 0);
    while (!late)
        uv_run(&loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
}

TEST(who_speaks_no_tls_gets_an_alert_and_the_end)
{
    static const char *const words[] = {"GET / HTTP/1.1\r\n\r\n", "SSH-2.0-x\r\n", "\x16\x03\x01"};
    open_both();
    for (size_t i = 0; i < PX_ARRAY_LEN(words); i++) {
        uint8_t answer[512];
        int fd = stranger();
        CHECK(write(fd, words[i], strlen(words[i])) == (ssize_t)strlen(words[i]));
        shutdown(fd, SHUT_WR);
        for (int k = 0; k < 100 && (k == 0 || pipes_of_a() > 0); k++)
            turn(10);
        ssize_t n = read(fd, answer, sizeof(answer));
        CHECK(n <= 0 || (answer[0] == 0x15 && n <= 64)); /* an alert, if anything */
        CHECK_INT(pipes_of_a(), 0);
        close(fd);
    }
    close_both();
}

/* Each is no error by itself; who sends enough of them would have the loop for itself. */
TEST(who_sends_warnings_instead_of_a_handshake_is_hung_up_on)
{
    static const uint8_t warnings[][7] = {{21, 3, 3, 0, 2, 1, 90}, {21, 3, 1, 0, 2, 1, 100}};
    open_both();
    for (size_t i = 0; i < PX_ARRAY_LEN(warnings); i++) {
        int fd = stranger();
        for (int n = 0; n < 1000; n++)
            CHECK(write(fd, warnings[i], sizeof(warnings[i])) == (ssize_t)sizeof(warnings[i]));
        turn(200);
        CHECK_INT(pipes_of_a(), 0);
        close(fd);
    }
    close_both();
}

TEST(one_source_has_few_unproved_pipes)
{
    enum { COUNT = 40 };
    int fds[COUNT];
    struct px_tls_pipes_numbers n;
    open_both();
    for (int i = 0; i < COUNT; i++)
        fds[i] = stranger();
    turn(50);
    px_tls_pipes_numbers(a.pipes, &n);
    CHECK_INT(n.unproved, PX_TLS_PIPES_UNPROVED_PER_SOURCE);
    CHECK_INT(n.open, PX_TLS_PIPES_UNPROVED_PER_SOURCE);
    CHECK_INT(n.refused, COUNT - PX_TLS_PIPES_UNPROVED_PER_SOURCE);
    for (int i = 0; i < COUNT; i++)
        close(fds[i]);
    for (int k = 0; k < 100 && pipes_of_a() > 0; k++)
        turn(10);
    CHECK_INT(pipes_of_a(), 0);
    close_both();
}

TEST(the_door_hears_of_who_was_never_proved_and_may_be_shut)
{
    struct px_tls_pipes_numbers n;
    open_both();
    int fd = stranger();
    turn(20);
    CHECK_INT(pipes_of_a(), 1);
    close(fd);
    for (int k = 0; k < 100 && pipes_of_a() > 0; k++)
        turn(10);
    CHECK_INT(left, 1);
    shut = true;
    fd = stranger();
    turn(20);
    px_tls_pipes_numbers(a.pipes, &n);
    CHECK_INT(n.open, 0);
    CHECK_INT(n.refused, 1);
    close(fd);
    close_both();
}

/* From 127.0.N.1: a source of its own. */
static int stranger_from(unsigned n)
{
    union px_sockaddr sa;
    const struct px_addr from = {.ip = {127, 0, (uint8_t)n, 1}, .family = PX_ADDR_IP4};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t len = px_sockaddr_from_addr(&from, &sa);
    CHECK(fd >= 0 && bind(fd, &sa.sa, len) == 0);
    len = px_sockaddr_from_addr(px_tls_pipes_local(a.pipes), &sa);
    CHECK(connect(fd, &sa.sa, len) == 0);
    return fd;
}

TEST(of_256_that_say_nothing_the_oldest_makes_room)
{
    enum { SOURCES = PX_TLS_PIPES_UNPROVED / PX_TLS_PIPES_UNPROVED_PER_SOURCE };
    static int fds[PX_TLS_PIPES_UNPROVED + 1];
    struct px_tls_pipes_numbers n;
    uint8_t byte;
    open_both();
    for (unsigned i = 0; i < PX_TLS_PIPES_UNPROVED; i++) {
        fds[i] = stranger_from(1 + i % SOURCES);
        turn(0);
    }
    turn(50);
    px_tls_pipes_numbers(a.pipes, &n);
    CHECK_INT(n.unproved, PX_TLS_PIPES_UNPROVED);
    CHECK_INT(n.refused, 0);
    fds[PX_TLS_PIPES_UNPROVED] = stranger_from(200);
    turn(50);
    px_tls_pipes_numbers(a.pipes, &n);
    CHECK_INT(n.unproved, PX_TLS_PIPES_UNPROVED);
    CHECK_INT(n.accepted, PX_TLS_PIPES_UNPROVED + 1);
    CHECK_INT(left, 1);
    CHECK(recv(fds[0], &byte, 1, MSG_DONTWAIT) == 0); /* the first one's end */
    CHECK(recv(fds[1], &byte, 1, MSG_DONTWAIT) < 0);
    dial("relay.example"); /* who means it comes in all the same */
    CHECK(until(&a.ups, 1));
    px_tls_pipes_numbers(a.pipes, &n);
    CHECK_INT(n.unproved, PX_TLS_PIPES_UNPROVED - 1); /* instead of the next oldest */
    for (size_t i = 0; i < PX_ARRAY_LEN(fds); i++)
        close(fds[i]);
    close_both();
}

static void on_quiet_open(void *ctx)
{
    ((struct end *)ctx)->opened++;
}

static const struct px_tls_pipes_ops quiet_ops = {on_quiet_open, on_pipe_closed};

/* To a port where nobody ever accepts. */
TEST(there_are_4096_pipes)
{
    static struct px_addr pipe[PX_TLS_PIPES_MAX];
    struct rlimit lim;
    struct px_addr at, more;
    union px_sockaddr sa;
    CHECK(getrlimit(RLIMIT_NOFILE, &lim) == 0);
    if (lim.rlim_max < PX_TLS_PIPES_MAX + 100) {
        printf("skip - there_are_4096_pipes: needs more file descriptors\n");
        return;
    }
    lim.rlim_cur = lim.rlim_max;
    CHECK(setrlimit(RLIMIT_NOFILE, &lim) == 0);
    open_both();
    CHECK_OK(px_addr_parse(PX_SLICE_LIT("127.0.0.1:0"), &at));
    socklen_t len = px_sockaddr_from_addr(&at, &sa);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(listener >= 0 && bind(listener, &sa.sa, len) == 0 && listen(listener, 1) == 0 &&
          getsockname(listener, &sa.sa, &len) == 0);
    px_sockaddr_to_addr(&sa.sa, &at);
    for (size_t i = 0; i < PX_TLS_PIPES_MAX; i++)
        CHECK_OK(px_tls_pipes_dial(b.pipes, &at, "", &quiet_ops, &b, &pipe[i]));
    CHECK_ERR(px_tls_pipes_dial(b.pipes, &at, "", &quiet_ops, &b, &more), PX_ELIMIT);
    px_tls_pipes_hang_up(b.pipes, &pipe[77]); /* one ends: there is room for one */
    CHECK_OK(px_tls_pipes_dial(b.pipes, &at, "", &quiet_ops, &b, &pipe[77]));
    CHECK_ERR(px_tls_pipes_dial(b.pipes, &at, "", &quiet_ops, &b, &more), PX_ELIMIT);
    close(listener);
    close_both();
}

/* ---- all queues together ---- */

static void send_to(unsigned pipe, size_t bytes)
{
    static uint8_t data[1000];
    struct px_path path = {.local = {.family = PX_ADDR_IP4}};
    px_addr_pipe(pipe, &path.remote);
    for (size_t sent = 0; sent < bytes; sent += sizeof(data))
        CHECK_OK(px_overlay_io_send(a.io, &path, 0, px_slice(data, sizeof(data)), sizeof(data)));
}

TEST(all_queues_together_have_a_limit_and_the_fullest_pays)
{
    enum { PIPES = 6 };
    struct px_addr pipe[PIPES];
    struct px_tls_pipes_numbers n;
    open_both();
    px_tls_pipes_numbers(a.pipes, &n);
    CHECK_INT(n.memory, 0);
    for (unsigned i = 0; i < PIPES; i++) {
        CHECK_OK(
            px_tls_pipes_dial(b.pipes, px_tls_pipes_local(a.pipes), "", &quiet_ops, &b, &pipe[i]));
        CHECK(until(&b.opened, i + 1));
    }
    px_tls_pipes_limit_memory(a.pipes, 512 * 1024);
    send_to(1, 5000);
    for (unsigned i = 2; i <= PIPES; i++) { /* 5 times 200 KB, not flushed in between */
        send_to(i, 200000);
        px_tls_pipes_numbers(a.pipes, &n);
        CHECK(n.memory <= 512 * 1024);
    }
    px_tls_pipes_numbers(a.pipes, &n);
    CHECK(n.memory > 256 * 1024);
    CHECK(n.dropped >= 1000 - 512 * 1024 / 1002 && n.dropped < 1000);
    send_to(1, 1000); /* the first was never the fullest: it lost nothing */
    uint64_t dropped = n.dropped;
    px_tls_pipes_limit_memory(a.pipes, 6 * PX_TLS_PIPE_QUEUE_MIN);
    px_tls_pipes_numbers(a.pipes, &n);
    CHECK_INT(n.memory, 6 * PX_TLS_PIPE_QUEUE_MIN);
    CHECK(n.dropped > dropped);
    for (unsigned i = 0; i < PIPES; i++) { /* and with the pipes goes what they held */
        px_addr_pipe(i + 1, &pipe[i]);
        px_tls_pipes_hang_up(a.pipes, &pipe[i]);
    }
    px_tls_pipes_numbers(a.pipes, &n);
    CHECK_INT(n.memory, 0);
    close_both();
}

/* ---- a single pipe, its two ends ours ---- */

struct half {
    struct px_tls_pipe_io *io;
    unsigned opened, closed, datagrams;
    uint32_t first, last;
    bool disorder, flush;
    int err;
};

static void half_open(void *ctx)
{
    ((struct half *)ctx)->opened++;
}

static void half_datagram(void *ctx, uint8_t *data, size_t len)
{
    struct half *h = ctx;
    uint32_t number;
    CHECK_INT(len, 1200);
    memcpy(&number, data, sizeof(number));
    h->disorder |= h->datagrams > 0 && number <= h->last;
    if (h->datagrams++ == 0)
        h->first = number;
    h->last = number;
}

static void half_nothing(void *ctx)
{
    (void)ctx;
}

static void half_closed(void *ctx, int err)
{
    struct half *h = ctx;
    h->closed++;
    h->err = err;
    h->io = NULL;
}

static void half_pending(void *ctx)
{
    ((struct half *)ctx)->flush = true;
}

static const struct px_tls_pipe_io_ops half_ops = {half_open, half_datagram, half_nothing,
                                                   half_closed, half_pending};

static struct half client, server;
static struct px_tls_pipe_tls *client_tls, *server_tls;

/* A listener of one connection, accepted into `server`. */
static void pair_open(void)
{
    union px_sockaddr sa;
    struct px_addr at;
    socklen_t len;
    CHECK_INT(px_crypto_init(), 0);
    CHECK_INT(uv_loop_init(&loop), 0);
    memset(&client, 0, sizeof(client));
    memset(&server, 0, sizeof(server));
    CHECK_OK(px_tls_pipe_tls_new(false, &client_tls));
    CHECK_OK(px_tls_pipe_tls_new(true, &server_tls));
    CHECK_OK(px_addr_parse(PX_SLICE_LIT("127.0.0.1:0"), &at));
    len = px_sockaddr_from_addr(&at, &sa);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(listener >= 0 && bind(listener, &sa.sa, len) == 0 && listen(listener, 1) == 0 &&
          getsockname(listener, &sa.sa, &len) == 0);
    px_sockaddr_to_addr(&sa.sa, &at);
    CHECK_OK(px_tls_pipe_io_connect(&loop, &at, "", client_tls, &half_ops, &client, &client.io));
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    close(listener);
    CHECK(fd >= 0);
    CHECK_OK(px_tls_pipe_io_accept(&loop, fd, server_tls, &half_ops, &server, &server.io));
    CHECK(until(&client.opened, 1));
    CHECK(until(&server.opened, 1));
    px_tls_pipe_io_set_proved(client.io, true);
    px_tls_pipe_io_set_proved(server.io, true);
}

static void pair_close(void)
{
    px_tls_pipe_io_close(client.io);
    px_tls_pipe_io_close(server.io);
    uv_run(&loop, UV_RUN_DEFAULT);
    CHECK_INT(uv_loop_close(&loop), 0);
    px_tls_pipe_tls_free(client_tls);
    px_tls_pipe_tls_free(server_tls);
}

static void send_number(uint32_t number)
{
    uint8_t data[1200] = {0};
    memcpy(data, &number, sizeof(number));
    px_tls_pipe_io_send(client.io, px_slice(data, sizeof(data)), sizeof(data));
}

TEST(a_queue_nobody_empties_drops_the_oldest)
{
    enum { COUNT = 2000 };
    pair_open();
    for (uint32_t i = 1; i <= COUNT; i++)
        send_number(i);
    CHECK(client.flush);
    px_tls_pipe_io_flush(client.io);
    uint64_t dropped = px_tls_pipe_io_stats(client.io)->dropped;
    CHECK_INT(dropped, COUNT - PX_TLS_PIPE_QUEUE / 1202);
    CHECK(until(&server.datagrams, (unsigned)(COUNT - dropped)));
    CHECK_INT(server.last, COUNT);
    CHECK_INT(server.first, dropped + 1);
    CHECK(!server.disorder);
    pair_close();
}

/* The server's loop is ours: it does not read while we only flush. */
TEST(little_waits_in_the_kernel)
{
    pair_open();
    size_t sent = 0;
    for (uint32_t i = 1; i <= 20000; i++) {
        send_number(i);
        px_tls_pipe_io_flush(client.io);
    }
    sent = px_tls_pipe_io_stats(client.io)->sent;
    CHECK(px_tls_pipe_io_stats(client.io)->dropped > 0);
    CHECK(sent * 1200 < (size_t)16 << 20); /* what the reader's kernel takes, and little more */
    for (int i = 0; i < 500 && server.last != 20000; i++)
        turn(10);
    CHECK_INT(server.last, 20000);
    CHECK(!server.disorder);
    pair_close();
}

TEST(datagrams_of_an_unproved_pipe_are_bounded)
{
    pair_open();
    px_tls_pipe_io_set_proved(server.io, false);
    for (uint32_t i = 1; i <= 100; i++)
        send_number(i);
    px_tls_pipe_io_flush(client.io);
    CHECK(until(&server.closed, 1));
    CHECK_ERR(server.err, PX_EOVERRUN);
    CHECK_INT(server.datagrams, PX_TLS_PIPE_UNPROVED_BYTES / 1202);
    CHECK(until(&client.closed, 1));
    pair_close();
}
