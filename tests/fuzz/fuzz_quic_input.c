/* Datagrams into an endpoint that has an established connection: as they are, aimed at its
 * connection ID, or as changed copies of real packets. */
#include <stdlib.h>
#include <string.h>

#include "transport/quic.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define REAL_MAX 64

struct net {
    struct px_quic *to;
    struct px_path path;
    struct packet {
        size_t len;
        uint8_t data[9000];
    } queue[256];
    size_t head, tail;
};

static struct net nets[2]; /* [i] carries what endpoint i sends */
static struct packet real[REAL_MAX];
static size_t real_count;
static uint64_t seed;
static struct px_quic_conn *conns[2];

static void seeded_fill(void *ctx, void *buf, size_t len)
{
    (void)ctx;
    for (uint8_t *p = buf; len-- > 0; p++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        *p = (uint8_t)(seed >> 56);
    }
}

static int net_send(void *ctx, const struct px_path *path, unsigned ecn, struct px_slice data,
                    size_t segment)
{
    (void)path, (void)ecn;
    struct net *n = ctx;
    while (data.len > 0) {
        struct px_slice one = px_slice_take(data, segment);
        if (n->tail - n->head < PX_ARRAY_LEN(n->queue) && one.len <= 1500) {
            struct packet *p = &n->queue[n->tail++ % PX_ARRAY_LEN(n->queue)];
            p->len = one.len;
            memcpy(p->data, one.data, one.len);
        }
        data = px_slice_skip(data, one.len);
    }
    return 0;
}

static void on_secured(void *ctx)
{
    (void)ctx;
}
static void on_id(void *ctx, int64_t id)
{
    (void)ctx, (void)id;
}
static void on_recv(void *ctx, int64_t id, struct px_slice data, bool fin)
{
    (void)fin;
    px_quic_consume(conns[*(const int *)ctx], id, data.len);
}
static void on_code(void *ctx, int64_t id, uint64_t code)
{
    (void)ctx, (void)id, (void)code;
}
static void on_next(void *ctx, int64_t *id, struct px_slice *vec, size_t cap, size_t *count,
                    bool *fin)
{
    (void)ctx, (void)id, (void)vec, (void)cap, (void)count, (void)fin;
}
static void on_sent(void *ctx, int64_t id, uint64_t n, bool fin)
{
    (void)ctx, (void)id, (void)n, (void)fin;
}
static void on_closed(void *ctx, int err, uint64_t code, bool by_peer)
{
    (void)err, (void)code, (void)by_peer;
    conns[*(const int *)ctx] = NULL;
}

/* Whatever comes from anywhere is read. */
static void on_stray(void *ctx, const struct px_path *path, size_t len)
{
    (void)len;
    px_quic_conn_allow(conns[*(const int *)ctx], path, 1000000 * PX_SEC); /* for good */
}

static const struct px_quic_conn_ops ops = {
    .secured = on_secured,
    .stream_opened = on_id,
    .stream_recv = on_recv,
    .stream_acked = on_code,
    .stream_reset = on_code,
    .stream_stop = on_code,
    .stream_writable = on_id,
    .stream_closed = on_id,
    .streams_available = on_secured,
    .path_changed = on_secured,
    .silent = on_secured,
    .stray = on_stray,
    .next = on_next,
    .sent = on_sent,
    .blocked = on_id,
    .closed = on_closed,
};
static int side_of[2] = {0, 1};

static int on_accept(void *ctx, struct px_quic_conn *c, const struct px_quic_conn_ops **ret_ops,
                     void **ret_ctx)
{
    (void)ctx;
    if (conns[1] != NULL)
        return PX_EBUSY;
    conns[1] = c;
    *ret_ops = &ops;
    *ret_ctx = &side_of[1];
    return 0;
}

/* Passes everything on; keeps copies of what goes to the server. */
static void pump(px_nsec now)
{
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 2; i++) {
            struct net *n = &nets[i];
            for (; n->head < n->tail; n->head++) {
                const struct packet *p = &n->queue[n->head % PX_ARRAY_LEN(n->queue)];
                if (i == 0 && real_count < REAL_MAX)
                    real[real_count++] = *p;
                px_quic_input(n->to, &n->path, 0, px_slice(p->data, p->len), now);
            }
        }
        px_quic_run(nets[1].to, now);
        px_quic_run(nets[0].to, now);
    }
}

/* Input: records of { kind, length (2 bytes), bytes }. */
static void feed(struct px_quic *server, const uint8_t *data, size_t len, px_nsec now)
{
    while (len >= 3) {
        uint8_t kind = data[0];
        size_t n = PX_MIN((size_t)data[1] << 8 | data[2], PX_MIN(len - 3, 1500));
        uint8_t packet[1500];
        memcpy(packet, data + 3, n);
        size_t size = n;
        if (kind % 3 == 1 && n > 9 && real_count > 0) {
            /* The ID of a short-header packet stands behind its first byte. */
            memcpy(packet + 1, real[real_count - 1].data + 1, 8);
            packet[0] = (uint8_t)((packet[0] & 0x7f) | 0x40);
        } else if (kind % 3 == 2 && real_count > 0) {
            const struct packet *from = &real[kind / 3 % real_count];
            size = from->len;
            memcpy(packet, from->data, size);
            for (size_t i = 0; i + 2 < n && size > 0; i += 3)
                packet[((size_t)data[3 + i] << 8 | data[4 + i]) % size] ^= data[5 + i];
        }
        struct px_path path = nets[0].path;
        path.remote.port = (uint16_t)(path.remote.port + kind / 64); /* from elsewhere */
        px_quic_input(server, &path, kind & 3, px_slice(packet, size), now);
        now += (px_nsec)kind * PX_MSEC;
        px_quic_run(server, now);
        data += 3 + n;
        len -= 3 + n;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    memset(conns, 0, sizeof(conns));
    real_count = 0;
    seed = 1;
    px_nsec now = 100 * PX_SEC;
    struct px_addr addr[2] = {{.ip = {10, 0, 0, 1}, .port = 1, .family = PX_ADDR_IP4},
                              {.ip = {10, 0, 0, 2}, .port = 2, .family = PX_ADDR_IP4}};
    struct px_quic *q[2];
    for (int i = 0; i < 2; i++) {
        struct px_quic_config cfg = {.rng = {seeded_fill, NULL},
                                     .net = {net_send, &nets[i]},
                                     .accept = i == 1 ? on_accept : NULL};
        if (px_quic_new(&cfg, &q[i]) < 0)
            abort();
    }
    for (int i = 0; i < 2; i++) {
        nets[i].head = nets[i].tail = 0;
        nets[i].to = q[1 - i];
        nets[i].path = (struct px_path){.local = addr[1 - i], .remote = addr[i]};
    }
    struct px_path path = {.local = addr[0], .remote = addr[1]};
    if (px_quic_dial(q[0], &path, &ops, &side_of[0], now, &conns[0]) < 0)
        abort();
    px_quic_run(q[0], now);
    pump(now);
    feed(q[1], data, len, now);
    pump(now + 100 * PX_SEC);
    px_quic_free(q[0]);
    px_quic_free(q[1]);
    return 0;
}
