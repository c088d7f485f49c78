/* See metrics.h. Counters since start; nothing that names a peer. */
#include "cmd_relay/metrics.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "node/http_server.h"
#include "node/metrics.h"
#include "transport/sockaddr.h"

#define PAGE_MAX        ((size_t)64 * 1024)
#define CONNECTIONS_MAX 16
#define CONN_MEMORY     ((size_t)16 * 1024)
#define IDLE_SECONDS    10

struct px_relay_metrics {
    struct px_relay_metrics_config config;
    struct px_http_server *http;
    struct px_addr local;
    px_nsec started_at;
};

/* ---- what is measured ---- */

static void put(struct px_metrics *m, const char *name, enum px_metric_type type, const char *help,
                uint64_t value)
{
    px_metrics_family(m, name, type, help);
    px_metrics_u64(m, NULL, 0, value);
}

static void put_dropped(struct px_metrics *m, const struct px_circuits_stats *c)
{
    const struct {
        const char *why;
        uint64_t n;
    } rows[] = {{"rate", c->dropped_rate},
                {"address", c->dropped_address},
                {"unknown", c->dropped_unknown},
                {"unopened", c->dropped_unopened},
                {"malformed", c->dropped_malformed}};
    px_metrics_family(m, "peerix_relay_dropped_packets_total", PX_METRIC_COUNTER,
                      "Relay packets not forwarded, by reason.");
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++)
        px_metrics_u64(m, &(struct px_metric_label){"reason", rows[i].why}, 1, rows[i].n);
}

static void put_nodes(struct px_metrics *m, const struct px_relay_server_stats *s)
{
    put(m, "peerix_relay_nodes", PX_METRIC_GAUGE, "Nodes with a link.", s->nodes);
    put(m, "peerix_relay_strangers", PX_METRIC_GAUGE,
        "Of them, those that are neither member nor vouched.", s->limited);
    put(m, "peerix_relay_reservations", PX_METRIC_GAUGE, "Live reservations.", s->reservations);
    put(m, "peerix_relay_records", PX_METRIC_GAUGE, "Records in the registry.", s->records);
    put(m, "peerix_relay_invites", PX_METRIC_GAUGE, "Open invites.", s->invites);
    put(m, "peerix_relay_requests_total", PX_METRIC_COUNTER, "Control messages.", s->requests);
    put(m, "peerix_relay_refused_requests_total", PX_METRIC_COUNTER,
        "Of them, refused by a limit or for lack of a right.", s->refused);
    put(m, "peerix_relay_rate_limited_requests_total", PX_METRIC_COUNTER,
        "Of them, too many in too short a time.", s->rate_limited);
    put(m, "peerix_relay_malformed_frames_total", PX_METRIC_COUNTER,
        "Control frames that made no sense; each ended its link.", s->malformed);
    put(m, "peerix_relay_unheard_packets_total", PX_METRIC_COUNTER,
        "Packets of handshakes dropped, by the limit of a refused source or of all.",
        s->hits[PX_RELAY_LIMIT_REFUSED_SOURCES] + s->hits[PX_RELAY_LIMIT_WAITING]);
    put(m, "peerix_relay_pipes", PX_METRIC_GAUGE, "TCP connections of nodes without UDP.",
        s->pipes);
    put(m, "peerix_relay_refused_pipes_total", PX_METRIC_COUNTER,
        "TCP connections closed unheard, too many at a time of their source.",
        s->hits[PX_RELAY_LIMIT_PIPES]);
    put(m, "peerix_relay_pipe_dropped_packets_total", PX_METRIC_COUNTER,
        "Datagrams dropped before a TCP connection that was too slow for them.",
        s->hits[PX_RELAY_LIMIT_PIPE_QUEUES]);
    put(m, "peerix_relay_probes_total", PX_METRIC_COUNTER, "Dial-backs sent.", s->probes);
}

