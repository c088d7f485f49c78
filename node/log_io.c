/* Log lines to a file descriptor, one write each, with a budget per event name and second. */
#include "node/log_io.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/buf.h"

#define SECOND ((uint64_t)1000000000)

/* The budget of one event name in the running second. */
struct event {
    char name[48];
    uint64_t second;
    uint64_t lines, suppressed;
};

struct px_log_io {
    struct px_log log;
    struct px_log_io_config config;
    pthread_mutex_t lock; /* guards all below */
    struct event events[PX_LOG_EVENTS_MAX];
    size_t event_count;
    uint64_t swept; /* the second in which suppressed lines were last told */
};

static uint64_t wall_clock(void *ctx)
{
    struct timespec t;
    (void)ctx;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static void put_time(struct px_buf *line, uint64_t now, bool json)
{
    char date[32];
    time_t seconds = (time_t)(now / SECOND);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
    unsigned msec = (unsigned)(now % SECOND / 1000000);
    (void)px_buf_printf(line, json ? "{\"time\":\"%s.%03uZ\"," : "time=%s.%03uZ ", date, msec);
}

/* sd-daemon(3): "<3>" to "<7>" */
static int syslog_level(enum px_log_level level)
{
    switch (level) {
    case PX_LOG_ERROR:
        return 3;
    case PX_LOG_WARN:
        return 4;
    case PX_LOG_INFO:
        return 6;
    case PX_LOG_DEBUG:
        return 7;
    }
    return 6;
}

static void write_all(int fd, struct px_slice s)
{
    while (s.len > 0) {
        ssize_t n = write(fd, s.data, s.len);
        if (n <= 0)
            return; /* nobody is left to tell */
        s = px_slice_skip(s, (size_t)n);
    }
}

static int format(struct px_log_io *l, struct px_buf *line, uint64_t now, enum px_log_level level,
                  const char *event, const struct px_log_field *fields, size_t count)
{
    struct px_buf body;
    px_buf_init(&body, PX_LOG_LINE_MAX);
    int err = px_log_format(&body, level, event, fields, count, l->config.json);
    struct px_slice rest = px_buf_slice(&body);
    if (l->config.journal) {
        (void)px_buf_printf(line, "<%d>", syslog_level(level));
    } else {
        put_time(line, now, l->config.json);
        if (l->config.json)
            rest = px_slice_skip(rest, 1); /* its brace, the time has it */
    }
    (void)px_buf_put(line, rest);
    (void)px_buf_put_u8(line, '\n');
    px_buf_deinit(&body);
    return err != 0 ? err : line->err;
}

static void print(struct px_log_io *l, uint64_t now, enum px_log_level level, const char *event,
                  const struct px_log_field *fields, size_t count)
{
    struct px_log_field note = PX_F_STR("left_out", "line too long");
    struct px_buf line;
    px_buf_init(&line, PX_LOG_LINE_MAX + 64);
    int err = format(l, &line, now, level, event, fields, count);
    if (err != 0) {
        px_buf_clear(&line);
        err = format(l, &line, now, level, event, &note, 1);
    }
    if (err == 0)
        write_all(l->config.fd, px_buf_slice(&line));
    px_buf_deinit(&line);
}

static void tell_suppressed(struct px_log_io *l, struct event *e, uint64_t now)
{
    struct px_log_field fields[] = {PX_F_STR("of", e->name), PX_F_U64("suppressed", e->suppressed)};
    if (e->suppressed > 0)
        print(l, now, PX_LOG_WARN, "log.suppressed", fields, PX_ARRAY_LEN(fields));
    e->suppressed = 0;
}

/* Once a second, whatever event comes: an event that fell silent is told too. */
static void sweep(struct px_log_io *l, uint64_t now)
{
    if (l->swept == now / SECOND)
        return;
    l->swept = now / SECOND;
    for (size_t i = 0; i < l->event_count; i++)
        tell_suppressed(l, &l->events[i], now);
}

static struct event *find_event(struct px_log_io *l, const char *name)
{
    for (size_t i = 0; i < l->event_count; i++)
        if (strncmp(l->events[i].name, name, sizeof(l->events[i].name) - 1) == 0)
            return &l->events[i];
    if (l->event_count == PX_LOG_EVENTS_MAX)
        return &l->events[PX_LOG_EVENTS_MAX - 1];
    struct event *e = &l->events[l->event_count++];
    snprintf(e->name, sizeof(e->name), "%s", l->event_count < PX_LOG_EVENTS_MAX ? name : "other");
    return e;
}

static bool within_budget(struct px_log_io *l, enum px_log_level level, const char *name,
                          uint64_t now)
{
    if (level == PX_LOG_DEBUG)
        return true;
    struct event *e = find_event(l, name);
    if (e->second != now / SECOND) {
        e->second = now / SECOND;
        e->lines = 0;
    }
    if (e->lines >= PX_LOG_BURST) {
        e->suppressed++;
        return false;
    }
    e->lines++;
    return true;
}

static void emit(void *ctx, enum px_log_level level, const char *event,
                 const struct px_log_field *fields, size_t count)
{
    struct px_log_io *l = ctx;
    pthread_mutex_lock(&l->lock);
    uint64_t now = l->config.now(l->config.now_ctx);
    sweep(l, now);
    if (within_budget(l, level, event, now))
        print(l, now, level, event, fields, count);
    pthread_mutex_unlock(&l->lock);
}

static int parse_level(const char *text, enum px_log_level *ret)
{
    static const enum px_log_level levels[] = {PX_LOG_ERROR, PX_LOG_WARN, PX_LOG_INFO,
                                               PX_LOG_DEBUG};
    for (size_t i = 0; i < PX_ARRAY_LEN(levels); i++) {
        if (strcmp(text, px_log_level_name(levels[i])) == 0) {
            *ret = levels[i];
            return 0;
        }
    }
    return PX_EPARSE;
}

int px_log_io_open(const struct px_log_io_config *config, struct px_log_io **ret)
{
    enum px_log_level level;
    int err = parse_level(config->level, &level);
    if (err != 0)
        return err;
    struct px_log_io *l = calloc(1, sizeof(*l));
    if (l == NULL)
        return PX_ENOMEM;
    l->config = *config;
    l->config.level = NULL; /* borrowed until now */
    if (l->config.now == NULL)
        l->config.now = wall_clock;
    l->log = (struct px_log){.level = level, .emit = emit, .ctx = l};
    pthread_mutex_init(&l->lock, NULL);
    *ret = l;
    return 0;
}

/* systemd.exec(5): JOURNAL_STREAM is "device:inode" of the stream; a redirected stderr differs. */
static bool stderr_is_journal(void)
{
    char id[64];
    struct stat st;
    const char *stream = getenv("JOURNAL_STREAM");
    if (stream == NULL || fstat(STDERR_FILENO, &st) != 0)
        return false;
    snprintf(id, sizeof(id), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    return strcmp(stream, id) == 0;
}

int px_log_io_new(const char *level, bool json, struct px_log_io **ret)
{
    struct px_log_io_config config = {
        .level = level, .json = json, .fd = STDERR_FILENO, .journal = stderr_is_journal()};
    return px_log_io_open(&config, ret);
}

void px_log_io_free(struct px_log_io *l)
{
    if (l == NULL)
        return;
    uint64_t now = l->config.now(l->config.now_ctx);
    for (size_t i = 0; i < l->event_count; i++)
        tell_suppressed(l, &l->events[i], now);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

int px_log_io_set_level(struct px_log_io *l, const char *level)
{
    return parse_level(level, &l->log.level);
}

const struct px_log *px_log_io_sink(struct px_log_io *l)
{
    return &l->log;
}
