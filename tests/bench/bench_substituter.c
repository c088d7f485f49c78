/* The substituter in front of a fake peer that answers at once: what the HTTP front, the checks and
 * the hash cost by themselves. Prints its address and the paths to ask for with bench_http, then
 * serves until its input ends.
 *
 *   bench_substituter [NAR-BYTES] [HOLD-WHOLE-BYTES] */
#include <stdio.h>

#include "node/nix/substituter.h"
#include "tests/unit/node/fake_peer.h"
#include "transport/overlay_io.h"

static struct {
    uv_loop_t loop;
    struct px_substituter *s;
    struct fake_peer peer;
    struct fake_path path, *paths[1];
    uv_idle_t idle;
    uv_check_t check;
    uv_poll_t input;
} b;

static void on_idle(uv_idle_t *idle)
{
    (void)idle; /* keeps the loop turning while the peer has something to do */
}

static size_t list_peers(void *ctx, struct px_cache_peer **ret, size_t cap)
{
    (void)ctx;
    (void)cap;
    (void)uv_idle_start(&b.idle, on_idle); /* it will be asked, so there is something to do */
    ret[0] = &b.peer.pub;
    return 1;
}

/* The peer gives a window's worth a turn. */
static void on_check(uv_check_t *check)
{
    (void)check;
    bool more = false;
    for (int i = 0; i < 32 && fake_pump(&b.peer); i++)
        more = true;
    if (more)
        (void)uv_idle_start(&b.idle, on_idle);
    else
        (void)uv_idle_stop(&b.idle);
}

static void on_input(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    uv_stop(poll->loop);
}

static int start(size_t nar_size, size_t hold_whole)
{
    struct px_nix_secret_key key;
    static struct px_nix_public_key pub;
    if (px_crypto_init() != 0 || px_nix_key_generate("bench-1", &px_system_rng, &key) != 0 ||
        uv_loop_init(&b.loop) != 0)
        return PX_EIO;
    px_nix_secret_key_public(&key, &pub);
    fake_path_init(&b.path, 1, nar_size, &key);
    b.paths[0] = &b.path;
    fake_init(&b.peer, 0, b.paths, 1);
    b.peer.window = 4u * 1024 * 1024;
    struct px_substituter_config c = {.loop = &b.loop,
                                      .listen_fd = -1,
                                      .store_dir = "/nix/store",
                                      .priority = 30,
                                      .trusted_keys = &pub,
                                      .trusted_key_count = 1,
                                      .deadline = 250 * PX_MSEC,
                                      .stall = 10 * PX_SEC,
                                      .hold_whole = hold_whole,
                                      .hold_total = 8 * hold_whole,
                                      .peers = list_peers};
    int err = px_addr_parse(PX_SLICE_LIT("127.0.0.1:0"), &c.listen);
    (void)uv_check_init(&b.loop, &b.check);
    (void)uv_idle_init(&b.loop, &b.idle);
    (void)uv_check_start(&b.check, on_check);
    return err != 0 ? err : px_substituter_new(&c, &b.s);
}

int main(int argc, char **argv)
{
    char addr[PX_ADDR_TEXT_MAX];
    struct px_buf hash;
    size_t nar_size = argc > 1 ? strtoul(argv[1], NULL, 10) : 5000;
    int err = start(nar_size, argc > 2 ? strtoul(argv[2], NULL, 10) : 4u * 1024 * 1024);
    if (err != 0) {
        fprintf(stderr, "bench_substituter: %s\n", px_strerror(err));
        return 2;
    }
    px_buf_init(&hash, 64);
    (void)px_nix32_encode(&hash, px_slice(b.path.nar_hash, 32));
    printf("%s /%s.narinfo /nar/%.*s.nar?hash=%s\n",
           px_addr_format(px_substituter_local(b.s), addr), b.path.hash_part, (int)hash.len,
           (const char *)hash.data, b.path.hash_part);
    fflush(stdout);
    if (uv_poll_init(&b.loop, &b.input, 0) == 0)
        (void)uv_poll_start(&b.input, UV_READABLE | UV_DISCONNECT, on_input);
    (void)uv_run(&b.loop, UV_RUN_DEFAULT);
    return 0; /* the process's end is the clean-up */
}
