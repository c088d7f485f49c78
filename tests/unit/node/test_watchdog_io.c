/* The watchdog's checks against parts played here, each of which can fall silent, answer nonsense
 * or go away. On one loop, with signs of life counted. */
#include "node/watchdog_io.h"

#include <stdlib.h>
#include <unistd.h>

#include "tests/test.h"
#include "transport/overlay_io.h"
#include "transport/sockaddr.h"

#define ALLOWED_MS  400 /* a round is half of it */
#define PATIENCE_MS 3000

enum mood { ANSWERS, SILENT, NONSENSE, GONE };

struct stage {
    uv_loop_t loop;
    uv_udp_t overlay;
    uv_tcp_t substituter;
    uv_pipe_t control;
    uv_timer_t limit;
    enum mood moods[3];
    char dir[64], path[96];
    struct px_addr overlay_addr, substituter_addr;
    struct px_watchdog_io *watchdog;
    bool relay; /* the TCP part is a relay's */
    unsigned alive, wanted;
    unsigned failed; /* lines watchdog.failed */
    char failed_part[32];
    struct px_log log;
    char room[2048];
};

static void on_log(void *ctx, enum px_log_level level, const char *event,
                   const struct px_log_field *fields, size_t count)
{
    struct stage *s = ctx;
    (void)level;
    CHECK(count > 0);
    if (strcmp(event, "watchdog.failed") != 0)
        return;
    s->failed++;
    snprintf(s->failed_part, sizeof(s->failed_part), "%.*s", (int)fields[0].str.len,
             (const char *)fields[0].str.data);
}

static void on_alive(void *ctx)
{
    struct stage *s = ctx;
    if (++s->alive == s->wanted)
        uv_stop(&s->loop);
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    struct stage *s = handle->loop->data;
    (void)suggested;
    *ret = uv_buf_init(s->room, sizeof(s->room));
}

/* RFC 9000 §17.2.1: the IDs exchanged, version 0. */
static void on_datagram(uv_udp_t *udp, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from,
                        unsigned flags)
{
    struct stage *s = udp->loop->data;
    const uint8_t *in = (const uint8_t *)buf->base;
    (void)flags;
    if (n < 1200 || s->moods[0] == SILENT)
        return;
    CHECK((in[0] & 0xc0) == 0xc0 && in[5] == 8 && in[14] == 8);
    CHECK((in[1] & 0x0f) == 0x0a && (in[4] & 0x0f) == 0x0a); /* a version nobody will ever speak */
    uint8_t out[27] = {0x80, 0, 0, 0, 0, 8};
    memcpy(out + 6, in + 15, 8);
    out[14] = 8;
    memcpy(out + 15, in + 6, 8);
    out[26] = 1;
    if (s->moods[0] == NONSENSE)
        out[6] ^= 1; /* meant for somebody else */
    uv_buf_t answer = uv_buf_init((char *)out, sizeof(out));
    (void)uv_udp_try_send(udp, &answer, 1, from);
}

static void on_client_closed(uv_handle_t *handle)
{
    free(handle);
}

static void on_request(uv_stream_t *client, ssize_t n, const uv_buf_t *buf)
{
    static const char good[] = "HTTP/1.1 200 OK\r\n\r\n", bad[] = "HTTP/1.1 503 Busy\r\n\r\n",
                      refused[] = "HTTP/1.1 401 Unauthorized\r\n\r\n", junk[] = "SSH-2.0-other\r\n";
    struct stage *s = client->loop->data;
    bool control = client->type == UV_NAMED_PIPE;
    enum mood mood = s->moods[control ? 2 : 1];
    (void)buf;
    if (n < 0) {
        uv_close((uv_handle_t *)client, on_client_closed);
        return;
    }
    if (mood == SILENT)
        return;
    const char *text = control ? refused : good;
    if (mood == NONSENSE)
        text = control ? junk : bad;
    uv_buf_t answer = uv_buf_init((char *)(uintptr_t)text, (unsigned)strlen(text));
    (void)uv_try_write(client, &answer, 1);
}

