/* Start-up in dependency order, shut-down in the reverse. */
#include "cmd_relay/relay.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "auth/file_io.h"
#include "auth/identity_io.h"
#include "cmd_relay/metrics.h"
#include "cmd_relay/store_db.h"
#include "node/allowlist.h"
#include "node/control.h"
#include "node/relay_list.h"
#include "node/relay_pipe.h"
#include "node/service_manager.h"
#include "node/watchdog_io.h"
#include "relay/server_io.h"
#include "relay/waiting.h"

#define ASN_FILE_MAX ((size_t)128 * 1024 * 1024)

struct relay {
    const struct px_relay_run *run;
    const struct px_log *log;
    uv_loop_t loop;
    uv_signal_t signals[4];
    int signal_count;
    struct px_identity identity;
    struct px_allowlist *allowlist;
    struct px_store_db *store;
    struct px_asn_table *asn_table;
    struct px_relay_server_io *server;
    struct px_control *control;
    struct px_relay_metrics *metrics;
    struct px_watchdog_io *watchdog;
    px_nsec started_at;
    bool open, stopping;
    struct px_relay_limits limits;
    char *hint;
    size_t hint_size;
};

static void set_hint(struct relay *r, const char *text)
{
    snprintf(r->hint, r->hint_size, "%s", text);
}

static void set_address_hint(struct relay *r, int err, const char *option, const char *address)
{
    if (err == PX_EADDR || err == PX_EPERM || err == PX_EINVAL)
        snprintf(r->hint, r->hint_size,
                 "another program, perhaps another relay, may use %s, or it is no address of this "
                 "machine: see `%s` in config.yaml",
                 address, option);
}

/* ---- start-up, a step a function ---- */

static int start_identity(struct relay *r)
{
    char path[PX_HOME_FILE_MAX];
    px_home_config_path(r->run->home, PX_HOME_IDENTITY, path);
    return px_identity_load(path, &r->identity, r->hint, r->hint_size);
}

static void on_members_changed(void *ctx)
{
    struct relay *r = ctx;
    if (r->server != NULL && !r->stopping)
        px_relay_server_io_recheck(r->server, r->open);
}

static int start_members(struct relay *r)
{
    char path[PX_HOME_FILE_MAX];
    px_home_config_path(r->run->home, PX_HOME_AUTHORIZED_KEYS, path);
    return px_allowlist_new(&r->loop, path, r->log, on_members_changed, r, &r->allowlist);
}

static int start_store(struct relay *r)
{
    char path[PX_HOME_FILE_MAX + 16];
    snprintf(path, sizeof(path), "%s/%s", r->run->home->state_dir, PX_RELAY_DB);
    int err = px_store_db_open(path, r->log, &r->store);
    if (err == PX_EPROTO)
        set_hint(r, "relay.db is damaged or of a later version: restore it, or move it away; "
                    "vouchings, records and totals are in it");
    return err;
}

static int start_asn_table(struct relay *r)
{
    const char *file = r->run->config->asn_file;
    struct px_asn_error wrong = {0, ""};
    struct px_buf text;
    if (file[0] == '\0')
        return 0;
    px_buf_init(&text, ASN_FILE_MAX);
    int err = px_file_read(file, ASN_FILE_MAX, &text);
    if (err == 0)
        err = px_asn_table_parse(px_buf_slice(&text), &r->asn_table, &wrong);
    if (err == PX_EPARSE)
        snprintf(r->hint, r->hint_size, "line %zu: %s", wrong.line, wrong.message);
    px_buf_deinit(&text);
    return err;
}

static bool is_member(void *ctx, const struct px_peer_id *id)
{
    const struct relay *r = ctx;
    return px_authorized_keys_find(px_allowlist_keys(r->allowlist), id) != NULL;
}

