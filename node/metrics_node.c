/* What a node measures, as metrics: base units, counters since start, peers by ID and not without
 * end. */
#include "node/metrics_node.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "node/metrics.h"

#define PAGE_MAX ((size_t)1024 * 1024)

static void one(struct px_metrics *m, const char *name, enum px_metric_type type, const char *help,
                uint64_t value)
{
    px_metrics_family(m, name, type, help);
    px_metrics_u64(m, NULL, 0, value);
}

static void labelled(struct px_metrics *m, const char *label, const char *value, uint64_t n)
{
    px_metrics_u64(m, &(struct px_metric_label){label, value}, 1, n);
}

/* --- the process --- */

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

/* 0 when the system does not tell. */
static uint64_t resident_bytes(void)
{
    unsigned long long size, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f == NULL)
        return 0;
    if (fscanf(f, "%llu %llu", &size, &resident) != 2)
        resident = 0;
    fclose(f);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void put_process(struct px_metrics *m, const struct px_control_node *n)
{
    struct rusage use;
    px_metrics_family(m, "peerix_build_info", PX_METRIC_GAUGE, "Always 1; the version is a label.");
    labelled(m, "version", PX_VERSION, 1);
    px_metrics_family(m, "peerix_uptime_seconds", PX_METRIC_GAUGE, "Time since the node started.");
    px_metrics_real(m, NULL, 0, (double)(px_now_io() - n->started) / (double)PX_SEC);
    px_metrics_family(m, "process_cpu_seconds_total", PX_METRIC_COUNTER,
                      "User and system CPU time spent.");
    (void)getrusage(RUSAGE_SELF, &use);
    px_metrics_real(m, NULL, 0, seconds(use.ru_utime) + seconds(use.ru_stime));
    one(m, "process_resident_memory_bytes", PX_METRIC_GAUGE, "Resident memory.", resident_bytes());
}

/* --- nix --- */

static void put_substituter(struct px_metrics *m, const struct px_control_node *n)
{
    struct px_substituter_stats s;
    if (n->substituter == NULL)
        return;
    px_substituter_stats(n->substituter, &s);
    px_metrics_family(m, "peerix_substituter_narinfos_total", PX_METRIC_COUNTER,
                      "Look-ups of nix, by what they came to.");
    labelled(m, "result", "hit", s.narinfo_hits);
    labelled(m, "result", "miss", s.narinfo_misses);
    one(m, "peerix_substituter_rejected_narinfos_total", PX_METRIC_COUNTER,
        "Answers of peers that were not passed on.", s.narinfo_rejected);
    one(m, "peerix_substituter_nars_total", PX_METRIC_COUNTER, "NARs passed to nix.", s.nars);
    one(m, "peerix_substituter_nar_bytes_total", PX_METRIC_COUNTER, "Bytes of NARs passed to nix.",
        s.nar_bytes);
    one(m, "peerix_substituter_cut_nars_total", PX_METRIC_COUNTER,
        "NARs cut because their source failed or lied.", s.nar_cut);
    px_metrics_family(m, "peerix_substituter_held_asks_total", PX_METRIC_COUNTER,
                      "Peers with a bad history that look-ups held back, by what came of it.");
    labelled(m, "result", "asked", s.late_asks);
    labelled(m, "result", "spared", s.spared_asks);
}

static void put_service(struct px_metrics *m, const struct px_control_node *n)
{
    struct px_cache_service_stats s;
    if (n->service == NULL)
        return;
    px_cache_service_stats(n->service, &s);
    px_metrics_family(m, "peerix_cache_requests_total", PX_METRIC_COUNTER,
                      "Requests of peers for paths of this store, by answer.");
    labelled(m, "answer", "narinfo", s.narinfos);
    labelled(m, "answer", "nar", s.nars);
    labelled(m, "answer", "unknown", s.unknown);
    labelled(m, "answer", "busy", s.busy);
    one(m, "peerix_cache_cut_nars_total", PX_METRIC_COUNTER,
        "NARs to peers that ended early because the store failed.", s.nars_cut);
}

static void put_discovery_counter(void *ctx, enum px_source source, const char *name,
                                  uint64_t value)
{
    const struct px_metric_label labels[] = {{"source", px_source_name(source)}, {"event", name}};
    if (strcmp(name, "addresses") != 0) /* how many there are now: no counter */
        px_metrics_u64(ctx, labels, PX_ARRAY_LEN(labels), value);
}

static void put_discovery(struct px_metrics *m, const struct px_control_node *n)
{
    if (n->discoveries == NULL)
        return;
    px_metrics_family(m, "peerix_discovery_events_total", PX_METRIC_COUNTER,
                      "What finding peers on the link came to, by backend.");
    px_discoveries_stats(n->discoveries, put_discovery_counter, m);
}

/* --- peers --- */

