/* HTTP/3 over a link: two px_h3 (h3.c, h3_session.c, h3_fields.c, h3_guard.c, h3_link.c) talk
 * through a link in memory (fake_link.c). */
#include <stdlib.h>

#include "node/h3_internal.h"
#include "proto/base/list.h"
#include "tests/test.h"

#include "tests/unit/node/fake_link.c"

/* What a test counts: everything that begins must end, once. */
static struct {
    size_t requests, bodies, bodies_closed, gone;
} seen;

static uint8_t pattern(uint64_t offset)
{
    return (uint8_t)(offset * 31 + (offset >> 8) + (offset >> 16));
}

/* --- the serving side --- */

struct chunk {
    struct chunk *next;
    size_t len, acked;
    uint8_t data[];
};

struct body_ctx;
struct served {
    struct served *next_open;
    struct body_ctx *self;
    struct px_h3_exchange *x;
    uint64_t at, end;
    struct chunk *head, *tail;
    bool head_request, stutter, stalled, fail;
    unsigned turn;
    char path[64];
    bool has_range;
    uint64_t range_first;
};

/* Requests not answered yet, and bodies under way. */
struct server {
    struct served *open;
    bool hold; /* answer when the test says so */
    size_t acked;
};

static void served_unlink(struct server *v, struct served *s)
{
    struct served **at = &v->open;
    while (*at != s)
        at = &(*at)->next_open;
    *at = s->next_open;
}

struct body_ctx {
    struct server *v;
    struct served *s;
};

static int body_next(void *ctx, struct px_slice *ret, bool *ret_fin)
{
    struct served *s = ((struct body_ctx *)ctx)->s;
    if (s->stutter && s->turn++ % 2 == 0) {
        s->stalled = true;
        return PX_EAGAIN;
    }
    if (s->fail && s->at > 0)
        return PX_EIO;
    size_t len = (size_t)PX_MIN(s->end - s->at, (uint64_t)32768);
    struct chunk *c = malloc(sizeof(*c) + len);
    CHECK(c != NULL);
    *c = (struct chunk){.len = len};
    for (size_t i = 0; i < len; i++)
        c->data[i] = pattern(s->at + i);
    s->at += len;
    if (s->tail != NULL)
        s->tail->next = c;
    else
        s->head = c;
    s->tail = c;
    *ret = px_slice(c->data, len);
    *ret_fin = s->at == s->end;
    return 0;
}

static void body_acked(void *ctx, uint64_t n)
{
    struct body_ctx *b = ctx;
    struct served *s = b->s;
    b->v->acked += n;
    while (n > 0) {
        struct chunk *c = s->head;
        CHECK(c != NULL);
        size_t take = (size_t)PX_MIN((uint64_t)(c->len - c->acked), n);
        c->acked += take;
        n -= take;
        if (c->acked == c->len) {
            s->head = c->next;
            if (s->head == NULL)
                s->tail = NULL;
            free(c);
        }
    }
}

static void body_closed(void *ctx)
{
    struct body_ctx *b = ctx;
    seen.bodies_closed++;
    while (b->s->head != NULL) {
        struct chunk *c = b->s->head;
        b->s->head = c->next;
        free(c);
    }
    served_unlink(b->v, b->s);
    free(b->s);
    free(b);
}

static const struct px_h3_body_ops body_ops = {body_next, body_acked, body_closed};

static void served_gone(void *ctx)
{
    struct body_ctx *b = ctx;
    seen.gone++;
    served_unlink(b->v, b->s);
    free(b->s);
    free(b);
}

/* "/<size>": that many bytes; "/none": 404. */
static void answer(struct body_ctx *b)
{
    struct served *s = b->s;
    uint64_t size = 0;
    bool found = px_slice_parse_u64(px_slice_cstr(s->path + 1), &size) == 0;
    struct px_h3_answer a = {.status = found ? 200 : 404, .content_length = found ? size : 0};
    if (found && s->has_range && s->range_first < size) {
        a.status = 206;
        a.range_first = s->range_first;
        a.total = size;
        a.content_length = size - s->range_first;
        s->at = s->range_first;
    }
    s->end = size;
    if (!found || s->head_request) {
        CHECK_OK(px_h3_respond(s->x, &a));
        served_unlink(b->v, s);
        free(s);
        free(b);
        return;
    }
    a.body = &body_ops;
    a.body_ctx = b;
    seen.bodies++;
    CHECK_OK(px_h3_respond(s->x, &a));
    CHECK_ERR(px_h3_respond(s->x, &a), PX_ESTATE);
}

static bool server_stutters, server_fails;