static void on_connection(uv_stream_t *server, int status)
{
    bool control = server->type == UV_NAMED_PIPE;
    uv_stream_t *client = calloc(1, control ? sizeof(uv_pipe_t) : sizeof(uv_tcp_t));
    CHECK(status == 0 && client != NULL);
    if (control)
        CHECK(uv_pipe_init(server->loop, (uv_pipe_t *)client, 0) == 0);
    else
        CHECK(uv_tcp_init(server->loop, (uv_tcp_t *)client) == 0);
    CHECK(uv_accept(server, client) == 0);
    CHECK(uv_read_start(client, on_room, on_request) == 0);
}

static void on_limit(uv_timer_t *timer)
{
    uv_stop(timer->loop);
}

static struct px_addr bound(const struct sockaddr *sa)
{
    struct px_addr a;
    px_sockaddr_to_addr(sa, &a);
    return a;
}

static void open_stage(struct stage *s)
{
    union px_sockaddr sa;
    struct px_addr any = {.ip = {127, 0, 0, 1}, .family = PX_ADDR_IP4};
    int len = sizeof(sa);
    CHECK(px_sockaddr_from_addr(&any, &sa) != 0 && uv_loop_init(&s->loop) == 0);
    s->loop.data = s;
    CHECK(uv_udp_init(&s->loop, &s->overlay) == 0 && uv_udp_bind(&s->overlay, &sa.sa, 0) == 0);
    CHECK(uv_udp_recv_start(&s->overlay, on_room, on_datagram) == 0);
    CHECK(uv_tcp_init(&s->loop, &s->substituter) == 0 &&
          uv_tcp_bind(&s->substituter, &sa.sa, 0) == 0);
    CHECK(uv_listen((uv_stream_t *)&s->substituter, 8, on_connection) == 0);
    CHECK(uv_tcp_getsockname(&s->substituter, &sa.sa, &len) == 0);
    s->substituter_addr = bound(&sa.sa);
    len = sizeof(sa);
    CHECK(uv_udp_getsockname(&s->overlay, &sa.sa, &len) == 0);
    s->overlay_addr = bound(&sa.sa);
    snprintf(s->dir, sizeof(s->dir), "/tmp/peerix-watchdog.XXXXXX");
    CHECK(mkdtemp(s->dir) != NULL);
    snprintf(s->path, sizeof(s->path), "%s/control.sock", s->dir);
    CHECK(uv_pipe_init(&s->loop, &s->control, 0) == 0 && uv_pipe_bind(&s->control, s->path) == 0);
    CHECK(uv_listen((uv_stream_t *)&s->control, 8, on_connection) == 0);
    CHECK(uv_timer_init(&s->loop, &s->limit) == 0);
}

static void close_any(uv_handle_t *handle, void *ctx)
{
    struct stage *s = ctx;
    bool client = handle != (uv_handle_t *)&s->substituter &&
                  handle != (uv_handle_t *)&s->control &&
                  (handle->type == UV_TCP || handle->type == UV_NAMED_PIPE);
    if (!uv_is_closing(handle))
        uv_close(handle, client ? on_client_closed : NULL);
}

static void close_stage(struct stage *s)
{
    px_watchdog_io_close(s->watchdog);
    px_watchdog_io_close(NULL);
    /* the watchdog's own handles first, which it closes by itself */
    (void)uv_run(&s->loop, UV_RUN_NOWAIT);
    (void)uv_run(&s->loop, UV_RUN_NOWAIT);
    uv_walk(&s->loop, close_any, s);
    (void)uv_run(&s->loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&s->loop) == 0);
    (void)unlink(s->path);
    (void)rmdir(s->dir);
}

/* Runs until so many signs of life came or the time is over; returns how many came. */
static unsigned run(struct stage *s, unsigned wanted, uint64_t ms)
{
    unsigned before = s->alive;
    s->wanted = s->alive + wanted;
    CHECK(uv_timer_start(&s->limit, on_limit, ms, 0) == 0);
    (void)uv_run(&s->loop, UV_RUN_DEFAULT);
    CHECK(uv_timer_stop(&s->limit) == 0);
    return s->alive - before;
}

