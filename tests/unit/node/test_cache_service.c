/* The cache service (cache_service.c, and cache_nar.c for bodies), asked over HTTP/3 through a link
 * in memory, with a store in memory. */
#include <stdlib.h>

#include "auth/authorized_keys.h"
#include "node/nix/cache_service.h"
#include "node/nix/narinfo_check.h"
#include "tests/test.h"

#include "tests/unit/node/fake_link.c"
#include "tests/unit/node/fake_store.c"

#define H(c) c "123456789abcdfghijklmnpqrsvwxyz" /* a hash part */

enum { UPSTREAM, OWN, FOREIGN, PATHS };                               /* the store's contents */
static const char *const hashes[] = {H("1"), H("2"), H("3"), H("4")}; /* the last is not there */

struct reply {
    struct px_h3_exchange *x;
    struct px_buf body;
    unsigned status;
    uint64_t length, total;
    size_t ends;
    int err;
    bool hold;
    uint64_t held;
};

static void on_response(void *ctx, const struct px_h3_response *res)
{
    struct reply *r = ctx;
    r->status = res->status;
    r->length = res->content_length;
    r->total = res->total;
}

static void on_body(void *ctx, struct px_slice data)
{
    struct reply *r = ctx;
    CHECK_OK(px_buf_put(&r->body, data));
    if (r->hold)
        r->held += data.len;
    else
        px_h3_consume(r->x, data.len);
}

static void on_end(void *ctx, int err)
{
    struct reply *r = ctx;
    r->ends++;
    r->err = err;
    r->x = NULL;
}

static const struct px_h3_client_ops client_ops = {on_response, on_body, on_end};

struct world {
    struct fake_net net;
    struct px_store store;
    struct fake_path paths[PATHS];
    struct px_nix_secret_key upstream, own, foreign;
    struct px_nix_public_key share[1];
    struct px_cache_service *service;
    struct px_cache_session *session;
    struct px_h3 *asker, *server;
    uint32_t grants;
    size_t grants_asked;
    char nar_path[PATHS][160];
};

static uint32_t grants(void *ctx, const struct px_peer_id *peer)
{
    struct world *w = ctx;
    CHECK_INT(peer->key[0], 7);
    w->grants_asked++;
    return w->grants;
}

static const struct px_stream_ops *route(void *ctx, int64_t id, uint8_t type, void **ret_ctx)
{
    return px_h3_stream(ctx, id, type, ret_ctx);
}

static void make_path(struct world *w, size_t i, const struct px_nix_secret_key *signer)
{
    struct fake_path *f = &w->paths[i];
    (void)snprintf(f->store_path, sizeof(f->store_path), "/nix/store/%s-p%zu", hashes[i], i);
    (void)snprintf(f->refs[0], sizeof(f->refs[0]), "%s-p%zu", hashes[i], i);
    f->nar_size = 100000 + i;
    struct px_path_info *p = make_info(f);
    struct px_buf b;
    px_buf_init(&b, 10000);
    if (signer != NULL) {
        struct px_buf sig;
        px_buf_init(&sig, sizeof(f->sigs[0]) - 1);
        CHECK_OK(px_path_info_fingerprint(p, &b));
        CHECK_OK(px_nix_sign(signer, px_buf_slice(&b), &sig));
        memcpy(f->sigs[0], sig.data, sig.len);
        px_buf_deinit(&sig);
        px_buf_clear(&b);
    }
    CHECK_OK(px_nar_url(p->nar_hash, px_path_info_hash_part(p), &b));
    (void)snprintf(w->nar_path[i], sizeof(w->nar_path[i]), "/%.*s", (int)b.len,
                   (const char *)b.data);
    px_buf_deinit(&b);
    px_path_info_free(p);
}

static void world_init(struct world *w, uint32_t granted, bool with_own_key)
{
    memset(w, 0, sizeof(*w));
    CHECK_OK(px_crypto_init());
    CHECK_OK(px_nix_key_generate("up-1", &px_system_rng, &w->upstream));
    CHECK_OK(px_nix_key_generate("own-1", &px_system_rng, &w->own));
    CHECK_OK(px_nix_key_generate("foreign-1", &px_system_rng, &w->foreign));
    px_nix_secret_key_public(&w->upstream, &w->share[0]);
    make_path(w, UPSTREAM, &w->upstream);
    make_path(w, OWN, NULL);
    make_path(w, FOREIGN, &w->foreign);
    w->paths[OWN].ultimate = true;
    w->grants = granted;
    fake_net_init(&w->net);
    fake_store_init(&w->store, w->paths, PATHS);
    const struct px_cache_service_config config = {.store = &w->store,
                                                   .share_keys = w->share,
                                                   .share_key_count = 1,
                                                   .own_key = with_own_key ? &w->own : NULL,
                                                   .grants = grants,
                                                   .grants_ctx = w};
    const struct px_peer_id peer = {.key = {7}};
    CHECK_OK(px_cache_service_new(&config, &w->service));
    CHECK_OK(px_cache_session_new(w->service, &peer, &w->session));
    CHECK_OK(px_h3_new(&w->net.a, NULL, NULL, &w->asker));
    CHECK_OK(px_h3_new(&w->net.b, &px_cache_session_ops, w->session, &w->server));
    w->net.a.route = w->net.b.route = route;
    w->net.a.route_ctx = w->asker;
    w->net.b.route_ctx = w->server;
}

