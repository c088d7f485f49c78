/* SIGHUP, the timer of an unconfirmed change, and the routes of /v1/config. A file that is wrong
 * changes nothing but the log. */
#include "node/config_reload.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "node/config_apply_io.h"
#include "node/config_json.h"

#define RESTART_DELAY_MS 100   /* an answer to the one who asked leaves first */
#define CHECK_MS         10000 /* timers do not count suspended time: look again by then */

struct px_config_reload {
    const struct px_home *home;
    const struct px_log *log;
    const struct px_config *running;
    struct px_config *owned; /* `running` after a live change; NULL before */
    const struct px_config_reload_ops *ops;
    void *ctx;
    uv_signal_t hup;
    uv_timer_t pending, restart;
    int handles; /* open ones */
    bool closing;
};

static void on_pending(uv_timer_t *timer);

static void arm(struct px_config_reload *r, const struct px_config_state *s)
{
    if (s->pending)
        (void)uv_timer_start(&r->pending, on_pending, PX_MIN(s->left_ms, CHECK_MS) + 1, 0);
    else
        (void)uv_timer_stop(&r->pending);
}

/* Takes back what is overdue. *ret may be looked at whatever happened. */
static void recover(struct px_config_reload *r, struct px_config_state *ret)
{
    struct px_config_clock now;
    *ret = (struct px_config_state){.pending = false};
    int err = px_config_clock_now(&now);
    if (err == 0)
        err = px_config_recover(r->home, false, &now, ret);
    if (err != 0)
        px_log_event(r->log, PX_LOG_ERROR, "config.unrecoverable", PX_F_ERR(err),
                     PX_F_STR("hint", "look at config.pending and config.history in the state "
                                      "directory"));
    if (err == PX_EBUSY) /* somebody holds the lock: later */
        *ret = (struct px_config_state){.pending = true, .left_ms = 1000};
    if (ret->reverted)
        px_log_event(r->log, PX_LOG_WARN, "config.reverted",
                     PX_F_STR("why", "the change was not confirmed in time"));
    arm(r, ret);
}

static const char *change_name(enum px_config_change change)
{
    switch (change) {
    case PX_CONFIG_SAME:
        return "none";
    case PX_CONFIG_LIVE:
        return "live";
    case PX_CONFIG_RESTART:
        return "restart";
    }
    return "-";
}

static void on_restart(uv_timer_t *timer)
{
    struct px_config_reload *r = timer->data;
    r->ops->restart(r->ctx);
}

static void take_up(struct px_config_reload *r, struct px_config *owned_config,
                    enum px_config_change change)
{
    struct px_config *old = r->owned;
    switch (change) {
    case PX_CONFIG_SAME:
        px_config_free(owned_config);
        break;
    case PX_CONFIG_LIVE:
        r->owned = owned_config;
        r->running = owned_config;
        r->ops->live(r->ctx, owned_config);
        px_config_free(old);
        break;
    case PX_CONFIG_RESTART:
        px_config_free(owned_config);
        (void)uv_timer_start(&r->restart, on_restart, RESTART_DELAY_MS, 0);
        break;
    }
}

static int reload(struct px_config_reload *r, enum px_config_change *ret, char *message,
                  size_t message_size)
{
    struct px_config *c;
    message[0] = '\0';
    int err = r->ops->load(r->ctx, &c, message, message_size);
    if (err != 0) {
        px_log_event(r->log, PX_LOG_ERROR, "config.invalid", PX_F_ERR(err),
                     PX_F_STR("message", message),
                     PX_F_STR("next", "the running configuration stays; peerix config validate"));
        return err;
    }
    *ret = px_config_compare(r->running, c);
    px_log_event(r->log, PX_LOG_INFO, "config.reloaded", PX_F_STR("effect", change_name(*ret)));
    take_up(r, c, *ret);
    return 0;
}

static void on_pending(uv_timer_t *timer)
{
    struct px_config_reload *r = timer->data;
    struct px_config_state s;
    enum px_config_change change;
    char message[1024];
    recover(r, &s);
    if (s.reverted)
        (void)!reload(r, &change, message, sizeof(message));
}

static void on_hup(uv_signal_t *signal, int signum)
{
    struct px_config_reload *r = signal->data;
    struct px_config_state s;
    enum px_config_change change;
    char message[1024];
    (void)signum;
    recover(r, &s);
    (void)!reload(r, &change, message, sizeof(message));
}

/* ---- life ---- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct px_config_reload *r = handle->data;
    if (--r->handles > 0)
        return;
    px_config_free(r->owned);
    free(r);
}

void px_config_reload_close(struct px_config_reload *r)
{
    if (r == NULL || r->closing)
        return;
    r->closing = true;
    uv_close((uv_handle_t *)&r->hup, on_handle_closed);
    uv_close((uv_handle_t *)&r->pending, on_handle_closed);
    uv_close((uv_handle_t *)&r->restart, on_handle_closed);
}

int px_config_reload_new(uv_loop_t *loop, const struct px_home *home, const struct px_log *log,
                         const struct px_config *config, const struct px_config_reload_ops *ops,
                         void *ctx, struct px_config_reload **ret)
{
    struct px_config_reload *r = calloc(1, sizeof(*r));
    struct px_config_state s;
    if (r == NULL)
        return PX_ENOMEM;
    r->home = home;
    r->log = log;
    r->running = config;
    r->ops = ops;
    r->ctx = ctx;
    r->handles = 3;
    if (uv_signal_init(loop, &r->hup) != 0) {
        free(r);
        return PX_EIO;
    }
    (void)uv_timer_init(loop, &r->pending);
    (void)uv_timer_init(loop, &r->restart);
    r->hup.data = r->pending.data = r->restart.data = r;
    if (uv_signal_start(&r->hup, on_hup, SIGHUP) != 0) {
        px_config_reload_close(r);
        return PX_EIO;
    }
    recover(r, &s);
    if (s.reverted) /* between the reading of the file and now */
        (void)uv_timer_start(&r->restart, on_restart, 0, 0);
    *ret = r;
    return 0;
}

