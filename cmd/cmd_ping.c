/* peerix ping PEER: round trips on the peer's connection until Ctrl-C, or as many as asked for,
 * then the statistics. */
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cmd/control_client.h"
#include "cmd/json.h"
#include "cmd/units.h"
#include "node/ping_stats.h"

/* Beyond what the pings themselves may take. */
#define PATIENCE (15 * PX_SEC)

struct ping {
    const struct px_cli *cli;
    char id[PX_PEER_ID_TEXT_MAX];
    struct px_ping_stats stats;
    char lost[64]; /* why the latest one was; "" */
    bool complete; /* the daemon has summed up: there were as many as asked for */
};

/* ---- the lines ---- */

static int print_reply(const struct ping *p, const json_t *line, px_nsec rtt)
{
    struct px_cli_style style = px_cli_style(stdout);
    char text[PX_UNITS_MAX];
    uint64_t seq = px_json_count(line, "seq");
    if (rtt != PX_NEVER)
        printf("%" PRIu64 ": %s\n", seq, px_units_short(rtt, text));
    else
        printf("%" PRIu64 ": %slost%s, %s\n", seq, style.red, style.reset,
               px_control_error_text(p->lost));
    if (fflush(stdout) == 0)
        return 0;
    px_cli_error(p->cli, "cannot write the output");
    return PX_EXIT_FAILURE;
}

/* The daemon's summary is left out: after Ctrl-C there would be none. */
static int on_line(void *ctx, const json_t *line)
{
    struct ping *p = ctx;
    px_nsec rtt = px_json_seconds(line, "rtt");
    if (px_json_at(line, "summary") != NULL) {
        p->complete = true;
        return 0;
    }
    if (px_json_text(line, "error")[0] != '\0') {
        px_cli_error(p->cli, "%s", px_json_text(line, "message"));
        return px_control_exit_code(px_json_text(line, "error"));
    }
    snprintf(p->lost, sizeof(p->lost), "%s", px_json_text(line, "lost"));
    if (rtt != PX_NEVER)
        px_ping_stats_reply(&p->stats, rtt);
    else
        px_ping_stats_loss(&p->stats);
    return px_cli_has(p->cli, "json") ? px_json_print_line(p->cli, line)
                                      : print_reply(p, line, rtt);
}

/* ---- the statistics ---- */

static json_t *seconds(const struct ping *p, px_nsec t)
{
    return p->stats.received == 0 || t == PX_NEVER ? json_null()
                                                   : json_real((double)t / (double)PX_SEC);
}

static int print_json(const struct ping *p)
{
    const struct px_ping_stats *s = &p->stats;
    json_t *line = json_pack("{s:{s:s, s:I, s:I, s:f, s:o, s:o, s:o, s:o}}", "summary", "peer",
                             p->id, "sent", (json_int_t)s->sent, "received",
                             (json_int_t)s->received, "loss", px_ping_stats_lost(s), "min",
                             seconds(p, s->min), "avg", seconds(p, px_ping_stats_avg(s)), "max",
                             seconds(p, s->max), "jitter", seconds(p, px_ping_stats_jitter(s)));
    int code = px_json_print_line(p->cli, line);
    json_decref(line);
    return code;
}

static int print_text(const struct ping *p)
{
    const struct px_ping_stats *s = &p->stats;
    char min[PX_UNITS_MAX], avg[PX_UNITS_MAX], max[PX_UNITS_MAX], jitter[PX_UNITS_MAX];
    printf("\n%" PRIu64 " sent, %" PRIu64 " received, %.0f%% lost\n", s->sent, s->received,
           px_ping_stats_lost(s) * 100);
    if (s->received == 0)
        return 0;
    px_nsec jittered = px_ping_stats_jitter(s);
    printf("min %s, avg %s, max %s", px_units_short(s->min, min),
           px_units_short(px_ping_stats_avg(s), avg), px_units_short(s->max, max));
    if (jittered != PX_NEVER)
        printf(", jitter %s", px_units_short(jittered, jitter));
    putchar('\n');
    return 0;
}

static int sum_up(const struct ping *p)
{
    int code = px_cli_has(p->cli, "json") ? print_json(p) : print_text(p);
    if (code != 0 || p->stats.received > 0 || p->stats.sent == 0)
        return code;
    return p->lost[0] != '\0' ? px_control_exit_code(p->lost) : PX_EXIT_TIMEOUT;
}

/* ---- the command ---- */

static int put_query(const struct px_cli *cli, const char *option, const char *query,
                     struct px_buf *out)
{
    const char *value = px_cli_get(cli, option);
    if (value == NULL)
        return 0;
    px_buf_printf(out, "&%s=", query);
    return px_control_put_segment(out, value);
}

static int put_path(const struct px_cli *cli, const char *id, struct px_buf *out)
{
    uint64_t count = 0;
    const char *text = px_cli_get(cli, "count");
    if (text != NULL && (px_slice_parse_u64(px_slice_cstr(text), &count) != 0 || count == 0))
        return px_cli_usage(cli, "--count: '%s' is not a number of 1 or more", text);
    px_buf_printf(out, "/v1/peers/%s/ping?count=%" PRIu64, id, count);
    put_query(cli, "interval", "interval", out);
    put_query(cli, "timeout", "timeout", out);
    if (px_buf_put_u8(out, '\0') == 0)
        return 0;
    return px_cli_usage(cli, "too long a value");
}

/* How long the daemon may be silent between two lines: a pause and a ping, as far as the words
 * can be read here. */
static px_nsec patience(const struct px_cli *cli)
{
    double interval =
        strtod(px_cli_get(cli, "interval") != NULL ? px_cli_get(cli, "interval") : "", NULL);
    return PATIENCE + 60 * PX_SEC +
           (interval > 0 && interval < 3601 ? (px_nsec)(interval * (double)PX_SEC) : 0);
}

/* Readable at the first Ctrl-C; -1 without one. */
static int stop_fd(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return -1;
    return signalfd(-1, &set, SFD_CLOEXEC);
}

static bool is_readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return fd >= 0 && poll(&p, 1, 0) == 1;
}

static int run(struct ping *p)
{
    struct px_buf path;
    px_buf_init(&path, 1024);
    int code = put_path(p->cli, p->id, &path);
    if (code == 0) {
        int fd = stop_fd();
        code = px_control_lines_until(p->cli, fd, patience(p->cli), "POST", (const char *)path.data,
                                      NULL, on_line, p);
        if (code == 0 && !p->complete && !is_readable(fd)) {
            px_cli_error(p->cli, "the daemon has ended");
            code = PX_EXIT_NOT_RUNNING;
        }
        if (fd >= 0)
            close(fd);
    }
    px_buf_deinit(&path);
    return code;
}

int px_cmd_ping(const struct px_cli *cli)
{
    struct px_home home;
    struct px_peer_id id;
    struct ping p = {.cli = cli};
    int code = px_cli_home(cli, &home);
    if (code == 0)
        code = px_cli_peer(cli, &home, cli->operands[0], &id);
    if (code != 0)
        return code;
    px_peer_id_format(&id, p.id);
    code = run(&p);
    if (code != 0 && p.stats.sent == 0)
        return code; /* it never began */
    int summed = sum_up(&p);
    return code != 0 ? code : summed;
}
