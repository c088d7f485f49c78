/* How fast HTTP/3 and the cache service are by themselves: both ends in one thread, on a link and a
 * store in memory, without QUIC, TLS and disk. Prints requests a second for narinfos signed by
 * upstream, signed by us at each answer, and unknown ones, and bytes a second for NARs. */
#include <stdio.h>
#include <time.h>

#include "auth/authorized_keys.h"
#include "node/nix/cache_service.h"
#include "node/nix/narinfo_check.h"

#define FAKE_IDS_MAX 1000000
#include "tests/unit/node/fake_link.c"
#include "tests/unit/node/fake_store.c"

#define REQUESTS  100000
#define IN_FLIGHT 64
#define HASH(c)   c "123456789abcdfghijklmnpqrsvwxyz"

struct slot {
    struct px_h3_exchange *x;
    struct bench *b;
};

struct bench {
    struct fake_net net;
    struct px_h3 *asker, *server;
    size_t done, wrong;
    uint64_t bytes;
    unsigned expect;
};

static double seconds(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void on_response(void *ctx, const struct px_h3_response *res)
{
    struct slot *s = ctx;
    s->b->wrong += res->status != s->b->expect;
}

static void on_data(void *ctx, struct px_slice data)
{
    struct slot *s = ctx;
    s->b->bytes += data.len;
    px_h3_consume(s->x, data.len);
}

static void on_end(void *ctx, int err)
{
    struct slot *s = ctx;
    s->x = NULL;
    s->b->done++;
    s->b->wrong += err != 0;
}

static const struct px_h3_client_ops client_ops = {on_response, on_data, on_end};

static uint32_t grants(void *ctx, const struct px_peer_id *peer)
{
    (void)ctx, (void)peer;
    return PX_GRANT_CACHE | PX_GRANT_CACHE_OWN;
}

static const struct px_stream_ops *route(void *ctx, int64_t id, uint8_t type, void **ret_ctx)
{
    return px_h3_stream(ctx, id, type, ret_ctx);
}

static void run(struct px_cache_service *service, struct px_store *store, const char *what,
                const char *path, size_t requests, unsigned expect)
{
    static struct bench b;
    struct slot slots[IN_FLIGHT] = {{0}};
    struct px_cache_session *session;
    const struct px_peer_id peer = {.key = {1}};
    b = (struct bench){.expect = expect};
    fake_net_init(&b.net);
    b.net.chunk_max = 0;
    b.net.stream_window = b.net.conn_window = 6u << 20;
    px_assert(px_cache_session_new(service, &peer, &session) == 0);
    px_assert(px_h3_new(&b.net.a, NULL, NULL, &b.asker) == 0);
    px_assert(px_h3_new(&b.net.b, &px_cache_session_ops, session, &b.server) == 0);
    b.net.a.route = b.net.b.route = route;
    b.net.a.route_ctx = b.asker;
    b.net.b.route_ctx = b.server;
    size_t asked = 0, width = PX_MIN((size_t)IN_FLIGHT, requests);
    double begin = seconds();
    while (b.done < requests) {
        for (size_t i = 0; i < width && asked < requests; i++) {
            slots[i].b = &b;
            if (slots[i].x == NULL && px_h3_get(b.asker, false, px_slice_cstr(path), 0, &client_ops,
                                                &slots[i], &slots[i].x) == 0)
                asked++;
        }
        (void)fake_step(&b.net);
        (void)fake_store_run(store);
    }
    double took = seconds() - begin;
    printf("%-28s %8.0f requests/s %8.1f MB/s%s\n", what, (double)requests / took,
           (double)b.bytes / took / 1e6, b.wrong > 0 ? "  WRONG ANSWERS" : "");
    fake_net_cut(&b.net);
    px_h3_free(b.asker);
    px_h3_free(b.server);
    px_cache_session_free(session);
    fake_net_deinit(&b.net);
}

static void sign(struct fake_path *f, const struct px_nix_secret_key *key)
{
    struct px_buf print, sig;
    px_buf_init(&print, 10000);
    px_buf_init(&sig, sizeof(f->sigs[0]) - 1);
    struct px_path_info *p = make_info(f);
    px_assert(px_path_info_fingerprint(p, &print) == 0);
    px_assert(px_nix_sign(key, px_buf_slice(&print), &sig) == 0);
    memcpy(f->sigs[0], sig.data, sig.len);
    px_path_info_free(p);
    px_buf_deinit(&print);
    px_buf_deinit(&sig);
}

int main(void)
{
    static struct fake_path paths[] = {
        {.store_path = "/nix/store/" HASH("1") "-upstream", .nar_size = 200u << 20},
        {.store_path = "/nix/store/" HASH("2") "-own", .nar_size = 5000, .ultimate = true},
    };
    static struct px_store store;
    struct px_nix_secret_key upstream, own;
    struct px_nix_public_key share[1];
    struct px_cache_service *service;
    px_assert(px_crypto_init() == 0);
    px_assert(px_nix_key_generate("upstream-1", &px_system_rng, &upstream) == 0);
    px_assert(px_nix_key_generate("own-1", &px_system_rng, &own) == 0);
    px_nix_secret_key_public(&upstream, &share[0]);
    for (size_t i = 0; i < PX_ARRAY_LEN(paths); i++)
        for (size_t k = 0; k < 4; k++)
            (void)snprintf(paths[i].refs[k], sizeof(paths[i].refs[k]), "%s-some-library-%zu.2.3",
                           HASH("3"), k);
    sign(&paths[0], &upstream);
    fake_store_init(&store, paths, PX_ARRAY_LEN(paths));
    store.chunk = PX_NAR_CHUNK;
    const struct px_cache_service_config config = {.store = &store,
                                                   .share_keys = share,
                                                   .share_key_count = 1,
                                                   .own_key = &own,
                                                   .grants = grants};
    px_assert(px_cache_service_new(&config, &service) == 0);
    struct px_buf nar;
    px_buf_init(&nar, 1000);
    struct px_path_info *p = make_info(&paths[0]);
    px_assert(px_buf_put_cstr(&nar, "/") == 0 &&
              px_nar_url(p->nar_hash, px_path_info_hash_part(p), &nar) == 0 &&
              px_buf_put_u8(&nar, 0) == 0);
    run(service, &store, "narinfo, upstream signature", "/" HASH("1") ".narinfo", REQUESTS, 200);
    run(service, &store, "narinfo, signed here", "/" HASH("2") ".narinfo", REQUESTS, 200);
    run(service, &store, "narinfo, unknown", "/" HASH("4") ".narinfo", REQUESTS, 404);
    run(service, &store, "NAR of 200 MiB", (const char *)nar.data, 4, 200);
    px_path_info_free(p);
    px_buf_deinit(&nar);
    px_cache_service_free(service);
    return 0;
}