/* How often each limit was hit, whose room there is, and what stands before the door. */
static void put_limits(struct px_metrics *m, const struct px_relay_server_stats *s)
{
    px_metrics_family(m, "peerix_relay_limit_hits_total", PX_METRIC_COUNTER,
                      "How often something met a limit, by limit.");
    for (size_t i = 0; i < PX_RELAY_LIMIT_COUNT; i++)
        px_metrics_u64(
            m, &(struct px_metric_label){"limit", px_relay_limit_name((enum px_relay_limit)i)}, 1,
            s->hits[i]);
    put(m, "peerix_relay_unknown_nodes", PX_METRIC_GAUGE, "Nodes heard because an invite is open.",
        s->unknown);
    put(m, "peerix_relay_watches", PX_METRIC_GAUGE, "Namespaces watched, of all nodes.",
        s->watches);
    put(m, "peerix_relay_waiting_packets", PX_METRIC_GAUGE, "Packets of handshakes that wait.",
        s->waiting);
    put(m, "peerix_relay_refused_links_total", PX_METRIC_COUNTER, "Handshakes that led to no link.",
        s->links_refused);
    put(m, "peerix_relay_unproved_pipes", PX_METRIC_GAUGE,
        "TCP connections on which nobody proved to be anybody yet.", s->pipes_unproved);
    put(m, "peerix_relay_pipe_queue_bytes", PX_METRIC_GAUGE,
        "Memory of what waits before TCP connections.", s->pipe_memory);
    put(m, "peerix_relay_log_lines_left_out_total", PX_METRIC_COUNTER,
        "Lines of the audit log that were too many.", s->log_left_out);
}

static void put_circuits(struct px_metrics *m, const struct px_circuits_stats *c)
{
    put(m, "peerix_relay_circuits", PX_METRIC_GAUGE, "Open circuits.", c->open);
    put(m, "peerix_relay_pending_circuits", PX_METRIC_GAUGE, "Circuits not open yet.",
        c->circuits - c->open);
    put(m, "peerix_relay_forwarded_packets_total", PX_METRIC_COUNTER, "Packets forwarded.",
        c->packets);
    put(m, "peerix_relay_forwarded_bytes_total", PX_METRIC_COUNTER,
        "Bytes forwarded, with their 8 bytes of header.", c->bytes);
    put(m, "peerix_relay_challenges_total", PX_METRIC_COUNTER, "Challenges sent.", c->challenges);
    put(m, "peerix_relay_binds_total", PX_METRIC_COUNTER, "Legs bound to an address.", c->binds);
    put_dropped(m, c);
}