static void world_deinit(struct world *w)
{
    fake_net_cut(&w->net);
    px_h3_free(w->asker);
    px_h3_free(w->server);
    px_cache_session_free(w->session);
    px_cache_service_free(w->service);
    fake_net_deinit(&w->net);
    CHECK(px_list_empty(&w->store.queries) && px_list_empty(&w->store.nars));
}

static void run(struct world *w)
{
    do
        fake_run(&w->net);
    while (fake_store_run(&w->store));
}

static void start(struct world *w, struct reply *r, bool head, const char *path, uint64_t first)
{
    bool hold = r->hold;
    memset(r, 0, sizeof(*r));
    r->hold = hold;
    px_buf_init(&r->body, 1u << 22);
    CHECK_OK(px_h3_get(w->asker, head, px_slice_cstr(path), first, &client_ops, r, &r->x));
}

/* Asks and waits; the body is the caller's to free. */
static void get(struct world *w, struct reply *r, bool head, const char *path, uint64_t first)
{
    r->hold = false;
    start(w, r, head, path, first);
    run(w);
    CHECK_INT(r->ends, 1);
    CHECK_OK(r->err);
}

static unsigned status_of(struct world *w, bool head, const char *path)
{
    struct reply r;
    get(w, &r, head, path, 0);
    px_buf_deinit(&r.body);
    return r.status;
}

static void narinfo_path(char out[64], size_t i)
{
    (void)snprintf(out, 64, "/%s.narinfo", hashes[i]);
}

TEST(narinfo_nar_and_head_follow_one_policy)
{

    static const struct {
        uint32_t grants;
        bool own_key;
        unsigned status[PATHS];
    } rows[] = {
        {0, true, {404, 404, 404}},
        {PX_GRANT_CACHE, true, {200, 404, 404}},
        {PX_GRANT_CACHE_OWN, true, {404, 200, 404}},
        {PX_GRANT_CACHE | PX_GRANT_CACHE_OWN, true, {200, 200, 404}},
        {PX_GRANT_CACHE | PX_GRANT_CACHE_OWN, false, {200, 404, 404}},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        struct world w;
        world_init(&w, rows[i].grants, rows[i].own_key);
        for (size_t k = 0; k < PATHS; k++) {
            char path[64];
            narinfo_path(path, k);
            CHECK_INT(status_of(&w, false, path), rows[i].status[k]);
            CHECK_INT(status_of(&w, true, path), rows[i].status[k]);
            CHECK_INT(status_of(&w, false, w.nar_path[k]), rows[i].status[k]);
            CHECK_INT(status_of(&w, true, w.nar_path[k]), rows[i].status[k]);
        }
        if (rows[i].grants == 0)
            CHECK_INT(w.store.queries_asked, 0);
        world_deinit(&w);
    }
}

TEST(not_shared_looks_like_unknown)
{
    struct world w;
    world_init(&w, PX_GRANT_CACHE, true);
    size_t bytes[3];
    static const size_t which[] = {FOREIGN, OWN, PATHS};
    for (size_t i = 0; i < 3; i++) {
        char path[64];
        narinfo_path(path, which[i]);
        uint64_t stream = (uint64_t)w.net.a.next_bidi;
        struct reply r;
        r.hold = false;
        start(&w, &r, false, path, 0);
        fake_run(&w.net);
        CHECK(fake_store_run(&w.store));
        /* count what the server puts on the stream */
        struct fake_stream *s = find(&w.net.b, (int64_t)stream);
        CHECK(s != NULL);
        bytes[i] = 0;
        while (find(&w.net.b, (int64_t)stream) == s) {
            bytes[i] = (size_t)s->sent;
            if (!fake_step(&w.net))
                break;
        }
        CHECK_INT(r.status, 404);
        CHECK_INT(r.length, 0);
        CHECK_INT(r.body.len, 0);
        px_buf_deinit(&r.body);
    }
    CHECK_INT(bytes[0], bytes[2]);
    CHECK_INT(bytes[1], bytes[2]);
    world_deinit(&w);
}

