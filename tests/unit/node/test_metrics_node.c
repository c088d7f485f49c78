/* What a node says of its peers as metrics: bounded, whatever number of them is connected. The
 * peers are this file's. */
#include "node/metrics_node.h"

#include "tests/test.h"

static size_t connected;

const char *px_peer_state_name(enum px_peer_state s)
{
    static const char *const names[] = {"offline", "waiting",   "connecting",
                                        "guest",   "connected", "held"};
    return names[s];
}

void px_peers_each(struct px_peers *p, void (*each)(void *ctx, const struct px_peer_info *info),
                   void *ctx)
{
    (void)p;
    for (size_t i = 0; i < connected; i++) {
        struct px_peer_info info = {.state = PX_PEER_CONNECTED, .listed = true, .name = "x"};
        info.id.key[0] = (uint8_t)i;
        info.id.key[1] = (uint8_t)(i >> 8);
        info.stats.bytes_sent = i;
        each(ctx, &info);
    }
}

static size_t lines_with(struct px_slice text, const char *prefix)
{
    struct px_slice line;
    size_t n = 0;
    while (px_slice_split(&text, '\n', &line))
        n += px_slice_starts(line, px_slice_cstr(prefix));
    return n;
}

static size_t samples_of(size_t peers, const char *prefix)
{
    static int somebody; /* never looked into */
    struct px_control_node n = {.peers = (struct px_peers *)(void *)&somebody};
    struct px_buf out;
    connected = peers;
    px_buf_init(&out, (size_t)1024 * 1024);
    CHECK_OK(px_metrics_node(&n, &out));
    size_t count = lines_with(px_buf_slice(&out), prefix);
    px_buf_deinit(&out);
    return count;
}

TEST(each_connected_peer_has_its_samples)
{
    CHECK_INT(samples_of(0, "peerix_peer_sent_bytes_total{"), 0);
    CHECK_INT(samples_of(3, "peerix_peer_sent_bytes_total{"), 3);
    CHECK_INT(samples_of(3, "peerix_peers_listed 3"), 1);
}

TEST(peers_beyond_the_limit_are_counted_without_samples_of_their_own)
{
    CHECK_INT(samples_of(PX_METRICS_PEERS_MAX + 44, "peerix_peer_sent_bytes_total{"),
              PX_METRICS_PEERS_MAX);
    CHECK_INT(samples_of(PX_METRICS_PEERS_MAX + 44, "peerix_peers{state=\"connected\"} 300"), 1);
}
