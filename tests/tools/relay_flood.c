/* Strangers that knock at a relay: whole handshakes of identities it does not know, RATE a second,
 * from SOURCES loopback addresses in turn. Each refusal is waited for, no longer than a second.
 *
 * usage: relay_flood RATE SECONDS SOURCES IP:PORT RELAY-ID
 * Prints "tried=… refused=… unheard=… skipped=… refused_per_s=…": unheard ones got no answer in
 * time, skipped ones were due while all sources waited. Exit code 1 if anybody got in. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "auth/identity.h"
#include "transport/overlay_io.h"

#define SOURCES_MAX 4096
#define PATIENCE    PX_SEC
#define TICK_MS     1

struct source {
    struct px_identity identity;
    struct px_overlay_io *io;
    struct px_link *link; /* NULL: free to knock */
    px_nsec knocked_at;
};

static struct {
    struct source *sources;
    size_t count, next;
    struct px_peer_id relay;
    struct px_addr at;
    uint64_t rate;
    px_nsec began, end;
    uv_loop_t loop;
    uv_timer_t timer;
    uint64_t tried, refused, unheard, skipped, in;
} f;

static int on_authorize(void *ctx, const struct px_peer_id *id)
{
    (void)ctx;
    return px_peer_id_eq(id, &f.relay) ? 0 : PX_EUNLISTED;
}

static void on_up(void *ctx, struct px_link *link)
{
    (void)ctx;
    (void)link;
    f.in++;
}

static void on_down(void *ctx, struct px_link *link, int err, bool by_peer, bool was_up)
{
    struct source *s = ctx;
    (void)link;
    (void)was_up;
    s->link = NULL;
    if (by_peer && err == PX_EREFUSED)
        f.refused++;
    else
        f.unheard++;
}

static void on_refused(void *ctx, const struct px_addr *remote, const struct px_peer_id *id,
                       int err, bool by_peer)
{
    (void)ctx; /* nobody dials us */
    (void)remote;
    (void)id;
    (void)err;
    (void)by_peer;
}

static const struct px_stream_ops *on_stream(void *ctx, struct px_link *link, int64_t id,
                                             uint8_t type, void **ret_ctx)
{
    (void)ctx;
    (void)link;
    (void)id;
    (void)type;
    (void)ret_ctx;
    return NULL;
}

static void on_path_changed(void *ctx, struct px_link *link)
{
    (void)ctx;
    (void)link;
}

static const struct px_overlay_ops ops = {.authorize = on_authorize,
                                          .up = on_up,
                                          .down = on_down,
                                          .refused = on_refused,
                                          .stream = on_stream,
                                          .path_changed = on_path_changed};

/* 127.1.0.1 and on, each a source of its own to the relay. */
static int start_source(size_t i)
{
    struct source *s = &f.sources[i];
    const struct px_addr from = {.ip = {127, (uint8_t)(1 + i / 250), 0, (uint8_t)(1 + i % 250)},
                                 .family = PX_ADDR_IP4};
    const struct px_overlay_config config = {.identity = &s->identity,
                                             .network = PX_SLICE_LIT("default"),
                                             .agent = PX_SLICE_LIT("stranger"),
                                             .ops = &ops,
                                             .ops_ctx = s};
    px_identity_generate(&px_system_rng, &s->identity);
    return px_overlay_io_new(&f.loop, &from, &config, &s->io);
}

static void knock(struct source *s, px_nsec now)
{
    f.tried++;
    s->knocked_at = now;
    if (px_overlay_io_dial(s->io, &f.relay, &f.at, s, &s->link) != 0) {
        s->link = NULL;
        f.unheard++;
    }
}

static void stop(void)
{
    uv_close((uv_handle_t *)&f.timer, NULL);
    for (size_t i = 0; i < f.count; i++)
        px_overlay_io_close(f.sources[i].io, NULL, NULL);
}

static void on_tick(uv_timer_t *t)
{
    px_nsec now = px_now_io();
    (void)t;
    if (now >= f.end) {
        stop();
        return;
    }
    uint64_t due = (now - f.began) * f.rate / PX_SEC;
    for (size_t i = 0; i < f.count && f.tried + f.skipped < due; i++) {
        struct source *s = &f.sources[f.next++ % f.count];
        if (s->link == NULL)
            knock(s, now);
        else if (now - s->knocked_at > PATIENCE)
            px_link_close(s->link, PX_CLOSE_SHUTDOWN);
    }
    if (f.tried + f.skipped < due)
        f.skipped = due - f.tried;
}

static int run(uint64_t seconds)
{
    struct rlimit lim;
    if (getrlimit(RLIMIT_NOFILE, &lim) == 0) {
        lim.rlim_cur = lim.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &lim);
    }
    uv_loop_init(&f.loop);
    for (size_t i = 0; i < f.count; i++)
        if (start_source(i) != 0) {
            fprintf(stderr, "no socket for source %zu\n", i);
            return 1;
        }
    f.began = px_now_io();
    f.end = f.began + seconds * PX_SEC;
    uv_timer_init(&f.loop, &f.timer);
    uv_timer_start(&f.timer, on_tick, 0, TICK_MS);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    printf("tried=%llu refused=%llu unheard=%llu skipped=%llu refused_per_s=%llu\n",
           (unsigned long long)f.tried, (unsigned long long)f.refused,
           (unsigned long long)f.unheard, (unsigned long long)f.skipped,
           (unsigned long long)(f.refused / seconds));
    return f.in != 0 || uv_loop_close(&f.loop) != 0;
}

int main(int argc, char **argv)
{
    uint64_t seconds, sources;
    if (argc != 6 || px_crypto_init() != 0 ||
        px_slice_parse_u64(px_slice_cstr(argv[1]), &f.rate) != 0 ||
        px_slice_parse_u64(px_slice_cstr(argv[2]), &seconds) != 0 || seconds == 0 ||
        px_slice_parse_u64(px_slice_cstr(argv[3]), &sources) != 0 || sources == 0 ||
        sources > SOURCES_MAX || px_addr_parse(px_slice_cstr(argv[4]), &f.at) != 0 ||
        px_peer_id_parse(px_slice_cstr(argv[5]), &f.relay) != 0)
        return 2;
    f.count = (size_t)sources;
    f.sources = calloc(f.count, sizeof(*f.sources));
    if (f.sources == NULL)
        return 1;
    int code = run(seconds);
    free(f.sources);
    return code;
}