static int start_server(struct relay *r)
{
    const struct px_relay_config *config = r->run->config;
    struct px_relay_server_io_config c = {
        .loop = &r->loop,
        .log = r->log,
        .identity = &r->identity,
        .network = px_slice_cstr(config->network),
        .store = px_store_db_ops(r->store),
        .asn_table = r->asn_table,
        .open = config->open,
        .is_member = is_member,
        .ctx = r,
    };
    r->open = config->open;
    px_relay_config_limits(config, &c.limits);
    r->limits = c.limits;
    int err = px_addr_parse(px_slice_cstr(config->listen), &c.listen);
    if (err == 0 && config->tcp[0] != '\0')
        err = px_addr_parse(px_slice_cstr(config->tcp), &c.tcp);
    if (err == 0)
        err = px_relay_server_io_new(&c, &r->server);
    set_address_hint(r, err, "listen", config->listen);
    return err;
}

static bool stats_of(void *ctx, struct px_relay_server_stats *ret, struct px_udp_stats *ret_udp)
{
    const struct relay *r = ctx;
    if (r->server == NULL || r->stopping)
        return false;
    px_relay_server_io_stats(r->server, ret, ret_udp);
    return true;
}

static int start_metrics(struct relay *r)
{
    struct px_relay_metrics_config c = {
        .loop = &r->loop, .log = r->log, .stats = stats_of, .ctx = r};
    int err = px_addr_parse(px_slice_cstr(r->run->config->metrics), &c.listen);
    if (err == 0)
        err = px_relay_metrics_new(&c, &r->metrics);
    set_address_hint(r, err, "metrics", r->run->config->metrics);
    return err;
}

/* Without public-addr, and at all addresses, only its owner knows where nodes reach it. */
static bool knows_host(const struct relay *r)
{
    return r->run->config->public_addr[0] != '\0' ||
           !px_addr_is_wildcard(px_relay_server_io_local(r->server));
}

static const char *url_of(const struct relay *r, char out[PX_RELAY_URL_TEXT_MAX])
{
    char addr[PX_ADDR_TEXT_MAX];
    const struct px_addr *tcp = px_relay_server_io_tcp(r->server);
    const char *where = r->run->config->public_addr;
    if (!knows_host(r)) {
        snprintf(addr, sizeof(addr), PX_RELAY_THIS_HOST ":%u",
                 px_relay_server_io_local(r->server)->port);
        where = addr;
    } else if (where[0] == '\0') {
        where = px_addr_format(px_relay_server_io_local(r->server), addr);
    }
    uint16_t port = tcp != NULL && tcp->port != PX_RELAY_TCP_PORT ? tcp->port : 0;
    return px_relay_url_format(&r->identity.id, where, port, out);
}

/* ---- the control socket ---- */

/* "" if nothing listens there. */
static const char *tcp_of(const struct relay *r, char out[PX_ADDR_TEXT_MAX])
{
    const struct px_addr *tcp = px_relay_server_io_tcp(r->server);
    out[0] = '\0';
    return tcp != NULL ? px_addr_format(tcp, out) : out;
}

/* What is used of a limit and how much there is, if that is one number; and how often it was hit.
 */
static json_t *limits_json(const struct px_relay_server_stats *s, const struct px_relay_limits *max)
{
    const struct {
        enum px_relay_limit limit;
        size_t used, max;
    } rooms[] = {{PX_RELAY_LIMIT_LINKS, s->limited, max->strangers},
                 {PX_RELAY_LIMIT_UNKNOWN_NODES, s->unknown, PX_RELAY_UNKNOWN_MAX},
                 {PX_RELAY_LIMIT_RESERVATIONS, s->reservations, max->reservations},
                 {PX_RELAY_LIMIT_WAITING, s->waiting, PX_WAITING_MAX},
                 {PX_RELAY_LIMIT_PIPES, s->pipes_unproved, PX_TLS_PIPES_UNPROVED},
                 {PX_RELAY_LIMIT_PIPE_QUEUES, s->pipe_memory, PX_TLS_PIPES_MEMORY}};
    json_t *all = json_object();
    for (size_t i = 0; i < PX_RELAY_LIMIT_COUNT; i++) {
        const char *name = px_relay_limit_name((enum px_relay_limit)i);
        (void)json_object_set_new(all, name, json_pack("{s:I}", "hits", (json_int_t)s->hits[i]));
    }
    for (size_t i = 0; i < PX_ARRAY_LEN(rooms); i++) {
        json_t *one = json_object_get(all, px_relay_limit_name(rooms[i].limit));
        (void)json_object_set_new(one, "used", json_integer((json_int_t)rooms[i].used));
        (void)json_object_set_new(one, "max", json_integer((json_int_t)rooms[i].max));
    }
    return all;
}