static void on_request(void *ctx, struct px_h3_exchange *x, const struct px_h3_request *req)
{
    struct server *v = ctx;
    seen.requests++;
    struct served *s = calloc(1, sizeof(*s));
    struct body_ctx *b = calloc(1, sizeof(*b));
    CHECK(s != NULL && b != NULL && req->path.len < sizeof(s->path));
    *b = (struct body_ctx){v, s};
    memcpy(s->path, req->path.data, req->path.len);
    s->x = x;
    s->self = b;
    s->head_request = req->head;
    s->has_range = req->has_range;
    s->range_first = req->range_first;
    s->stutter = server_stutters;
    s->fail = server_fails;
    s->next_open = v->open;
    v->open = s;
    px_h3_on_gone(x, served_gone, b);
    if (!v->hold)
        answer(b);
}

static const struct px_h3_server_ops server_ops = {on_request};

static size_t resume_stalled(struct server *v)
{
    size_t n = 0;
    for (struct served *s = v->open; s != NULL; s = s->next_open) {
        if (!s->stalled)
            continue;
        s->stalled = false;
        px_h3_body_resume(s->x);
        n++;
    }
    return n;
}

/* --- the asking side --- */

struct ask {
    struct px_h3_exchange *x;
    bool slow, cancel_in_response, cancel_in_data;
    unsigned status;
    uint64_t length, total, at, held;
    size_t responses, ends;
    int err;
};

static void on_response(void *ctx, const struct px_h3_response *res)
{
    struct ask *a = ctx;
    a->responses++;
    a->status = res->status;
    a->length = res->content_length;
    a->total = res->total;
    if (a->cancel_in_response) {
        px_h3_cancel(a->x);
        a->x = NULL;
    }
}

static void on_body(void *ctx, struct px_slice data)
{
    struct ask *a = ctx;
    CHECK(a->x != NULL && a->responses == 1 && a->ends == 0);
    for (size_t i = 0; i < data.len; i++)
        CHECK_INT(data.data[i], pattern(a->at + i));
    a->at += data.len;
    if (a->cancel_in_data) {
        px_h3_cancel(a->x);
        a->x = NULL;
    } else if (a->slow) {
        a->held += data.len;
    } else {
        px_h3_consume(a->x, data.len);
    }
}

static void on_end(void *ctx, int err)
{
    struct ask *a = ctx;
    a->ends++;
    a->err = err;
    a->x = NULL;
}

static const struct px_h3_client_ops client_ops = {on_response, on_body, on_end};

/* --- both ends --- */

struct pair {
    struct fake_net net;
    struct px_h3 *a, *b; /* a on the QUIC client */
    struct server va, vb;
};

static const struct px_stream_ops *route(void *ctx, int64_t id, uint8_t type, void **ret_ctx)
{
    return px_h3_stream(ctx, id, type, ret_ctx);
}

static void pair_start(struct pair *p)
{
    CHECK_OK(px_h3_new(&p->net.a, &server_ops, &p->va, &p->a));
    CHECK_OK(px_h3_new(&p->net.b, &server_ops, &p->vb, &p->b));
    p->net.a.route = p->net.b.route = route;
    p->net.a.route_ctx = p->a;
    p->net.b.route_ctx = p->b;
}

static void pair_init(struct pair *p)
{
    memset(p, 0, sizeof(*p));
    memset(&seen, 0, sizeof(seen));
    server_stutters = server_fails = false;
    fake_net_init(&p->net);
    pair_start(p);
}

static void pair_cut(struct pair *p)
{
    fake_net_cut(&p->net);
    px_h3_free(p->a);
    px_h3_free(p->b);
    p->a = p->b = NULL;
}

static void pair_deinit(struct pair *p)
{
    if (p->a != NULL)
        pair_cut(p);
    fake_net_deinit(&p->net);
    CHECK_INT(seen.bodies, seen.bodies_closed);
    CHECK(p->va.open == NULL && p->vb.open == NULL);
}

/* Nothing may be left over once all exchanges are done: streams, credit. */
static void check_idle(struct pair *p)
{
    struct px_link *ends[] = {&p->net.a, &p->net.b};
    for (size_t i = 0; i < 2; i++) {
        CHECK_INT(ends[i]->leaked, 0);
        CHECK_INT(ends[i]->in_flight, 0);
        CHECK_INT(ends[i]->stray_consumes, 0);
        CHECK_INT(ends[i]->bidi_open, 0);
    }
}

static void ask(struct px_h3 *h, struct ask *a, bool head, const char *path, uint64_t first)
{
    CHECK_OK(px_h3_get(h, head, px_slice_cstr(path), first, &client_ops, a, &a->x));
}

static void run(struct pair *p)
{
    do
        fake_run(&p->net);
    while (resume_stalled(&p->va) + resume_stalled(&p->vb) > 0);
}