/* ---- routes ---- */

static json_t *waiting_json(const struct px_config_state *s)
{
    return s->pending ? json_pack("{s:I}", "left_ms", (json_int_t)s->left_ms) : json_null();
}

static void handle_show(void *ctx, struct px_control_call *call)
{
    struct px_config_reload *r = ctx;
    struct px_config_state s;
    char path[PX_HOME_FILE_MAX];
    recover(r, &s);
    px_control_reply(call, 200,
                     json_pack("{s:s,s:o,s:o}", "file",
                               px_home_config_path(r->home, PX_HOME_CONFIG, path), "waiting",
                               waiting_json(&s), "options", px_config_json(r->running)));
}

/* The end of every call that may have changed the file: it is read again. */
static void reload_and_reply(struct px_config_reload *r, struct px_control_call *call)
{
    struct px_config_state s;
    enum px_config_change change;
    char message[1024];
    recover(r, &s);
    int err = reload(r, &change, message, sizeof(message));
    if (err != 0)
        px_control_fail(call, err, "%s", message);
    else
        px_control_reply(
            call, 200,
            json_pack("{s:s,s:o}", "effect", change_name(change), "waiting", waiting_json(&s)));
}

static void handle_reload(void *ctx, struct px_control_call *call)
{
    reload_and_reply(ctx, call);
}

static int apply(struct px_config_reload *r, const json_t *body, char *message, size_t size)
{
    const json_t *text = json_object_get(body, "text");
    const json_t *timeout = json_object_get(body, "confirm_timeout_ms");
    json_int_t ms = timeout != NULL ? json_integer_value(timeout) : 0;
    struct px_config_clock now;
    if (!json_is_string(text) || ms < 0 || (uint64_t)ms > PX_CONFIG_CONFIRM_MAX_MS ||
        (timeout != NULL && ms < PX_CONFIG_CONFIRM_MIN_MS)) {
        snprintf(message, size,
                 "wanted: {\"text\": \"…\", \"confirm_timeout_ms\": 1000 to 86400000}");
        return PX_EINVAL;
    }
    struct px_slice bytes = px_slice(json_string_value(text), json_string_length(text));
    snprintf(message, size, "the configuration could not be changed");
    int err = px_config_check(bytes, "text", message, size);
    if (err == 0)
        err = px_config_clock_now(&now);
    if (err == 0)
        err = px_config_apply(r->home, bytes, (uint64_t)ms, &now);
    if (err == PX_EBUSY)
        snprintf(message, size, "another change waits: confirm it or roll it back first");
    return err == PX_EEXIST ? 0 : err;
}

static void handle_apply(void *ctx, struct px_control_call *call)
{
    struct px_config_reload *r = ctx;
    char message[1024];
    int err = apply(r, px_control_body(call), message, sizeof(message));
    if (err != 0)
        px_control_fail(call, err, "%s", message);
    else
        reload_and_reply(r, call);
}

static void handle_confirm(void *ctx, struct px_control_call *call)
{
    struct px_config_reload *r = ctx;
    struct px_config_clock now;
    int err = px_config_clock_now(&now);
    if (err == 0)
        err = px_config_confirm(r->home, &now);
    if (err != 0)
        px_control_fail(call, err,
                        err == PX_ENOENT ? "no change waits to be confirmed"
                                         : "the change could not be confirmed");
    else
        reload_and_reply(r, call);
}

static void handle_rollback(void *ctx, struct px_control_call *call)
{
    struct px_config_reload *r = ctx;
    const json_t *number = json_object_get(px_control_body(call), "number");
    struct px_config_clock now;
    int err = json_integer_value(number) < 0 ? PX_EINVAL : px_config_clock_now(&now);
    if (err == 0)
        err = px_config_rollback(r->home, (uint64_t)json_integer_value(number), &now);
    if (err != 0 && err != PX_EEXIST)
        px_control_fail(call, err,
                        err == PX_ENOENT ? "there is no such earlier configuration"
                                         : "the configuration could not be changed");
    else
        reload_and_reply(r, call);
}

static void handle_history(void *ctx, struct px_control_call *call)
{
    struct px_config_reload *r = ctx;
    struct px_config_version v[PX_CONFIG_HISTORY_MAX];
    size_t count = 0;
    int err = px_config_history(r->home, v, PX_ARRAY_LEN(v), &count);
    if (err != 0) {
        px_control_fail(call, err, "the history could not be read");
        return;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(list, px_config_version_json(&v[i]));
    px_control_reply(call, 200, json_pack("{s:o}", "versions", list));
}

static const struct px_control_route routes[] = {
    {"GET", "/v1/config", handle_show, NULL, "the running configuration"},
    {"GET", "/v1/config/history", handle_history, NULL, "earlier configurations"},
    {"POST", "/v1/config/apply", handle_apply, NULL, "replace config.yaml and take it up"},
    {"POST", "/v1/config/confirm", handle_confirm, NULL, "keep the change that waits"},
    {"POST", "/v1/config/rollback", handle_rollback, NULL, "bring an earlier configuration back"},
    {"POST", "/v1/config/reload", handle_reload, NULL, "read config.yaml again"},
};

int px_config_reload_routes(struct px_config_reload *r, struct px_control *control)
{
    return px_control_add(control, routes, PX_ARRAY_LEN(routes), r);
}