static void start_with(struct stage *s, uint64_t allowed_ms)
{
    const struct px_addr none = {.port = 0};
    s->log = (struct px_log){.level = PX_LOG_INFO, .emit = on_log, .ctx = s};
    struct px_watchdog_io_config c = {.loop = &s->loop,
                                      .log = &s->log,
                                      .allowed_usec = allowed_ms * 1000,
                                      .overlay = s->overlay_addr,
                                      .substituter = s->relay ? none : s->substituter_addr,
                                      .health = s->relay ? s->substituter_addr : none,
                                      .control = s->path,
                                      .alive = on_alive,
                                      .ctx = s};
    CHECK_OK(px_watchdog_io_new(&c, &s->watchdog));
    CHECK(s->watchdog != NULL);
}

static void start(struct stage *s)
{
    start_with(s, ALLOWED_MS);
}

TEST(life_is_shown_while_all_parts_answer)
{
    struct stage s = {.alive = 0};
    open_stage(&s);
    start(&s);
    CHECK_INT(run(&s, 4, PATIENCE_MS), 4);
    CHECK_INT(s.failed, 0);
    close_stage(&s);
}

TEST(one_part_that_does_not_answer_well_is_enough_to_stop_it)
{
    static const char *const names[] = {"overlay", "substituter", "control"};
    static const enum mood moods[] = {SILENT, NONSENSE};
    for (unsigned part = 0; part < 3; part++) {
        for (unsigned m = 0; m < PX_ARRAY_LEN(moods); m++) {
            struct stage s = {.alive = 0};
            open_stage(&s);
            s.moods[part] = moods[m];
            start(&s);
            CHECK_INT(run(&s, 1, ALLOWED_MS * 5 / 4), 0);
            CHECK_INT(s.failed, 1); /* told once, not once a round */
            CHECK_STR(s.failed_part, names[part]);
            s.moods[part] = ANSWERS;
            CHECK_INT(run(&s, 1, PATIENCE_MS), 1);
            close_stage(&s);
        }
    }
}

TEST(a_relay_is_asked_for_its_health)
{
    struct stage s = {.relay = true};
    open_stage(&s);
    start(&s);
    CHECK_INT(run(&s, 2, PATIENCE_MS), 2);
    s.moods[1] = NONSENSE; /* 503, as from one that is stopping */
    (void)run(&s, 1, ALLOWED_MS / 4);
    CHECK_INT(run(&s, 1, ALLOWED_MS), 0);
    CHECK_STR(s.failed_part, "health");
    close_stage(&s);
}

TEST(a_part_that_is_gone_stops_it)
{
    for (unsigned part = 0; part < 3; part++) {
        struct stage s = {.alive = 0};
        uv_handle_t *handles[] = {(uv_handle_t *)&s.overlay, (uv_handle_t *)&s.substituter,
                                  (uv_handle_t *)&s.control};
        open_stage(&s);
        start(&s);
        CHECK_INT(run(&s, 1, PATIENCE_MS), 1);
        uv_close(handles[part], NULL);
        (void)run(&s, 1, ALLOWED_MS / 4); /* of the round under way, perhaps */
        CHECK_INT(run(&s, 1, ALLOWED_MS), 0);
        CHECK_INT(s.failed, 1);
        close_stage(&s);
    }
}

TEST(a_datagram_lost_within_a_round_is_no_failure)
{
    struct stage s = {.alive = 0};
    open_stage(&s);
    s.moods[0] = SILENT;
    start_with(&s, 4000); /* a round of 2 s: wide enough for a machine under load */
    CHECK_INT(run(&s, 1, 100), 0);
    s.moods[0] = ANSWERS; /* to the second one, after an eighth of the round */
    CHECK_INT(run(&s, 1, 1200), 1);
    CHECK_INT(s.failed, 0);
    close_stage(&s);
}

TEST(it_is_off_without_a_service_manager)
{
    struct px_watchdog_io *w = NULL;
    struct px_watchdog_io_config c = {.allowed_usec = 0};
    CHECK_OK(px_watchdog_io_new(&c, &w));
    CHECK(w == NULL);
}