TEST(get_and_head_work_in_both_directions_at_once)
{
    static const struct {
        const char *path;
        bool head;
        uint64_t first;
        unsigned status;
        uint64_t length, body, total;
    } rows[] = {
        {"/0", false, 0, 200, 0, 0, 0},
        {"/1", false, 0, 200, 1, 1, 0},
        {"/65536", false, 0, 200, 65536, 65536, 0},
        {"/10485760", false, 0, 200, 10485760, 10485760, 0},
        {"/1000", true, 0, 200, 1000, 0, 0},
        {"/1000", false, 400, 206, 600, 600, 1000},
        {"/1000", false, 999, 206, 1, 1, 1000},
        {"/1000", true, 999, 206, 1, 0, 1000},
        {"/none", false, 0, 404, 0, 0, 0},
        {"/none", true, 0, 404, 0, 0, 0},
    };
    struct pair p;
    pair_init(&p);
    struct ask fwd[PX_ARRAY_LEN(rows)] = {0}, rev[PX_ARRAY_LEN(rows)] = {0};
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        fwd[i].at = rev[i].at = rows[i].first;
        ask(p.a, &fwd[i], rows[i].head, rows[i].path, rows[i].first);
        ask(p.b, &rev[i], rows[i].head, rows[i].path, rows[i].first);
    }
    run(&p);
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        const struct ask *both[] = {&fwd[i], &rev[i]};
        for (size_t k = 0; k < 2; k++) {
            CHECK_INT(both[k]->ends, 1);
            CHECK_OK(both[k]->err);
            CHECK_INT(both[k]->responses, 1);
            CHECK_INT(both[k]->status, rows[i].status);
            CHECK_INT(both[k]->length, rows[i].length);
            CHECK_INT(both[k]->at - rows[i].first, rows[i].body);
            CHECK_INT(both[k]->total, rows[i].total);
        }
    }
    check_idle(&p);
    pair_deinit(&p);
}

TEST(a_slow_reader_holds_the_sender_back)
{
    struct pair p;
    pair_init(&p);
    struct ask slow = {.slow = true}, quick = {0};
    ask(p.a, &slow, false, "/10485760", 0);
    run(&p);
    CHECK_INT(slow.ends, 0);
    CHECK(slow.at <= p.net.stream_window);
    CHECK(slow.at > p.net.stream_window / 2);
    /* others are served meanwhile */
    ask(p.a, &quick, false, "/100000", 0);
    run(&p);
    CHECK_INT(quick.ends, 1);
    while (slow.ends == 0) {
        uint64_t n = PX_MIN(slow.held, (uint64_t)50000);
        CHECK(n > 0);
        slow.held -= n;
        px_h3_consume(slow.x, n);
        run(&p);
    }
    CHECK_OK(slow.err);
    CHECK_INT(slow.at, 10485760);
    check_idle(&p);
    pair_deinit(&p);
}

TEST(a_body_that_has_nothing_yet_is_resumed_and_does_not_stop_others)
{
    struct pair p;
    pair_init(&p);
    server_stutters = true;
    struct ask a[3] = {0}, b = {0};
    for (size_t i = 0; i < 3; i++)
        ask(p.b, &a[i], false, "/300000", 0);
    fake_run(&p.net); /* all three wait */
    CHECK_INT(a[0].at + a[1].at + a[2].at, 0);
    server_stutters = false;
    ask(p.b, &b, false, "/70000", 0);
    fake_run(&p.net);
    CHECK_INT(b.ends, 1);
    run(&p);
    for (size_t i = 0; i < 3; i++) {
        CHECK_INT(a[i].ends, 1);
        CHECK_INT(a[i].at, 300000);
    }
    check_idle(&p);
    pair_deinit(&p);
}

TEST(small_answers_overtake_large_ones)
{
    struct pair p;
    pair_init(&p);
    struct ask large[4] = {0}, small = {0};
    p.net.conn_window = 64 * 1024;
    for (size_t i = 0; i < 4; i++)
        ask(p.a, &large[i], false, "/4000000", 0);
    for (int i = 0; i < 20; i++)
        (void)fake_step(&p.net);
    ask(p.a, &small, false, "/500", 0);
    for (int i = 0; i < 6 && small.ends == 0; i++)
        (void)fake_step(&p.net);
    CHECK_INT(small.ends, 1);
    for (size_t i = 0; i < 4; i++) /* and large ones share */
        CHECK(large[i].ends == 0 && large[i].at > 0);
    run(&p);
    check_idle(&p);
    pair_deinit(&p);
}

TEST(the_asker_may_cancel_at_any_moment)
{
    for (int steps = 0; steps < 30; steps++) {
        struct pair p;
        pair_init(&p);
        struct ask a = {0}, other = {0};
        p.vb.hold = steps % 2 == 1;
        ask(p.a, &a, false, "/3000000", 0);
        ask(p.a, &other, false, "/20", 0);
        for (int i = 0; i < steps; i++)
            (void)fake_step(&p.net);
        size_t ended = a.ends;
        if (ended == 0)
            px_h3_cancel(a.x);
        p.vb.hold = false;
        for (struct served *v = p.vb.open, *next; v != NULL; v = next) {
            next = v->next_open;
            if (v->end == 0)
                answer(v->self);
        }
        run(&p);
        CHECK_INT(a.ends, ended);
        check_idle(&p);
        pair_deinit(&p);
        CHECK_INT(a.ends, ended);
        CHECK_INT(other.ends, 1);
    }
}