static json_t *status_json(const struct relay *r)
{
    struct px_relay_server_stats s;
    struct px_udp_stats udp;
    char url[PX_RELAY_URL_TEXT_MAX], id[PX_PEER_ID_TEXT_MAX], addr[PX_ADDR_TEXT_MAX];
    char tcp[PX_ADDR_TEXT_MAX];
    px_relay_server_io_stats(r->server, &s, &udp);
#define N(v) (json_int_t)(v)
    return json_pack(
        "{s:s, s:s, s:s?, s:s, s:s, s:I, s:I, s:f, s:b, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:{s:I, "
        "s:I, s:I, "
        "s:I, s:I, s:I, s:I, s:I, s:I}, s:{s:I, s:I, s:I, s:I}, s:{s:I, s:I}, "
        "s:o}",
        "state", r->stopping ? "stopping" : "running", "peer",
        px_peer_id_format(&r->identity.id, id), "url", knows_host(r) ? url_of(r, url) : NULL,
        "listen", px_addr_format(px_relay_server_io_local(r->server), addr), "tcp", tcp_of(r, tcp),
        "pipes", N(s.pipes), "pid", N(getpid()), "uptime",
        (double)(px_now_io() - r->started_at) / (double)PX_SEC, "open", r->open, "version",
        PX_VERSION, "nodes", N(s.nodes), "unknown", N(s.unknown), "reservations", N(s.reservations),
        "records", N(s.records), "invites", N(s.invites), "members",
        N(px_authorized_keys_count(px_allowlist_keys(r->allowlist))), "circuits", "count",
        N(s.circuits.circuits), "open", N(s.circuits.open), "packets", N(s.circuits.packets),
        "bytes", N(s.circuits.bytes), "dropped_rate", N(s.circuits.dropped_rate), "dropped_address",
        N(s.circuits.dropped_address), "dropped_unknown", N(s.circuits.dropped_unknown),
        "challenges", N(s.circuits.challenges), "binds", N(s.circuits.binds), "requests", "total",
        N(s.requests), "rate_limited", N(s.rate_limited), "refused", N(s.refused), "malformed",
        N(s.malformed), "refused", "links", N(s.links_refused), "log_lines_left_out",
        N(s.log_left_out), "limits", limits_json(&s, &r->limits));
#undef N
}

static void on_status(void *ctx, struct px_control_call *call)
{
    const struct relay *r = ctx;
    if (r->server == NULL)
        px_control_fail(call, PX_ESTATE, "the relay is stopping");
    else
        px_control_reply(call, 200, status_json(r));
}

static const struct px_control_route routes[] = {
    {.method = "GET", .path = "/v1/status", .handle = on_status, .summary = "what the relay does"},
};

static int start_control(struct relay *r)
{
    int other = 0;
    int err = px_control_new(&r->loop, r->run->home, r->log, &other, &r->control);
    if (err == PX_EEXIST)
        snprintf(r->hint, r->hint_size, "another relay of this home is running, pid %d", other);
    return err != 0 ? err : px_control_add(r->control, routes, PX_ARRAY_LEN(routes), r);
}

/* ---- signals and shut-down ---- */

static void on_control_closed(void *ctx)
{
    struct relay *r = ctx;
    px_allowlist_close(r->allowlist);
    for (int i = 0; i < r->signal_count; i++)
        uv_close((uv_handle_t *)&r->signals[i], NULL);
}

