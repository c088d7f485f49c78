/* Disco packets from anywhere, and a peer that knows the keys. The first byte says which: even, the
 * input is given to the opener as it comes; odd, it is a script for both path machines, whose
 * packets are truly sealed: doubts, strays, forged senders, lost, late and repeated packets. The
 * path in use may only become one that answered, and nobody is sent more than came from there. */
#include "transport/link_path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define ADDRS 8 /* remote addresses there are; 0 is the peer's first one */
#define QUEUE 64

struct end {
    struct px_disco disco;
    struct px_link_path path;
    struct px_path current;
    unsigned allowed; /* bits: remote addresses proved */
    unsigned ponged;  /* bits: remote addresses a pong came from, ever */
    size_t in[ADDRS], out[ADDRS];
    uint64_t rng;
    uint8_t queue[QUEUE][PX_DISCO_LEN]; /* what it sent last */
    size_t sent;
    px_nsec now;
};

static void fill(void *ctx, void *buf, size_t len)
{
    struct end *e = ctx;
    uint8_t *out = buf;
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)((e->rng++ * 0x9e3779b97f4a7c15u) >> 56);
}

static struct px_addr addr(unsigned n)
{
    struct px_addr a;
    memset(&a, 0, sizeof(a));
    a.family = PX_ADDR_IP4;
    a.ip[0] = 10;
    a.ip[3] = (uint8_t)n;
    a.port = 1;
    return a;
}

static struct px_path from(unsigned n)
{
    return (struct px_path){addr(100), addr(n % ADDRS)};
}

static void on_send(void *ctx, const struct px_path *path, const struct px_disco_packet *p)
{
    struct end *e = ctx;
    int err = px_disco_seal(&e->disco, p, e->queue[e->sent++ % QUEUE]);
    px_assert(err == 0 && path->remote.ip[3] < ADDRS);
    e->out[path->remote.ip[3]] += PX_DISCO_LEN;
}

static void on_current(void *ctx, struct px_path *ret)
{
    *ret = ((struct end *)ctx)->current;
}

static bool on_is_proved(void *ctx, const struct px_path *path)
{
    return (((struct end *)ctx)->allowed >> path->remote.ip[3] & 1) != 0;
}

static void on_proved(void *ctx, const struct px_path *path)
{
    struct end *e = ctx;
    px_assert((e->ponged >> path->remote.ip[3] & 1) != 0);
    e->allowed |= 1u << path->remote.ip[3];
}

static int on_migrate(void *ctx, const struct px_path *path)
{
    struct end *e = ctx;
    px_assert(e->path.client && on_is_proved(e, path));
    e->current = *path;
    px_link_path_moved(&e->path, e->now);
    return 0;
}

static void on_poke(void *ctx)
{
    const struct end *e = ctx;
    px_assert(e->path.state == PX_LINK_PATH_DOUBT);
}

static const struct px_link_path_ops ops = {on_send,    on_current, on_is_proved, on_proved,
                                            on_migrate, on_poke,    on_poke};

static void end_init(struct end *e, bool client)
{
    struct px_noise_keys keys;
    memset(e, 0, sizeof(*e));
    memset(&keys, 7, sizeof(keys));
    keys.initiator_to_responder.bytes[0] = 8;
    e->now = 1000 * PX_SEC;
    e->rng = client ? 1 : 1000;
    e->current = from(0);
    e->allowed = 1;
    px_disco_init(&e->disco, client ? PX_NOISE_INITIATOR : PX_NOISE_RESPONDER, &keys);
    px_link_path_init(&e->path, client, &(struct px_rng){fill, e}, &ops, e);
}

static void take(struct end *e, struct px_slice datagram, unsigned sender)
{
    struct px_disco_packet p;
    struct px_path path = from(sender);
    if (px_disco_open(&e->disco, datagram, &p) != 0)
        return;
    e->in[sender % ADDRS] += PX_DISCO_LEN;
    if (p.type == PX_DISCO_PONG)
        e->ponged |= 1u << sender % ADDRS;
    px_link_path_input(&e->path, &path, &p, e->now);
}

static void act(struct end *e, struct end *other, uint8_t what, uint8_t arg)
{
    struct px_path path = from(arg);
    switch (what % 8) {
    case 0:
    case 1:
    case 2: /* one of the other's latest packets arrives, from wherever */
        if (other->sent > 0)
            take(e,
                 px_slice(other->queue[(other->sent - 1 - arg / ADDRS % 8) % QUEUE], PX_DISCO_LEN),
                 arg);
        break;
    case 3:
        px_link_path_doubt(&e->path, e->now);
        break;
    case 4:
        e->now += (px_nsec)arg * 20 * PX_MSEC;
        px_link_path_run(&e->path, arg % 16 == 0 ? e->now : 0, e->now);
        break;
    case 5:
        if (on_is_proved(e, &path)) /* QUIC reads it */
            break;
        px_link_path_stray(&e->path, &path, (size_t)arg * 6, e->now);
        e->in[arg % ADDRS] += (size_t)arg * 6;
        break;
    case 6: /* a peer that makes up its packets */
        if (other->sent < 100000) {
            struct px_disco_packet p = {.type = (enum px_disco_type)(1 + arg % 3), .nonce = arg};
            uint8_t bytes[PX_DISCO_LEN];
            int err = px_disco_seal(&other->disco, &p, bytes);
            px_assert(err == 0);
            take(e, px_slice(bytes, sizeof(bytes)), arg / 3);
        }
        break;
    default:
        px_link_path_start(&e->path, e->now);
        break;
    }
    for (unsigned i = 0; i < ADDRS; i++)
        px_assert((e->allowed >> i & 1) != 0 || e->out[i] <= e->in[i]);
}

static void run_script(struct px_slice script)
{
    static struct end client, server; /* large */
    end_init(&client, true);
    end_init(&server, false);
    for (; script.len >= 2; script = px_slice_skip(script, 2)) {
        bool first = (script.data[0] & 0x80) == 0;
        act(first ? &client : &server, first ? &server : &client, script.data[0], script.data[1]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct px_slice input = px_slice(data, len);
    if (len == 0 || px_crypto_init() != 0)
        return 0;
    input = px_slice_skip(input, 1);
    if (data[0] % 2 == 1) {
        run_script(input);
        return 0;
    }
    static struct end server;
    struct px_disco_packet p;
    uint64_t index = 0;
    end_init(&server, false);
    bool is_one = px_disco_index(input, &index) == 0;
    int err = px_disco_open(&server.disco, input, &p);
    px_assert(is_one || err == PX_EPARSE);
    return 0;
}