TEST(the_asker_may_cancel_inside_its_callbacks)
{
    struct pair p;
    pair_init(&p);
    struct ask a = {.cancel_in_response = true}, b = {.cancel_in_data = true};
    ask(p.a, &a, false, "/3000000", 0);
    ask(p.a, &b, false, "/3000000", 0);
    run(&p);
    CHECK_INT(a.ends + b.ends, 0);
    CHECK_INT(a.responses + b.responses, 2);
    CHECK_INT(seen.bodies_closed, 2);
    check_idle(&p);
    pair_deinit(&p);
}

TEST(a_body_that_fails_resets_its_stream_alone)
{
    struct pair p;
    pair_init(&p);
    server_fails = true;
    struct ask a = {0}, b = {0};
    ask(p.a, &a, false, "/300000", 0);
    run(&p);
    server_fails = false;
    CHECK_INT(a.ends, 1);
    CHECK_ERR(a.err, PX_ECANCELED);
    CHECK(a.at < 300000);
    ask(p.a, &b, false, "/300000", 0);
    run(&p);
    CHECK_OK(b.err);
    CHECK_INT(b.at, 300000);
    check_idle(&p);
    pair_deinit(&p);
}

TEST(the_server_may_answer_later_or_find_the_asker_gone)
{
    struct pair p;
    pair_init(&p);
    p.vb.hold = true;
    struct ask a = {0}, b = {0};
    ask(p.a, &a, false, "/5", 0);
    ask(p.a, &b, false, "/7", 0);
    run(&p);
    CHECK_INT(seen.requests, 2);
    px_h3_cancel(a.x);
    run(&p);
    CHECK_INT(seen.gone, 1);
    struct served *s = p.vb.open;
    CHECK(s != NULL && s->next_open == NULL);
    const struct px_h3_answer late = {.status = 404};
    CHECK_OK(px_h3_respond(s->x, &late));
    served_unlink(&p.vb, s);
    free(s->self);
    free(s);
    run(&p);
    CHECK_INT(b.ends, 1);
    CHECK_INT(b.status, 404);
    check_idle(&p);
    pair_deinit(&p);
}

TEST(a_thousand_requests_run_in_parallel)
{
    enum { N = 1000 };
    struct pair p;
    pair_init(&p);
    p.net.bidi_max = N;
    p.net.chunk_max = 0;
    struct ask *a = calloc(2 * N, sizeof(*a));
    CHECK(a != NULL);
    for (size_t i = 0; i < N; i++) {
        char path[16];
        (void)snprintf(path, sizeof(path), "/%zu", i * 3);
        ask(p.a, &a[2 * i], false, path, 0);
        ask(p.b, &a[2 * i + 1], false, path, 0);
    }
    run(&p);
    for (size_t i = 0; i < N; i++)
        for (size_t k = 2 * i; k < 2 * i + 2; k++) {
            CHECK_INT(a[k].ends, 1);
            CHECK_OK(a[k].err);
            CHECK_INT(a[k].at, i * 3);
        }
    check_idle(&p);
    free(a);
    pair_deinit(&p);
}

TEST(the_peers_stream_limit_is_try_again)
{
    struct pair p;
    pair_init(&p);
    p.net.bidi_max = 2;
    p.vb.hold = true;
    struct ask a[3] = {0};
    ask(p.a, &a[0], false, "/1", 0);
    ask(p.a, &a[1], false, "/1", 0);
    CHECK_ERR(px_h3_get(p.a, false, PX_SLICE_LIT("/1"), 0, &client_ops, &a[2], &a[2].x), PX_EAGAIN);
    px_h3_cancel(a[0].x);
    run(&p);
    ask(p.a, &a[2], false, "/1", 0);
    pair_deinit(&p);
    CHECK_INT(a[0].ends, 0);
    CHECK_INT(a[1].ends, 1);
    CHECK_INT(a[2].ends, 1);
    CHECK_ERR(a[2].err, PX_ECLOSED);
}

TEST(more_than_the_limit_of_requests_is_refused_as_busy)
{
    enum { N = PX_H3_EXCHANGES_MAX + 3 };
    struct pair p;
    pair_init(&p);
    p.net.bidi_max = 2 * N;
    p.vb.hold = true;
    struct ask *a = calloc(N, sizeof(*a));
    CHECK(a != NULL);
    for (size_t i = 0; i < N; i++)
        ask(p.a, &a[i], false, "/1", 0);
    run(&p);
    size_t busy = 0;
    for (size_t i = 0; i < N; i++)
        busy += a[i].ends == 1 && a[i].err == PX_EBUSY;
    CHECK_INT(busy, 3);
    CHECK_INT(seen.requests, PX_H3_EXCHANGES_MAX);
    pair_deinit(&p);
    CHECK_INT(seen.gone, PX_H3_EXCHANGES_MAX);
    free(a);
}

