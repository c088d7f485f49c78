/* The substituter (substituter.c, substituter_nar.c, http_front.c) over real loopback sockets, in
 * front of fake peers: what nix sees, byte by byte. */
#include "node/nix/substituter.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/nix/http_front.h"
#include "node/nix/nar_relay.h"
#include "tests/test.h"
#include "tests/unit/node/fake_peer.h"
#include "transport/overlay_io.h"

#define PEERS    3
#define PATIENCE (10 * PX_SEC) /* a test that waits longer has failed */
#define SMALL    5000
#define BIG                                                                                        \
    3146000u /* not a multiple of the fake's chunks, so that FAKE_LONG's end has company           \
              */
#define HELD 132000u
#define HOLD (256u * 1024)

static struct {
    uv_loop_t loop;
    struct px_substituter *s;
    struct px_substituter_config config;
    struct fake_peer peers[PEERS];
    size_t connected;
    struct fake_path small, big, held;
    struct fake_path *paths[3];
    struct px_nix_secret_key key;
    struct px_nix_public_key pub;
    bool closed;
    unsigned log_failed; /* nar.source_failed lines */
    char log_peer[16], log_why[64];
} t;

/* --- the world --- */

static size_t list_peers(void *ctx, struct px_cache_peer **ret, size_t cap)
{
    (void)ctx;
    size_t n = PX_MIN(t.connected, cap);
    for (size_t i = 0; i < n; i++)
        ret[i] = &t.peers[i].pub;
    return n;
}

static void on_log(void *ctx, enum px_log_level level, const char *event,
                   const struct px_log_field *fields, size_t count)
{
    (void)ctx;
    (void)level;
    if (strcmp(event, "nar.source_failed") != 0)
        return;
    t.log_failed++;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(fields[i].key, "peer") == 0)
            snprintf(t.log_peer, sizeof(t.log_peer), "%.*s", (int)fields[i].str.len,
                     (const char *)fields[i].str.data);
        if (strcmp(fields[i].key, "why") == 0)
            snprintf(t.log_why, sizeof(t.log_why), "%.*s", (int)fields[i].str.len,
                     (const char *)fields[i].str.data);
    }
}

static const struct px_log test_log = {PX_LOG_DEBUG, on_log, NULL};

static void prepare(size_t connected)
{
    static struct px_test_rng seed;
    const struct px_rng rng = px_test_rng(&seed, 7);
    memset(&t, 0, sizeof(t));
    CHECK_OK(px_crypto_init());
    CHECK_OK(px_nix_key_generate("test-1", &rng, &t.key));
    px_nix_secret_key_public(&t.key, &t.pub);
    fake_path_init(&t.small, 1, SMALL, &t.key);
    fake_path_init(&t.big, 2, BIG, &t.key);
    fake_path_init(&t.held, 3, HELD, &t.key);
    t.paths[0] = &t.small;
    t.paths[1] = &t.big;
    t.paths[2] = &t.held;
    t.connected = connected;
    for (uint8_t i = 0; i < PEERS; i++)
        fake_init(&t.peers[i], i, t.paths, 3);
    CHECK_INT(uv_loop_init(&t.loop), 0);
    t.config = (struct px_substituter_config){.loop = &t.loop,
                                              .log = &test_log,
                                              .listen_fd = -1,
                                              .store_dir = "/nix/store",
                                              .priority = 30,
                                              .trusted_keys = &t.pub,
                                              .trusted_key_count = 1,
                                              .deadline = 100 * PX_MSEC,
                                              .stall = 150 * PX_MSEC,
                                              .hold_whole = HOLD,
                                              .hold_total = 4 * HOLD,
                                              .peers = list_peers};
    CHECK_OK(px_addr_parse(PX_SLICE_LIT("127.0.0.1:0"), &t.config.listen));
}

static void start(void)
{
    CHECK_OK(px_substituter_new(&t.config, &t.s));
}

static void setup(size_t connected)
{
    prepare(connected);
    start();
}

static void turn(void)
{
    for (size_t i = 0; i < PEERS; i++)
        (void)fake_pump(&t.peers[i]);
    (void)uv_run(&t.loop, UV_RUN_NOWAIT);
}

static void on_closed(void *ctx)
{
    (void)ctx;
    t.closed = true;
}

static void teardown(void)
{
    px_nsec end = px_now_io() + PATIENCE;
    px_substituter_close(t.s, 0, on_closed, NULL);
    while (!t.closed && px_now_io() < end)
        turn();
    CHECK(t.closed);
    for (size_t i = 0; i < PEERS; i++)
        CHECK(px_list_empty(&t.peers[i].fetches));
    (void)uv_run(&t.loop, UV_RUN_DEFAULT);
    CHECK_INT(uv_loop_close(&t.loop), 0);
    fake_path_deinit(&t.small);
    fake_path_deinit(&t.big);
    fake_path_deinit(&t.held);
}

/* --- a small client --- */

struct client {
    int fd;
    size_t len; /* bytes in `in` not consumed yet */
    size_t cap;
    uint8_t *in;
    bool eof;
};

struct reply {
    unsigned status; /* 0: no reply */
    char head[2048];
    size_t body_len; /* received */
    uint64_t content_length;
    bool cut; /* the connection ended before the body did */
    const uint8_t *body;
};