int px_relay_metrics_put(struct px_buf *out, const struct px_relay_server_stats *s,
                         const struct px_udp_stats *udp, px_nsec uptime)
{
    struct px_metrics m = {.out = out};
    struct rusage use;
    (void)getrusage(RUSAGE_SELF, &use);
    px_metrics_family(&m, "peerix_relay_build_info", PX_METRIC_GAUGE,
                      "Always 1; the version is a label.");
    px_metrics_u64(&m, &(struct px_metric_label){"version", PX_VERSION}, 1, 1);
    px_metrics_family(&m, "peerix_relay_uptime_seconds", PX_METRIC_GAUGE, "Time since the start.");
    px_metrics_real(&m, NULL, 0, (double)uptime / (double)PX_SEC);
    px_metrics_family(&m, "process_cpu_seconds_total", PX_METRIC_COUNTER,
                      "User and system CPU time spent.");
    px_metrics_real(&m, NULL, 0,
                    (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
                        (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6);
    put_nodes(&m, s);
    put_limits(&m, s);
    put_circuits(&m, &s->circuits);
    put(&m, "peerix_relay_udp_received_bytes_total", PX_METRIC_COUNTER, "UDP payload received.",
        udp->bytes_received);
    put(&m, "peerix_relay_udp_sent_bytes_total", PX_METRIC_COUNTER, "UDP payload sent.",
        udp->bytes_sent);
    return out->err;
}

/* ---- who asks ---- */

/* A name in Host would let a web page elsewhere read us through its own DNS. */
static bool is_local_host(const char *host)
{
    return host != NULL && (host[0] == '[' || (host[0] >= '0' && host[0] <= '9') ||
                            strncmp(host, "localhost", 9) == 0);
}

static bool vet(void *ctx, struct px_http_exchange *x)
{
    const char *method = px_http_method(x);
    unsigned status = 0;
    (void)ctx;
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        status = 405;
    else if (!is_local_host(px_http_field(x, "Host")))
        status = 403;
    if (status != 0)
        px_http_answer(x, &(struct px_http_answer){.status = status});
    return status == 0;
}

static void answer_metrics(const struct px_relay_metrics *m, struct px_http_exchange *x,
                           const struct px_relay_server_stats *s, const struct px_udp_stats *udp)
{
    struct px_http_answer a = {.status = 200, .content_type = PX_METRICS_CONTENT_TYPE};
    struct px_buf page;
    px_buf_init(&page, PAGE_MAX);
    if (px_relay_metrics_put(&page, s, udp, px_now_io() - m->started_at) != 0)
        a = (struct px_http_answer){.status = 500};
    else
        a.body = px_buf_slice(&page);
    px_http_answer(x, &a);
    px_buf_deinit(&page);
}

static void on_request(void *ctx, struct px_http_exchange *x)
{
    const struct px_relay_metrics *m = ctx;
    const char *target = px_http_raw_target(x);
    struct px_relay_server_stats s;
    struct px_udp_stats udp;
    bool up = m->config.stats(m->config.ctx, &s, &udp);
    struct px_http_answer a = {.status = 404};
    if (target != NULL && strcmp(target, "/healthz") == 0) {
        a = (struct px_http_answer){.status = up ? 200 : 503,
                                    .content_type = "text/plain; charset=utf-8",
                                    .body = up ? PX_SLICE_LIT("ok\n") : PX_SLICE_LIT("stopping\n")};
    } else if (target != NULL && strcmp(target, "/metrics") == 0) {
        if (up) {
            answer_metrics(m, x, &s, &udp);
            return;
        }
        a.status = 503;
    }
    px_http_answer(x, &a);
}

static const struct px_http_server_ops http_ops = {vet, on_request};

static int listen_at(struct px_relay_metrics *m, int *ret_fd)
{
    union px_sockaddr sa;
    socklen_t len = sizeof(sa);
    int err = px_http_listen_tcp(&m->config.listen, ret_fd);
    if (err != 0)
        return err;
    if (getsockname(*ret_fd, &sa.sa, &len) != 0) {
        err = px_err_from_errno(errno);
        (void)close(*ret_fd);
        return err;
    }
    px_sockaddr_to_addr(&sa.sa, &m->local);
    return 0;
}

int px_relay_metrics_new(const struct px_relay_metrics_config *config,
                         struct px_relay_metrics **ret)
{
    struct px_relay_metrics *m = calloc(1, sizeof(*m));
    int fd = -1;
    if (m == NULL)
        return PX_ENOMEM;
    m->config = *config;
    m->started_at = px_now_io();
    const struct px_http_server_config http = {.loop = config->loop,
                                               .log = config->log,
                                               .ops = &http_ops,
                                               .ctx = m,
                                               .connections_max = CONNECTIONS_MAX,
                                               .conn_memory = CONN_MEMORY,
                                               .idle_seconds = IDLE_SECONDS};
    int err = listen_at(m, &fd);
    if (err == 0)
        err = px_http_server_new(&http, fd, &m->http);
    if (err != 0) {
        free(m);
        return err;
    }
    *ret = m;
    return 0;
}

const struct px_addr *px_relay_metrics_local(const struct px_relay_metrics *m)
{
    return &m->local;
}

static void on_closed(void *ctx)
{
    free(ctx);
}

void px_relay_metrics_close(struct px_relay_metrics *m)
{
    if (m != NULL)
        px_http_server_close(m->http, on_closed, m);
}