/* A peer that allows any number of streams and ends none of them must not make us remember ever
 * more requests we gave up long ago. */
TEST(requests_the_peer_never_lets_go_of_are_bounded)
{
    struct pair p;
    pair_init(&p);
    p.net.bidi_max = UINT32_MAX;
    for (size_t i = 0; i < PX_H3_ASKED_MAX; i++) {
        struct ask a = {0};
        ask(p.a, &a, false, "/1", 0);
        px_h3_cancel(a.x);
    }
    struct ask late = {0};
    CHECK_ERR(px_h3_get(p.a, false, PX_SLICE_LIT("/1"), 0, &client_ops, &late, &late.x), PX_EAGAIN);
    run(&p); /* it ends them after all */
    ask(p.a, &late, false, "/1", 0);
    run(&p);
    CHECK_INT(late.ends, 1);
    CHECK_OK(late.err);
    pair_deinit(&p);
}

TEST(an_abrupt_end_of_the_link_ends_everything_once)
{
    for (int steps = 0; steps < 24; steps++) {
        struct pair p;
        pair_init(&p);
        struct ask a[6] = {0};
        p.va.hold = steps % 3 == 0;
        for (size_t i = 0; i < 6; i++) {
            a[i].slow = i % 2 == 0;
            ask(i < 3 ? p.a : p.b, &a[i], false, "/500000", 0);
        }
        for (int i = 0; i < steps; i++)
            (void)fake_step(&p.net);
        pair_cut(&p);
        for (size_t i = 0; i < 6; i++) {
            CHECK_INT(a[i].ends, 1);
            CHECK_ERR(a[i].err, a[i].at == 500000 && !a[i].slow ? 0 : PX_ECLOSED);
        }
        CHECK_INT(seen.bodies, seen.bodies_closed);
        CHECK_INT(seen.requests, seen.bodies + seen.gone);
        pair_deinit(&p);
    }
}

TEST(goaway_serves_what_was_asked_and_refuses_what_comes)
{
    struct pair p;
    pair_init(&p);
    p.va.hold = p.vb.hold = true;
    struct ask fwd = {0}, rev = {0}, late = {0};
    ask(p.a, &fwd, false, "/100", 0);
    ask(p.b, &rev, false, "/100", 0);
    run(&p);
    px_h3_shutdown(p.b);
    px_h3_shutdown(p.b);
    px_h3_shutdown(p.a);
    ask(p.a, &late, false, "/100", 0); /* crosses the GOAWAY */
    run(&p);
    CHECK_INT(late.ends, 1);
    CHECK(late.err == PX_EBUSY || late.err == PX_ECLOSED);
    CHECK_ERR(px_h3_get(p.a, false, PX_SLICE_LIT("/1"), 0, &client_ops, &late, &late.x),
              PX_ECLOSED);
    CHECK_ERR(px_h3_get(p.b, false, PX_SLICE_LIT("/1"), 0, &client_ops, &late, &late.x),
              PX_ECLOSED);
    CHECK_INT(fwd.ends + rev.ends, 0);
    answer(p.va.open->self);
    answer(p.vb.open->self);
    run(&p);
    CHECK_OK(fwd.err);
    CHECK_OK(rev.err);
    CHECK_INT(fwd.at, 100);
    CHECK_INT(rev.at, 100);
    check_idle(&p);
    pair_deinit(&p);
}

/* --- foreign bytes --- */

static void put_prefixed(struct px_buf *b, uint8_t first, unsigned bits, size_t n)
{
    size_t max = (1u << bits) - 1;
    if (n < max) {
        px_buf_put_u8(b, (uint8_t)(first | n));
        return;
    }
    px_buf_put_u8(b, (uint8_t)(first | max));
    for (n -= max; n >= 128; n >>= 7)
        px_buf_put_u8(b, (uint8_t)(n | 128));
    px_buf_put_u8(b, (uint8_t)n);
}

/* A literal field line with a literal name. */
static void put_field(struct px_buf *b, const char *name, const char *value)
{
    put_prefixed(b, 0x20, 3, strlen(name));
    px_buf_put_cstr(b, name);
    put_prefixed(b, 0, 7, strlen(value));
    px_buf_put_cstr(b, value);
}

struct field {
    const char *name, *value;
};

/* The type byte and one HEADERS frame. */
static void put_message(struct px_buf *out, uint8_t type, const struct field *f, size_t n)
{
    struct px_buf b;
    px_buf_init(&b, 1u << 20);
    px_buf_put_be16(&b, 0);
    for (size_t i = 0; i < n; i++)
        put_field(&b, f[i].name, f[i].value);
    px_buf_put_u8(out, type);
    px_buf_put_u8(out, 1);
    px_buf_put_be32(out, 0x80000000u | (uint32_t)b.len);
    px_buf_put(out, px_buf_slice(&b));
    px_buf_deinit(&b);
    CHECK_OK(out->err);
}

