/* What a hostile machine does to a relay. Each mode ends with a line of counts.
 *
 *   relay_malice garbage  IP:PORT SECONDS PPS       datagrams of every kind a relay looks at,
 * broken: guessed legs, other first bytes, QUIC that is none relay_malice halfopen IP:PORT COUNT
 * RELAY-ID    QUIC that begins and says no more, each from an address of its own; what the relay
 * answered relay_malice tcp      IP:PORT SECONDS COUNT     connections: a third says nothing, a
 * third speaks no TLS, a third a byte of TLS now and then relay_malice spoof    IP:PORT SECONDS PPS
 * FROM  garbage whose source address is a lie (needs root) relay_malice packet   IP:PORT COUNT HEX
 * this datagram, COUNT times; prints the answers */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/encoding.h"
#include "relay/relay_packet.h"
#include "transport/overlay_io.h"
#include "transport/sockaddr.h"

#define POOL    4096 /* different datagrams */
#define BATCH   32
#define SOCKETS 16

static struct px_addr at;
static union px_sockaddr at_sa;
static socklen_t at_len;

static uint32_t luck = 12345;
static uint32_t dice(uint32_t sides)
{
    luck = luck * 1664525 + 1013904223;
    return (luck >> 8) % sides;
}

static void pause_until(px_nsec when)
{
    px_nsec now = px_now_io();
    if (when <= now)
        return;
    const struct timespec t = {.tv_sec = (time_t)((when - now) / PX_SEC),
                               .tv_nsec = (long)((when - now) % PX_SEC)};
    (void)nanosleep(&t, NULL);
}