TEST(a_narinfo_says_all_and_is_signed_when_it_is_ours)
{
    struct world w;
    world_init(&w, PX_GRANT_CACHE | PX_GRANT_CACHE_OWN, true);
    for (size_t i = 0; i < FOREIGN; i++) {
        char path[64];
        struct reply r, h;
        narinfo_path(path, i);
        get(&w, &r, false, path, 0);
        get(&w, &h, true, path, 0);
        CHECK_INT(r.length, r.body.len);
        CHECK_INT(h.length, r.length);
        CHECK_INT(h.body.len, 0);
        struct px_path_info *p;
        CHECK_OK(px_narinfo_parse(px_buf_slice(&r.body), &p));
        CHECK_SLICE(p->store_path, px_slice_cstr(w.paths[i].store_path));
        CHECK_SLICE(p->compression, PX_SLICE_LIT("none"));
        CHECK_SLICE(p->url, px_slice_cstr(w.nar_path[i] + 1));
        CHECK_INT(p->nar_size, w.paths[i].nar_size);
        CHECK_INT(p->ref_count, 1);
        CHECK_INT(p->sig_count, 1);
        struct px_nix_public_key own;
        px_nix_secret_key_public(&w.own, &own);
        struct px_buf print;
        px_buf_init(&print, 10000);
        CHECK_OK(px_path_info_fingerprint(p, &print));
        CHECK(px_nix_verify(i == OWN ? &own : w.share, 1, p->sigs[0], px_buf_slice(&print)));
        px_buf_deinit(&print);
        px_path_info_free(p);
        px_buf_deinit(&r.body);
        px_buf_deinit(&h.body);
    }
    world_deinit(&w);
}

TEST(a_nar_is_served_from_any_offset)
{
    struct world w;
    world_init(&w, PX_GRANT_CACHE, false);
    const uint64_t size = w.paths[UPSTREAM].nar_size;
    const uint64_t offsets[] = {0, 1, 9999, 10000, 10001, size - 1};
    for (size_t i = 0; i < PX_ARRAY_LEN(offsets); i++) {
        struct reply r;
        w.store.nars_pause = i % 2 == 1;
        get(&w, &r, false, w.nar_path[UPSTREAM], offsets[i]);
        CHECK_INT(r.status, offsets[i] == 0 ? 200 : 206);
        CHECK_INT(r.body.len, size - offsets[i]);
        CHECK_INT(r.length, size - offsets[i]);
        CHECK_INT(r.total, offsets[i] == 0 ? 0 : size);
        for (size_t k = 0; k < r.body.len; k++)
            CHECK_INT(r.body.data[k], fake_nar_byte(offsets[i] + k));
        px_buf_deinit(&r.body);
    }
    struct reply r;
    get(&w, &r, false, w.nar_path[UPSTREAM], size);
    CHECK_INT(r.status, 416);
    px_buf_deinit(&r.body);
    CHECK_INT(w.net.a.leaked + w.net.b.leaked, 0);
    world_deinit(&w);
}

/* SPEC relay §8: bodies of NARs, as far as the asker's end has acknowledged them. */
TEST(bytes_of_nars_that_arrived_are_counted_and_nothing_else)
{
    struct world w;
    struct reply r;
    char narinfo[64];
    world_init(&w, PX_GRANT_CACHE, false);
    const uint64_t size = w.paths[UPSTREAM].nar_size;
    narinfo_path(narinfo, UPSTREAM);
    CHECK_INT(status_of(&w, false, narinfo), 200);
    CHECK_INT(status_of(&w, true, w.nar_path[UPSTREAM]), 200);
    CHECK_INT(status_of(&w, false, w.nar_path[FOREIGN]), 404);
    CHECK_INT(px_cache_session_sent(w.session), 0);
    CHECK_INT(status_of(&w, false, w.nar_path[UPSTREAM]), 200);
    CHECK_INT(px_cache_session_sent(w.session), size);
    get(&w, &r, false, w.nar_path[UPSTREAM], size - 7);
    px_buf_deinit(&r.body);
    CHECK_INT(px_cache_session_sent(w.session), size + 7);
    world_deinit(&w);
}

TEST(requests_that_mean_nothing_are_404_or_400)
{
    static const struct {
        const char *path;
        unsigned status;
    } rows[] = {
        {"/", 404},
        {"/nix-cache-info", 404},
        {"/" H("1") ".narinf", 404},
        {"/" H("1") ".narinfo/", 404},
        {"/../" H("1") ".narinfo", 404},
        {"/" H("e") ".narinfo", 404},
        {"/log/" H("1") "-x.drv", 404},
        {"/%zz", 400},
        {"/a%0ab", 400},
        {"/nar/1.nar?hash=" H("1"), 404},
    };
    struct world w;
    world_init(&w, PX_GRANT_CACHE, false);
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++)
        CHECK_INT(status_of(&w, false, rows[i].path), rows[i].status);
    /* the NAR of one path under the name of another */
    char mixed[200];
    const char *query = strchr(w.nar_path[UPSTREAM], '?');
    (void)snprintf(mixed, sizeof(mixed), "%.*s%s",
                   (int)(strchr(w.nar_path[OWN], '?') - w.nar_path[OWN]), w.nar_path[OWN], query);
    CHECK_INT(status_of(&w, false, mixed), 404);
    world_deinit(&w);
}