#define GET_FIELDS(method, path)                                                                   \
    {":method", method}, {":scheme", "https"}, {":authority", "peer"},                             \
    {                                                                                              \
        ":path", path                                                                              \
    }

TEST(a_bad_request_hurts_its_stream_alone)
{
    char long_path[PX_H3_PATH_MAX + 2];
    memset(long_path, 'a', sizeof(long_path));
    long_path[0] = '/';
    long_path[sizeof(long_path) - 1] = 0;
    const struct {
        struct field f[6];
        size_t n;
    } rows[] = {
        {{GET_FIELDS("POST", "/1")}, 4},
        {{GET_FIELDS("DELETE", "/1")}, 4},
        {{GET_FIELDS("GET", long_path)}, 4},
        {{GET_FIELDS("GET", "x")}, 4},
        {{{":method", "CONNECT"}, {":authority", "peer"}}, 2},
        {{{":method", "GET"}, {":scheme", "https"}, {":path", "/1"}}, 3},
        {{GET_FIELDS("GET", "/1"), {":method", "GET"}}, 5},
        {{GET_FIELDS("GET", "/1"), {"Upper", "x"}}, 5},
        {{GET_FIELDS("GET", "/1"), {":status", "200"}}, 5},
        {{GET_FIELDS("GET", "/1"), {"content-length", "9x"}}, 5},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        struct pair p;
        pair_init(&p);
        struct px_buf b;
        px_buf_init(&b, 1u << 20);
        put_message(&b, PX_STREAM_H3_FORWARD, rows[i].f, rows[i].n);
        fake_inject(&p.net.b, 400, px_buf_slice(&b), true);
        struct ask a = {0};
        ask(p.a, &a, false, "/10", 0);
        run(&p);
        CHECK_OK(a.err);
        CHECK_INT(a.ends, 1);
        CHECK_INT(seen.requests, 1); /* the good one */
        px_buf_deinit(&b);
        pair_deinit(&p);
    }
}

TEST(too_many_fields_or_a_body_reset_the_request)
{
    struct pair p;
    pair_init(&p);
    struct field f[PX_H3_HEADERS_MAX + 1] = {GET_FIELDS("GET", "/1")};
    for (size_t i = 4; i < PX_ARRAY_LEN(f); i++)
        f[i] = (struct field){"x", "y"};
    struct px_buf b;
    px_buf_init(&b, 1u << 20);
    put_message(&b, PX_STREAM_H3_FORWARD, f, PX_H3_HEADERS_MAX);
    fake_inject(&p.net.b, 400, px_buf_slice(&b), true);
    CHECK_INT(seen.requests, 1); /* as many as allowed */
    px_buf_clear(&b);
    put_message(&b, PX_STREAM_H3_FORWARD, f, PX_H3_HEADERS_MAX + 1);
    fake_inject(&p.net.b, 404, px_buf_slice(&b), true);
    px_buf_clear(&b);
    put_message(&b, PX_STREAM_H3_FORWARD, f, 4);
    px_buf_put(&b, PX_SLICE_LIT("\0\5hello"));
    fake_inject(&p.net.b, 408, px_buf_slice(&b), true);
    CHECK_INT(seen.requests, 1);
    CHECK(p.net.b.streams[404]->reset_wanted && p.net.b.streams[408]->reset_wanted);
    CHECK_INT(p.net.b.streams[404]->reset_code, 0x107);
    CHECK_INT(p.net.b.streams[408]->reset_code, 0x10e);
    run(&p);
    struct ask a = {0};
    ask(p.a, &a, false, "/10", 0);
    run(&p);
    CHECK_OK(a.err);
    px_buf_deinit(&b);
    pair_deinit(&p);
}

