/* Many peers for one daemon: what each connected peer costs it.
 *
 *   bench_swarm keys COUNT SEED               prints an authorized_keys file of COUNT peers
 *   bench_swarm dial COUNT SEED ID ADDR       connects them all to the daemon ID at ADDR, prints
 *       `connected COUNT`, and holds them until stdin ends
 * The keys follow from SEED: they are worth nothing outside a benchmark. */
#include <stdio.h>
#include <stdlib.h>

#include "auth/authorized_keys.h"
#include "transport/overlay_io.h"

#define COUNT_MAX 4000

struct swarm;
struct member {
    struct swarm *swarm;
    struct px_identity identity;
    struct px_overlay_io *io;
    bool up;
};

struct swarm {
    uv_loop_t loop;
    uv_pipe_t input;
    struct member *members;
    size_t count, up;
    bool over;
};

static void die(const char *what, int err)
{
    fprintf(stderr, "bench_swarm: %s: %s\n", what, px_strerror(err));
    exit(1);
}

static void seeded_fill(void *ctx, void *dst, size_t len)
{
    uint64_t *state = ctx; /* splitmix64 */
    for (uint8_t *at = dst, *end = at + len; at < end; at++) {
        uint64_t z = *state += 0x9e3779b97f4a7c15u;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        *at = (uint8_t)(z ^ (z >> 31));
    }
}

static void make_identities(struct swarm *s, const char *count, const char *seed)
{
    uint64_t state, n;
    if (px_slice_parse_u64(px_slice_cstr(count), &n) != 0 || n == 0 || n > COUNT_MAX ||
        px_slice_parse_u64(px_slice_cstr(seed), &state) != 0)
        die("COUNT or SEED", PX_EPARSE);
    const struct px_rng rng = {.fill = seeded_fill, .ctx = &state};
    s->count = n;
    s->members = calloc(n, sizeof(*s->members));
    if (s->members == NULL)
        die("start", PX_ENOMEM);
    for (size_t i = 0; i < n; i++) {
        s->members[i].swarm = s;
        px_identity_generate(&rng, &s->members[i].identity);
    }
}

static void print_keys(const struct swarm *s)
{
    for (size_t i = 0; i < s->count; i++) {
        char id[PX_PEER_ID_TEXT_MAX];
        printf("%s grant=cache\n", px_peer_id_format(&s->members[i].identity.id, id));
    }
}

static int on_authorize(void *ctx, const struct px_peer_id *id)
{
    (void)ctx, (void)id;
    return 0;
}

static void on_up(void *ctx, struct px_link *link)
{
    struct member *m = ctx;
    (void)link;
    m->up = true;
    if (++m->swarm->up == m->swarm->count) {
        printf("connected %zu\n", m->swarm->up);
        fflush(stdout);
    }
}

static void on_down(void *ctx, struct px_link *link, int err, bool by_peer, bool was_up)
{
    struct member *m = ctx;
    (void)link, (void)by_peer, (void)was_up;
    if (!m->swarm->over)
        die("link", err);
}

static void on_refused(void *ctx, const struct px_addr *remote, const struct px_peer_id *id,
                       int err, bool by_peer)
{
    (void)ctx, (void)remote, (void)id, (void)err, (void)by_peer;
}

/* The daemon's HTTP/3 streams: nothing is answered, nobody asks. */
static const struct px_stream_ops *on_stream(void *ctx, struct px_link *link, int64_t id,
                                             uint8_t type, void **ret_ctx)
{
    (void)ctx, (void)link, (void)id, (void)type, (void)ret_ctx;
    return NULL;
}

static const struct px_overlay_ops overlay_ops = {.authorize = on_authorize,
                                                  .up = on_up,
                                                  .down = on_down,
                                                  .refused = on_refused,
                                                  .stream = on_stream};

static void dial(struct member *m, const struct px_peer_id *id, const struct px_addr *addr)
{
    struct px_addr bind;
    struct px_link *link;
    struct px_overlay_config config = {.identity = &m->identity,
                                       .network = PX_SLICE_LIT("default"),
                                       .agent = PX_SLICE_LIT("bench_swarm"),
                                       .ops = &overlay_ops,
                                       .ops_ctx = m};
    int err = px_addr_parse(PX_SLICE_LIT("127.0.0.1:0"), &bind);
    if (err == 0)
        err = px_overlay_io_new(&m->swarm->loop, &bind, &config, &m->io);
    if (err == 0)
        err = px_overlay_io_dial(m->io, id, addr, m, &link);
    if (err != 0)
        die("dial", err);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
    static char buf[64];
    (void)h, (void)suggested;
    *ret = uv_buf_init(buf, sizeof(buf));
}

static void on_input(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct swarm *s = stream->data;
    (void)buf;
    if (n >= 0)
        return;
    s->over = true;
    for (size_t i = 0; i < s->count; i++)
        px_overlay_io_close(s->members[i].io, NULL, NULL);
    uv_close((uv_handle_t *)stream, NULL);
}

static void run(struct swarm *s, const char *id_text, const char *addr_text)
{
    struct px_peer_id id;
    struct px_addr addr;
    if (px_peer_id_parse(px_slice_cstr(id_text), &id) != 0 ||
        px_addr_parse(px_slice_cstr(addr_text), &addr) != 0)
        die("ID or ADDR", PX_EPARSE);
    s->input.data = s;
    if (uv_loop_init(&s->loop) != 0 || uv_pipe_init(&s->loop, &s->input, 0) != 0 ||
        uv_pipe_open(&s->input, 0) != 0 ||
        uv_read_start((uv_stream_t *)&s->input, on_alloc, on_input) != 0)
        die("loop", PX_EIO);
    for (size_t i = 0; i < s->count; i++) {
        dial(&s->members[i], &id, &addr);
        if (i % 16 == 15) /* no more than a node under way takes without asking for a Retry */
            (void)uv_run(&s->loop, UV_RUN_NOWAIT);
    }
    (void)uv_run(&s->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&s->loop) != 0)
        die("loop", PX_EBUSY);
}

int main(int argc, char **argv)
{
    static struct swarm s;
    if (px_crypto_init() != 0)
        die("libsodium", PX_ECRYPTO);
    bool keys = argc == 4 && strcmp(argv[1], "keys") == 0;
    bool dials = argc == 6 && strcmp(argv[1], "dial") == 0;
    if (!keys && !dials) {
        fprintf(stderr, "usage: bench_swarm keys COUNT SEED | dial COUNT SEED ID ADDR\n");
        return 2;
    }
    make_identities(&s, argv[2], argv[3]);
    if (keys)
        print_keys(&s);
    else
        run(&s, argv[4], argv[5]);
    for (size_t i = 0; i < s.count; i++)
        px_identity_wipe(&s.members[i].identity);
    free(s.members);
    return 0;
}
