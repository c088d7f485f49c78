/* What reading the local store costs: bench_store URI HASHPART [nar | info N].
 *
 * `nar` streams the path's NAR to nowhere and prints bytes a second; `info` asks N times for its
 * info, one after the other, and prints microseconds each. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "node/nix/store.h"

struct bench {
    uv_loop_t loop;
    struct px_store *store;
    struct px_slice hash_part;
    bool nar;
    unsigned long left, asked;
    uint64_t began, bytes, wakes;
    struct px_nar *n;
    struct px_path_info *info;
};

static void fail(const char *what, int err)
{
    fprintf(stderr, "%s: %s\n", what, px_strerror(err));
    exit(1);
}

static void end(struct bench *b)
{
    double seconds = (double)(uv_hrtime() - b->began) / 1e9;
    if (b->nar)
        printf("nar_bytes=%llu seconds=%.4f gb_per_s=%.2f wakes=%llu\n",
               (unsigned long long)b->bytes, seconds, (double)b->bytes / seconds / 1e9,
               (unsigned long long)b->wakes);
    else
        printf("infos=%lu us_each=%.2f\n", b->asked, seconds * 1e6 / (double)b->asked);
    px_nar_close(b->n);
    px_path_info_free(b->info);
    px_store_close(b->store);
}

static void take(void *ctx)
{
    struct bench *b = ctx;
    struct px_nar_chunk *c;
    int err;
    b->wakes++;
    while ((err = px_nar_next(b->n, &c)) == 0 && c != NULL) {
        b->bytes += c->data.len;
        px_nar_chunk_free(c);
    }
    if (err == 0)
        end(b);
    else if (err != PX_EAGAIN)
        fail("nar", err);
}

static void on_info(void *ctx, int err, struct px_path_info *owned_info);

static void ask(struct bench *b)
{
    struct px_store_query *q;
    int err = px_store_query(b->store, b->hash_part, on_info, b, &q);
    if (err != 0)
        fail("query", err);
}

static void on_info(void *ctx, int err, struct px_path_info *owned_info)
{
    struct bench *b = ctx;
    if (err != 0)
        fail("info", err);
    px_path_info_free(b->info);
    b->info = owned_info;
    if (!b->nar && --b->left > 0) {
        ask(b);
    } else if (!b->nar) {
        end(b);
    } else {
        b->began = uv_hrtime();
        err = px_nar_open(b->store, b->info, 0, take, b, &b->n);
        if (err != 0)
            fail("nar", err);
        take(b);
    }
}

int main(int argc, char **argv)
{
    struct bench b = {0};
    struct px_store_uri uri;
    if (argc < 4) {
        fprintf(stderr, "usage: bench_store URI HASHPART nar | info N\n");
        return 2;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    b.nar = strcmp(argv[3], "nar") == 0;
    b.left = b.asked = argc > 4 ? strtoul(argv[4], NULL, 10) : 1;
    b.hash_part = px_slice_cstr(argv[2]);
    int err = px_store_uri_parse(argv[1], &uri, NULL, 0);
    if (err == 0 && uv_loop_init(&b.loop) != 0)
        err = PX_ENOMEM;
    if (err == 0)
        err = px_store_open(&b.loop, &uri, NULL, &b.store);
    if (err != 0)
        fail(argv[1], err);
    fprintf(stderr, "%s\n", px_store_describe(b.store));
    b.began = uv_hrtime();
    ask(&b);
    uv_run(&b.loop, UV_RUN_DEFAULT);
    return 0;
}