static int socket_from(int type, const struct px_addr *from)
{
    union px_sockaddr sa;
    int fd = socket(at_sa.sa.sa_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    if (from != NULL) {
        socklen_t len = px_sockaddr_from_addr(from, &sa);
        if (bind(fd, &sa.sa, len) != 0) {
            close(fd);
            return -1;
        }
    }
    if (connect(fd, &at_sa.sa, at_len) != 0 && errno != EINPROGRESS) {
        close(fd);
        return -1;
    }
    return fd;
}

/* ---- garbage ---- */

struct piece {
    uint16_t len;
    uint8_t data[1400];
};

/* Relay packets of the right length with a leg that is a guess; QUIC with a version and lengths
 * that may be; anything. */
static void make_piece(struct piece *p)
{
    static const uint16_t lens[] = {0, 40, 40, 40, 40, 24, 24, 24};
    px_system_rng.fill(px_system_rng.ctx, p->data, sizeof(p->data));
    p->len = (uint16_t)(1 + dice(sizeof(p->data)));
    switch (dice(6)) {
    case 0: /* relay packets */
        p->data[0] = (uint8_t)(PX_RELAY_DATA + dice(8));
        if (p->data[0] != PX_RELAY_DATA)
            p->len = lens[p->data[0] - PX_RELAY_DATA];
        return;
    case 1:
        p->data[0] = (uint8_t)(0x10 + dice(16));
        return;
    case 2: /* short headers */
        p->data[0] = (uint8_t)(0x40 + dice(64));
        return;
    case 3: /* Initials of version 1, with connection IDs of 8 bytes */
        memcpy(p->data, "\xc3\0\0\0\x01\x08", 6);
        p->data[14] = 8;
        p->data[23] = 0; /* no token */
        p->data[24] = (uint8_t)(0x40 + dice(64));
        p->len = 1200;
        return;
    case 4: /* long headers */
        p->data[0] = (uint8_t)(0xc0 + dice(64));
        return;
    default:
        return;
    }
}

static struct piece *make_pool(void)
{
    struct piece *pool = calloc(POOL, sizeof(*pool));
    for (size_t i = 0; pool != NULL && i < POOL; i++)
        make_piece(&pool[i]);
    return pool;
}

static size_t send_batch(int fd, struct piece *pool)
{
    struct mmsghdr msgs[BATCH];
    struct iovec iov[BATCH];
    memset(msgs, 0, sizeof(msgs));
    for (size_t i = 0; i < BATCH; i++) {
        struct piece *p = &pool[dice(POOL)];
        p->data[1 + dice(7)]++; /* another leg */
        iov[i] = (struct iovec){p->data, p->len};
        msgs[i].msg_hdr.msg_iov = &iov[i];
        msgs[i].msg_hdr.msg_iovlen = 1;
    }
    int n = sendmmsg(fd, msgs, BATCH, 0);
    return n < 0 ? 0 : (size_t)n;
}

static int run_garbage(uint64_t seconds, uint64_t pps)
{
    int fds[SOCKETS];
    uint64_t sent = 0, answers = 0, answer_bytes = 0;
    uint8_t answer[2048];
    struct piece *pool = make_pool();
    if (pool == NULL)
        return 1;
    for (size_t i = 0; i < SOCKETS; i++)
        if ((fds[i] = socket_from(SOCK_DGRAM, NULL)) < 0)
            return 1;
    px_nsec began = px_now_io(), end = began + seconds * PX_SEC;
    for (px_nsec now = began; now < end; now = px_now_io()) {
        if (pps > 0 && sent > (now - began) * pps / PX_SEC)
            pause_until(now + PX_MSEC);
        sent += send_batch(fds[dice(SOCKETS)], pool);
    }
    for (size_t i = 0; i < SOCKETS; i++) {
        for (ssize_t n; (n = recv(fds[i], answer, sizeof(answer), 0)) > 0; answers++)
            answer_bytes += (uint64_t)n;
        close(fds[i]);
    }
    free(pool);
    printf("sent=%llu answers=%llu answer_bytes=%llu pps=%llu\n", (unsigned long long)sent,
           (unsigned long long)answers, (unsigned long long)answer_bytes,
           (unsigned long long)(sent / seconds));
    return 0;
}

/* ---- a source that is a lie ---- */

static size_t ip_udp(uint8_t *out, const struct px_addr *from, const struct piece *p)
{
    uint16_t total = (uint16_t)(28 + p->len), udp = (uint16_t)(8 + p->len);
    const uint8_t head[28] = {
        0x45,
        0,
        (uint8_t)(total >> 8),
        (uint8_t)total,
        0,
        0,
        0,
        0,
        64,
        IPPROTO_UDP,
        0,
        0,
        from->ip[0],
        from->ip[1],
        from->ip[2],
        from->ip[3],
        at.ip[0],
        at.ip[1],
        at.ip[2],
        at.ip[3],
        (uint8_t)(from->port >> 8),
        (uint8_t)from->port,
        (uint8_t)(at.port >> 8),
        (uint8_t)at.port,
        (uint8_t)(udp >> 8),
        (uint8_t)udp}; /* the kernel sums the first part; 0 is no sum of UDP */
    memcpy(out, head, sizeof(head));
    memcpy(out + sizeof(head), p->data, p->len);
    return total;
}

static int run_spoof(uint64_t seconds, uint64_t pps, const struct px_addr *from)
{
    uint8_t packet[1500];
    uint64_t sent = 0;
    struct piece *pool = make_pool();
    int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
    if (fd < 0 || pool == NULL)
        return 1;
    px_nsec began = px_now_io(), end = began + seconds * PX_SEC;
    for (px_nsec now = began; now < end; now = px_now_io()) {
        struct piece *p = &pool[dice(POOL)];
        p->data[1 + dice(7)]++;
        if (sent > (now - began) * pps / PX_SEC)
            pause_until(now + PX_MSEC);
        size_t len = ip_udp(packet, from, p);
        sent += sendto(fd, packet, len, 0, &at_sa.sa, at_len) == (ssize_t)len;
    }
    close(fd);
    free(pool);
    printf("sent=%llu\n", (unsigned long long)sent);
    return 0;
}

/* ---- half-open ---- */

struct deaf {
    struct px_identity identity;
    struct px_overlay *overlay;
    int fd;
};

static int deaf_send(void *ctx, const struct px_path *path, unsigned ecn, struct px_slice data,
                     size_t segment)
{
    struct deaf *d = ctx;
    (void)path;
    (void)ecn;
    for (size_t i = 0; i < data.len; i += segment)
        (void)!send(d->fd, data.data + i, PX_MIN(segment, data.len - i), 0);
    return 0;
}

static int deaf_authorize(void *ctx, const struct px_peer_id *id)
{
    (void)ctx;
    (void)id;
    return 0;
}

static void deaf_down(void *ctx, struct px_link *link, int err, bool by_peer, bool was_up)
{
    (void)ctx;
    (void)link;
    (void)err;
    (void)by_peer;
    (void)was_up;
}

static const struct px_overlay_ops deaf_ops = {.authorize = deaf_authorize, .down = deaf_down};

/* 127.2.0.1 and on. */
static int deaf_start(struct deaf *d, size_t i, const struct px_peer_id *relay)
{
    const struct px_addr from = {.ip = {127, 2, (uint8_t)(i / 250), (uint8_t)(1 + i % 250)},
                                 .family = PX_ADDR_IP4};
    const struct px_overlay_config config = {.identity = &d->identity,
                                             .network = PX_SLICE_LIT("default"),
                                             .agent = PX_SLICE_LIT("deaf"),
                                             .ops = &deaf_ops,
                                             .ops_ctx = d,
                                             .quic = {.rng = px_system_rng, .net = {deaf_send, d}}};
    const struct px_path path = {.local = from, .remote = at};
    struct px_link *link;
    px_identity_generate(&px_system_rng, &d->identity);
    d->fd = socket_from(SOCK_DGRAM, &from);
    int err = d->fd < 0 ? PX_EADDR : px_overlay_new(&config, &d->overlay);
    if (err == 0)
        err = px_overlay_dial(d->overlay, relay, &path, NULL, px_now_io(), &link);
    if (err == 0)
        px_overlay_run(d->overlay, px_now_io());
    return err;
}

static int run_halfopen(uint64_t count, const struct px_peer_id *relay)
{
    struct deaf *all = calloc(count, sizeof(*all));
    unsigned served = 0, retried = 0, silent = 0;
    uint8_t answer[2048];
    if (all == NULL)
        return 1;
    for (size_t i = 0; i < count; i++)
        if (deaf_start(&all[i], i, relay) != 0)
            return 1;
    pause_until(px_now_io() + PX_SEC);
    for (size_t i = 0; i < count; i++) {
        ssize_t n = recv(all[i].fd, answer, sizeof(answer), 0);
        bool retry = n > 0 && (answer[0] & 0xf0) == 0xf0; /* RFC 9000 §17.2.5 */
        retried += retry;
        served += n > 0 && !retry;
        silent += n <= 0;
        px_overlay_free(all[i].overlay);
        close(all[i].fd);
    }
    free(all);
    printf("served=%u retried=%u silent=%u\n", served, retried, silent);
    return 0;
}

/* ---- TCP ---- */

static int run_tcp(uint64_t seconds, uint64_t count)
{
    static const uint8_t hello[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    static const char http[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    int *fds = calloc(count, sizeof(*fds));
    unsigned ended = 0;
    if (fds == NULL)
        return 1;
    for (size_t i = 0; i < count; i++)
        fds[i] = socket_from(SOCK_STREAM, NULL);
    pause_until(px_now_io() + 200 * PX_MSEC);
    px_nsec end = px_now_io() + seconds * PX_SEC;
    for (size_t turn = 0; px_now_io() < end; turn++) {
        for (size_t i = 0; i < count; i++) {
            uint8_t byte = turn < sizeof(hello) - 1 ? hello[turn] : 'x';
            if (i % 3 == 1 && turn == 0)
                (void)!send(fds[i], http, sizeof(http) - 1, MSG_NOSIGNAL);
            else if (i % 3 == 2)
                (void)!send(fds[i], &byte, 1, MSG_NOSIGNAL);
        }
        pause_until(px_now_io() + 250 * PX_MSEC);
    }
    for (size_t i = 0; i < count; i++) {
        uint8_t rest[512];
        ssize_t n;
        while ((n = recv(fds[i], rest, sizeof(rest), 0)) > 0)
            ;
        ended += n == 0 || errno != EAGAIN;
        close(fds[i]);
    }
    free(fds);
    printf("connections=%llu ended=%u\n", (unsigned long long)count, ended);
    return 0;
}

/* ---- one packet ---- */

static int run_packet(uint64_t count, const char *hex)
{
    uint8_t packet[1500], answer[2048];
    char text[2 * sizeof(answer) + 1];
    size_t len;
    int fd = socket_from(SOCK_DGRAM, NULL);
    if (fd < 0 || px_hex_decode(px_slice_cstr(hex), packet, sizeof(packet), &len) != 0)
        return 2;
    for (uint64_t i = 0; i < count; i++)
        (void)!send(fd, packet, len, 0);
    px_nsec end = px_now_io() + PX_SEC / 2;
    for (px_nsec now = px_now_io(); now < end; now = px_now_io()) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, (int)((end - now) / PX_MSEC)) <= 0)
            break;
        ssize_t n = recv(fd, answer, sizeof(answer), 0);
        for (ssize_t i = 0; i < n; i++)
            snprintf(text + 2 * i, 3, "%02x", answer[i]);
        printf("answer %.*s\n", (int)(n > 0 ? 2 * n : 0), text);
    }
    close(fd);
    return 0;
}