TEST(a_store_that_cannot_answer_is_503_and_the_next_request_works)
{
    struct world w;
    world_init(&w, PX_GRANT_CACHE, false);
    char path[64];
    narinfo_path(path, UPSTREAM);
    w.store.query_err = PX_EBUSY;
    CHECK_INT(status_of(&w, false, path), 503);
    w.store.query_err = 0;
    w.store.answer_err = PX_EIO;
    CHECK_INT(status_of(&w, false, path), 503);
    w.store.answer_err = 0;
    w.store.open_err = PX_EBUSY;
    CHECK_INT(status_of(&w, false, w.nar_path[UPSTREAM]), 503);
    w.store.open_err = 0;
    CHECK_INT(status_of(&w, false, path), 200);
    CHECK_INT(status_of(&w, false, w.nar_path[UPSTREAM]), 200);
    world_deinit(&w);
}

TEST(a_nar_that_fails_on_the_way_is_cut)
{
    struct world w;
    world_init(&w, PX_GRANT_CACHE, false);
    w.store.nar_fails_at = 50000;
    struct reply r = {0};
    start(&w, &r, false, w.nar_path[UPSTREAM], 0);
    run(&w);
    CHECK_INT(r.ends, 1);
    CHECK_ERR(r.err, PX_ECANCELED);
    CHECK(r.body.len <= 50000);
    CHECK(px_list_empty(&w.store.nars));
    px_buf_deinit(&r.body);
    world_deinit(&w);
}

TEST(one_peer_may_stream_so_many_nars_and_no_more)
{
    struct world w;
    world_init(&w, PX_GRANT_CACHE, false);
    w.net.stream_window = 20000;
    struct reply r[PX_CACHE_PEER_NARS_MAX + 1], more;
    for (size_t i = 0; i < PX_CACHE_PEER_NARS_MAX; i++) {
        r[i].hold = true;
        start(&w, &r[i], false, w.nar_path[UPSTREAM], 0);
    }
    run(&w);
    CHECK_INT(w.store.nars_opened, PX_CACHE_PEER_NARS_MAX);
    get(&w, &more, false, w.nar_path[UPSTREAM], 0);
    CHECK_INT(more.status, 503);
    px_buf_deinit(&more.body);
    /* one given up makes room */
    px_h3_cancel(r[0].x);
    run(&w);
    get(&w, &more, false, w.nar_path[UPSTREAM], 0);
    CHECK_INT(more.status, 200);
    px_buf_deinit(&more.body);
    world_deinit(&w);
    for (size_t i = 0; i < PX_CACHE_PEER_NARS_MAX; i++)
        px_buf_deinit(&r[i].body);
}

TEST(an_asker_that_gives_up_frees_what_it_held)
{
    for (int steps = 0; steps < 16; steps++) {
        struct world w;
        world_init(&w, PX_GRANT_CACHE, false);
        w.store.nars_pause = true;
        struct reply a = {0}, b = {0};
        char path[64];
        narinfo_path(path, UPSTREAM);
        start(&w, &a, false, w.nar_path[UPSTREAM], 0);
        start(&w, &b, false, path, 0);
        for (int i = 0; i < steps; i++) {
            (void)fake_step(&w.net);
            if (i % 3 == 2)
                (void)fake_store_run(&w.store);
        }
        if (a.x != NULL)
            px_h3_cancel(a.x);
        if (b.x != NULL)
            px_h3_cancel(b.x);
        run(&w);
        CHECK(px_list_empty(&w.store.queries) && px_list_empty(&w.store.nars));
        CHECK_INT(w.net.a.leaked + w.net.b.leaked, 0);
        CHECK_INT(w.net.b.in_flight + w.net.a.in_flight, 0);
        px_buf_deinit(&a.body);
        px_buf_deinit(&b.body);
        world_deinit(&w);
    }
}

TEST(a_grant_taken_away_counts_at_once)
{
    struct world w;
    world_init(&w, PX_GRANT_CACHE, false);
    char path[64];
    narinfo_path(path, UPSTREAM);
    struct reply r = {0};
    start(&w, &r, false, path, 0);
    fake_run(&w.net); /* the store has been asked */
    CHECK_INT(w.store.queries_asked, 1);
    w.grants = 0;
    run(&w);
    CHECK_INT(r.status, 404);
    px_buf_deinit(&r.body);
    world_deinit(&w);
}