static void on_server_closed(void *ctx)
{
    struct relay *r = ctx;
    r->server = NULL;
    px_relay_metrics_close(r->metrics);
    r->metrics = NULL;
    if (r->control != NULL)
        px_control_close(r->control, on_control_closed, r);
    else
        on_control_closed(r);
}

static void stop(struct relay *r)
{
    px_nsec left = r->stopping ? 0 : r->run->config->leave_ms * PX_MSEC;
    r->stopping = true;
    px_service_notify("STOPPING=1");
    px_watchdog_io_close(r->watchdog); /* the stop has a time of its own */
    r->watchdog = NULL;
    if (r->server != NULL)
        px_relay_server_io_stop(r->server, left, on_server_closed, r);
    else
        on_server_closed(r);
}

static void on_stop_signal(uv_signal_t *s, int signum)
{
    struct relay *r = s->data;
    px_log_event(r->log, PX_LOG_INFO, "relay.stopping", PX_F_STR("signal", strsignal(signum)));
    if (r->server != NULL)
        stop(r);
}

static void on_stats_signal(uv_signal_t *s, int signum)
{
    const struct relay *r = s->data;
    struct px_relay_server_stats st;
    struct px_udp_stats udp;
    (void)signum;
    if (r->server == NULL)
        return;
    px_relay_server_io_stats(r->server, &st, &udp);
    px_log_event(r->log, PX_LOG_INFO, "relay.stats", PX_F_U64("nodes", st.nodes),
                 PX_F_U64("reservations", st.reservations), PX_F_U64("circuits", st.circuits.open),
                 PX_F_U64("bytes", st.circuits.bytes), PX_F_U64("packets", st.circuits.packets),
                 PX_F_U64("receive_calls", udp.receive_calls),
                 PX_F_U64("send_calls", udp.send_calls));
}

/* Options that differ from those it runs with and are not taken up now. */
static void tell_unchanged(const struct relay *r, const struct px_config *fresh)
{
    char names[512] = "";
    for (size_t i = 0; i < px_option_count; i++) {
        const struct px_option *o = &px_options[i];
        size_t at = strlen(names);
        if (!o->live && !px_config_same_value(r->run->values, fresh, o))
            snprintf(names + at, sizeof(names) - at, "%s%s", at > 0 ? "," : "", o->name);
    }
    if (names[0] != '\0')
        px_log_event(r->log, PX_LOG_WARN, "relay.restart_needed", PX_F_STR("options", names),
                     PX_F_STR("hint", "what they say now counts from the next start"));
}

/* What can change while it runs: `open` and the limits. */
static void on_reload_signal(uv_signal_t *s, int signum)
{
    struct relay *r = s->data;
    struct px_config *fresh;
    (void)signum;
    if (r->server == NULL || r->stopping)
        return;
    px_service_notify_reloading();
    if (r->run->reload(r->run->ctx, &fresh) == 0) {
        px_relay_config_limits(px_relay_config(fresh), &r->limits);
        r->open = px_relay_config(fresh)->open;
        px_relay_server_io_set_limits(r->server, &r->limits);
        px_relay_server_io_recheck(r->server, r->open);
        px_log_event(r->log, PX_LOG_INFO, "relay.reloaded",
                     PX_F_STR("open", r->open ? "true" : "false"));
        tell_unchanged(r, fresh);
        px_config_free(fresh);
    }
    px_service_notify("READY=1");
}

static int start_signals(struct relay *r)
{
    static const struct {
        int number;
        uv_signal_cb run;
    } rows[] = {{SIGTERM, on_stop_signal},
                {SIGINT, on_stop_signal},
                {SIGUSR1, on_stats_signal},
                {SIGHUP, on_reload_signal}};
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        if (uv_signal_init(&r->loop, &r->signals[i]) != 0)
            return PX_EIO;
        r->signal_count++;
        r->signals[i].data = r;
        if (uv_signal_start(&r->signals[i], rows[i].run, rows[i].number) != 0)
            return PX_EIO;
    }
    return 0;
}