int main(int argc, char **argv)
{
    uint64_t number[2] = {0, 0};
    struct px_peer_id relay;
    struct px_addr from;
    struct rlimit lim;
    if (argc < 5 || px_crypto_init() != 0 || px_addr_parse(px_slice_cstr(argv[2]), &at) != 0 ||
        px_slice_parse_u64(px_slice_cstr(argv[3]), &number[0]) != 0 || number[0] == 0)
        return 2;
    at_len = px_sockaddr_from_addr(&at, &at_sa);
    if (getrlimit(RLIMIT_NOFILE, &lim) == 0) {
        lim.rlim_cur = lim.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &lim);
    }
    const char *mode = argv[1];
    if (strcmp(mode, "packet") == 0)
        return run_packet(number[0], argv[4]);
    if (strcmp(mode, "halfopen") == 0)
        return px_peer_id_parse(px_slice_cstr(argv[4]), &relay) != 0
                   ? 2
                   : run_halfopen(number[0], &relay);
    if (px_slice_parse_u64(px_slice_cstr(argv[4]), &number[1]) != 0)
        return 2;
    if (strcmp(mode, "garbage") == 0)
        return run_garbage(number[0], number[1]);
    if (strcmp(mode, "tcp") == 0)
        return run_tcp(number[0], number[1]);
    if (strcmp(mode, "spoof") == 0 && argc == 6 &&
        px_addr_parse(px_slice_cstr(argv[5]), &from) == 0)
        return run_spoof(number[0], number[1], &from);
    return 2;
}