TEST(junk_ends_the_session_and_leaves_the_other)
{
    /* a alone has streams; what comes from b is injected. On a, forward is asking. */
    static const struct {
        int64_t id;
        const char *bytes;
        size_t len;
        bool fin, forward_dies, reverse_dies;
    } rows[] = {
        {3, "\2\0\4\0", 4, false, false, false},                 /* control, empty SETTINGS */
        {3, "\2\0\7\1\0", 5, false, true, false},                /* control without SETTINGS */
        {3, "\2\0\4\0", 4, true, true, false},                   /* control ends */
        {3, "\2\0\4\2\2\0", 6, false, true, false},              /* an HTTP/2 setting */
        {3, "\2\0\4\0\4\0", 6, false, true, false},              /* SETTINGS twice */
        {3, "\2\0\4\0\xd\1\1", 7, false, true, false},           /* MAX_PUSH_ID to a client */
        {3, "\3\0\4\0\xd\1\1", 7, false, false, false},          /* to a server */
        {3, "\3\0\4\0\x80\xf\7\0\2\4u", 11, false, false, true}, /* PRIORITY_UPDATE */
        {3, "\2\1\0", 3, false, true, false},                    /* push stream */
        {3, "\2\x21junkjunk", 10, false, false, false},          /* unknown type: stopped */
        {3, "\2\2\x3f\xe1\x1f", 5, false, true, false},          /* QPACK capacity we do not have */
        {3, "\2\3\x80", 3, false, true, false},                  /* QPACK ack of nothing */
        {3, "\2", 1, true, false, false},                        /* nothing at all */
        {3, "\2\x40", 2, true, true, false},                     /* half a stream type */
        {1, "\3\1\1\0", 4, true, false, true},                   /* half a field section */
        {1, "\3\0\1x", 4, false, false, true},                   /* DATA before HEADERS */
        {1, "\3\4\0", 3, false, false, true},                    /* SETTINGS on a request */
        {1, "\3\x21\3abc", 6, false, false, false},              /* unknown frame */
        {1, "\3\1\3\2\0\x80", 6, false, false, true},            /* dynamic table reference */
        {1, "\2\1\2\0\0", 5, false, false, false}, /* a request from the HTTP server */
        {1, "\7", 1, false, false, false},         /* no session of ours */
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        struct pair p;
        memset(&p, 0, sizeof(p));
        memset(&seen, 0, sizeof(seen));
        fake_net_init(&p.net);
        CHECK_OK(px_h3_new(&p.net.a, &server_ops, &p.va, &p.a));
        p.net.a.route = route;
        p.net.a.route_ctx = p.a;
        struct ask a = {0};
        ask(p.a, &a, false, "/1", 0);
        /* whole, or a byte at a time */
        for (size_t k = 0; k < (i % 2 == 0 ? 1 : rows[i].len); k++)
            fake_inject(&p.net.a, rows[i].id,
                        i % 2 == 0 ? px_slice(rows[i].bytes, rows[i].len)
                                   : px_slice(rows[i].bytes + k, 1),
                        rows[i].fin && (i % 2 == 0 || k + 1 == rows[i].len));
        bool forward_died = a.ends == 1, reverse_died = false;
        if (forward_died)
            CHECK_ERR(a.err, PX_EPROTO);
        struct ask b = {0};
        CHECK_ERR(px_h3_get(p.a, false, PX_SLICE_LIT("/1"), 0, &client_ops, &b, &b.x),
                  forward_died ? PX_ECLOSED : 0);
        /* the serving session answers a request, or refuses it when it is dead */
        struct field f[] = {GET_FIELDS("GET", "/none")};
        struct px_buf req;
        px_buf_init(&req, 1000);
        put_message(&req, PX_STREAM_H3_REVERSE, f, 4);
        fake_inject(&p.net.a, 401, px_buf_slice(&req), true);
        reverse_died = seen.requests == 0;
        if (forward_died != rows[i].forward_dies || reverse_died != rows[i].reverse_dies)
            px_test_fail(__FILE__, __LINE__, "row %zu: forward %d, reverse %d", i, forward_died,
                         reverse_died);
        px_buf_deinit(&req);
        fake_net_cut(&p.net);
        px_h3_free(p.a);
        CHECK_INT(a.ends, 1);
        CHECK_INT(b.ends, forward_died ? 0 : 1);
        CHECK_INT(p.net.a.stray_consumes, 0);
        p.a = NULL;
        fake_net_deinit(&p.net);
    }
}

TEST(both_ends_notice_a_dead_session_and_the_other_one_works_on)
{
    struct pair p;
    pair_init(&p);
    struct ask a[3] = {{.slow = true}, {0}, {0}}, rev = {0};
    ask(p.a, &a[0], false, "/5000000", 0);
    ask(p.a, &a[1], false, "/5000000", 0);
    run(&p);
    fake_inject(&p.net.b, 400, PX_SLICE_LIT("\2\4\0"), false);
    run(&p);
    for (size_t i = 0; i < 2; i++)
        CHECK_INT(a[i].ends, 1);
    CHECK(a[0].err != 0);
    CHECK_OK(a[1].err);
    CHECK_ERR(px_h3_get(p.a, false, PX_SLICE_LIT("/1"), 0, &client_ops, &a[2], &a[2].x),
              PX_ECLOSED);
    ask(p.b, &rev, false, "/300000", 0);
    run(&p);
    CHECK_OK(rev.err);
    CHECK_INT(rev.at, 300000);
    CHECK_INT(p.net.a.leaked + p.net.b.leaked, 0);
    pair_deinit(&p);
}