/* A snapshot of what is connected: a family's samples must stand together. */
struct peers {
    uint64_t states[PX_PEER_HELD + 1];
    uint64_t listed, connected;
    size_t count;
    struct peer {
        char id[PX_PEER_ID_TEXT_MAX];
        struct px_quic_stats stats;
    } at[PX_METRICS_PEERS_MAX];
};

static void count_peer(void *ctx, const struct px_peer_info *i)
{
    struct peers *p = ctx;
    p->states[i->state]++;
    p->listed += i->listed;
    if (i->state != PX_PEER_CONNECTED || p->count == PX_METRICS_PEERS_MAX)
        return;
    struct peer *at = &p->at[p->count++];
    px_peer_id_format(&i->id, at->id);
    at->stats = i->stats;
}

static void put_links(struct px_metrics *m, const struct peers *p)
{
    static const struct {
        const char *name, *help;
        size_t offset;
    } counters[] = {
        {"peerix_peer_sent_bytes_total", "UDP payload sent to a connected peer.",
         offsetof(struct px_quic_stats, bytes_sent)},
        {"peerix_peer_received_bytes_total", "UDP payload received from a connected peer.",
         offsetof(struct px_quic_stats, bytes_received)},
        {"peerix_peer_lost_packets_total", "Packets with stream data that were judged lost.",
         offsetof(struct px_quic_stats, packets_lost)},
    };
    for (size_t c = 0; c < PX_ARRAY_LEN(counters); c++) {
        px_metrics_family(m, counters[c].name, PX_METRIC_COUNTER, counters[c].help);
        for (size_t i = 0; i < p->count; i++) {
            uint64_t value;
            memcpy(&value, (const char *)&p->at[i].stats + counters[c].offset, sizeof(value));
            labelled(m, "peer", p->at[i].id, value);
        }
    }
    px_metrics_family(m, "peerix_peer_rtt_seconds", PX_METRIC_GAUGE,
                      "Smoothed round trip time to a connected peer.");
    for (size_t i = 0; i < p->count; i++)
        if (p->at[i].stats.rtt_ns > 0)
            px_metrics_real(m, &(struct px_metric_label){"peer", p->at[i].id}, 1,
                            (double)p->at[i].stats.rtt_ns / (double)PX_SEC);
}

static int put_peers(struct px_metrics *m, const struct px_control_node *n)
{
    if (n->peers == NULL)
        return 0;
    struct peers *p = calloc(1, sizeof(*p));
    if (p == NULL)
        return PX_ENOMEM;
    px_peers_each(n->peers, count_peer, p);
    one(m, "peerix_peers_listed", PX_METRIC_GAUGE, "Peers on the allowlist.", p->listed);
    px_metrics_family(m, "peerix_peers", PX_METRIC_GAUGE, "Known peers by state.");
    for (size_t s = 0; s < PX_ARRAY_LEN(p->states); s++)
        labelled(m, "state", px_peer_state_name((enum px_peer_state)s), p->states[s]);
    put_links(m, p);
    free(p);
    return 0;
}

int px_metrics_node(const struct px_control_node *n, struct px_buf *out)
{
    struct px_metrics m = {.out = out};
    put_process(&m, n);
    put_substituter(&m, n);
    put_service(&m, n);
    put_discovery(&m, n);
    int err = put_peers(&m, n);
    return err != 0 ? err : out->err;
}

/* --- pages --- */

static bool is_page(const char *raw, const char *path)
{
    size_t n = strlen(path);
    return strncmp(raw, path, n) == 0 && (raw[n] == '\0' || raw[n] == '?');
}

/* Asked for through the loop, so a node that hangs does not answer. */
static void answer_health(const struct px_control_node *n, struct px_http_exchange *x)
{
    bool good = n->peers != NULL && n->store != NULL && !n->stopping;
    px_http_answer(x, &(struct px_http_answer){
                          .status = good ? 200 : 503,
                          .content_type = "text/plain",
                          .body = good ? PX_SLICE_LIT("ok\n") : PX_SLICE_LIT("stopping\n"),
                      });
}

static void answer_metrics(const struct px_control_node *n, struct px_http_exchange *x)
{
    struct px_buf text;
    px_buf_init(&text, PAGE_MAX);
    int err = px_metrics_node(n, &text);
    px_http_answer(x, &(struct px_http_answer){
                          .status = err == 0 ? 200 : 500,
                          .content_type = PX_METRICS_CONTENT_TYPE,
                          .body = err == 0 ? px_buf_slice(&text) : PX_SLICE_LIT(""),
                      });
    px_buf_deinit(&text);
}

bool px_metrics_page(void *control_node, struct px_http_exchange *x)
{
    const struct px_control_node *n = control_node;
    const char *raw = px_http_raw_target(x);
    if (is_page(raw, "/healthz"))
        answer_health(n, x);
    else if (is_page(raw, "/metrics") && n->config->metrics)
        answer_metrics(n, x);
    else
        return false;
    return true;
}