static int dial_to(const char *ip)
{
    struct sockaddr_in sa = {.sin_family = AF_INET,
                             .sin_port = htons(px_substituter_local(t.s)->port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && inet_pton(AF_INET, ip, &sa.sin_addr) == 1);
    CHECK_INT(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    CHECK_INT(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static void client_open(struct client *c)
{
    *c = (struct client){.fd = dial_to("127.0.0.1")};
}

static void client_close(struct client *c)
{
    close(c->fd);
    free(c->in);
}

static void send_text(struct client *c, const char *text)
{
    CHECK_INT(send(c->fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void ask(struct client *c, const char *method, const char *path, const char *more)
{
    char text[8192];
    snprintf(text, sizeof(text), "%s %s HTTP/1.1\r\nHost: 127.0.0.1:12304\r\n%s\r\n", method, path,
             more);
    send_text(c, text);
}

static void receive(struct client *c)
{
    if (c->cap - c->len < 65536) {
        c->cap = c->cap * 2 + 2 * 65536;
        c->in = realloc(c->in, c->cap);
        CHECK(c->in != NULL);
    }
    ssize_t n = recv(c->fd, c->in + c->len, c->cap - c->len, 0);
    if (n > 0)
        c->len += (size_t)n;
    else if (n == 0 || errno != EAGAIN)
        c->eof = true;
}

static bool parse_head(struct client *c, struct reply *r, size_t *ret_head_len)
{
    const char *end = c->len > 0 ? memmem(c->in, c->len, "\r\n\r\n", 4) : NULL, *length;
    if (end == NULL)
        return false;
    size_t n = (size_t)(end + 4 - (const char *)c->in);
    CHECK(n < sizeof(r->head));
    memcpy(r->head, c->in, n);
    r->head[n] = '\0';
    CHECK_INT(sscanf(r->head, "HTTP/1.1 %u", &r->status), 1);
    length = strcasestr(r->head, "\r\nContent-Length: ");
    CHECK(length != NULL);
    r->content_length = strtoull(length + 18, NULL, 10);
    *ret_head_len = n;
    return true;
}

/* Turns the loop until the reply is whole or cut. The body lies in c->in until next_reply. */
static void await(struct client *c, bool head, struct reply *r)
{
    px_nsec end = px_now_io() + PATIENCE;
    size_t head_len = 0;
    *r = (struct reply){0};
    for (;;) {
        if (px_now_io() > end)
            px_test_fail(__FILE__, __LINE__, "no reply, %zu bytes so far", c->len);
        receive(c);
        bool parsed = parse_head(c, r, &head_len);
        if (parsed && (head || c->len - head_len >= r->content_length)) {
            r->body = c->in + head_len;
            r->body_len = head ? 0 : (size_t)r->content_length;
            return;
        }
        if (c->eof) {
            r->cut = true;
            r->body_len = parsed ? c->len - head_len : 0;
            r->body = c->in + head_len;
            return;
        }
        turn();
    }
}

/* Drops the reply, keeps what follows it. */
static void next_reply(struct client *c, const struct reply *r)
{
    size_t used = strlen(r->head) + r->body_len;
    memmove(c->in, c->in + used, c->len - used);
    c->len -= used;
}

static void get(struct client *c, const char *path, const char *more, struct reply *r)
{
    c->len = 0;
    ask(c, "GET", path, more);
    await(c, false, r);
}

static const char *narinfo_path(const struct fake_path *p)
{
    static char text[64];
    snprintf(text, sizeof(text), "/%s.narinfo", p->hash_part);
    return text;
}

static const char *nar_path(const struct fake_path *p)
{
    static char text[160];
    struct px_buf hash;
    px_buf_init(&hash, 64);
    CHECK_OK(px_nix32_encode(&hash, px_slice(p->nar_hash, 32)));
    snprintf(text, sizeof(text), "/nar/%.*s.nar?hash=%s", (int)hash.len, (const char *)hash.data,
             p->hash_part);
    px_buf_deinit(&hash);
    return text;
}

static bool has(const struct reply *r, const char *line)
{
    return strcasestr(r->head, line) != NULL;
}

#define CHECK_BODY(r, bytes, n)                                                                    \
    do {                                                                                           \
        CHECK_INT((r).body_len, (n));                                                              \
        CHECK(memcmp((r).body, (bytes), (n)) == 0);                                                \
    } while (0)

/* --- what nix asks --- */

TEST(cache_info_says_what_nix_needs)
{
    static const char want[] = "StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 30\n";
    struct client c;
    struct reply r;
    setup(0);
    client_open(&c);
    get(&c, "/nix-cache-info", "", &r);
    CHECK_INT(r.status, 200);
    CHECK_BODY(r, want, sizeof(want) - 1);
    client_close(&c);
    teardown();
}

TEST(a_narinfo_and_its_nar_arrive)
{
    struct client c;
    struct reply r;
    setup(2);
    client_open(&c);
    get(&c, narinfo_path(&t.small), "", &r);
    CHECK_INT(r.status, 200);
    CHECK(has(&r, "Content-Type: text/x-nix-narinfo\r\n"));
    CHECK(memmem(r.body, r.body_len, "Compression: none\n", 18) != NULL);
    CHECK(memmem(r.body, r.body_len, "Sig: test-1:", 12) != NULL);
    char url[200];
    snprintf(url, sizeof(url), "URL: %s\n", nar_path(&t.small) + 1);
    CHECK(memmem(r.body, r.body_len, url, strlen(url)) != NULL);
    unsigned gets = t.peers[0].gets + t.peers[1].gets;
    get(&c, nar_path(&t.small), "", &r);
    CHECK_INT(r.status, 200);
    CHECK(has(&r, "Accept-Ranges: bytes\r\n") && !has(&r, "Content-Encoding"));
    CHECK_BODY(r, t.small.nar, SMALL);
    CHECK_INT(t.peers[0].gets + t.peers[1].gets, gets + 1); /* no second round */
    client_close(&c);
    teardown();
}

TEST(a_nar_is_found_without_its_narinfo)
{
    struct client c;
    struct reply r;
    setup(3);
    t.peers[0].path_count = 0; /* has neither */
    client_open(&c);
    get(&c, nar_path(&t.big), "", &r);
    CHECK_INT(r.status, 200);
    CHECK_BODY(r, t.big.nar, BIG);
    struct px_substituter_stats stats;
    px_substituter_stats(t.s, &stats);
    CHECK(stats.nars == 1 && stats.nar_cut == 0);
    client_close(&c);
    teardown();
}

TEST(head_has_no_body)
{
    struct client c;
    struct reply r;
    setup(1);
    client_open(&c);
    ask(&c, "HEAD", narinfo_path(&t.small), "");
    await(&c, true, &r);
    CHECK(r.status == 200 && r.content_length > 0);
    next_reply(&c, &r);
    ask(&c, "HEAD", nar_path(&t.big), "");
    await(&c, true, &r);
    CHECK_INT(r.status, 200);
    CHECK_INT(r.content_length, BIG);
    next_reply(&c, &r);
    CHECK_INT(t.peers[0].nar_gets, 0);
    get(&c, "/nix-cache-info", "", &r); /* the connection is still in step */
    CHECK_INT(r.status, 200);
    client_close(&c);
    teardown();
}

TEST(what_is_not_there_is_404)
{
    static const char *const paths[] = {
        "/",
        "/log/00000000000000000000000000000000-x.drv",
        "/realisations/sha256:00%21out.doi",
        "/build-trace-v2/x",
        "/zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz.narinfo",
        "/nar/0000000000000000000000000000000000000000000000000000.nar",
        "/nar/0000000000000000000000000000000000000000000000000000.nar?hash=zzzzzzzzzzzzzzzz",
        "/x.ls"};
    struct client c;
    struct reply r;
    setup(2);
    client_open(&c);
    for (size_t i = 0; i < PX_ARRAY_LEN(paths); i++) {
        get(&c, paths[i], "", &r); /* all on one connection */
        CHECK_INT(r.status, 404);
        CHECK(r.body_len == 0 && !r.cut);
    }
    client_close(&c);
    teardown();
}

/* Exact codes, also of what libmicrohttpd answers by itself. */
TEST(nonsense_gets_the_documented_status)
{
    static char long_line[9 * 1024], long_field[9 * 1024];
    static const struct {
        const char *text;
        unsigned status;
    } rows[] = {
        {"GET /nix-cache-info HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403},
        {"GET /nix-cache-info HTTP/1.1\r\nHost: 127.0.0.1.evil.example\r\n\r\n", 403},
        {"GET /nix-cache-info HTTP/1.1\r\nHost: [::1]:12304\r\n\r\n", 200},
        {"GET /nix-cache-info HTTP/1.1\r\nHost: localhost\r\n\r\n", 200},
        {"GET /nix-cache-info HTTP/1.1\r\n\r\n", 400},
        {"GET /nix-cache-info HTTP/1.0\r\n\r\n", 200},
        {"GET http://127.0.0.1/nix-cache-info HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
        {"GET nix-cache-info HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
        {"GET /% HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
        {"PUT /x.narinfo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc", 400},
        {"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        {"DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
        {"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
        {"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc", 400},
        {"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n", 400},
        {"GET / HTTP/x.y\r\nHost: localhost\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nnonsense\r\n\r\n", 400},
        /* the library's own, before we hear of the request */
        {"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n", 413},
        {long_line, 414},
        {long_field, 431},
        {"GET / HTTP/0.9\r\n\r\n", 505},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
    };
    setup(1);
    memset(long_line, 'a', sizeof(long_line) - 1);
    memcpy(long_line, "GET /", 5);
    memset(long_field, 'a', sizeof(long_field) - 1);
    memcpy(long_field, "GET / HTTP/1.1\r\nX: ", 19);
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        struct client c;
        struct reply r;
        client_open(&c);
        send_text(&c, rows[i].text);
        await(&c, false, &r);
        if (r.status != rows[i].status)
            px_test_fail(__FILE__, __LINE__, "%u, not %u: %.60s", r.status, rows[i].status,
                         rows[i].text);
        client_close(&c);
    }
    teardown();
}

TEST(ranges_are_served_from_a_rehashed_prefix)
{
    static const struct {
        const char *range;
        unsigned status;
        size_t first;
        const char *content_range;
    } rows[] = {
        {"Range: bytes=0-\r\n", 206, 0, "bytes 0-3145999/3146000"},
        {"Range: bytes=1000000-\r\n", 206, 1000000, "bytes 1000000-3145999/3146000"},
        {"Range: bytes=3145999-\r\n", 206, BIG - 1, "bytes 3145999-3145999/3146000"},
        {"Range: bytes=-5\r\n", 206, BIG - 5, "bytes 3145995-3145999/3146000"},
        {"Range: bytes=0-0\r\n", 200, 0, NULL},
        {"Range: bytes=3146000-\r\n", 416, 0, "bytes */3146000"},
        {"Range: bytes=9-1\r\n", 416, 0, "bytes */3146000"},
    };
    struct client c;
    struct reply r;
    setup(1);
    client_open(&c);
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        get(&c, nar_path(&t.big), rows[i].range, &r);
        CHECK_INT(r.status, rows[i].status);
        if (rows[i].content_range != NULL)
            CHECK(has(&r, rows[i].content_range));
        else
            CHECK(!has(&r, "Content-Range"));
        if (r.status == 416)
            CHECK_INT(r.body_len, 0);
        else
            CHECK_BODY(r, t.big.nar + rows[i].first, BIG - rows[i].first);
    }
    client_close(&c);
    teardown();
}

TEST(header_and_body_come_in_one_segment)
{
    struct client c;
    struct reply r;
    setup(1);
    client_open(&c);
    get(&c, "/nix-cache-info", "", &r); /* warm: past the handshake */
    for (int i = 0; i < 3; i++) {
        px_nsec end = px_now_io() + PATIENCE;
        int pending = 0;
        ask(&c, "GET", narinfo_path(&t.small), "");
        while (pending == 0 && px_now_io() < end) {
            turn();
            CHECK_INT(ioctl(c.fd, FIONREAD, &pending), 0);
        }
        c.len = 0;
        size_t head_len;
        receive(&c); /* what one recv gives */
        CHECK(parse_head(&c, &r, &head_len));
        CHECK_INT(c.len - head_len, r.content_length);
    }
    client_close(&c);
    teardown();
}

TEST(pipelined_requests_are_answered_in_order)
{
    struct client c;
    struct reply r;
    setup(1);
    client_open(&c);
    ask(&c, "GET", narinfo_path(&t.small), "");
    ask(&c, "GET", "/nothing", "");
    ask(&c, "GET", nar_path(&t.small), "");
    await(&c, false, &r);
    CHECK_INT(r.status, 200);
    next_reply(&c, &r);
    await(&c, false, &r);
    CHECK_INT(r.status, 404);
    next_reply(&c, &r);
    await(&c, false, &r);
    CHECK_BODY(r, t.small.nar, SMALL);
    client_close(&c);
    teardown();
}

/* --- time --- */

TEST(without_peers_a_miss_is_immediate)
{
    struct client c;
    struct reply r;
    setup(0);
    client_open(&c);
    get(&c, "/nothing", "", &r);
    px_nsec worst = 0;
    for (int i = 0; i < 50; i++) {
        px_nsec from = px_now_io();
        get(&c, i % 2 ? narinfo_path(&t.small) : nar_path(&t.small), "", &r);
        CHECK_INT(r.status, 404);
        worst = PX_MAX(worst, px_now_io() - from);
    }
    CHECK(worst < 100 * PX_MSEC); /* the deadline; really under 1 ms, but machines hiccup */
    client_close(&c);
    teardown();
}

TEST(silent_peers_are_a_miss_at_the_deadline)
{
    struct client c;
    struct reply r;
    setup(2);
    t.peers[0].mode = t.peers[1].mode = FAKE_SILENT;
    client_open(&c);
    px_nsec from = px_now_io();
    get(&c, narinfo_path(&t.small), "", &r);
    px_nsec took = px_now_io() - from;
    CHECK_INT(r.status, 404);
    CHECK(took >= 100 * PX_MSEC && took < 2 * PX_SEC);
    get(&c, nar_path(&t.small), "", &r);
    CHECK_INT(r.status, 404);
    client_close(&c);
    teardown();
}

TEST(one_silent_peer_does_not_slow_the_other)
{
    struct client c;
    struct reply r;
    setup(2);
    t.config.deadline = 3600 * PX_SEC;
    t.peers[0].mode = FAKE_SILENT;
    client_open(&c);
    get(&c, narinfo_path(&t.small), "", &r);
    CHECK_INT(r.status, 200);
    CHECK_INT(t.peers[0].cancels, 1);
    client_close(&c);
    teardown();
}

/* --- bad sources --- */

enum path_kind { WHOLE_HELD, STREAMED };

TEST(a_bad_source_is_blamed_and_the_retry_gets_404)
{
    static const struct {
        enum fake_mode mode;
        enum path_kind kind;
        uint64_t at;
        unsigned status; /* of the first try; 200 and cut when streamed */
        const char *why;
    } rows[] = {
        {FAKE_LYING, WHOLE_HELD, 0, 404, "content does not match the signed hash"},
        {FAKE_LYING, WHOLE_HELD, HELD - 1, 404, "content does not match the signed hash"},
        {FAKE_LYING, STREAMED, 0, 200, "content does not match the signed hash"},
        {FAKE_LYING, STREAMED, BIG / 2, 200, "content does not match the signed hash"},
        {FAKE_LYING, STREAMED, BIG - 1, 200, "content does not match the signed hash"},
        {FAKE_SHORT, WHOLE_HELD, 0, 404, "ended before the signed size"},
        {FAKE_SHORT, WHOLE_HELD, HELD - 1, 404, "ended before the signed size"},
        {FAKE_SHORT, STREAMED, 0, 200, "ended before the signed size"},
        {FAKE_SHORT, STREAMED, BIG / 2, 200, "ended before the signed size"},
        {FAKE_SHORT, STREAMED, BIG - 1, 200, "ended before the signed size"},
        {FAKE_LONG, WHOLE_HELD, 0, 404, "went on after the signed size"},
        {FAKE_LONG, STREAMED, 0, 200, "went on after the signed size"},
        {FAKE_STALL, WHOLE_HELD, 0, 404, "went silent"},
        {FAKE_STALL, WHOLE_HELD, HELD / 2, 404, "went silent"},
        {FAKE_STALL, STREAMED, 0, 200, "went silent"},
        {FAKE_STALL, STREAMED, BIG / 2, 200, "went silent"},
        {FAKE_STALL, STREAMED, BIG - 1, 200, "went silent"},
        {FAKE_RESET, WHOLE_HELD, 100, 404, "broke off"},
        {FAKE_RESET, STREAMED, 0, 200, "broke off"},
        {FAKE_RESET, STREAMED, BIG / 2, 200, "broke off"},
        {FAKE_RESET, STREAMED, BIG - 1, 200, "broke off"},
        {FAKE_MISSING, STREAMED, 0, 404, "did not give the NAR it told of"},
        {FAKE_LENGTH, STREAMED, 0, 404, "announced another size than was signed"},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        struct client c;
        struct reply r;
        setup(1);
        const struct fake_path *p = rows[i].kind == STREAMED ? &t.big : &t.held;
        t.peers[0].mode = rows[i].mode;
        t.peers[0].at = rows[i].at;
        client_open(&c);
        get(&c, narinfo_path(p), "", &r);
        CHECK_INT(r.status, 200);
        get(&c, nar_path(p), "", &r);
        if (r.status != rows[i].status)
            px_test_fail(__FILE__, __LINE__, "row %zu: %u", i, r.status);
        if (r.status == 200) {
            if (!r.cut)
                px_test_fail(__FILE__, __LINE__, "row %zu: not cut", i);
            CHECK(r.body_len <= p->nar_size - PX_NAR_TAIL); /* the tail stayed here */
            client_close(&c);
            client_open(&c);
        } else {
            CHECK(!r.cut); /* the same connection goes on */
        }
        CHECK_INT(t.log_failed, 1);
        CHECK_STR(t.log_peer, "ann");
        CHECK_STR(t.log_why, rows[i].why);
        CHECK(t.peers[0].pub.demerits > 0);
        unsigned gets = t.peers[0].nar_gets;
        t.peers[0].mode = FAKE_HONEST; /* too late */
        get(&c, nar_path(p), "", &r);
        CHECK_INT(r.status, 404);
        get(&c, nar_path(p), "Range: bytes=1000-\r\n", &r);
        CHECK_INT(r.status, 404);
        get(&c, narinfo_path(p), "", &r);
        CHECK_INT(r.status, 404);
        CHECK_INT(t.peers[0].nar_gets, gets);
        get(&c, nar_path(&t.small), "", &r); /* another NAR of the same peer still may come */
        CHECK_INT(r.status, 200);
        client_close(&c);
        teardown();
    }
}

static struct px_peer_history *new_history(void)
{
    static struct px_test_rng seed;
    const struct px_rng rng = px_test_rng(&seed, 8);
    struct px_peer_history *h;
    CHECK_OK(px_peer_history_new(&rng, &h));
    return h;
}

TEST(sources_get_a_history_of_what_they_did)
{
    static const struct {
        enum fake_mode mode;
        enum px_history_fault fault;
        uint32_t demerits;
    } rows[] = {{FAKE_LYING, PX_HISTORY_LIED, 8},      {FAKE_SHORT, PX_HISTORY_WRONG_SIZE, 2},
                {FAKE_LONG, PX_HISTORY_WRONG_SIZE, 2}, {FAKE_LENGTH, PX_HISTORY_WRONG_SIZE, 2},
                {FAKE_STALL, PX_HISTORY_STALLED, 2},   {FAKE_RESET, PX_HISTORY_CUT, 1},
                {FAKE_MISSING, PX_HISTORY_REFUSED, 1}};
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        struct client c;
        struct reply r;
        struct px_history_record h;
        const struct px_peer_id *ann = &t.peers[0].pub.id;
        prepare(1);
        t.config.history = new_history();
        start();
        client_open(&c);
        get(&c, nar_path(&t.small), "", &r);
        CHECK_INT(r.status, 200);
        get(&c, nar_path(&t.big), "", &r);
        CHECK_INT(r.status, 200);
        CHECK(px_peer_history_get(t.config.history, ann, px_now_io(), &h));
        CHECK_INT(h.nars, 2);
        CHECK_INT(h.bytes, SMALL + BIG);
        CHECK_INT(h.demerits, 0);
        t.peers[0].mode = rows[i].mode;
        t.peers[0].at = 100;
        get(&c, nar_path(&t.held), "", &r);
        CHECK_INT(r.status, 404);
        CHECK(px_peer_history_get(t.config.history, ann, px_now_io(), &h));
        CHECK_INT(h.nars, 2);
        CHECK_INT(h.faults[rows[i].fault], 1);
        CHECK_INT((h.demerits + 500) / 1000, rows[i].demerits);
        client_close(&c);
        teardown();
        px_peer_history_free(t.config.history);
    }
}

TEST(a_peer_whose_history_is_bad_is_asked_after_the_other)
{
    struct client c;
    struct reply r;
    struct px_substituter_stats stats;
    prepare(2);
    t.config.history = new_history();
    px_peer_history_fault(t.config.history, &t.peers[0].pub.id, PX_HISTORY_LIED, 8, px_now_io());
    start();
    client_open(&c);
    get(&c, narinfo_path(&t.small), "", &r);
    CHECK_INT(r.status, 200);
    get(&c, nar_path(&t.small), "", &r);
    CHECK_INT(r.status, 200);
    CHECK_INT(t.peers[0].gets, 0); /* the other had it */
    CHECK_INT(t.peers[1].nar_gets, 1);
    t.peers[1].mode = FAKE_SILENT;
    px_nsec before = px_now_io();
    get(&c, narinfo_path(&t.held), "", &r);
    CHECK_INT(r.status, 200);
    CHECK_INT(t.peers[0].gets, 1);
    CHECK(px_now_io() - before >= t.config.deadline / 2); /* that is shorter than twice 50 ms */
    px_substituter_stats(t.s, &stats);
    CHECK_INT(stats.spared_asks, 1);
    CHECK_INT(stats.late_asks, 1);
    client_close(&c);
    teardown();
    px_peer_history_free(t.config.history);
}

/* libmicrohttpd 0.9.75 alone would leave the connection open until all that were silent for longer
 * are closed. */
TEST(a_cut_is_seen_at_once_beside_idle_connections)
{
    struct client idle[3], c;
    struct reply r;
    setup(1);
    for (size_t i = 0; i < PX_ARRAY_LEN(idle); i++) {
        client_open(&idle[i]);
        get(&idle[i], "/nix-cache-info", "", &r);
    }
    client_open(&c);
    t.peers[0].mode = FAKE_STALL; /* the answer is suspended when the end comes */
    t.peers[0].at = BIG / 2;
    get(&c, nar_path(&t.big), "", &r);
    CHECK(r.status == 200 && r.cut);
    client_close(&c);
    for (size_t i = 0; i < PX_ARRAY_LEN(idle); i++) {
        get(&idle[i], "/nix-cache-info", "", &r);
        CHECK_INT(r.status, 200);
        client_close(&idle[i]);
    }
    teardown();
}

TEST(a_held_nar_comes_from_the_next_peer_unseen)
{
    static const enum fake_mode modes[] = {FAKE_LYING, FAKE_SHORT,   FAKE_LONG,  FAKE_STALL,
                                           FAKE_RESET, FAKE_MISSING, FAKE_LENGTH};
    for (size_t i = 0; i < PX_ARRAY_LEN(modes); i++) {
        struct client c;
        struct reply r;
        setup(1);
        client_open(&c);
        t.peers[0].mode = modes[i];
        t.peers[0].at = 100;
        get(&c, narinfo_path(&t.held), "", &r); /* the bad one is the holder */
        t.connected = 2;
        get(&c, nar_path(&t.held), "", &r);
        CHECK_INT(r.status, 200);
        CHECK_BODY(r, t.held.nar, t.held.nar_size);
        CHECK_INT(t.log_failed, 1);
        CHECK_INT(t.peers[1].nar_gets, 1);
        client_close(&c);
        teardown();
    }
}

TEST(a_cut_nar_resumes_from_another_peer)
{
    struct client c;
    struct reply r;
    char range[64];
    setup(1);
    client_open(&c);
    t.peers[0].mode = FAKE_RESET;
    t.peers[0].at = BIG / 2;
    get(&c, nar_path(&t.big), "", &r);
    CHECK(r.status == 200 && r.cut && r.body_len > 0);
    CHECK(memcmp(r.body, t.big.nar, r.body_len) == 0);
    size_t have = r.body_len;
    client_close(&c);
    t.connected = 2;
    client_open(&c);
    snprintf(range, sizeof(range), "Range: bytes=%zu-\r\n", have);
    get(&c, nar_path(&t.big), range, &r);
    CHECK_INT(r.status, 206);
    CHECK_BODY(r, t.big.nar + have, BIG - have);
    client_close(&c);
    teardown();
}

TEST(a_peer_whose_link_ends_is_let_go)
{
    struct client c;
    struct reply r;
    setup(1);
    client_open(&c);
    t.peers[0].mode = FAKE_STALL;
    t.peers[0].at = BIG / 2;
    ask(&c, "GET", nar_path(&t.big), "");
    px_nsec end = px_now_io() + PATIENCE;
    while (t.peers[0].nar_gets == 0 && px_now_io() < end)
        turn();
    for (int i = 0; i < 20; i++)
        turn();
    fake_break(&t.peers[0], PX_ECLOSED);
    px_substituter_peer_gone(t.s, &t.peers[0].pub);
    memset(&t.peers[0].pub, 0, sizeof(t.peers[0].pub)); /* a later touch would crash */
    t.connected = 0;
    await(&c, false, &r);
    CHECK(r.status == 200 && r.cut);
    client_close(&c);
    client_open(&c);
    get(&c, nar_path(&t.big), "", &r);
    CHECK_INT(r.status, 404);
    client_close(&c);
    teardown();
}

TEST(the_budget_for_held_nars_is_kept)
{
    struct client c[8];
    struct reply r;
    prepare(1);
    t.config.hold_total = 2 * HELD;
    start();
    t.peers[0].mode = FAKE_LYING;
    t.peers[0].at = HELD - 1;
    unsigned held = 0, streamed = 0;
    for (size_t i = 0; i < 4; i++) {
        client_open(&c[i]);
        ask(&c[i], "GET", nar_path(&t.held), "");
    }
    for (size_t i = 0; i < 4; i++) {
        await(&c[i], false, &r);
        held += r.status == 404;
        streamed += r.status == 200 && r.cut;
        client_close(&c[i]);
    }
    CHECK_INT(held, 2);
    CHECK_INT(streamed, 2);
    teardown();
}

/* --- many, and those who leave --- */

TEST(three_hundred_requests_at_once)
{
    static struct client c[300];
    struct reply r;
    setup(3);
    for (size_t i = 0; i < PX_ARRAY_LEN(c); i++) {
        client_open(&c[i]);
        ask(&c[i], "GET", i % 3 == 0 ? nar_path(&t.small) : narinfo_path(i % 2 ? &t.small : &t.big),
            "");
    }
    for (size_t i = 0; i < PX_ARRAY_LEN(c); i++) {
        await(&c[i], false, &r);
        CHECK_INT(r.status, 200);
        if (i % 3 == 0)
            CHECK_BODY(r, t.small.nar, SMALL);
    }
    for (size_t i = 0; i < PX_ARRAY_LEN(c); i++)
        client_close(&c[i]);
    teardown();
}

TEST(a_client_that_leaves_ends_the_fetch)
{
    static const enum fake_mode modes[] = {FAKE_STALL, FAKE_HONEST, FAKE_SILENT};
    for (size_t i = 0; i < PX_ARRAY_LEN(modes); i++) {
        struct client c;
        prepare(1);
        t.config.stall = 3600 * PX_SEC; /* not by stalling, then */
        start();
        client_open(&c);
        t.peers[0].mode = modes[i];
        t.peers[0].at = BIG / 2;
        ask(&c, "GET", nar_path(&t.big), "");
        px_nsec end = px_now_io() + PATIENCE;
        while (t.peers[0].gets == 0 && px_now_io() < end)
            turn();
        for (int k = 0; k < 20; k++)
            turn(); /* without reading */
        client_close(&c);
        while (!px_list_empty(&t.peers[0].fetches) && px_now_io() < end)
            turn();
        CHECK(px_list_empty(&t.peers[0].fetches));
        CHECK_INT(t.log_failed, 0); /* it is not the peer's fault */
        teardown();
    }
}

TEST(a_slow_reader_holds_the_peer_back)
{
    enum { HUGE_NAR = 24u * 1024 * 1024 }; /* more than the kernel's buffers take */
    struct fake_path huge, *paths[] = {&huge};
    struct client c;
    struct reply r;
    setup(1);
    fake_path_init(&huge, 9, HUGE_NAR, &t.key);
    t.peers[0].paths = paths;
    t.peers[0].path_count = 1;
    client_open(&c);
    ask(&c, "GET", nar_path(&huge), "");
    /* longer than the stall time: the silence is not the peer's */
    px_nsec end = px_now_io() + 400 * PX_MSEC;
    while (px_now_io() < end)
        turn();
    CHECK(!px_list_empty(&t.peers[0].fetches));
    CHECK(fake_first(&t.peers[0])->sent < HUGE_NAR / 2);
    CHECK_INT(t.log_failed, 0);
    await(&c, false, &r);
    CHECK_INT(r.status, 200);
    CHECK_BODY(r, huge.nar, HUGE_NAR);
    client_close(&c);
    teardown();
    fake_path_deinit(&huge);
}

TEST(many_idle_connections_are_kept)
{
    static struct client c[40];
    struct reply r;
    setup(0);
    for (size_t i = 0; i < PX_ARRAY_LEN(c); i++) {
        client_open(&c[i]);
        get(&c[i], "/nix-cache-info", "", &r);
        CHECK_INT(r.status, 200);
    }
    for (size_t i = 0; i < PX_ARRAY_LEN(c); i++)
        client_close(&c[i]);
    teardown();
}

/* --- sockets and the end --- */

TEST(a_socket_handed_in_is_used)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    struct client c;
    struct reply r;
    prepare(0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 && listen(fd, 8) == 0);
    CHECK_INT(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    t.config.listen_fd = fd;
    start();
    CHECK_INT(px_substituter_local(t.s)->port, ntohs(sa.sin_port));
    client_open(&c);
    get(&c, "/nix-cache-info", "", &r);
    CHECK_INT(r.status, 200);
    client_close(&c);
    teardown();
}

static bool foreign_address(char *ret, size_t size)
{
    struct ifaddrs *list;
    bool found = false;
    if (getifaddrs(&list) != 0)
        return false;
    for (struct ifaddrs *i = list; i != NULL && !found; i = i->ifa_next) {
        if (i->ifa_addr == NULL || i->ifa_addr->sa_family != AF_INET)
            continue;
        struct sockaddr_in *in = (struct sockaddr_in *)(void *)i->ifa_addr;
        found = (ntohl(in->sin_addr.s_addr) >> 24) != 127 &&
                inet_ntop(AF_INET, &in->sin_addr, ret, (socklen_t)size) != NULL;
    }
    freeifaddrs(list);
    return found;
}

TEST(clients_from_elsewhere_are_refused)
{
    struct sockaddr_in sa = {.sin_family = AF_INET};
    char ip[32];
    struct client c;
    struct reply r;
    if (!foreign_address(ip, sizeof(ip)))
        px_test_skip("this machine has no address but loopback");
    prepare(1);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 && listen(fd, 8) == 0);
    t.config.listen_fd = fd;
    start();
    c = (struct client){.fd = dial_to(ip)};
    get(&c, "/nix-cache-info", "", &r);
    CHECK_INT(r.status, 403);
    client_close(&c);
    teardown();
}

TEST(only_a_free_loopback_address_is_bound)
{
    struct px_substituter *s;
    setup(0);
    t.config.listen = *px_substituter_local(t.s);
    CHECK_ERR(px_substituter_new(&t.config, &s), PX_EADDR);
    CHECK_OK(px_addr_parse(PX_SLICE_LIT("0.0.0.0:0"), &t.config.listen));
    CHECK_ERR(px_substituter_new(&t.config, &s), PX_EADDR);
    teardown();
}

TEST(closing_lets_running_answers_end)
{
    struct client c, idle;
    struct reply r;
    setup(1);
    client_open(&c);
    client_open(&idle);
    get(&idle, "/nix-cache-info", "", &r);
    ask(&c, "GET", nar_path(&t.big), "");
    px_nsec end = px_now_io() + PATIENCE;
    while (t.peers[0].nar_gets == 0 && px_now_io() < end)
        turn();
    px_substituter_close(t.s, 5 * PX_SEC, on_closed, NULL);
    await(&c, false, &r);
    CHECK_INT(r.status, 200);
    CHECK_BODY(r, t.big.nar, BIG);
    while (!t.closed && px_now_io() < end)
        turn();
    CHECK(t.closed && px_now_io() < end);
    (void)uv_run(&t.loop, UV_RUN_DEFAULT);
    CHECK_INT(uv_loop_close(&t.loop), 0);
    client_close(&c);
    client_close(&idle);
    fake_path_deinit(&t.small);
    fake_path_deinit(&t.big);
    fake_path_deinit(&t.held);
}

TEST(closing_cuts_what_outlasts_the_drain)
{
    struct client c, waiting;
    struct reply r;
    prepare(1);
    t.config.stall = t.config.deadline = 3600 * PX_SEC;
    start();
    client_open(&c);
    client_open(&waiting);
    t.peers[0].mode = FAKE_STALL;
    t.peers[0].at = BIG / 2;
    ask(&c, "GET", nar_path(&t.big), "");
    px_nsec end = px_now_io() + PATIENCE;
    while (t.peers[0].nar_gets == 0 && px_now_io() < end)
        turn();
    for (int k = 0; k < 20; k++)
        turn();
    t.peers[0].mode = FAKE_SILENT;
    ask(&waiting, "GET", narinfo_path(&t.small), "");
    for (int k = 0; k < 20; k++)
        turn();
    teardown(); /* with a drain of 0 */
    receive(&waiting);
    CHECK(waiting.eof);
    (void)r;
    client_close(&c);
    client_close(&waiting);
}

/* A local program that opens connections and says nothing: at the limit nix waits in the backlog,
 * without an error, and is served when one closes. */
TEST(at_the_connection_limit_newcomers_wait_for_a_place)
{
    static struct client idle[PX_HTTP_CONNECTIONS_MAX];
    struct rlimit files;
    struct client late;
    struct reply r;
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &files), 0);
    if (files.rlim_max < 3 * PX_HTTP_CONNECTIONS_MAX) {
        printf("skip - at_the_connection_limit_newcomers_wait_for_a_place (too few descriptors)\n");
        return;
    }
    files.rlim_cur = files.rlim_max;
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &files), 0);
    setup(0);
    for (size_t i = 0; i < PX_HTTP_CONNECTIONS_MAX; i++) {
        client_open(&idle[i]);
        send_text(&idle[i], "GET /half");
        turn();
    }
    client_open(&late);
    ask(&late, "GET", "/nix-cache-info", "");
    for (int i = 0; i < 200; i++)
        turn();
    receive(&late);
    CHECK(late.len == 0 && !late.eof);
    client_close(&idle[0]);
    await(&late, false, &r);
    CHECK_INT(r.status, 200);
    client_close(&late);
    for (size_t i = 1; i < PX_HTTP_CONNECTIONS_MAX; i++)
        client_close(&idle[i]);
    teardown();
}