/* A response made by hand, towards a as the HTTP client. */
static void check_response(const struct field *f, size_t n, uint64_t asked_from, const char *rest,
                           size_t rest_len, unsigned status, int err)
{
    struct pair p;
    memset(&p, 0, sizeof(p));
    memset(&seen, 0, sizeof(seen));
    fake_net_init(&p.net);
    CHECK_OK(px_h3_new(&p.net.a, NULL, NULL, &p.a));
    struct ask a = {0};
    ask(p.a, &a, false, "/x", asked_from);
    struct px_buf b;
    px_buf_init(&b, 1u << 20);
    put_message(&b, 0, f, n);
    px_buf_put(&b, px_slice(rest, rest_len));
    struct fake_stream *s = p.net.a.streams[4];
    s->received = b.len - 1;
    s->ops->recv(s->ctx, &p.net.a, 4, px_slice_skip(px_buf_slice(&b), 1), true);
    CHECK_INT(a.ends, 1);
    CHECK_ERR(a.err, err);
    CHECK_INT(a.status, status);
    CHECK_INT(s->received, s->consumed);
    px_buf_deinit(&b);
    fake_net_cut(&p.net);
    px_h3_free(p.a);
    fake_net_deinit(&p.net);
}

TEST(a_partial_answer_must_be_the_part_asked_for)
{
    static const struct field ok[] = {{":status", "206"}, {"content-range", "bytes 5-6/9"}};
    static const struct field other[] = {{":status", "206"}, {"content-range", "bytes 4-6/9"}};
    static const struct field none[] = {{":status", "206"}};
    static const struct field bad[] = {{":status", "206"}, {"content-range", "bytes 5-9/9"}};
    static const struct field length[] = {
        {":status", "206"}, {"content-range", "bytes 5-6/9"}, {"content-length", "3"}};
    static const struct field whole[] = {{":status", "200"}, {"content-length", "0"}};
    check_response(ok, 2, 5, "", 0, 206, 0);
    check_response(ok, 2, 0, "", 0, 0, PX_EPROTO);
    check_response(other, 2, 5, "", 0, 0, PX_EPROTO);
    check_response(none, 1, 5, "", 0, 0, PX_EPROTO);
    check_response(bad, 2, 5, "", 0, 0, PX_EPROTO);
    check_response(length, 3, 5, "", 0, 0, PX_EPROTO);
    check_response(whole, 2, 5, "", 0, 200, 0);
}

TEST(a_lying_length_is_a_protocol_violation)
{
    static const struct field f[] = {{":status", "200"}, {"content-length", "2"}};
    check_response(f, 2, 0, "\0\1\0", 3, 0, PX_EPROTO);
    check_response(f, 2, 0, "\0\3\0\x1f\x3e", 5, 0, PX_EPROTO);
    check_response(f, 2, 0, "\0\2\0\x1f", 4, 200, 0);
}

TEST(ranges_are_parsed_strictly)
{
    static const struct {
        const char *text;
        bool ok;
        uint64_t first, last;
    } rows[] = {
        {"bytes=0-", true, 0, UINT64_MAX}, {"bytes=5-9", true, 5, 9},
        {"bytes=5-5", true, 5, 5},         {"bytes=5-4", false, 0, 0},
        {"bytes=-5", false, 0, 0},         {"bytes=5", false, 0, 0},
        {"bytes=", false, 0, 0},           {"bytes=1-2,4-5", false, 0, 0},
        {"bytes=01-2", false, 0, 0},       {"bytes=99999999999999999999-", false, 0, 0},
        {"lines=1-2", false, 0, 0},        {"", false, 0, 0},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        uint64_t first = 0, last = 0;
        CHECK_INT(px_h3_parse_range(px_slice_cstr(rows[i].text), &first, &last), rows[i].ok);
        CHECK(first == rows[i].first && last == rows[i].last);
    }
}

TEST(without_a_server_everything_is_404)
{
    struct pair p;
    memset(&p, 0, sizeof(p));
    memset(&seen, 0, sizeof(seen));
    fake_net_init(&p.net);
    CHECK_OK(px_h3_new(&p.net.a, NULL, NULL, &p.a));
    CHECK_OK(px_h3_new(&p.net.b, NULL, NULL, &p.b));
    p.net.a.route = p.net.b.route = route;
    p.net.a.route_ctx = p.a;
    p.net.b.route_ctx = p.b;
    struct ask a = {0};
    ask(p.a, &a, false, "/1", 0);
    run(&p);
    CHECK_INT(a.status, 404);
    CHECK_ERR(px_h3_get(p.a, false, PX_SLICE_LIT("x"), 0, &client_ops, &a, &a.x), PX_EINVAL);
    CHECK_ERR(px_h3_get(p.a, false, PX_SLICE_LIT(""), 0, &client_ops, &a, &a.x), PX_EINVAL);
    check_idle(&p);
    pair_deinit(&p);
}

TEST(a_peer_that_allows_too_few_streams_gets_no_session)
{
    for (int64_t max = 0; max < 6; max++) {
        struct pair p;
        memset(&p, 0, sizeof(p));
        fake_net_init(&p.net);
        p.net.uni_max = 4 * max;
        CHECK_ERR(px_h3_new(&p.net.a, NULL, NULL, &p.a), PX_EAGAIN);
        CHECK(p.net.a.producer == NULL);
        fake_run(&p.net);
        fake_net_deinit(&p.net);
    }
}
