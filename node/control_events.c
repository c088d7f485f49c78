/* GET /v1/events: what is logged at info and above, told to those who follow it, a line an event.
 */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "node/control_internal.h"
#include "transport/overlay_io.h"

void px_control_handle_events(void *control, struct px_control_call *call)
{
    struct px_control *c = control;
    if (c->listener_count == PX_CONTROL_LISTENERS_MAX) {
        px_control_fail(call, PX_EBUSY, "%d readers of events are there already; end one",
                        PX_CONTROL_LISTENERS_MAX);
        return;
    }
    px_list_push_back(&c->listeners, &call->events);
    c->listener_count++;
    px_control_begin_lines(call);
    px_control_line(call, json_pack("{s:s, s:s, s:i}", "event", "hello", "version", PX_VERSION,
                                    "pid", (int)getpid()));
}

/* Bytes that are no UTF-8 become question marks. */
static json_t *text_json(struct px_slice text)
{
    json_t *value = json_stringn((const char *)text.data, text.len);
    if (value != NULL || text.len == 0)
        return value;
    char *ascii = malloc(text.len);
    for (size_t i = 0; i < text.len && ascii != NULL; i++)
        ascii[i] = (char)(text.data[i] < 0x80 ? text.data[i] : '?');
    value = ascii != NULL ? json_stringn(ascii, text.len) : NULL;
    free(ascii);
    return value;
}

static json_t *field_json(const struct px_log_field *f)
{
    switch (f->kind) {
    case PX_LOG_STR:
        return text_json(f->str);
    case PX_LOG_U64:
        return json_integer((json_int_t)PX_MIN(f->u64, (uint64_t)INT64_MAX));
    case PX_LOG_I64:
        return json_integer((json_int_t)f->i64);
    }
    return NULL;
}

static json_t *event_json(enum px_log_level level, const char *event,
                          const struct px_log_field *fields, size_t count)
{
    char day[32], stamp[64];
    struct timespec t;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &t);
    gmtime_r(&t.tv_sec, &tm);
    strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(stamp, sizeof(stamp), "%s.%03dZ", day, (int)(t.tv_nsec / 1000000));
    json_t *line = json_pack("{s:s, s:s, s:s}", "event", event, "time", stamp, "level",
                             px_log_level_name(level));
    for (size_t i = 0; i < count && line != NULL; i++)
        if (json_object_get(line, fields[i].key) == NULL) /* ours stay */
            (void)json_object_set_new(line, fields[i].key, field_json(&fields[i]));
    return line;
}

static void tell(struct px_control *c, json_t *owned_line)
{
    PX_LIST_EACH(it, &c->listeners) {
        struct px_control_call *call = PX_CONTAINER_OF(it, struct px_control_call, events);
        if (call->state == CALL_LINES)
            px_control_line(call, json_incref(owned_line));
    }
    json_decref(owned_line);
}

/* Whoever makes a peer log line after line must not get readers cut. What was left out in a second
 * is told by the first event after it. */
static bool within_budget(struct px_control *c)
{
    px_nsec now = px_now_io();
    if (now - c->events_since < PX_SEC)
        return c->events_count++ < PX_CONTROL_EVENTS_MAX;
    unsigned count = c->events_count;
    c->events_since = now;
    c->events_count = 1;
    if (count > PX_CONTROL_EVENTS_MAX) {
        struct px_log_field left_out = PX_F_U64("suppressed", count - PX_CONTROL_EVENTS_MAX);
        tell(c, event_json(PX_LOG_WARN, "events.suppressed", &left_out, 1));
    }
    return true;
}

/* Logging is allowed from any thread, the server is not: what others log goes to the log only. */
static void on_log(void *ctx, enum px_log_level level, const char *event,
                   const struct px_log_field *fields, size_t count)
{
    struct px_control *c = ctx;
    uv_thread_t self = uv_thread_self();
    px_log_emit(c->next, level, event, fields, count);
    if (level > PX_LOG_INFO || px_list_empty(&c->listeners) || !uv_thread_equal(&self, &c->thread))
        return;
    if (within_budget(c))
        tell(c, event_json(level, event, fields, count));
}

const struct px_log *px_control_tee(struct px_control *c, const struct px_log *next)
{
    c->next = next;
    c->tee = (struct px_log){PX_LOG_DEBUG, on_log, c}; /* `next` may change its level any time */
    return &c->tee;
}