static void on_alive(void *ctx)
{
    (void)ctx;
    px_service_notify("WATCHDOG=1");
}

static int start_watchdog(struct relay *r)
{
    const struct px_watchdog_io_config c = {.loop = &r->loop,
                                            .log = r->log,
                                            .allowed_usec = px_service_watchdog_usec(),
                                            .overlay = *px_relay_server_io_local(r->server),
                                            .health = *px_relay_metrics_local(r->metrics),
                                            .control = px_control_path(r->control),
                                            .alive = on_alive};
    return px_watchdog_io_new(&c, &r->watchdog);
}

static int start(struct relay *r, const char **ret_part)
{
    static const struct {
        const char *part;
        int (*run)(struct relay *r);
    } steps[] = {
        {"loop", start_signals},       {"identity", start_identity},
        {"asn-file", start_asn_table}, {"control", start_control},
        {"relay.db", start_store},     {"authorized_keys", start_members},
        {"listen", start_server},      {"metrics", start_metrics},
        {"watchdog", start_watchdog},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(steps); i++) {
        int err = steps[i].run(r);
        *ret_part = steps[i].part;
        if (err != 0)
            return err;
    }
    return 0;
}

static void announce_ready(const struct relay *r)
{
    char url[PX_RELAY_URL_TEXT_MAX], id[PX_PEER_ID_TEXT_MAX], addr[PX_ADDR_TEXT_MAX],
        metrics[PX_ADDR_TEXT_MAX], tcp[PX_ADDR_TEXT_MAX];
    if (!knows_host(r))
        px_log_event(
            r->log, PX_LOG_WARN, "relay.no_public_addr",
            PX_F_STR("hint",
                     "nodes need this machine's name or address in the place of " PX_RELAY_THIS_HOST
                     "; with `public-addr` in config.yaml it "
                     "stands in the URL"));
    px_log_event(r->log, PX_LOG_INFO, "ready",
                 PX_F_STR("peer", px_peer_id_format(&r->identity.id, id)),
                 PX_F_STR("listen", px_addr_format(px_relay_server_io_local(r->server), addr)),
                 PX_F_STR("tcp", tcp_of(r, tcp)),
                 PX_F_STR("metrics", px_addr_format(px_relay_metrics_local(r->metrics), metrics)),
                 PX_F_STR("url", url_of(r, url)), PX_F_STR("version", PX_VERSION),
                 PX_F_U64("pid", (uint64_t)getpid()));
    px_service_notify("READY=1");
}

static void raise_fd_limit(void)
{
    struct rlimit lim;
    if (getrlimit(RLIMIT_NOFILE, &lim) == 0 && lim.rlim_cur < lim.rlim_max) {
        lim.rlim_cur = lim.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &lim);
    }
}

int px_relay_run(const struct px_relay_run *run, const char **ret_part, char *ret_hint,
                 size_t hint_size)
{
    struct relay *r = calloc(1, sizeof(*r));
    *ret_part = "loop";
    ret_hint[0] = '\0';
    if (r == NULL)
        return PX_ENOMEM;
    r->run = run;
    r->log = run->log;
    r->hint = ret_hint;
    r->hint_size = hint_size;
    r->started_at = px_now_io();
    int err = px_crypto_init();
    if (err != 0 || uv_loop_init(&r->loop) != 0) {
        free(r);
        return err != 0 ? err : PX_EIO;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    raise_fd_limit();
    err = start(r, ret_part);
    if (err == 0)
        announce_ready(r);
    else
        stop(r);
    (void)uv_run(&r->loop, UV_RUN_DEFAULT);
    px_assert(uv_loop_close(&r->loop) == 0); /* every handle was closed by its owner */
    if (r->control != NULL)
        px_control_free(r->control);
    px_store_db_close(r->store);
    px_asn_table_free(r->asn_table);
    px_identity_wipe(&r->identity);
    if (err == 0)
        px_log_event(run->log, PX_LOG_INFO, "relay.stopped", PX_F_STR("version", PX_VERSION));
    free(r);
    return err;
}
